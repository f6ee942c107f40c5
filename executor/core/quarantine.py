"""Sending an order of unknown fate once more, under its own id.

The broker refuses a second order of one id, so after a quarantine in which neither the look-up nor
the full list has shown it, sending it again can at worst be refused as a duplicate, which proves that
the first one arrived. It is sent only if the signal is still valid and every check passes anew.
"""

from __future__ import annotations

from executor.core.commands import Command
from executor.core.events import Timer
from executor.core.known import Known
from executor.core.modes import Mode
from executor.core.order_life import may_not_leave, send
from executor.core.orders import WorkingOrder
from executor.core.planner import Draft
from executor.core.proposal import proposed

SENDS_MAX = 3


def send_again(known: Known, event: Timer) -> list[Command]:
    """Send again what has been unknown for long enough and is still wanted."""
    if not event.broker_ready:
        return []
    commands: list[Command] = []
    for order in known.open_orders():
        if order.may_be_sent_again(event.now_ns) and order.sends < SENDS_MAX and _wanted(known, order, event):
            order.sends += 1
            commands += send(known, order, event.now_ns, f"sent again after {order.looks} looks in vain")
    return commands


def _wanted(known: Known, order: WorkingOrder, event: Timer) -> bool:
    """Whether its signal (or the exit) still stands, and the gate would let it pass now."""
    if order.purpose == "target" and not any(
        w.batch.batch_id == order.batch_id and not w.finished and event.market_time < w.batch.valid_until
        for w in known.works.values()
    ):
        return False
    if order.purpose == "flatten" and known.mode is not Mode.FLATTENING and not known.reduce_to:
        return False
    if order.expires_at is not None and event.market_time >= order.expires_at:
        return False  # a new session: the day order would be another order
    if may_not_leave(known, order):
        return False
    # Judged as if it replaced itself, so that it does not count twice.
    draft = Draft(order.symbol, order.side, order.qty, order.limit_price, replaces=order.client_order_id)
    return known.gate.judge(proposed(known, draft, event), known.mode).accepted
