"""Requests a minute per key, in wall time, with the three headers of section 2.1."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimit:
    """A fixed window of one minute per key; `per_minute` 0 is no limit."""

    def __init__(self, per_minute: int, wall: Callable[[], float] = time.time) -> None:
        self.per_minute = per_minute
        self._wall = wall
        self._used: dict[str, int] = {}
        self._window = 0

    def take(self, key: str) -> tuple[bool, dict[str, str]]:
        """Count a request: (allowed, headers for its answer)."""
        now = self._wall()
        window = int(now // 60)
        if window != self._window:
            self._window = window
            self._used.clear()
        if not self.per_minute:
            return True, {}
        used = self._used.get(key, 0) + 1
        self._used[key] = used
        return used <= self.per_minute, self.headers(used)

    def headers(self, used: int) -> dict[str, str]:
        """What an answer says of the limit after `used` requests of the minute; nothing without a limit."""
        if not self.per_minute:
            return {}
        return {
            "X-RateLimit-Limit": str(self.per_minute),
            "X-RateLimit-Remaining": str(max(self.per_minute - used, 0)),
            "X-RateLimit-Reset": str((int(self._wall() // 60) + 1) * 60),
        }
