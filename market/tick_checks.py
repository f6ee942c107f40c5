"""Checks of trades and quotes as they were printed: impossible ones, prints off the market, crossed and empty
quotes, silence, another feed."""

from __future__ import annotations

import polars as pl

from market.findings import INTRADAY_SCHEMA, KNOW, each_row, no_findings, text
from market.intraday import Sessions
from market.intraday_bar_checks import runs

_AROUND = 25  # prints on each side
_OFF = 0.01  # of the price, in regular hours; three times that outside
_SIGMAS = 15.0
_SILENT_S = 300.0
_ONE_SIDED = 0.2  # share of quotes with one side only: then the feed is one of single venues
_WIDE = 0.10
_PAGES = (10_000, 20_000, 50_000, 100_000)


def invalid_trades(data: Sessions) -> pl.DataFrame:
    wrong = (
        pl.col("price").is_null()
        | ~pl.col("price").is_finite()
        | (pl.col("price") <= 0)
        | pl.col("size").is_null()
        | (pl.col("size") <= 0)
    )
    bad = runs(data.rows.filter(wrong), within_s=1.0)
    return each_row(
        bad, "invalid_price", "quarantine", last=pl.col("till"), value=pl.col("rows"), action="drop the prints",
        detail=text("{} prints, the first: {} shares at {}", "rows", "size", "price"), evidence={"prints": pl.col("rows")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def bad_trades(data: Sessions) -> pl.DataFrame:
    """Prints far from the median of those before and of those after.

    Late reports, average-price blocks and typing errors stand alone between prints that agree; a real move is
    followed. The bound is fifteen times the scatter of the prints around, at least one per cent.
    """
    rows = data.rows.filter((pl.col("price") > 0) & (pl.col("size") > 0))
    if rows.is_empty():
        return no_findings(INTRADAY_SCHEMA)
    key = ("symbol", "day")
    price = pl.col("price").log()
    rows = rows.with_columns(price.alias("level"), price.shift(1).rolling_median(_AROUND, min_samples=5).over(key).alias("before")).with_columns(
        pl.col("level").rolling_median(_AROUND, min_samples=5).shift(-_AROUND).over(key).alias("after"))  # fmt: skip
    before, after = pl.coalesce("before", "after"), pl.coalesce("after", "before")
    gap = pl.col("level")
    # On the same side of both; then the smaller distance counts.
    off = (
        pl.when((gap - before).sign() == (gap - after).sign())
        .then(pl.min_horizontal((gap - before).abs(), (gap - after).abs()))
        .otherwise(0.0)
    )
    rows = rows.with_columns(off.alias("off"))
    scatter = 1.4826 * pl.col("off").rolling_median(201, min_samples=10, center=True).over(key)
    rows = rows.with_columns(
        pl.max_horizontal(_SIGMAS * scatter, pl.when("regular").then(_OFF).otherwise(3 * _OFF)).alias("bound")
    )
    bad = runs(rows.filter(pl.col("off") > pl.col("bound")), within_s=1.0)
    return each_row(
        bad, "bad_print", "quarantine", last=pl.col("till"), value=pl.col("off").exp() - 1,
        confidence=pl.when(pl.col("off") > 2 * pl.col("bound")).then(0.95).otherwise(0.8), action="drop the prints",
        detail=text("{} prints, the first of {} shares at {}, {} % off those around", "rows", "size", "price", ((pl.col("off").exp() - 1) * 100).round(2)),
        evidence={"price": pl.col("price"), "size": pl.col("size"), "off": pl.col("off"), "prints": pl.col("rows")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def flagged(data: Sessions) -> pl.DataFrame:
    """What the vendor itself marked as suspicious, where it marks at all."""
    if "suspicious" not in data.rows.columns:
        return no_findings(INTRADAY_SCHEMA)
    bad = runs(data.rows.filter(pl.col("suspicious").cast(pl.Boolean).fill_null(False)), within_s=60.0)
    return each_row(
        bad, "vendor_flag", "note", last=pl.col("till"), value=pl.col("rows"), action="leave these prints out of bars and marks",
        detail=text("{} rows the vendor marked as suspicious", "rows"), evidence={"rows": pl.col("rows")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def silence(data: Sessions) -> pl.DataFrame:
    """Stretches without a row in regular hours, of names that print all the time; and the day's end cut off."""
    rows = data.rows.filter("regular")
    if rows.is_empty():
        return no_findings(INTRADAY_SCHEMA)
    same = (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("day") == pl.col("day").shift(1))
    steps = rows.select(
        "symbol", "day", "at", pl.when(same).then(pl.col("at").shift(1)).otherwise("opens").alias("from"),
        pl.lit(False).alias("tail"),
    )  # fmt: skip
    tails = rows.group_by("symbol", "day").agg(
        pl.col("at").max().alias("from"), pl.col("closes").first().alias("at"), pl.lit(True).alias("tail")
    )
    quiet = pl.concat([steps, tails.select(steps.columns)]).with_columns(
        ((pl.col("at") - pl.col("from")).dt.total_microseconds() / 1e6).alias("seconds")
    )
    usual = quiet.group_by("symbol").agg(
        pl.col("seconds").quantile(0.999).alias("usual"), pl.len().alias("prints")
    )
    totals = data.rows.group_by("symbol").agg(pl.len().alias("total"))
    found = (
        quiet.join(usual, on="symbol")
        .join(totals, on="symbol")
        .filter(
            (pl.col("seconds") > _SILENT_S)
            & (pl.col("seconds") > 10 * pl.col("usual"))
            & (pl.col("prints") > 500)
        )
    )
    page = pl.col("total").is_in(_PAGES)
    return each_row(
        found.sort("symbol", "at"), pl.when("tail").then(pl.lit("truncated_page")).otherwise(pl.lit("feed_gap")), "quarantine", first=pl.col("from"), value=pl.col("seconds"), last=pl.col("at"),
        confidence=pl.when(pl.col("tail") & page).then(0.98).otherwise(0.8), action="fetch the stretch again; a pause of trading lasts five minutes or a multiple",
        detail=text("no row for {} s of regular trading", pl.col("seconds").round(0)), evidence={"seconds": pl.col("seconds"), "usual": pl.col("usual"), "rows": pl.col("total")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def repeated(data: Sessions) -> pl.DataFrame:
    """Stretches of rows delivered twice: one after the other, equal in everything, more than trading explains."""
    names = [
        name
        for name in (
            "symbol",
            "at",
            "price",
            "size",
            "bid",
            "ask",
            "bid_size",
            "ask_size",
            "exchange",
            "cond",
        )
        if name in data.rows.columns
    ]
    slot = pl.col("at").dt.truncate("10m")
    # Equal prints are common (one order filled in lots of a hundred); a stretch in which all have a twin is not.
    slots = (
        data.rows.with_columns(pl.struct(names).is_duplicated().alias("twice"))
        .group_by("symbol", slot.alias("slot"), maintain_order=True)
        .agg(
            pl.col("at").min(),
            pl.col("at").max().alias("last_at"),
            pl.len().alias("count"),
            pl.col("twice").mean().alias("share"),
        )
        .filter((pl.col("share") > 0.95) & (pl.col("count") >= 100))
    )
    bad = runs(slots, within_s=1300)
    return each_row(
        bad, "duplicate_rows", "block", last=pl.col("till"), value=pl.col("count"), action="keep one of each",
        detail=text("nearly all of the rows stand more than once, for {} stretches of ten minutes", "rows"),
        evidence={"rows": pl.col("count"), "share": pl.col("share")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def backwards(data: Sessions) -> pl.DataFrame:
    """Times that run backwards in the order of delivery."""
    order = data.rows.sort("symbol", "delivered")
    back = order.filter(
        (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("at") < pl.col("at").shift(1))
    )
    by_day = back.group_by("symbol", "day").agg(
        pl.col("at").min(), pl.col("at").max().alias("till"), pl.len().alias("rows")
    )
    return each_row(
        by_day, "out_of_order", "note", last=pl.col("till"), value=pl.col("rows"), action="sort by time before use",
        detail=text("{} times the clock runs backwards in the order of delivery on {}", "rows", "day"), evidence={"rows": pl.col("rows")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def venues(data: Sessions) -> pl.DataFrame:
    """Stretches that carry one venue only, in a name whose prints otherwise come from many: the feed was
    switched."""
    if "exchange" not in data.rows.columns:
        return no_findings(INTRADAY_SCHEMA)
    half_hours = (
        data.rows.filter("regular").with_columns(pl.col("start").dt.truncate("10m").alias("slot"))
        .group_by("symbol", "slot").agg(pl.col("at").min(), pl.col("at").max().alias("till"), pl.len().alias("rows"), pl.col("exchange").n_unique().alias("venues"), pl.col("exchange").mode().first().alias("venue"))
        .sort("symbol", "slot")
    )  # fmt: skip
    many = half_hours.with_columns(pl.col("venues").median().over("symbol").alias("usual"))
    alone = runs(many.filter((pl.col("venues") == 1) & (pl.col("usual") >= 4)), within_s=1800)
    return each_row(
        alone, "volume_level", "quarantine", last=pl.col("till"), value=pl.col("venues"), confidence=0.9, action="fetch the stretch from the consolidated tape",
        detail=text("all prints are of venue {}, where {} venues print as a rule", "venue", pl.col("usual").cast(pl.Int64)), evidence={"venues": pl.col("venues"), "usual": pl.col("usual")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip


def quotes(data: Sessions) -> pl.DataFrame:
    """Crossed, empty, one-sided and far-off quotes."""
    rows = data.rows
    bid, ask = pl.col("bid").fill_null(0.0), pl.col("ask").fill_null(0.0)
    none, one, both = (bid <= 0) & (ask <= 0), (bid <= 0) ^ (ask <= 0), (bid > 0) & (ask > 0)
    negative = (bid < 0) | (ask < 0)
    share = rows.select(one.mean()).item() or 0.0
    per_venue = (
        share > _ONE_SIDED
    )  # one-sided updates of single venues: the national best has to be built first
    rows = rows.with_columns(
        pl.when(both).then((bid * ask).sqrt().log()).alias("mid"),
        pl.when(both).then((ask - bid) / ((ask + bid) / 2)).alias("spread"),
    )
    key = ("symbol", "day")
    rows = rows.with_columns(pl.col("mid").fill_null(strategy="forward").over(key).alias("filled"))
    before = pl.col("filled").shift(1).rolling_median(_AROUND, min_samples=5).over(key)
    after = pl.col("filled").rolling_median(_AROUND, min_samples=5).shift(-_AROUND).over(key)
    rows = rows.with_columns(before.alias("before"), after.alias("after"))
    gap_before, gap_after = (
        pl.col("mid") - pl.coalesce("before", "after"),
        pl.col("mid") - pl.coalesce("after", "before"),
    )
    # In a drift every quote lies beside its neighbours, however far the half hour goes.
    sudden = pl.max_horizontal(
        *((pl.col("mid") - pl.col("filled").shift(n).over(key)).abs() for n in (1, -1))
    )
    nearer = pl.min_horizontal(gap_before.abs(), gap_after.abs(), sudden)
    off = pl.when(gap_before.sign() == gap_after.sign()).then(nearer).otherwise(0.0)
    rows = rows.with_columns(off.alias("off"))
    scatter = 1.4826 * pl.col("off").rolling_median(201, min_samples=10, center=True).over(key)
    far = (pl.col("off") > pl.max_horizontal(_SIGMAS * scatter, pl.lit(_OFF))) & pl.col("regular")
    kind = (
        pl.when(negative).then(pl.lit("invalid_price")).when(none).then(pl.lit("zero_quote"))
        .when(both & (bid > ask * (1 + 1e-9))).then(pl.lit("crossed_quote"))
        .when(far.fill_null(False)).then(pl.lit("bad_print"))
        .when(one & pl.lit(not per_venue) & pl.col("regular")).then(pl.lit("zero_quote"))
        .when((pl.col("spread") > _WIDE) & pl.col("regular")).then(pl.lit("wide_quote"))
    )  # fmt: skip
    rows = rows.with_columns(
        kind.alias("kind"), pl.concat_str([pl.col("symbol"), kind], separator=" ").alias("group")
    ).filter(pl.col("kind").is_not_null())
    bad = runs(rows.sort("group", "at"), within_s=max(2.5 * data.bar_s, 5.0), by="group")
    noted = pl.col("kind").is_in(["wide_quote"])
    return each_row(
        bad.sort("symbol", "at"), pl.col("kind"), pl.when(noted).then(pl.lit("note")).otherwise(pl.lit("quarantine")), last=pl.col("till"), value=pl.col("rows"), confidence=0.9,
        action=pl.when(noted).then(pl.lit(KNOW)).otherwise(pl.lit("do not price from these quotes")),
        detail=text("{} quotes, the first {} bid, {} asked", "rows", "bid", "ask"), evidence={"quotes": pl.col("rows"), "bid": pl.col("bid"), "ask": pl.col("ask")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
