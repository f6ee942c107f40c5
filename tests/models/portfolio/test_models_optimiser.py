"""Weights keep every cap, follow the scores, equal published optima, and survive a failing solver."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import OptimiserError
from models.portfolio import mean_variance, optimiser
from models.portfolio.caps import Caps, caps_of
from models.portfolio.optimiser import equal_weights, shrunk_covariance, skfolio_weights, target_weights
from models.portfolio.selection import expected_returns, hold_within_band, select
from models.risk.snapshot import RiskSnapshot, build_snapshot
from models.strategy import Portfolio, Strategy, load_strategy

STRATEGY = load_strategy(Path(__file__).resolve().parents[3] / "strategies/momentum.toml")
FIXTURE = Path(__file__).resolve().parents[4] / "shared/reference/fixtures/port_ret.csv"
SECTORS = ("Energy", "Health Care", "Information Technology", "Utilities")


@pytest.fixture(scope="module")
def snapshot(prices: pl.DataFrame) -> RiskSnapshot:
    return build_snapshot(prices, as_of=prices["date"].max(), scenarios=300)


@pytest.fixture(scope="module")
def sectors(snapshot: RiskSnapshot) -> dict[str, str]:
    return {symbol: SECTORS[i % 4] for i, symbol in enumerate(snapshot.symbols)}


def _scores(snapshot: RiskSnapshot, seed: int = 0) -> pl.DataFrame:
    values = np.random.default_rng(seed).normal(0, 0.05, len(snapshot.symbols))
    return pl.DataFrame({"symbol": snapshot.symbols, "score": values})


def _keeps_caps(weights: dict[str, Decimal], sectors: dict[str, str], strategy: Strategy) -> None:
    book = strategy.portfolio
    assert sum(weights.values()) <= Decimal(str(book.gross))
    assert all(0 < w <= Decimal(str(book.single_name)) for w in weights.values())
    assert all(w == w.quantize(Decimal("0.000001")) for w in weights.values())
    used: dict[str, Decimal] = {}
    for symbol, weight in weights.items():
        group = sectors.get(symbol, "")
        used[group] = used.get(group, Decimal(0)) + weight
    assert all(total <= Decimal(str(book.sector)) for total in used.values())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), held=st.integers(0, 30), crowded=st.booleans())
def test_every_cap_holds_whatever_the_scores_and_the_book(
    snapshot: RiskSnapshot, sectors: dict[str, str], seed: int, held: int, crowded: bool
) -> None:
    groups = {s: "Energy" if crowded and i > 3 else g for i, (s, g) in enumerate(sectors.items())}
    random = np.random.default_rng(seed)
    book = dict(
        zip(
            random.permutation(snapshot.symbols)[:held].tolist(),
            random.dirichlet(np.ones(held)) if held else [],
            strict=True,
        )
    )
    weights = target_weights(_scores(snapshot, seed), snapshot, groups, STRATEGY, book)
    _keeps_caps(weights, groups, STRATEGY)


def test_it_invests_what_it_may_in_the_names_it_should(
    snapshot: RiskSnapshot, sectors: dict[str, str]
) -> None:
    scores = _scores(snapshot)
    weights = target_weights(scores, snapshot, sectors, STRATEGY)
    best = scores.sort("score", descending=True)["symbol"].head(12).to_list()
    assert set(weights) == set(best)
    assert float(sum(weights.values())) == pytest.approx(0.95, abs=1e-4)


def test_one_sector_alone_is_capped_and_the_rest_stays_cash(snapshot: RiskSnapshot) -> None:
    weights = target_weights(_scores(snapshot), snapshot, dict.fromkeys(snapshot.symbols, "Energy"), STRATEGY)
    assert float(sum(weights.values())) == pytest.approx(0.35, abs=1e-4)


def test_names_without_a_sector_share_one_cap(snapshot: RiskSnapshot) -> None:
    weights = target_weights(_scores(snapshot), snapshot, {}, STRATEGY)
    assert float(sum(weights.values())) == pytest.approx(0.35, abs=1e-4)


def test_the_same_scores_on_the_book_it_made_change_little(
    snapshot: RiskSnapshot, sectors: dict[str, str]
) -> None:
    first = target_weights(_scores(snapshot), snapshot, sectors, STRATEGY)
    held = {symbol: float(weight) for symbol, weight in first.items()}
    second = target_weights(_scores(snapshot), snapshot, sectors, STRATEGY, held)
    traded = sum(abs(float(second.get(s, 0)) - held.get(s, 0.0)) for s in {*first, *second})
    assert traded < 0.05


def test_a_held_name_stays_while_its_rank_is_good_enough(
    snapshot: RiskSnapshot, sectors: dict[str, str]
) -> None:
    order = _scores(snapshot).sort("score", descending=True)["symbol"].to_list()
    weights = target_weights(
        _scores(snapshot), snapshot, sectors, STRATEGY, {order[15]: 0.08, order[28]: 0.08}
    )
    assert order[15] in weights  # rank 16 of 12 x 2
    assert order[28] not in weights


def test_what_may_not_be_held_is_not_held(snapshot: RiskSnapshot, sectors: dict[str, str]) -> None:
    scores = pl.concat(
        [
            _scores(snapshot).with_columns(
                score=pl.when(pl.col("symbol") == "S001").then(None).otherwise("score")
            ),
            pl.DataFrame({"symbol": ["DELISTED"], "score": [9.0]}),
        ]
    )
    dear = msgspec.structs.replace(
        STRATEGY,
        universe=msgspec.structs.replace(STRATEGY.universe, min_price=float(np.median(snapshot.close))),
    )
    weights = target_weights(scores, snapshot, sectors, dear)
    assert "DELISTED" not in weights
    assert "S001" not in weights
    assert all(snapshot.close[snapshot.index(s)] >= np.median(snapshot.close) for s in weights)


def test_input_that_makes_no_sense_is_one_clear_message(
    snapshot: RiskSnapshot, sectors: dict[str, str]
) -> None:
    scores = _scores(snapshot)
    with pytest.raises(OptimiserError, match="S000 is scored more than once"):
        target_weights(pl.concat([scores, scores.head(1)]), snapshot, sectors, STRATEGY)
    with pytest.raises(OptimiserError, match="none of 1 scored names"):
        target_weights(pl.DataFrame({"symbol": ["X"], "score": [1.0]}), snapshot, sectors, STRATEGY)
    with pytest.raises(OptimiserError, match="long only"):
        target_weights(scores, snapshot, sectors, STRATEGY, {"S000": -0.1})
    with pytest.raises(OptimiserError, match="lack score"):
        target_weights(scores.drop("score"), snapshot, sectors, STRATEGY)


def test_skfolio_and_the_direct_solver_find_the_same_weights(snapshot: RiskSnapshot) -> None:
    names = list(snapshot.symbols[:15])
    returns = snapshot.returns[-252:, :15]
    mu = expected_returns(np.linspace(-0.1, 0.1, 15), snapshot.daily_volatility[:15], 5)
    caps = caps_of([SECTORS[i % 4] for i in range(15)], STRATEGY.portfolio)
    held = np.full(15, 0.05)
    for cost in (None, np.full(15, 2e-5)):
        terms = {"risk_aversion": 4.0, "cost": cost, "previous": None if cost is None else held}
        theirs = skfolio_weights(names, mu, returns, caps, **terms)
        ours = mean_variance.solve(mu, shrunk_covariance(returns), caps, **terms)
        assert ours == pytest.approx(theirs, abs=2e-5)


def test_costs_make_it_trade_less(snapshot: RiskSnapshot) -> None:
    returns = snapshot.returns[-252:, :15]
    mu = expected_returns(np.linspace(-0.1, 0.1, 15), snapshot.daily_volatility[:15], 5)
    caps = caps_of([SECTORS[i % 4] for i in range(15)], STRATEGY.portfolio)
    held = np.full(15, 0.95 / 15)
    traded = [
        np.abs(
            mean_variance.solve(
                mu, shrunk_covariance(returns), caps, risk_aversion=4.0, cost=np.full(15, c), previous=held
            )
            - held
        ).sum()
        for c in (0.0, 1e-4, 1e-2)
    ]
    assert traded[0] > traded[1] > traded[2]
    assert traded[2] < 1e-3


def test_minimum_variance_of_twenty_stocks_is_the_published_one() -> None:
    if not FIXTURE.exists():
        pytest.skip("the 20-stock returns are not beside the repository (../shared/reference/fixtures)")
    with FIXTURE.open() as file:
        rows = list(csv.reader(file))
    names = rows[0][1:]
    returns = np.array([[float(x) for x in row[1:]] for row in rows[1:]])
    caps = Caps(np.zeros(20), 1.0, 1.0, 1.0, tuple(names))
    found = mean_variance.solve(np.zeros(20), 1e4 * np.cov(returns.T), caps, risk_aversion=1.0)
    published = {  # skfolio, PyPortfolioOpt and Riskfolio agree to 8e-6
        "JNJ": 0.25084257, "KO": 0.14438511, "MRK": 0.16553534, "PFE": 0.05754292,
        "PG": 0.06129687, "WMT": 0.2731394, "XOM": 0.0472543,
    }  # fmt: skip
    for name, weight in zip(names, found, strict=True):
        assert weight == pytest.approx(published.get(name, 0.0), abs=2e-5), name


def _broken(*_: object, **__: object) -> None:
    raise RuntimeError("solver is out")


def test_a_failing_skfolio_gives_the_direct_solvers_weights(
    snapshot: RiskSnapshot,
    sectors: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sound = target_weights(_scores(snapshot), snapshot, sectors, STRATEGY)
    monkeypatch.setattr(optimiser, "skfolio_weights", _broken)
    fallen_back = target_weights(_scores(snapshot), snapshot, sectors, STRATEGY)
    assert {s: float(w) for s, w in fallen_back.items()} == pytest.approx(
        {s: float(w) for s, w in sound.items()}, abs=5e-5
    )
    assert "solver is out" in caplog.text


def test_when_every_solver_fails_equal_weights_keep_the_caps(
    snapshot: RiskSnapshot, sectors: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_optimum(*_: object, **__: object) -> None:
        raise OptimiserError("no optimum")

    monkeypatch.setattr(optimiser, "skfolio_weights", _broken)
    monkeypatch.setattr(mean_variance, "solve", no_optimum)
    weights = target_weights(_scores(snapshot), snapshot, sectors, STRATEGY)
    _keeps_caps(weights, sectors, STRATEGY)
    assert float(sum(weights.values())) == pytest.approx(0.95, abs=1e-4)


@given(groups=st.lists(st.sampled_from(SECTORS), min_size=1, max_size=40))
def test_equal_weights_reach_the_budget_inside_the_caps(groups: list[str]) -> None:
    caps = caps_of(groups, STRATEGY.portfolio)
    weights = equal_weights(caps)
    assert caps.admits(weights)
    assert weights.sum() == pytest.approx(caps.budget, abs=1e-9)


@given(groups=st.lists(st.sampled_from(SECTORS), min_size=1, max_size=40), concentration=st.floats(1.0, 10.0))
def test_caps_always_leave_room_for_their_own_lower_bounds(groups: list[str], concentration: float) -> None:
    caps = caps_of(groups, Portfolio(concentration=concentration))
    assert (caps.lower <= caps.upper + 1e-12).all()
    assert (caps.membership @ caps.lower <= caps.sector + 1e-12).all()
    assert caps.lower.sum() <= caps.budget + 1e-9


@given(
    scores=st.lists(st.floats(-1, 1) | st.just(float("nan")), min_size=1, max_size=30),
    names=st.integers(1, 12),
    data=st.data(),
)
def test_selection_takes_the_best_and_never_more_than_asked(scores: list[float], names: int, data) -> None:
    values = np.array(scores)
    held = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    chosen = select(values, held, names=names, keep=1.5)
    known = int((~np.isnan(values)).sum())
    assert len(chosen) == len(set(chosen.tolist())) == min(names, known)
    assert not np.isnan(values[chosen]).any()
    fresh = select(values, np.zeros(len(values), dtype=bool), names=names, keep=1.5)
    assert values[fresh].tolist() == sorted(values[~np.isnan(values)].tolist(), reverse=True)[:names]


def test_the_band_leaves_small_differences_alone() -> None:
    caps = Caps(np.zeros(4), 0.5, 1.0, 1.0, ("a", "b", "c", "d"))
    target = np.array([0.20, 0.20, 0.20, 0.0])
    previous = np.array([0.21, 0.40, 0.0, 0.10])
    assert hold_within_band(target, previous, caps, band=0.25).tolist() == [0.21, 0.20, 0.20, 0.0]


def test_the_band_gives_way_where_it_would_break_the_budget() -> None:
    caps = Caps(np.zeros(3), 0.5, 1.0, 0.6, ("a", "b", "c"))
    weights = hold_within_band(np.full(3, 0.2), np.full(3, 0.24), caps, band=0.25)
    assert weights.sum() == pytest.approx(0.6)
