"""The command: one JSON line when ready, one error line when not, a clean end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import requests
from alpaca.trading.client import TradingClient
from venue_clients import wait_until

ROOT = Path(__file__).parents[3]
KEYS = set(
    [
        "rest_url",
        "trading_stream_url",
        "data_stream_url",
        "data_rest_url",
        "polygon_rest_url",
        "polygon_ws_url",
        "control_url",
        "control_token",
        "key_id",
        "secret_key",
        "polygon_key",
        "account_number",
        "session",
        "speed",
    ]
)


def command(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "market.venue", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = command("--speed", "600", "--start", "15:50", "--key-id", "PKMINE", "--secret-key", "mine", "--cash", "5000",
                      "--accounts", "2", "--rate-limit", "0")  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()


def test_the_ready_line_has_every_address_and_the_keys_given(started: tuple[Any, dict[str, Any]]) -> None:
    line = started[1]
    assert set(line) >= KEYS
    assert (line["key_id"], line["secret_key"], line["session"]) == ("PKMINE", "mine", "2022-12-28")
    assert len(line["accounts"]) == 2
    account = TradingClient("PKMINE", "mine", url_override=line["rest_url"]).get_account()
    assert (account.cash, account.account_number) == ("5000", line["account_number"])


def test_the_clock_runs_at_its_speed_through_the_close_and_the_venue_serves_on(
    started: tuple[Any, dict[str, Any]],
) -> None:
    client = TradingClient("PKMINE", "mine", url_override=started[1]["rest_url"])
    wait_until(lambda: not client.get_clock().is_open, "the close")
    assert client.get_clock().next_open.date().isoformat() == "2022-12-29"
    assert client.get_account().status == "ACTIVE"


def test_a_taken_port_is_one_line_and_exit_code_4(started: tuple[Any, dict[str, Any]]) -> None:
    port = started[1]["rest_url"].rsplit(":", 1)[1]
    process = command("--port", port)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, "")
    assert err.startswith(f"error: 127.0.0.1:{port} is already in use; ")
    assert err.count("\n") == 1


def test_an_interrupt_ends_it_within_a_second_with_code_0_whoever_is_connected() -> None:
    process = command()
    assert process.stdout is not None
    line = json.loads(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", int(line["rest_url"].rsplit(":", 1)[1]))):
        assert requests.get(line["rest_url"] + "/v2/clock", timeout=5).status_code == 401
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")
    assert time.monotonic() - asked < 5  # a second on an idle machine


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "/nowhere/prices.parquet"], "no price file at /nowhere/prices.parquet"),
        (["--date", "2022-12-25"], "2022-12-25 is not a trading session"),
        (["--date", "2023-06-01"], "no bars on 2023-06-01"),
        (["--start", "soon"], "--start soon is not a time"),
        (["--speed", "-1"], "--speed -1.0 is out of range"),
        (["--accounts", "0"], "--accounts 0 is out of range"),
        (["--symbols", "NOPE"], "no rows for NOPE"),
        (["--faults", "/nowhere/plan.toml"], "fault plan /nowhere/plan.toml cannot be read"),
        (["--rule", "luck=7"], "--rule luck=7 is unknown"),
        (["--rule", "fills=dreams"], "--rule fills takes strict or paper, not dreams"),
        (["--rule", "latency_ms=soon"], "--rule cannot be read"),
        (["--journal", "/proc/nowhere/journal"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], says: str) -> None:
    from market.venue.__main__ import main

    process = command(*words) if words[0] == "--journal" else None
    if process is not None:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert says in err
        return
    import contextlib
    import io

    err_text = io.StringIO()
    with contextlib.redirect_stderr(err_text):
        assert main(words) == 2
    assert says in err_text.getvalue()
    assert err_text.getvalue().count("\n") == 1


def test_a_file_without_the_columns_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from market.venue.__main__ import main

    path = tmp_path / "odd.parquet"
    pl.DataFrame({"symbol": ["X"], "date": ["2022-12-28"], "price": [1.0]}).write_parquet(path)
    assert main(["--data", str(path)]) == 2
    assert "has no column open, high, low, close; it has symbol, date, price" in capsys.readouterr().err


def test_every_option_has_its_effect_in_one_run(tmp_path: Path) -> None:
    """Prices of one's own, day, time, stepped clock, seed, faults, journal, accounts, cash, limit, keys, rules, plan."""
    days = pl.DataFrame({"date": ["2022-12-22", "2022-12-23", "2022-12-27"]})
    rows = [
        days.with_columns(symbol=pl.lit(name), open=pl.lit(at), high=pl.lit(at + 1), low=pl.lit(at - 1), close=pl.lit(at),
                          volume=pl.lit(1_000_000))
        for name, at in (("ONE", 20.0), ("TWO", 30.0))
    ]  # fmt: skip
    prices, plan, journal = tmp_path / "prices.csv", tmp_path / "plan.toml", tmp_path / "journal"
    pl.concat(rows).write_csv(prices)
    plan.write_text(
        '[[fault]]\nkind = "error"\nstatus = 503\nmethod = "GET"\npath = "/v2/positions"\nat = 1\n'
    )
    process = command(
        "--host", "127.0.0.1", "--port", "0", "--control-port", "0", "--data", str(prices), "--date", "2022-12-23",
        "--speed", "0", "--seed", "11", "--faults", str(plan), "--journal", str(journal), "--accounts", "3", "--cash", "1234.56",
        "--start", "13:30", "--rate-limit", "9", "--polygon-key", "POLY", "--symbols", "ONE", "--step", "60", "--no-conflate",
        "--rule", "multiplier=1", "--auth-status", "403", "--free-plan",
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = json.loads(process.stdout.readline())
        assert set(line) == {*KEYS, "accounts"}
        assert (line["session"], line["speed"], line["polygon_key"]) == ("2022-12-23", 0.0, "POLY")
        third = line["accounts"][2]
        headers = {"APCA-API-KEY-ID": third["key_id"], "APCA-API-SECRET-KEY": third["secret_key"]}

        def get(path: str, **query: str) -> requests.Response:
            return requests.get(line["rest_url"] + path, params=query, headers=headers, timeout=5)

        assert get("/v2/clock").json()["timestamp"] == "2022-12-23T13:30:00-05:00"
        account = get("/v2/account").json()
        assert (account["cash"], account["multiplier"]) == ("1234.56", "1")
        assert [asset["symbol"] for asset in get("/v2/assets").json()] == ["ONE"]
        assert get("/v2/positions").status_code == 503
        quotes = get("/v2/stocks/ONE/quotes", start="2022-12-23T13:00:00-05:00", feed="iex").json()["quotes"]
        assert len(quotes) == 30
        assert get("/v2/stocks/ONE/quotes/latest", feed="sip").status_code == 403
        moved = requests.post(line["control_url"] + "/clock", json={"advance_s": 60}, timeout=5,
                              headers={"Authorization": f"Bearer {line['control_token']}"})  # fmt: skip
        assert moved.json()["now"] == "2022-12-23T18:31:00Z"
        used = get("/v2/clock")
        assert (used.headers["X-RateLimit-Limit"], used.headers["X-RateLimit-Remaining"]) == ("9", "2")
        assert [get("/v2/clock").status_code for _ in range(3)] == [200, 200, 429]
        nobody = requests.get(line["rest_url"] + "/v2/clock", timeout=5)
        assert (nobody.status_code, nobody.json()) == (403, {"message": "forbidden."})
    finally:
        process.terminate()
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")
    header = json.loads(journal.read_text().splitlines()[0])
    assert (header["kind"], header["options"]["seed"]) == ("header", 11)
