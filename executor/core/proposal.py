"""One order before it is one: judged by the gate, and asked of the ledger or refused."""

from __future__ import annotations

from executor.core import planner
from executor.core.book import ZERO
from executor.core.commands import Alert, Command, ExpectedCost, Inputs, Intent, Refuse, Reserve
from executor.core.events import Target, Timer
from executor.core.gate import Ruling
from executor.core.known import Known, Work, as_order
from executor.core.limits import Proposal
from executor.core.order_shape import misshapen
from executor.core.policy import Price

LEGS_MAX = 40
"""Orders sent for one signal at most; past it a person should look (repeated-execution throttle)."""


def propose(
    known: Known, draft: planner.Draft, work: Work | None, target: Target | None, event: Timer
) -> list[Command]:
    """Judge a draft: Reserve it in the ledger, or Refuse it with the gate's reason.

    ``work`` and ``target`` are None for an exit, which stands on its own.
    """
    key, legs = (target.signal_id, work.legs) if target and work else (draft.symbol, known.exit_legs)
    leg = legs.get(key, 0) + 1
    order = proposed(known, draft, event)
    ruling = known.gate.judge(order, known.mode)
    intent = _intent(known, draft, work, target, leg, ruling, event)
    stopped = misshapen(intent, short=known.held(draft.symbol) <= 0 and draft.side == "sell")
    if leg > LEGS_MAX and not ruling.reducing:
        stopped = f"{LEGS_MAX} orders sent for this signal already"
    if stopped or not ruling.accepted:
        reason = stopped or ruling.reason
        lasting = bool(stopped) or ruling.lasting()
        refusal = Refuse(intent=intent, reason=reason)
        return [refusal, *refused(known, intent, reason, event.now_ns, lasting=lasting)]
    legs[key] = leg
    if work is not None and work.batch.policy.price is not Price.COLLAR:
        work.pegs[draft.symbol] = work.pegs.get(draft.symbol, 0) + 1
    assert intent.client_order_id is not None
    known.intents[intent.client_order_id] = intent
    known.exposure.track(as_order(intent))
    if draft.replaces is None:
        known.pace.order(order.symbol, order.side, order.qty, order.now_s, known.gate.messages_per_minute)
    else:  # the same order at another price: a message, not a repetition
        known.pace.message(order.now_s, known.gate.messages_per_minute)
    return [Reserve(intent=intent)]


def proposed(known: Known, draft: planner.Draft, event: Timer) -> Proposal:
    """The draft beside the state it would change, as the limits look at it."""
    return Proposal(
        draft,
        known.exposure,
        known.pace,
        now_ns=event.now_ns,
        now_s=event.market_time.timestamp(),
        in_session=event.in_session,
        seen=known.names.get(draft.symbol),
        account=known.health.account,
        scale=float(known.exposure_scale),
        orders_today=known.orders_today + len(known.intents),
    )


def refused(known: Known, intent: Intent, reason: str, now_ns: int, *, lasting: bool) -> list[Command]:
    """Give the name up for its batch, or let it rest if the reason may pass; tell a person once."""
    works = [w for w in known.works.values() if w.batch.batch_id == intent.batch_id]
    if lasting and works:
        works[0].given_up[intent.symbol] = reason
    else:
        known.retry_ns[intent.symbol] = now_ns + known.reprice_ns
    said = (intent.symbol, reason.partition(":")[0])
    if said in known.said:
        return []
    known.said.add(said)
    return [
        Alert(
            severity="warning",
            kind="breach",
            title=f"Refused {intent.side} {intent.qty} {intent.symbol}",
            body=reason,
            ref=intent.client_order_id or "",
        )
    ]


def _intent(
    known: Known,
    draft: planner.Draft,
    work: Work | None,
    target: Target | None,
    leg: int,
    ruling: Ruling,
    event: Timer,
) -> Intent:
    quote = known.quotes[draft.symbol]
    base = (
        target.signal_id.replace("-", "")
        if target is not None
        else f"x{event.now_ns:x}{draft.symbol.lower()}"
    )
    inputs = Inputs(
        quote,
        event.now_ns,
        known.book.positions.get(draft.symbol, ZERO),
        known.equity,
        known.book.cash,
        known.mode,
        None if target is None else target.weight,
        known.identity,
    )
    return Intent(
        client_order_id=f"sp-{base}-{leg}",
        symbol=draft.symbol,
        side=draft.side,
        qty=draft.qty,
        limit_price=draft.limit_price,
        purpose="flatten" if target is None else "target",
        leg=leg,
        signal_id=target.signal_id if target is not None else None,
        batch_id=work.batch.batch_id if work is not None else None,
        arrival_price=quote.mid,
        market_time=event.market_time,
        limit_version=known.limit_version,
        inputs=inputs,
        checks=ruling,
        cost_estimate=_cost(known, draft, event),
        time_in_force=draft.time_in_force,
        strategy=work.batch.strategy if work is not None else "",
        order_class=draft.order_class,
        take_profit=draft.take_profit,
        stop_loss=draft.stop_loss,
        extended_hours=draft.extended_hours,
        replaces_client_order_id=draft.replaces,
        worst_price=draft.limit_price,
    )


def _cost(known: Known, draft: planner.Draft, event: Timer) -> ExpectedCost | None:
    line = known.exposure.line(draft.symbol)
    if not line.volume > 0.0 or not line.mid > 0.0:
        return None
    spread = (line.ask - line.bid) / line.mid
    day = event.session_open.date()
    return ExpectedCost(draft.side, float(draft.qty), line.mid, spread, line.volume, line.volatility, day)
