"""Working the approved batches: which orders are wanted now, reductions before increases."""

from __future__ import annotations

from executor.core import planner
from executor.core.commands import Command, FinishBatch
from executor.core.events import Batch, Target, Timer
from executor.core.known import Known, Work
from executor.core.orders import State
from executor.core.proposal import propose

PROPOSALS_A_TIMER = 4
"""Orders proposed at one timer, so that verdicts are fresh when sent and a fill or a kill gets a turn."""


def on_batch(known: Known, event: Batch) -> list[Command]:
    """Take a batch up in place of the same strategy's last one."""
    known.batch, known.snapshot = event, event.snapshot
    known.works[event.strategy] = Work(event, legs=dict(event.legs), finished=event.settled)
    known.retry_ns, known.said = {}, set()
    return []


def work(known: Known, event: Timer) -> list[Command]:
    """The next orders of every unfinished batch."""
    return [c for w in known.works.values() if not w.finished for c in _work(known, w, event)]


def _work(known: Known, work: Work, event: Timer) -> list[Command]:
    batch = work.batch
    if work.equity is None:
        if known.equity is None:
            return []
        work.equity = known.equity
    if event.market_time >= batch.valid_until:
        return _finish(work, "expired")
    drafts, waiting = _drafts(known, work, event.now_ns)
    busy = known.busy()
    # An order whose fate is unknown may take all day to resolve; the others do not wait for it.
    reductions_open = any(
        known.reduces(o.symbol, o.side) for o in known.open_orders() if o.state is not State.UNKNOWN
    )
    commands: list[Command] = []
    reductions = [(d, t) for d, t in drafts if known.reduces(d.symbol, d.side) and d.symbol not in busy]
    wanted = reductions or ([] if reductions_open else [(d, t) for d, t in drafts if d.symbol not in busy])
    for draft, target in wanted[:PROPOSALS_A_TIMER]:
        commands += propose(known, draft, work, target, event)
    if not drafts and not waiting and not busy:
        commands += _finish(work, f"{len(batch.targets)} targets worked, {len(work.given_up)} given up")
    return commands


def _drafts(known: Known, work: Work, now_ns: int) -> tuple[list[tuple[planner.Draft, Target]], bool]:
    """Orders still wanted, and whether any name waits for a quote."""
    assert work.equity is not None
    scale = known.exposure_scale
    drafts, waiting = [], False
    for target in work.batch.targets:
        if target.symbol in work.given_up:
            continue
        quote = known.latest_quote(target.symbol)
        if quote is None or not quote.usable or now_ns < known.retry_ns.get(target.symbol, 0):
            waiting = True
            continue
        held = known.held(target.symbol)
        shares = planner.target_shares(target.weight * scale, work.equity, quote.mid)
        wanted = planner.draft(
            target.symbol, held, shares, work.equity, quote, known.limits, known.volume(target.symbol)
        )
        if wanted is not None:
            drafts.append((wanted, target))
    return drafts, waiting


def _finish(work: Work, note: str) -> list[Command]:
    work.finished = True
    return [FinishBatch(batch_id=work.batch.batch_id, note=note)]
