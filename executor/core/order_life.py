"""What the ledger and the broker say about our orders, and what follows from it."""

from __future__ import annotations

from decimal import Decimal

from executor.core.book import ZERO
from executor.core.commands import Alert, Command, Record, Replace, Submit
from executor.core.events import Fill, LegShown, OrderEvidence, Replaced, Reserved, Withdrawn
from executor.core.known import Known, as_order
from executor.core.modes import Mode
from executor.core.orders import Evidence, State, WorkingOrder, evidence_of_status
from executor.core.proposal import refused

# ---------------------------------------------------------------------- the ledger's answer


def on_reserved(known: Known, event: Reserved) -> list[Command]:
    """The ledger took the intent (send it, if the mode still allows) or refused it."""
    intent = known.intents.pop(event.client_order_id)
    known.exposure.drop(intent.symbol, event.client_order_id)
    if not event.ok:
        # A mode, a kill, an unknown equity say nothing about the name: it is tried again later.
        passing = event.reason.startswith(("killed", "mode", "equity", "limits changed"))
        return refused(known, intent, f"ledger: {event.reason}", event.now_ns, lasting=not passing)
    order = as_order(intent, event.now_ns, known.session_close)
    known.order_opened(order)
    known.orders_today += 1
    if why := may_not_leave(known, order):
        known.move(order, Evidence.VOIDED)
        return [Record(client_order_id=order.client_order_id, state=order.state, reason=why)]
    return send(known, order, event.now_ns, "sending")


def on_withdrawn(known: Known, event: Withdrawn) -> list[Command]:
    """The ledger's word that an order was never sent and never will be: it has recorded that itself."""
    order = known.orders[event.client_order_id]
    order.state = State.VOID
    known.order_changed(order)
    return []


def may_not_leave(known: Known, order: WorkingOrder) -> str:
    """Why the order may not go out although it was allowed a moment ago; empty if it may."""
    if known.mode is Mode.HALTED:
        return "mode HALTED"
    if not known.reduces(order.symbol, order.side):
        if known.mode not in (Mode.READY, Mode.REDUCING):
            return f"mode {known.mode}"
        if why := known.new_risk_blocked(order.symbol):
            return why
    if order.replaces_client_order_id is not None:
        replaced = known.orders.get(order.replaces_client_order_id)
        if replaced is None or not _replaceable(replaced):
            return f"{order.replaces_client_order_id} can no longer be replaced"
    return ""


def _replaceable(order: WorkingOrder) -> bool:
    """Whether the broker can be asked to go on with it as another: named, working, and nothing filled."""
    return order.state is State.LIVE and order.broker_order_id is not None and not order.filled_qty


def send(known: Known, order: WorkingOrder, now_ns: int, reason: str) -> list[Command]:
    """The state first, then the bytes."""
    known.move(order, Evidence.SEND)
    order.sent_ns = now_ns
    known.health.sent(now_ns)
    record = Record(client_order_id=order.client_order_id, state=order.state, reason=reason)
    replaced = known.orders.get(order.replaces_client_order_id or "")
    if replaced is not None and replaced.broker_order_id is not None:
        order.replaces = replaced.replaces + 1
        return [
            record,
            Replace(
                client_order_id=order.client_order_id,
                replaces_client_order_id=replaced.client_order_id,
                broker_order_id=replaced.broker_order_id,
                qty=order.qty,
                limit_price=order.limit_price,
            ),
        ]
    return [
        record,
        Submit(
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=order.qty,
            limit_price=order.limit_price,
            order_type=order.order_type,
            time_in_force=order.time_in_force,
            stop_price=order.stop_price,
            trail=order.trail,
            order_class=order.order_class,
            take_profit=order.take_profit,
            stop_loss=order.stop_loss,
            extended_hours=order.extended_hours,
            repeat=order.sends > 1,
        ),
    ]


# ---------------------------------------------------------------------- the broker's evidence


def on_evidence(known: Known, event: OrderEvidence) -> list[Command]:
    """Move the order along its table, record the step, tell a person of a rejection."""
    order = known.orders.get(event.client_order_id)
    if order is None:
        return known.tighten(
            Mode.HALTED, f"the broker shows order {event.client_order_id}, which is not ours"
        )
    order.broker_order_id = event.broker_order_id or order.broker_order_id
    changed = known.move(order, _weighed(known, order, event))
    if order.state is State.UNKNOWN:
        if changed:
            order.unknown_ns, order.looks = event.now_ns, 0
        elif event.evidence in (Evidence.NOT_FOUND, Evidence.ABSENT):
            order.looks += 1
    commands: list[Command] = []
    if changed or event.broker_order_id:
        commands.append(
            Record(
                client_order_id=order.client_order_id,
                state=order.state,
                broker_order_id=event.broker_order_id,
                broker_status=event.broker_status,
                reason=event.reason,
            )
        )
    if changed and order.state is State.REJECTED and order.replaces_client_order_id is None:
        # A replace refused means that the original went on, or filled first: nothing is wrong with it.
        known.health.reject(event.now_ns)
        known.give_up(order.batch_id, order.symbol, f"rejected by the broker: {event.reason}")
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


