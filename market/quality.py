"""Checks of a daily price panel, in Polars: what is wrong, with which symbol, from when to when, and how much
it matters.

Severity decides what follows. `block`: nothing may be trained on, proposed from or traded on this data.
`quarantine`: the symbol is left out of training and signals and what is held of it may only be reduced.
`note`: a person should know. What is wrong with one symbol never blocks the others. Faults of the delivery
block: rows from the future, duplicates, sessions or a part of the symbols missing, one series under many
names, and a fault of single symbols that a tenth of a session's symbols have at once.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from market import (
    action_checks,
    bar_checks,
    delivery_checks,
    identity_checks,
    stale_checks,
    step_checks,
    volume_checks,
)
from market.errors import MarketError
from market.findings import (
    FINDING_SCHEMA,
    MASS_FRACTION,
    REFETCH,
    SEVERITIES,
    Panel,
    build_panel,
    each_row,
    text,
    worst_first,
)

__all__ = ["CHECKS", "FINDING_SCHEMA", "SEVERITIES", "check_prices"]

CHECKS: dict[str, str] = {
    "future_rows": "no row is dated after the as-of date",
    "duplicate_rows": "one row a symbol and session",
    "missing_newest_session": "the newest closed session has been delivered",
    "missing_session": "every session of the exchange has rows",
    "partial_delivery": "each session holds nearly all of the symbols that should trade on it",
    "truncated_delivery": "no session ends in the middle of the alphabet, where a page did",
    "identical_series": "no two symbols carry the same series of closes",
    "phantom_session": "every row lies on a session of the exchange",
    "invalid_price": "prices are there, finite and positive; volume is there and not negative",
    "ohlc_inconsistent": "low <= open, close <= high",
    "unadjusted_split": "no adjusted return has the size of a split",
    "unadjusted_spin_off": "no adjusted return is a spin-off or special dividend",
    "basis_flip": "no series changes its share basis and back",
    "identity_change": "no symbol becomes another instrument",
    "bad_print": "no close jumps away and straight back",
    "stale_run": "no series stands still for five sessions",
    "duplicated_day": "no session is delivered again under another date",
    "adjustment_mismatch": "the adjusted close moves as splits and dividends say",
    "misdated_action": "the price steps on the day of its split or dividend",
    "series_ended": "each symbol is delivered up to the newest session",
    "missing_rows": "no session is missing inside a symbol's life",
    "bad_wick": "no high or low lies half the price away from the body",
    "volume_level": "volume keeps its level: one venue is not the whole tape",
    "zero_volume": "every session has volume",
    "jump": "no return is beyond twelve of its own robust standard deviations, or forty per cent",
}
"""Every check that `check_prices` runs, each with the claim it makes of good data."""

_PANEL_CHECKS = (
    delivery_checks.duplicate_rows, delivery_checks.missing_newest_session, delivery_checks.missing_sessions,
    delivery_checks.partial_delivery, identity_checks.identical_series, delivery_checks.phantom_sessions,
    bar_checks.invalid_prices, bar_checks.ohlc, step_checks.steps, stale_checks.stale_runs, stale_checks.duplicated_days,
    action_checks.adjustment, action_checks.misdated, delivery_checks.series_ended, delivery_checks.missing_rows,
    bar_checks.bad_wicks, volume_checks.volume_shifts, bar_checks.zero_volume,
)  # fmt: skip
# Of these a tenth of the symbols may have the same on one day without the delivery being bad.
_OWN_AFFAIR = ("series_ended", "missing_rows", "duplicate_rows")


def check_prices(prices: pl.DataFrame, *, as_of: date, newest_sessions: int = 5) -> pl.DataFrame:
    """Run every check over a canonical daily frame and return its findings, worst first.

    `as_of` is the last date that may be known; the newest session due is the one on or before it. The columns
    are those of `FINDING_SCHEMA`: check, severity, symbol (null: the whole delivery), first and last date,
    value (what the check measured), confidence (0 to 1), action, detail (one sentence), evidence (JSON).

    Raises MarketError for a frame without rows up to `as_of`, or `newest_sessions` below 1.
    """
    if newest_sessions < 1:
        raise MarketError(f"newest_sessions is {newest_sessions}; give at least 1")
    future = prices.filter(pl.col("date") > as_of)
    known = prices.filter(pl.col("date") <= as_of) if future.height else prices
    if known.is_empty():
        raise MarketError(f"there are no prices up to {as_of} to check; ingest data that reaches that date")
    panel = build_panel(known, as_of, newest_sessions)
    findings = [delivery_checks.future_rows(future, as_of)]
    findings += [check(panel) for check in _PANEL_CHECKS]
    return worst_first(_mass_faults(pl.concat(findings), panel))


def _mass_faults(findings: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """The same quarantine that begins in a tenth of a session's symbols is a fault of the delivery.

    In the newest sessions, or when half of the symbols have it, it blocks. Further back it is one noted
    session: to leave out every symbol for one bad day would throw away the data with the fault.
    """
    own = (
        pl.col("symbol").is_not_null()
        & (pl.col("severity") == "quarantine")
        & ~pl.col("check").is_in(_OWN_AFFAIR)
    )
    hits = (
        findings.filter(own)
        .group_by("check", pl.col("first").alias("date"))
        .agg(pl.col("symbol").n_unique().alias("hit"))
        .filter(pl.col("hit") >= 3)
    )
    traded = (
        panel.rows.filter(pl.col("date").is_in(hits["date"].implode()))
        .group_by("date")
        .agg(pl.col("symbol").n_unique().alias("traded"), pl.col("newest").first())
    )
    mass = hits.join(traded, on="date").filter(pl.col("hit") >= MASS_FRACTION * pl.col("traded"))
    if mass.is_empty():
        return findings
    blocking = pl.col("newest") | (pl.col("hit") >= 0.5 * pl.col("traded"))
    sessions = each_row(
        mass, pl.col("check"), pl.when(blocking).then(pl.lit("block")).otherwise(pl.lit("note")), symbol=pl.lit(None),
        value=pl.col("hit"), action=REFETCH,
        detail=text("{} of {} symbols on {} have this fault at once: the delivery is bad", "hit", "traded", "date"),
        evidence={"symbols": pl.col("hit"), "traded": pl.col("traded")},
    )  # fmt: skip
    old = mass.filter(~blocking).select("check", pl.col("date").alias("first"), pl.lit(True).alias("session"))
    spared = findings.join(old, on=["check", "first"], how="left", maintain_order="left").with_columns(
        pl.when(own & pl.col("session").fill_null(False))
        .then(pl.lit("note"))
        .otherwise("severity")
        .alias("severity")
    )
    return pl.concat([spared.drop("session"), sessions])
