"""Lists of the book for a terminal or as JSON, from the ledger's read views; nothing is written."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import text

from executor.explain_words import number, pct, printable, usd
from executor.reading import reading
from executor.settings import Settings
from sql.story import plain

Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of a table: what it is called, and the view's column it shows (``money`` to the cent)."""

    title: str
    name: str
    money: bool = False


@dataclass(frozen=True)
class Listing:
    """A query with its filters, and the columns that a terminal shows; JSON has all.

    The query takes ``:symbol`` ('' for any), ``:day`` (null for any), ``:only`` and ``:n``.
    """

    title: str
    query: str
    columns: Sequence[Column]


# Newest first by the decision's number: its primary key, so a million orders are not sorted for twenty.
_ORDERS = """
SELECT o.* FROM ledger.decision d JOIN ledger.v_orders o ON o.client_order_id = d.client_order_id AND o.decision_seq = d.seq
WHERE d.verdict = 'accepted' AND (:symbol = '' OR d.symbol = :symbol) AND (NOT :only OR o.is_open)
  AND (CAST(:day AS date) IS NULL OR (d.market_time >= CAST(:day AS date) AND d.market_time < CAST(:day AS date) + 1))
ORDER BY d.seq DESC LIMIT :n"""
_FILLS = """
SELECT * FROM ledger.v_fills WHERE (:symbol = '' OR symbol = :symbol) AND NOT :only
  AND (CAST(:day AS date) IS NULL OR (filled_at >= CAST(:day AS date) AND filled_at < CAST(:day AS date) + 1))
ORDER BY booked_at DESC LIMIT :n"""
_DECISIONS = """
SELECT * FROM ledger.v_decisions WHERE (:symbol = '' OR symbol = :symbol) AND (NOT :only OR verdict = 'refused')
  AND (CAST(:day AS date) IS NULL OR (market_time >= CAST(:day AS date) AND market_time < CAST(:day AS date) + 1))
ORDER BY seq DESC LIMIT :n"""
_POSITIONS = """
SELECT * FROM ledger.v_positions WHERE (:symbol = '' OR symbol = :symbol) AND NOT :only AND CAST(:day AS date) IS NULL
  AND (qty <> 0 OR :symbol <> '') ORDER BY abs(value_usd) DESC LIMIT :n"""

LISTINGS = {
    "orders": Listing("orders", _ORDERS, (
        Column("order", "client_order_id"), Column("symbol", "symbol"), Column("side", "side"), Column("shares", "qty"),
        Column("filled", "filled_qty"), Column("limit", "limit_price"), Column("average", "average_fill_price"),
        Column("state", "state"), Column("market time", "market_time"),
    )),
    "fills": Listing("fills", _FILLS, (
        Column("execution", "execution_id"), Column("symbol", "symbol"), Column("side", "side"), Column("shares", "qty"),
        Column("price", "price"), Column("notional", "notional_usd", money=True), Column("against mid", "shortfall_usd", money=True),
        Column("filled", "filled_at"),
    )),
    "decisions": Listing("decisions", _DECISIONS, (
        Column("entry", "seq"), Column("verdict", "verdict"), Column("symbol", "symbol"), Column("order", "client_order_id"),
        Column("reason", "reason"), Column("limits", "limit_version"), Column("market time", "market_time"),
    )),
    "positions": Listing("positions", _POSITIONS, (
        Column("symbol", "symbol"), Column("shares", "qty"), Column("average", "average_price"), Column("mark", "mark_price"),
        Column("value", "value_usd", money=True), Column("unrealised", "unrealised_usd", money=True),
        Column("realised", "realised_fifo_usd", money=True), Column("lots", "open_lots"),
    )),
}  # fmt: skip

_SESSIONS = """
SELECT DISTINCT ON (session) session, day_open_equity, equity, equity - day_open_equity AS day_usd, day_return, drawdown, at
FROM ledger.v_equity ORDER BY session DESC, id DESC"""
_CASH_MOVES = """
SELECT account, sum(-amount) AS usd, count(*) AS movements FROM ledger.posting
WHERE asset = 'USD' AND account NOT IN ('cash', 'street', 'opening') GROUP BY 1 ORDER BY 1"""


