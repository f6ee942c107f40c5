"""Limit up, limit down: price bands and trading pauses of one session, as functions of its tape.

The reference price is the opening price for five minutes and from then on the mean print of the last five
minutes, looked at every thirty seconds. Nothing may execute outside reference x (1 +- share). When the best bid
stands at the upper band or the best offer at the lower one for fifteen seconds, trading pauses for five minutes
and begins again with the first print after that as its opening price. Source: section 2.7 of the reliability
specification (the plan itself moves the reference only by 1 % or more; that is left out).

A tape is known as a whole, so the bands and pauses of a session are computed once. `at` and `paused` are for an
instant and use nothing that the tape shows after it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.venue.tape import EXTENDED, SymbolTape
from market.venue.timestamps import MINUTE, SECOND

STEP = 30 * SECOND
WINDOW = 5 * MINUTE
LIMIT_STATE = 15 * SECOND
PAUSE = 5 * MINUTE
WIDE_BEFORE_CLOSE = 25 * MINUTE
ANY_PRICE = (0, 1 << 62)
"""The bands where there are none."""

_CENT, _USD = 100, 10_000
Ticks = NDArray[np.int64]


def half_width(close: int, tier: int) -> tuple[float, float]:
    """(share of the reference, most in ticks) to each side, by the previous close in ticks of 1/10,000 USD."""
    if close > 3 * _USD:
        return (0.05 if tier == 1 else 0.10), float("inf")
    if close >= 0.75 * _USD:
        return 0.20, float("inf")
    return 0.75, 0.15 * _USD


def bands_around(
    reference: NDArray[np.float64], close: int, tier: int, wide: NDArray[np.bool_]
) -> tuple[Ticks, Ticks]:
    """(lower, upper) in ticks, on the cent; twice as far where `wide`."""
    share, most = half_width(close, tier)
    width = np.minimum(reference * share, most) * np.where(wide, 2, 1)
    lower = np.maximum(np.rint((reference - width) / _CENT), 0).astype(np.int64) * _CENT
    upper = np.rint((reference + width) / _CENT).astype(np.int64) * _CENT
    return lower, upper


@dataclass(frozen=True, slots=True)
class Stretch:
    """Continuous trading from an opening print on: the bands of each thirty seconds since `begins`."""

    begins: int
    lower: Ticks
    upper: Ticks


@dataclass(frozen=True, slots=True)
class PriceLimits:
    """What limit up, limit down says about a session; `pauses` are (first instant, instant of resumption)."""

    close: int
    stretches: tuple[Stretch, ...]
    pauses: tuple[tuple[int, int], ...]

    def at(self, t: int) -> tuple[int, int]:
        """(lower, upper) band in ticks at `t`; ANY_PRICE before the opening print and outside regular hours."""
        if t >= self.close or not self.stretches or t < self.stretches[0].begins:
            return ANY_PRICE
        number = 0
        if self.pauses:
            # From a resumption to its first print there is no reference yet.
            ended = bisect_right(self.pauses, t, key=lambda pause: pause[1])
            number = bisect_right(self.stretches, t, key=lambda stretch: stretch.begins) - 1
            if number < ended:
                return ANY_PRICE
        stretch = self.stretches[number]
        step = (t - stretch.begins) // STEP
        return int(stretch.lower[step]), int(stretch.upper[step])

    def paused(self, t: int) -> bool:
        """Whether trading is paused at `t`."""
        return bool(self.pauses) and any(start <= t < end for start, end in self.pauses)


def price_limits(tape: SymbolTape, previous_close: int, tier: int) -> PriceLimits:
    """Bands and pauses of the session of `tape`; `previous_close` in ticks, 0 when unknown (the opening price then)."""
    stretches: list[Stretch] = []
    pauses: list[tuple[int, int]] = []
    begins_at = tape.session.open
    while True:
        stretch = _stretch(tape, begins_at, previous_close, tier)
        if stretch is None:
            break
        stretches.append(stretch)
        start = _first_pause(tape, stretch)
        if start is None:
            break
        # A pause that would reach the close ends with it: the closing cross is the resumption.
        begins_at = min(start + PAUSE, tape.session.close)
        pauses.append((start, begins_at))
    return PriceLimits(tape.session.close, tuple(stretches), tuple(pauses))


def _stretch(tape: SymbolTape, t: int, previous_close: int, tier: int) -> Stretch | None:
    """Trading that begins with the first print at or after `t`, or None when there is none before the close."""
    close = tape.session.close
    first = tape.trades_until(t - 1)
    while first < len(tape.price) and tape.kind[first] == EXTENDED and tape.trade_time(first) < close:
        first += 1
    if first >= len(tape.price) or tape.trade_time(first) >= close:
        return None
    begins, opening = tape.trade_time(first), float(tape.price[first])
    steps = np.arange(begins, close, STEP, dtype=np.int64)
    total = np.concatenate([[0.0], np.cumsum(tape.price.astype(np.float64))])
    high = tape.trade_times.searchsorted(steps - tape.shift, "right")
    low = np.maximum(tape.trade_times.searchsorted(steps - WINDOW - tape.shift, "right"), first)
    count = high - low
    mean = np.where(count > 0, (total[high] - total[low]) / np.maximum(count, 1), 0.0)
    mean[steps - begins < WINDOW] = opening
    # A quiet five minutes keep the reference they found.
    known = np.maximum.accumulate(np.where(mean > 0, np.arange(len(steps)), 0))
    wide = steps >= close - WIDE_BEFORE_CLOSE
    lower, upper = bands_around(mean[known], previous_close or int(opening), tier, wide)
    return Stretch(begins, lower, upper)


def _first_pause(tape: SymbolTape, stretch: Stretch) -> int | None:
    """When the first limit state of the stretch has lasted long enough."""
    close = tape.session.close
    low, high = tape.quotes_until(stretch.begins), tape.quotes_until(close - 1)
    steps = stretch.begins + STEP * np.arange(len(stretch.lower), dtype=np.int64)
    quoted = tape.quote_times[low:high].astype(np.int64) + tape.shift
    times = np.union1d(steps, quoted)
    shown = tape.quote_times.searchsorted(times - tape.shift, "right") - 1
    step = (times - stretch.begins) // STEP
    bid, ask = tape.bid[shown], tape.ask[shown]
    limit = (bid >= stretch.upper[step]) | ((ask > 0) & (ask <= stretch.lower[step]))
    limit &= shown >= 0
    if not limit.any():
        return None
    edge = np.flatnonzero(np.diff(np.concatenate([[0], limit.view(np.int8), [0]])))
    until = np.append(times, close)
    for start, end in zip(times[edge[::2]], until[edge[1::2]], strict=True):
        if end - start >= LIMIT_STATE and start + LIMIT_STATE < close:
            return int(start) + LIMIT_STATE
    return None
