"""Which names are alive: each is judged by its own usual gap, and only while it should trade.

A name that quotes once a minute is not stale after ten seconds, and one that quotes ten times a
second is. Nothing is stale outside the session, before its first record, or while it is halted: there
silence is no news.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LEAST_S = 10.0
"""No name is stale sooner."""
MOST_S = 300.0
"""Any name silent for longer is, however quiet it usually is."""
GAPS = 20.0
"""A silence of this many usual gaps is one (for exponential gaps it happens by chance once in 5e8)."""
WEIGHT = 0.05
"""Of the newest gap in the running mean."""


class Life(StrEnum):
    """What can be said of a name's data."""

    WAITING = "WAITING"
    """Asked for, nothing seen yet."""
    HEALING = "HEALING"
    """It comes again, and the gap is being filled: not to be traded on yet."""
    LIVE = "LIVE"
    STALE = "STALE"


@dataclass
class _Name:
    last_s: float | None = None
    gap_s: float | None = None
    healing: bool = False
    halted: bool = False


class Liveness:
    """Last seen and usual gap of every name. Times are seconds of one monotonic clock, given by the caller."""

    def __init__(self) -> None:
        self._names: dict[str, _Name] = {}
        self._last_s: float | None = None

    def watch(self, symbol: str) -> None:
        """Begin with a name."""
        self._names.setdefault(symbol, _Name())

    def forget(self, symbol: str) -> None:
        """A name that is asked for no longer."""
        self._names.pop(symbol, None)

    def saw(self, symbol: str, now_s: float) -> None:
        """A record of the name came."""
        self._last_s = now_s
        name = self._names.get(symbol)
        if name is None:
            return
        if name.last_s is not None:
            gap = now_s - name.last_s
            name.gap_s = gap if name.gap_s is None else name.gap_s + WEIGHT * (gap - name.gap_s)
        name.last_s = now_s

    def halted(self, symbol: str, on: bool) -> None:
        """A halted name is silent by rule; what it was silent for says nothing afterwards."""
        name = self._names.get(symbol)
        if name is not None:
            name.halted, name.last_s = on, None

    def cut(self) -> None:
        """The connection is gone: every name must be healed before it counts as live again."""
        for name in self._names.values():
            name.healing = name.healing or name.last_s is not None
            name.last_s = None

    def healed(self, symbol: str) -> None:
        """The gap of the name is filled."""
        if symbol in self._names:
            self._names[symbol].healing = False

    def life(self, symbol: str, now_s: float, *, in_session: bool) -> Life:
        """The name's state now. Raises ``KeyError`` for a name nobody watches."""
        name = self._names[symbol]
        if name.healing:
            return Life.HEALING
        if name.last_s is None:
            return Life.WAITING
        if in_session and not name.halted and now_s - name.last_s > self.allowed_s(symbol):
            return Life.STALE
        return Life.LIVE

    def allowed_s(self, symbol: str) -> float:
        """How long the name may be silent in the session."""
        gap = self._names[symbol].gap_s
        return MOST_S if gap is None else min(MOST_S, max(LEAST_S, GAPS * gap))

    def stale(self, now_s: float, *, in_session: bool) -> list[str]:
        """The stale names, sorted."""
        return sorted(s for s in self._names if self.life(s, now_s, in_session=in_session) is Life.STALE)

    def silence_allowed_s(self, *, in_session: bool) -> float | None:
        """Silence of the whole feed that cannot be chance; None out of session or with nothing to go by.

        Gaps of many names add up as rates do: the feed's usual gap is 1 / Σ (1 / gap).
        """
        gaps = [n.gap_s for n in self._names.values() if n.gap_s and not n.halted]
        if not in_session or not gaps:
            return None
        return min(MOST_S, max(LEAST_S, GAPS / sum(1 / g for g in gaps)))