def show(
    settings: Settings, listing: Listing, *, last: int, symbol: str, day: dt.date | None, only: bool, as_json: bool
) -> None:  # fmt: skip
    """Print one listing; ``last`` 0 is all, ``only`` is the listing's own filter (open, refused)."""
    values = {"symbol": symbol, "day": day, "only": only, "n": last or None}
    with reading(settings) as session:
        rows = [dict(r) for r in session.execute(text(listing.query), values).mappings()]
    if as_json:
        typer.echo(json.dumps(plain(rows), indent=2))
        return
    _print(
        rows,
        listing.columns,
        f"no {listing.title} match" if symbol or day or only else f"no {listing.title} yet",
    )
    if last and len(rows) == last:
        typer.echo(f"the newest {last}; --last 0 shows all")


def show_pnl(settings: Settings, *, last: int, as_json: bool) -> None:
    """Print profit and loss by session, by symbol, and what fees, dividends and the like moved."""
    with reading(settings) as session:

        def rows(query: str, **values: Any) -> list[Row]:
            return [dict(r) for r in session.execute(text(query), values).mappings()]

        sessions = rows(_SESSIONS + " LIMIT :n", n=last or None)
        symbols = rows(
            "SELECT symbol, qty, realised_fifo_usd, unrealised_usd, realised_fifo_usd + unrealised_usd AS total_usd "
            "FROM ledger.v_positions ORDER BY abs(realised_fifo_usd + unrealised_usd) DESC, symbol"
        )
        cash = rows(_CASH_MOVES)
    total = {
        k: sum((r[k] for r in symbols), Decimal(0))
        for k in ("realised_fifo_usd", "unrealised_usd", "total_usd")
    }
    if as_json:
        typer.echo(
            json.dumps(
                plain({"sessions": sessions, "symbols": symbols, "total": total, "cash": cash}), indent=2
            )
        )
        return
    for row in sessions:
        row["day_return"], row["drawdown"] = (
            pct(row["day_return"] or Decimal(0)),
            pct(row["drawdown"] or Decimal(0)),
        )
    _print(sessions, (
        Column("session", "session"), Column("opened with", "day_open_equity", money=True), Column("equity", "equity", money=True),
        Column("result", "day_usd", money=True), Column("return", "day_return"), Column("below high", "drawdown"),
    ), "no session marked yet")  # fmt: skip
    typer.echo()
    both = [*symbols, {"symbol": "all", "qty": None} | total] if symbols else []
    _print(both, (
        Column("symbol", "symbol"), Column("held", "qty"), Column("realised", "realised_fifo_usd", money=True),
        Column("unrealised", "unrealised_usd", money=True), Column("together", "total_usd", money=True),
    ), "nothing traded yet")  # fmt: skip
    if cash:
        typer.echo()
        _print(
            cash,
            (
                Column("account", "account"),
                Column("to cash", "usd", money=True),
                Column("movements", "movements"),
            ),
            "",
        )


def _print(rows: Sequence[Row], columns: Sequence[Column], none: str) -> None:
    console = Console(markup=False, emoji=False, highlight=False)
    if not rows:
        console.print(Text(none, "dim"))
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        sample = next((row[column.name] for row in rows if row[column.name] is not None), None)
        table.add_column(
            column.title,
            justify="right" if column.money or isinstance(sample, (Decimal, int)) else "left",
            overflow="fold",
        )
    for row in printable(list(rows)):
        table.add_row(*(_cell(row[column.name], money=column.money) for column in columns))
    console.print(table)


def _cell(value: Any, *, money: bool) -> str:
    if money:
        return usd(value)
    if isinstance(value, (Decimal, int)) or value is None:
        return number(value)
    if isinstance(value, dt.datetime):
        return f"{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}"
    return str(value)
