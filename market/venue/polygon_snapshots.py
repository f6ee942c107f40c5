"""Polygon's snapshots: one ticker, many, movers, and the unified snapshot of /v3."""

from __future__ import annotations

from typing import Any

from market.venue.decimals import PRICE_SCALE
from market.venue.exchange import Exchange
from market.venue.messages import Request
from market.venue.polygon_parameters import COMPARISONS, bad, cursor_text, parse_limit
from market.venue.price_history import PriceHistory
from market.venue.tape import Bar
from market.venue.timestamps import MILLISECOND

MOVERS = 20
TICKERS_MAX = 250
_EMPTY = {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0, "vw": 0}


def snapshot(exchange: Exchange, history: PriceHistory, symbol: str) -> dict[str, Any]:
    """The `ticker` object of /v2/snapshot."""
    day, previous = history.today(symbol), history.previous_day(symbol)
    minute = history.minute_bar(symbol) if day else None
    trade, quote = history.latest_trade(symbol), history.latest_quote(symbol)
    price = trade.price / PRICE_SCALE if trade else 0
    change = round(price - previous.close, 4) if day and previous else 0
    return {
        "ticker": symbol,
        "todaysChange": change,
        "todaysChangePerc": round(100 * change / previous.close, 4) if previous and previous.close else 0,
        "updated": exchange.now,
        "day": _bar(day) if day else _EMPTY,
        "min": {**_bar(minute), "av": int(day.volume), "t": minute.t // MILLISECOND, "n": minute.trades}
        if minute and day else {**_EMPTY, "av": 0, "t": 0, "n": 0},
        "prevDay": _bar(previous) if previous else _EMPTY,
        "lastTrade": {"c": [0], "i": str(trade.number), "p": price, "s": trade.size, "t": trade.t, "x": 11}
        if trade else {},
        "lastQuote": {"P": quote.ask / PRICE_SCALE, "S": quote.ask_size, "p": quote.bid / PRICE_SCALE,
                      "s": quote.bid_size, "t": quote.t} if quote else {},
        "fmv": price,
    }  # fmt: skip


def _bar(bar: Bar) -> dict[str, Any]:
    return {"o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": bar.volume, "vw": bar.vwap}


def snapshots(exchange: Exchange, history: PriceHistory, query: dict[str, str]) -> list[dict[str, Any]]:
    """Of the `tickers` asked for, in that order, or of every one; unknown ones are left out."""
    asked = [t for t in (query.get("tickers") or "").split(",") if t]
    known = [s for s in (asked or exchange.tape.symbols) if s in exchange.tape]
    return [snapshot(exchange, history, symbol) for symbol in known]


def movers(exchange: Exchange, history: PriceHistory, direction: str) -> list[dict[str, Any]]:
    """The twenty that gained or lost most since the last close."""
    sign = -1 if direction == "gainers" else 1
    rows = [snapshot(exchange, history, symbol) for symbol in exchange.tape.symbols]
    moved = [row for row in rows if sign * row["todaysChangePerc"] < 0]
    return sorted(moved, key=lambda row: (sign * row["todaysChangePerc"], row["ticker"]))[:MOVERS]


def unified(
    exchange: Exchange, history: PriceHistory, request: Request
) -> tuple[list[dict[str, Any]], str | None]:
    """(results, ticker to go on after) of /v3/snapshot: stocks only, by ticker; unknown tickers say so themselves."""
    query = request.query
    if query.get("type") not in (None, "", "stocks"):
        return [], None
    named = [t for t in (query.get("ticker.any_of") or query.get("ticker") or "").split(",") if t]
    if len(named) > TICKERS_MAX:
        raise bad(f"ticker.any_of takes at most {TICKERS_MAX} tickers")
    symbols = sorted(named or exchange.tape.symbols, reverse=query.get("order") == "desc")
    for name in COMPARISONS:
        limit_text = query.get(f"ticker.{name}")
        if limit_text:
            symbols = [s for s in symbols if _within(s, name, limit_text)]
    seen = cursor_text(query)
    if seen:
        symbols = [s for s in symbols if (s < seen if query.get("order") == "desc" else s > seen)]
    size = parse_limit(query, 10, most=TICKERS_MAX)
    page = symbols[:size]
    rows = [_unified_row(exchange, history, symbol) for symbol in page]
    return rows, page[-1] if len(symbols) > size else None


def _within(symbol: str, name: str, bound: str) -> bool:
    if name[0] == "g":
        return symbol >= bound if name == "gte" else symbol > bound
    return symbol <= bound if name == "lte" else symbol < bound


def _unified_row(exchange: Exchange, history: PriceHistory, symbol: str) -> dict[str, Any]:
    if symbol not in exchange.tape:
        return {"ticker": symbol, "error": "NOT_FOUND", "message": "Ticker not found."}
    day, previous = history.daily_or_previous(symbol)
    trade, quote, minute = (
        history.latest_trade(symbol),
        history.latest_quote(symbol),
        history.minute_bar(symbol),
    )
    session, now = exchange.session, exchange.now
    row: dict[str, Any] = {
        "ticker": symbol,
        "name": exchange.assets[symbol].name,
        "type": "stocks",
        "market_status": "open" if session.is_regular(now)
        else "early_trading" if session.pre_open <= now < session.open
        else "late_trading" if session.close <= now < session.post_close else "closed",
    }  # fmt: skip
    if day is not None:
        before = previous.close if previous else day.open
        row["session"] = {
            "change": round(day.close - before, 4), "change_percent": round(100 * (day.close / before - 1), 4) if before else 0,
            "early_trading_change": 0, "early_trading_change_percent": 0, "late_trading_change": 0,
            "late_trading_change_percent": 0, "open": day.open, "high": day.high, "low": day.low, "close": day.close,
            "previous_close": before, "volume": day.volume, "price": day.close, "last_updated": now,
        }  # fmt: skip
    if quote is not None:
        row["last_quote"] = {
            "ask": quote.ask / PRICE_SCALE, "ask_size": quote.ask_size, "ask_exchange": 11, "bid": quote.bid / PRICE_SCALE,
            "bid_size": quote.bid_size, "bid_exchange": 11, "last_updated": quote.t, "timeframe": "REAL-TIME",
        }  # fmt: skip
    if trade is not None:
        price = trade.price / PRICE_SCALE
        row["last_trade"] = {"conditions": [0], "exchange": 11, "id": str(trade.number), "price": price, "size": trade.size,
                             "last_updated": trade.t, "participant_timestamp": trade.t, "sip_timestamp": trade.t,
                             "timeframe": "REAL-TIME"}  # fmt: skip
        row["fmv"] = price
    if minute is not None:
        row["last_minute"] = {"open": minute.open, "high": minute.high, "low": minute.low, "close": minute.close,
                              "volume": minute.volume, "vwap": minute.vwap, "transactions": minute.trades,
                              "last_updated": minute.t}  # fmt: skip
    return row
