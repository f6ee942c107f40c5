"""Checks of splits and dividends: does the adjusted close move as they say, and did the price itself move on
their day?"""

from __future__ import annotations

import polars as pl

from market.findings import Panel, each_row, following, no_findings, previous, text

_NOTABLE = 0.01
_WRONG = 0.10  # of the price: returns are false by that much
_SEEN = 0.15  # log: a smaller step drowns in the day's own move
_NEAR = 5  # sessions on each side in which a misdated action is looked for


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
        pl.col("off") > _NOTABLE
    )
    return each_row(
        table, "adjustment_mismatch",
        pl.when(pl.col("off") > _WRONG).then(pl.lit("quarantine")).otherwise(pl.lit("note")), value=pl.col("off"),
        action="recompute the adjustment from splits and dividends of a second source",
        detail=text("the adjustment steps by {}, split {} and dividend {} say {}", pl.col("step").round(4),
                         "split", "dividend", pl.col("implied").round(4)),
        evidence={"step": pl.col("step"), "implied": pl.col("implied"), "split": pl.col("split"), "dividend": pl.col("dividend")},
    )  # fmt: skip


def misdated(panel: Panel) -> pl.DataFrame:
    """A split or large dividend whose step the raw price did not make on its day, but made near it or never."""
    implied = pl.col("split") / (1 - pl.col("dividend") / previous("close"))
    rows = panel.rows.filter(pl.col("close") > 0)
    if rows.select(((pl.col("split") == 1) & (pl.col("dividend") == 0)).all()).item():
        return no_findings()
    step = (pl.col("close") / previous("close")).log()
    rows = rows.with_columns(
        step.alias("raw"), pl.when(implied > 0).then(implied.log()).alias("said")
    ).with_columns(
        # What should have happened and did not: zero on a good day, whatever its action.
        pl.col("said").is_not_null().and_(pl.col("said").abs() > _SEEN).alias("large")
    )
    # The mean absolute move of the symbol is near enough to its spread, and cheap over millions of rows.
    spread = (
        (pl.col("raw") + pl.col("said")).abs().rolling_mean(63, min_samples=10).over("symbol").fill_null(0.02)
    )
    beside = pl.col("large").cast(pl.Int8).rolling_max(2 * _NEAR + 3, min_samples=1, center=True)
    rows = rows.with_columns(spread.alias("spread")).filter(beside == 1)
    near: list[pl.Expr] = []
    days: list[pl.Expr] = []
    for shift in [n for n in range(-_NEAR, _NEAR + 1) if n]:
        tolerance = pl.max_horizontal(0.2 * pl.col("said").abs(), 4 * pl.col("spread"))
        silent = following("said", shift).abs() < 0.05  # no action of its own explains that step
        made = ((following("raw", shift) + pl.col("said")).abs() < tolerance) & silent
        near.append(made.fill_null(False))
        days.append(pl.when(made).then(following("date", shift)))
    off = (pl.col("raw") + pl.col("said")).abs()
    absent = pl.col("large") & (
        off > pl.max_horizontal(0.6 * pl.col("said").abs(), 6 * pl.col("spread"), pl.lit(_SEEN))
    )
    rows = rows.with_columns(
        pl.any_horizontal(near).alias("elsewhere"), pl.coalesce(days).alias("day"), off.alias("off")
    ).filter(absent)
    if rows.is_empty():
        return no_findings()
    return each_row(
        rows, "misdated_action", "quarantine", first=pl.min_horizontal("date", "day"), last=pl.max_horizontal("date", "day"),
        value=pl.col("said").exp(), confidence=pl.when("elsewhere").then(0.95).otherwise(0.8),
        action=pl.when("elsewhere").then(text("move the action to {}", "day")).otherwise(pl.lit("confirm the action with a second source")),
        detail=pl.when("elsewhere")
        .then(text("split {} and dividend {} are dated {}, but the price stepped on {}", "split", "dividend", "date", "day"))
        .otherwise(text("split {} and dividend {} should have moved the price by {}; it moved by {}", "split", "dividend",
                        (-pl.col("said")).exp().round(4), pl.col("raw").exp().round(4))),
        evidence={"said": pl.col("said"), "moved": pl.col("raw"), "spread": pl.col("spread")},
    )  # fmt: skip
