"""A bar as a market: the quote a name would have shown at the bar's close."""

from __future__ import annotations

from decimal import Decimal
from math import ceil, floor, isfinite

import numpy as np

from executor.core.events import Bars, Quote

ROUNDING = 1e-6
"""Of a tick: less is a float's rounding."""


def quotes_of(bars: Bars, columns: list[int]) -> list[Quote | None]:
    """:func:`quote_of` for many columns at once: the same quotes, one pass of array arithmetic."""
    close, spread, volume = bars.close[columns], bars.spread[columns], bars.volume[columns]
    with np.errstate(invalid="ignore"):
        traded = np.isfinite(close) & (close > 0)
        close = np.where(traded, close, 1.0)
        half = np.where(np.isfinite(spread), close * spread / 2, 0.0)
        dollars = close >= 1
        per_usd = np.where(dollars, 100.0, 10_000.0)
        bid = np.maximum(np.floor((close - half) * per_usd + ROUNDING), 1.0).astype(np.int64).tolist()
        ask = np.maximum(np.ceil((close + half) * per_usd - ROUNDING), 1.0).astype(np.int64).tolist()
        size = np.where(np.isfinite(volume), volume / 100, 0.0).astype(np.int64).tolist()
    places = np.where(dollars, -2, -4).tolist()
    symbols, at, now_ns = bars.symbols, bars.market_time, bars.now_ns
    return [
        Quote(
            market_time=at,
            now_ns=now_ns,
            symbol=symbols[column],
            bid=Decimal(bid[i]).scaleb(places[i]),
            ask=Decimal(ask[i]).scaleb(places[i]),
            bid_size=size[i],
            ask_size=size[i],
        )
        if seen
        else None
        for i, (column, seen) in enumerate(zip(columns, traded.tolist(), strict=True))
    ]


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
