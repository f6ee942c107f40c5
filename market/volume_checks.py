"""Checks of the level of volume: a feed that was switched (one venue's volume for the consolidated tape's)."""

from __future__ import annotations

import polars as pl

from market.findings import Panel, each_row, no_findings, text

_SWITCH = 5.0  # times; a single venue prints 2 to 15 % of the tape, no quiet day a fifth of the usual
_AFTER = 8  # sessions the new level has to last
_ALONE = (
    10.0  # times, for one symbol by itself: IPOs, index entries and takeovers move a name's volume by less
)
_MANY = 0.5  # of the symbols of a session: then the whole feed was switched
_SYMBOLS = 10


def volume_shifts(panel: Panel) -> pl.DataFrame:
    """Sessions on which volume went over to a level a fifth or five times the one before, and stayed there.

    The lowest of the sessions after against the highest of those before (and the other way round): no trend
    and no event does that overnight. Volume is taken in shares of today's basis, so that a split is no shift.
    """
    rows = panel.rows.filter(pl.col("volume") > 0).select(
        "symbol", "date", "newest", (pl.col("volume") * pl.col("close")).log().alias("level")
    )
    level = pl.col("level")
    before_low = level.shift(1).rolling_min(20, min_samples=15).over("symbol")
    before_high = level.shift(1).rolling_max(20, min_samples=15).over("symbol")
    before = level.shift(1).rolling_mean(20, min_samples=15).over("symbol")
    # Of the window that starts at the row: a rolling one that ends _AFTER - 1 rows later.
    ends = [
        level.rolling_min(_AFTER).shift(1 - _AFTER).over("symbol"),
        level.rolling_max(_AFTER).shift(1 - _AFTER).over("symbol"),
        level.rolling_mean(_AFTER).shift(1 - _AFTER).over("symbol"),
    ]
    names = ("low", "high", "middle")
    rows = rows.with_columns(
        before_low.alias("before_low"), before_high.alias("before_high"), before.alias("before"),
        *(end.alias(name) for end, name in zip(ends, names, strict=True)),
    )  # fmt: skip
    jump = pl.lit(_SWITCH).log()
    fell = (pl.col("before") - pl.col("middle") > jump) & (pl.col("high") < pl.col("before_low"))
    rose = (pl.col("middle") - pl.col("before") > jump) & (pl.col("low") > pl.col("before_high"))
    # The first row of the new level, not each row near it: the row itself lies on the far side of every one before.
    own = pl.when(fell).then(level < pl.col("before_low")).otherwise(level > pl.col("before_high"))
    traded = rows.group_by("date").agg(pl.len().alias("traded"))
    shifted = rows.filter((fell | rose) & own).with_columns(
        (pl.col("middle") - pl.col("before")).alias("shift")
    )
    if shifted.is_empty():
        return no_findings()
    # Consecutive sessions of one shift are one finding: the largest.
    shifted = shifted.sort("symbol", "date").with_columns(
        ((pl.col("date") - pl.col("date").shift(1)).dt.total_days() > 30).or_(pl.col("symbol") != pl.col("symbol").shift(1)).fill_null(True).cum_sum().alias("event")
    ).group_by("event", maintain_order=True).agg(pl.all().first())  # fmt: skip
    by_date = (
        shifted.group_by("date")
        .agg(pl.len().alias("count"), pl.col("shift").median().alias("median"), pl.col("newest").first())
        .join(traded, on="date")
    )
    switched = by_date.filter((pl.col("count") >= _MANY * pl.col("traded")) & (pl.col("traded") >= _SYMBOLS))
    whole = each_row(
        switched, "volume_level", pl.when("newest").then(pl.lit("block")).otherwise(pl.lit("note")), symbol=pl.lit(None),
        value=pl.col("median").exp(), confidence=0.9, action="find out which feed was delivered, fetch the volumes again",
        detail=text("the volume of {} of {} symbols went over to {} times the level before: another feed (one venue or the whole tape)",
                    "count", "traded", pl.col("median").exp().round(3)),
        evidence={"symbols": pl.col("count"), "times": pl.col("median").exp()},
    )  # fmt: skip
    # A symbol's own quiet day may begin its shift a day or two before everybody's.
    near = pl.any_horizontal(
        *((pl.col("date") - day).dt.total_days().abs() <= 5 for day in switched["date"]), pl.lit(False)
    )
    single = shifted.filter((pl.col("shift").abs() > pl.lit(_ALONE).log()) & ~near)
    each = each_row(
        single, "volume_level", "note", value=pl.col("shift").exp(), confidence=0.6,
        action="compare the volume with a second source",
        detail=text("volume went over to {} times the level before and stayed there", pl.col("shift").exp().round(3)),
        evidence={"times": pl.col("shift").exp()},
    )  # fmt: skip
    return pl.concat([whole, each])
