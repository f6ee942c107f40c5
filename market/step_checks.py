"""Steps that no market made: prints that revert, flips between two bases, splits and spin-offs that were not
adjusted for, another instrument under the old name; what is left is a jump, which is news and only noted.

The witnesses, in the order they are heard. *Size*: a return is compared with the symbol's own robust spread
of the 63 sessions before and with what the whole market did that day. *Return*: a step undone by a later step
of the same size, with nothing in between, was a change of basis or a bad print. *Overnight*: a split, a
spin-off or a new instrument changes the level between two sessions, and the session itself is ordinary.
*Volume*: news makes people trade, several times as much as on a usual day; a vendor's mistake does not.
"""

from __future__ import annotations

import polars as pl

from market.findings import (
    KNOW,
    LEAVE_OUT,
    LONG_GAP_SESSIONS,
    Panel,
    each_row,
    following,
    no_findings,
    previous,
    text,
)

_STEP = 0.18  # log return: smaller steps are news on any day
_STEP_Z = 8.0
_JUMP_RETURN = 0.25
_JUMP_Z = 12.0
_JUMP_ANYHOW = 0.4  # of the price: noted in a restless name too
_MARKET_SYMBOLS = 20  # below that, a cross-section says nothing about the market
_FLIP_SESSIONS = 40
_NEWS = 2.5  # times the usual volume: what news does at the least
_SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100, 1.25, 4 / 3, 1.5, 5 / 3, 2.5)


def steps(panel: Panel) -> pl.DataFrame:
    """All findings about steps of the adjusted close."""
    rows = _candidates(panel)
    if rows.is_empty():
        return no_findings()
    rows = _judged(_paired(rows))
    kind = pl.col("kind")
    percent = ((pl.col("step").exp() - 1) * 100).round(1)
    sigmas = (pl.col("step").abs() / pl.col("sigma")).cast(pl.Int64)
    severity = (
        pl.when(kind == "jump").then(pl.lit("note"))
        .when(kind == "unadjusted_spin_off").then(pl.when("sure").then(pl.lit("quarantine")).otherwise(pl.lit("note")))
        .otherwise(pl.lit("quarantine"))
    )  # fmt: skip
    detail = (
        pl.when(kind == "bad_print").then(text("moved {} % and straight back", percent))
        .when(kind == "basis_flip").then(text("stepped {} % and back between {} and {}: two bases in one series", percent, "begins", "ends"))
        .when(kind == "unadjusted_split").then(text("stepped {} % overnight on ordinary volume, the size of a split", percent))
        .when(kind == "unadjusted_spin_off").then(text("fell {} % overnight on {} times the usual volume and traded on quietly: a spin-off or special dividend", percent, pl.col("news").round(1)))
        .when(kind == "identity_change").then(text("stepped {} % with nothing of news about it (volume {} times, sessions missing before: {}): another instrument or share basis", percent, pl.col("news").round(2), pl.col("gap_sessions")))
        .otherwise(text("moved {} %, {} times its usual day", percent, sigmas))
    )  # fmt: skip
    action = (
        pl.when(kind.is_in(["unadjusted_split", "unadjusted_spin_off"]))
        .then(text("multiply the prices before {} by {}, or fetch the missing action", "date", pl.col("step").exp().round(4)))
        .when(kind == "identity_change").then(text("cut the series at {}: what lies before is another instrument", "date"))
        .when(kind == "jump").then(pl.lit(KNOW))
        .when(kind == "basis_flip").then(pl.lit(LEAVE_OUT + ", fetch the whole symbol again"))
        .otherwise(pl.lit("fetch this bar from the source again"))
    )  # fmt: skip
    confidence = kind.replace_strict(
        {"bad_print": 0.95, "basis_flip": 0.97, "unadjusted_split": 0.9, "unadjusted_spin_off": 0.6,
         "identity_change": 0.75, "jump": 0.3}, return_dtype=pl.Float64,
    )  # fmt: skip
    return each_row(
        rows, kind, severity, first=pl.col("begins"), last=pl.col("ends"),
        value=pl.col("step").exp() - 1, confidence=confidence, action=action, detail=detail,
        evidence={
            "step": pl.col("step"), "sigma": pl.col("sigma"), "market": pl.col("market"), "overnight": pl.col("overnight"),
            "volume_ratio": pl.col("news"), "volume_level": pl.col("level"), "range": pl.col("range"),
        },
    )  # fmt: skip


