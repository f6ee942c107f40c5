"""`sallyport demo` as a user meets it: it runs whole, refuses clearly, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from flows.demo import InterruptOnce, fresh_folder, read_plan
from flows.errors import DemoError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prices_file(panel: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prices") / "panel.parquet"
    panel.write_parquet(path)
    return path


def start(state: Path, prices: Path, sectors: Path, speed: float, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flows.cli", "demo", "--state", str(state), "--speed", str(speed)]
    command += ["--data", str(prices), "--sectors", str(sectors)]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "SALLYPORT_"))
    }
    with log.open("w") as output:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True, env=environment
        )


def survivors(state: Path) -> list[str]:
    """Processes that know the demo's folder by environment or command line: its servers, all of them."""
    found = []
    mark = str(state).encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            known = (entry / "environ").read_bytes() + b"\0" + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if mark in known:
            found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()[:200]!r}")
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for survivors in /proc")
@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("Prefect server ...", marks=pytest.mark.slow),
        pytest.param("flow validate ...", marks=pytest.mark.slow),
        pytest.param("fills, equity", marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_at_any_stage_leaves_nothing_running(
    stage: str, prices_file: Path, sectors_file: Path, tmp_path: Path
):
    state, log = tmp_path / "demo", tmp_path / "demo.log"
    demo = start(state, prices_file, sectors_file, 120, log)
    try:
        deadline = time.monotonic() + 150
        while stage not in log.read_text() and demo.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert stage in log.read_text()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 130
    finally:
        demo.kill()
    assert survivors(state) == []
    said = log.read_text()
    assert "error: interrupted; nothing is left running" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_demo_runs_whole_and_says_the_same_on_screen_and_in_the_summary(
    prices_file: Path, sectors_file: Path, tmp_path: Path
):
    state, log = tmp_path / "demo", tmp_path / "demo.log"
    demo = start(state, prices_file, sectors_file, 1200, log)
    try:
        code = demo.wait(240)
    finally:
        demo.kill()
    said = log.read_text()
    assert code == 0, said
    figures = json.loads((state / "summary.json").read_text())
    assert figures["as_of"] == figures["data"]["last"] == "2022-12-27"
    assert figures["session"] == "2022-12-28"
    assert figures["validation"]["verdict"] == "passed"
    assert figures["batch"]["state"] == "DONE"
    assert figures["fills"]["count"] >= figures["orders"]["filled"] > 0
    assert figures["reconciliation"]["matched"]
    assert figures["reconciliation"]["ledger_cash"] == figures["reconciliation"]["broker_cash"]
    assert figures["audit"]["ok"]
    assert figures["alerts"]["delivered"] == figures["alerts"]["raised"] > 0
    assert figures["messages"] == figures["alerts"]["delivered"]
    assert figures["model"]["id"] in said
    assert figures["equity"]["close"] in said
    assert figures["audit"]["head"][:16] in said
    for path in figures["paths"].values():
        assert (ROOT / path).exists(), path
    assert survivors(state) == []


def test_the_last_session_is_the_tape_and_the_one_before_it_all_that_is_known(
    prices_file: Path, sectors_file: Path
):
    plan = read_plan(prices_file, sectors_file, 390)
    assert (plan.as_of, plan.session) == (date(2022, 12, 27), date(2022, 12, 28))


def test_the_built_in_sample_needs_no_file():
    plan = read_plan(None, None, 390)
    assert (plan.prices, plan.as_of, plan.session) == ("sample", date(2022, 12, 27), date(2022, 12, 28))


def test_prices_without_the_session_before_the_last_are_refused(panel: pl.DataFrame, tmp_path: Path):
    path = tmp_path / "gap.parquet"
    panel.filter(pl.col("date") != date(2022, 12, 27)).write_parquet(path)
    with pytest.raises(DemoError, match=r"gap.parquet ends 2022-12-28, .*last two sessions complete"):
        read_plan(path, None, 390)


def test_sectors_without_prices_are_refused(sectors_file: Path):
    with pytest.raises(DemoError, match="--sectors goes with --data"):
        read_plan(None, sectors_file, 390)


def test_a_second_demo_moves_the_first_aside_and_keeps_one(tmp_path: Path):
    state = tmp_path / "demo"
    for run in range(3):
        kept = fresh_folder(state)
        assert (kept is not None) == (run > 0)
        assert not (state / "summary.json").exists()
        (state / "summary.json").write_text(str(run))
    assert (tmp_path / "demo.previous" / "summary.json").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "demo.previous"]


def test_a_folder_that_is_not_a_demos_is_never_touched(tmp_path: Path):
    state = tmp_path / "mine"
    state.mkdir()
    (state / "thesis.txt").write_text("years of work")
    with pytest.raises(DemoError, match="not empty and not a demo's folder"):
        fresh_folder(state)
    assert (state / "thesis.txt").read_text() == "years of work"


def test_two_demos_do_not_share_a_folder(tmp_path: Path):
    state = tmp_path / "demo"
    fresh_folder(state)
    started = "import time; print('up', flush=True); time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", started, "demo"], stdout=subprocess.PIPE)
    try:
        # A process has no command line to read for a moment after exec, although Popen has returned.
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        (state / ".sallyport-demo").write_text(f"{other.pid}\n")
        with pytest.raises(DemoError, match=f"another demo \\(process {other.pid}\\) runs in"):
            fresh_folder(state)
    finally:
        other.kill()
        other.communicate()
    assert fresh_folder(state) is not None


def test_an_interrupt_that_a_library_turns_into_an_error_is_still_an_interrupt():
    with pytest.raises(KeyboardInterrupt), InterruptOnce():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("the library could not finish") from None
    with pytest.raises(ValueError, match="by itself"), InterruptOnce():
        raise ValueError("wrong by itself")
