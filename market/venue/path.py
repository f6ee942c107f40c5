"""A modelled intraday path from a daily bar: deterministic by seed, true to the bar, honest in nothing else.

The path starts at the open, touches the high and the low once each, ends at the close and prints the day's
volume exactly. Between those four anchors it is a Brownian bridge kept inside the day's range. One quote and one
print every `step` seconds; prints happen at the bid or at the ask, so the prints bounce and the bar still holds.

Every number here that is not in the daily bar is an assumption:

    spread        = clip(60 / sqrt(dollar volume in millions), 0.8, 60) basis points, x (1 + 2 exp(-minutes/10))
    volume        U-shaped over the day with log-normal noise; 3 % in the opening cross, 8 % in the closing cross
    shown size    20 to 60 % of the average print in round lots, at least 100 shares
    off hours     one wide quote every five minutes, no prints
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

from market.venue.daily import DailyBar, DailyHistory
from market.venue.decimals import PRICE_SCALE
from market.venue.sessions import Session
from market.venue.tape import CLOSING, OPENING, REGULAR, SymbolTape
from market.venue.timestamps import SECOND

OPENING_SHARE, CLOSING_SHARE = 0.03, 0.08
_OFF_HOURS_STEP_S = 300
_LOT = 100
FloatArray = NDArray[np.float64]


def seed_of(*parts: object) -> int:
    """A 64-bit seed that depends on every part and on nothing of the process."""
    return int.from_bytes(hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


@functools.lru_cache(maxsize=16)
def _grids(session: Session, step_s: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
    """Quote times, print times, and how many quotes come before and after the regular session."""
    regular = np.arange(session.open, session.close, step_s * SECOND, dtype=np.int64)
    # The closing print lies in the last second, so that at the bell the last price is the close.
    regular[-1] = session.close - SECOND
    before = np.arange(session.pre_open, session.open, _OFF_HOURS_STEP_S * SECOND, dtype=np.int64)
    after = np.arange(
        session.close + _OFF_HOURS_STEP_S * SECOND,
        session.post_close,
        _OFF_HOURS_STEP_S * SECOND,
        dtype=np.int64,
    )
    quotes = np.concatenate([before, regular, after])
    quotes.flags.writeable = False
    regular.flags.writeable = False
    return quotes, regular, len(before), len(after)


def walk(rng: np.random.Generator, bar: DailyBar, steps: int) -> FloatArray:
    """Prices of `steps` points in USD: first the open, last the close, all inside low..high, both touched.

    When the open or close is itself the high or the low no further point is needed for it.
    """
    anchors: list[tuple[int, float]] = [(0, bar.open), (steps - 1, bar.close)]
    first, second = sorted(rng.choice(np.arange(1, steps - 1), size=2, replace=False).tolist())
    # A falling day tends to make its high first; a coin decides when it is unclear.
    falling = (
        bar.close < bar.open if abs(bar.close - bar.open) > 0.2 * (bar.high - bar.low) else rng.random() < 0.5
    )
    anchors += [(first, bar.high), (second, bar.low)] if falling else [(first, bar.low), (second, bar.high)]
    anchors.sort()
    at = np.array([a for a, _ in anchors])
    level = np.interp(np.arange(steps), at, [price for _, price in anchors])
    spread = bar.high - bar.low
    noise = np.cumsum(rng.standard_normal(steps)) * spread / np.sqrt(steps) * 0.6
    bridge = noise - np.interp(np.arange(steps), at, noise[at])
    path: FloatArray = np.clip(level + bridge, bar.low, bar.high)
    path[at] = [price for _, price in anchors]
    return path


def share_out(rng: np.random.Generator, volume: int, steps: int) -> NDArray[np.int64]:
    """Whole shares a print: crosses at both ends, a noisy U between them; sums to `volume` exactly."""
    x = np.linspace(-1.0, 1.0, steps)
    weight = (0.6 + 1.4 * x**4 + 0.3 * x**2) * np.exp(0.8 * rng.standard_normal(steps))
    weight[0] = weight[-1] = 0.0
    weight *= (1.0 - OPENING_SHARE - CLOSING_SHARE) / weight.sum()
    weight[0], weight[-1] = OPENING_SHARE, CLOSING_SHARE
    edges = np.floor(np.cumsum(weight) * volume + 1e-6).astype(np.int64)
    edges[-1] = volume
    return np.diff(edges, prepend=0)


def build_from_daily(
    history: DailyHistory, symbol: str, session: Session, *, seed: int, step_s: int = 5
) -> SymbolTape | None:
    """The session of `symbol` modelled from its daily bar, or None when it has no bar that day."""
    bar = history.on(symbol, session.day)
    if bar is None:
        return None
    rng = np.random.default_rng(seed_of(seed, symbol, session.day.isoformat()))
    quote_times, trade_times, before, after = _grids(session, step_s)
    steps = len(trade_times)
    low, high = round(bar.low * PRICE_SCALE), round(bar.high * PRICE_SCALE)
    tick = 100 if bar.low >= 1 else 1

    exact = walk(rng, bar, steps) * PRICE_SCALE
    price = np.clip(np.rint(exact / tick).astype(np.int64) * tick, low, high)
    # The four figures of the bar may carry finer decimals than a tick; they are printed as they are.
    touch_high, touch_low = int(np.argmax(exact)), int(np.argmin(exact))
    price[touch_high], price[touch_low] = high, low
    price[0], price[-1] = round(bar.open * PRICE_SCALE), round(bar.close * PRICE_SCALE)
    size = share_out(rng, int(bar.volume), steps)

    millions = max(bar.volume * bar.close / 1e6, 1e-6)
    basis = np.clip(60.0 / np.sqrt(millions), 0.8, 60.0) / 1e4
    minutes = (trade_times - session.open) / (60 * SECOND)
    width = basis * (1 + 2 * np.exp(-minutes / 10)) * rng.uniform(0.7, 1.4, steps)
    gap = np.maximum(np.rint(price * width / tick), 1).astype(np.int64) * tick
    at_ask = rng.random(steps) < 0.5
    bid = np.where(at_ask, price - gap, price)
    ask = np.where(at_ask, price, price + gap)
    # Quotes sit on the tick even where a print (the bar's own figure) does not.
    bid = np.maximum(bid // tick * tick, tick)
    ask = np.maximum(-(-ask // tick) * tick, bid + tick)

    average = max(float(bar.volume) / steps, 1.0)
    lots = np.maximum(np.rint(average * rng.uniform(0.2, 0.6, (2, steps)) / _LOT), 1).astype(np.int64)
    shown = np.minimum(lots, 500) * _LOT

    previous = history.before(symbol, session.day)
    calm = int(10 * basis * price[0] / tick + 1) * tick
    early = _off_hours(previous.close if previous else bar.open, bar.open, before, calm, tick)
    late = _off_hours(bar.close, bar.close, after, calm, tick)
    hundred = np.full(before + after, _LOT, dtype=np.int64)

    traded = size > 0
    kind = np.full(steps, REGULAR, dtype=np.int8)
    kind[0], kind[-1] = OPENING, CLOSING
    return SymbolTape(
        symbol=symbol,
        session=session,
        # Symbols do not all tick in the same instant: each has its own phase inside the second.
        shift=int(rng.integers(1, 900)) * 1_000_000,
        quote_times=quote_times,
        bid=_small(np.concatenate([early[0], bid, late[0]])),
        ask=_small(np.concatenate([early[1], ask, late[1]])),
        bid_size=np.concatenate([hundred[:before], shown[0], hundred[before:]]).astype(np.int32),
        ask_size=np.concatenate([hundred[:before], shown[1], hundred[before:]]).astype(np.int32),
        trade_times=trade_times if traded.all() else trade_times[traded],
        price=_small(price[traded]),
        size=_small(size[traded]),
        kind=kind[traded],
    )


def _off_hours(
    start: float, end: float, count: int, gap: int, tick: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    middle = np.linspace(start, end, count) * PRICE_SCALE if count else np.zeros(0)
    bid = np.maximum(np.floor((middle - gap / 2) / tick).astype(np.int64) * tick, tick)
    return bid, bid + gap


def _small(values: NDArray[np.int64]) -> NDArray[np.integer]:
    """32 bits where they suffice (prices up to 214,748 USD): half the memory of five hundred sessions."""
    if len(values) and values.max() > np.iinfo(np.int32).max:
        return values
    return values.astype(np.int32)
