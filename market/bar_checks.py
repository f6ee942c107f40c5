"""Checks of a single bar: is each number possible, and do the four prices agree with one another?

Returns rest on closes: an impossible or contradicted close takes the symbol out. An open, high, low or volume
that is missing further back leaves a hole in one bar and every return right: a note.
"""

from __future__ import annotations

import polars as pl

from market.findings import KNOW, Panel, each_row, if_newest, no_findings, previous, text
from market.ingest import PRICE_COLUMNS

_ROUNDING = 1e-6  # of the price: seven digits are all that 32-bit prices have
_OHLC_TOLERANCE = 0.005  # of the price: rounding and late prints, in real feeds
_WICK = 0.5  # of the body


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
    hole = pl.all_horizontal(
        pl.col(name).is_not_null() for name in ("close", "adj_close")
    ) & ~pl.any_horizontal(test & pl.col(name).is_not_null() for name, test in invalid.items())
    return each_row(
        rows, "invalid_price",
        pl.when(hole).then(if_newest("quarantine", "note")).otherwise(pl.lit("quarantine")),
        value=pl.sum_horizontal(test.cast(pl.Int8) for test in invalid.values()), detail=named,
        evidence={name: pl.col(name).fill_nan(None) for name in numbers},
    )  # fmt: skip


def ohlc(panel: Panel) -> pl.DataFrame:
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    slack = _ROUNDING * pl.col("close")
    rows = panel.rows.filter(
        (pl.col("high") < top - slack)
        | (pl.col("low") > bottom + slack)
        | (pl.col("high") < pl.col("low") - slack)
    )
    outside = pl.max_horizontal(pl.col("close") - pl.col("high"), pl.col("low") - pl.col("close"))
    rows = rows.with_columns(
        (
            pl.max_horizontal(top - pl.col("high"), pl.col("low") - bottom, pl.col("low") - pl.col("high"))
            / pl.col("close")
        ).alias("excess"),
        (outside / pl.col("close")).alias("of_close"),
    )
    severe = (pl.col("excess") > _OHLC_TOLERANCE) | (pl.col("high") < pl.col("low"))
    # Which of the four is wrong? If the close itself lies outside, nothing vouches for it.
    doubtful = (pl.col("of_close") > _OHLC_TOLERANCE) | (pl.col("high") < pl.col("low"))
    return each_row(
        rows, "ohlc_inconsistent",
        pl.when(severe & doubtful).then(pl.lit("quarantine")).when(severe).then(if_newest("quarantine", "note"))
        .otherwise(pl.lit("note")),
        value=pl.col("excess"), detail=text("open {}, high {}, low {}, close {}", *PRICE_COLUMNS),
        evidence={**{name: pl.col(name) for name in PRICE_COLUMNS}, "excess": pl.col("excess")},
    )  # fmt: skip


def bad_wicks(panel: Panel) -> pl.DataFrame:
    """A high or low half the price away from the body, and far outside what the symbol's bars are used to."""
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    rows = panel.rows.with_columns(
        pl.max_horizontal(pl.col("high") / top - 1, bottom / pl.col("low") - 1).alias("wick"),
    ).filter((pl.col("wick") > _WICK) & pl.col("wick").is_finite())
    return each_row(
        rows, "bad_wick", if_newest("quarantine", "note"), value=pl.col("wick"), confidence=0.7,
        action="confirm the high and low from a second source",
        detail=text("open {}, high {}, low {}, close {}", *PRICE_COLUMNS),
        evidence={**{name: pl.col(name) for name in PRICE_COLUMNS}, "wick": pl.col("wick")},
    )  # fmt: skip


def zero_volume(panel: Panel) -> pl.DataFrame:
    """Bars without volume; a name that hardly ever has any (an index, a currency) is one finding."""
    rows = panel.rows.filter(pl.col("volume") == 0)
    if rows.is_empty():
        return no_findings()
    lives = panel.rows.group_by("symbol").agg(pl.len().alias("life"))
    counts = rows.group_by("symbol").agg(
        pl.len().alias("count"), pl.col("date").min().alias("first"), pl.col("date").max().alias("last")
    )
    never = counts.join(lives, on="symbol").filter(
        (pl.col("count") > 0.5 * pl.col("life")) & (pl.col("life") >= 20)
    )
    always = each_row(
        never, "zero_volume", "note", first=pl.col("first"), last=pl.col("last"), value=pl.col("count"), action=KNOW,
        detail=text("{} of {} sessions without a share traded: no volume is delivered for it", "count", "life"),
        evidence={"sessions": pl.col("count")},
    )  # fmt: skip
    moved = ((pl.col("close") != previous("close")) & (pl.col("high") > pl.col("low"))).fill_null(False)
    single = (
        panel.rows.with_columns(moved.alias("traded"))
        .filter(pl.col("volume") == 0)
        .join(never.select("symbol"), on="symbol", how="anti")
    )
    each = each_row(
        single, "zero_volume", pl.when("traded").then(if_newest("quarantine", "note")).otherwise(pl.lit("note")),
        value=pl.lit(0.0), action=KNOW, confidence=pl.when("traded").then(1.0).otherwise(0.6),
        detail=pl.when("traded").then(pl.lit("no share traded, yet the price moved"))
        .otherwise(pl.lit("no share traded")),
        evidence={"close": pl.col("close"), "volume": pl.col("volume")},
    )  # fmt: skip
    return pl.concat([always, each])
