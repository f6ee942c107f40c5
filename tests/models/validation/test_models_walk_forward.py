"""The walk-forward finds what is there, nothing where nothing is, and refuses what cannot be."""

from __future__ import annotations

import datetime as dt

import msgspec
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from models.errors import LeakageError, ValidationError
from models.panel import to_panel
from models.strategy import Costs, Strategy
from models.validation.book import market_of, simulate
from models.validation.walk_forward import WalkForward, daily_ic, survivors, walk_forward

SECTORS = {f"S{i:03d}": f"sector {i % 5}" for i in range(60)}


def _end(prices: pl.DataFrame) -> dt.date:
    return prices["date"].max()  # type: ignore[return-value]


@pytest.fixture(scope="module")
def found(prices: pl.DataFrame, quick_strategy: Strategy) -> WalkForward:
    return walk_forward(prices, quick_strategy, SECTORS, as_of=_end(prices))


def test_a_planted_signal_is_recovered_at_its_known_strength(found: WalkForward, planted_ic) -> None:
    # The rank correlation of a normal pair is a little under the Pearson one.
    known = 6 / np.pi * np.arcsin(planted_ic(0.05) / 2)
    assert 0.65 * known < found.metrics["information_coefficient"] < 1.25 * known
    assert found.metrics["ic_t"] > 4


def test_nothing_is_found_in_noise(make_prices, quick_strategy: Strategy) -> None:
    noise = make_prices(k=0.0, seed=11)
    found = walk_forward(noise, quick_strategy, SECTORS, as_of=_end(noise))
    assert abs(found.metrics["information_coefficient"]) < 0.03
    assert abs(found.metrics["ic_t"]) < 3


def test_a_result_too_good_to_be_true_fails(make_prices, quick_strategy: Strategy) -> None:
    oracle = make_prices(k=0.35, seed=2)
    with pytest.raises(LeakageError, match="knows the future"):
        walk_forward(oracle, quick_strategy, SECTORS, as_of=_end(oracle))


def test_every_score_is_out_of_sample(found: WalkForward) -> None:
    assert len(found.folds) >= 2
    for fold in found.folds:
        assert fold["train_to"] < fold["known_by"] < fold["test_from"] <= fold["test_to"]
    tested = [d for f in found.folds for d in (f["test_from"], f["test_to"])]
    assert tested == sorted(tested)
    assert found.scores["date"].min() == found.folds[0]["test_from"]
    assert found.scores.select(pl.struct("symbol", "date").is_duplicated().any()).item() is False


def test_what_comes_later_changes_no_earlier_score_or_return(
    prices: pl.DataFrame, found: WalkForward, quick_strategy: Strategy
) -> None:
    cut = prices["date"].unique().sort()[790]
    early = walk_forward(prices, quick_strategy, SECTORS, as_of=cut)
    overlap = found.scores.filter(pl.col("date") <= cut).drop("label")
    assert_frame_equal(early.scores.drop("label"), overlap, check_exact=True)
    assert_frame_equal(early.returns, found.returns.filter(pl.col("date") <= cut), rel_tol=1e-9)


def test_prices_after_as_of_are_not_looked_at(prices: pl.DataFrame, quick_strategy: Strategy) -> None:
    cut = prices["date"].unique().sort()[790]
    poisoned = prices.with_columns(
        pl.when(pl.col("date") > cut).then(1e6).otherwise(pl.col(c)).alias(c)
        for c in ("open", "high", "low", "close", "adj_close", "volume")
    )
    a = walk_forward(prices, quick_strategy, SECTORS, as_of=cut)
    b = walk_forward(poisoned, quick_strategy, SECTORS, as_of=cut)
    assert_frame_equal(a.returns, b.returns, check_exact=True)
    assert a.metrics == b.metrics


def test_net_is_gross_less_costs_and_metrics_are_of_the_net(found: WalkForward) -> None:
    returns = found.returns
    assert (returns["gross"] - returns["cost"]).to_list() == returns["net"].to_list()
    assert (returns["cost"] >= 0).all()
    assert found.metrics["sharpe_net"] < found.metrics["sharpe_gross"]
    assert found.metrics["sessions"] == returns.height
    assert found.metrics["cost_bps_per_day"] == pytest.approx(1e4 * returns["cost"].mean())
    assert returns["date"].is_sorted()
    assert returns["date"].is_unique().all()


