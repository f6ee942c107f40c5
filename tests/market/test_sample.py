"""The built-in sample: its closes are real to the last bit, everything else is marked as modelled."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from market.calendar import sessions
from market.ingest import SCHEMA
from market.instruments import SCHEMA as INSTRUMENT_SCHEMA
from market.sample import SAMPLE_MODELLED, sample_instruments, sample_prices

GICS = {
    "Communication Services", "Consumer Discretionary", "Consumer Staples", "Energy", "Financials", "Health Care",
    "Industrials", "Information Technology", "Materials", "Real Estate", "Utilities",
}  # fmt: skip


@pytest.fixture(scope="module")
def prices() -> pl.DataFrame:
    return sample_prices()


def test_the_closes_are_exactly_those_of_the_wheel(prices: pl.DataFrame) -> None:
    from skfolio.datasets import load_sp500_dataset

    real = load_sp500_dataset()
    assert sorted(real.columns) == prices["symbol"].unique().sort().to_list()
    for symbol in real.columns:
        ours = prices.filter(pl.col("symbol") == symbol)
        assert ours["date"].to_list() == list(real.index.date)
        assert np.array_equal(ours["close"].to_numpy(), real[symbol].to_numpy())


def test_it_is_canonical_and_complete(prices: pl.DataFrame) -> None:
    assert dict(prices.schema) == SCHEMA
    assert prices.equals(prices.sort("symbol", "date"))
    assert not prices.select("symbol", "date").is_duplicated().any()
    assert prices["date"].unique().sort().to_list() == sessions(date(1990, 1, 2), date(2022, 12, 28))
    assert prices.height == 20 * 8313
    assert prices.null_count().sum_horizontal().item() == 0


def test_every_modelled_bar_holds_its_real_close(prices: pl.DataFrame) -> None:
    wrong = prices.filter(
        (pl.col("high") < pl.max_horizontal("open", "close"))
        | (pl.col("low") > pl.min_horizontal("open", "close"))
        | (pl.col("low") <= 0)
        | (pl.col("volume") < 100)
    )
    assert wrong.is_empty()


def test_ranges_and_volumes_are_of_a_plausible_size(prices: pl.DataFrame) -> None:
    recent = prices.filter(pl.col("date") >= date(2020, 1, 1))
    by_name = recent.group_by("symbol").agg(
        ((pl.col("high") / pl.col("low")).log().mean() / pl.col("close").log().diff().std()).alias("range"),
        (pl.col("close") * pl.col("volume")).median().alias("usd"),
        (pl.col("volume").log().std()).alias("spread"),
    )
    assert by_name["range"].is_between(0.9, 1.6).all()
    assert by_name["usd"].is_between(5e7, 2e10).all()
    assert by_name["spread"].is_between(0.2, 1.0).all()


def test_the_model_is_deterministic_and_a_seed_moves_only_what_is_modelled(prices: pl.DataFrame) -> None:
    sample_prices.cache_clear()
    assert sample_prices().equals(prices)
    other = sample_prices(seed=8)
    modelled = SAMPLE_MODELLED["columns"]
    assert other.drop(modelled).equals(prices.drop(modelled))
    for column in modelled:
        assert (other[column] != prices[column]).mean() > 0.9


def test_what_is_modelled_is_said(prices: pl.DataFrame) -> None:
    assert SAMPLE_MODELLED["columns"] == ["open", "high", "low", "volume"]
    assert "adjusted for splits and dividends" in SAMPLE_MODELLED["how"]


def test_each_symbol_has_a_name_and_a_gics_sector(prices: pl.DataFrame) -> None:
    instruments = sample_instruments()
    assert dict(instruments.schema) == INSTRUMENT_SCHEMA
    assert instruments["symbol"].to_list() == prices["symbol"].unique().sort().to_list()
    assert set(instruments["sector"]) <= GICS
    assert instruments["sector"].n_unique() >= 6
