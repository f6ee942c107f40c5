"""The live guard: a lone print off the market is bad, a level that holds is believed, another feed shows in its volume."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.live_guard import (
    BAD_NUMBER,
    BAD_PRINT,
    CONFIRM,
    CROSSED,
    GOOD,
    OUT_OF_ORDER,
    WIDE,
    LiveGuard,
)

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def warmed(price: float = 100.0, prints: int = 50) -> LiveGuard:
    guard = LiveGuard(close_before=price)
    for i in range(prints):
        assert guard.trade(price + 0.01 * (i % 3), 100, 1000.0 + i) == GOOD
    return guard


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_number_is_refused(price: float) -> None:
    guard = warmed()
    assert guard.trade(price, 100, 2000.0) == BAD_NUMBER
    assert guard.quote(price, 100.0, 2000.0) == BAD_NUMBER
    assert guard.trade(100.0, 0.0, 2000.0) == BAD_NUMBER


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.97, 1.03, 1.1, 10.0])
def test_a_lone_print_off_the_market_is_bad_and_moves_nothing(factor: float) -> None:
    guard = warmed()
    assert guard.trade(100.0 * factor, 100, 2000.0) == BAD_PRINT
    assert guard.trade(100.01, 100, 2001.0) == GOOD


def test_a_level_that_holds_is_believed_after_a_few_prints() -> None:
    guard = warmed()
    verdicts = [guard.trade(90.0 + 0.01 * i, 100, 2000.0 + i) for i in range(CONFIRM + 3)]
    assert verdicts == [BAD_PRINT] * (CONFIRM - 1) + [GOOD] * 4
    assert guard.trade(100.0, 100, 2100.0) == BAD_PRINT


def test_bad_prints_that_agree_with_nobody_never_become_the_level() -> None:
    guard = warmed()
    for i in range(40):
        assert guard.trade(50.0 + 5 * (i % 5), 100, 2000.0 + i) == BAD_PRINT
    assert guard.trade(100.0, 100, 2100.0) == GOOD


def test_quotes_are_judged_by_their_sides_and_their_middle() -> None:
    guard = warmed()
    assert guard.quote(99.99, 100.01, 2000.0) == GOOD
    assert guard.quote(100.0, 100.0, 2000.0) == GOOD  # locked
    assert guard.quote(100.02, 100.0, 2000.0) == CROSSED
    assert guard.quote(90.0, 110.0, 2000.0) == WIDE
    assert guard.quote(79.99, 80.01, 2000.0) == BAD_PRINT


def test_a_stamp_far_behind_the_feed_is_out_of_order_and_a_little_one_is_not() -> None:
    guard = warmed()
    assert guard.trade(100.0, 100, 1048.5) == GOOD
    assert guard.trade(100.0, 100, 1000.0) == OUT_OF_ORDER


def minutes(guard: LiveGuard, count: int, volume: float, start: int) -> None:
    for i in range(count):
        guard.trade(100.0, volume * (0.6 + 0.2 * (i % 5)), 60.0 * (start + i) + 1)


def test_one_venue_for_the_whole_tape_shows_within_minutes_and_a_quiet_hour_does_not() -> None:
    guard = LiveGuard(100.0)
    minutes(guard, 90, 10_000, 100)
    assert guard.feed_switched() == 0.0
    minutes(guard, 30, 3_000, 190)
    assert guard.feed_switched() == 0.0
    minutes(guard, 15, 200, 220)
    assert 0 < guard.feed_switched() < 1 / 6


def test_silence_counts_from_the_last_print() -> None:
    guard = warmed(prints=10)
    assert guard.stale(1015.0, 10.0) == 0.0
    assert guard.stale(1029.0, 10.0) == 20.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-0.002, 0.002), min_size=50, max_size=200), st.integers(0, 2**31))
def test_a_market_that_walks_is_never_refused(steps: list[float], seed: int) -> None:
    guard, price = LiveGuard(50.0), 50.0
    for i, step in enumerate(steps):
        price *= 1 + step
        assert guard.trade(price, 100, seed % 1000 + i) == GOOD


def test_on_a_real_day_it_finds_every_print_the_vendor_marked_and_hardly_another() -> None:
    path = SHARED / "intraday" / "lean_tick_trade.parquet"
    if not path.exists():
        pytest.skip(f"real sample {path.name} is not on this machine")
    day = pl.scan_parquet(path).filter(
        (pl.col("symbol") == "SPY") & (pl.col("ts_ny").dt.date() == pl.date(2013, 10, 10))
    )
    rows = day.filter(pl.col("ts_ny").dt.hour() >= 14).collect()
    guard = LiveGuard(rows["price"][0])
    times = rows["ts_ny"].dt.epoch("us") / 1e6
    verdicts = [guard.trade(*row) for row in zip(rows["price"], rows["size"], times, strict=True)]
    bad = pl.Series(verdicts) != GOOD
    assert rows.filter(pl.col("suspicious") & ~bad).height == 0
    assert bad.sum() < 40 < rows.height / 1000
