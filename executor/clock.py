"""Market time and monotonic time, the only two clocks of the executor.

Outside a replay market time is the wall clock, and the broker's clock only checks it. In a replay the
venue's clock runs ``rate`` times as fast; it is read from the broker and carried on in between.
"""

from __future__ import annotations

import datetime as dt
import time


class MarketClock:
    """Market time, anchored to the broker's clock when the market is replayed.

    Parameters
    ----------
    rate : float
        Market seconds a wall second; 1 outside replays.
    """

    def __init__(self, rate: float = 1.0) -> None:
        self.rate = rate
        self._anchor: tuple[dt.datetime, int] | None = None

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        return time.monotonic_ns()

    def synchronise(self, broker_time: dt.datetime) -> float:
        """Take a reading of the broker's clock; returns its offset from ours in wall seconds."""
        offset_s = (broker_time - self.now()).total_seconds() / self.rate
        if self.rate != 1.0:
            self._anchor = (broker_time.astimezone(dt.UTC), self.now_ns())
        return offset_s

    def now(self) -> dt.datetime:
        """Market time now, aware UTC."""
        if self._anchor is None:
            return dt.datetime.now(dt.UTC)
        at, since = self._anchor
        return at + dt.timedelta(seconds=(self.now_ns() - since) / 1e9 * self.rate)
