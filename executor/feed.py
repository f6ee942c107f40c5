"""Live quotes, through alpaca-py's stock stream, handed on as events of the core."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from alpaca.data.live import StockDataStream

from executor.clock import MarketClock
from executor.core.events import Quote
from executor.settings import Settings


class Feed:
    """Quotes of the names that are traded or held.

    ``last_ns`` is when the last quote of any name came (monotonic): the feed's age.
    """

    def __init__(self, settings: Settings, clock: MarketClock, sink: Callable[[Quote], None]) -> None:
        self._clock = clock
        self._sink = sink
        self._replayed = settings.environment == "replay"
        self.last_ns: int | None = None
        self.symbols: set[str] = set()
        self.stream = StockDataStream(
            settings.broker.key_id.get_secret_value(),
            settings.broker.secret_key.get_secret_value(),
            raw_data=True,
            url_override=settings.feed.stream_url,
        )

    def subscribe(self, symbols: Iterable[str]) -> None:
        """Add names. Must run outside the stream's own event loop once it is running."""
        fresh = sorted(set(symbols) - self.symbols)
        if fresh:
            self.symbols.update(fresh)
            self.stream.subscribe_quotes(self._on_quote, *fresh)

    async def _on_quote(self, raw: dict[str, Any]) -> None:
        now_ns = self._clock.now_ns()
        quote = quote_event(raw, self._clock.now(), now_ns, replayed=self._replayed)
        if quote is not None:
            self.last_ns = now_ns
            self._sink(quote)


def quote_event(raw: dict[str, Any], market_now: dt.datetime, now_ns: int, *, replayed: bool) -> Quote | None:
    """A raw quote message as an event; None for one with a price that is no finite, non-negative number.

    In a replay the venue's clock runs faster than delivery, so age counts from receipt only.
    """
    try:
        bid, ask = Decimal(repr(raw["bp"])), Decimal(repr(raw["ap"]))
        stamp = raw["t"]
        at = dt.datetime.fromtimestamp(stamp.seconds + stamp.nanoseconds / 1e9, dt.UTC)
        sizes = int(raw["bs"]), int(raw["as"])
    except (KeyError, ArithmeticError, ValueError, TypeError, AttributeError):
        return None
    if not (bid.is_finite() and ask.is_finite() and bid >= 0 and ask >= 0):
        return None
    age_ms = 0.0 if replayed else (market_now - at).total_seconds() * 1e3
    return Quote(
        market_time=at,
        now_ns=now_ns,
        symbol=raw["S"],
        bid=bid,
        ask=ask,
        bid_size=sizes[0],
        ask_size=sizes[1],
        age_at_receipt_ms=age_ms,
    )
