"""Checks of a price panel, in Polars: what is wrong, with which symbol, on which session, and how much it
matters.

Severity decides what follows. `block`: nothing may be trained on, proposed from or traded on this data.
`quarantine`: the symbol is left out of training and signals. `note`: a person should know. Structural faults
(rows from the future, duplicates, whole sessions missing, a part of the symbols missing, one series under
many names) block at any age; a fault of one symbol blocks only in the newest sessions, where an order would
be priced from it, and is a quarantine or a note further back, because every long real history has some.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from market import bar_checks, delivery_checks, series_checks
from market.errors import MarketError
from market.findings import FINDING_SCHEMA, MASS_FRACTION, Panel, build_panel, each_row, text

__all__ = ["CHECKS", "FINDING_SCHEMA", "SEVERITIES", "check_prices"]

SEVERITIES = ("block", "quarantine", "note")

CHECKS: dict[str, str] = {
    "future_rows": "no row is dated after the as-of date",
    "duplicate_rows": "one row a symbol and session",
    "missing_newest_session": "the newest closed session has been delivered",
    "missing_session": "every session of the exchange has rows",
    "partial_delivery": "each session holds nearly all of the symbols that should trade on it",
    "identical_series": "no two symbols carry the same series of closes",
    "phantom_session": "every row lies on a session of the exchange",
    "invalid_price": "prices are there, finite and positive; volume is there and not negative",
    "ohlc_inconsistent": "low <= open, close <= high",
    "unadjusted_split": "no adjusted return has the size of a split",
    "bad_print": "no close jumps away and straight back",
    "stale_run": "no series stands still for five sessions",
    "adjustment_mismatch": "the adjusted close moves as splits and dividends say",
    "series_ended": "each symbol is delivered up to the newest session",
    "missing_rows": "no session is missing inside a symbol's life",
    "bad_wick": "no high or low lies half the price away from the body",
    "zero_volume": "every session has volume",
    "jump": "no return is beyond twelve of its own robust standard deviations",
}
"""Every check that `check_prices` runs, each with the claim it makes of good data."""


def check_prices(prices: pl.DataFrame, *, as_of: date, newest_sessions: int = 5) -> pl.DataFrame:
    """Run every check over a canonical daily frame and return its findings, worst first.

    `as_of` is the last date that may be known; the newest session due is the one on or before it. Returns
    columns check, severity (block, quarantine or note), symbol (null: the whole delivery), date (null: no
    single session), value (Float64, what the check measured, null where there is nothing to measure) and
    detail (one sentence).

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
    findings += [
        check(panel)
        for check in (
            delivery_checks.duplicate_rows, delivery_checks.missing_newest_session, delivery_checks.missing_sessions, delivery_checks.partial_delivery, delivery_checks.identical_series,
            delivery_checks.phantom_sessions, bar_checks.invalid_prices, bar_checks.ohlc, series_checks.returns, series_checks.stale_runs, series_checks.adjustment, delivery_checks.series_ended,
            delivery_checks.missing_rows, bar_checks.bad_wicks, bar_checks.zero_volume,
        )
    ]  # fmt: skip
    rank = pl.col("severity").replace_strict(
        {name: i for i, name in enumerate(SEVERITIES)}, return_dtype=pl.Int8
    )
    return (
        _mass_faults_block(pl.concat(findings), panel)
        .with_columns(rank.alias("_rank"))
        .sort(
            "_rank", "check", "date", "value", "symbol",
            descending=[False, False, True, True, False], nulls_last=True,
        )
        .drop("_rank")
    )  # fmt: skip


def _mass_faults_block(findings: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """The same quarantine in a tenth of a session's symbols is a fault of the delivery, however old: it
    blocks."""
    counts = panel.rows.group_by("date").agg(pl.col("symbol").n_unique().alias("traded"))
    own = findings.filter(pl.col("symbol").is_not_null() & (pl.col("severity") == "quarantine"))
    mass = (
        own.filter(~pl.col("check").is_in(["series_ended", "missing_rows"]))
        .group_by("check", "date")
        .agg(pl.col("symbol").n_unique().alias("hit"))
        .join(counts, on="date")
        .filter((pl.col("hit") >= 3) & (pl.col("hit") >= MASS_FRACTION * pl.col("traded")))
    )
    if mass.is_empty():
        return findings
    blocks = each_row(
        mass, pl.col("check"), pl.lit("block"), symbol=pl.lit(None), value=pl.col("hit"),
        detail=text("{} of {} symbols on {} have this fault at once: the delivery is bad", "hit", "traded", "date"),
    )  # fmt: skip
    return pl.concat([findings, blocks])
