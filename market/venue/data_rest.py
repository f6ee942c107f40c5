"""Alpaca's market data REST: bars, quotes, trades, latest, snapshots and what stands beside them. Section 3.2."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, time
from typing import Any

from market.venue import logos
from market.venue.auction_prints import auctions
from market.venue.corporate_actions import data_actions
from market.venue.decimals import PRICE_SCALE
from market.venue.exchange import Exchange
from market.venue.feeds import DELAY, FEEDS, Feed
from market.venue.messages import Answer, Request, truth
from market.venue.news import Newsroom, list_news
from market.venue.paging import read_limit
from market.venue.price_history import SESSIONS_A_PAGE, Frame, PriceHistory
from market.venue.refusals import Refusal, missing
from market.venue.screener import most_actives, movers
from market.venue.stock_codes import EXCHANGES, conditions
from market.venue.tape import CLOSING, OPENING, Bar, Print, Quote
from market.venue.timestamps import new_york, new_york_date, parse_moment, rfc3339

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
_ADJUSTMENTS = {"raw", "split", "dividend", "spin-off", "all"}
LIMIT_DEFAULT, LIMIT_MAX = 1000, 10_000
_KINDS = ("bars", "quotes", "trades")
_SINGULAR = {"bars": "bar", "quotes": "quote", "trades": "trade"}
_CONDITIONS = {OPENING: ["@", "O"], CLOSING: ["@", "6"]}


def bad_request(message: str) -> Refusal:
    """Data refusals carry only a message."""
    return Refusal(400, None, message)


class DataRest:
    """Answers every path under /v2/stocks, /v1beta1 and /v1/corporate-actions."""

    def __init__(self, exchange: Exchange, *, recent_sip: bool = True) -> None:
        self.exchange = exchange
        self.history = PriceHistory(exchange)
        self.newsroom = Newsroom(exchange)
        self.recent_sip = recent_sip

    def answer(self, request: Request) -> Answer:
        """The answer, refusals included."""
        try:
            return self._route(request)
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body())

    def _route(self, request: Request) -> Answer:
        parts, query = request.path.split("/")[1:], request.query
        if request.method != "GET":
            raise missing("endpoint not found.")
        match parts:
            case ["v2", "stocks", *rest]:
                return self._stocks(rest, query)
            case ["v1beta1", "news"]:
                return Answer(200, list_news(self.exchange, self.newsroom, query))
            case ["v1" | "v1beta1", "corporate-actions"]:
                return Answer(200, data_actions(self.exchange, query))
            case ["v1beta1", "screener", "stocks", "most-actives"]:
                return Answer(200, most_actives(self.exchange, self.history, query))
            case ["v1beta1", "screener", market_type, "movers"]:
                return Answer(200, movers(self.exchange, self.history, market_type, query))
            case ["v1beta1", "logos", symbol] if symbol:
                if (
                    symbol.upper() in self.exchange.tape
                    or not query.get("placeholder")
                    or truth(query["placeholder"])
                ):
                    return Answer(200, raw=logos.placeholder(symbol.upper()), content_type="image/png")
                raise Refusal(404, None, f"logo not found for {symbol[:40]}")
        raise missing("endpoint not found.")

    def _stocks(self, parts: list[str], query: dict[str, str]) -> Answer:
        match parts:
            case ["snapshots"]:
                feed = self._latest_feed(query)
                found = {s: v for s in self._symbols(query) if (v := self._snapshot(s, feed)) is not None}
                return Answer(200, found)
            case [symbol, "snapshot"]:
                view = self._snapshot(_one_symbol(symbol), self._latest_feed(query))
                if view is None:
                    raise Refusal(404, None, f"no snapshot found for {symbol[:40]}")
                return Answer(200, {"symbol": symbol.upper(), **view, **_currency(query)})
            case [kind, "latest"] if kind in _KINDS:
                feed = self._latest_feed(query)
                found = {s: v for s in self._symbols(query) if (v := self._latest(kind, s, feed)) is not None}
                return Answer(200, {kind: found, **_currency(query)})
            case [symbol, kind, "latest"] if kind in _KINDS:
                view = self._latest(kind, _one_symbol(symbol), self._latest_feed(query))
                if view is None:
                    raise Refusal(404, None, f"no {_SINGULAR[kind]} found for {symbol[:40]}")
                return Answer(200, {"symbol": symbol.upper(), _SINGULAR[kind]: view, **_currency(query)})
            case [kind] if kind in _KINDS:
                rows, token = self._range(kind, self._symbols(query), query)
                return Answer(200, {kind: rows, "next_page_token": token, **_currency(query)})
            case ["auctions"]:
                rows, token = self._auctions(self._symbols(query), query)
                return Answer(200, {"auctions": rows, "next_page_token": token, **_currency(query)})
            case ["meta", "exchanges"]:
                return Answer(200, EXCHANGES)
            case ["meta", "conditions", ("trade" | "quote") as kind]:
                if query.get("tape") not in ("A", "B", "C"):
                    raise bad_request("invalid tape: only A, B and C are supported")
                return Answer(200, conditions(kind, query["tape"]))
            case [symbol, ("bars" | "quotes" | "trades" | "auctions") as kind] if symbol != "meta":
                name = _one_symbol(symbol)
                rows, token = (
                    self._auctions([name], query) if kind == "auctions" else self._range(kind, [name], query)
                )
                one: dict[str, Any] = {kind: rows.get(name), "symbol": name}
                return Answer(200, {**one, "next_page_token": token, **_currency(query)})
        raise missing("endpoint not found.")

    # --- parameters --------------------------------------------------------------------------------------

    def _symbols(self, query: dict[str, str]) -> list[str]:
        symbols = [_one_symbol(name) for name in (query.get("symbols") or "").split(",") if name.strip()]
        if not symbols:
            raise bad_request("symbols is required")
        return list(dict.fromkeys(symbols))

    def _latest_feed(self, query: dict[str, str]) -> Feed:
        """The feed of a latest endpoint: the best the plan allows when none is named."""
        feed = _feed(query.get("feed") or ("sip" if self.recent_sip else "iex"))
        if feed.plan and not self.recent_sip:
            raise Refusal(403, 42210000, feed.plan)
        return feed

    def _range_query(self, query: dict[str, str]) -> tuple[Feed, int, int, int, str]:
        """(feed, start, end, limit, sort) of a query over time."""
        now = self.exchange.now
        limit = read_limit(query, LIMIT_DEFAULT, LIMIT_MAX)
        sort = query.get("sort") or "asc"
        if sort not in ("asc", "desc"):
            raise bad_request("invalid sort: only asc and desc are supported")
        if query.get("asof") not in (None, "", "-"):
            _parse(query, "asof", date.fromisoformat)
        start = _parse(query, "start", parse_moment)
        end = _parse(query, "end", lambda text: parse_moment(text, end_of_day=True))
        feed = _feed(query.get("feed") or "sip")
        if not feed.historical:
            raise bad_request(f"invalid feed: {feed.name}")
        if not self.recent_sip and feed.plan:
            delayed = now - DELAY
            if feed.name != "sip":
                raise Refusal(403, 42210000, feed.plan)
            if end is None:
                end = delayed
            elif end > delayed and not query.get("feed"):
                feed = FEEDS["iex"]  # the best the plan allows for this span
            elif end > delayed:
                raise Refusal(403, 42210000, feed.plan)
            start = min(new_york(new_york_date(now), time()), end) if start is None else start
        start = new_york(new_york_date(now), time()) if start is None else start
        if end is not None and end < start:
            raise bad_request("end should not be before start")
        return feed, start, now if end is None else min(end, now), limit, sort

    # --- objects -----------------------------------------------------------------------------------------

    def _bar(self, bar: Bar) -> dict[str, Any]:
        return {"t": rfc3339(bar.t), "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close,
                "v": int(bar.volume), "n": bar.trades, "vw": bar.vwap}  # fmt: skip

    def _quote(self, symbol: str, quote: Quote, feed: Feed) -> dict[str, Any]:
        return {"t": rfc3339(quote.t), "ax": feed.letter, "ap": quote.ask / PRICE_SCALE, "as": quote.ask_size,
                "bx": feed.letter, "bp": quote.bid / PRICE_SCALE, "bs": quote.bid_size, "c": ["R"],
                "z": feed.tape_letter(self.exchange.assets[symbol].tape_letter)}  # fmt: skip

    def _trade(self, symbol: str, trade: Print, feed: Feed) -> dict[str, Any]:
        return {"t": rfc3339(trade.t), "x": feed.letter, "p": trade.price / PRICE_SCALE, "s": trade.size,
                "c": _CONDITIONS.get(trade.kind, ["@"]), "i": trade.number,
                "z": feed.tape_letter(self.exchange.assets[symbol].tape_letter)}  # fmt: skip

    def _latest(self, kind: str, symbol: str, feed: Feed) -> dict[str, Any] | None:
        if symbol not in self.exchange.tape:
            return None
        if kind == "bars":
            bar = self.history.minute_bar(symbol, feed)
            return self._bar(bar) if bar else None
        if kind == "quotes":
            quote = self.history.latest_quote(symbol, feed)
            return self._quote(symbol, quote, feed) if quote else None
        trade = self.history.latest_trade(symbol, feed)
        return self._trade(symbol, trade, feed) if trade else None

    def _snapshot(self, symbol: str, feed: Feed) -> dict[str, Any] | None:
        if symbol not in self.exchange.tape or not feed.listed:
            return None
        day, previous = self.history.daily_or_previous(symbol, feed)
        return {
            "latestTrade": self._latest("trades", symbol, feed),
            "latestQuote": self._latest("quotes", symbol, feed),
            "minuteBar": self._latest("bars", symbol, feed),
            "dailyBar": self._bar(day) if day else None,
            "prevDailyBar": self._bar(previous) if previous else None,
        }

    # --- ranges with paging ------------------------------------------------------------------------------

    def _auctions(
        self, symbols: list[str], query: dict[str, str]
    ) -> tuple[dict[str, list[dict[str, Any]]], str | None]:
        if query.get("feed") not in (None, "", "sip"):
            raise bad_request("invalid feed: only sip is valid for auctions")
        _, start, end, limit, sort = self._range_query(query)
        return auctions(
            self.exchange, self.history, symbols, start, end, limit, sort, query.get("page_token")
        )

    def _range(
        self, kind: str, symbols: list[str], query: dict[str, str]
    ) -> tuple[dict[str, list[dict[str, Any]]], str | None]:
        """Rows by symbol and the next token. The limit counts rows over all symbols, sorted by symbol then time."""
        feed, start, end, limit, sort = self._range_query(query)
        rows_of = self._rows_of(kind, query, start, end, feed)
        after = _read_token(query.get("page_token"))
        self.history.looked_at = 0
        rows: dict[str, list[dict[str, Any]]] = {}
        taken = 0
        last: tuple[str, int, int] | None = None
        for symbol in sorted(symbols):
            if symbol not in self.exchange.tape or (after and symbol < after[0]):
                continue
            skipping = after[1:] if after and symbol == after[0] else None
            for t, seen, view in _counted(rows_of(symbol, skipping[0] if skipping else None)):
                if skipping is not None:
                    earlier = t < skipping[0] if sort == "asc" else t > skipping[0]
                    if earlier or (t == skipping[0] and seen <= skipping[1]):
                        continue
                    skipping = None
                if taken == limit or (last is not None and self.history.looked_at > SESSIONS_A_PAGE):
                    assert last is not None
                    return rows, base64.b64encode("|".join(map(str, last)).encode()).decode()
                rows.setdefault(symbol, []).append(view)
                taken += 1
                last = (symbol, t, seen)
        return rows, None

    def _rows_of(
        self, kind: str, query: dict[str, str], start: int, end: int, feed: Feed
    ) -> Callable[[str, int | None], Iterator[tuple[int, dict[str, Any]]]]:
        """From a symbol, and the time to go on from, to its rows in the order asked for."""
        history = self.history
        descending = query.get("sort") == "desc"
        frame = parse_timeframe(query.get("timeframe")) if kind == "bars" else None
        adjustment = parse_adjustment(query.get("adjustment")) if kind == "bars" else "raw"

        def rows(symbol: str, resume: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
            first = start if resume is None or descending else max(start, resume)
            last = end if resume is None or not descending else min(end, resume)
            if frame is not None:
                for bar in history.bars(
                    symbol, frame, first, last, adjustment, feed, newest_first=descending
                ):
                    yield bar.t, self._bar(bar)
            elif kind == "quotes":
                for quote in history.quotes(symbol, first, last, feed, newest_first=descending):
                    yield quote.t, self._quote(symbol, quote, feed)
            else:
                for trade in history.trades(symbol, first, last, feed, newest_first=descending):
                    yield trade.t, self._trade(symbol, trade, feed)

        return rows


def _one_symbol(name: str) -> str:
    symbol = name.strip().upper()
    if not symbol.replace(".", "").replace("-", "").replace("/", "").isalnum() or len(symbol) > 20:
        raise bad_request(f"invalid symbol: {name[:40]}")
    return symbol


def _feed(name: str) -> Feed:
    feed = FEEDS.get(name)
    if feed is None:
        raise bad_request(f"invalid feed: {name[:40]}")
    return feed


def _parse(query: dict[str, str], name: str, read: Callable[[str], Any]) -> Any:
    text = query.get(name)
    if not text:
        return None
    try:
        return read(text)
    except (ValueError, OverflowError):
        raise bad_request(f"invalid {name}: {text[:60]}") from None


def _counted(
    rows: Iterable[tuple[int, dict[str, Any]]],
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(time, how many of that time came before it and it, row): several prints may share a nanosecond."""
    for t, group in itertools.groupby(rows, key=lambda row: row[0]):
        for seen, (_, view) in enumerate(group, 1):
            yield t, seen, view


