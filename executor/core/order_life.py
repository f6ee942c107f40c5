"""What the ledger and the broker say about our orders, and asking for a cancel."""

from __future__ import annotations

from executor.core.book import ZERO
from executor.core.commands import Alert, Cancel, Command, Record, Submit
from executor.core.events import Fill, OrderEvidence, Reserved
from executor.core.known import Known, as_order
from executor.core.modes import Mode
from executor.core.orders import Evidence, State, WorkingOrder, next_state
from executor.core.proposal import refused

CANCEL_RETRY_NS = 2_000_000_000


def on_reserved(known: Known, event: Reserved) -> list[Command]:
    """The ledger took the intent (send it, if the mode still allows) or refused it."""
    intent = known.intents.pop(event.client_order_id)
    if not event.ok:
        # A mode, a kill, an unknown equity say nothing about the name: it is tried again later.
        passing = event.reason.startswith(("killed", "mode", "equity", "limits changed"))
        return refused(known, intent, f"ledger: {event.reason}", event.now_ns, lasting=not passing)
    order = as_order(intent, event.now_ns)
    known.order_opened(order)
    known.orders_today += 1
    if not _still_allowed(known, order):
        _move(known, order, Evidence.VOIDED)
        return [Record(client_order_id=order.client_order_id, state=order.state, reason=f"mode {known.mode}")]
    _move(known, order, Evidence.SEND)
    return [
        Record(client_order_id=order.client_order_id, state=order.state, reason="sending"),
        Submit(
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=order.qty,
            limit_price=order.limit_price,
        ),
    ]


def _still_allowed(known: Known, order: WorkingOrder) -> bool:
    """Whether the mode, which may have tightened since the verdict, lets this order go out."""
    if known.mode is Mode.HALTED:
        return False
    return known.mode in (Mode.READY, Mode.REDUCING) or known.reduces(order.symbol, order.side)


def on_evidence(known: Known, event: OrderEvidence) -> list[Command]:
    """Move the order along its table, record the step, tell a person of a rejection."""
    order = known.orders[event.client_order_id]
    order.broker_order_id = event.broker_order_id or order.broker_order_id
    after = next_state(order.state, event.evidence)
    if event.evidence is Evidence.ENDED and (event.broker_filled or ZERO) > order.filled_qty:
        # It ended by fills that are not booked yet: until they are, it stays open and reserved.
        after = next_state(order.state, Evidence.WORKING)
    # A sweep that still shows an order open does not undo the cancel that is on its way.
    if order.state is State.CANCELING and after is State.LIVE and not event.reason:
        after = order.state
    changed = after is not order.state
    order.state = after
    known.order_changed(order)
    commands: list[Command] = []
    if changed or event.broker_order_id:
        commands.append(
            Record(
                client_order_id=order.client_order_id,
                state=after,
                broker_order_id=event.broker_order_id,
                broker_status=event.broker_status,
                reason=event.reason,
            )
        )
    if changed and after is State.REJECTED:
        _give_up(known, order, f"rejected by the broker: {event.reason}")
        commands.append(
            Alert(
                severity="warning",
                kind="order_rejected",
                title=f"Broker rejected {order.side} {order.qty} {order.symbol}",
                body=event.reason,
                ref=order.client_order_id,
            )
        )
    return commands


def _give_up(known: Known, order: WorkingOrder, reason: str) -> None:
    for work in known.works.values():
        if work.batch.batch_id == order.batch_id:
            work.given_up[order.symbol] = reason


def on_fill(known: Known, event: Fill) -> list[Command]:
    """Book an execution, in whatever state its order is."""
    order = known.orders[event.client_order_id]
    late = not order.is_open and order.state is not State.DONE
    order.filled_qty += event.qty
    known.book.apply_fill(order, event.qty, event.price)
    known.order_changed(order)
    known.shares_moved(order.symbol)
    if late:
        # We had proof that this order never traded, and the proof was wrong.
        return known.tighten(
            Mode.HALTED,
            f"fill {event.execution_id} for order {order.client_order_id} in state {order.state}",
        )
    return []


# ---------------------------------------------------------------------- cancels


def cancel(known: Known, order: WorkingOrder, now_ns: int) -> list[Command]:
    """Ask for a cancel, again at most every two seconds, of an order the broker has named."""
    if order.state not in (State.LIVE, State.CANCELING) or order.broker_order_id is None:
        return []
    if order.cancel_ns is not None and now_ns - order.cancel_ns < CANCEL_RETRY_NS:
        return []
    order.cancel_ns = now_ns
    before = order.state
    _move(known, order, Evidence.CANCEL_SENT)
    ask = Cancel(client_order_id=order.client_order_id, broker_order_id=order.broker_order_id)
    if before is order.state:
        return [ask]  # asked before, and still open
    return [Record(client_order_id=order.client_order_id, state=order.state, reason="cancel"), ask]


def cancel_all(known: Known, now_ns: int, *, keep: str = "") -> list[Command]:
    """Cancel every open order but those of the purpose to ``keep``."""
    return [c for o in known.open_orders() if o.purpose != keep for c in cancel(known, o, now_ns)]


def cancel_increasing(known: Known, now_ns: int) -> list[Command]:
    """Cancel every open order that adds to a position or opens one."""
    opening = [o for o in known.open_orders() if not known.reduces(o.symbol, o.side)]
    return [c for o in opening for c in cancel(known, o, now_ns)]


def cancel_stale(known: Known, now_ns: int) -> list[Command]:
    """Cancel what has worked for too long at one price: it is priced anew."""
    stale = [o for o in known.open_orders() if now_ns - o.created_ns > known.reprice_ns]
    return [c for o in stale for c in cancel(known, o, now_ns)]


def _move(known: Known, order: WorkingOrder, evidence: Evidence) -> None:
    order.state = next_state(order.state, evidence)
    known.order_changed(order)
