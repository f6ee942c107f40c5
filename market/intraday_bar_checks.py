"""Checks of intraday bars one beside the other: impossible numbers, prints off the market, bars carried
forward, splits overnight, one series under two names, another feed's volume."""

from __future__ import annotations

import polars as pl

from market.findings import INTRADAY_SCHEMA, KNOW, each_row, no_findings, text
from market.intraday import Sessions

_PRICES = ("open", "high", "low", "close")
_TOLERANCE = 0.001
_FLAT_BARS = 10
_SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100, 1.25, 4 / 3, 1.5, 5 / 3, 2.5)
_SWITCH = 8.0  # times the volume a bar


def of_day(column: str, n: int = 1) -> pl.Expr:
    """The value `n` rows before of the same symbol and day."""
    same = (pl.col("symbol") == pl.col("symbol").shift(n)) & (pl.col("day") == pl.col("day").shift(n))
    return pl.when(same).then(pl.col(column).shift(n))


def runs(rows: pl.DataFrame, *, within_s: float, by: str = "symbol") -> pl.DataFrame:
    """Rows (sorted) of one symbol near to one another as one row: `at` (first), `till`, `rows`, first values
    of the rest."""
    apart = (pl.col("at") - pl.col("at").shift(1)).dt.total_microseconds() / 1e6
    starts = ((pl.col(by) != pl.col(by).shift(1)) | (apart > within_s)).fill_null(True)
    return (
        rows.with_columns(starts.cum_sum().alias("run"))
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("at").max().alias("till"),
            pl.len().alias("rows"),
            pl.all().exclude("run", "till", "rows").first(),
        )
    )


