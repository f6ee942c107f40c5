"""DELETE: an order is asked to be canceled, and a fill may still win the race.

204 means that the cancel was asked for. The order goes `pending_cancel`, and then `canceled`, or back to where it was
with `order_cancel_rejected`, or the rest is filled first. Section 2.6 of the specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market.venue.decimals import to_ticks
from market.venue.faults import CANCEL, LATE_CANCEL
from market.venue.orders import WORKING, Order
from market.venue.refusals import unprocessable
from market.venue.sessions import is_open
from market.venue.timestamps import MILLISECOND, SECOND

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


def ask_to_cancel(exchange: Exchange, order: Order) -> None:
    """Begin the cancel of an order; Refusal 422 when it is over or already asked for."""
    if order.status in ("canceled", "pending_cancel") and not is_open(exchange.now):
        return  # repeated while the market is shut: seen to be answered like the first time
    if not order.is_open:
        if exchange.faults.at_point(LATE_CANCEL, **order.who()):
            return
        raise unprocessable(f'order is already in "{order.status}" state')
    if order.status == "pending_cancel":
        raise unprocessable("order pending cancel")
    t = exchange.now
    order.before_pending = order.status
    order.move("pending_cancel", t)
    if order.before_pending in WORKING:
        exchange.emit(order, "pending_cancel", t)
    delay = int(exchange.rules.latency_ms * MILLISECOND)
    faults = exchange.faults.at_point(CANCEL, **order.who()) if exchange.faults.has(CANCEL) else []
    for fault in faults:
        if fault.kind == "stuck_cancel":
            delay += int(fault.parameters["seconds"] * SECOND)
    kinds = {fault.kind for fault in faults}
    exchange.at(t + delay, lambda when: _finish(exchange, order, when, kinds))


def cancel_with_group(exchange: Exchange, order: Order, t: int) -> None:
    """Cancel an order, and with it what its group does not leave standing alone."""
    exchange.groups.cancel_with(order, t)
    if order.is_open:
        exchange.terminate(order, "canceled", t)


def _finish(exchange: Exchange, order: Order, t: int, faults: set[str]) -> None:
    if order.status != "pending_cancel":
        return
    if faults & {"fill_wins_cancel", "canceled_and_filled"} and order.before_pending in WORKING:
        order.move(order.before_pending, t)
        price = order.limit_price if order.limit_price is not None else exchange.mark(order.symbol)
        exchange.filled(order, order.left, to_ticks(price), t)
        if "canceled_and_filled" in faults:
            exchange.emit(order, "canceled", t)
    elif "cancel_rejected" in faults:
        order.move(order.before_pending, t)
        exchange.emit(order, "order_cancel_rejected", t)
        exchange.intake.acknowledge(order, t)  # if the cancel overtook its acknowledgement
    else:
        cancel_with_group(exchange, order, t)
