"""One venue clock: session time replayed at a chosen speed, or stepped by hand.

Wall time enters through `wall`, so that tests inject it. Speed 0 is a clock that moves only by `advance`
and `move_to`; with it the venue is fully deterministic.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from market.venue.timestamps import SECOND


class VenueClock:
    """Venue nanoseconds = origin + elapsed wall time x speed. It never goes back."""

    def __init__(self, start: int, speed: float, wall: Callable[[], int] = time.monotonic_ns) -> None:
        self._wall = wall
        self._origin = start
        self._wall_origin = wall()
        self.speed = speed

    def now(self) -> int:
        """The venue time now."""
        if self.speed == 0:
            return self._origin
        return self._origin + int((self._wall() - self._wall_origin) * self.speed)

    def set_speed(self, speed: float) -> None:
        """Change the speed from now on; 0 stops the clock."""
        self._origin, self._wall_origin = self.now(), self._wall()
        self.speed = speed

    def move_to(self, t: int) -> int:
        """Jump to `t`; a time already past leaves the clock where it is. Returns the new time."""
        now = self.now()
        self._origin, self._wall_origin = max(t, now), self._wall()
        return self._origin

    def advance(self, seconds: float) -> int:
        """Jump forward by `seconds` of venue time."""
        return self.move_to(self.now() + int(seconds * SECOND))
