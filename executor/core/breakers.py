"""The breakers, one small class each: what is read, at what bound it trips, and into which mode.

A breaker latches: the mode is in the ledger, only tightens by itself, and a person loosens it with a
reason. Many causes block new risk at once and for as long as they last (``Known.new_risk_blocked``); the
breaker trips when they have lasted too long. What the money says (``equity_breakers.py``) is
confirmed by a second source first. ``docs/breakers.md`` is generated from these classes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from executor.core.cancels import cancel_increasing
from executor.core.commands import Alert, Command
from executor.core.events import (
    AccountSeen,
    BrokerHealth,
    ClockOffset,
    Event,
    HeartbeatLost,
    HostState,
    ModelState,
    OrderStreamState,
    PositionsDiffer,
)
from executor.core.health import Health
from executor.core.known import Known
from executor.core.modes import Mode

NS = 1_000_000_000


class Breaker:
    """Base: a name, the limit that is its bound, the mode it trips into, and a reading."""

    name: str
    bound: str
    mode = Mode.CLOSE_ONLY
    reads: str
    """What the reading is, in words, for people."""
    blocks = ""
    """What is refused before it trips."""

    def reading(self, known: Known, at: dt.datetime) -> float | None:
        """The value that trips at the bound; None = nothing to read."""
        raise NotImplementedError

    def said(self, value: float, bound: Decimal, known: Known) -> str:
        """The reason with its numbers."""
        return f"{self.name.replace('_', ' ')}: {self.reads} is {value:.6g}, the bound is {bound:f}"


class FeedSilent(Breaker):
    """No quote of any name for too long while the market is open, or the feed declared unfit."""

    name, bound = "feed_silent", "feed_silent_s"
    reads = (
        "seconds in the session without a quote, or since the feed was called stale, mute, crossed or down"
    )
    blocks = "new risk at once while the feed is not live; an old quote by itself refuses (quote_age_s)"

    def reading(self, known: Known, at: dt.datetime) -> float | None:
        if not known.in_session or not (known.book.positions or not known.batch_finished):
            return None
        since = max(known.quoted_ns, known.session_since_ns)
        if known.health.feed_doubt:
            since = min(since, max(known.health.feed_doubt_ns, known.session_since_ns))
        return (known.now_ns - since) / NS


class OrderStream(Breaker):
    """Order updates do not come in, or come late."""

    name, bound = "order_stream", "order_stream_s"
    reads = "seconds the stream of order updates has been down, or is behind"
    blocks = "new risk at once while it is down"

    def reading(self, known: Known, at: dt.datetime) -> float:
        down = known.health.stream_down_ns
        return max(0.0 if down is None else (known.now_ns - down) / NS, known.health.stream_behind_s)


class BrokerErrors(Breaker):
    """The broker fails or does not answer."""

    name, bound = "broker_errors", "broker_errors"
    reads = "failed or unanswered calls in a minute"

    def reading(self, known: Known, at: dt.datetime) -> float | None:
        return None if known.health.broker is None else known.health.broker.errors


class BrokerRejects(Breaker):
    """The broker refuses what we send."""

    name, bound = "broker_rejects", "broker_rejects"
    reads = "orders refused by the broker in a minute"

    def reading(self, known: Known, at: dt.datetime) -> float:
        return known.health.rejects_a_minute(known.now_ns)


class BrokerLatency(Breaker):
    """The broker answers too slowly to be traded with."""

    name, bound = "broker_latency", "broker_latency_ms"
    reads = "slowest answer of the broker in a minute, ms"

    def reading(self, known: Known, at: dt.datetime) -> float | None:
        return None if known.health.broker is None else known.health.broker.latency_ms


class ClockOff(Breaker):
    """Our clock and the reference differ: times of orders and validity mean nothing."""

    name, bound = "clock_offset", "clock_offset_ms"
    reads = "our clock against the reference, ms"

    def reading(self, known: Known, at: dt.datetime) -> float | None:
        return None if known.health.clock is None else abs(known.health.clock.offset_ms)


class OrderRate(Breaker):
    """We send more orders than any plan of ours would."""

    name, bound = "order_rate", "orders_per_minute"
    reads = "orders sent in a minute"

    def reading(self, known: Known, at: dt.datetime) -> float:
        return known.health.sends_a_minute(known.now_ns)


class Loop(Breaker):
    """Buying and selling the same name in turns: a loop of our own making."""

    name, bound = "self_inflicted_loop", "turns"
    reads = "turns between buying and selling one name in ten minutes"

    def reading(self, known: Known, at: dt.datetime) -> float:
        return known.health.turns(known.now_ns)[0]

    def said(self, value: float, bound: Decimal, known: Known) -> str:
        return f"{super().said(value, bound, known)} ({known.health.turns(known.now_ns)[1]})"


class DiskFull(Breaker):
    """The ledger's disk is filling: what cannot be recorded must not be sent."""

    name, bound = "disk", "disk_used"
    reads = "fraction of the ledger's disk in use"

    def reading(self, known: Known, at: dt.datetime) -> float | None:
        return None if known.health.host is None else known.health.host.disk_used


