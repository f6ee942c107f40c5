"""Checks of intraday bars, trades and quotes: what is wrong, with which symbol, from when to when.

The severities are those of daily bars: `block` for a fault of the delivery, `quarantine` for one of a symbol
(its rows of that day are not to be used), `note` for a person. Times are aware UTC.
"""

from __future__ import annotations

import polars as pl

from market import intraday_bar_checks as bar_checks
from market import intraday_session_checks as session_checks
from market import tick_checks
from market.errors import MarketError
from market.findings import INTRADAY_SCHEMA, MASS_FRACTION, REFETCH, each_row, no_findings, text, worst_first
from market.intraday import Sessions, with_sessions

INTRADAY_CHECKS: dict[str, str] = {
    "phantom_session": "every row lies on a session of the exchange",
    "missing_session": "every session has rows",
    "missing_rows": "every symbol has rows on each session of its life",
    "out_of_session": "no row lies outside the hours of trading, early closes counted",
    "shifted_clock": "the volume lies in the session, not whole hours from it",
    "missing_bars": "no bar is missing in a name that has nearly all of them",
    "truncated_page": "no day is cut short before its close",
    "duplicate_rows": "one row a symbol and time",
    "duplicated_day": "no day is delivered again under another date",
    "identical_series": "no two symbols carry the same bars",
    "invalid_price": "prices and sizes are there, finite and positive",
    "ohlc_inconsistent": "low <= open, close <= high",
    "bad_print": "no print leaves the market and comes straight back",
    "stale_run": "no bar is carried forward",
    "zero_volume": "every bar has volume",
    "unadjusted_split": "no night has the size of a split",
    "jump": "no night moves a price beyond six usual days",
    "volume_level": "volume keeps its level: one venue is not the whole tape",
    "feed_gap": "a name that prints all the time does not fall silent",
    "crossed_quote": "no bid lies above the ask",
    "zero_quote": "every quote has two sides",
    "wide_quote": "no spread in regular hours is wider than a tenth",
    "out_of_order": "times run forward in the order of delivery",
    "vendor_flag": "no row is marked as suspicious by its vendor",
}
"""Every check of intraday rows, each with the claim it makes of good data."""

_EVERY = (session_checks.closed_days, session_checks.hours, session_checks.missing_days)
_BARS = (
    session_checks.shifted_clock, session_checks.holes, bar_checks.invalid_bars, bar_checks.ohlc, bar_checks.duplicate_bars, bar_checks.bad_prints,
    bar_checks.stale_runs, bar_checks.overnight_steps, bar_checks.copies, bar_checks.volume_shifts,
)  # fmt: skip
_TRADES = (
    session_checks.shifted_clock, tick_checks.invalid_trades, tick_checks.bad_trades, tick_checks.flagged, tick_checks.silence, tick_checks.repeated,
    tick_checks.backwards, tick_checks.venues,
)  # fmt: skip
_QUOTES = (
    tick_checks.quotes,
    tick_checks.flagged,
    tick_checks.silence,
    tick_checks.repeated,
    tick_checks.backwards,
)


def check_bars(bars: pl.DataFrame) -> pl.DataFrame:
    """Findings about canonical intraday bars (symbol, at, open, high, low, close, volume), worst first."""
    return _check(with_sessions(_some(bars), bars=True), (*_EVERY, *_BARS))


def check_trades(trades: pl.DataFrame) -> pl.DataFrame:
    """Findings about canonical trades (symbol, at, price, size; exchange and suspicious where there are)."""
    return _check(with_sessions(_some(trades), bars=False), (*_EVERY, *_TRADES))


def check_quotes(quotes: pl.DataFrame) -> pl.DataFrame:
    """Findings about canonical quotes (symbol, at, bid, ask; those of a bar's end for bars of quotes)."""
    return _check(with_sessions(_some(quotes), bars=False), (*_EVERY, *_QUOTES))


def _some(rows: pl.DataFrame) -> pl.DataFrame:
    if rows.is_empty():
        raise MarketError("there are no intraday rows to check; ask the source for the delivery again")
    if "delivered" not in rows.columns:
        rows = rows.with_row_index("delivered")
    return rows.sort("symbol", "at", maintain_order=True)


def _check(data: Sessions, checks: tuple) -> pl.DataFrame:  # type: ignore[type-arg]
    findings = pl.concat([check(data) for check in checks])
    return worst_first(pl.concat([findings, _shared(findings, data)]))


def _shared(findings: pl.DataFrame, data: Sessions) -> pl.DataFrame:
    """The same quarantine of a tenth of a day's symbols at once is a fault of the delivery."""
    day = pl.col("first").dt.convert_time_zone("America/New_York").dt.date()
    traded = data.rows.group_by("day").agg(pl.col("symbol").n_unique().alias("traded"))
    mass = (
        findings.filter(
            (pl.col("severity") == "quarantine")
            & pl.col("symbol").is_not_null()
            & ~pl.col("check").is_in(["bad_print", "crossed_quote", "zero_quote"])
        )
        .group_by("check", day.alias("day"))
        .agg(
            pl.col("symbol").n_unique().alias("hit"),
            pl.col("first").min().alias("at"),
            pl.col("last").max().alias("till"),
        )
        .join(traded, on="day")
        .filter((pl.col("hit") >= 3) & (pl.col("hit") >= max(MASS_FRACTION, 0.34) * pl.col("traded")))
    )
    if mass.is_empty():
        return no_findings(INTRADAY_SCHEMA)
    return each_row(
        mass, pl.col("check"), "block", symbol=pl.lit(None), last=pl.col("till"), value=pl.col("hit"), action=REFETCH,
        detail=text("{} of {} symbols on {} have this fault: the delivery is bad", "hit", "traded", "day"),
        evidence={"symbols": pl.col("hit"), "traded": pl.col("traded")}, schema=INTRADAY_SCHEMA,
    )  # fmt: skip