def invalid_bars(data: Sessions) -> pl.DataFrame:
    numbers = (*_PRICES, "volume")
    wrong = pl.any_horizontal(
        pl.col(name).is_null() | ~pl.col(name).is_finite() | ((pl.col(name) < 0) if name == "volume" else (pl.col(name) <= 0))
        for name in numbers
    )  # fmt: skip
    bad = runs(data.rows.filter(wrong), within_s=2.5 * data.bar_s)
    return each_row(
        bad, "invalid_price", "quarantine", last=pl.col("till"), value=pl.col("rows"),
        detail=text("{} bars, the first: open {}, high {}, low {}, close {}, volume {}", "rows", *numbers),
        evidence={"bars": pl.col("rows")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def ohlc(data: Sessions) -> pl.DataFrame:
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    excess = pl.max_horizontal(top - pl.col("high"), pl.col("low") - bottom) / pl.col("close")
    rows = data.rows.with_columns(excess.alias("excess")).filter(pl.col("excess") > 1e-6)
    bad = runs(rows, within_s=2.5 * data.bar_s)
    return each_row(
        bad, "ohlc_inconsistent", pl.when(pl.col("excess") > _TOLERANCE).then(pl.lit("quarantine")).otherwise(pl.lit("note")),
        last=pl.col("till"), value=pl.col("excess"),
        detail=text("{} bars, the first: open {}, high {}, low {}, close {}", "rows", *_PRICES),
        evidence={"bars": pl.col("rows"), "excess": pl.col("excess")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def duplicate_bars(data: Sessions) -> pl.DataFrame:
    """Two rows for one symbol and time: one finding a symbol and day, or a day where many symbols share it."""
    repeated = data.rows.filter(
        (pl.col("at") == pl.col("at").shift(1)) & (pl.col("symbol") == pl.col("symbol").shift(1))
    )
    if repeated.is_empty():
        return no_findings(INTRADAY_SCHEMA)
    by_day = repeated.group_by("symbol", "day").agg(
        pl.col("at").min(), pl.col("at").max().alias("till"), pl.len().alias("rows")
    )
    return each_row(
        by_day, "duplicate_rows", "block", last=pl.col("till"), value=pl.col("rows"),
        action="keep one row a symbol and time", detail=text("{} bars came twice on {}", "rows", "day"),
        evidence={"bars": pl.col("rows")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def bad_prints(data: Sessions) -> pl.DataFrame:
    """Bars that leave the market and come back at once, on ordinary volume.

    A real move carries the bars beside it along; a real spike trades heavily. So a print is bad when it is far
    from the closes both before and after (by the symbol's own range of the hour around), for two bars at most.
    """
    rows = data.rows.filter((pl.col("low") > 0) & (pl.col("close") > 0))
    if rows.is_empty():
        return no_findings(INTRADAY_SCHEMA)
    span = (pl.col("high") / pl.col("low")).log()
    key = ("symbol", "day")
    before = pl.col("close").shift(1).rolling_median(5, min_samples=2).over(key)
    after = pl.col("close").rolling_median(5, min_samples=2).shift(-5).over(key)
    rows = rows.with_columns(
        before.alias("before"), after.alias("after"), span.alias("span"),
        pl.max_horizontal(
            span.rolling_median(61, min_samples=5, center=True).over(key),
            (pl.col("close") / of_day("close")).log().abs().rolling_median(61, min_samples=5, center=True).over(key),
        ).alias("usual_span"),
        pl.col("volume").rolling_median(31, min_samples=5, center=True).over(key).alias("usual_volume"),
    )  # fmt: skip
    # At either end of the day one side speaks for both.
    before, after = pl.coalesce("before", "after"), pl.coalesce("after", "before")
    up = pl.min_horizontal((pl.col("high") / before).log(), (pl.col("high") / after).log())
    down = pl.min_horizontal((before / pl.col("low")).log(), (after / pl.col("low")).log())
    # In a fall that goes on for minutes even the lowest bar lies beside its neighbours.
    beside = [pl.col("close").shift(n).over(key) for n in (1, -1)]
    sudden = pl.max_horizontal(
        *(
            pl.max_horizontal((pl.col("high") / close).log(), (close / pl.col("low")).log())
            for close in beside
        )
    )
    off = pl.min_horizontal(pl.max_horizontal(up, down), sudden)
    # The first bar holds the auction and the search for a price: there one side alone speaks, and less strictly.
    alone = pl.col("before").is_null() | pl.col("after").is_null()
    floor = pl.when(pl.col("regular") & ~alone).then(0.005).otherwise(0.03)
    rows = rows.with_columns(
        off.alias("off"), pl.max_horizontal(12 * pl.col("usual_span"), floor).alias("bound")
    )
    rows = rows.with_columns((pl.col("off") > pl.col("bound")).fill_null(False).alias("out"))
    crowd = pl.col("out").cast(pl.Int32).rolling_sum(5, min_samples=1, center=True).over(key)
    heavy = (pl.col("volume") > 5 * pl.col("usual_volume")) & (pl.col("off") < 0.10)
    rows = rows.with_columns(crowd.alias("crowd")).filter(
        pl.col("out") & (pl.col("crowd") <= 2) & ~heavy.fill_null(False)
    )
    bad = runs(rows, within_s=2.5 * data.bar_s)
    return each_row(
        bad, "bad_print", "quarantine", last=pl.col("till"), value=pl.col("off").exp() - 1,
        confidence=pl.when(pl.col("off") > 2 * pl.col("bound")).then(0.95).otherwise(0.7),
        action="drop the bar or fetch it from the source again",
        detail=text("{} % off the closes on both sides, for {} bars (high {}, low {}, around {})", ((pl.col("off").exp() - 1) * 100).round(2), "rows", "high", "low", pl.coalesce("before", "after").round(4)),
        evidence={"off": pl.col("off"), "usual_range": pl.col("usual_span"), "volume": pl.col("volume"), "usual_volume": pl.col("usual_volume")},
        schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def stale_runs(data: Sessions) -> pl.DataFrame:
    """Whole bars carried forward; bars without a trade are only noted, once a symbol and day."""
    same = pl.all_horizontal((pl.col(name) == of_day(name)).fill_null(False) for name in (*_PRICES, "volume"))
    # Of short bars the same hundred shares at one price are no news: as many as fill a minute have to agree.
    least = max(4, int(60 / data.bar_s)) if data.bar_s > 0 else 4
    moved = (pl.col("high") > pl.col("low")) | (pl.col("volume") >= 1000)
    rows = data.rows.with_columns((same & moved).alias("same"))
    found = (
        rows.with_columns((~pl.col("same")).cum_sum().alias("run")).filter("same").group_by("run")
        .agg(pl.col("symbol").first(), pl.col("at").min(), pl.col("at").max().alias("till"), (pl.len() + 1).alias("bars"), pl.col("close").first(), pl.col("day").first())
        .filter(pl.col("bars") >= least)
    )  # fmt: skip
    copied = each_row(
        found, "stale_run", "quarantine", last=pl.col("till"), value=pl.col("bars"), confidence=0.95,
        detail=text("the same whole bar {} times in a row", "bars"), evidence={"bars": pl.col("bars"), "close": pl.col("close")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    flat_same = (pl.col("close") == of_day("close")).fill_null(False) & (pl.col("high") == pl.col("low"))
    usual = (pl.col("high") > pl.col("low")).mean().over("symbol")  # a name whose bars mostly have a range
    flat = (
        data.rows.with_columns(flat_same.alias("same"), usual.alias("lively")).with_columns((~pl.col("same")).cum_sum().alias("run"))
        .filter(pl.col("same") & pl.col("regular") & (pl.col("lively") > 0.8)).group_by("run")
        .agg(pl.col("symbol").first(), pl.col("at").min(), pl.col("at").max().alias("till"), (pl.len() + 1).alias("bars"), pl.col("close").first())
        .filter(pl.col("bars") >= max(_FLAT_BARS, least))
    )  # fmt: skip
    still = each_row(
        flat, "stale_run", "quarantine", last=pl.col("till"), value=pl.col("bars"), confidence=0.8,
        detail=text("one price for {} bars of a name that trades in a range", "bars"), evidence={"bars": pl.col("bars"), "close": pl.col("close")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    empty = (
        data.rows.filter((pl.col("volume") == 0) & pl.col("regular"))
        .group_by("symbol", "day")
        .agg(pl.col("at").min(), pl.col("at").max().alias("till"), pl.len().alias("bars"))
    )
    untraded = each_row(
        empty, "zero_volume", "note", last=pl.col("till"), value=pl.col("bars"), action=KNOW,
        detail=text("{} bars of {} without a share traded", "bars", "day"), evidence={"bars": pl.col("bars")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    return pl.concat([copied, still, untraded])


def overnight_steps(data: Sessions) -> pl.DataFrame:
    """Splits nobody adjusted for, between one day's last close and the next day's first open."""
    rows = data.rows.filter(pl.col("regular") & (pl.col("close") > 0) & (pl.col("open") > 0))
    size = (pl.col("close") / of_day("close")).log()
    days = (
        rows.with_columns(size.alias("size")).group_by("symbol", "day", maintain_order=True)
        .agg(pl.col("at").first(), pl.col("open").first(), pl.col("close").last(), pl.col("volume").sum(),
             ((pl.col("size") ** 2).sum()).sqrt().alias("sigma"))
        .sort("symbol", "day")
    )  # fmt: skip
    near = (pl.col("day") - pl.col("day").shift(1)).dt.total_days() <= 7
    same = (pl.col("symbol") == pl.col("symbol").shift(1)) & near
    step = pl.when(same).then((pl.col("open") / pl.col("close").shift(1)).log())
    days = days.with_columns(step.alias("step"), pl.when(same).then(pl.max_horizontal("sigma", pl.col("sigma").shift(1))).alias("sigma"),
                             pl.when(same).then(pl.col("volume") / pl.col("volume").shift(1)).alias("news"))  # fmt: skip
    step = pl.col("step")
    wide = days.filter((step.abs() > 0.18) & (step.abs() > 6 * pl.col("sigma")))
    ratios = [pl.lit(float(ratio)).log() * sign for ratio in _SPLITS for sign in (1, -1)]
    near = (2 * pl.col("sigma")).clip(0.02, 0.06)
    sized = pl.any_horizontal(
        (step - ratio).abs() < pl.min_horizontal(near, 0.1 * ratio.abs()) for ratio in ratios
    )
    ordinary = pl.col("news").fill_null(1.0) < 2.5 * pl.max_horizontal(1.0, (-step).exp())
    split = sized & ordinary
    return each_row(
        wide, pl.when(split).then(pl.lit("unadjusted_split")).otherwise(pl.lit("jump")),
        pl.when(split).then(pl.lit("quarantine")).otherwise(pl.lit("note")), value=step.exp() - 1,
        confidence=pl.when(split).then(0.9).otherwise(0.3),
        action=pl.when(split).then(text("multiply the prices before by {}, or fetch the missing split", step.exp().round(4))).otherwise(pl.lit(KNOW)),
        detail=text("opened {} % away from the close before, {} times a usual day's move", ((step.exp() - 1) * 100).round(1), (step.abs() / pl.col("sigma")).round(0)),
        evidence={"step": step, "sigma": pl.col("sigma"), "volume_ratio": pl.col("news")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def copies(data: Sessions) -> pl.DataFrame:
    """One day's bars under another date, and one symbol's bars under another name."""
    minute = (pl.col("start") - pl.col("opens")).dt.total_microseconds()
    rows = data.rows.filter(pl.col("opens").is_not_null() & pl.col("close").is_not_null())
    bars = rows.group_by("symbol", "day").agg(
        pl.struct(minute, *_PRICES, "volume").hash().sum().alias("of_day"),
        pl.struct("at", "close").hash().sum().alias("series"),
        pl.col("at").min(), pl.col("at").max().alias("till"), pl.len().alias("bars"), pl.col("close").n_unique().alias("distinct"),
    ).filter((pl.col("bars") >= 20) & (pl.col("distinct") >= 5)).sort("symbol", "day")  # fmt: skip
    again = (
        bars.filter(pl.struct("symbol", "of_day").is_duplicated())
        .with_columns(pl.col("day").shift(1).over("symbol", "of_day").alias("of"))
        .filter(pl.col("of").is_not_null())
    )
    repeated = each_row(
        again, "duplicated_day", "quarantine", last=pl.col("till"), value=pl.col("bars"), action="fetch this day from the source again",
        detail=text("all {} bars of {} again under {}", "bars", "of", "day"), evidence={"bars": pl.col("bars")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    twins = bars.filter(pl.struct("day", "series").is_duplicated()).with_columns(
        pl.col("symbol").unique().sort().implode().over("day", "series").alias("all")
    )
    identical = each_row(
        twins, "identical_series", "quarantine", last=pl.col("till"), value=pl.col("bars"), action="find out whose series it is, fetch both again",
        detail=text("the same {} bars under {}", "bars", pl.col("all").list.join(" and ")), evidence={"bars": pl.col("bars")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    return pl.concat([repeated, identical])


def volume_shifts(data: Sessions) -> pl.DataFrame:
    """Volume a bar going over to another level in the middle of regular trading, or from one day to the
    next."""
    rows = data.rows.filter(pl.col("regular") & (pl.col("volume") > 0) & (pl.col("close") > 0))
    usd = pl.col("volume") * pl.col("close")  # so that a split is no shift
    minute = pl.col("at").dt.truncate("1m") if data.bar_s < 60 else pl.col("at")
    rows = rows.group_by("symbol", minute, maintain_order=True).agg(usd.sum().log().alias("level"))
    n = 30
    level = pl.col("level")
    rows = rows.with_columns(
        level.shift(1).rolling_quantile(0.1, window_size=n).over("symbol").alias("before_low"),
        level.shift(1).rolling_quantile(0.9, window_size=n).over("symbol").alias("before_high"),
        level.shift(1).rolling_median(n).over("symbol").alias("before"),
        level.rolling_quantile(0.1, window_size=n).shift(1 - n).over("symbol").alias("low_after"),
        level.rolling_quantile(0.9, window_size=n).shift(1 - n).over("symbol").alias("high_after"),
        level.rolling_median(n).shift(1 - n).over("symbol").alias("after"),
    )  # fmt: skip
    shift = pl.col("after") - pl.col("before")
    fell = (shift < -pl.lit(_SWITCH).log()) & (pl.col("high_after") < pl.col("before_low"))
    rose = (shift > pl.lit(_SWITCH).log()) & (pl.col("low_after") > pl.col("before_high"))
    found = rows.with_columns(shift.alias("shift")).filter(fell | rose)
    if found.is_empty():
        return no_findings(INTRADAY_SCHEMA)
    # The sharpest bar of each stretch is where it happened.
    stretch = runs(found, within_s=40 * max(data.bar_s, 60))
    return each_row(
        stretch, "volume_level", "quarantine", last=pl.col("till"), value=pl.col("shift").exp(), confidence=0.8,
        action="find out which feed was delivered, fetch the volumes again",
        detail=text("volume a bar went over to {} times the level before: another feed (one venue or the whole tape)", pl.col("shift").exp().round(3)),
        evidence={"times": pl.col("shift").exp()}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