class MemoryFull(Breaker):
    """Memory runs out."""

    name, bound = "memory", "memory_used"
    reads = "fraction of memory in use"

    def reading(self, known: Known, at: dt.datetime) -> float | None:
        return None if known.health.host is None else known.health.host.memory_used


class LoopLag(Breaker):
    """The process itself is late."""

    name, bound = "loop_lag", "loop_lag_ms"
    reads = "lag of the event loop, ms"

    def reading(self, known: Known, at: dt.datetime) -> float | None:
        return None if known.health.host is None else known.health.host.loop_lag_ms


class Heartbeat(Breaker):
    """A heartbeat we depend on is lost."""

    name, bound = "heartbeat", "heartbeat_s"
    reads = "seconds a heartbeat has been silent"

    def reading(self, known: Known, at: dt.datetime) -> float:
        return max(known.health.heartbeats.values(), default=0.0)

    def said(self, value: float, bound: Decimal, known: Known) -> str:
        silent = [source for source, silent_s in known.health.heartbeats.items() if silent_s >= value]
        return f"{super().said(value, bound, known)} ({', '.join(silent)})"


class BadModel(Breaker):
    """A model whose signals we trade has expired, degraded or drifted."""

    name, bound = "model", ""
    reads = "any model expired, degraded or drifted"

    def reading(self, known: Known, at: dt.datetime) -> float:
        return 1.0 if known.health.bad_model(at) else 0.0

    def said(self, value: float, bound: Decimal, known: Known) -> str:
        return known.health.bad_model(known.market_time)


class Difference(Breaker):
    """Ledger and broker differ and nothing explains it."""

    name, bound, mode = "difference", "", Mode.HALTED
    reads = "any unexplained difference with the broker"

    def reading(self, known: Known, at: dt.datetime) -> float:
        return 1.0 if known.health.difference else 0.0

    def said(self, value: float, bound: Decimal, known: Known) -> str:
        return f"difference with the broker: {known.health.difference}"


BREAKERS: tuple[Breaker, ...] = (
    Difference(),
    FeedSilent(),
    OrderStream(),
    BrokerErrors(),
    BrokerRejects(),
    BrokerLatency(),
    ClockOff(),
    OrderRate(),
    Loop(),
    DiskFull(),
    MemoryFull(),
    LoopLag(),
    Heartbeat(),
    BadModel(),
)


def check(known: Known, at: dt.datetime) -> list[Command]:
    """Read every breaker; trip those at their bound, each once until it is re-armed."""
    commands: list[Command] = []
    for breaker in BREAKERS:
        value = breaker.reading(known, at)
        bound = known.limits[breaker.bound] if breaker.bound else Decimal(1)
        if value is not None and value >= float(bound):  # a float 0.95 lies just below the Decimal
            commands += trip(known, breaker.name, breaker.mode, breaker.said(value, bound, known))
    return commands


def trip(known: Known, name: str, mode: Mode, reason: str) -> list[Command]:
    """Latch: tighten, cancel what adds risk, and tell a person, once."""
    if name in known.tripped:
        return []
    known.tripped[name] = reason
    tightened = known.tighten(mode, reason)
    told = tightened or [Alert(severity="critical", kind="breach", title=f"Breaker {name}", body=reason)]
    return told + (cancel_increasing(known, known.now_ns) if mode is not Mode.REDUCING else [])


def on_health(known: Known, event: Event) -> list[Command]:
    """Something about our footing was heard: note it, and look at the breakers at once."""
    HEARD[type(event)](known.health, event)
    return check(known, event.market_time)


HEARD: dict[type[Event], Callable[[Health, Any], None]] = {
    OrderStreamState: Health.order_stream,
    BrokerHealth: lambda health, event: setattr(health, "broker", event),
    ClockOffset: lambda health, event: setattr(health, "clock", event),
    HostState: lambda health, event: setattr(health, "host", event),
    AccountSeen: lambda health, event: setattr(health, "account", event),
    PositionsDiffer: lambda health, event: setattr(health, "difference", event.reason),
    HeartbeatLost: Health.heartbeat,
    ModelState: Health.model,
}
