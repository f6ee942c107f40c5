"""Features know nothing of the future, nothing of the price level, and are what their formulas say."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from models.alpha.features import FEATURE_NAMES, FORMULAS, compute_features
from models.errors import FeatureError


@pytest.fixture(scope="module")
def bars(make_prices) -> pl.DataFrame:
    return make_prices(names=7, sessions=420, k=0.1, seed=3).drop("adj_close", "dividend", "split")


@pytest.fixture(scope="module")
def whole(bars: pl.DataFrame) -> pl.DataFrame:
    return compute_features(bars)


@settings(max_examples=12, deadline=None)
@given(cut=st.integers(3, 419))
def test_a_history_cut_anywhere_gives_the_same_features(
    bars: pl.DataFrame, whole: pl.DataFrame, cut: int
) -> None:
    day = bars["date"].unique().sort()[cut]
    short = compute_features(bars.filter(pl.col("date") <= day))
    assert_frame_equal(short, whole.filter(pl.col("date") <= day), check_exact=True)


@settings(max_examples=6, deadline=None)
@given(cut=st.integers(260, 418), poison=st.sampled_from([math.nan, 1e9, -1.0, 0.0, None]))
def test_nothing_done_to_the_future_reaches_the_past(
    bars: pl.DataFrame, whole: pl.DataFrame, cut: int, poison: float | None
) -> None:
    day = bars["date"].unique().sort()[cut]
    columns = ("open", "high", "low", "close", "volume")
    poisoned = bars.with_columns(
        pl.when(pl.col("date") > day).then(pl.lit(poison, dtype=pl.Float64)).otherwise(pl.col(c)).alias(c)
        for c in columns
    )
    past = pl.col("date") <= day
    assert_frame_equal(compute_features(poisoned).filter(past), whole.filter(past), check_exact=True)


def test_a_later_split_leaves_past_features_as_they_were(bars: pl.DataFrame, whole: pl.DataFrame) -> None:
    price = pl.col("open", "high", "low", "close")
    split = bars.with_columns(price / 7.0, pl.col("volume") * 7.0)
    assert_frame_equal(compute_features(split), whole, rel_tol=1e-4, abs_tol=1e-6)


def test_the_order_of_the_rows_does_not_matter(bars: pl.DataFrame, whole: pl.DataFrame) -> None:
    assert_frame_equal(
        compute_features(bars.sample(fraction=1.0, shuffle=True, seed=1)), whole, check_exact=True
    )


def test_a_value_is_a_finite_number_or_missing(whole: pl.DataFrame) -> None:
    values = whole.select(FEATURE_NAMES)
    assert all(kind == pl.Float32 for kind in values.dtypes)
    assert values.select(pl.all().is_finite().fill_null(True).all()).row(0) == (True,) * len(FEATURE_NAMES)


def test_after_a_year_nothing_is_missing(whole: pl.DataFrame) -> None:
    late = whole.filter(pl.int_range(pl.len()).over("symbol") > 260)
    assert late.null_count().sum_horizontal().item() == 0


def test_flat_prices_and_no_volume_make_missing_values_not_errors(bars: pl.DataFrame) -> None:
    dead = bars.with_columns(
        *(pl.lit(10.0).alias(c) for c in ("open", "high", "low", "close")), volume=pl.lit(0.0)
    )
    features = compute_features(dead)
    assert features.height == dead.height
    assert features["volume_surprise"].null_count() == dead.height
    assert features["skewness_63"].null_count() == dead.height


def test_one_name_alone_has_features_and_the_middle_rank(bars: pl.DataFrame) -> None:
    alone = compute_features(bars.filter(pl.col("symbol") == "S000"))
    assert set(alone["rank_reversal_5"].drop_nulls()) == {0.0}


def test_the_names_of_a_session_are_ranked_from_end_to_end(whole: pl.DataFrame) -> None:
    last = whole.filter(pl.col("date") == whole["date"].max())
    by_rank = last.sort("rank_momentum_12_1")
    assert by_rank["rank_momentum_12_1"].to_list() == pytest.approx(np.linspace(-0.5, 0.5, 7).tolist())
    assert by_rank["momentum_12_1"].is_sorted()


def test_features_equal_their_formulas_written_out_in_numpy(bars: pl.DataFrame, whole: pl.DataFrame) -> None:
    wide = {
        c: bars.pivot(on="symbol", index="date", values=c).sort("date").drop("date").to_numpy()
        for c in ("open", "high", "low", "close", "volume")
    }
    c, h, low, v = wide["close"], wide["high"], wide["low"], wide["close"] * wide["volume"]
    r = np.full_like(c, np.nan)
    r[1:] = c[1:] / c[:-1] - 1
    m = r.mean(axis=1, keepdims=True)
    t = len(c) - 1
    last = slice(t - 251, t + 1)
    expected = {
        "momentum_12_1": c[t - 21] / c[t - 252] - 1,
        "reversal_5": c[t] / c[t - 5] - 1,
        "volatility_63": r[t - 62 : t + 1].std(axis=0, ddof=1),
        "high_252": c[t] / h[last].max(axis=0) - 1,
        "low_252": c[t] / low[last].min(axis=0) - 1,
        "range_21": np.sqrt((np.log(h / low) ** 2)[t - 20 : t + 1].mean(axis=0) / (4 * np.log(2))),
        "volume_surprise": np.log(v[t] / v[t - 20 : t + 1].mean(axis=0)),
        "illiquidity_21": np.log(1e-15 + (np.abs(r) / v)[t - 20 : t + 1].mean(axis=0)),
        "beta_252": [np.cov(r[last, i], m[last, 0], ddof=0)[0, 1] / m[last, 0].var() for i in range(7)],
        "relative_21": (r - m)[t - 20 : t + 1].sum(axis=0),
        "residual_momentum_12_1": (r - m)[t - 251 : t - 20].sum(axis=0)
        / (np.sqrt(231) * (r - m)[last].std(axis=0, ddof=1)),
        "trend_63": (c[t] - c[t - 63]) / np.abs(np.diff(c[t - 63 : t + 1], axis=0)).sum(axis=0),
        "downside_63": np.sqrt((np.minimum(r, 0) ** 2)[t - 62 : t + 1].mean(axis=0))
        / r[t - 62 : t + 1].std(axis=0, ddof=1),
    }
    found = whole.filter(pl.col("date") == whole["date"].max()).sort("symbol")
    for name, values in expected.items():
        assert found[name].to_list() == pytest.approx(list(values), rel=2e-5, abs=1e-6), name


def test_a_missing_column_is_named() -> None:
    with pytest.raises(FeatureError, match="volume"):
        compute_features(pl.DataFrame({"symbol": ["A"], "date": [None], "close": [1.0]}))


def test_every_feature_has_a_formula_and_there_are_some_thirty() -> None:
    assert 25 <= len(FEATURE_NAMES) <= 40
    assert all(FORMULAS[name] for name in FEATURE_NAMES)
