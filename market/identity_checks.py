"""Checks of who is who: no two symbols carry one series."""

from __future__ import annotations

import polars as pl

from market.findings import MASS_FRACTION, Panel, each_row, no_findings, one_finding, text

_IDENTICAL_SESSIONS = 20
_IDENTICAL_DISTINCT = 5  # different closes in a block: series that stand still equal many others


def identical_series(panel: Panel) -> pl.DataFrame:
    """Blocks of twenty sessions, counted back from the newest, in which two symbols closed equal every
    day."""
    rows = panel.rows.filter(pl.col("position").is_not_null() & pl.col("close").is_not_null())
    block = (pl.lit(len(panel.days) - 1) - pl.col("position")) // _IDENTICAL_SESSIONS
    series = (
        rows.with_columns(block.alias("block"), pl.struct("date", "close").hash().alias("mark"))
        .group_by("symbol", "block")
        .agg(
            # Only compared, never stored: a wrapping sum of row hashes is order-free and cheap.
            pl.col("mark").sum(),
            pl.col("date").max(),
            pl.len().alias("rows"),
            pl.col("close").n_unique().alias("distinct"),
        )
        .filter((pl.col("rows") >= _IDENTICAL_SESSIONS // 2) & (pl.col("distinct") >= _IDENTICAL_DISTINCT))
    )
    groups = (
        series.group_by("block", "mark")
        .agg(pl.col("symbol").sort(), pl.col("date").max())
        .filter(pl.col("symbol").list.len() > 1)
        .sort("block")
    )
    if groups.is_empty():
        return no_findings()
    total = max(rows["symbol"].n_unique(), 1)
    members = (
        groups.explode("symbol", empty_as_null=True, keep_nulls=True)
        .group_by("symbol")
        .agg(
            pl.col("date").max(),
            pl.col("block").min(),
            pl.len().alias("blocks"),
            pl.col("block").max().alias("oldest"),
        )
    )
    if members.height >= max(3, MASS_FRACTION * total):
        return one_finding(
            "identical_series", "block", members["date"].max(), members.height,  # type: ignore[arg-type]
            f"{members.height} of {total} symbols carry a series of closes that another symbol carries too: "
            "a downloader or the source mixed them up",
            first=panel.rows["date"].min(),  # type: ignore[arg-type]
        )  # fmt: skip
    twins = (
        groups.unique("symbol", keep="first", maintain_order=True)
        .explode("symbol", empty_as_null=True, keep_nulls=True)
        .unique("symbol", keep="first", maintain_order=True)
    )
    others = groups.select(pl.col("symbol").alias("all"), "block", "mark")
    twins = twins.join(others, on=["block", "mark"]).join(
        members.select("symbol", "blocks", "oldest"), on="symbol"
    )
    days = pl.Series("day", panel.days, dtype=pl.Date)
    begins = (len(panel.days) - (twins["oldest"].cast(pl.Int64) + 1) * _IDENTICAL_SESSIONS).clip(0)
    twins = twins.with_columns(days.gather(begins).alias("first"))
    return each_row(
        twins, "identical_series", "quarantine", first=pl.col("first"), last=pl.col("date"),
        value=pl.col("blocks") * _IDENTICAL_SESSIONS, confidence=0.95,
        action="find out whose series it is, fetch both symbols again",
        detail=text("same closes under {} for {} sessions up to {}", pl.col("all").list.join(" and "),
                         pl.col("blocks") * _IDENTICAL_SESSIONS, "date"),
    )  # fmt: skip
