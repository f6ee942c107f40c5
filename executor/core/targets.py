"""Working the approved batches: which orders are wanted now, reductions before increases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from executor.core import planner, schedule
from executor.core.cancels import cancel_each
from executor.core.commands import Command, FinishBatch
from executor.core.events import Batch, Quote, Target, Timer
from executor.core.known import Known, Work
from executor.core.netting import net_shares, settle
from executor.core.orders import Leg, State, WorkingOrder
from executor.core.policy import Price
from executor.core.pricing import marketable_limit, pegged_limit
from executor.core.proposal import propose

PROPOSALS_A_TIMER = 4
"""Orders proposed at one timer, so that verdicts are fresh when sent and a fill or a kill gets a turn."""
PEG_REST_NS = 2_000_000_000
"""How long a pegged order keeps its price at least."""


@dataclass(frozen=True)
class Wanted:
    """A draft, and the target of which batch it is for."""

    draft: planner.Draft
    work: Work
    target: Target


def on_batch(known: Known, event: Batch) -> list[Command]:
    """Take a batch up in place of the same strategy's last one; what that one has working is cancelled."""
    if event.snapshot is not known.snapshot:
        known.exposure.load(event.snapshot)
    else:
        known.exposure.rebuild()  # as a load does: a replay has an equal snapshot, and must round alike
    known.batch, known.snapshot = event, event.snapshot
    last = known.works.get(event.strategy)
    if last is not None and not last.finished:
        settle(known, last)
    work = Work(event, legs=dict(event.legs), finished=event.settled)
    work.settled = {} if last is None else last.settled
    known.works[event.strategy] = work
    known.retry_ns, known.said = {}, set()
    return []


def work(known: Known, event: Timer) -> list[Command]:
    """The next orders of every unfinished batch, netted, reductions first."""
    commands = _cancel_superseded(known, event.now_ns)
    wanted: list[Wanted] = []
    busy = known.busy()
    for one in known.works.values():
        if one.finished or not (event.in_session or schedule.works_outside(one.batch.policy)):
            continue
        if one.equity is None:
            one.equity = known.equity
        if one.equity is None:
            continue
        if event.market_time >= one.batch.valid_until:
            commands += _finish(known, one, "expired")
            continue
        ready, waiting = _wanted(known, one, event)
        wanted += ready
        if not ready and not waiting and busy.isdisjoint(one.by_symbol):
            commands += _finish(
                known, one, f"{len(one.by_symbol)} targets worked, {len(one.given_up)} given up"
            )
    for order in known.open_orders():
        commands += _reprice(known, order, event)
    for chosen in _chosen(known, wanted, busy):
        # The broker holds shares for their stop and takes no plain order against one: it goes first.
        in_the_way = [] if chosen.draft.order_class else known.protection(chosen.draft.symbol)
        commands += cancel_each(known, in_the_way, event.now_ns)
        if not in_the_way:
            commands += propose(known, chosen.draft, chosen.work, chosen.target, event)
    return commands


def _chosen(known: Known, wanted: list[Wanted], busy: set[str]) -> list[Wanted]:
    """What goes out now: free names only, each once, and no increase while a reduction works."""
    free = {w.draft.symbol: w for w in reversed(wanted) if w.draft.symbol not in busy}
    ordered = [w for w in wanted if free.get(w.draft.symbol) is w]
    reductions = [w for w in ordered if known.reduces(w.draft.symbol, w.draft.side)]
    # An order whose fate is unknown may take all day to resolve; the others do not wait for it.
    working = any(
        o.state is not State.UNKNOWN and o.purpose != "protect" and known.reduces(o.symbol, o.side)
        for o in known.open_orders()
    )
    return (reductions or ([] if working else ordered))[:PROPOSALS_A_TIMER]


def _wanted(known: Known, work: Work, event: Timer) -> tuple[list[Wanted], bool]:
    """Orders a batch still wants, and whether any of its names waits for something."""
    sendable, never = schedule.may_be_sent(
        work.batch.policy, event.market_time, (event.session_open, event.session_close)
    )
    if not sendable and not never:
        return [], True
    wanted, waiting = [], False
    for target in work.batch.targets:
        if target.symbol in work.given_up:
            continue
        if never:
            work.given_up[target.symbol] = never
            continue
        quote = known.latest_quote(target.symbol)
        if quote is None or not quote.usable or event.now_ns < known.retry_ns.get(target.symbol, 0):
            waiting = True
            continue
        draft, more = _draft(known, work, target, quote, event)
        adds = draft is not None and not known.reduces(draft.symbol, draft.side)
        if adds and known.new_risk_blocked(target.symbol):
            draft, more = None, True
        waiting = waiting or more
        if draft is not None:
            wanted.append(Wanted(draft, work, target))
    return wanted, waiting


