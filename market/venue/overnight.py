"""The overnight session, 20:00 to 4:00 New York before each trade date: modelled, like the path of a daily bar.

Nobody here has recorded an alternative trading system at night, so all of it is a model, and it knows nothing of the
day to come: a random walk around the last close, wide quotes once a minute, a small print every five minutes.

    walk          sigma over the eight hours = 30 % of the last session's range, cut at 2 % to each side
    spread        20 basis points, two ticks at least
    shown size    one to three round lots a side
    prints        10 to 100 shares at the bid or the ask, extended-hours prints: they elect no stop

The session is put in front of the day's own quotes and prints, so orders meet it in the same book; the feeds keep it
apart (feeds.py).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from market.venue.daily import DailyHistory
from market.venue.decimals import PRICE_SCALE
from market.venue.path import seed_of
from market.venue.tape import EXTENDED, SymbolTape
from market.venue.timestamps import MINUTE

QUOTE_EVERY = MINUTE
QUOTES_A_PRINT = 5
_SHARE_OF_RANGE, _WIDEST, _SPREAD = 0.3, 0.02, 0.002
_LOT = 100

_grids: dict[int, tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]] = {}
"""Joined time grids by the identity of (first grid, the grid itself): modelled symbols share theirs."""
_GRIDS_MAX = 64


def with_overnight(tape: SymbolTape, history: DailyHistory, *, seed: int) -> SymbolTape:
    """The session of `tape` with its night before it; unchanged when no earlier close is known."""
    session = tape.session
    before, today = history.before(tape.symbol, session.day), history.on(tape.symbol, session.day)
    if before is None or before.close <= 0:
        return tape
    split = today.split if today is not None and today.split > 0 else 1.0
    close = before.close / split
    rng = np.random.default_rng(seed_of(seed, "overnight", tape.symbol, session.day.isoformat()))
    times = np.arange(session.overnight_open, session.pre_open, QUOTE_EVERY, dtype=np.int64)
    tick = 100 if close >= 1 else 1
    spread_of_day = max(before.high - before.low, 0.0) / split
    steps = rng.standard_normal(len(times)) * _SHARE_OF_RANGE * spread_of_day / np.sqrt(len(times))
    middle = np.clip(close + np.cumsum(steps), close * (1 - _WIDEST), close * (1 + _WIDEST)) * PRICE_SCALE
    gap = np.maximum(np.rint(middle * _SPREAD / tick), 2).astype(np.int64) * tick
    bid = np.maximum(np.floor((middle - gap / 2) / tick).astype(np.int64) * tick, tick)
    ask = bid + gap
    shown = rng.integers(1, 4, (2, len(times))) * _LOT
    joined = dataclasses.replace(
        tape,
        quote_times=_joined(times, tape.quote_times),
        bid=_before(bid, tape.bid),
        ask=_before(ask, tape.ask),
        bid_size=_before(shown[0], tape.bid_size),
        ask_size=_before(shown[1], tape.ask_size),
    )
    if not len(tape.price):
        return joined  # a tape of quotes alone has its price from them; a print at night would hold all day
    at = np.arange(QUOTES_A_PRINT - 1, len(times), QUOTES_A_PRINT)
    price = np.where(rng.random(len(at)) < 0.5, ask[at], bid[at])
    size = rng.integers(1, 11, len(at)) * 10
    return dataclasses.replace(
        joined,
        trade_times=_joined(times[at], tape.trade_times),
        price=_before(price, tape.price),
        size=_before(size, tape.size),
        kind=_before(np.full(len(at), EXTENDED), tape.kind),
    )


def _before(night: NDArray[np.int64], day: NDArray[np.integer]) -> NDArray[np.integer]:
    return np.concatenate([night.astype(day.dtype), day])


def _joined(night: NDArray[np.int64], day: NDArray[np.integer]) -> NDArray[np.integer]:
    known = _grids.get(id(day))
    if known is not None and known[0] is day and np.array_equal(known[1], night):
        return known[2]
    if len(_grids) >= _GRIDS_MAX:
        _grids.clear()
    joined = np.concatenate([night, day])
    joined.flags.writeable = False
    _grids[id(day)] = (day, night, joined)
    return joined
