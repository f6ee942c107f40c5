"""What the breakers are told of the machine and of the broker's calls."""

from __future__ import annotations

from pathlib import Path

from executor.broker_wire import Calls
from executor.health import disk_used, memory_used


def test_memory_is_what_is_not_available_and_unknown_where_nobody_says(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  1000 kB\nMemFree:  1 kB\nMemAvailable:  250 kB\n")
    assert memory_used(meminfo) == 0.75
    meminfo.write_text("MemTotal:  1000 kB\n")
    assert memory_used(meminfo) is None
    assert memory_used(tmp_path / "none") is None


def test_the_disk_is_that_of_the_state_folder(tmp_path: Path) -> None:
    assert 0 < disk_used(tmp_path) < 1


def test_calls_are_forgotten_after_a_minute_and_a_failed_one_is_no_slow_answer() -> None:
    calls = Calls()
    calls.add(0.0, 900.0, failed=False)
    calls.add(30.0, 5000.0, failed=True)
    calls.add(50.0, 20.0, failed=False)
    assert calls.last_minute(55.0) == (1, 900.0)
    assert calls.last_minute(61.0) == (1, 20.0)
    assert calls.last_minute(200.0) == (0, 0.0)