def _candidates(panel: Panel) -> pl.DataFrame:
    """Rows whose step is large for the symbol and for the day, with everything the judgement needs."""
    rows = panel.rows.filter((pl.col("close") > 0) & (pl.col("adj_close") > 0))
    rows = rows.with_columns((pl.col("adj_close") / previous("adj_close")).log().alias("step"))
    size = pl.col("step").abs()
    enough = pl.len() >= _MARKET_SYMBOLS
    market = rows.group_by("date").agg(
        pl.when(enough).then(pl.col("step").median()).fill_null(0.0).alias("market"),
        pl.when(enough).then(1.4826 * size.median()).alias("market_sigma"),
    )
    place = pl.col("position").cast(pl.Int64)
    wide = (
        rows.with_row_index("at")
        .with_columns(
            (pl.col("open") * pl.col("adj_close") / pl.col("close") / previous("adj_close")).log().alias("overnight"),
            (pl.col("high") / pl.col("low")).log().alias("range"),
            (place - previous("position").cast(pl.Int64) - 1).fill_null(0).alias("gap_sessions"),
        )
        .filter(size > _STEP)
    )  # fmt: skip
    # Of the returns before, so that a step does not hide itself; and half the plain estimate beside the robust
    # one keeps a series that mostly stands still from having no spread at all.
    behind = (
        _windows(rows, wide, -63, -1)
        .group_by("at")
        .agg(
            pl.when(size.count() >= 20).then(1.4826 * size.median()).alias("robust_sigma"),
            pl.when(size.count() >= 20).then(0.5 * 1.2533 * size.mean()).alias("plain_sigma"),
            pl.when(pl.len() >= 5).then(pl.col("volume").tail(21).median()).alias("usual_volume"),
        )
    )
    ahead = (
        _windows(rows, wide, 1, 10)
        .group_by("at")
        .agg(pl.when(pl.len() >= 5).then(pl.col("volume").median()).alias("volume_after"))
    )
    wide = wide.join(behind, on="at", how="left").join(ahead, on="at", how="left").join(market, on="date")
    wide = wide.with_columns(
        pl.max_horizontal(
            pl.col("robust_sigma").fill_null(0.02), "plain_sigma", "market_sigma", pl.lit(0.005)
        ).alias("sigma"),
        (pl.col("volume") / pl.col("usual_volume")).alias("news"),
        (pl.col("volume_after") / pl.col("usual_volume")).alias("level"),
    )
    own = (pl.col("step") - pl.col("market")).abs()
    return wide.filter((own > _STEP) & (own > _STEP_Z * pl.col("sigma"))).sort("symbol", "date")