def _weighed(known: Known, order: WorkingOrder, event: OrderEvidence) -> Evidence:
    """What the evidence proves of this order, which may be less than it says."""
    match event.evidence:
        case Evidence.ENDED if (event.broker_filled or ZERO) > order.filled_qty + _carried(known, order):
            # It ended by fills that are not booked yet: until they are, it stays open and reserved.
            order.ending = event.broker_filled
            return Evidence.WORKING
        case Evidence.REFUSED if order.sends > 1 and event.broker_order_id is None:
            # Of an order sent again it proves nothing: the first one may hold the very shares or money.
            return Evidence.AMBIGUOUS
        case Evidence.WORKING if order.state is State.CANCELING and not event.reason:
            # A sweep that still shows it open does not undo the cancel that is on its way.
            return Evidence.CANCEL_SENT
        case Evidence.ABSENT if not order.proven_absent(event.market_time, event.now_ns, known.session_close):
            return Evidence.NOT_FOUND
    return event.evidence


def _carried(known: Known, order: WorkingOrder) -> Decimal:
    """Shares a broker may count to an order because the one it replaced had them filled."""
    replaced = known.orders.get(order.replaces_client_order_id or "")
    return ZERO if replaced is None else replaced.filled_qty


def on_fill(known: Known, event: Fill) -> list[Command]:
    """Book an execution, once, in whatever state its order is."""
    if event.execution_id in known.executions:
        return []
    known.executions.add(event.execution_id)
    order = known.orders.get(event.client_order_id)
    if order is None:
        return known.tighten(
            Mode.HALTED, f"fill {event.execution_id} for order {event.client_order_id}, which is not ours"
        )
    before = order.state
    order.filled_qty += event.qty
    known.book.apply_fill(order, event.qty, event.price)
    known.pace.fill(float(event.qty * event.price))
    known.health.traded(order, event.now_ns)
    known.shares_moved(order.symbol)
    commands: list[Command] = []
    if not order.is_open:
        known.order_changed(order)
        commands += _late(known, order, event)
    else:
        whole = order.remaining <= 0 or (order.ending is not None and order.filled_qty >= order.ending)
        known.move(order, Evidence.TRADED)
        if whole:
            known.move(order, Evidence.ENDED)
        if order.state is not before:
            reason = f"fill {event.execution_id}"
            commands.append(Record(client_order_id=order.client_order_id, state=order.state, reason=reason))
    if order.remaining < 0:
        commands += known.tighten(
            Mode.HALTED,
            f"order {order.client_order_id} filled {order.filled_qty} of {order.qty}: more than was asked",
        )
    return commands


def _late(known: Known, order: WorkingOrder, event: Fill) -> list[Command]:
    """A fill after the end: booked, and told; where we had proof that it could not be, we halt."""
    reason = f"fill {event.execution_id} for order {order.client_order_id} in state {order.state}"
    alarm = Alert(
        severity="critical",
        kind="late_fill",
        title=f"Late fill: {order.side} {event.qty} {order.symbol} at {event.price}",
        body=reason,
        ref=order.client_order_id,
    )
    return [alarm] if order.state is State.DONE else [alarm, *known.tighten(Mode.HALTED, reason)]


def on_replaced(known: Known, event: Replaced) -> list[Command]:
    """A replace has taken: the new order works under a new broker id; the old one's end comes as evidence."""
    order = known.orders.get(event.by_client_order_id)
    if order is None:
        return known.tighten(
            Mode.HALTED,
            f"order {event.client_order_id} was replaced by {event.by_client_order_id}, which is not ours",
        )
    order.broker_order_id = event.broker_order_id
    known.move(order, Evidence.WORKING)
    return [
        Record(
            client_order_id=order.client_order_id,
            state=order.state,
            broker_order_id=event.broker_order_id,
            reason=f"replaces {event.client_order_id}",
        )
    ]


def on_leg(known: Known, event: LegShown) -> list[Command]:
    """A bracket's leg: an order of ours from now on, held or working, that only closes what its entry opened."""
    parent = known.orders.get(event.parent_client_order_id)
    if parent is None:
        return known.tighten(
            Mode.HALTED, f"leg {event.client_order_id} of {event.parent_client_order_id}, which is not ours"
        )
    if event.client_order_id not in known.orders:
        known.order_opened(
            WorkingOrder(
                client_order_id=event.client_order_id,
                symbol=event.symbol,
                side=event.side,
                qty=event.qty,
                limit_price=event.limit_price or event.stop_price or parent.limit_price,
                purpose="protect",
                signal_id=parent.signal_id,
                batch_id=parent.batch_id,
                leg=parent.leg,
                state=State.LIVE,
                created_ns=event.now_ns,
                broker_order_id=event.broker_order_id,
                order_type="stop" if event.stop_price is not None else "limit",
                time_in_force=parent.time_in_force,
                stop_price=event.stop_price,
                strategy=parent.strategy,
                parent_client_order_id=parent.client_order_id,
                expires_at=parent.expires_at,
            )
        )
    return on_evidence(
        known,
        OrderEvidence(
            market_time=event.market_time,
            now_ns=event.now_ns,
            client_order_id=event.client_order_id,
            evidence=evidence_of_status(event.status),
            broker_order_id=event.broker_order_id,
            broker_status=event.status,
            broker_filled=event.broker_filled,
        ),
    )
