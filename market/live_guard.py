"""The rules of the validation that a live feed can keep, one quote or trade at a time, in about a microsecond.

One `LiveGuard` a symbol, floats only, no clock of its own: the caller hands over the feed's time in seconds.
Verdicts are small integers; `GOOD` is 0, so that `if guard.quote(...):` reads as "is something wrong".

*Bad ticks.* A trade is bad when it lies further from the middle of the last good prints than the scatter of
their steps explains. A level that holds is believed: after `CONFIRM` prints in a row that agree with one
another at the new place, the place is the market's and not the tick's, so that a real gap costs a few prints
and never the day. The first prints of a day have nothing to be compared with but the close before.

*Another feed.* The consolidated tape prints from many venues; one venue prints a few per cent of its volume.
Volume a minute is compared with what the feed printed before, by two exponential means of different reach.

*Stale.* Silence is judged by the caller's bound, in the feed's own time; `stale` says since when.

The same faults in stored data: `market.tick_checks`.
"""

from __future__ import annotations

from math import isfinite

GOOD, BAD_NUMBER, BAD_PRINT, CROSSED, WIDE, OUT_OF_ORDER = range(6)
VERDICTS = ("good", "bad number", "bad print", "crossed", "wide", "out of order")
"""What each verdict says, by its number."""

FLOOR = 0.01  # of the price: what no print is refused for
SIGMAS = 15.0
CONFIRM = 5  # prints in a row at the new place
WIDEST = 0.10  # spread, of the mid
LATE_S = 2.0  # how far feeds run out of order by themselves
_SLOW = 1 / 64
_SWITCH = 6.0  # times the volume a minute


class LiveGuard:
    """Judges the prints and quotes of one symbol.

    `close_before` is the last session's close, `step` the usual relative step between two prints (a robust
    standard deviation; 0.0002 is a liquid stock's).
    """

    __slots__ = (
        "agreed",
        "candidate",
        "fast",
        "level",
        "minute",
        "seen_at",
        "slow",
        "step",
        "volume",
        "warm",
    )

    def __init__(self, close_before: float = 0.0, step: float = 0.0002) -> None:
        self.level = close_before
        self.step = step
        self.candidate = 0.0
        self.agreed = 0
        self.seen_at = 0.0
        self.minute = 0
        self.volume = 0.0
        self.fast = 0.0
        self.slow = 0.0
        self.warm = 0

    def trade(self, price: float, size: float, at: float) -> int:
        """Verdict on a trade of `size` shares at `price`, `at` the feed's time in seconds.

        A good one moves the level; its volume counts for the feed's.
        """
        if not (price > 0.0 and size > 0.0 and isfinite(price) and isfinite(size)):
            return BAD_NUMBER
        if at < self.seen_at - LATE_S:
            return OUT_OF_ORDER
        if at > self.seen_at:  # noqa: PLR1730 - a call of max() would be a tenth of the budget
            self.seen_at = at
        minute = int(at) // 60
        if minute != self.minute:
            self._turn(minute)
        self.volume += size
        return self._place(price)

    def quote(self, bid: float, ask: float, at: float) -> int:
        """Verdict on a two-sided quote; the mid is judged as a print is. Locked markets are good."""
        if not (bid > 0.0 and ask > 0.0 and isfinite(bid) and isfinite(ask)):
            return BAD_NUMBER
        if bid > ask:
            return CROSSED
        if at < self.seen_at - LATE_S:
            return OUT_OF_ORDER
        if at > self.seen_at:  # noqa: PLR1730 - a call of max() would be a tenth of the budget
            self.seen_at = at
        mid = 0.5 * (bid + ask)
        if ask - bid > WIDEST * mid:
            return WIDE
        return self._place(mid)

    def _place(self, price: float) -> int:
        level = self.level
        if level <= 0.0:
            self.level = price
            return GOOD
        off = price / level - 1.0
        if off < 0.0:
            off = -off
        bound = SIGMAS * self.step
        if off <= (bound if bound > FLOOR else FLOOR):
            # A robust scale: a large step widens it a little, many small ones narrow it.
            self.step += (
                _SLOW * ((off if off < 4.0 * self.step else 4.0 * self.step) - self.step)
                if off > 0.0
                else 0.0
            )
            if self.step < 1e-5:  # noqa: PLR1730
                self.step = 1e-5
            self.level = level + 0.25 * (price - level)
            self.agreed = 0
            return GOOD
        # Far away. Does it agree with the far ones before it?
        near = self.candidate > 0.0 and -FLOOR < price / self.candidate - 1.0 < FLOOR
        self.agreed = self.agreed + 1 if near else 1
        self.candidate = price
        if self.agreed >= CONFIRM:
            self.level, self.agreed, self.candidate = price, 0, 0.0
            return GOOD
        return BAD_PRINT

    def _turn(self, minute: int) -> None:
        """A minute is over: its volume into the two means."""
        if self.minute:
            gone = minute - self.minute
            self.fast += 0.3 * (self.volume - self.fast)
            if gone > 1:  # silent minutes count as such
                self.fast *= 0.7 ** min(gone - 1, 60)
            self.slow += (
                0.02 * (self.volume - self.slow)
                if self.warm >= 30
                else (self.volume - self.slow) / (self.warm + 1)
            )
            self.warm += 1
        self.minute, self.volume = minute, 0.0

    def feed_switched(self) -> float:
        """How many times the usual volume the last minutes carry, if that is another feed's level, else 0.0.

        Below 1: one venue instead of the tape; above: the tape instead of one venue. Needs half an hour, and means
        something in regular hours only: after the close every feed is quiet.
        """
        if self.warm < 30 or self.slow <= 0.0:
            return 0.0
        times = self.fast / self.slow
        return times if times < 1.0 / _SWITCH or times > _SWITCH else 0.0

    def stale(self, now: float, bound_s: float) -> float:
        """Seconds of silence past `bound_s`, else 0.0; never seen at all is as long as `now`."""
        silent = now - self.seen_at
        return silent if silent > bound_s else 0.0
