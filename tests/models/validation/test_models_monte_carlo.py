"""The bootstrap is repeatable, keeps what it should, and its percentiles are those of its paths."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import ValidationError
from models.validation.monte_carlo import block_bootstrap, clustered_block_length

RETURNS = np.random.default_rng(3).normal(0.0005, 0.01, 1000)


def test_the_same_seed_gives_the_same_answer_and_another_does_not() -> None:
    assert block_bootstrap(RETURNS, 100, 1) == block_bootstrap(RETURNS, 100, 1)
    assert block_bootstrap(RETURNS, 100, 1) != block_bootstrap(RETURNS, 100, 2)


def test_percentiles_are_in_order_and_around_what_was_observed() -> None:
    found = block_bootstrap(RETURNS, 400, 7)
    for name in ("terminal_wealth", "cagr", "max_drawdown", "sharpe"):
        figures = [found[name][p] for p in ("p5", "p25", "p50", "p75", "p95")]
        assert figures == sorted(figures)
    assert found["terminal_wealth"]["observed"] == pytest.approx(np.prod(1 + RETURNS))
    assert (
        found["terminal_wealth"]["p5"]
        < found["terminal_wealth"]["observed"]
        < found["terminal_wealth"]["p95"]
    )
    assert found["sharpe"]["mean"] == pytest.approx(found["sharpe"]["observed"], abs=0.15)


def test_the_spread_of_the_sharpe_ratio_is_the_theoretical_one_for_independent_returns() -> None:
    found = block_bootstrap(RETURNS, 800, 7)["sharpe"]
    # One standard error of an annualised ratio is sqrt(252 / n); 5 to 95 % is 3.29 of them.
    assert found["p95"] - found["p5"] == pytest.approx(3.29 * np.sqrt(252 / 1000), rel=0.25)


def test_the_fan_widens_and_ends_at_the_terminal_wealth() -> None:
    found = block_bootstrap(RETURNS, 200, 7)
    fan = found["fan"]
    assert fan["session"][-1] == 1000
    assert fan["p50"][-1] == pytest.approx(found["terminal_wealth"]["p50"])
    width = np.array(fan["p95"]) - np.array(fan["p5"])
    assert width[-1] > width[10] > width[0]


def test_clustered_volatility_asks_for_longer_blocks() -> None:
    random = np.random.default_rng(5)
    calm = random.normal(0, 0.01, 3000)
    level = np.exp(0.6 * np.sin(np.arange(3000) / 60))
    assert clustered_block_length(calm * level) > 3 * clustered_block_length(calm)


def test_a_benchmark_is_lived_through_with_the_same_blocks() -> None:
    assert block_bootstrap(RETURNS, 100, 7, benchmark=RETURNS - 0.0001)["beats_benchmark"] == 1.0
    assert block_bootstrap(RETURNS, 100, 7, benchmark=RETURNS + 0.0001)["beats_benchmark"] == 0.0


def test_certain_loss_and_ruin_are_certain() -> None:
    found = block_bootstrap(np.full(300, -0.005), 50, 7)
    assert found["probability_of_loss"] == found["probability_of_ruin"] == 1.0


@pytest.mark.parametrize("bad", [np.zeros(10), np.full(100, np.nan), np.full(100, -1.0)])
def test_what_cannot_be_bootstrapped_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValidationError):
        block_bootstrap(bad)
