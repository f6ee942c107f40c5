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
    """Rows repeated for one symbol and date: one finding a symbol, or one a date where many symbols share
    it."""
    repeated = panel.rows.filter(pl.col("date") == previous("date"))
    if repeated.is_empty():
        return no_findings()
    traded = panel.rows.group_by("date").agg(pl.col("symbol").n_unique().alias("traded"))
    by_date = (
        repeated.group_by("date")
        .agg(pl.col("symbol").n_unique().alias("symbols"), pl.len().alias("count"))
        .join(traded, on="date")
        .filter((pl.col("symbols") >= 3) & (pl.col("symbols") >= MASS_FRACTION * pl.col("traded")))
    )
    whole = each_row(
        by_date, "duplicate_rows", "block", symbol=pl.lit(None), value=pl.col("count"),
        detail=text("{} repeated rows of {} symbols on {}", "count", "symbols", "date"),
        evidence={"rows": pl.col("count"), "symbols": pl.col("symbols")},
    )  # fmt: skip
    by_symbol = (
        repeated.join(by_date.select("date"), on="date", how="anti")
        .group_by("symbol")
        .agg(pl.col("date").min().alias("first"), pl.col("date").max().alias("last"), pl.len().alias("count"))
    )
    each = each_row(
        by_symbol, "duplicate_rows", "block", first=pl.col("first"), last=pl.col("last"), value=pl.col("count"),
        detail=text("{} repeated rows, the first on {}", "count", "first"), evidence={"rows": pl.col("count")},
    )  # fmt: skip
    return pl.concat([whole, each])


def missing_newest_session(panel: Panel) -> pl.DataFrame:
    last: date = panel.rows["date"].max()  # type: ignore[assignment]
    missing = [day for day in panel.days if day > last]
    if not missing:
        return no_findings()
    return one_finding(
        "missing_newest_session", "block", panel.newest_due, len(missing),
        f"the newest rows are of {last}; sessions missing up to {panel.newest_due}: {len(missing)}",
        first=missing[0],
    )  # fmt: skip


def missing_sessions(panel: Panel) -> pl.DataFrame:
    present = set(panel.rows["date"].unique())
    last: date = panel.rows["date"].max()  # type: ignore[assignment]
    missing = [day for day in panel.days if day not in present and day < last]
    table = pl.DataFrame({"date": missing}, schema={"date": pl.Date})
    return each_row(
        table, "missing_session", "block", symbol=pl.lit(None), action="backfill the session from the source",
        detail=text("no symbol has a row on the session of {}", "date"),
    )  # fmt: skip


def partial_delivery(panel: Panel) -> pl.DataFrame:
    """Rows a session against the symbols expected on it.

    A symbol is expected from its first row to its last, without its long gaps (those are its own fault), and
    up to the newest session when it stopped only inside the newest ones (that may be the delivery's fault).
    """
    rows = panel.rows.filter(pl.col("position").is_not_null()).select("symbol", "position")
    # Sorted by symbol and date, so a repeated row is equal to the one before it.
    rows = rows.with_columns((pl.col("position") - previous("position")).alias("gap"))
    rows = rows.filter(pl.col("gap").is_null() | (pl.col("gap") > 0))
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
        pl.lit(pl.Series(panel.days, dtype=pl.Date)).gather("position").alias("date"),
        (pl.col("count") / pl.col("expected")).alias("share"),
    )
    # Two symbols missing from a handful are their own fault, unless it is of today.
    several = (pl.col("expected") - pl.col("count") > 2) | (pl.col("position") >= newest_from)
    table = table.filter((pl.col("share") < _PARTIAL_NOTE) & several)
    if table.is_empty():
        return no_findings()
    table = table.join(_last_names(panel, table["date"]), on="date", how="left")
    # Short by the tail of the alphabet: pages were asked for in order, and the last ones never came.
    truncated = (pl.col("missing_after") > 0.9 * (pl.col("expected") - pl.col("count"))) & (
        pl.col("share") < _PARTIAL_BLOCK
    )
    return each_row(
        table,
        pl.when(truncated).then(pl.lit("truncated_delivery")).otherwise(pl.lit("partial_delivery")),
        pl.when(pl.col("share") < _PARTIAL_BLOCK).then(pl.lit("block")).otherwise(pl.lit("note")),
        symbol=pl.lit(None),
        value=pl.col("share"),
        action="fetch the session again, all pages of it",
        detail=pl.when(truncated)
        .then(text("{} of the {} symbols expected on {} were delivered, none after {}: pages are missing", "count", "expected", "date", "newest_name"))
        .otherwise(text("{} of the {} symbols expected on {} were delivered", "count", "expected", "date")),
        evidence={"delivered": pl.col("count"), "expected": pl.col("expected")},
    )  # fmt: skip


