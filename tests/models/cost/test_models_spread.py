"""EDGE against the authors' own numbers, and its behaviour on bars that do not identify a spread."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from models.cost.spread import TICK_MAX, edge, edge_squared, pooled_spread, quoted_spread
from models.errors import CostError

FIXTURE = Path(__file__).resolve().parents[4] / "shared/reference/fixtures/bidask_ohlc.csv"


@pytest.fixture(scope="module")
def authors_bars() -> np.ndarray:
    if not FIXTURE.exists():
        pytest.skip("the authors' OHLC file is not beside the repository (../shared/reference/fixtures)")
    with FIXTURE.open() as file:
        return np.array([[float(x) for x in row] for row in list(csv.reader(file))[1:]])


def test_edge_equals_the_authors_value_on_their_ten_thousand_bars(authors_bars: np.ndarray) -> None:
    assert edge(*authors_bars.T) == pytest.approx(0.0101849034905478, abs=1e-12)


def test_the_signed_estimate_of_ten_bars_is_the_authors(authors_bars: np.ndarray) -> None:
    assert edge(*authors_bars[:10].T, signed=True) == pytest.approx(-0.016889917516422, abs=1e-12)


def test_the_last_of_the_authors_rolling_estimates_is_matched(authors_bars: np.ndarray) -> None:
    assert edge(*authors_bars[-42:].T) == pytest.approx(0.011376869746508611, abs=1e-12)


def test_bars_that_never_move_identify_no_spread() -> None:
    flat = np.full(20, 100.0)
    assert np.isnan(edge(flat, flat, flat, flat))


def _bars(spread: float, days: int, names: int, seed: int) -> list[np.ndarray]:
    """Efficient prices with a bid-ask bounce of a known size, sampled into daily bars."""
    random = np.random.default_rng(seed)
    ticks = 200
    efficient = np.cumsum(random.normal(0, 0.01 / np.sqrt(ticks), (days * ticks, names)), axis=0)
    side = random.choice([-0.5, 0.5], efficient.shape)
    price = 50 * np.exp(efficient) * (1 + spread * side)
    day = price.reshape(days, ticks, names)
    return [day[:, 0], day.max(axis=1), day.min(axis=1), day[:, -1]]


@pytest.mark.parametrize("spread", [0.005, 0.01])
def test_a_planted_spread_of_the_less_liquid_is_recovered_by_pooling(spread: float) -> None:
    tight, wide = _bars(0.0002, 250, 50, seed=3), _bars(spread, 250, 50, seed=4)
    bars = [np.hstack(pair) for pair in zip(tight, wide, strict=True)]
    estimated = pooled_spread(*bars, np.repeat([2.0, 1.0], 50), dt.date(2015, 1, 2))
    assert estimated[50:] == pytest.approx(spread, rel=0.3)
    assert (estimated[:50] < 0.002).all()


def test_a_reversal_that_all_names_share_is_not_taken_for_a_spread() -> None:
    random = np.random.default_rng(8)
    bars = _bars(0.0002, 250, 60, seed=6)
    # A market-wide overshoot at each close that is gone by the next bar: no spread, but it bounces.
    bars[3] = bars[3] * (1 + random.choice([-0.004, 0.004], (250, 1)))
    bars[1], bars[2] = np.maximum(bars[1], bars[3]), np.minimum(bars[2], bars[3])
    assert edge(*(x[:, 0] for x in bars)) > 0.002
    assert (pooled_spread(*bars, np.arange(60.0), dt.date(2015, 1, 2)) < 0.002).all()


def test_names_are_estimated_alike_in_columns_and_alone() -> None:
    bars = _bars(0.01, 60, 4, seed=5)
    together = edge_squared(*bars)
    alone = [edge_squared(*(x[:, i] for x in bars))[0] for i in range(4)]
    assert together == pytest.approx(alone, rel=1e-12)


def test_no_spread_is_below_a_tick_or_below_zero() -> None:
    bars = _bars(0.0, 250, 3, seed=9)
    estimated = pooled_spread(*bars, np.ones(3), dt.date(2015, 1, 2))
    assert (estimated >= np.minimum(0.01 / bars[3][-1], TICK_MAX) - 1e-15).all()


def test_a_quote_says_its_spread_and_a_crossed_one_is_refused() -> None:
    assert quoted_spread(99.0, 101.0) == pytest.approx(0.02)
    for bid, ask in [(101.0, 99.0), (0.0, 10.0), (float("nan"), 10.0)]:
        with pytest.raises(CostError):
            quoted_spread(bid, ask)
