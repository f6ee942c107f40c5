"""Executions taken back or repriced after the fact: shares and cash are journalled, the client is told.

How Alpaca books a bust is not documented for the trading API. Here: a `JNLS` row for the shares, a `JNLC` row for
the cash, both naming the execution, and a trade update `trade_bust` or `trade_correct` with the original
execution id. The FILL row stays: bookings are never edited.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from market.venue.account import Account, Position
from market.venue.activities import cash_activity
from market.venue.decimals import ZERO, decimal_text, parse_decimal
from market.venue.errors import FaultPlanError

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


def _newest_fill(account: Account, symbol: str) -> dict[str, Any]:
    row: dict[str, Any]
    for row in reversed(account.activities):
        if row["activity_type"] == "FILL" and symbol in ("", row["symbol"]):
            return row
    raise FaultPlanError(f"there is no execution{' in ' + symbol if symbol else ''} to change")


def bust_execution(exchange: Exchange, number: int, symbol: str, t: int) -> None:
    """Take the newest execution of `symbol` (any, when empty) back."""
    account = exchange.accounts[number]
    row = _newest_fill(account, symbol)
    qty, price = parse_decimal(row["qty"]), parse_decimal(row["price"])
    signed = qty if row["side"] == "buy" else -qty
    _move(exchange, account, row, -signed, signed * price, price, t, "bust")


def correct_execution(exchange: Exchange, number: int, symbol: str, price: Decimal, t: int) -> None:
    """Reprice the newest execution of `symbol`."""
    if price <= 0:
        raise FaultPlanError("fault correct_execution: `price` must be positive")
    account = exchange.accounts[number]
    row = _newest_fill(account, symbol)
    qty, before = parse_decimal(row["qty"]), parse_decimal(row["price"])
    signed = qty if row["side"] == "buy" else -qty
    position = account.positions.get(row["symbol"])
    if position is not None:
        position.cost += signed * (price - before)
        position.basis_today += signed * (price - before)
    _move(exchange, account, row, ZERO, -signed * (price - before), price, t, "correct")


def _move(
    exchange: Exchange, account: Account, row: dict[str, Any], shares: Decimal, cash: Decimal, price: Decimal, t: int,
    word: str,
) -> None:  # fmt: skip
    symbol, execution = row["symbol"], row["id"].split("::")[1]
    if shares:
        position = account.positions.setdefault(symbol, Position(symbol))
        position.trade(shares, price)
        if not position.qty:
            del account.positions[symbol]
        shares_row = cash_activity(
            exchange.identities.next("activity"), "JNLS", "", ZERO, t, f"{word} of execution {execution}",
            symbol=symbol, qty=shares,
        )  # fmt: skip
        account.activities.append(shares_row)
        exchange.note("activity", t, {"account": account.number, **shares_row})
    exchange.post_cash(account, "JNLC", "", cash, t, f"{word} of execution {execution}", symbol=symbol)
    left = account.positions.get(symbol)
    exchange.emit(
        account.orders[row["order_id"]], f"trade_{word}", t, execution=execution, price=decimal_text(price),
        qty=row["qty"], position_qty=decimal_text(left.qty if left else ZERO),
    )  # fmt: skip
