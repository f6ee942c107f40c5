"""Checks of a single bar: is each number possible, and do the four prices agree with one another?"""

from __future__ import annotations

import polars as pl

from market.findings import Panel, each_row, if_newest, text
from market.ingest import PRICE_COLUMNS

_OHLC_TOLERANCE = 0.005  # of the price: rounding and late prints, in real feeds


def invalid_prices(panel: Panel) -> pl.DataFrame:
    numbers = [*PRICE_COLUMNS, "volume", "adj_close"]
    invalid = {
        name: pl.col(name).is_null()
        | ~pl.col(name).is_finite()
        | ((pl.col(name) < 0) if name == "volume" else (pl.col(name) <= 0))
        for name in numbers
    }
    rows = panel.rows.filter(pl.any_horizontal(invalid.values()))
    named = pl.concat_str(
        [pl.when(test).then(text("{} {}", pl.lit(name), pl.col(name).cast(pl.String).fill_null("null"))) for name, test in invalid.items()],
        separator=", ", ignore_nulls=True,
    )  # fmt: skip
    return each_row(rows, "invalid_price", if_newest("block", "quarantine"), detail=named)


def ohlc(panel: Panel) -> pl.DataFrame:
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    rows = panel.rows.filter(
        (pl.col("high") < top) | (pl.col("low") > bottom) | (pl.col("high") < pl.col("low"))
    )
    rows = rows.with_columns(
        (
            pl.max_horizontal(top - pl.col("high"), pl.col("low") - bottom, pl.col("low") - pl.col("high"))
            / pl.col("close")
        ).alias("excess")
    )
    severe = (pl.col("excess") > _OHLC_TOLERANCE) | (pl.col("high") < pl.col("low"))
    return each_row(
        rows, "ohlc_inconsistent",
        pl.when(severe).then(if_newest("block", "quarantine")).otherwise(pl.lit("note")), value=pl.col("excess"),
        detail=text("open {}, high {}, low {}, close {}", *PRICE_COLUMNS),
    )  # fmt: skip


def bad_wicks(panel: Panel) -> pl.DataFrame:
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    rows = panel.rows.with_columns(
        pl.max_horizontal(pl.col("high") / top - 1, bottom / pl.col("low") - 1).alias("wick")
    ).filter((pl.col("wick") > 0.5) & pl.col("wick").is_finite())
    return each_row(
        rows, "bad_wick", if_newest("quarantine", "note"), value=pl.col("wick"),
        detail=text("open {}, high {}, low {}, close {}", *PRICE_COLUMNS),
    )  # fmt: skip


def zero_volume(panel: Panel) -> pl.DataFrame:
    rows = panel.rows.filter(pl.col("volume") == 0)
    return each_row(rows, "zero_volume", if_newest("quarantine", "note"), detail=pl.lit("no share traded"))
