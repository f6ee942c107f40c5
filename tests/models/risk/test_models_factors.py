"""Betas, factors and clusters: published or independently computed numbers, and what must hold for any returns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import RiskError
from models.risk.factors import (
    CORRELATED,
    absorption_ratio,
    correlation_clusters,
    market_beta,
    statistical_factors,
)

RETURNS = Path(__file__).parents[4] / "shared/reference/fixtures/port_ret.csv"


@pytest.fixture(scope="module")
def twenty() -> tuple[list[str], np.ndarray]:
    """A thousand daily returns of twenty US stocks."""
    if not RETURNS.exists():
        pytest.skip(
            "the returns of twenty stocks are not beside the repository (../shared/reference/fixtures)"
        )
    with RETURNS.open() as file:
        rows = list(csv.reader(file))
    return rows[0][1:], np.array([[float(cell) for cell in row[1:]] for row in rows[1:]])


def generated(seed: int, names: int = 6, sessions: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    market = rng.normal(0.0003, 0.01, (sessions, 1))
    return market * rng.normal(1, 0.4, names) + rng.normal(0, 0.01, (sessions, names))


def test_four_factors_absorb_of_twenty_stocks_what_the_reference_says(twenty) -> None:
    assert absorption_ratio(twenty[1], 4) == pytest.approx(0.6825, abs=5e-5)


def test_loadings_rebuild_the_covariance_when_all_factors_are_kept(twenty) -> None:
    returns = twenty[1]
    loadings = statistical_factors(returns, count=20)
    assert loadings @ loadings.T == pytest.approx(np.cov(returns.T), rel=1e-9, abs=1e-12)


def test_stocks_that_move_together_are_one_cluster_and_names_are_numbered_by_place(twenty) -> None:
    symbols, returns = twenty
    found = dict(zip(symbols, correlation_clusters(returns), strict=True))
    assert found["AAPL"] == 0
    assert found["BAC"] == found["JPM"]
    assert found["AAPL"] == found["MSFT"]
    assert found["CVX"] == found["XOM"]
    assert len({found["AAPL"], found["BAC"], found["PEP"], found["CVX"], found["LLY"]}) == 5


def test_beta_is_the_least_squares_slope() -> None:
    returns = generated(1)
    market = returns.mean(axis=1)
    expected = [np.polyfit(market, returns[:, i], 1)[0] for i in range(returns.shape[1])]
    assert market_beta(returns, market) == pytest.approx(np.array(expected), rel=1e-9)


@given(st.integers(0, 10_000), st.integers(2, 8))
@settings(max_examples=40, deadline=None)
def test_betas_of_the_market_itself_average_one_and_a_levered_name_has_its_leverage(
    seed: int, names: int
) -> None:
    returns = generated(seed, names)
    market = returns.mean(axis=1)
    assert market_beta(returns, market).mean() == pytest.approx(1.0)
    assert market_beta(-2.0 * market[:, None], market) == pytest.approx(np.array([-2.0]))


@given(st.integers(0, 10_000), st.integers(2, 8), st.floats(0.1, 50.0))
@settings(max_examples=40, deadline=None)
def test_a_factors_loading_is_the_books_move_at_one_deviation(seed: int, names: int, scale: float) -> None:
    returns = generated(seed, names)
    loadings = statistical_factors(returns, count=names)
    weights = np.random.default_rng(seed).normal(0, 1, names)
    assert np.sum((weights @ loadings) ** 2) == pytest.approx(np.var(returns @ weights, ddof=1), rel=1e-9)
    assert statistical_factors(scale * returns, count=names) == pytest.approx(
        scale * loadings, rel=1e-6, abs=1e-9
    )
    variances = ((loadings / returns.std(axis=0, ddof=1)[:, None]) ** 2).sum(axis=0)
    assert all(np.diff(variances) <= 1e-9), "strongest first"


@given(st.integers(0, 10_000), st.permutations(range(6)))
@settings(max_examples=40, deadline=None)
def test_clusters_do_not_depend_on_the_order_of_names_and_joined_names_correlate(
    seed: int, order: list[int]
) -> None:
    returns = generated(seed) + 0.02 * np.random.default_rng(seed).normal(0, 1, (300, 1)) * np.array(
        [1, 1, 0, 0, 1, 0]
    )
    plain, shuffled = correlation_clusters(returns), correlation_clusters(returns[:, order])
    for i in range(6):
        for j in range(6):
            same = plain[order[i]] == plain[order[j]]
            assert same == (shuffled[i] == shuffled[j])
    correlation = np.corrcoef(returns.T)
    for label in set(plain):
        members = np.flatnonzero(plain == label)
        if len(members) > 1:
            block = correlation[np.ix_(members, members)]
            pairs = block[np.triu_indices(len(members), 1)]
            assert pairs.max() >= CORRELATED


def test_the_same_returns_give_the_same_factors_and_fewer_names_than_factors_are_filled_with_nothing() -> (
    None
):
    returns = generated(4, names=3)
    loadings = statistical_factors(returns)
    assert loadings.shape == (3, 5)
    assert not loadings[:, 3:].any()
    assert np.array_equal(loadings, statistical_factors(returns))
    assert correlation_clusters(returns[:, :1]).tolist() == [0]


def test_a_name_that_never_moved_is_a_cluster_of_its_own_with_no_beta_and_no_loading() -> None:
    returns = generated(5)
    returns[:, 2] = 0.0
    assert market_beta(returns, returns.mean(axis=1))[2] == 0.0
    assert not statistical_factors(returns)[2].any()
    clusters = correlation_clusters(returns)
    assert (clusters == clusters[2]).sum() == 1


def test_too_few_or_broken_returns_and_a_market_that_stands_still_are_refused() -> None:
    with pytest.raises(RiskError, match="at least 21 scenarios"):
        statistical_factors(generated(1, sessions=20))
    holed = generated(1)
    holed[3, 3] = np.nan
    with pytest.raises(RiskError, match="not finite"):
        correlation_clusters(holed)
    with pytest.raises(RiskError, match="did not move"):
        market_beta(generated(1), np.zeros(300))
