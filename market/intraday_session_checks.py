"""Checks of intraday rows against the exchange's day: closed days, hours before and after, clocks shifted by
whole hours, holes, days cut short."""

from __future__ import annotations

import polars as pl

from market.findings import INTRADAY_SCHEMA, each_row, no_findings, text
from market.intraday import Sessions
from market.intraday_bar_checks import runs

_HOURS = range(-8, 9)
_GAP_BARS = 5
_CONTINUOUS = 0.95  # of its bars a name must have before a hole in it says anything
_PAGES = (500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_MANY = 0.5
_EXTENDED = 0.25  # of the symbol-days have rows outside regular hours: then the set is meant to


def closed_days(data: Sessions) -> pl.DataFrame:
    """Rows on a day without a session."""
    rows = data.rows.filter(pl.col("opens").is_null()).group_by("day").agg(
        pl.col("at").min(), pl.col("at").max().alias("till"), pl.len().alias("rows"), pl.col("symbol").n_unique().alias("symbols"))  # fmt: skip
    return each_row(
        rows, "phantom_session", "block", symbol=pl.lit(None), last=pl.col("till"), value=pl.col("rows"), action="drop the rows",
        detail=text("{} rows of {} symbols on {} ({}), when the exchange was closed", "rows", "symbols", "day", pl.col("day").dt.strftime("%A")),
        evidence={"rows": pl.col("rows"), "symbols": pl.col("symbols")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def hours(data: Sessions) -> pl.DataFrame:
    """Rows outside the hours in which anything can trade, and outside regular ones where the rest has none.

    On an early close the afternoon is as closed as the night; extended trading ends four hours after the close.
    """
    rows = data.rows.filter(pl.col("opens").is_not_null())
    if rows.is_empty():
        return no_findings(INTRADAY_SCHEMA)
    before = (pl.col("opens") - pl.col("start")).dt.total_microseconds() / 3.6e9
    after = (pl.col("start") - pl.col("closes")).dt.total_microseconds() / 3.6e9
    impossible = (before > 5.5) | (after >= 4.02)
    far = (after > (data.bar_s + 1) / 1800) | (before > (data.bar_s + 1) / 1800)
    by_day = rows.group_by("symbol", "day").agg((far & ~impossible).any().alias("outside"))
    # A set of regular hours only: what lies outside them does not belong. (Stamps at the close itself are the auction's.)
    extended = float(by_day["outside"].mean() or 0.0)  # type: ignore[arg-type]
    stray = far if extended < _EXTENDED else pl.lit(False)
    rows = rows.with_columns(impossible.alias("impossible")).filter(impossible | stray)
    bad = runs(rows, within_s=3600)
    return each_row(
        bad, "out_of_session", pl.when("impossible").then(pl.lit("quarantine")).otherwise(pl.lit("note")), last=pl.col("till"), value=pl.col("rows"),
        action="drop the rows, or look whether the clock is shifted",
        detail=pl.when("impossible").then(text("{} rows when nothing trades (the session was {} to {})", "rows", pl.col("opens").dt.strftime("%H:%M"), pl.col("closes").dt.strftime("%H:%M UTC")))
        .otherwise(text("{} rows outside regular hours in a set of regular hours", "rows")),
        evidence={"rows": pl.col("rows"), "days_outside": pl.lit(extended)}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def shifted_clock(data: Sessions) -> pl.DataFrame:
    """Days whose volume lies in a session some whole hours away: daylight saving or a time zone got lost."""
    size = "volume" if "volume" in data.rows.columns else "size"
    if size not in data.rows.columns:
        return no_findings(INTRADAY_SCHEMA)
    rows = data.rows.filter(pl.col("opens").is_not_null())
    places = [
        pl.col(size).filter((pl.col("start") >= pl.col("opens") + pl.duration(hours=h)) & (pl.col("start") < pl.col("closes") + pl.duration(hours=h))).sum().alias(str(h))
        for h in _HOURS
    ]  # fmt: skip
    by_day = rows.group_by("symbol", "day").agg(
        pl.col(size).sum().alias("all"),
        pl.col("at").min(),
        pl.col("at").max().alias("till"),
        pl.len().alias("rows"),
        *places,
    )
    best = pl.concat_list([pl.col(str(h)) for h in _HOURS])
    by_day = by_day.filter((pl.col("all") > 0) & (pl.col("rows") >= 30)).with_columns(
        (best.list.max() / pl.col("all")).alias("share"), (pl.col("0") / pl.col("all")).alias("here"),
        (best.list.arg_max().cast(pl.Int64) + _HOURS[0]).alias("hours"),
    )  # fmt: skip
    # The open and the close are the day's heaviest hours, so an hour's shift costs more than a seventh of the volume.
    late = by_day.filter((pl.col("share") > 0.9) & (pl.col("share") - pl.col("here") > 0.07))
    per_day = by_day.group_by("day").agg(pl.len().alias("symbols"))
    many = (
        late.group_by("day")
        .agg(
            pl.len().alias("shifted"),
            pl.col("at").min(),
            pl.col("till").max(),
            pl.col("hours").mode().first(),
        )
        .join(per_day, on="day")
        .filter((pl.col("shifted") >= 3) & (pl.col("shifted") >= _MANY * pl.col("symbols")))
    )
    whole = each_row(
        many, "shifted_clock", "block", symbol=pl.lit(None), last=pl.col("till"), value=pl.col("hours"), action=text("move the stamps of {} by {} hours", "day", -pl.col("hours")),
        detail=text("the volume of {} of {} symbols on {} lies {} hours from the session: a time zone or daylight saving got lost", "shifted", "symbols", "day", "hours"),
        evidence={"hours": pl.col("hours"), "symbols": pl.col("shifted")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    each = each_row(
        late.join(many.select("day"), on="day", how="anti"), "shifted_clock", "quarantine", last=pl.col("till"), value=pl.col("hours"), confidence=0.9,
        action=text("move the stamps of {} by {} hours", "day", -pl.col("hours")), detail=text("the volume of {} lies {} hours from the session", "day", "hours"),
        evidence={"hours": pl.col("hours"), "share_there": pl.col("share"), "share_here": pl.col("here")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    return pl.concat([whole, each])


def holes(data: Sessions) -> pl.DataFrame:
    """Bars missing inside regular hours, and days cut short, in names that otherwise have nearly every bar.

    A trading pause stops one name for five or ten minutes and the whole market for fifteen: short holes are
    only noted. So is a longer one after which the price stands elsewhere and trades heavily: that was a halt for
    news, and no data is missing.
    """
    bar = pl.lit(data.bar_s)
    rows = data.rows.filter("regular")
    if rows.is_empty() or data.bar_s <= 0:
        return no_findings(INTRADAY_SCHEMA)
    length = (pl.col("closes") - pl.col("opens")).dt.total_microseconds() / 1e6
    start_s = (pl.col("start") - pl.col("opens")).dt.total_microseconds() / 1e6
    rows = rows.unique(["symbol", "at"], keep="first", maintain_order=True).with_columns(
        start_s.alias("start_s"), length.alias("length")
    )
    same = (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("day") == pl.col("day").shift(1))
    rows = rows.with_columns(
        pl.when(same)
        .then(pl.col("start_s") - pl.col("start_s").shift(1))
        .otherwise(pl.col("start_s") + bar)
        .alias("step"),
        pl.when(same).then(pl.col("at").shift(1)).otherwise(pl.col("opens")).alias("from"),
        _resumed(same).alias("halt"),
    )
    tails = rows.group_by("symbol", "day", maintain_order=True).agg(
        pl.col("at").last().alias("from"),
        pl.col("closes").first().alias("at"),
        (pl.col("length").first() - pl.col("start_s").last()).alias("step"),
        pl.lit(True).alias("tail"),
        pl.lit(False).alias("halt"),
    )
    days = rows.group_by("symbol", "day").agg(
        pl.len().alias("bars"), pl.col("length").first(), pl.col("step").max().alias("longest")
    )
    totals = data.rows.group_by("symbol").agg(pl.len().alias("total"))
    every = pl.concat(
        [
            rows.select("symbol", "day", "from", "at", "step", pl.lit(False).alias("tail"), "halt"),
            tails.select("symbol", "day", "from", "at", "step", "tail", "halt"),
        ]
    )
    gaps = (
        every.filter(pl.col("step") > (_GAP_BARS + 1) * bar)
        .join(days.select("symbol", "day", "bars", "length"), on=["symbol", "day"])
        .join(totals, on="symbol")
    )
    # How complete the name is apart from its longest holes: on this day and on its other days.
    lost = gaps.group_by("symbol", "day").agg((pl.col("step").sum() / bar - pl.len()).alias("lost"))
    usual = (
        days.join(lost, on=["symbol", "day"], how="left")
        .with_columns((pl.col("bars") / (pl.col("length") / bar - pl.col("lost").fill_null(0)).clip(1)).alias("density"))
        .group_by("symbol").agg(pl.col("density").median())
    )  # fmt: skip
    gaps = gaps.join(usual, on="symbol").filter(pl.col("density") > _CONTINUOUS)
    if gaps.is_empty():
        return no_findings(INTRADAY_SCHEMA)
    on_day = days.group_by("day").agg(pl.col("symbol").n_unique().alias("symbols"))
    missing = (pl.col("step") / bar - 1).round(0)
    gaps = gaps.with_columns(missing.alias("missing"), pl.col("total").is_in(_PAGES).alias("page")).join(on_day, on="day").with_columns(
        pl.col("symbol").n_unique().over("day", "at", "tail").alias("together"))  # fmt: skip
    common = (pl.col("together") >= 3) & (pl.col("together") >= 0.8 * pl.col("symbols"))
    short = pl.col("missing") * data.bar_s <= 16 * 60
    whole_rows = (
        gaps.filter(common)
        .group_by("day", "at", "tail")
        .agg(
            pl.col("from").min(),
            pl.col("missing").median(),
            pl.col("symbols").first(),
            pl.col("together").first(),
        )
    )
    whole = each_row(
        whole_rows, pl.when("tail").then(pl.lit("truncated_page")).otherwise(pl.lit("missing_bars")), pl.when(short).then(pl.lit("note")).otherwise(pl.lit("block")), symbol=pl.lit(None),
        first=pl.col("from"), last=pl.col("at"), value=pl.col("missing"), action="fetch the stretch again (a halt of the whole market lasts fifteen minutes)",
        detail=text("{} bars are missing in {} of {} symbols at once on {}", "missing", "together", "symbols", "day"), evidence={"bars": pl.col("missing"), "symbols": pl.col("together")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    own = gaps.filter(~common)
    each = each_row(
        own, pl.when("tail").then(pl.lit("truncated_page")).otherwise(pl.lit("missing_bars")), pl.when((short | pl.col("halt")) & ~pl.col("page")).then(pl.lit("note")).otherwise(pl.lit("quarantine")),
        first=pl.col("from"), last=pl.col("at"), value=pl.col("missing"), confidence=pl.when("page").then(0.98).when(short).then(0.5).otherwise(0.85),
        action=pl.when("tail").then(pl.lit("fetch the rest: a page limit cut it")).otherwise(pl.lit("fetch the stretch again")),
        detail=pl.when(pl.col("tail") & pl.col("page")).then(text("the last {} bars of {} are missing after exactly {} rows: a page limit", "missing", "day", "total"))
        .when("tail").then(text("the last {} bars of {} are missing", "missing", "day")).when("halt").then(text("{} bars are missing, and trading went on elsewhere and heavily: a halt for news", "missing"))
        .otherwise(text("{} bars are missing", "missing")),
        evidence={"bars": pl.col("missing"), "density": pl.col("density"), "rows": pl.col("total")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    return pl.concat([whole, each])


def _resumed(same: pl.Expr) -> pl.Expr:
    """Whether a bar opens far from the close before it (in its symbol's ordinary ranges) on heavy volume."""
    span = (pl.col("high") / pl.col("low")).log().median().over("symbol")
    step = pl.when(same).then((pl.col("open") / pl.col("close").shift(1)).log().abs())
    heavy = pl.col("volume") > 3 * pl.col("volume").median().over("symbol")
    return ((step > 4 * span) & heavy).fill_null(False)


def missing_days(data: Sessions) -> pl.DataFrame:
    """Sessions between the first and the last that nobody, or that one symbol, has."""
    from market.calendar import session_close, session_open, sessions

    present = data.rows.filter(pl.col("opens").is_not_null()).select("symbol", "day").unique()
    if present.is_empty():
        return no_findings(INTRADAY_SCHEMA)
    # Only inside stretches of consecutive weeks: a collection of single days has no holes.
    first, last = present["day"].min(), present["day"].max()
    due = sessions(first, last)  # type: ignore[arg-type]
    have = set(present["day"])
    absent = [day for day in due if day not in have] if len(have) >= 0.5 * len(due) else []
    whole = each_row(
        pl.DataFrame({"day": absent, "at": [session_open(day) for day in absent], "till": [session_close(day) for day in absent]},
                     schema={"day": pl.Date, "at": pl.Datetime("us", "UTC"), "till": pl.Datetime("us", "UTC")}),
        "missing_session", "block", symbol=pl.lit(None), last=pl.col("till"), action="backfill the session from the source",
        detail=text("no symbol has a row on the session of {}", "day"), schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    lives = present.group_by("symbol").agg(
        pl.col("day").min().alias("born"), pl.col("day").max().alias("died"), pl.len().alias("days")
    )
    calendar = pl.DataFrame({"day": sorted(day for day in have)}, schema={"day": pl.Date}).with_columns(
        pl.col("day").map_elements(session_open, return_dtype=pl.Datetime("us", "UTC")).alias("at"),
        pl.col("day").map_elements(session_close, return_dtype=pl.Datetime("us", "UTC")).alias("till"))  # fmt: skip
    grid = lives.join(calendar, how="cross").filter(
        (pl.col("day") > pl.col("born")) & (pl.col("day") < pl.col("died"))
    )
    own = grid.join(present, on=["symbol", "day"], how="anti")
    span = grid.group_by("symbol").agg(pl.len().alias("grid"))
    own = own.join(span, on="symbol").filter(pl.col("days") >= 0.5 * pl.col("grid"))
    each = each_row(
        own, "missing_rows", "note", last=pl.col("till"), value=pl.lit(1.0), action="backfill the session from the source",
        detail=text("no row on the session of {}", "day"), schema=INTRADAY_SCHEMA,
    )  # fmt: skip
    return pl.concat([whole, each])