def _last_names(panel: Panel, dates: pl.Series) -> pl.DataFrame:
    """Of each date the last symbol delivered in alphabetical order, and how many known ones come after it."""
    names = panel.rows["symbol"].unique().sort().rename("newest_name")
    order = pl.DataFrame({"newest_name": names}).with_row_index("rank", offset=1)
    return (
        panel.rows.filter(pl.col("date").is_in(dates.implode()))
        .group_by("date")
        .agg(pl.col("symbol").max().alias("newest_name"))
        .join(order, on="newest_name")
        .select("date", "newest_name", (names.len() - pl.col("rank").cast(pl.Int64)).alias("missing_after"))
    )


def phantom_sessions(panel: Panel) -> pl.DataFrame:
    phantom = panel.rows.filter(pl.col("position").is_null())
    by_day = phantom.group_by("date").agg(pl.len().alias("count"), pl.col("newest").first())
    return each_row(
        by_day, "phantom_session", if_newest("block", "note"), symbol=pl.lit(None), value=pl.col("count"),
        action="drop the rows; if the sessions beside them are missing, the dates are shifted",
        evidence={"rows": pl.col("count")},
        detail=text("{} rows on {} ({}), when the exchange was closed", "count", "date",
                         pl.col("date").dt.strftime("%A")),
    )  # fmt: skip


def series_ended(panel: Panel) -> pl.DataFrame:
    """Symbols without a row on the newest session.

    One that stood still before it ended, close by close a third of what it used to move, was being bought
    for cash: its end is history, not a hole. Any other that stops in the newest sessions may have lost its
    feed.
    """
    newest: date = panel.rows["date"].max()  # type: ignore[assignment]
    size = (pl.col("close") / previous("close")).log().abs()
    lives = (
        panel.rows.with_columns(size.alias("size"))
        .group_by("symbol", maintain_order=True)
        .agg(
            pl.col("date").max(), pl.col("newest").any(),
            pl.col("size").tail(10).median().alias("late"), pl.col("size").tail(500).median().alias("usual"),
        )
    )  # fmt: skip
    ended = lives.filter(pl.col("date") < newest)
    pinned = ((pl.col("late") < pl.col("usual") / 3) & (pl.col("late") < 0.003)).fill_null(False)
    return each_row(
        ended, "series_ended",
        pl.when(pinned).then(pl.lit("note")).otherwise(if_newest("quarantine", "note")),
        last=pl.lit(newest), value=pl.col("late"), confidence=pl.when(pinned).then(0.9).otherwise(0.5),
        action="look the symbol up: delisted, renamed, or lost by the feed",
        detail=pl.when(pinned).then(text("last delivered on {} after standing still at one price: taken over", "date"))
        .otherwise(text("last delivered on {}: delisted, renamed or missing", "date")),
        evidence={"late_move": pl.col("late"), "usual_move": pl.col("usual")},
    )  # fmt: skip


def missing_rows(panel: Panel) -> pl.DataFrame:
    rows = panel.rows.filter(pl.col("position").is_not_null())
    present = rows.select("position").unique().sort("position").with_row_index("rank")
    # Counted in sessions that anyone traded on, so a wholly missing session is one finding and not one a symbol.
    rows = rows.join(
        present.with_columns(pl.col("rank").cast(pl.Int32)), on="position", maintain_order="left"
    )
    gaps = rows.with_columns(
        (pl.col("rank") - previous("rank") - 1).alias("gap"), previous("position").alias("before")
    ).filter(pl.col("gap") > 0)
    days = pl.Series("day", panel.days, dtype=pl.Date)
    gaps = gaps.with_columns(
        days.gather(gaps["before"] + 1).alias("first"), days.gather(gaps["position"] - 1).alias("last")
    )
    severity = pl.when(pl.col("newest") | (pl.col("gap") >= LONG_GAP_SESSIONS)).then(pl.lit("quarantine"))
    return each_row(
        gaps, "missing_rows", severity.otherwise(pl.lit("note")), first=pl.col("first"), last=pl.col("last"),
        value=pl.col("gap"), action="backfill the sessions from the source",
        detail=text("sessions without a row from {} to {}: {}", "first", "last", "gap"),
        evidence={"sessions": pl.col("gap")},
    )  # fmt: skip