def test_dearer_trading_costs_more(
    prices: pl.DataFrame, found: WalkForward, quick_strategy: Strategy
) -> None:
    dear = msgspec.structs.replace(quick_strategy, costs=Costs(capital_usd=1e8, commission_bps=5.0))
    costly = walk_forward(prices, dear, SECTORS, as_of=_end(prices))
    assert costly.metrics["cost_bps_per_day"] > found.metrics["cost_bps_per_day"]
    assert costly.metrics["information_coefficient"] == found.metrics["information_coefficient"]


def test_progress_is_told_from_start_to_end(prices: pl.DataFrame, quick_strategy: Strategy) -> None:
    told: list[tuple[str, int, int]] = []
    walk_forward(prices, quick_strategy, SECTORS, as_of=_end(prices), progress=lambda *a: told.append(a))
    for stage in ("features", "folds", "book"):
        steps = [(done, total) for name, done, total in told if name == stage]
        assert steps[-1][0] == steps[-1][1]
        assert steps == sorted(steps)


def test_too_short_a_history_is_one_clear_message(prices: pl.DataFrame, quick_strategy: Strategy) -> None:
    with pytest.raises(ValidationError, match="ingest a longer history"):
        walk_forward(prices, quick_strategy, SECTORS, as_of=prices["date"].unique().sort()[255])
    with pytest.raises(ValidationError, match="no prices up to"):
        walk_forward(prices, quick_strategy, SECTORS, as_of=dt.date(1999, 1, 1))


@pytest.mark.parametrize(("ahead", "pays"), [(1, False), (2, True)])
def test_a_score_earns_only_from_the_second_session_after_it(
    prices: pl.DataFrame, quick_strategy: Strategy, ahead: int, pays: bool
) -> None:
    """Knowing tomorrow's return is worth nothing when the trade is done at tomorrow's close."""
    daily = msgspec.structs.replace(
        quick_strategy,
        portfolio=msgspec.structs.replace(quick_strategy.portfolio, rebalance_sessions=1, keep=1.0, band=0.0),
    )
    panel = to_panel(prices, ("open", "high", "low", "close", "volume", "adj_close"))
    market = market_of(panel, daily)
    oracle = np.full_like(market.returns, np.nan)
    oracle[:-ahead] = market.returns[ahead:]
    book = simulate(market, oracle, SECTORS, daily, first=300)
    excess = (book.gross - book.benchmark)[2:].mean() * 252
    assert bool(excess > 1.0) is pays


def test_the_book_drifts_is_charged_and_waits_between_rebalances(
    prices: pl.DataFrame, quick_strategy: Strategy
) -> None:
    panel = to_panel(prices, ("open", "high", "low", "close", "volume", "adj_close"))
    market = market_of(panel, quick_strategy)
    scores = np.random.default_rng(0).normal(size=market.returns.shape)
    book = simulate(market, scores, SECTORS, quick_strategy, first=300)
    traded = np.flatnonzero(book.turnover)
    assert set(np.diff(traded)) <= {5, 10}
    assert (book.cost[book.turnover == 0] == 0).all()
    assert (book.cost[traded] > 0).all()
    assert book.turnover[0] == pytest.approx(0.95, abs=1e-3)
    assert (book.held <= 12).all()


def test_the_information_coefficient_is_a_daily_rank_correlation() -> None:
    day = [dt.date(2020, 1, 1)] * 6
    scores = pl.DataFrame(
        {
            "symbol": list("ABCDEF"),
            "date": day,
            "score": [1.0, 2.0, 3.0, 4.0, 5.0, 99.0],
            "label": [0.1, 0.3, 0.2, 0.5, 0.4, None],
        }
    )
    assert daily_ic(scores)["ic"].to_list() == pytest.approx([0.8])  # Spearman of 1 2 3 4 5 and 1 3 2 5 4
    assert daily_ic(scores.head(4)).height == 0


def test_survivors_are_the_names_that_still_trade_on_the_last_session(prices: pl.DataFrame) -> None:
    assert survivors(prices) == 1.0
    last = prices["date"].max()
    one = prices["symbol"][0]
    gone = prices.filter((pl.col("symbol") != one) | (pl.col("date") < last))
    assert survivors(gone) == pytest.approx(1 - 1 / prices["symbol"].n_unique())
