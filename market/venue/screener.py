"""GET /v1beta1/screener: the most active stocks and the movers of the venue's day (of the day before, until the open)."""

from __future__ import annotations

from typing import Any

from market.venue.exchange import Exchange
from market.venue.paging import read_limit
from market.venue.price_history import PriceHistory
from market.venue.refusals import Refusal
from market.venue.tape import Bar
from market.venue.timestamps import rfc3339

TOP_DEFAULT, ACTIVES_MAX, MOVERS_MAX = 10, 100, 50


def _rows(exchange: Exchange, history: PriceHistory) -> list[tuple[str, Bar, Bar]]:
    found = []
    for symbol in exchange.tape.symbols:
        day, previous = history.daily_or_previous(symbol)
        if day is not None and previous is not None and previous.close:
            found.append((symbol, day, previous))
    return found


def most_actives(exchange: Exchange, history: PriceHistory, query: dict[str, str]) -> dict[str, Any]:
    """Ranked `by` volume or trades; Refusal 400 for anything else."""
    by = query.get("by") or "volume"
    if by not in ("volume", "trades"):
        raise Refusal(400, None, "invalid by: only volume and trades are supported")
    top = read_limit(query, TOP_DEFAULT, ACTIVES_MAX, "top")
    rows: list[dict[str, Any]] = [
        {"symbol": symbol, "volume": int(day.volume), "trade_count": day.trades}
        for symbol, day, _ in _rows(exchange, history)
    ]
    rows.sort(key=lambda row: (-row["volume" if by == "volume" else "trade_count"], row["symbol"]))
    return {"most_actives": rows[:top], "last_updated": rfc3339(exchange.now)}


def movers(
    exchange: Exchange, history: PriceHistory, market_type: str, query: dict[str, str]
) -> dict[str, Any]:
    """Gainers and losers by per cent; the venue lists no crypto, so those lists are empty."""
    if market_type not in ("stocks", "crypto"):
        raise Refusal(400, None, f"invalid market type: {market_type[:40]}")
    top = read_limit(query, TOP_DEFAULT, MOVERS_MAX, "top")
    rows: list[dict[str, Any]] = []
    for symbol, day, previous in _rows(exchange, history) if market_type == "stocks" else ():
        change, percent = day.close - previous.close, (day.close / previous.close - 1) * 100
        rows.append({"symbol": symbol, "percent_change": round(percent, 2), "change": round(change, 4),
                     "price": day.close})  # fmt: skip
    rows.sort(key=lambda row: (-row["percent_change"], row["symbol"]))
    gainers = [row for row in rows if row["percent_change"] > 0]
    losers = [row for row in rows[::-1] if row["percent_change"] < 0]
    return {"gainers": gainers[:top], "losers": losers[:top], "market_type": market_type,
            "last_updated": rfc3339(exchange.now)}  # fmt: skip
