"""Historical VaR and expected shortfall: published numbers, definitions, and the one-order update."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import RiskError
from models.risk.value_at_risk import Scenarios, historical

FIXTURE = Path(__file__).resolve().parents[4] / "shared/reference/fixtures/sp500_ret_pct.csv"


@pytest.mark.parametrize(
    ("level", "var", "es"),
    [(0.95, 1.8643329744485, 2.8609270423166664), (0.99, 3.3059417589174003, 4.688736426668628)],
)
def test_the_published_figures_of_twenty_years_of_the_sp500(level: float, var: float, es: float) -> None:
    if not FIXTURE.exists():
        pytest.skip("the S&P 500 returns are not beside the repository (../shared/reference/fixtures)")
    with FIXTURE.open() as file:
        rows = list(csv.reader(file))
    returns = np.array([float(row[-1]) for row in rows[1:]])
    assert historical(returns, level) == (pytest.approx(var, abs=1e-9), pytest.approx(es, abs=1e-9))


def test_a_hand_made_tail() -> None:
    pnl = np.arange(-50.0, 51.0)  # 101 scenarios: the 5 % quantile is exactly the sixth value
    assert historical(pnl, 0.95) == (45.0, 47.5)


pnl_samples = st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=200).map(np.array)


@given(pnl=pnl_samples, level=st.sampled_from([0.9, 0.95, 0.975, 0.99]))
def test_it_is_numpys_quantile_and_the_mean_at_or_below_it(pnl: np.ndarray, level: float) -> None:
    var, es = historical(pnl, level)
    quantile = np.quantile(pnl, 1 - level)
    assert -var == pytest.approx(quantile, rel=1e-9, abs=1e-6)
    assert -es == pytest.approx(pnl[pnl <= -var + 1e-9 * (1 + abs(var))].mean(), rel=1e-6, abs=1e-5)
    assert es >= var - 1e-6


@given(pnl=pnl_samples, scale=st.floats(0.01, 100))
def test_twice_the_book_is_twice_the_risk(pnl: np.ndarray, scale: float) -> None:
    var, es = historical(pnl)
    assert historical(pnl * scale) == pytest.approx((var * scale, es * scale), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_pnl_that_is_not_finite_is_refused_wherever_it_stands(bad: float) -> None:
    for at in (0, 50, 99):
        pnl = np.linspace(-1, 1, 100)
        pnl[at] = bad
        with pytest.raises(RiskError, match="not finite"):
            historical(pnl)


def test_too_few_scenarios_or_a_senseless_level_are_refused() -> None:
    with pytest.raises(RiskError, match="at least 20"):
        historical(np.zeros(5))
    with pytest.raises(RiskError, match="level"):
        historical(np.zeros(100), 0.05)


@settings(max_examples=30)
@given(
    orders=st.lists(st.tuples(st.sampled_from(["A", "B", "C"]), st.floats(-1e6, 1e6)), max_size=40),
    seed=st.integers(0, 1000),
)
def test_the_running_book_equals_a_full_revaluation(orders: list[tuple[str, float]], seed: int) -> None:
    returns = np.random.default_rng(seed).normal(0, 0.02, (120, 3))
    book = Scenarios(("A", "B", "C"), returns)
    usd = {"A": 1000.0, "B": -500.0, "C": 0.0}
    book.set_book(usd)
    for symbol, change in orders:
        asked = book.measure_with(symbol, change)
        usd[symbol] += change
        book.apply(symbol, change)
        assert book.measure() == pytest.approx(asked, abs=1e-6)
    revalued = returns @ np.array([usd[s] for s in ("A", "B", "C")])
    assert book.pnl == pytest.approx(revalued, abs=1e-5)
    assert {s: book.position(s) for s in usd} == pytest.approx(usd)


def test_asking_about_an_order_does_not_change_the_book() -> None:
    book = Scenarios(("A",), np.random.default_rng(1).normal(0, 0.02, (100, 1)))
    book.set_book({"A": 100.0})
    before = book.measure()
    book.measure_with("A", 1e6)
    assert book.measure() == before


def test_a_name_without_scenarios_is_refused_not_taken_as_riskless() -> None:
    book = Scenarios(("A",), np.zeros((100, 1)))
    assert "A" in book
    assert "B" not in book
    asks = (
        lambda: book.measure_with("B", 1.0),
        lambda: book.apply("B", 1.0),
        lambda: book.set_book({"B": 1.0}),
    )
    for ask in asks:
        with pytest.raises(RiskError, match="B is not in the risk snapshot"):
            ask()


def test_scenarios_that_are_not_finite_are_refused() -> None:
    with pytest.raises(RiskError):
        Scenarios(("A",), np.array([[np.nan]] * 30))
    book = Scenarios(("A",), np.zeros((30, 1)))
    with pytest.raises(RiskError):
        book.apply("A", float("nan"))
    with pytest.raises(RiskError):
        book.set_book({"A": float("inf")})