def parse_timeframe(text: str | None) -> Frame:
    """`5Min`, `1Day`, ...; Refusal 400 for anything the service does not know."""
    match = _TIMEFRAME.match(text or "")
    if match:
        unit, count = _UNITS[match[2]], int(match[1])
        if count in _COUNTS[unit]:
            return Frame(unit, count)
    raise bad_request(f"invalid timeframe: {(text or '')[:40]}")


def parse_adjustment(text: str | None) -> str:
    """raw, split, dividend or all; several by commas. The tape knows no spin-offs. Refusal 400."""
    asked = {part.strip() for part in (text or "raw").split(",")}
    if not asked <= _ADJUSTMENTS:
        raise bad_request(f"invalid adjustment: {(text or '')[:40]}")
    if "all" in asked or {"split", "dividend"} <= asked:
        return "all"
    return "split" if "split" in asked else "dividend" if "dividend" in asked else "raw"


def _read_token(token: str | None) -> tuple[str, int, int] | None:
    if not token:
        return None
    try:
        symbol, t, seen = base64.b64decode(token, validate=True).decode().split("|")
        return symbol, int(t), int(seen)
    except (ValueError, binascii.Error):
        raise bad_request("invalid page token") from None


def _currency(query: dict[str, str]) -> dict[str, str]:
    currency = query.get("currency")
    if not currency:
        return {}
    if currency != "USD":
        raise bad_request(f"invalid currency: {currency[:10]}")
    return {"currency": currency}
