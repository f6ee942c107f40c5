"""Missed prints by REST, through the vendors' own clients: what fills a stream's gap."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from market.streams import alpaca, polygon
from market.streams.healing import Fetch


def alpaca_trades(key: str, secret: str, url: str, feed: str) -> Fetch:
    """Prints of a feed (``sip``, ``iex``, ...) from Alpaca's ``/v2/stocks/trades``, every page of them."""

    def fetch(symbols: Sequence[str], start: dt.datetime, end: dt.datetime) -> list[alpaca.Trade]:
        from alpaca.data.enums import DataFeed
        from alpaca.data.historical import StockHistoricalDataClient
        from alpaca.data.requests import StockTradesRequest

        client = StockHistoricalDataClient(key, secret, raw_data=True, url_override=url)
        request = StockTradesRequest(
            symbol_or_symbols=list(symbols), start=start, end=end, feed=DataFeed(feed)
        )
        found: Any = client.get_stock_trades(request)
        return [
            msgspec.convert({**row, "T": "t", "S": symbol}, alpaca.Trade)
            for symbol, rows in found.items()
            for row in rows or ()
        ]

    async def in_thread(
        symbols: Sequence[str], start: dt.datetime, end: dt.datetime
    ) -> Sequence[alpaca.Trade]:
        return await asyncio.to_thread(fetch, symbols, start, end)

    return in_thread


def polygon_trades(key: str, url: str) -> Fetch:
    """Prints from Polygon's ``/v3/trades``, every page of them."""

    def fetch(symbols: Sequence[str], start: dt.datetime, end: dt.datetime) -> list[polygon.Trade]:
        from polygon import RESTClient

        client = RESTClient(key, base=url)
        trades = []
        for symbol in symbols:
            for row in client.list_trades(
                symbol, timestamp_gte=_ns(start), timestamp_lte=_ns(end), limit=50_000
            ):
                trades.append(
                    polygon.Trade(
                        symbol=symbol,
                        price=row.price,
                        size=row.size,
                        ms=row.sip_timestamp // 1_000_000,
                        trade_id=row.id,
                        exchange=row.exchange,
                        conditions=tuple(row.conditions or ()),
                        tape=row.tape or 0,
                    )
                )
        return trades

    async def in_thread(
        symbols: Sequence[str], start: dt.datetime, end: dt.datetime
    ) -> Sequence[polygon.Trade]:
        return await asyncio.to_thread(fetch, symbols, start, end)

    return in_thread


def _ns(moment: dt.datetime) -> int:
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000
