"""Bid-ask spreads: quoted where there are quotes, estimated from daily bars where there are none.

The estimator is EDGE (Ardia, Guidotti and Kroencke, Journal of Financial Economics 161, 2024): two
moment conditions on open, high, low and close, weighted by their variances. On daily bars of large
companies it has two troubles, measured on the S&P 500 of 2001-2021:

* noise: a year of bars at 1.5 % volatility resolves about 25 bp, several times the true spread. So
  ``pooled_spread`` takes the median of the *squared, signed* estimates over names of like turnover;
* bias: prices that overshoot and come back look like a bounce between bid and ask, to all names alike
  (medians of 30 to 60 bp for the most traded names, which quote a cent). So what the most liquid tenth
  shows beyond its tick is taken off everywhere.

No name comes out below its tick.
"""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import CostError

Floats = NDArray[np.float64]
DECIMALISATION = dt.date(2001, 4, 9)
"""From here US shares trade in cents; before, in sixteenths (eighths until 1997)."""
TICK_MAX = 0.0005
TICK_MAX_BEFORE = 0.0025
"""A tick counts for at most this fraction of price: an adjusted close of a few cents had no such tick."""
SPREAD_MIN = 0.0001
"""A cent on a thousand dollars is no spread anyone quotes."""
SPREAD_MAX = 0.02
NAMES_PER_POOL = 50


def quoted_spread(bid: float, ask: float) -> float:
    """(ask - bid) / midpoint, as a fraction of price. A crossed or empty quote is an error.

    Raises:
        CostError: a quote with a side missing or with bid over ask.
    """
    if not (0.0 < bid <= ask):
        raise CostError(f"no spread in a quote of bid {bid}, ask {ask}: it lacks a side or is crossed")
    return (ask - bid) / (0.5 * (ask + bid))


def edge_squared(open_: ArrayLike, high: ArrayLike, low: ArrayLike, close: ArrayLike) -> Floats:
    """Signed squared EDGE spread of each column, NaN where the bars do not identify it.

    Arrays are (bars,) or (bars x names), oldest first; bars with a NaN are left out.
    """
    bars = [np.atleast_2d(np.asarray(x, dtype=np.float64).T).T for x in (open_, high, low, close)]
    shapes = [x.shape for x in bars]
    if len(set(shapes)) > 1:
        raise CostError(f"open, high, low and close differ in shape: {shapes}")
    o, h, low_, c = (np.log(x) for x in bars)
    if len(o) < 3:
        return np.full(o.shape[1], np.nan)
    mid = (h + low_) / 2.0
    h1, l1, c1, m1 = h[:-1], low_[:-1], c[:-1], mid[:-1]
    o, h, low_, c, mid = o[1:], h[1:], low_[1:], c[1:], mid[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        r1, r2, r3, r4, r5 = mid - o, o - m1, mid - c1, c1 - m1, o - c1
        tau = np.where(np.isnan(h) | np.isnan(low_) | np.isnan(c1), np.nan, (h != low_) | (low_ != c1))

        def share(left: Floats, right: Floats) -> Floats:
            """Mean of the event  tau and left != right  over the bars that can tell."""
            seen = np.isnan(tau) | np.isnan(left) | np.isnan(right)
            return _mean(np.where(seen, np.nan, tau * (left != right)))

        at_open = share(o, h) + share(o, low_)
        at_close = share(c1, h1) + share(c1, l1)
        p_tau = _mean(tau)
        unidentified = (np.nansum(tau, axis=0) < 2) | (at_open == 0) | (at_close == 0)
        d1 = r1 - _mean(r1) / p_tau * tau
        d3 = r3 - _mean(r3) / p_tau * tau
        d5 = r5 - _mean(r5) / p_tau * tau
        x1 = -4.0 / at_open * d1 * r2 - 4.0 / at_close * d3 * r4
        x2 = -4.0 / at_open * d1 * r5 - 4.0 / at_close * d5 * r4
        e1, e2 = _mean(x1), _mean(x2)
        v1 = _mean(x1 * x1) - e1 * e1
        v2 = _mean(x2 * x2) - e2 * e2
        total = v1 + v2
        squared = np.where(total > 0.0, (v2 * e1 + v1 * e2) / total, 0.5 * (e1 + e2))
    return np.where(unidentified, np.nan, squared)


def edge(
    open_: ArrayLike, high: ArrayLike, low: ArrayLike, close: ArrayLike, *, signed: bool = False
) -> float:
    """EDGE spread of one name as a fraction of price (0.01 = 1 %); the sign kept if ``signed``.

    A negative signed estimate means the true spread is too small to be seen in these bars.
    """
    squared = float(edge_squared(open_, high, low, close)[0])
    size = float(np.sqrt(abs(squared)))
    return -size if signed and squared < 0.0 else size


def pooled_spread(
    open_: Floats, high: Floats, low: Floats, close: Floats, dollar_volume: Floats, day: dt.date
) -> Floats:
    """Estimated spread of each name on ``day`` as a fraction of price, (names,).

    Arrays are (bars x names) of raw bars up to ``day``; ``dollar_volume`` (names,) orders the names
    into pools of about fifty. Between one tick (and 1 bp) and 2 %.
    """
    squared = edge_squared(open_, high, low, close)
    tick = tick_fraction(_last_finite(close), day)
    order = np.argsort(-np.nan_to_num(dollar_volume, nan=-1.0), kind="stable")
    liquid = order[: max(1, math.ceil(0.1 * len(order)))]
    bias = max(0.0, _median(squared[liquid]) - _median(tick[liquid] ** 2))
    spread = np.zeros(len(squared))
    for pool in np.array_split(order, max(1, round(len(order) / NAMES_PER_POOL))):
        spread[pool] = math.sqrt(max(0.0, _median(squared[pool]) - bias))
    return np.clip(spread, np.maximum(tick, SPREAD_MIN), SPREAD_MAX)


def tick_fraction(price: Floats, day: dt.date) -> Floats:
    """One tick as a fraction of price, (names,): a cent since decimalisation, a sixteenth before."""
    tick, most = (0.01, TICK_MAX) if day >= DECIMALISATION else (0.0625, TICK_MAX_BEFORE)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(price > 0.0, np.minimum(tick / price, most), most)


def _median(x: Floats) -> float:
    seen = x[np.isfinite(x)]
    return float(np.median(seen)) if seen.size else 0.0


def _mean(x: Floats) -> Floats:
    count = np.sum(~np.isnan(x), axis=0)
    return np.where(count > 0, np.nansum(x, axis=0) / np.maximum(count, 1), np.nan)


def _last_finite(x: Floats) -> Floats:
    seen = np.isfinite(x)
    rows = np.where(seen.any(axis=0), len(x) - 1 - np.argmax(seen[::-1], axis=0), 0)
    return x[rows, np.arange(x.shape[1])]
