"""A bar as a market: the quote a name would have shown at the bar's close."""

from __future__ import annotations

from decimal import Decimal
from math import ceil, floor, isfinite

from executor.core.events import Bars, Quote

ROUNDING = 1e-6
"""Of a tick: less is a float's rounding."""


def quote_of(bars: Bars, column: int) -> Quote | None:
    """``close × (1 ∓ spread / 2)``, each side rounded to the tick away from the mid; None without a close.

    The displayed size is unknown in a bar; a hundredth of its volume stands for it.
    """
    close, spread = float(bars.close[column]), float(bars.spread[column])
    if not isfinite(close) or close <= 0:
        return None
    half = close * spread / 2 if isfinite(spread) else 0.0
    per_usd, places = (100, 2) if close >= 1 else (10_000, 4)
    bid = max(floor((close - half) * per_usd + ROUNDING), 1)
    ask = max(ceil((close + half) * per_usd - ROUNDING), 1)
    size = int(bars.volume[column] / 100) if isfinite(float(bars.volume[column])) else 0
    return Quote(
        market_time=bars.market_time,
        now_ns=bars.now_ns,
        symbol=bars.symbols[column],
        bid=Decimal(bid).scaleb(-places),
        ask=Decimal(ask).scaleb(-places),
        bid_size=size,
        ask_size=size,
    )
