"""Asking for cancels: of what is stale, of what adds risk, of everything."""

from __future__ import annotations

from collections.abc import Iterable

from executor.core.commands import Cancel, Command, Record
from executor.core.known import Known
from executor.core.orders import Evidence, State, WorkingOrder

CANCEL_RETRY_NS = 2_000_000_000


def cancel(known: Known, order: WorkingOrder, now_ns: int) -> list[Command]:
    """Ask for a cancel, again at most every two seconds, of an order the broker has named."""
    if order.state not in (State.LIVE, State.CANCELING) or order.broker_order_id is None:
        return []
    if order.cancel_ns is not None and now_ns - order.cancel_ns < CANCEL_RETRY_NS:
        return []
    order.cancel_ns = now_ns
    known.pace.message(known.market_time.timestamp(), known.gate.messages_per_minute)
    changed = known.move(order, Evidence.CANCEL_SENT)
    ask = Cancel(client_order_id=order.client_order_id, broker_order_id=order.broker_order_id)
    if not changed:
        return [ask]  # asked before, and still open
    return [Record(client_order_id=order.client_order_id, state=order.state, reason="cancel"), ask]


def cancel_each(known: Known, orders: Iterable[WorkingOrder], now_ns: int) -> list[Command]:
    """Cancel several."""
    return [command for order in orders for command in cancel(known, order, now_ns)]


def cancel_all(known: Known, now_ns: int, *, keep: str = "") -> list[Command]:
    """Cancel every open order but those of the purpose to ``keep``."""
    return cancel_each(known, [o for o in known.open_orders() if o.purpose != keep], now_ns)


def cancel_increasing(known: Known, now_ns: int) -> list[Command]:
    """Cancel every open order that adds to a position or opens one."""
    opening = [o for o in known.open_orders() if not known.reduces(o.symbol, o.side)]
    return cancel_each(known, opening, now_ns)


def cancel_stale(known: Known, now_ns: int) -> list[Command]:
    """Cancel what has worked for too long at one price, to price it anew; protection stays."""
    stale = [
        o
        for o in known.open_orders()
        if o.purpose != "protect"
        and o.time_in_force == "day"
        and now_ns - (o.sent_ns or o.created_ns) > known.reprice_ns
    ]
    return cancel_each(known, stale, now_ns)
