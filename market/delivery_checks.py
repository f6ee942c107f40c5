"""Checks of the delivery as a whole: which symbols and sessions are there, who should be, who is someone
else."""

from __future__ import annotations

from datetime import date

import polars as pl

from market.findings import (
    LONG_GAP_SESSIONS,
    MASS_FRACTION,
    Panel,
    each_row,
    if_newest,
    no_findings,
    one_finding,
    previous,
    text,
)

_PARTIAL_BLOCK = 0.90  # of the symbols expected on a session
_PARTIAL_NOTE = 0.98
_IDENTICAL_SESSIONS = 20
_IDENTICAL_DISTINCT = 5  # different closes in a block: series that stand still equal many others


def future_rows(future: pl.DataFrame, as_of: date) -> pl.DataFrame:
    if future.is_empty():
        return no_findings()
    names = future["symbol"].n_unique()
    last: date = future["date"].max()  # type: ignore[assignment]
    return one_finding(
        "future_rows", "block", last, future.height,
        f"{future.height} rows of {names} symbols are dated after {as_of}, up to {last}: they could not be known",
    )  # fmt: skip


def duplicate_rows(panel: Panel) -> pl.DataFrame:
    repeated = panel.rows.filter(pl.col("date") == previous("date"))
    by_symbol = repeated.group_by("symbol").agg(pl.col("date").min(), pl.len().alias("count"))
    return each_row(
        by_symbol, "duplicate_rows", pl.lit("block"), value=pl.col("count"),
        detail=text("{} repeated rows, the first on {}", "count", "date"),
    )  # fmt: skip


def missing_newest_session(panel: Panel) -> pl.DataFrame:
    last: date = panel.rows["date"].max()  # type: ignore[assignment]
    missing = [day for day in panel.days if day > last]
    if not missing:
        return no_findings()
    return one_finding(
        "missing_newest_session", "block", panel.newest_due, len(missing),
        f"the newest rows are of {last}; sessions missing up to {panel.newest_due}: {len(missing)}",
    )  # fmt: skip


def missing_sessions(panel: Panel) -> pl.DataFrame:
    present = set(panel.rows["date"].unique())
    last: date = panel.rows["date"].max()  # type: ignore[assignment]
    missing = [day for day in panel.days if day not in present and day < last]
    table = pl.DataFrame({"date": missing}, schema={"date": pl.Date})
    return each_row(
        table, "missing_session", pl.lit("block"), symbol=pl.lit(None),
        detail=text("no symbol has a row on the session of {}", "date"),
    )  # fmt: skip


