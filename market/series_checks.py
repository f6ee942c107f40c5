"""Checks of a symbol's series: steps that no market made, closes that stand still, adjustments that do not
add up."""

from __future__ import annotations

import polars as pl

from market.findings import Panel, each_row, if_newest, no_findings, previous, text

STALE_SESSIONS = 5
_JUMP_Z = 12.0
_JUMP_RETURN = 0.25  # log return: smaller moves are news on any day
_SPLIT_Z = 8.0
_MARKET_SYMBOLS = 20  # below that, a cross-section says nothing about the market
_SPLITS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 50, 100, 1.5)


def returns(panel: Panel) -> pl.DataFrame:
    """Adjusted returns against the symbol's own spread: split-sized steps, prints that revert, other
    jumps."""
    rows = panel.rows.filter((pl.col("close") > 0) & (pl.col("adj_close") > 0))
    rows = rows.with_columns((pl.col("adj_close") / previous("adj_close")).log().alias("step"))
    size = pl.col("step").abs()
    # The day's own restlessness: what half of the market does on one day is no fault of a symbol.
    market = rows.group_by("date").agg(
        pl.when(size.count() >= _MARKET_SYMBOLS).then(1.4826 * size.median()).alias("market_sigma")
    )
    before = size.shift(1)  # of the 63 returns before, so that a jump does not hide itself
    wide = rows.with_columns(
        (1.4826 * before.rolling_median(63, min_samples=20).over("symbol")).alias("robust_sigma"),
        # Half the plain estimate: keeps a series that mostly stands still from having no spread at all.
        (0.5 * 1.2533 * before.rolling_mean(63, min_samples=20).over("symbol")).alias("plain_sigma"),
        pl.col("volume").shift(1).rolling_median(21, min_samples=5).over("symbol").alias("usual_volume"),
        pl.col("step").shift(-1).over("symbol").alias("after"),
        (pl.col("open") * pl.col("adj_close") / pl.col("close") / previous("adj_close")).log().alias("gap"),
    ).filter(size > _JUMP_RETURN)
    wide = wide.join(market, on="date").with_columns(
        pl.max_horizontal(
            pl.col("robust_sigma").fill_null(0.02), "plain_sigma", "market_sigma", pl.lit(0.005)
        ).alias("sigma")
    )
    step, sigma = pl.col("step"), pl.col("sigma")
    ratios = [pl.lit(float(ratio)).log() * sign for ratio in _SPLITS for sign in (1, -1)]
    # The whole step happens overnight, and trading is ordinary in the new shares: a real crash has neither.
    near = (2.5 * sigma).clip(0.02, 0.08)
    sized = pl.any_horizontal(
        ((step - ratio).abs() < pl.min_horizontal(near, 0.1 * ratio.abs()))
        & ((pl.col("gap") - ratio).abs() < pl.min_horizontal(near, 0.15 * ratio.abs()))
        for ratio in ratios
    ) & (step.abs() > _SPLIT_Z * sigma)
    ordinary = (pl.col("volume") / pl.col("usual_volume")).fill_null(1.0) < 2.5 * pl.max_horizontal(
        1.0, (-step).exp()
    )
    reverts = ((step + pl.col("after")).abs() < 0.15 * step.abs()) & (step.abs() > 10 * sigma)
    kind = (
        pl.when(reverts).then(pl.lit("bad_print"))
        .when(sized & ordinary).then(pl.lit("unadjusted_split"))
        .when(step.abs() > _JUMP_Z * sigma).then(pl.lit("jump"))
    )  # fmt: skip
    wide = wide.with_columns(kind.alias("kind"), ((step.exp() - 1) * 100).round(1).alias("percent")).filter(
        pl.col("kind").is_not_null()
    )
    severity = (
        pl.when(pl.col("kind") == "jump").then(pl.lit("note")).otherwise(if_newest("block", "quarantine"))
    )
    detail = (
        pl.when(pl.col("kind") == "bad_print").then(text("moved {} % and straight back", "percent"))
        .when(pl.col("kind") == "unadjusted_split")
        .then(text("stepped {} % overnight on ordinary volume, the size of a split", "percent"))
        .otherwise(text("moved {} %, {} times its usual day", "percent", (step / sigma).abs().cast(pl.Int64)))
    )  # fmt: skip
    return each_row(wide, pl.col("kind"), severity, value=step.exp() - 1, detail=detail)


def stale_runs(panel: Panel) -> pl.DataFrame:
    same_close = (pl.col("close") == previous("close")).fill_null(False)
    same_bar = same_close & pl.all_horizontal(
        (pl.col(name) == previous(name)).fill_null(False) for name in ("open", "high", "low", "volume")
    )
    runs = (
        panel.rows.select("symbol", "date", "newest", same_close.alias("same"), same_bar.alias("copied"))
        .with_columns((~pl.col("same")).cum_sum().alias("run"))
        .filter("same")
        .group_by("run")
        .agg(
            pl.col("symbol").first(), pl.col("date").max(), (pl.len() + 1).alias("length"),
            pl.col("newest").any(), (pl.col("copied").sum() + 1).alias("copies"),
        )
        .filter(pl.col("length") >= STALE_SESSIONS)
    )  # fmt: skip
    copied = pl.col("copies") >= STALE_SESSIONS
    severity = (
        pl.when(copied).then(if_newest("block", "quarantine"))
        .otherwise(if_newest("quarantine", "note"))
    )  # fmt: skip
    return each_row(
        runs, "stale_run", severity, value=pl.col("length"),
        detail=pl.when(copied).then(text("the same whole bar {} sessions in a row", "length"))
        .otherwise(text("the same close {} sessions in a row", "length")),
    )  # fmt: skip


def adjustment(panel: Panel) -> pl.DataFrame:
    """The step of adj_close/close against split and dividend; only where the source delivers both sides."""
    rows = panel.rows
    stated = rows.select(
        ((pl.col("dividend") != 0).any() | (pl.col("split") != 1).any())
        & (pl.col("adj_close") != pl.col("close")).any()
    ).item()
    if not stated:
        return no_findings()
    factor = pl.col("adj_close") / pl.col("close")
    table = rows.with_columns(factor.alias("factor"), previous("close").alias("before"))
    implied = pl.col("split") / (1 - pl.col("dividend") / pl.col("before"))
    table = table.with_columns(
        (pl.col("factor") / previous("factor")).alias("step"), implied.alias("implied")
    )
    table = table.with_columns((pl.col("step") / pl.col("implied") - 1).abs().alias("off")).filter(
        pl.col("off") > 0.01
    )
    return each_row(
        table, "adjustment_mismatch",
        pl.when(pl.col("off") > 0.1).then(pl.lit("quarantine")).otherwise(pl.lit("note")), value=pl.col("off"),
        detail=text("the adjustment steps by {}, split {} and dividend {} say {}", pl.col("step").round(4),
                         "split", "dividend", pl.col("implied").round(4)),
    )  # fmt: skip
