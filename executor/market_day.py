"""Which session it is and when it opens and closes, by the broker's own clock and calendar."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from executor.broker import Broker
from executor.clock import MarketClock

NEW_YORK = ZoneInfo("America/New_York")
NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


class MarketDay:
    """Today's session. ``open`` and ``close`` are ``NEVER`` on a day without one.

    Attributes
    ----------
    date : datetime.date
        The calendar day in New York.
    offset_s : float
        How far the broker's clock was ahead of ours at the last reading, in wall seconds.
    """

    def __init__(self, clock: MarketClock) -> None:
        self.clock = clock
        self.date: dt.date | None = None
        self.open = NEVER
        self.close = NEVER
        self.offset_s = 0.0
        self.round_trip_s = 0.0

    async def synchronise(self, broker: Broker) -> bool:
        """Read the broker's clock, and its calendar when a new day has begun; whether one has."""
        asked_ns = self.clock.now_ns()
        broker_time, _ = await broker.clock()
        self.round_trip_s = (self.clock.now_ns() - asked_ns) / 1e9
        # The reading is from about the middle of the round trip.
        self.offset_s = self.clock.synchronise(broker_time) + self.round_trip_s / 2
        today = self.today()
        if today == self.date:
            return False
        self.open, self.close = await broker.session(today) or (NEVER, NEVER)
        self.date = today
        return True

    def today(self) -> dt.date:
        """The day it is now in New York."""
        return self.clock.now().astimezone(NEW_YORK).date()

    @property
    def is_session(self) -> bool:
        """Whether the exchange trades on this day at all."""
        return self.open is not NEVER

    @property
    def is_open(self) -> bool:
        """Whether the session is on at this moment."""
        return self.open <= self.clock.now() < self.close

    def stamp(self) -> dict[str, Any]:
        """The two times every event carries."""
        return {"market_time": self.clock.now(), "now_ns": self.clock.now_ns()}

    def show(self) -> str:
        """Market time for people."""
        return f"{self.clock.now().astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} New York"