def partial_delivery(panel: Panel) -> pl.DataFrame:
    """Rows a session against the symbols expected on it.

    A symbol is expected from its first row to its last, without its long gaps (those are its own fault), and
    up to the newest session when it stopped only inside the newest ones (that may be the delivery's fault).
    """
    rows = panel.rows.filter(pl.col("position").is_not_null()).select("symbol", "position").unique()
    rows = rows.sort("symbol", "position").with_columns(
        (pl.col("position") - previous("position")).alias("gap")
    )
    newest_from = len(panel.days) - len([day for day in panel.days if day >= panel.newest_from])
    spells = (
        rows.with_columns(
            (pl.col("gap").is_null() | (pl.col("gap") > LONG_GAP_SESSIONS)).cum_sum().alias("spell")
        )
        .group_by("spell")
        .agg(pl.col("position").min().alias("born"), pl.col("position").max().alias("died"))
        .with_columns(
            pl.when(pl.col("died") >= newest_from - 1).then(len(panel.days)).otherwise("died").alias("died")
        )
    )
    births = spells.select(pl.col("born").cast(pl.Int64).alias("position"), pl.lit(1).alias("change"))
    deaths = spells.select((pl.col("died").cast(pl.Int64) + 1).alias("position"), pl.lit(-1).alias("change"))
    expected = (
        pl.concat([births, deaths])
        .group_by("position")
        .agg(pl.col("change").sum())
        .sort("position")
        .select("position", pl.col("change").cum_sum().alias("expected"))
    )
    counts = rows.group_by(pl.col("position").cast(pl.Int64)).agg(pl.len().alias("count")).sort("position")
    table = counts.join_asof(expected, on="position").with_columns(
        pl.col("position").map_elements(panel.days.__getitem__, return_dtype=pl.Date).alias("date"),
        (pl.col("count") / pl.col("expected")).alias("share"),
    )
    # Two symbols missing from a handful are their own fault, unless it is of today.
    several = (pl.col("expected") - pl.col("count") > 2) | (pl.col("position") >= newest_from)
    table = table.filter((pl.col("share") < _PARTIAL_NOTE) & several)
    return each_row(
        table,
        "partial_delivery",
        pl.when(pl.col("share") < _PARTIAL_BLOCK).then(pl.lit("block")).otherwise(pl.lit("note")),
        symbol=pl.lit(None),
        value=pl.col("share"),
        detail=text("{} of the {} symbols expected on {} were delivered", "count", "expected", "date"),
    )


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
        .agg(pl.col("date").max(), pl.col("block").min(), pl.len().alias("blocks"))
    )
    if members.height >= max(3, MASS_FRACTION * total):
        return one_finding(
            "identical_series", "block", members["date"].max(), members.height,  # type: ignore[arg-type]
            f"{members.height} of {total} symbols carry a series of closes that another symbol carries too: "
            "a downloader or the source mixed them up",
        )  # fmt: skip
    twins = (
        groups.unique("symbol", keep="first", maintain_order=True)
        .explode("symbol", empty_as_null=True, keep_nulls=True)
        .unique("symbol", keep="first", maintain_order=True)
    )
    others = groups.select(pl.col("symbol").alias("all"), "block", "mark")
    twins = twins.join(others, on=["block", "mark"]).join(members.select("symbol", "blocks"), on="symbol")
    return each_row(
        twins, "identical_series",
        pl.when(pl.col("block") == 0).then(pl.lit("block")).otherwise(pl.lit("quarantine")),
        value=pl.col("blocks") * _IDENTICAL_SESSIONS,
        detail=text("same closes under {} for {} sessions up to {}", pl.col("all").list.join(" and "),
                         pl.col("blocks") * _IDENTICAL_SESSIONS, "date"),
    )  # fmt: skip


def phantom_sessions(panel: Panel) -> pl.DataFrame:
    phantom = panel.rows.filter(pl.col("position").is_null())
    by_day = phantom.group_by("date").agg(pl.len().alias("count"), pl.col("newest").first())
    return each_row(
        by_day, "phantom_session", if_newest("block", "note"), symbol=pl.lit(None), value=pl.col("count"),
        detail=text("{} rows on {} ({}), when the exchange was closed", "count", "date",
                         pl.col("date").dt.strftime("%A")),
    )  # fmt: skip


def series_ended(panel: Panel) -> pl.DataFrame:
    newest: date = panel.rows["date"].max()  # type: ignore[assignment]
    lives = panel.rows.group_by("symbol").agg(pl.col("date").max(), pl.col("newest").any())
    ended = lives.filter(pl.col("date") < newest)
    return each_row(
        ended, "series_ended", if_newest("quarantine", "note"),
        detail=text("last delivered on {}: delisted, renamed or missing", "date"),
    )  # fmt: skip


def missing_rows(panel: Panel) -> pl.DataFrame:
    rows = panel.rows.filter(pl.col("position").is_not_null())
    present = rows.select("position").unique().sort("position").with_row_index("rank")
    # Counted in sessions that anyone traded on, so a wholly missing session is one finding and not one a symbol.
    rows = rows.join(
        present.with_columns(pl.col("rank").cast(pl.Int32)), on="position", maintain_order="left"
    )
    gaps = rows.with_columns(
        (pl.col("rank") - previous("rank") - 1).alias("gap"), previous("date").alias("before")
    ).filter(pl.col("gap") > 0)
    severity = pl.when(pl.col("newest") | (pl.col("gap") >= LONG_GAP_SESSIONS)).then(pl.lit("quarantine"))
    return each_row(
        gaps, "missing_rows", severity.otherwise(pl.lit("note")), value=pl.col("gap"),
        detail=text("sessions without a row between {} and {}: {}", "before", "date", "gap"),
    )  # fmt: skip
