"""Crises replayed on the index give the published falls; on weights, what those weights would have done."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from models.errors import ValidationError
from models.validation.stress import CRISES, crisis_replay

PUBLISHED = {  # S&P 500 closes: peak to trough
    "Russia and LTCM 1998": -0.19336001685274917,
    "Dot-com 2000-2002": -0.4914694983829364,
    "Financial crisis 2007-2009": -0.5677538894035716,
    "Lehman 2008": -0.39886554286170806,
    "US downgrade 2011": -0.16770010854857176,
    "Fourth quarter 2018": -0.19778213767806874,
    "Covid 2020": -0.3392495902426059,
    "Bear market 2022": -0.2542509631902864,
}


@pytest.fixture(scope="module")
def index() -> pl.DataFrame:
    from skfolio.datasets import load_sp500_index

    frame = load_sp500_index()
    close = pl.Series("close", frame.iloc[:, 0].to_numpy())
    return pl.DataFrame({"date": [d.date() for d in frame.index], "close": close}).with_columns(
        net=pl.col("close").pct_change()
    )


def test_the_published_falls_of_the_index_are_reproduced(index: pl.DataFrame) -> None:
    returns = index.drop_nulls().with_columns(benchmark=pl.col("net"))
    found = {row["name"]: row for row in crisis_replay(returns)}
    assert set(found) == {crisis.name for crisis in CRISES}
    for name, fall in PUBLISHED.items():
        assert found[name]["portfolio"] == pytest.approx(fall, abs=1e-6), name
        assert found[name]["max_drawdown"] <= found[name]["portfolio"] + 1e-12


def test_only_crises_that_are_covered_whole_are_answered(index: pl.DataFrame) -> None:
    returns = index.drop_nulls().with_columns(benchmark=pl.col("net"))
    short = returns.filter(pl.col("date").is_between(dt.date(2008, 1, 1), dt.date(2020, 3, 1)))
    names = {row["name"] for row in crisis_replay(short)}
    assert "Lehman 2008" in names
    assert "Financial crisis 2007-2009" not in names
    assert "Covid 2020" not in names


def _prices(index: pl.DataFrame, since: dt.date | None = None) -> pl.DataFrame:
    a = index.select(symbol=pl.lit("A"), date="date", adj_close="close")
    b = index.select(symbol=pl.lit("B"), date="date", adj_close=pl.col("close") ** 2 / 1000)
    return pl.concat([a, b if since is None else b.filter(pl.col("date") >= since)])


def test_weights_are_bought_at_the_peak_and_held(index: pl.DataFrame) -> None:
    found = {row["name"]: row for row in crisis_replay({"A": 0.5}, _prices(index))}
    assert found["Covid 2020"]["portfolio"] == pytest.approx(0.5 * PUBLISHED["Covid 2020"], abs=1e-6)
    squared = {row["name"]: row for row in crisis_replay({"B": 1.0}, _prices(index))}
    assert squared["Covid 2020"]["portfolio"] == pytest.approx(
        (1 + PUBLISHED["Covid 2020"]) ** 2 - 1, abs=1e-6
    )


def test_a_name_without_prices_then_takes_the_others_and_it_is_said(index: pl.DataFrame) -> None:
    prices = _prices(index, since=dt.date(2010, 1, 4))
    found = {row["name"]: row for row in crisis_replay({"A": 0.5, "B": 0.5, "GONE": 0.0}, prices)}
    assert found["Lehman 2008"]["proxied"] == 0.5
    assert found["Lehman 2008"]["portfolio"] == pytest.approx(PUBLISHED["Lehman 2008"], abs=1e-6)
    assert found["Covid 2020"]["proxied"] == 0.0


def test_what_cannot_be_replayed_is_one_clear_message(index: pl.DataFrame) -> None:
    with pytest.raises(ValidationError, match="give the canonical price frame"):
        crisis_replay({"A": 1.0})
    with pytest.raises(ValidationError, match="benchmark"):
        crisis_replay(index.drop_nulls())
