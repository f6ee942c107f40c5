"""The `sallyport` command: help is fast, bad input is one line and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "prefect",
    "pandas",
    "polars",
    "lightgbm",
    "sklearn",
    "great_expectations",
    "sqlmodel",
    "exchange_calendars",
)


def sallyport(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error as the user sees it: exactly one line, no traceback."""
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['sallyport', '--help']\n"
        "from flows.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("data", "model", "report", "flows", "up", "demo"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("data", "ingest", "nowhere.parquet"), "price file nowhere.parquet does not exist"),
        (("flows", "run", "nigthly"), "no flow 'nigthly'; there are nightly, weekly"),
        (
            ("flows", "run", "nightly", "--as-of", "27.12.2022"),
            "'27.12.2022' is not a date; write it as YYYY-MM-DD",
        ),
        (("flows", "run", "nightly", "--replay", "yesterday"), "'yesterday' is not a time"),
        (("flows", "run", "nightly", "-p", "prices"), "has no value; write it as NAME=VALUE"),
        (("report", "open", "everything"), "no report 'everything'; there are day, tear-sheet"),
        (("demo", "--data", "nowhere.parquet"), "price file nowhere.parquet does not exist"),
        (("data", "ingset"), "No such command 'ingset'"),
    ],
)
def test_bad_input_is_one_line_that_says_what_and_the_way_out(
    arguments: tuple[str, ...], says: str, tmp_path: Path
):
    extra = ("--state", str(tmp_path / "demo")) if arguments[0] == "demo" else ()
    done = sallyport(*arguments, *extra, SALLYPORT_STATE_DIR=str(tmp_path / "state"), COLUMNS="300")
    # The demo says on its output what it is doing; its error is the last line.
    line = done.stderr.splitlines()[-1] if arguments[0] == "demo" else one_line(done)
    assert says in line
    assert done.returncode == 2


def test_a_file_that_cannot_be_trusted_is_refused_and_loses_nothing(panel: pl.DataFrame, tmp_path: Path):
    from sql.server import stop_embedded

    good, bad, state = tmp_path / "good.parquet", tmp_path / "bad.csv", tmp_path / "state"
    panel.write_parquet(good)
    pl.concat([panel, panel.head(3)]).write_csv(bad)
    settings = {"SALLYPORT_STATE_DIR": str(state), "SALLYPORT_ENVIRONMENT": "replay", "COLUMNS": "300"}
    try:
        taken = sallyport("data", "ingest", str(good), **settings)
        assert taken.returncode == 0, taken.stderr
        refused = sallyport("data", "ingest", str(bad), **settings)
        assert refused.returncode == 2
        assert "duplicate" in one_line(refused)
        listed = sallyport("data", "status", **settings)
        assert taken.stdout.split(":")[0] in listed.stdout
        assert listed.stdout.count("ds-") == 1
    finally:
        stop_embedded(state)


def test_a_port_in_use_stops_up_before_anything_runs(tmp_path: Path):
    import socket

    from sql.server import stop_embedded

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = sallyport(
            "up", "--port", port, SALLYPORT_STATE_DIR=str(tmp_path), SALLYPORT_ENVIRONMENT="replay"
        )
    stop_embedded(tmp_path)
    assert f"port {port} on 127.0.0.1" in one_line(done)
    assert done.returncode == 4


def test_a_prefect_server_that_does_not_answer_is_said(tmp_path: Path):
    done = sallyport(
        "flows", "run", "nightly",
        SALLYPORT_STATE_DIR=str(tmp_path), SALLYPORT_PREFECT_API_URL="http://127.0.0.1:9/api",
    )  # fmt: skip
    assert "no Prefect server answers at http://127.0.0.1:9/api" in one_line(done)
    assert done.returncode == 4
