"""Market-wide circuit breakers: the whole market stops when its index falls 7, 13 or 20 % under the last close.

Levels 1 and 2 stop trading for fifteen minutes, each once a day and not in the last thirty-five minutes of a
session; level 3 ends the day at any time. Source: NYSE rule 7.12 (the levels of 2013). The index is SPY where the
tape has it, else the mean of every name's price over its last close.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from market.venue.sessions import Session
from market.venue.stops import Stop
from market.venue.tape import SymbolTape
from market.venue.timestamps import MINUTE, SECOND

LEVELS = (0.07, 0.13, 0.20)
HALT = 15 * MINUTE
NOT_BEFORE_CLOSE = 35 * MINUTE
INDEX = "SPY"


def index_path(
    tapes: Iterable[tuple[SymbolTape | None, int]], seconds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The index at each of `seconds` with the last close as 1; `tapes` with their last closes in ticks."""
    total, names = np.zeros(len(seconds)), 0
    for tape, close in tapes:
        if tape is None or close <= 0 or not len(tape.price):
            continue
        names += 1
        printed = tape.trade_times.searchsorted(seconds - tape.shift, "right")
        first = tape.trades_until(tape.session.open - 1)
        total += np.where(printed > first, tape.price[np.maximum(printed - 1, 0)] / close, 1.0)
    return total / names if names else np.ones(len(seconds))


def market_stops(tapes: Iterable[tuple[SymbolTape | None, int]], session: Session) -> tuple[Stop, ...]:
    """The breakers of a session, first to last; no auction price in them, every symbol has its own."""
    seconds = np.arange(session.open, session.close, SECOND, dtype=np.int64)
    fall = 1.0 - index_path(tapes, seconds)
    stops: list[Stop] = []
    reached, begins = 0, session.open
    while reached < len(LEVELS):
        breached = np.flatnonzero((fall >= LEVELS[reached] - 1e-12) & (seconds >= begins))
        if not len(breached):
            break
        at = int(breached[0])
        t = int(seconds[at])
        reached = int(np.searchsorted(LEVELS, fall[at] + 1e-12, "right"))
        if reached == len(LEVELS):
            stops.append(Stop(t, session.post_close, "MWC3"))
        elif t < session.close - NOT_BEFORE_CLOSE:
            stops.append(Stop(t, t + HALT, f"MWC{reached}"))
            begins = t + HALT
        else:
            begins = t + SECOND
    return tuple(stops)
