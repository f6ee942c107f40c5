"""Every statistic against a number that someone else published or computed."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ValidationError
from models.validation import performance as p
from models.validation.monte_carlo import block_length

FIXTURE = Path(__file__).resolve().parents[4] / "shared/reference/fixtures/sp500_ret_pct.csv"


@pytest.fixture(scope="module")
def sp500() -> np.ndarray:
    if not FIXTURE.exists():
        pytest.skip("the S&P 500 returns are not beside the repository (../shared/reference/fixtures)")
    with FIXTURE.open() as file:
        return np.array([float(row[-1]) for row in list(csv.reader(file))[1:]]) / 100


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [  # QuantStats 0.0.86 = empyrical-reloaded 0.7.1
        (p.sharpe, 0.2827392290448092),
        (p.sortino, 0.3986140298567033),
        (p.cagr, 0.03639554326855832),
        (p.volatility, 0.1909820714137133),
        (p.max_drawdown, -0.5677538775029856),
        (p.calmar, 0.06410443805091746),
        (p.skewness, -0.02048292764846533),
        (lambda x: p.kurtosis(x) - 3, 8.336117913794524),
    ],
)
def test_twenty_years_of_the_sp500_as_published(sp500: np.ndarray, statistic, expected: float) -> None:
    assert statistic(sp500) == pytest.approx(expected, abs=1e-9)


def test_psr_of_the_sp500_is_quantstats_to_its_other_moments(sp500: np.ndarray) -> None:
    assert p.psr(sp500) == pytest.approx(0.8965831153987317, abs=2e-4)  # theirs corrects moments for n


def test_the_block_length_of_the_sp500_is_the_published_one(sp500: np.ndarray) -> None:
    assert block_length(sp500) == pytest.approx(9.085239, abs=1e-4)
    assert block_length(sp500**2) == pytest.approx(136.21064, abs=1e-3)


def test_the_probabilistic_sharpe_ratio_of_the_2012_paper() -> None:
    ratio = 0.036 / 0.079
    assert p.probabilistic_sharpe(ratio, 24) == pytest.approx(0.9812427223085144, abs=1e-9)
    fat = p.probabilistic_sharpe(ratio, 24, skew=-2.448, kurt=10.164)
    assert fat == pytest.approx(0.9127093395948954, abs=1e-9)
    assert p.min_track_record(ratio, skew=-2.448, kurt=10.164) == pytest.approx(34.76135780432688, abs=1e-6)


@pytest.mark.parametrize(
    ("periods", "skew", "kurt", "years"),
    [
        (252, 0, 3, 2.7309842751596634),
        (52, 0, 3, 2.828833586945237),
        (12, 0, 3, 3.239800696444647),
        (12, -0.72, 5.78, 4.991258223875627),
    ],
)
def test_the_track_record_of_the_2012_paper(periods: int, skew: float, kurt: float, years: float) -> None:
    root = math.sqrt(periods)
    found = p.min_track_record(2 / root, skew=skew, kurt=kurt, target=1 / root) / periods
    assert found == pytest.approx(years, abs=1e-9)


@pytest.mark.parametrize(
    ("trials", "skew", "kurt", "expected"),
    [(100, -3, 10, 0.9003968344493903), (46, -3, 10, 0.9505017068755787), (88, 0, 3, 0.9504908166760139)],
)
def test_the_deflated_sharpe_ratio_of_the_2014_paper(
    trials: int, skew: float, kurt: float, expected: float
) -> None:
    found = p.deflated_sharpe(
        2.5 / math.sqrt(250), 1250, trials=trials, trial_variance=0.5 / 250, skew=skew, kurt=kurt
    )
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("trials", "expected"), [(2, 0.5197553442805939), (10, 1.57459830134575), (1000, 3.255121513652723)]
)
def test_the_expected_best_of_many_trials(trials: int, expected: float) -> None:
    assert p.expected_max_sharpe(trials) == pytest.approx(expected, abs=1e-12)


def test_a_hand_made_drawdown_starts_from_what_was_paid_in() -> None:
    assert p.drawdowns([-0.1, 0.0, 0.2]) == pytest.approx([-0.1, -0.1, 0.0])
    assert p.max_drawdown([0.5, -0.5, 0.1]) == pytest.approx(-0.5)


def test_a_series_that_never_moves_has_no_ratio_and_no_error() -> None:
    flat = np.zeros(50)
    assert p.sharpe(flat) == p.sortino(flat) == p.calmar(flat) == p.beta(flat, flat) == 0.0


def test_losing_everything_is_minus_one() -> None:
    assert p.cagr([0.1, -1.0, 0.1]) == -1.0


returns = st.lists(st.floats(-0.2, 0.2), min_size=20, max_size=60).map(np.array)


@given(x=returns, scale=st.floats(0.1, 3))
def test_a_ratio_does_not_depend_on_the_size_of_the_bet(x: np.ndarray, scale: float) -> None:
    if x.std() > 1e-6:
        assert p.sharpe(scale * x) == pytest.approx(p.sharpe(x), rel=1e-6)
        assert p.beta(scale * x, x) == pytest.approx(scale, rel=1e-9)
        assert 0.0 <= p.psr(x) <= 1.0


@pytest.mark.parametrize("bad", [[], [0.1], [0.1, math.nan], [[0.1, 0.2]]])
def test_what_is_no_return_series_is_refused(bad: list) -> None:
    with pytest.raises(ValidationError):
        p.sharpe(bad)


def test_overlapping_observations_have_a_smaller_t() -> None:
    random = np.random.default_rng(1)
    base = random.normal(0.05, 1, 4000)
    overlapping = np.convolve(base, np.ones(5) / 5, mode="valid")
    plain = overlapping.mean() / overlapping.std() * math.sqrt(len(overlapping))
    honest = p.newey_west_t(overlapping, 5)
    expected = base.mean() / base.std() * math.sqrt(len(base))
    assert plain > 2 * expected
    assert honest == pytest.approx(expected, rel=0.35)