def _draft(
    known: Known, work: Work, target: Target, quote: Quote, event: Timer
) -> tuple[planner.Draft | None, bool]:
    """The target's next order, and whether its schedule holds more back."""
    shares, all_released = net_shares(known, work, target, quote, event)
    assert work.equity is not None
    policy = work.batch.policy
    held = known.held(target.symbol)
    draft = planner.draft(
        target.symbol,
        held,
        shares,
        work.equity,
        quote,
        known.limits,
        known.volume(target.symbol),
        policy=policy,
    )
    if draft is None:
        return None, not all_released
    draft = replace(
        draft,
        limit_price=_price(work, draft.symbol, draft.side, quote),
        time_in_force=schedule.time_in_force(policy),
        extended_hours=policy.extended_hours and not event.in_session,
    )
    return _protected(draft, target, opens=not known.reduces(draft.symbol, draft.side)), not all_released


def _price(work: Work, symbol: str, side: str, quote: Quote) -> Decimal:
    """The policy's price; a peg that has been followed long enough crosses the spread."""
    policy = work.batch.policy
    if policy.price is Price.COLLAR or work.pegs.get(symbol, 0) > policy.replaces_max:
        return marketable_limit(side, quote)
    return pegged_limit(side, quote, policy.price)


def _protected(draft: planner.Draft, target: Target, *, opens: bool) -> planner.Draft:
    """With the target's protective legs, where it opens or adds to a position."""
    if not opens or (target.stop_price is None and target.take_profit is None):
        return draft
    stop = None if target.stop_price is None else Leg(stop_price=target.stop_price)
    take = None if target.take_profit is None else Leg(limit_price=target.take_profit)
    return replace(
        draft,
        order_class="bracket" if stop and take else "oto",
        stop_loss=stop,
        take_profit=take,
        extended_hours=False,
    )


# ---------------------------------------------------------------------- what works already


def _cancel_superseded(known: Known, now_ns: int) -> list[Command]:
    """Cancel what works for a batch that is over, or that another has replaced."""
    current = {w.batch.batch_id for w in known.works.values() if not w.finished}
    gone = [o for o in known.open_orders() if o.purpose == "target" and o.batch_id not in current]
    return cancel_each(known, gone, now_ns)


def _reprice(known: Known, order: WorkingOrder, event: Timer) -> list[Command]:
    """Follow the quote with a pegged order by replacement; not if it has begun to fill.

    A replacement whose original has traded in the meantime is cancelled: the rest is planned anew.
    """
    original = known.orders.get(order.replaces_client_order_id or "")
    if original is not None and original.filled_qty and order.state is State.LIVE:
        return cancel_each(known, [order], event.now_ns)
    work = next(
        (w for w in known.works.values() if w.batch.batch_id == order.batch_id and not w.finished), None
    )
    if (
        work is None
        or work.batch.policy.price is Price.COLLAR
        or order.purpose != "target"
        or order.state is not State.LIVE
        or order.broker_order_id is None
        or order.filled_qty
        or order.order_class
        or event.now_ns - order.sent_ns < PEG_REST_NS
        or any(o.symbol == order.symbol and o is not order for o in known.open_orders())
        or any(i.symbol == order.symbol for i in known.intents.values())
        or (known.new_risk_blocked(order.symbol) and not known.reduces(order.symbol, order.side))
    ):
        return []
    quote, target = known.latest_quote(order.symbol), work.by_symbol.get(order.symbol)
    if quote is None or not quote.usable or target is None:
        return []
    price = _price(work, order.symbol, order.side, quote)
    if price == order.limit_price:
        return []
    draft = planner.Draft(
        order.symbol, order.side, order.qty, price, order.time_in_force, replaces=order.client_order_id
    )
    return propose(known, draft, work, target, event)


def _finish(known: Known, work: Work, note: str) -> list[Command]:
    settle(known, work)
    work.finished = True
    return [FinishBatch(batch_id=work.batch.batch_id, note=note)]
