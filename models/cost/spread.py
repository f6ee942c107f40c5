"""Bid-ask spreads: quoted where there are quotes, estimated from daily bars where there are none.

The estimator is EDGE (Ardia, Guidotti and Kroencke, Journal of Financial Economics 161, 2024): two
moment conditions on open, high, low and close, weighted by their variances. For one large company it
is noisy: a year of daily bars at 1.5 % volatility resolves about 25 bp, several times the true
spread. So ``pooled_spread`` averages the *squared, signed* estimates over names of like turnover
before taking the root, which is where the noise cancels, and never goes under one tick.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import CostError

Floats = NDArray[np.float64]
DECIMALISATION = dt.date(2001, 4, 9)
"""From here US shares trade in cents; before, in sixteenths (eighths until 1997)."""
FLOOR_MAX = 0.0005
"""The tick floor counts for at most 5 bp: an adjusted close of a few cents is not a real tick size."""
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


def pooled_spread(  # noqa: PLR0917 (four prices in their usual order)
    open_: Floats, high: Floats, low: Floats, close: Floats, dollar_volume: Floats, day: dt.date
) -> Floats:
    """Estimated spread of each name on ``day`` as a fraction of price, (names,).

    Arrays are (bars x names) of raw bars up to ``day``; ``dollar_volume`` (names,) orders the names
    into pools of about fifty. Bounded below by one tick (at most 5 bp) and above by 2 %.
    """
    squared = edge_squared(open_, high, low, close)
    n = len(squared)
    spread = np.zeros(n)
    order = np.argsort(-np.nan_to_num(dollar_volume, nan=-1.0), kind="stable")
    for pool in np.array_split(order, max(1, n // NAMES_PER_POOL)):
        seen = squared[pool]
        seen = seen[np.isfinite(seen)]
        if seen.size:
            # One bad print must not set the spread of fifty names.
            low_cut, high_cut = np.quantile(seen, (0.05, 0.95))
            spread[pool] = np.sqrt(max(0.0, float(np.clip(seen, low_cut, high_cut).mean())))
    tick = 0.01 if day >= DECIMALISATION else 0.0625
    last = _last_finite(close)
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.where(last > 0.0, np.minimum(tick / last, FLOOR_MAX), FLOOR_MAX)
    return np.clip(spread, floor, SPREAD_MAX)


def _mean(x: Floats) -> Floats:
    count = np.sum(~np.isnan(x), axis=0)
    return np.where(count > 0, np.nansum(x, axis=0) / np.maximum(count, 1), np.nan)


def _last_finite(x: Floats) -> Floats:
    seen = np.isfinite(x)
    rows = np.where(seen.any(axis=0), len(x) - 1 - np.argmax(seen[::-1], axis=0), 0)
    return x[rows, np.arange(x.shape[1])]
