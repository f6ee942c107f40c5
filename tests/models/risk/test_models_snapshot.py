"""A risk snapshot is what was known at one close, and comes back only as it was written."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.errors import ArtifactError, RiskError
from models.risk.snapshot import (
    SCENARIOS,
    RiskSnapshot,
    build_snapshot,
    load_snapshot,
    save_snapshot,
    with_factors,
)


@pytest.fixture(scope="module")
def as_of(prices: pl.DataFrame):
    return prices["date"].unique().sort()[700]


@pytest.fixture(scope="module")
def snapshot(prices: pl.DataFrame, as_of) -> RiskSnapshot:
    return build_snapshot(prices, as_of=as_of, scenarios=250)


def _same(a: RiskSnapshot, b: RiskSnapshot) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def test_its_figures_are_those_of_the_prices(prices: pl.DataFrame, snapshot: RiskSnapshot, as_of) -> None:
    own = prices.filter(pl.col("symbol") == "S004", pl.col("date") <= as_of)
    close, volume = own["close"].to_numpy(), own["volume"].to_numpy()
    i = snapshot.index("S004")
    returns = close[1:] / close[:-1] - 1
    assert snapshot.close[i] == close[-1]
    assert snapshot.returns.shape == (250, 30)
    assert snapshot.returns[:, i] == pytest.approx(returns[-250:])
    assert snapshot.daily_volatility[i] == pytest.approx(returns[-63:].std(ddof=1))
    assert snapshot.average_volume[i] == pytest.approx((close * volume)[-21:].mean() / close[-1])
    assert 0 < snapshot.spread[i] <= 0.02


def test_what_comes_after_the_close_is_not_looked_at(
    prices: pl.DataFrame, snapshot: RiskSnapshot, as_of
) -> None:
    poisoned = prices.with_columns(
        pl.when(pl.col("date") > as_of).then(1e9).otherwise(pl.col(c)).alias(c)
        for c in ("open", "high", "low", "close", "adj_close", "volume")
    )
    assert _same(build_snapshot(poisoned, as_of=as_of, scenarios=250), snapshot)


def test_a_young_name_takes_the_markets_returns_of_before_it_was_listed(prices: pl.DataFrame, as_of) -> None:
    sessions = prices["date"].unique().sort()
    young = prices.filter((pl.col("symbol") != "S000") | (pl.col("date") > sessions[690]))
    found = build_snapshot(young, as_of=as_of, scenarios=250)
    i = found.index("S000")
    others = np.delete(found.returns, i, axis=1)
    assert found.returns[:-10, i] == pytest.approx(others[:-10].mean(axis=1))
    assert found.daily_volatility[i] >= np.median(found.daily_volatility)


def test_a_gap_stands_still_and_the_next_return_covers_it(prices: pl.DataFrame, as_of) -> None:
    missing = prices["date"].unique().sort()[650]
    gap = prices.filter((pl.col("symbol") != "S000") | (pl.col("date") != missing))
    whole, found = (build_snapshot(p, as_of=as_of, scenarios=250) for p in (prices, gap))
    i, at = found.index("S000"), 250 - 51
    assert found.returns[at, i] == 0.0
    both = (1 + whole.returns[at, i]) * (1 + whole.returns[at + 1, i]) - 1
    assert found.returns[at + 1, i] == pytest.approx(both)


def test_a_name_that_did_not_trade_is_left_out_and_refused(prices: pl.DataFrame, as_of) -> None:
    without = prices.filter((pl.col("symbol") != "S003") | (pl.col("date") != as_of))
    found = build_snapshot(without, as_of=as_of, scenarios=100)
    assert "S003" not in found.symbols
    with pytest.raises(RiskError, match="S003 is not in the risk snapshot"):
        found.index("S003")


def test_a_split_changes_no_risk_figure(prices: pl.DataFrame, snapshot: RiskSnapshot, as_of) -> None:
    sessions = prices["date"].unique().sort()
    before = (pl.col("symbol") == "S002") & (pl.col("date") < sessions[695])
    raw = prices.with_columns(  # before a 4:1 split the raw price was four times as high
        *(
            pl.when(before).then(pl.col(c) * 4).otherwise(pl.col(c)).alias(c)
            for c in ("open", "high", "low", "close")
        ),
        volume=pl.when(before).then(pl.col("volume") / 4).otherwise(pl.col("volume")),
    )
    found = build_snapshot(raw, as_of=as_of, scenarios=250)
    assert found.returns == pytest.approx(snapshot.returns)
    assert found.average_volume == pytest.approx(snapshot.average_volume)
    assert found.daily_volatility == pytest.approx(snapshot.daily_volatility)


def test_a_session_without_prices_or_with_too_few_before_it_is_refused(prices: pl.DataFrame) -> None:
    import datetime as dt

    with pytest.raises(RiskError, match="no prices on 2031-01-01"):
        build_snapshot(prices, as_of=dt.date(2031, 1, 1))
    with pytest.raises(RiskError, match="sessions up to"):
        build_snapshot(prices, as_of=prices["date"].unique().sort()[10])


def test_it_comes_back_as_it_was_and_its_bytes_are_always_the_same(
    snapshot: RiskSnapshot, tmp_path: Path
) -> None:
    path, digest = save_snapshot(snapshot, tmp_path / "a")
    other, again = save_snapshot(snapshot, tmp_path / "b")
    assert digest == again == hashlib.sha256(other.read_bytes()).hexdigest()
    assert _same(load_snapshot(path, digest), snapshot)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_changed_or_missing_snapshot_is_refused(snapshot: RiskSnapshot, tmp_path: Path) -> None:
    path, digest = save_snapshot(snapshot, tmp_path)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="was changed or replaced"):
        load_snapshot(path, digest)
    with pytest.raises(ArtifactError, match="not a risk snapshot"):
        load_snapshot(path, hashlib.sha256(bytes(content)).hexdigest())
    with pytest.raises(ArtifactError, match="cannot read"):
        load_snapshot(tmp_path / "none.npz", digest)


def test_arrays_that_do_not_fit_the_symbols_are_refused(snapshot: RiskSnapshot, tmp_path: Path) -> None:
    path, digest = save_snapshot(replace(snapshot, close=snapshot.close[:-1]), tmp_path)
    with pytest.raises(ArtifactError, match="damaged: close"):
        load_snapshot(path, digest)


def test_it_carries_what_the_portfolio_limits_read(snapshot: RiskSnapshot) -> None:
    names = len(snapshot.symbols)
    assert snapshot.beta is not None
    assert snapshot.loadings is not None
    assert snapshot.cluster is not None
    assert snapshot.beta.mean() == pytest.approx(1.0)
    assert snapshot.loadings.shape == (names, 5)
    assert snapshot.cluster.shape == (names,)
    assert SCENARIOS == 1000


def test_a_fall_of_a_tenth_under_the_prior_close_restricts_short_sales(prices: pl.DataFrame, as_of) -> None:
    own = (pl.col("symbol") == "S004") & (pl.col("date") == as_of)
    prior = prices.filter(pl.col("symbol") == "S004", pl.col("date") < as_of).sort("date")["close"][-1]
    for low, restricted in ((0.9 * prior, 1.0), (0.901 * prior, 0.0)):
        fell = prices.with_columns(low=pl.when(own).then(low).otherwise(pl.col("low")))
        found = build_snapshot(fell, as_of=as_of, scenarios=100)
        assert found.restricted is not None
        assert found.restricted[found.index("S004")] == restricted
        assert found.restricted.sum() == restricted


def test_a_file_of_the_first_format_loads_without_what_it_lacks(
    snapshot: RiskSnapshot, tmp_path: Path
) -> None:
    old = replace(snapshot, beta=None, loadings=None, cluster=None, restricted=None)
    path, _ = save_snapshot(old, tmp_path)
    with np.load(path) as stored:
        first = {name: stored[name] for name in stored.files if name != "format"}
    np.savez(path, **first)
    found = load_snapshot(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert (found.beta, found.loadings, found.cluster, found.restricted) == (None, None, None, None)
    assert np.array_equal(found.returns, snapshot.returns)
    assert with_factors(found).beta == pytest.approx(snapshot.beta)


def test_a_file_of_a_later_format_is_refused_with_the_way_out(snapshot: RiskSnapshot, tmp_path: Path) -> None:
    path, _ = save_snapshot(snapshot, tmp_path)
    with np.load(path) as stored:
        later = {name: stored[name] for name in stored.files} | {"format": np.array(3)}
    np.savez(path, **later)
    with pytest.raises(ArtifactError, match="format 3, this version reads up to 2: update Sallyport"):
        load_snapshot(path, hashlib.sha256(path.read_bytes()).hexdigest())
