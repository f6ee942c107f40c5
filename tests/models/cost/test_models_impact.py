"""The square-root law and the estimate of one order's cost."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cost.estimate import estimate
from models.cost.impact import impact_fraction, impact_fractions
from models.errors import CostError

DAY = dt.date(2026, 9, 1)


def test_the_published_square_root_values() -> None:
    # Y = 1, 2 % volatility: 1 % of daily volume costs 20 bp, 10 % costs 63.2 bp
    assert 1e4 * impact_fraction(1.0, 100.0, 0.02) == pytest.approx(20.0, abs=1e-9)
    assert 1e4 * impact_fraction(10.0, 100.0, 0.02) == pytest.approx(63.245553203367585, abs=1e-9)


def test_a_name_without_volume_cannot_be_traded_for_free() -> None:
    assert impact_fraction(1.0, 0.0, 0.02) == math.inf
    assert np.isinf(impact_fractions(np.array([1.0]), np.array([0.0]), np.array([0.02])))[0]
    assert impact_fractions(np.array([0.0]), np.array([0.0]), np.array([0.02]))[0] == 0.0


@given(qty=st.floats(0, 1e9), adv=st.floats(1, 1e9), volatility=st.floats(0, 1))
def test_four_times_the_shares_cost_twice_as_much_each(qty: float, adv: float, volatility: float) -> None:
    assert impact_fraction(4 * qty, adv, volatility) == pytest.approx(
        2 * impact_fraction(qty, adv, volatility)
    )


@given(qty=st.floats(0, 1e6), adv=st.floats(1, 1e9), volatility=st.floats(0, 1))
def test_the_array_form_is_the_scalar_form(qty: float, adv: float, volatility: float) -> None:
    many = impact_fractions(np.array([qty]), np.array([adv]), np.array([volatility]))[0]
    assert many == pytest.approx(impact_fraction(qty, adv, volatility), rel=1e-12)


@pytest.mark.parametrize("figures", [(-1.0, 1.0, 0.1), (1.0, -1.0, 0.1), (1.0, 1.0, math.nan)])
def test_a_figure_without_meaning_is_refused(figures: tuple[float, float, float]) -> None:
    with pytest.raises(CostError):
        impact_fraction(*figures)


def test_an_estimate_adds_up_and_is_half_a_spread_plus_impact() -> None:
    cost = estimate("buy", Decimal(100), Decimal("50"), 0.0010, 10_000, 0.02, DAY)
    assert cost.spread == pytest.approx(2.5)  # half of 10 bp on 5000
    assert cost.impact == pytest.approx(5000 * 0.02 * 0.1)
    assert cost.total == pytest.approx(cost.fees + cost.spread + cost.impact)
    assert cost.bps == pytest.approx(1e4 * cost.total / 5000)


def test_nothing_traded_costs_nothing() -> None:
    assert estimate("sell", Decimal(0), Decimal(50), 0.001, 0.0, 0.02, DAY).total == 0.0


@pytest.mark.parametrize("spread", [-0.1, 1.5, math.nan])
def test_a_spread_that_is_no_fraction_is_refused(spread: float) -> None:
    with pytest.raises(CostError, match="spread"):
        estimate("buy", Decimal(1), Decimal(1), spread, 1.0, 0.1, DAY)
