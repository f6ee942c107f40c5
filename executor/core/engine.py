"""``decide(event) -> commands``: the whole of what the executor does, without doing any of it.

The engine has no clock: time arrives in the events, so a recorded day gives the same commands again.
The shell carries commands out in order and answers with events. What the engine knows is in
``known.py``; what it does with each event is in the room named beside the event in ``ROOMS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from executor.core import (
    breakers,
    cancels,
    equity_breakers,
    events,
    exits,
    flatten,
    latch,
    names,
    order_life,
    quarantine,
    targets,
)
from executor.core.commands import Command
from executor.core.known import Known
from executor.core.modes import Mode


class Engine(Known):
    """The decision engine of one account; see :class:`executor.core.known.Known` for its parameters."""

    def decide(self, event: events.Event) -> list[Command]:
        """Take one event and return the commands it leads to."""
        room = ROOMS.get(type(event))
        if room is None:
            raise TypeError(f"the engine does not know the event {type(event).__name__}")
        return room(self, event)

    def _mark(self, event: events.Timer) -> list[Command]:
        return equity_breakers.mark(self, event)


def on_timer(known: Known, event: events.Timer) -> list[Command]:
    """Time passed: mark, trip, cancel, get out, and only then work new targets."""
    known.take_time(event)
    commands, known.untold = known.untold, []
    commands += equity_breakers.mark(known, event)
    commands += breakers.check(known, event.market_time)
    if event.draining:
        return commands + cancels.cancel_all(known, event.now_ns)
    if known.mode is Mode.HALTED:
        return commands + flatten.cancels_pending(known, event.now_ns)
    commands += cancels.cancel_stale(known, event.now_ns)
    if known.mode is Mode.FLATTENING:
        return commands + flatten.flatten(known, event)
    if event.in_session:
        commands += quarantine.send_again(known, event)
        if known.reduce_to:
            commands += exits.bring_down(known, dict(known.reduce_to), event)
    return commands + (targets.work(known, event) if event.broker_ready else [])


def on_cash(known: Known, event: events.CashMoved) -> list[Command]:
    """A fee or dividend."""
    known.book.cash += event.amount
    return []


def on_limits(known: Known, event: events.LimitsChanged) -> list[Command]:
    """A new limit version."""
    known.take_limits(event.version, event.limits)
    return []


ROOMS: dict[type[events.Event], Callable[[Known, Any], list[Command]]] = {
    events.Quote: names.on_quote,
    events.Trade: names.on_trade,
    events.Bar: names.on_bar,
    events.Bars: names.on_bars,
    events.TradingStatus: names.on_status,
    events.PriceBand: names.on_band,
    events.ShortRestriction: names.on_short_restriction,
    events.InstrumentSeen: names.on_instrument,
    events.CorporateAction: names.on_corporate_action,
    events.FeedState: names.on_feed_state,
    events.Reserved: order_life.on_reserved,
    events.Withdrawn: order_life.on_withdrawn,
    events.OrderEvidence: order_life.on_evidence,
    events.Fill: order_life.on_fill,
    events.Replaced: order_life.on_replaced,
    events.LegShown: order_life.on_leg,
    events.BrokerFlat: flatten.on_broker_flat,
    events.Batch: targets.on_batch,
    events.CashMoved: on_cash,
    events.LimitsChanged: on_limits,
    events.ModeSeen: latch.on_mode_seen,
    events.Kill: latch.on_kill,
    events.Rearm: latch.on_rearm,
    events.Timer: on_timer,
    events.EquityConfirmed: equity_breakers.on_equity_confirmed,
    **dict.fromkeys(breakers.HEARD, breakers.on_health),
}
"""Every event of ``events.py`` and the room it is taken to."""
