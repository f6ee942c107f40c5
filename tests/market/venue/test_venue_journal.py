"""The journal: complete enough for an outside checker, and a session replayed from it is the same session."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import websockets
from venue_clients import Wire, wait_until

from market.venue.command import read_journal
from market.venue.errors import VenueError
from market.venue.rehearsal import RehearsalVenue
from market.venue.replay import read_lines, replay, replayed_frames


def busy_session(venue: RehearsalVenue) -> None:
    """Orders of many kinds, some refused, a replacement, faults, a halt, and the close."""
    wire = Wire(venue)
    second = Wire(venue, 1)
    control = venue.server.control.perform
    wire.order(qty="20")
    second.order(symbol="RRC", qty="5000")
    first = wire.order(type="limit", limit_price="100", qty="7").json()["id"]
    wire("PATCH", f"/v2/orders/{first}", {"qty": 9})
    wire.order(qty="-1")
    wire.order(symbol="KO", qty="10", time_in_force="gtc", order_class="bracket",
               take_profit={"limit_price": "90"}, stop_loss={"stop_price": "20"})  # fmt: skip
    venue.call(lambda: control("POST", "/faults", {"kind": "split_fill", "parts": 2, "symbol": "MSFT"}))
    wire.order(symbol="MSFT", qty="6")
    venue.call(lambda: control("POST", "/faults", {"kind": "halt", "symbol": "AMD", "seconds": 60.0}))
    wire.order(symbol="AMD", qty="3")
    wire.order(symbol="GE", qty=None, notional="250.50")
    venue.call(lambda: control("POST", "/faults", {"kind": "foreign_order", "symbol": "BAC", "qty": "2"}))
    wire.get(
        "/v2/aggs/ticker/AAPL/range/1/minute/2022-12-28/2022-12-28",
        apiKey=venue.address["polygon_key"],
        limit=5,
    )
    for _ in range(20):
        venue.advance(61)
    wire("DELETE", "/v2/orders")
    wire.get("/v2/account")
    venue.move_to("2022-12-28T21:02:00Z")
    second.get("/v2/account/activities")


@pytest.fixture
def journal(start_venue: Callable[..., RehearsalVenue], tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    venue = start_venue(journal=path, accounts=2)
    busy_session(venue)
    venue.call(venue.server.close_journal)
    return path


def test_a_session_replayed_from_its_journal_writes_the_same_journal(journal: Path, tmp_path: Path) -> None:
    assert replay(journal, tmp_path / "again.jsonl")


def test_a_running_clock_replays_too(start_venue: Callable[..., RehearsalVenue], tmp_path: Path) -> None:
    """Wall time decides when a request arrives, and nothing else: with its venue time it can be repeated."""
    path = tmp_path / "running.jsonl"
    venue = start_venue(journal=path, speed=900, start="15:40")
    wire = Wire(venue)
    for symbol in ("AAPL", "RRC", "KO", "MSFT") * 3:
        wire.order(symbol=symbol, qty="700")
        wire.order(symbol=symbol, qty="50", type="limit", limit_price=str(wire.bid(symbol)))
    wait_until(lambda: not wire.get("/v2/clock")["is_open"], "the close")
    venue.call(venue.server.close_journal)
    assert replay(path, tmp_path / "again.jsonl")


def test_a_session_of_a_price_file_with_a_fault_plan_replays_too(
    start_venue: Callable[..., RehearsalVenue], tmp_path: Path
) -> None:
    from market.sample import sample_prices

    data, plan, path = (tmp_path / name for name in ("prices.parquet", "plan.toml", "journal.jsonl"))
    sample_prices().filter(pl.col("date") >= pl.date(2022, 12, 1)).write_parquet(data)
    plan.write_text(
        "[[fault]]\nkind = 'split_fill'\nparts = 3\nevery = 2\n"
        "[[fault]]\nkind = 'foreign_order'\nsymbol = 'GE'\ntime = '10:01'\n"
    )
    venue = start_venue(journal=path, data=data, faults=plan)
    wire = Wire(venue)
    for _ in range(4):
        wire.order(qty="9")
        venue.advance(31)
    assert wire.get("/v2/positions/GE")["qty"] == "1"
    venue.call(venue.server.close_journal)
    assert replay(path, tmp_path / "again.jsonl")


def test_the_same_requests_write_the_same_bytes(
    start_venue: Callable[..., RehearsalVenue], journal: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.jsonl"
    venue = start_venue(journal=other, accounts=2)
    busy_session(venue)
    venue.call(venue.server.close_journal)
    assert other.read_bytes() == journal.read_bytes()


def test_another_seed_writes_another_session(
    start_venue: Callable[..., RehearsalVenue], tmp_path: Path
) -> None:
    prices = set()
    for seed in (7, 8):
        wire = Wire(start_venue(seed=seed))
        prices.add(wire.price())
    assert len(prices) == 2


def test_an_outside_checker_can_rebuild_positions_and_cash(journal: Path) -> None:
    """From match and activity lines alone, by hand, against what the venue answered last."""
    lines = read_lines(journal)
    cash = {0: Decimal(100_000), 1: Decimal(100_000)}
    held: dict[tuple[int, str], Decimal] = {}
    for line in lines:
        if line["kind"] == "match":
            signed = Decimal(line["qty"]) * (1 if line["side"] == "buy" else -1)
            cash[line["account"]] -= signed * Decimal(line["price"])
            key = (line["account"], line["symbol"])
            held[key] = held.get(key, Decimal(0)) + signed
            assert Decimal(line["cash"]) == cash[line["account"]]
            assert Decimal(line["position"]) == held[key]
        elif line["kind"] == "activity":
            cash[line["account"]] += Decimal(line["net_amount"])
    requests = [line for line in lines if line["kind"] == "request"]
    answers = [line for line in lines if line["kind"] == "answer"]
    assert len(requests) == len(answers)
    shown = next(
        msgspec.json.decode(answer["body"])
        for request, answer in zip(reversed(requests), reversed(answers), strict=True)
        if request["path"] == "/v2/account"
    )
    fees_after = sum(
        (
            Decimal(line["net_amount"])
            for line in lines
            if line["kind"] == "activity" and line["account"] == 0
        ),
        Decimal(0),
    )
    assert Decimal(shown["cash"]) == cash[0] - fees_after
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)


def test_the_wire_file_stamps_every_line_with_two_clocks(journal: Path) -> None:
    wire = [
        msgspec.json.decode(line)
        for line in journal.with_name(journal.name + ".wire").read_bytes().splitlines()
    ]
    stamped = [line for line in wire if "n" in line]
    assert len(stamped) == len(read_lines(journal))
    assert all(line["wall_ns"] > 10**18 and line["boot_ns"] > 0 for line in stamped)


def test_the_reader_prints_what_is_asked_for(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_journal(journal, kinds=["match"], account=1, wire=True) == 0
    shown: list[dict[str, Any]] = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    assert shown
    assert {line["kind"] for line in shown} == {"match"}
    assert {line["account"] for line in shown} == {1}
    assert all("wall_ns" in line for line in shown)


def test_the_reader_replays_and_says_whether_it_is_the_same(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_journal(journal, replay_to=tmp_path / "again.jsonl") == 0
    assert "equals" in capsys.readouterr().out
    changed = tmp_path / "changed.jsonl"
    changed.write_bytes(journal.read_bytes().replace(b'\\"qty\\":\\"20\\"', b'\\"qty\\": \\"20\\"', 1)
                        .replace(b'"qty\\": \\"20\\"', b'"qty\\": \\"21\\"', 1))  # fmt: skip
    assert read_journal(changed, replay_to=tmp_path / "third.jsonl") == 3


def test_a_journal_cut_by_a_crash_can_still_be_read(journal: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(journal.read_bytes()[:-37])
    assert 0 < len(read_lines(cut)) < len(read_lines(journal))


@pytest.mark.parametrize("content", [b"", b"{}\n", b"not json\n"])
def test_what_is_no_journal_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.txt"
    path.write_bytes(content)
    with pytest.raises(VenueError, match=r"other\.txt"):
        read_lines(path)


def test_an_answered_request_is_in_the_file_whatever_happens_next(
    start_venue: Callable[..., RehearsalVenue], tmp_path: Path
) -> None:
    """The file as a kill would leave it: what was answered is there, and the session replays as far as it goes."""
    path, killed = tmp_path / "journal.jsonl", tmp_path / "killed.jsonl"
    wire = Wire(start_venue(journal=path))
    for _ in range(10):
        answered = wire.order().json()["id"]
        killed.write_bytes(path.read_bytes())
        lines = read_lines(killed)
        told = [msgspec.json.decode(line["body"])["id"] for line in lines if line["kind"] == "answer"]
        updates = [line["data"] for line in lines if line["kind"] == "update"]
        assert told[-1] == answered
        assert [u["event"] for u in updates if u["order"]["id"] == answered] == ["pending_new", "new", "fill"]
    with killed.open("ab") as file:
        file.write(b'{"n":999,"t":1')  # a line that the kill cut short
    assert replay(killed, tmp_path / "again.jsonl")
    changed = killed.read_bytes().replace(b'"qty":"1"', b'"qty":"2"', 1)
    killed.write_bytes(changed)
    assert not replay(killed, tmp_path / "again.jsonl")


def test_halts_pauses_and_bands_are_lines(start_venue: Callable[..., RehearsalVenue], tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    venue = start_venue(journal=path)
    wire = Wire(venue)
    wire.order(type="limit", limit_price="50")
    control = venue.server.control.perform
    for symbol in ("AAPL", "KO"):
        fault = {"kind": "halt", "symbol": symbol, "seconds": 30.0}
        venue.call(lambda fault=fault: control("POST", "/faults", fault))
    venue.advance(31)
    venue.move_to("2022-12-28T20:59:00Z")
    venue.call(venue.server.close_journal)
    lines = read_lines(path)
    told = [(s["symbol"], s["code"], s["trading"]) for s in lines if s["kind"] == "status"]
    assert sorted(told) == [("AAPL", "", True), ("AAPL", "T1", False), ("KO", "", True), ("KO", "T1", False)]
    bands = [line for line in lines if line["kind"] == "bands"]
    assert {line["symbol"] for line in bands} == {"AAPL"}
    limits = venue.server.exchange.restrictions.of("AAPL").limits
    for line in bands:
        lower, upper = limits.at(line["t"])
        assert (round(line["lower"] * 10_000), round(line["upper"] * 10_000)) == (lower, upper)


async def _watch(venue: RehearsalVenue, act: Callable[[], None]) -> int:
    """Two data clients and a Polygon one listen to everything while `act` runs; how many frames they got."""
    pair = venue.address
    base = pair["data_stream_url"].rsplit("/", 1)[0]
    everything = {
        "trades": ["*"],
        "quotes": ["AAPL", "KO"],
        "bars": ["*"],
        "statuses": ["*"],
        "lulds": ["AAPL"],
    }
    talks: list[tuple[str, list[dict[str, Any]]]] = [
        (f"{base}/{feed}",
         [{"action": "auth", "key": pair["key_id"], "secret": pair["secret_key"]},
          {"action": "subscribe", **everything}])
        for feed in ("iex", "sip")
    ]  # fmt: skip
    talks.append(
        (
            pair["polygon_ws_url"],
            [
                {"action": "auth", "params": pair["polygon_key"]},
                {"action": "subscribe", "params": "Q.*,AM.AAPL,LULD.*"},
            ],
        )
    )
    frames = 0
    async with contextlib.AsyncExitStack() as stack:
        sockets = []
        for url, messages in talks:
            socket = await stack.enter_async_context(websockets.connect(url, proxy=None))
            for message in messages:
                await socket.send(json.dumps(message))
            while "subscri" not in str(await asyncio.wait_for(socket.recv(), 10)):
                pass
            sockets.append(socket)
        await asyncio.to_thread(act)
        for socket in sockets:
            with contextlib.suppress(TimeoutError):
                while True:
                    await asyncio.wait_for(socket.recv(), 0.1)
                    frames += 1
    return frames


def test_every_data_frame_can_be_made_again_from_tape_and_journal(
    start_venue: Callable[..., RehearsalVenue], tmp_path: Path
) -> None:
    path = tmp_path / "journal.jsonl"
    venue = start_venue(journal=path, conflate=False, symbols=["AAPL", "KO", "MSFT"])
    wire = Wire(venue)
    control = venue.server.control.perform

    def act() -> None:
        venue.advance(7)
        wire.order(symbol="KO", qty="5")
        venue.call(lambda: control("POST", "/faults", {"kind": "halt", "symbol": "AAPL", "seconds": 60.0}))
        venue.advance(30)
        venue.call(
            lambda: control("POST", "/faults", {"kind": "bad_quote", "symbol": "KO", "style": "crossed"})
        )
        venue.call(lambda: control("POST", "/faults", {"kind": "clock_ahead", "seconds": 5.0}))
        venue.call(lambda: control("POST", "/faults", {"kind": "sip_gap"}))
        for _ in range(5):
            venue.advance(61)

    frames = asyncio.run(_watch(venue, act))
    venue.call(venue.server.close_journal)
    checked, different = replayed_frames(path)
    assert checked > 15
    assert frames >= checked
    assert different == []
    beside = path.with_name(path.name + ".wire")
    lines = beside.read_bytes().split(b"\n")
    at = next(i for i, line in enumerate(lines) if b'"blake2b"' in line)
    lines[at] = lines[at].replace(b'"from":', b'"from":1')
    beside.write_bytes(b"\n".join(lines))
    assert replayed_frames(path)[1] == [at + 1]
