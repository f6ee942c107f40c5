"""The last word on each thing that trading stands on, and the short memories the breakers count in."""

from __future__ import annotations

import datetime as dt
from collections import deque

from executor.core.events import (
    AccountSeen,
    BrokerHealth,
    ClockOffset,
    Feed,
    FeedState,
    HeartbeatLost,
    HostState,
    ModelState,
    OrderStreamState,
)
from executor.core.orders import WorkingOrder

MINUTE_NS = 60_000_000_000
TURNS_NS = 10 * MINUTE_NS
"""How long a turn from buying to selling is remembered."""


class Health:
    """What was last heard. None or empty = nothing bad has been heard.

    Attributes
    ----------
    feed_doubt, feed_doubt_ns
        Why the whole feed cannot be trusted, and since when.
    stream_down_ns : int or None
        Since when order updates have not come in.
    """

    def __init__(self) -> None:
        self.feed_doubt = ""
        self.feed_doubt_ns = 0
        self.stream_down_ns: int | None = None
        self.stream_behind_s = 0.0
        self.broker: BrokerHealth | None = None
        self.clock: ClockOffset | None = None
        self.host: HostState | None = None
        self.account: AccountSeen | None = None
        self.heartbeats: dict[str, float] = {}
        self.models: dict[str, ModelState] = {}
        self.difference = ""
        self._rejects: deque[int] = deque()
        self._sends: deque[int] = deque()
        self._turns: dict[str, deque[int]] = {}
        self._last_side: dict[str, str] = {}

    # ------------------------------------------------------------------ what is heard

    def feed(self, event: FeedState) -> None:
        """State of the whole feed."""
        if event.state is Feed.LIVE:
            self.feed_doubt = ""
        else:
            if not self.feed_doubt:
                self.feed_doubt_ns = event.now_ns
            self.feed_doubt = f"{event.feed} feed is {event.state}" + (event.detail and f": {event.detail}")

    def order_stream(self, event: OrderStreamState) -> None:
        """State of the stream of order updates."""
        self.stream_behind_s = event.behind_s
        if event.up:
            self.stream_down_ns = None
        elif self.stream_down_ns is None:
            self.stream_down_ns = event.now_ns

    def heartbeat(self, event: HeartbeatLost) -> None:
        """A silent heartbeat, or one that is back."""
        self.heartbeats[event.source] = event.silent_s

    def model(self, event: ModelState) -> None:
        """State of a model."""
        self.models[event.model_id] = event

    def sent(self, now_ns: int) -> None:
        """An order was sent."""
        self._sends.append(now_ns)

    def reject(self, now_ns: int) -> None:
        """The broker refused an order."""
        self._rejects.append(now_ns)

    def traded(self, order: WorkingOrder, now_ns: int) -> None:
        """An order traded; buying after selling in one name, or the reverse, is a turn."""
        last = self._last_side.get(order.symbol)
        self._last_side[order.symbol] = order.side
        if last is not None and last != order.side:
            self._turns.setdefault(order.symbol, deque()).append(now_ns)

    # ------------------------------------------------------------------ what is counted

    def rejects_a_minute(self, now_ns: int) -> int:
        """Orders the broker refused in the last minute, by our count or by the shell's."""
        heard = self.broker.rejects if self.broker is not None else 0
        return max(_within(self._rejects, now_ns - MINUTE_NS), heard)

    def sends_a_minute(self, now_ns: int) -> int:
        """Orders sent in the last minute."""
        return _within(self._sends, now_ns - MINUTE_NS)

    def turns(self, now_ns: int) -> tuple[int, str]:
        """Most turns of one name in the last ten minutes, and the name."""
        counts = [(_within(times, now_ns - TURNS_NS), symbol) for symbol, times in self._turns.items()]
        for count, symbol in counts:
            if not count:
                del self._turns[symbol]
        return max(counts, default=(0, ""))

    def bad_model(self, at: dt.datetime) -> str:
        """Why a model whose signals we trade must not be followed; empty if none."""
        for model in self.models.values():
            if model.expires_at <= at:
                return f"model {model.model_id} expired at {model.expires_at:%Y-%m-%d %H:%M} UTC"
            if model.degraded or model.drifted:
                return f"model {model.model_id} has {'degraded' if model.degraded else 'drifted'}"
        return ""


def _within(times: deque[int], since_ns: int) -> int:
    while times and times[0] <= since_ns:
        times.popleft()
    return len(times)
