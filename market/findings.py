"""What the checks share: the panel they look at, and the findings they return.

A finding says which symbol (null: the whole delivery), from when to when, which fault, how much it matters,
how sure the check is, what to do, and the numbers it rests on. Findings of daily bars carry dates, those of
intraday bars and ticks aware UTC times; otherwise they are the same table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from market.calendar import is_session, previous_session, session_offset, sessions

SEVERITIES = ("block", "quarantine", "note")

FINDING_SCHEMA: dict[str, Any] = {
    "check": pl.String,
    "severity": pl.String,
    "symbol": pl.String,
    "first": pl.Date,
    "last": pl.Date,
    "value": pl.Float64,
    "confidence": pl.Float64,
    "action": pl.String,
    "detail": pl.String,
    "evidence": pl.String,  # a JSON object of numbers
}
INTRADAY_SCHEMA: dict[str, Any] = {
    **FINDING_SCHEMA,
    "first": pl.Datetime("us", "UTC"),
    "last": pl.Datetime("us", "UTC"),
}

LONG_GAP_SESSIONS = 20
MASS_FRACTION = 0.10  # of a session's symbols with the same fault: then it is the delivery, not the symbol

REFETCH = "fetch these rows from the source again"
LEAVE_OUT = "leave the symbol out until a person has looked"
KNOW = "nothing; a person should know"


@dataclass(frozen=True)
class Panel:
    """What every check looks at: the rows up to the as-of date beside the exchange's calendar."""

    rows: (
        pl.DataFrame
    )  # canonical rows up to as_of, sorted, with `position` (of the session, null on others), `newest`
    days: list[date]  # the sessions from the first row to the newest due
    newest_due: date
    newest_from: date


def build_panel(known: pl.DataFrame, as_of: date, newest_sessions: int) -> Panel:
    """Sort the rows, give each the number of its session, and mark the newest `newest_sessions` sessions."""
    first: date = known["date"].min()  # type: ignore[assignment]
    newest_due = as_of if is_session(as_of) else previous_session(as_of)
    days = sessions(first, newest_due) or [newest_due]
    newest_from = session_offset(newest_due, 1 - newest_sessions)
    calendar = pl.DataFrame({"date": days}, schema={"date": pl.Date}).with_row_index("position")
    symbol, day = pl.col("symbol"), pl.col("date")
    turned = (symbol < symbol.shift(1)) | ((symbol == symbol.shift(1)) & (day < day.shift(1)))
    # Stored data is sorted already, and sorting millions of rows of text again costs more than most checks.
    ordered = (
        known.sort("symbol", "date", maintain_order=True) if known.select(turned.any()).item() else known
    )
    rows = ordered.join(calendar, on="date", how="left", maintain_order="left").with_columns(
        (pl.col("date") >= newest_from).alias("newest"), pl.col("position").cast(pl.Int32)
    )
    return Panel(rows, days, newest_due, newest_from)


def each_row(
    rows: pl.DataFrame,
    check: str | pl.Expr,
    severity: pl.Expr | str,
    *,
    symbol: pl.Expr | None = None,
    first: pl.Expr | None = None,
    last: pl.Expr | None = None,
    value: pl.Expr | None = None,
    confidence: pl.Expr | float = 1.0,
    action: pl.Expr | str = REFETCH,
    detail: pl.Expr,
    evidence: Mapping[str, pl.Expr] | None = None,
    schema: Mapping[str, Any] = FINDING_SCHEMA,
) -> pl.DataFrame:
    """One finding a row of `rows`; by default symbol and date (or `at`) are the row's own, `last` is
    `first`."""
    moment = pl.col("date" if schema is FINDING_SCHEMA else "at")
    start = moment if first is None else first
    numbers = [
        number.cast(pl.Float64).round_sig_figs(7).alias(name) for name, number in (evidence or {}).items()
    ]
    columns = {
        "check": pl.lit(check) if isinstance(check, str) else check,
        "severity": pl.lit(severity) if isinstance(severity, str) else severity,
        "symbol": pl.col("symbol") if symbol is None else symbol,
        "first": start,
        "last": start if last is None else last,
        "value": pl.lit(None) if value is None else value,
        "confidence": pl.lit(confidence) if isinstance(confidence, float) else confidence,
        "action": pl.lit(action) if isinstance(action, str) else action,
        "detail": detail,
        "evidence": pl.struct(numbers).struct.json_encode() if numbers else pl.lit("{}"),
    }
    return rows.select(columns[name].cast(kind).alias(name) for name, kind in schema.items())


def one_finding(
    check: str,
    severity: str,
    day: date | None,
    value: float,
    detail: str,
    *,
    first: date | None = None,
    symbol: str | None = None,
    action: str = REFETCH,
    confidence: float = 1.0,
) -> pl.DataFrame:
    """One finding about the delivery as a whole (or `symbol`), up to `day`."""
    row = (check, severity, symbol, first or day, day, float(value), confidence, action, detail, "{}")
    return pl.DataFrame([row], schema=FINDING_SCHEMA, orient="row")


def no_findings(schema: Mapping[str, Any] = FINDING_SCHEMA) -> pl.DataFrame:
    """An empty frame of findings."""
    return pl.DataFrame(schema=schema)


def worst_first(findings: pl.DataFrame) -> pl.DataFrame:
    """By severity, then check, newest first, largest first."""
    rank = pl.col("severity").replace_strict(
        {name: i for i, name in enumerate(SEVERITIES)}, return_dtype=pl.Int8
    )
    return (
        findings.with_columns(rank.alias("_rank"))
        .sort(
            "_rank", "check", "last", "value", "symbol",
            descending=[False, False, True, True, False], nulls_last=True,
        )
        .drop("_rank")
    )  # fmt: skip


def finding_key(finding: Mapping[str, Any]) -> str:
    """Sixteen hex digits that name what a person saw: the fault, the symbol, the range and the number.

    The same fault found again in tomorrow's data has the same key; with another number it is another one, so
    that an overruling never covers what nobody looked at.
    """
    value = finding["value"]
    seen = "" if value is None else f"{float(value):.6g}"
    named = (str(finding[name]) for name in ("check", "symbol", "first", "last"))
    return hashlib.sha256("|".join((*named, seen)).encode()).hexdigest()[:16]


def text(template: str, *values: str | pl.Expr) -> pl.Expr:
    """`pl.format`, which in Polars 2.1 panics where a when/then branch has no rows."""
    parts: list[pl.Expr] = []
    for words, value in zip(template.split("{}"), [*values, None], strict=True):
        parts.append(pl.lit(words))
        if value is not None:
            parts.append(
                (pl.col(value) if isinstance(value, str) else value).cast(pl.String).fill_null("null")
            )
    return pl.concat_str(parts)


def if_newest(then: str, otherwise: str) -> pl.Expr:
    """The severity `then` in the newest sessions, `otherwise` further back."""
    return pl.when("newest").then(pl.lit(then)).otherwise(pl.lit(otherwise))


def previous(column: str) -> pl.Expr:
    """The value on the same symbol's row before; null on its first. Needs rows sorted by symbol and date."""
    return pl.when(pl.col("symbol") == pl.col("symbol").shift(1)).then(pl.col(column).shift(1))


def following(column: str, n: int = 1) -> pl.Expr:
    """The value `n` rows later of the same symbol; null at its end. Needs rows sorted by symbol and date."""
    return pl.when(pl.col("symbol") == pl.col("symbol").shift(-n)).then(pl.col(column).shift(-n))
