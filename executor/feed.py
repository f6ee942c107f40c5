"""Market data as events of the core: vendor records in, events out, nothing else."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from executor.core.events import Event, PriceBand, Quote, Trade, TradingStatus
from market.streams import polygon

Translate = Callable[[Any, dt.datetime, int, bool], Event | None]


def quote_event(record: Any, market_now: dt.datetime, now_ns: int, replayed: bool) -> Quote | None:
    """A quote record as an event; None for one with a price that is no finite, non-negative number.

    In a replay the venue's clock runs faster than delivery, so age counts from receipt only.
    """
    bid, ask = record.bid, record.ask
    if not (bid >= 0 and ask >= 0 and math.isfinite(bid + ask)):
        return None
    at = record.at
    return Quote(
        market_time=at,
        now_ns=now_ns,
        symbol=record.symbol,
        bid=Decimal(repr(bid)),
        ask=Decimal(repr(ask)),
        bid_size=int(record.bid_size),
        ask_size=int(record.ask_size),
        age_at_receipt_ms=0.0 if replayed else (market_now - at).total_seconds() * 1e3,
    )


def trade_event(record: Any, market_now: dt.datetime, now_ns: int, replayed: bool) -> Trade | None:
    """A print; None for one whose price or size is no positive number."""
    if not (record.price > 0 and record.size > 0 and math.isfinite(record.price + record.size)):
        return None
    return Trade(
        market_time=record.at,
        now_ns=now_ns,
        symbol=record.symbol,
        price=Decimal(repr(record.price)),
        size=int(record.size),
        trade_id=str(record.trade_id),
    )


def status_event(record: Any, market_now: dt.datetime, now_ns: int, replayed: bool) -> TradingStatus:
    """A halt, pause or resumption, in the tape's own codes."""
    return TradingStatus(
        market_time=record.at, now_ns=now_ns, symbol=record.symbol, code=record.code, reason=record.reason
    )


def band_event(record: Any, market_now: dt.datetime, now_ns: int, replayed: bool) -> Event | None:
    """A price band; Polygon tells pauses with it, which are statuses here. None for a band without prices."""
    indicators = getattr(record, "indicators", ())
    for indicator, code in ((polygon.HALT, "H"), (polygon.RESUME, "T")):
        if indicator in indicators:
            return TradingStatus(
                market_time=record.at, now_ns=now_ns, symbol=record.symbol, code=code, reason="LUDP"
            )
    if not (0 < record.low < record.high and math.isfinite(record.high)):
        return None
    return PriceBand(
        market_time=record.at,
        now_ns=now_ns,
        symbol=record.symbol,
        low=Decimal(repr(record.low)),
        high=Decimal(repr(record.high)),
        indicator=getattr(record, "indicator", ""),
    )


TRANSLATE: dict[str, Translate] = {
    "quote": quote_event,
    "trade": trade_event,
    "status": status_event,
    "band": band_event,
}
"""Kind of record → its translation."""
