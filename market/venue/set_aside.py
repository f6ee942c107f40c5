"""Rare turns of a working order: the exchange suspends it, or stops it, which guarantees a trade yet to come.

`suspended` orders are open and do not trade until they are taken up again. A `stopped` order will trade at its price
or better; that it has not done so yet is all the status says. Nothing here happens unless a fault or a rule asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market.venue.decimals import to_ticks
from market.venue.orders import Order
from market.venue.timestamps import NEVER

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


def suspend(exchange: Exchange, order: Order, t: int) -> None:
    """Set a working order aside."""
    if order.status in ("new", "partially_filled"):
        order.move("suspended", t)
        exchange.emit(order, "suspended", t)


def take_up(exchange: Exchange, order: Order, t: int) -> None:
    """A suspended order works again."""
    if order.status == "suspended":
        exchange.intake.restate(order, t)
        if not order.in_book:
            exchange.intake.activate(order, t)
    elif order.before_pending == "suspended":
        order.before_pending = "partially_filled" if order.filled_qty else "new"


def suspend_orders(exchange: Exchange, account: int, symbol: str, until: int, t: int) -> None:
    """Suspend what the account has working in `symbol`, and take it up at `until`."""
    for order in list(exchange.accounts[account].open_orders.get(symbol, {}).values()):
        if order.status in ("new", "partially_filled"):
            if order.in_book:
                exchange.book(symbol).remove(order)
            suspend(exchange, order, t)
            exchange.at(until, lambda when, order=order: take_up(exchange, order, when))  # type: ignore[misc]


def stop_orders(exchange: Exchange, account: int, symbol: str, until: int, t: int) -> None:
    """Guarantee the account's working orders in `symbol` a trade, which happens at `until` at the latest."""
    for order in list(exchange.accounts[account].open_orders.get(symbol, {}).values()):
        if order.status in ("new", "partially_filled") and order.is_active and order.left > 0:
            order.move("stopped", t)
            exchange.emit(order, "stopped", t)
            exchange.at(until, lambda when, order=order: _trade(exchange, order, when))  # type: ignore[misc]


def _trade(exchange: Exchange, order: Order, t: int) -> None:
    if order.status not in ("stopped", "partially_filled"):
        return
    halt = exchange.restrictions.stop_of(order.symbol)
    if halt is not None:
        if halt.end < NEVER:
            exchange.at(halt.end, lambda when: _trade(exchange, order, when))
        return
    quote = exchange.quote(order.symbol)
    ticks = (quote.ask if order.is_buy else quote.bid) if quote is not None else 0
    ticks = ticks or to_ticks(exchange.mark(order.symbol))
    if order.limit_price is not None:
        limit = to_ticks(order.limit_price)
        ticks = min(ticks, limit) if order.is_buy else max(ticks, limit)
    exchange.filled(order, order.left, ticks, t)
