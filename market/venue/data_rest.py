"""Alpaca's market data REST: bars, quotes, trades, latest, snapshots, conditions, corporate actions. Section 3.2."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import time
from typing import Any

from market.venue.corporate_actions import data_actions
from market.venue.decimals import PRICE_SCALE
from market.venue.exchange import Exchange
from market.venue.messages import Answer, Request
from market.venue.price_history import Frame, PriceHistory
from market.venue.refusals import Refusal, missing
from market.venue.tape import CLOSING, OPENING, Bar, Print, Quote
from market.venue.timestamps import MINUTE, new_york, new_york_date, parse_moment, rfc3339

_TIMEFRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)\Z")
_UNITS = {"Min": "minute", "T": "minute", "Hour": "hour", "H": "hour", "Day": "day", "D": "day", "Week": "week",
          "W": "week", "Month": "month", "M": "month"}  # fmt: skip
_COUNTS = {
    "minute": range(1, 60),
    "hour": range(1, 24),
    "day": (1,),
    "week": (1,),
    "month": (1, 2, 3, 4, 6, 12),
}
_FEEDS = ("iex", "sip", "otc", "boats", "delayed_sip", "overnight")
LIMIT_DEFAULT, LIMIT_MAX = 1000, 10_000
_KINDS = ("bars", "quotes", "trades")
_SINGULAR = {"bars": "bar", "quotes": "quote", "trades": "trade"}
EXCHANGES = {
    "A": "NYSE American (AMEX)", "B": "NASDAQ OMX BX", "C": "National Stock Exchange", "D": "FINRA ADF",
    "E": "Market Independent", "H": "MIAX", "I": "International Securities Exchange", "J": "Cboe EDGA",
    "K": "Cboe EDGX", "L": "Long Term Stock Exchange", "M": "Chicago Stock Exchange",
    "N": "New York Stock Exchange", "P": "NYSE Arca", "Q": "NASDAQ OMX", "S": "NASDAQ Small Cap",
    "T": "NASDAQ Int", "U": "Members Exchange", "V": "IEX", "W": "CBOE", "X": "NASDAQ OMX PSX", "Y": "Cboe BYX",
    "Z": "Cboe BZ",
}  # fmt: skip
TRADE_CONDITIONS = {" ": "Regular Sale", "@": "Regular Sale", "O": "Market Center Opening Trade",
                    "6": "Market Center Closing Trade", "I": "Odd Lot Trade"}  # fmt: skip
QUOTE_CONDITIONS = {" ": "Regular, Two-Sided Open", "R": "Regular, Two-Sided Open", "H": "Depth On Bid Side"}


def bad_request(message: str) -> Refusal:
    """Data refusals carry only a message."""
    return Refusal(400, None, message)


class DataRest:
    """Answers every path under /v2/stocks, /v1beta1 and /v1/corporate-actions."""

    def __init__(self, exchange: Exchange, *, recent_sip: bool = True) -> None:
        self.exchange = exchange
        self.history = PriceHistory(exchange)
        self.recent_sip = recent_sip
        self.default_feed = "sip" if recent_sip else "iex"

    def answer(self, request: Request) -> Answer:
        """The answer, refusals included."""
        try:
            return self._route(request)
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body())

    def _route(self, request: Request) -> Answer:
        parts = request.path.strip("/").split("/")
        if request.method != "GET":
            raise missing("endpoint not found.")
        if parts[:2] == ["v2", "stocks"]:
            return self._stocks(parts[2:], request.query)
        if parts[0] == "v1beta1" and parts[1:] == ["news"]:
            return Answer(200, {"news": [], "next_page_token": None})
        if parts in (["v1", "corporate-actions"], ["v1beta1", "corporate-actions"]):
            return Answer(200, data_actions(self.exchange, request.query))
        if parts[:3] == ["v1beta1", "screener", "stocks"] and len(parts) == 4:
            return self._screener(parts[3], request.query)
        raise missing("endpoint not found.")

    def _stocks(self, parts: list[str], query: dict[str, str]) -> Answer:
        match parts:
            case ["snapshots"]:
                self._feed(query)
                return Answer(
                    200, {s: v for s in self._symbols(query) if (v := self._snapshot(s, query)) is not None}
                )
            case [symbol, "snapshot"]:
                self._feed(query)
                view = self._snapshot(symbol, query)
                if view is None:
                    raise Refusal(404, None, f"not found: {symbol}")
                return Answer(200, {"symbol": symbol, **view})
            case [kind, "latest"] if kind in _KINDS:
                self._feed(query)
                found = {
                    s: v for s in self._symbols(query) if (v := self._latest(kind, s, query)) is not None
                }
                return Answer(200, {kind: found})
            case [symbol, kind, "latest"] if kind in _KINDS:
                self._feed(query)
                view = self._latest(kind, symbol, query)
                if view is None:
                    raise Refusal(404, None, f"no {_SINGULAR[kind]} found for {symbol}")
                return Answer(200, {"symbol": symbol, _SINGULAR[kind]: view})
            case [kind] if kind in _KINDS:
                rows, token = self._range(kind, self._symbols(query), query)
                return Answer(200, {kind: rows, "next_page_token": token, **_currency(query)})
            case ["auctions"]:
                return Answer(
                    200, {"auctions": self._auctions(self._symbols(query), query), "next_page_token": None}
                )
            case [symbol, kind] if kind in _KINDS and symbol != "meta":
                rows, token = self._range(kind, [symbol.upper()], query)
                one: dict[str, Any] = {kind: rows.get(symbol.upper()), "symbol": symbol.upper()}
                return Answer(200, {**one, "next_page_token": token, **_currency(query)})
            case ["meta", "exchanges"]:
                return Answer(200, EXCHANGES)
            case ["meta", "conditions", kind] if kind in ("trade", "quote"):
                if query.get("tape") not in ("A", "B", "C"):
                    raise bad_request("invalid tape")
                return Answer(200, TRADE_CONDITIONS if kind == "trade" else QUOTE_CONDITIONS)
        raise missing("endpoint not found.")

    # --- parameters --------------------------------------------------------------------------------------

    def _symbols(self, query: dict[str, str]) -> list[str]:
        symbols = [
            symbol.strip().upper() for symbol in (query.get("symbols") or "").split(",") if symbol.strip()
        ]
        if not symbols:
            raise bad_request("symbols is required")
        for symbol in symbols:
            if not symbol.replace(".", "").replace("-", "").replace("/", "").isalnum() or len(symbol) > 20:
                raise bad_request(f"invalid symbol: {symbol[:40]}")
        return list(dict.fromkeys(symbols))

    def _feed(self, query: dict[str, str]) -> str:
        feed = query.get("feed") or self.default_feed
        if feed not in _FEEDS:
            raise bad_request(f"invalid feed: {feed[:40]}")
        return feed

    def _span(self, query: dict[str, str]) -> tuple[int, int]:
        now = self.exchange.now
        try:
            start = (
                parse_moment(query["start"]) if query.get("start") else new_york(new_york_date(now), time())
            )
        except (ValueError, OverflowError):
            raise bad_request(f"invalid start: {query.get('start', '')[:60]}") from None
        try:
            end = parse_moment(query["end"], end_of_day=True) if query.get("end") else now
        except (ValueError, OverflowError):
            raise bad_request(f"invalid end: {query.get('end', '')[:60]}") from None
        if end < start and query.get("end"):
            raise bad_request("end should not be before start")
        if not self.recent_sip and self._feed(query) == "sip" and end > now - 15 * MINUTE:
            raise Refusal(403, 42210000, "subscription does not permit querying recent SIP data")
        return start, min(end, now)

    # --- objects -----------------------------------------------------------------------------------------

    def _letter(self, query: dict[str, str]) -> str:
        return "V" if self._feed(query) == "iex" else "P"

    def _bar(self, bar: Bar) -> dict[str, Any]:
        return {"t": rfc3339(bar.t), "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close,
                "v": int(bar.volume), "n": bar.trades, "vw": bar.vwap}  # fmt: skip

    def _quote(self, symbol: str, quote: Quote, letter: str) -> dict[str, Any]:
        return {"t": rfc3339(quote.t), "ax": letter, "ap": quote.ask / PRICE_SCALE, "as": quote.ask_size,
                "bx": letter, "bp": quote.bid / PRICE_SCALE, "bs": quote.bid_size, "c": ["R"],
                "z": self.exchange.assets[symbol].tape_letter}  # fmt: skip

    def _trade(self, symbol: str, trade: Print, letter: str) -> dict[str, Any]:
        conditions = {OPENING: ["@", "O"], CLOSING: ["@", "6"]}.get(trade.kind, ["@"])
        return {"t": rfc3339(trade.t), "x": letter, "p": trade.price / PRICE_SCALE, "s": trade.size,
                "c": conditions, "i": trade.number, "z": self.exchange.assets[symbol].tape_letter}  # fmt: skip

    def _latest(self, kind: str, symbol: str, query: dict[str, str]) -> dict[str, Any] | None:
        symbol = symbol.upper()
        if symbol not in self.exchange.tape:
            return None
        letter = self._letter(query)
        if kind == "bars":
            bar = self.history.minute_bar(symbol)
            return self._bar(bar) if bar else None
        if kind == "quotes":
            quote = self.history.latest_quote(symbol)
            return self._quote(symbol, quote, letter) if quote else None
        trade = self.history.latest_trade(symbol)
        return self._trade(symbol, trade, letter) if trade else None

    def _snapshot(self, symbol: str, query: dict[str, str]) -> dict[str, Any] | None:
        symbol = symbol.upper()
        if symbol not in self.exchange.tape:
            return None
        day, previous = self.history.daily_or_previous(symbol)
        return {
            "latestTrade": self._latest("trades", symbol, query),
            "latestQuote": self._latest("quotes", symbol, query),
            "minuteBar": self._latest("bars", symbol, query),
            "dailyBar": self._bar(day) if day else None,
            "prevDailyBar": self._bar(previous) if previous else None,
        }

    # --- ranges with paging ------------------------------------------------------------------------------

    def _range(
        self, kind: str, symbols: list[str], query: dict[str, str]
    ) -> tuple[dict[str, list[dict[str, Any]]], str | None]:
        """Rows by symbol and the next token. The limit counts rows over all symbols, sorted by symbol then time."""
        start, end = self._span(query)
        letter = self._letter(query)
        try:
            limit = int(query.get("limit") or LIMIT_DEFAULT)
        except ValueError:
            raise bad_request("invalid limit") from None
        if not 1 <= limit <= LIMIT_MAX:
            raise bad_request(f"limit must be between 1 and {LIMIT_MAX}")
        sort = query.get("sort") or "asc"
        if sort not in ("asc", "desc"):
            raise bad_request("invalid sort")
        rows_of = self._rows_of(kind, query, start, end, letter)
        after_symbol, after_time = _read_token(query.get("page_token"))
        rows: dict[str, list[dict[str, Any]]] = {}
        taken = 0
        last: tuple[str, int] | None = None
        for symbol in sorted(symbols):
            if symbol not in self.exchange.tape or (after_symbol and symbol < after_symbol):
                continue
            found: Iterable[tuple[int, dict[str, Any]]] = rows_of(symbol)
            if sort == "desc":
                found = reversed(list(found))
            if symbol == after_symbol:
                found = itertools.dropwhile(
                    lambda row: row[0] <= after_time if sort == "asc" else row[0] >= after_time, found
                )
            for t, view in found:
                if taken == limit:
                    assert last is not None
                    return rows, base64.b64encode(f"{last[0]}|{last[1]}".encode()).decode()
                rows.setdefault(symbol, []).append(view)
                taken += 1
                last = (symbol, t)
        return rows, None

    def _rows_of(
        self, kind: str, query: dict[str, str], start: int, end: int, letter: str
    ) -> Callable[[str], Iterator[tuple[int, dict[str, Any]]]]:
        if kind == "bars":
            frame = parse_timeframe(query.get("timeframe"))
            adjustment = query.get("adjustment") or "raw"
            if not set(adjustment.split(",")) <= {"raw", "split", "dividend", "spin-off", "all"}:
                raise bad_request(f"invalid adjustment: {adjustment[:40]}")
            if set(adjustment.split(",")) >= {"split", "dividend"}:
                adjustment = "all"
            return lambda symbol: (
                (bar.t, self._bar(bar)) for bar in self.history.bars(symbol, frame, start, end, adjustment)
            )
        if kind == "quotes":
            return lambda symbol: (
                (quote.t, self._quote(symbol, quote, letter))
                for quote in self.history.quotes(symbol, start, end)
            )
        return lambda symbol: (
            (trade.t, self._trade(symbol, trade, letter)) for trade in self.history.trades(symbol, start, end)
        )

    # --- the rest ----------------------------------------------------------------------------------------

    def _auctions(self, symbols: list[str], query: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
        start, end = self._span(query)
        found: dict[str, list[dict[str, Any]]] = {}
        for symbol in symbols:
            days: dict[str, dict[str, Any]] = {}
            for trade in self.history.trades(symbol, start, end) if symbol in self.exchange.tape else ():
                if trade.kind in (OPENING, CLOSING):
                    key = "o" if trade.kind == OPENING else "c"
                    day = new_york_date(trade.t).isoformat()
                    entry = days.setdefault(day, {"d": day, "o": [], "c": []})
                    entry[key].append({"t": rfc3339(trade.t), "x": "P", "p": trade.price / PRICE_SCALE,
                                       "s": trade.size, "c": "O" if key == "o" else "6"})  # fmt: skip
            if days:
                found[symbol] = list(days.values())
        return found

    def _screener(self, name: str, query: dict[str, str]) -> Answer:
        rows: list[tuple[str, Bar, Bar]] = []
        for symbol in self.exchange.tape.symbols:
            day, previous = self.history.daily_or_previous(symbol)
            if day and previous:
                rows.append((symbol, day, previous))
        top = min(int(query.get("top") or 10) if (query.get("top") or "10").isdigit() else 10, 100)
        updated = rfc3339(self.exchange.now)
        if name == "most-actives":
            rows.sort(key=lambda row: -row[1].volume)
            active = [
                {"symbol": s, "volume": int(d.volume), "trade_count": d.trades} for s, d, _ in rows[:top]
            ]
            return Answer(200, {"most_actives": active, "last_updated": updated})
        if name == "movers":
            moves = sorted(
                ({"symbol": s, "price": d.close, "change": round(d.close - p.close, 4),
                  "percent_change": round((d.close / p.close - 1) * 100, 2)} for s, d, p in rows),
                key=lambda row: float(str(row["percent_change"])),
            )  # fmt: skip
            return Answer(200, {"gainers": moves[::-1][:top], "losers": moves[:top], "market_type": "stocks",
                                "last_updated": updated})  # fmt: skip
        raise missing("endpoint not found.")


def parse_timeframe(text: str | None) -> Frame:
    """`5Min`, `1Day`, ...; Refusal 400 for anything the service does not know."""
    match = _TIMEFRAME.match(text or "")
    if match:
        unit, count = _UNITS[match[2]], int(match[1])
        if count in _COUNTS[unit]:
            return Frame(unit, count)
    raise bad_request(f"invalid timeframe: {(text or '')[:40]}")


def _read_token(token: str | None) -> tuple[str, int]:
    if not token:
        return "", 0
    try:
        symbol, _, t = base64.b64decode(token, validate=True).decode().partition("|")
        return symbol, int(t)
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise bad_request("invalid page token") from None


def _currency(query: dict[str, str]) -> dict[str, str]:
    return {"currency": query["currency"]} if query.get("currency") else {}