def _windows(rows: pl.DataFrame, chosen: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """For each chosen row (`at` its place among `rows`) the rows `first` to `last` from it, of its symbol."""
    places = (
        chosen.select("at", pl.col("symbol").alias("own"), pl.int_ranges(pl.col("at").cast(pl.Int64) + first, pl.col("at").cast(pl.Int64) + last + 1).alias("place"))
        .explode("place")
        .filter(pl.col("place").is_between(0, rows.height - 1))
    )  # fmt: skip
    taken = rows.select("symbol", "step", "volume")[places["place"]]
    return pl.concat([places, taken], how="horizontal").filter(pl.col("symbol") == pl.col("own"))


def _paired(rows: pl.DataFrame) -> pl.DataFrame:
    """Mark the steps that a neighbouring candidate of the same symbol undoes."""
    step, sigma = pl.col("step"), pl.col("sigma")
    apart = (following("position") - pl.col("position")).cast(pl.Float64)
    drift = pl.min_horizontal((3 * sigma * apart.sqrt()).clip(0.03), 0.2 * step.abs())
    undone = (apart <= _FLIP_SESSIONS) & ((step + following("step")).abs() < drift)
    rows = rows.with_columns(
        undone.fill_null(False).alias("undone"),
        apart.alias("apart"),
        following("date").alias("back_on"),
        following("news").alias("news_back"),
        following("overnight").alias("overnight_back"),
    )
    # A step that leaves and one that returns are both sudden: the return gaps open, or the bar itself spans both.
    gaps_back = (pl.col("overnight_back") + step).abs() < 0.35 * step.abs()
    gaps_out = (pl.col("overnight") - step).abs() < 0.35 * step.abs()
    usual = (
        pl.max_horizontal(
            pl.col("news") / pl.max_horizontal(1.0, (-step).exp()), pl.col("news_back").fill_null(1.0)
        ).fill_null(1.0)
        < 1.6 * _NEWS
    )
    # To the hundredth and far beyond the symbol's ordinary days: no witness of the open is needed. (Small exact steps
    # are the ticks of a cheap stock.)
    exact = (
        ((step + following("step")).abs() < 0.03 * step.abs())
        & (step.abs() > 0.3)
        & (step.abs() > 20 * sigma)
    )
    flips = (
        pl.col("undone")
        & usual
        & ((gaps_back & (gaps_out | (pl.col("apart") == 1))) | exact.fill_null(False))
    )
    rows = rows.with_columns(flips.fill_null(False).alias("leaves"))
    return rows.with_columns(
        previous("leaves").fill_null(False).alias("returns"), following("leaves").fill_null(False).alias("leaves_next"),
    )  # fmt: skip


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    """`kind`, and the range `begins`..`ends` of what is wrong."""
    step, sigma, news = pl.col("step"), pl.col("sigma"), pl.col("news")
    ratios = [pl.lit(float(ratio)).log() * sign for ratio in _SPLITS for sign in (1, -1)]
    near = (2.5 * sigma).clip(0.02, 0.08)
    sized = pl.any_horizontal(
        ((step - ratio).abs() < pl.min_horizontal(near, 0.1 * ratio.abs()))
        & ((pl.col("overnight") - ratio).abs() < pl.min_horizontal(near, 0.15 * ratio.abs()))
        for ratio in ratios
    )
    ordinary = news.fill_null(1.0) < _NEWS * pl.max_horizontal(1.0, (-step).exp())
    inside = step - pl.col("overnight")
    overnight = inside.abs() < pl.max_horizontal(0.3 * step.abs(), 3 * sigma)
    quiet = (pl.col("range") < 0.06 * step.abs()) & (step.abs() > 0.4) & overnight
    unmoved = quiet & (news.fill_null(1.0) < pl.when(step < 0).then(10.0).otherwise(5.0))
    # Volume goes over to another level at once, without the spike that news has over both levels.
    level = pl.col("level")
    # A rise may be the company's own news going on for weeks, so it counts only with a quiet and deep step.
    fewer = (level < 1 / 6) & (news < _NEWS) & (news > 0) & overnight
    more = (
        (level > 6)
        & (news < _NEWS * level)
        & overnight
        & (pl.col("range") < 0.1 * step.abs())
        & (step.abs() > 0.4)
    )
    other_level = fewer | more
    long_gap = (pl.col("gap_sessions") >= LONG_GAP_SESSIONS) & (step.abs() > 0.3)
    spun = (
        (step < 0)
        & (news < 5)
        & overnight
        & (pl.col("range") < pl.max_horizontal(0.3 * step.abs(), 5 * sigma))
    )
    single = (pl.col("apart") == 1) & ~pl.col("returns")
    kind = (
        pl.when(pl.col("leaves") & single & ~pl.col("leaves_next")).then(pl.lit("bad_print"))
        .when("leaves").then(pl.lit("basis_flip"))
        .when(pl.col("returns")).then(pl.lit("returned"))
        .when(long_gap).then(pl.lit("identity_change"))
        .when(sized & ordinary).then(pl.lit("unadjusted_split"))
        .when(other_level | unmoved).then(pl.lit("identity_change"))
        .when(spun).then(pl.lit("unadjusted_spin_off"))
        .when((step.abs() > _JUMP_RETURN) & (step.abs() > _JUMP_Z * sigma) | ((step.exp() - 1).abs() > _JUMP_ANYHOW)).then(pl.lit("jump"))
    )  # fmt: skip
    # A crash trades all day over a good part of its fall; after an event of the company the day is like any other.
    still = pl.col("range") / step.abs()
    sure = ((news < _NEWS) | (still < 0.15)) & (still < 0.25) & (step.abs() > 13 * sigma)
    rows = rows.with_columns(kind.alias("kind"), sure.fill_null(False).alias("sure"))
    rows = rows.filter(pl.col("kind").is_not_null() & (pl.col("kind") != "returned"))
    # One finding a stretch, from the step that leaves to the one that comes back: both returns are wrong.
    flip = pl.col("kind") == "basis_flip"
    return rows.with_columns(
        pl.col("date").alias("begins"), pl.when(flip).then("back_on").otherwise("date").alias("ends")
    )
