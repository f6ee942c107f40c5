"""Limit up, limit down: price bands and trading pauses of one session, as functions of its tape.

The reference price is the opening price for five minutes and from then on the mean print of the last five
minutes, looked at every thirty seconds and renewed when it has moved by 1 %. Nothing may execute outside
reference x (1 +- share) but the crosses. When the best bid stands at the upper band or the best offer at the lower
one for fifteen seconds (a limit state), trading pauses for five minutes. A bid under the lower band or an offer
over the upper one, with the other side inside, is a straddle state: the listing exchange may pause for it.

A pause ends in an auction whose price must lie within a collar: from the band that was not hit to 5 % (0.15 USD up
to 3 USD) beyond the one that was. Where it does not, the pause lasts another five minutes and the collar grows by
as much again on that side. A pause that would end in the last ten minutes lasts to the close, whose cross ends it.
Sources: the LULD plan, sections V to VII, with amendments 12 and 18; Nasdaq 4120(c)(10) for the collars.

A tape is known as a whole, so the bands and pauses of a session are computed once. `at` and `paused` are for an
instant and use nothing that the tape shows after it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from market.venue.stops import Stop, indicative_price
from market.venue.tape import EXTENDED, SymbolTape
from market.venue.timestamps import MINUTE, NEVER, SECOND

STEP = 30 * SECOND
WINDOW = 5 * MINUTE
LIMIT_STATE = 15 * SECOND
PAUSE = 5 * MINUTE
WIDE_BEFORE_CLOSE = 25 * MINUTE
NO_REOPENING_BEFORE_CLOSE = 10 * MINUTE
RENEWAL = 0.01
NARROW_AT_THE_CLOSE = date(2020, 2, 24)
"""Since then (amendment 18) tier 2 names above 3 USD keep their bands at the close."""
ANY_PRICE = (0, NEVER)
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

    def until(self, t: int) -> Stretch:
        """The stretch as far as `t`: the bands then in force stay."""
        steps = (t - self.begins) // STEP + 1
        return Stretch(self.begins, self.lower[:steps], self.upper[:steps])


@dataclass(frozen=True, slots=True)
class PriceLimits:
    """What limit up, limit down says about a session: bands, stops of trading, and straddle states."""

    close: int
    stretches: tuple[Stretch, ...] = ()
    stops: tuple[Stop, ...] = ()
    straddles: tuple[tuple[int, int], ...] = ()

    @property
    def pauses(self) -> tuple[tuple[int, int], ...]:
        """(first instant, instant of resumption) of each stop."""
        return tuple((stop.start, stop.end) for stop in self.stops)

    def at(self, t: int) -> tuple[int, int]:
        """(lower, upper) band in ticks at `t`; ANY_PRICE before the opening print and outside regular hours."""
        if t >= self.close or not self.stretches or t < self.stretches[0].begins:
            return ANY_PRICE
        number = 0
        if len(self.stretches) > 1:
            number = bisect_right(self.stretches, t, key=lambda stretch: stretch.begins) - 1
        stretch = self.stretches[number]
        step = min((t - stretch.begins) // STEP, len(stretch.lower) - 1)
        return int(stretch.lower[step]), int(stretch.upper[step])

    def changes(self, after: int) -> list[int]:
        """The instants after `after` at which the bands change."""
        found: list[int] = []
        for stretch in self.stretches:
            moved = np.diff(stretch.lower) | np.diff(stretch.upper)
            found += [stretch.begins, *(stretch.begins + STEP * (np.flatnonzero(moved) + 1)).tolist()]
        if found:
            found.append(self.close)
        return [t for t in found if t > after]

    def stopped(self, t: int) -> Stop | None:
        """The stop that `t` lies in."""
        return next((stop for stop in self.stops if stop.start <= t < stop.end), None)

    def paused(self, t: int) -> bool:
        """Whether trading stands still at `t`."""
        return self.stopped(t) is not None

    def straddling(self, t: int) -> bool:
        """Whether one side of the quote stands outside the bands at `t` and the other inside."""
        return any(start <= t < end for start, end in self.straddles)


def price_limits(
    tape: SymbolTape,
    previous_close: int,
    tier: int,
    halts: Sequence[Stop] = (),
    *,
    bands: bool = True,
    straddle_pause: int = 0,
) -> PriceLimits:
    """Bands and stops of the session of `tape` as it was built.

    `previous_close` in ticks, 0 when unknown (the opening price then). `halts` are the stops that others have
    ordered; without `bands` there are only they. A straddle state of `straddle_pause` nanoseconds pauses too, 0: never.
    """
    close = tape.session.close
    stretches: list[Stretch] = []
    stops: list[Stop] = []
    straddles: list[tuple[int, int]] = []
    waiting = sorted(halts, key=lambda stop: stop.start)
    begins, opening = tape.session.pre_open, 0
    while True:
        following = waiting[0] if waiting else None
        found: Stop | None = None
        stretch = _stretch(tape, begins, opening, previous_close, tier) if bands else None
        if stretch is not None and (following is None or stretch.begins < following.start):
            until = min(close, following.start if following else close)
            states = _states(tape, stretch, until)
            found = _first_pause(tape, stretch, states, straddle_pause)
            straddles += [
                (start, end if found is None else min(end, found.start))
                for start, end, side in states
                if not side and (found is None or start < found.start)
            ]
        if found is None and following is None:
            if stretch is not None:
                stretches.append(stretch)
            break
        found = found or waiting.pop(0)
        if stretch is not None and stretch.begins < found.start:
            stretches.append(stretch.until(found.start))
        found = _joined(tape, found, waiting)
        stops.append(found)
        begins, opening = found.end, found.price
        if begins >= close and not waiting:
            break
    return PriceLimits(close, tuple(stretches), tuple(stops), tuple(straddles))


def _joined(tape: SymbolTape, stop: Stop, waiting: list[Stop]) -> Stop:
    """The stop with those that begin before it ends, and the auction that ends it."""
    end, lifted_by_hand, closing = stop.end, stop.lifted_by_hand, stop.closing
    while waiting and waiting[0].start <= end:
        other = waiting.pop(0)
        if other.end >= end:
            end, lifted_by_hand, closing = other.end, other.lifted_by_hand, other.closing
    price = stop.price
    if end != stop.end or not price:
        price = (
            indicative_price(tape, stop.start, end) if tape.session.open <= end < tape.session.close else 0
        )
    return Stop(stop.start, end, stop.code, 0 if closing else price, closing, stop.by_hand, lifted_by_hand)


def _stretch(tape: SymbolTape, t: int, opening: int, previous_close: int, tier: int) -> Stretch | None:
    """Trading from the auction at `t`, or without one from the first print there; None when there is none."""
    session = tape.session
    begins_at = max(t, session.open)
    if begins_at >= session.close:
        return None
    first = tape.trades_until(begins_at - 1)
    begins = begins_at
    if not opening:
        while (
            first < len(tape.price)
            and tape.kind[first] == EXTENDED
            and tape.trade_time(first) < session.close
        ):
            first += 1
        if first >= len(tape.price) or tape.trade_time(first) >= session.close:
            return None
        begins, opening = tape.trade_time(first), int(tape.price[first])
    steps = np.arange(begins, session.close, STEP, dtype=np.int64)
    total = np.concatenate([[0.0], np.cumsum(tape.price.astype(np.float64))])
    high = tape.trade_times.searchsorted(steps - tape.shift, "right")
    low = np.maximum(tape.trade_times.searchsorted(steps - WINDOW - tape.shift, "right"), first)
    count = high - low
    mean = np.where(count > 0, (total[high] - total[low]) / np.maximum(count, 1), 0.0)
    mean[steps - begins < WINDOW] = opening
    wide = steps >= session.close - WIDE_BEFORE_CLOSE
    close = previous_close or opening
    if tier == 2 and close > 3 * _USD and session.day >= NARROW_AT_THE_CLOSE:
        wide[:] = False
    lower, upper = bands_around(_renewed(mean, float(opening)), close, tier, wide)
    return Stretch(begins, lower, upper)


def _renewed(mean: NDArray[np.float64], reference: float) -> NDArray[np.float64]:
    """The reference in force: a new mean counts when it is 1 % away; a quiet five minutes (0) keep it."""
    in_force: list[float] = []
    for candidate in mean.tolist():
        if candidate and abs(candidate - reference) >= RENEWAL * reference:
            reference = candidate
        in_force.append(reference)
    return np.array(in_force)


def _states(tape: SymbolTape, stretch: Stretch, until: int) -> list[tuple[int, int, int]]:
    """Limit and straddle states of the stretch: (start, end, side), side 1 limit up, -1 limit down, 0 straddle."""
    low, high = tape.quotes_until(stretch.begins), tape.quotes_until(until - 1)
    steps = stretch.begins + STEP * np.arange(len(stretch.lower), dtype=np.int64)
    quoted = tape.quote_times[low:high].astype(np.int64) + tape.shift
    times = np.union1d(steps[steps < until], quoted)
    if not len(times):
        return []
    shown = tape.quote_times.searchsorted(times - tape.shift, "right") - 1
    step = (times - stretch.begins) // STEP
    bid, ask = tape.bid[shown].astype(np.int64), tape.ask[shown].astype(np.int64)
    lower, upper = stretch.lower[step], stretch.upper[step]
    known = shown >= 0
    up, down = known & (bid >= upper), known & (ask > 0) & (ask <= lower)
    straddle = known & ~up & ~down & (((bid > 0) & (bid < lower)) | (ask > upper))
    code = np.select([up, down, straddle], [1, -1, 0], default=2)
    if (code == 2).all():
        return []
    edges = np.flatnonzero(np.diff(code)) + 1
    starts = np.concatenate([[0], edges])
    ends = np.append(times, until)[np.append(edges, len(times))]
    return [
        (int(times[start]), int(end), int(code[start]))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        if code[start] != 2
    ]


def _first_pause(
    tape: SymbolTape, stretch: Stretch, states: list[tuple[int, int, int]], straddle_pause: int
) -> Stop | None:
    """The pause that the first state of sufficient length brings."""
    for start, end, side in states:
        needed = LIMIT_STATE if side else straddle_pause
        if needed and end - start >= needed and start + needed < tape.session.close:
            return _pause(tape, stretch, start + needed, side)
    return None


def _pause(tape: SymbolTape, stretch: Stretch, start: int, side: int) -> Stop:
    """A pause from `start` until an auction price lies within the collar, or to the close."""
    step = (start - stretch.begins) // STEP
    low, high = int(stretch.lower[step]), int(stretch.upper[step])
    more_below, more_above = (max(band // 20, 0) if band > 3 * _USD else 15 * _CENT for band in (low, high))
    low -= more_below if side <= 0 else 0
    high += more_above if side >= 0 else 0
    close, end = tape.session.close, start + PAUSE
    code = "LUDP" if side else "LUDS"
    while end < close - NO_REOPENING_BEFORE_CLOSE:
        price = indicative_price(tape, start, end)
        if low <= price <= high:
            return Stop(start, end, code, price)
        low -= more_below if price < low else 0
        high += more_above if price > high else 0
        end += PAUSE
    return Stop(start, close, code, closing=True)
