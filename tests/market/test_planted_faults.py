"""Faults planted by seed into real series that nothing was tuned on are found, class by class; `bench/validation.py` plants more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import planted_faults


@pytest.fixture(scope="module")
def counted() -> dict[tuple[str, str], tuple[int, int]]:
    if not planted_faults.DAILY.exists() or not planted_faults.MINUTES.exists():
        pytest.skip("the real series are not on this machine")
    rows = planted_faults.recall(seed=5, every=28, most=6, names=("SPY", "V"))
    return {(where, fault): (planted, right) for where, fault, planted, _, right in rows}


def test_every_daily_class_is_found_and_nearly_every_instance(
    counted: dict[tuple[str, str], tuple[int, int]],
) -> None:
    daily = {fault: numbers for (where, fault), numbers in counted.items() if where == "daily"}
    assert len(daily) == len(planted_faults.DAILY_FAULTS)
    assert [fault for fault, (planted, right) in daily.items() if right < 0.5 * planted] == []
    assert sum(right for _, right in daily.values()) >= 0.95 * sum(planted for planted, _ in daily.values())


@pytest.mark.parametrize("where", ["minutes", "trades", "quotes"])
def test_every_intraday_class_is_found_in_every_name(
    counted: dict[tuple[str, str], tuple[int, int]], where: str
) -> None:
    here = {fault: numbers for (place, fault), numbers in counted.items() if place == where}
    assert len(here) >= 5
    assert [fault for fault, (planted, right) in here.items() if right < planted] == []
