"""Checks for data that stands still or comes twice: closes that do not move, bars carried forward, a session
delivered again under another date."""

from __future__ import annotations

import polars as pl

from market.findings import MASS_FRACTION, Panel, each_row, if_newest, no_findings, previous, text

STALE_SESSIONS = 5
_LIQUID_USD = 1e6
_COPIES = 3  # whole bars in a row: two can be chance in a thin name


def stale_runs(panel: Panel) -> pl.DataFrame:
    """Runs of equal closes, and of equal whole bars."""
    same_close = (pl.col("close") == previous("close")).fill_null(False)
    same_bar = same_close & pl.all_horizontal(
        (pl.col(name) == previous(name)).fill_null(False) for name in ("open", "high", "low")
    )
    # A bar without range may be a name nobody traded; one with a range, or with its very volume, was carried forward.
    moved = (pl.col("high") > pl.col("low")) | (
        (pl.col("volume") == previous("volume")) & (pl.col("volume") > 0)
    ).fill_null(False)
    runs = (
        panel.rows.select("symbol", "date", "newest", "close", previous("date").alias("before"), same_close.alias("same"), (same_bar & moved).alias("copied"))
        .with_columns((~pl.col("same")).cum_sum().alias("run"))
        .filter("same")
        .group_by("run")
        .agg(
            pl.col("symbol").first(), pl.col("before").min().alias("first"), pl.col("date").max(), (pl.len() + 1).alias("length"),
            pl.col("newest").any(), (pl.col("copied").sum() + 1).alias("copies"), pl.col("close").first(),
        )
        .filter((pl.col("length") >= STALE_SESSIONS) | (pl.col("copies") >= _COPIES + 1))
    )  # fmt: skip
    copied = pl.col("copies") >= _COPIES + 1
    severity = pl.when(copied).then(pl.lit("quarantine")).otherwise(if_newest("quarantine", "note"))
    return each_row(
        runs, "stale_run", severity, first=pl.col("first"), last=pl.col("date"), value=pl.col("length"),
        confidence=pl.when(copied).then(0.95).otherwise(0.5),
        detail=pl.when(copied).then(text("the same whole bar {} sessions in a row", "copies"))
        .otherwise(text("the same close {} sessions in a row", "length")),
        evidence={"sessions": pl.col("length"), "whole_bars": pl.col("copies"), "close": pl.col("close")},
    )  # fmt: skip


def duplicated_days(panel: Panel) -> pl.DataFrame:
    """A bar equal to an earlier one of its symbol in all five numbers: a session delivered twice.

    One such bar of a name that trades is a copy; many on one date are a delivery under a wrong date.
    """
    numbers = ("open", "high", "low", "close", "volume")
    lively = (pl.col("high") > pl.col("low")) & (pl.col("volume") >= 1000)
    rows = panel.rows.filter(lively).select(
        "symbol", "date", "newest", "close", "volume", "position",
        pl.struct("symbol", *numbers).hash().alias("mark"),
    )  # fmt: skip
    repeated = rows.filter(pl.col("mark").is_duplicated())
    if repeated.is_empty():
        return no_findings()
    repeated = (
        repeated.sort("symbol", "mark", "date")
        .with_columns(pl.when(pl.col("mark") == pl.col("mark").shift(1)).then(pl.col("date").shift(1)).alias("of"),
                      pl.when(pl.col("mark") == pl.col("mark").shift(1)).then(pl.col("position").shift(1)).alias("of_place"))
        .filter(pl.col("of").is_not_null() & (pl.col("of") != pl.col("date")))
    )  # fmt: skip
    # In a lively name chance does not repeat five numbers; in a thin one (round lots, a penny's range) it may.
    repeated = repeated.filter(pl.col("volume") * pl.col("close") > _LIQUID_USD)
    traded = panel.rows.group_by("date").agg(pl.len().alias("traded"))
    # Many copies of one session under one date have one cause. In the newest sessions each symbol is named as long as
    # they are few; further back the session is what is wrong.
    by_date = (
        repeated.group_by("date", "of")
        .agg(pl.len().alias("symbols"), pl.col("newest").first())
        .join(traded, on="date")
        .filter(
            (pl.col("symbols") >= 3)
            & (
                (pl.col("symbols") >= MASS_FRACTION * pl.col("traded"))
                | (~pl.col("newest") & (pl.col("symbols") >= 5))
            )
        )
    )
    action = "fetch this session from the source again"
    whole = each_row(
        by_date, "duplicated_day", if_newest("block", "note"), symbol=pl.lit(None), value=pl.col("symbols"), action=action,
        detail=text("{} of {} symbols carry the whole bar of {} again, volume and all", "symbols", "traded", "of"),
        evidence={"symbols": pl.col("symbols"), "traded": pl.col("traded")},
    )  # fmt: skip
    each = each_row(
        repeated.join(by_date.select("date", "of"), on=["date", "of"], how="anti"), "duplicated_day", if_newest("quarantine", "note"),
        value=pl.col("position") - pl.col("of_place"), confidence=0.95, action=action,
        detail=text("the whole bar of {}, volume and all", "of"),
        evidence={"close": pl.col("close"), "volume": pl.col("volume")},
    )  # fmt: skip
    return pl.concat([whole, each])
