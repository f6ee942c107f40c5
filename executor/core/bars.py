"""A bar as a market: the quote a name would have shown at the bar's close."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

from executor.core.events import Bars, Quote


def quote_of(bars: Bars, column: int) -> Quote | None:
    """``close × (1 ∓ spread / 2)``, each side rounded to the tick away from the mid; None without a close.

    The displayed size is unknown in a bar; a hundredth of its volume stands for it.
    """
    close, spread = float(bars.close[column]), float(bars.spread[column])
    if not isfinite(close) or close <= 0:
        return None
    half = close * spread / 2 if isfinite(spread) else 0.0
    places = 2 if close >= 1 else 4
    step = 10.0**-places
    bid = round(close - half, places) if half < step else _floor(close - half, step)
    ask = round(close + half, places) if half < step else -_floor(-close - half, step)
    size = int(bars.volume[column] / 100) if isfinite(float(bars.volume[column])) else 0
    return Quote(
        market_time=bars.market_time,
        now_ns=bars.now_ns,
        symbol=bars.symbols[column],
        bid=Decimal(f"{max(bid, step):.{places}f}"),
        ask=Decimal(f"{max(ask, step):.{places}f}"),
        bid_size=size,
        ask_size=size,
    )


def _floor(price: float, step: float) -> float:
    return (price // step) * step
