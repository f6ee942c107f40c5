"""What the price checks share: the panel they look at, and the findings they return."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from market.calendar import is_session, previous_session, session_offset, sessions

FINDING_SCHEMA: dict[str, type[pl.DataType]] = {
    "check": pl.String,
    "severity": pl.String,
    "symbol": pl.String,
    "date": pl.Date,
    "value": pl.Float64,
    "detail": pl.String,
}

LONG_GAP_SESSIONS = 20
MASS_FRACTION = 0.10  # of a session's symbols with the same fault: then it is the delivery, not the symbol


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
    rows = (
        known.sort("symbol", "date", maintain_order=True)
        .join(calendar, on="date", how="left", maintain_order="left")
        .with_columns((pl.col("date") >= newest_from).alias("newest"), pl.col("position").cast(pl.Int32))
    )
    return Panel(rows, days, newest_due, newest_from)


def each_row(
    rows: pl.DataFrame,
    check: str | pl.Expr,
    severity: pl.Expr,
    *,
    symbol: pl.Expr | None = None,
    day: pl.Expr | None = None,
    value: pl.Expr | None = None,
    detail: pl.Expr,
) -> pl.DataFrame:
    """One finding a row of `rows`; by default symbol and date are the row's own."""
    columns = {
        "check": pl.lit(check) if isinstance(check, str) else check,
        "severity": severity,
        "symbol": pl.col("symbol") if symbol is None else symbol,
        "date": pl.col("date") if day is None else day,
        "value": pl.lit(None) if value is None else value,
        "detail": detail,
    }
    return rows.select(columns[name].cast(kind).alias(name) for name, kind in FINDING_SCHEMA.items())


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


def one_finding(check: str, severity: str, day: date | None, value: float, detail: str) -> pl.DataFrame:
    """One finding about the delivery as a whole."""
    return pl.DataFrame(
        [(check, severity, None, day, float(value), detail)], schema=FINDING_SCHEMA, orient="row"
    )


def no_findings() -> pl.DataFrame:
    """An empty frame of findings."""
    return pl.DataFrame(schema=FINDING_SCHEMA)


def if_newest(then: str, otherwise: str) -> pl.Expr:
    """The severity `then` in the newest sessions, `otherwise` further back."""
    return pl.when("newest").then(pl.lit(then)).otherwise(pl.lit(otherwise))


def previous(column: str) -> pl.Expr:
    """The value on the same symbol's row before; null on its first. Needs rows sorted by symbol and date."""
    return pl.when(pl.col("symbol") == pl.col("symbol").shift(1)).then(pl.col(column).shift(1))
