"""``decide(event) -> commands``: the whole of what the executor does, without doing any of it.

The engine has no clock: time arrives in the events, so a recorded day gives the same commands again.
The shell carries commands out in order and answers with events. What the engine knows is in
``known.py``; what it does with each event is in the room named beside the event in ``ROOMS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from executor.core import breakers, events, exits, order_life, targets
from executor.core.commands import Command
from executor.core.known import Known, decimals
from executor.core.limits import Proposal
from executor.core.modes import Mode
from executor.core.planner import Draft
from executor.core.proposal import proposed


class Engine(Known):
    """The decision engine of one account; see :class:`executor.core.known.Known` for its parameters."""

    def decide(self, event: events.Event) -> list[Command]:
        """Take one event and return the commands it leads to."""
        room = ROOMS.get(type(event))
        if room is None:
            raise TypeError(f"the engine does not know the event {type(event).__name__}")
        return room(self, event)

    def _mark(self, event: events.Timer) -> list[Command]:
        return breakers.mark(self, event)

    def _proposal(self, draft: Draft, now_ns: int) -> Proposal:
        return proposed(self, draft, now_ns)


def on_quote(known: Known, event: events.Quote) -> list[Command]:
    """Take a quote in. The hottest path there is: nothing is decided on it."""
    known.latest[event.symbol] = event
    if event.usable:
        known.quotes[event.symbol] = event
    return []


def on_timer(known: Known, event: events.Timer) -> list[Command]:
    """Time passed: mark, trip, cancel, get out, and only then work new targets."""
    commands = breakers.mark(known, event)
    if event.draining:
        return commands + order_life.cancel_all(known, event.now_ns)
    if known.mode is Mode.HALTED:
        return commands + order_life.cancel_all(known, event.now_ns)
    if known.mode is Mode.FLATTENING:
        commands += order_life.cancel_all(known, event.now_ns, keep="flatten")
    if not event.in_session:
        return commands
    commands += order_life.cancel_stale(known, event.now_ns)
    if known.mode is Mode.FLATTENING:
        return commands + exits.flatten(known, event)
    if known.reduce_to:
        commands += exits.bring_down(known, known.reduce_to, event)
    return commands + (targets.work(known, event) if event.broker_ready else [])


def on_cash(known: Known, event: events.CashMoved) -> list[Command]:
    """A fee or dividend."""
    known.book.cash += event.amount
    return []


def on_limits(known: Known, event: events.LimitsChanged) -> list[Command]:
    """A new limit version."""
    known.limit_version, known.limits = event.version, decimals(event.limits)
    return []


def on_mode_seen(known: Known, event: events.ModeSeen) -> list[Command]:
    """The ledger's mode and latches."""
    known.killed, known.flatten = event.killed, event.flatten
    known.mode = event.mode
    return []


def on_nothing(known: Known, event: events.Event) -> list[Command]:
    """Taken without a word."""
    return []


ROOMS: dict[type[events.Event], Callable[[Known, Any], list[Command]]] = {
    events.Quote: on_quote,
    events.Fill: order_life.on_fill,
    events.OrderEvidence: order_life.on_evidence,
    events.Reserved: order_life.on_reserved,
    events.Timer: on_timer,
    events.Batch: targets.on_batch,
    events.CashMoved: on_cash,
    events.LimitsChanged: on_limits,
    events.ModeSeen: on_mode_seen,
    **dict.fromkeys(events.NOT_ACTED_ON_YET, on_nothing),
}
