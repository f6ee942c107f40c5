"""One order before it is one: judged by the gate, and asked of the ledger or refused."""

from __future__ import annotations

from typing import Any

from executor.core import gate, planner
from executor.core.book import ZERO
from executor.core.commands import Alert, Command, Intent, Refuse, Reserve
from executor.core.events import Quote, Target, Timer
from executor.core.known import Known, Work, as_order
from executor.core.limits import Proposal
from executor.core.order_shape import misshapen
from executor.core.orders import WorkingOrder
from executor.core.policy import Price
from models.cost.estimate import estimate

LEGS_MAX = 40
"""Orders sent for one signal at most; past it a person should look (repeated-execution throttle)."""
PASSING = frozenset({"quote_age_s", "price_collar", "daily_loss"})
"""Limits whose breach can go away by itself."""


def propose(
    known: Known, draft: planner.Draft, work: Work | None, target: Target | None, event: Timer
) -> list[Command]:
    """Judge a draft: Reserve it in the ledger, or Refuse it with the gate's reason.

    ``work`` and ``target`` are None for an exit, which stands on its own.
    """
    replaced = known.orders.get(draft.replaces or "")
    key, legs = (target.signal_id, work.legs) if target and work else (draft.symbol, known.exit_legs)
    leg = legs.get(key, 0) + 1
    proposal = proposed(known, draft, event.now_ns, apart_from=replaced)
    ruling = gate.judge(proposal, known.limits)
    intent = _intent(known, draft, work, target, leg, ruling, event)
    stopped = misshapen(intent, short=known.held(draft.symbol) <= 0 and draft.side == "sell")
    if leg > LEGS_MAX and not ruling.reducing:
        stopped = f"{LEGS_MAX} orders sent for this signal already"
    if stopped or not ruling.accepted:
        reason = stopped or ruling.reason
        lasting = bool(stopped) or any(
            not v.ok and not v.unknown and v.name not in PASSING for v in ruling.verdicts
        )
        refusal = Refuse(intent=intent, reason=reason)
        return [refusal, *refused(known, intent, reason, event.now_ns, lasting=lasting)]
    legs[key] = leg
    if work is not None and work.batch.policy.price is not Price.COLLAR:
        work.pegs[draft.symbol] = work.pegs.get(draft.symbol, 0) + 1
    assert intent.client_order_id is not None
    known.intents[intent.client_order_id] = intent
    return [Reserve(intent=intent)]


def proposed(
    known: Known, draft: planner.Draft, now_ns: int, *, apart_from: WorkingOrder | None = None
) -> Proposal:
    """The draft with the state it would change, as the limits look at it.

    ``apart_from`` is an open order that the draft stands for itself: it is not counted twice.
    """
    working = tuple(o for o in known.open_orders() if o is not apart_from)
    return Proposal(
        symbol=draft.symbol,
        side=draft.side,
        qty=draft.qty,
        limit_price=draft.limit_price,
        quote=known.latest.get(draft.symbol),
        now_ns=now_ns,
        book=known.book,
        orders=working + tuple(as_order(i) for i in known.intents.values()),
        quotes=known.quotes,
        equity=known.equity,
        mode=known.mode,
        snapshot=known.snapshot,
        sectors=known.sectors,
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
    ruling: gate.Ruling,
    event: Timer,
) -> Intent:
    quote = known.quotes[draft.symbol]
    base = (
        target.signal_id.replace("-", "")
        if target is not None
        else f"x{event.now_ns:x}{draft.symbol.lower()}"
    )
    inputs: dict[str, Any] = {
        "bid": str(quote.bid),
        "ask": str(quote.ask),
        "quote_age_ms": round((event.now_ns - quote.now_ns) / 1e6 + quote.age_at_receipt_ms, 3),
        "quote_time": quote.market_time.isoformat(),
        "position": str(known.book.positions.get(draft.symbol, ZERO)),
        "equity": None if known.equity is None else f"{known.equity:.6f}",
        "cash": f"{known.book.cash:.6f}",
        "mode": str(known.mode),
        "target_weight": None if target is None else str(target.weight),
        **known.identity,
    }
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
        checks=[v.as_json() for v in ruling.verdicts],
        cost_estimate=_cost(known, draft, quote, event),
        time_in_force=draft.time_in_force,
        strategy=work.batch.strategy if work is not None else "",
        order_class=draft.order_class,
        take_profit=draft.take_profit,
        stop_loss=draft.stop_loss,
        extended_hours=draft.extended_hours,
        replaces_client_order_id=draft.replaces,
        worst_price=draft.limit_price,
    )


def _cost(known: Known, draft: planner.Draft, quote: Quote, event: Timer) -> dict[str, float]:
    """Expected cost of the order in USD: fees, half the quoted spread, square-root impact."""
    volume = known.volume(draft.symbol)
    if volume is None or known.snapshot is None:
        return {}
    column = known.snapshot.index(draft.symbol)
    cost = estimate(
        "buy" if draft.side == "buy" else "sell",
        draft.qty,
        quote.mid,
        float((quote.ask - quote.bid) / quote.mid),
        float(volume),
        float(known.snapshot.daily_volatility[column]),
        event.session_open.date(),
    )
    parts = {
        "fees": cost.fees,
        "spread": cost.spread,
        "impact": cost.impact,
        "total": cost.total,
        "bps": cost.bps,
    }
    return {name: round(float(value), 6) for name, value in parts.items()}
