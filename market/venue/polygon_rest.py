"""Polygon's stocks REST: aggregates, trades, quotes, last, snapshots, reference, market status. Section 3.4.

Times are nanoseconds in trades and quotes and milliseconds in aggregates; `adjusted` means splits only.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

from market.venue.decimals import PRICE_SCALE
from market.venue.exchange import Exchange
from market.venue.messages import Answer, Request, truth
from market.venue.path import seed_of
from market.venue.polygon_codes import exchanges, ticker_types
from market.venue.polygon_indicators import KINDS, aggregate_view, indicator
from market.venue.polygon_parameters import (
    PolygonRefusal,
    bad,
    cursor,
    not_entitled,
    not_found,
    parse_day,
    parse_limit,
    row_cursor,
    timestamp_span,
)
from market.venue.polygon_reference import PolygonReference
from market.venue.polygon_snapshots import movers, snapshot, snapshots, unified
from market.venue.price_history import SESSIONS_A_PAGE, Frame, PriceHistory
from market.venue.tape import CLOSING, EXTENDED, OPENING, Bar, Print, Quote
from market.venue.timestamps import new_york_date, parse_moment

_OTHER_PLANS = ("/vX/", "/v1/summaries", "/v1/last", "/v1/conversion/", "/v1/related-companies/",
                "/v3/reference/options/", "/v3/snapshot/", "/v2/snapshot/", "/stocks/", "/benzinga/",
                "/fed/", "/futures/", "/etf-global/", "/tmx/")  # fmt: skip
"""Options, indices, currencies, crypto, fundamentals and partners' data: the venue's key has a stocks plan."""
_TIMESPANS = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
AGGREGATES_DEFAULT = 5000
T = TypeVar("T")
_CONDITIONS = {OPENING: [17], CLOSING: [8], EXTENDED: [12]}


class PolygonRest:
    """Answers every Polygon path."""

    def __init__(self, exchange: Exchange, base_url: str = "") -> None:
        self.exchange = exchange
        self.history = PriceHistory(exchange)
        self.base_url = base_url
        self.reference = PolygonReference(exchange, self._ok, self._next_url)
        self._requests = 0

    def _request_id(self) -> str:
        self._requests += 1
        return f"{seed_of(self.exchange.seed, 'polygon', self._requests):016x}" * 2

    @staticmethod
    def refuse(status: int, message: str) -> Answer:
        """What is refused before it is a request of the session: its id comes from nowhere in the seed."""
        return Answer(status, {"status": "ERROR", "request_id": secrets.token_hex(16), "error": message})

    def unauthorized(self) -> Answer:
        """A key nobody knows."""
        return self.refuse(401, "Unknown API Key")

    def rate_limited(self) -> Answer:
        """Too many requests."""
        return self.refuse(
            429,
            "You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue. "
            "https://massive.com/pricing",
        )  # fmt: skip

    def answer(self, request: Request) -> Answer:
        """The answer, refusals included."""
        try:
            return self._route(request)
        except PolygonRefusal as refusal:
            return Answer(refusal.status, {**refusal.body, "request_id": self._request_id()})

    def _route(self, request: Request) -> Answer:
        query = request.query
        parts = request.path.strip("/").split("/")
        if request.method != "GET":
            raise not_found("Page not found")
        match parts:
            case ["v2", "aggs", "ticker", ticker, "range", multiplier, timespan, start, end]:
                return self._aggregates(request, ticker, multiplier, timespan, start, end)
            case ["v2", "aggs", "ticker", ticker, "prev"]:
                return self._previous(ticker, query)
            case ["v2", "aggs", "grouped", "locale", "us", "market", "stocks", day]:
                return self._grouped(day, query)
            case ["v1", "open-close", ticker, day]:
                return self._open_close(ticker, day, query)
            case ["v3", "trades", ticker]:
                return self._rows(request, ticker, "trades")
            case ["v3", "quotes", ticker]:
                return self._rows(request, ticker, "quotes")
            case ["v2", "last", "trade", ticker]:
                return self._last_trade(ticker)
            case ["v2", "last", "nbbo", ticker]:
                return self._last_quote(ticker)
            case ["v2", "snapshot", "locale", "us", "markets", "stocks", "tickers", ticker]:
                view = snapshot(self.exchange, self.history, self._known(ticker))
                return Answer(200, {"ticker": view, "status": "OK", "request_id": self._request_id()})
            case ["v2", "snapshot", "locale", "us", "markets", "stocks", "tickers"]:
                found = snapshots(self.exchange, self.history, query)
                return Answer(200, {"count": len(found), "tickers": found, "status": "OK",
                                    "request_id": self._request_id()})  # fmt: skip
            case ["v2", "snapshot", "locale", "us", "markets", "stocks", ("gainers" | "losers") as direction]:
                found = movers(self.exchange, self.history, direction)
                return Answer(200, {"tickers": found, "status": "OK", "request_id": self._request_id()})
            case ["v3", "snapshot"]:
                rows, last = unified(self.exchange, self.history, request)
                more = {"next_url": self._next_url(request, last)} if last else {}
                return Answer(
                    200, {"results": rows, "status": "OK", "request_id": self._request_id(), **more}
                )
            case ["v1", "indicators", kind, ticker] if kind in KINDS:
                return indicator(request, self.history, kind, ticker, request_id=self._request_id(),
                                 base_url=self.base_url, next_url=self._next_url)  # fmt: skip
            case ["v2", "reference", "news"]:
                return self.reference.news(request)
            case ["v3", "reference", "tickers"]:
                return self.reference.tickers(request)
            case ["v3", "reference", "tickers", "types"]:
                return self._ok(ticker_types())
            case ["v3", "reference", "tickers", ticker]:
                return self._ok(self.reference.ticker_view(self.exchange.assets[self._known(ticker)]))
            case ["v3", "reference", ("splits" | "dividends") as kind]:
                return self.reference.actions(request, kind)
            case ["v3", "reference", "exchanges"]:
                return self._ok(exchanges() if query.get("asset_class", "stocks") == "stocks" else [])
            case ["v3", "reference", "conditions"]:
                return self.reference.conditions(request)
            case ["vX", "reference", "tickers", ticker, "events"]:
                return self.reference.events(self._known(ticker))
            case ["v1", "marketstatus", "now"]:
                return self.reference.status_now()
            case ["v1", "marketstatus", "upcoming"]:
                return self.reference.status_upcoming()
        if request.path.startswith(_OTHER_PLANS):
            raise not_entitled()
        raise not_found("Page not found")

    def _ok(self, results: Any, **more: Any) -> Answer:
        body = {"results": results, "status": "OK", "request_id": self._request_id()}
        if isinstance(results, list):
            body["count"] = len(results)
        return Answer(200, {**body, **more})

    def _known(self, ticker: str) -> str:
        if ticker not in self.exchange.tape:
            raise not_found("Ticker not found.")
        return ticker

    def _next_url(self, request: Request, cursor: str) -> str:
        query = {k: v for k, v in request.query.items() if k not in ("cursor", "apiKey")}
        query["cursor"] = base64.urlsafe_b64encode(cursor.encode()).decode()
        return f"{self.base_url}{request.path}?{urlencode(query)}"

    # --- aggregates --------------------------------------------------------------------------------------

    def _aggregates(
        self, request: Request, ticker: str, multiplier: str, timespan: str, start_text: str, end_text: str
    ) -> Answer:
        query = request.query
        if not multiplier.isdigit() or not 1 <= int(multiplier) <= 100_000:
            raise bad("Could not parse the 'multiplier' parameter")
        if timespan not in _TIMESPANS:
            raise bad(f"Could not parse the 'timespan' parameter: '{timespan[:40]}'")
        try:
            start, end = parse_moment(start_text), parse_moment(end_text, end_of_day=True)
        except (ValueError, OverflowError):
            raise bad("Could not parse the time range: use YYYY-MM-DD or Unix milliseconds") from None
        if end < start:
            raise bad("The parameter 'to' cannot be a time that occurs before 'from'")
        adjusted = truth(query.get("adjusted", "true"))
        limit = parse_limit(query, AGGREGATES_DEFAULT)
        if query.get("sort") not in (None, "", "asc", "desc"):
            raise bad("Could not parse the 'sort' parameter")
        descending = query.get("sort") == "desc"
        frame = Frame(timespan, int(multiplier))
        seen = cursor(query)
        if seen is not None and frame.intraday_ns:
            start, end = (start, min(end, seen)) if descending else (max(start, seen), end)
        self.history.looked_at = 0
        bars: Iterator[Bar] = self.history.bars(
            ticker, frame, start, end, "split" if adjusted else "raw", newest_first=descending
        )
        if timespan == "week":
            bars = (dataclasses.replace(bar, t=_sunday(bar.t)) for bar in bars)
        if seen is not None:
            bars = itertools.dropwhile(lambda bar: bar.t >= seen if descending else bar.t <= seen, bars)
        page, more = self._page(bars, limit)
        body: dict[str, Any] = {"ticker": ticker, "queryCount": len(page), "resultsCount": len(page),
                                "adjusted": adjusted}  # fmt: skip
        if page:
            body["results"] = [aggregate_view(bar) for bar in page]
        body |= {"status": "OK", "request_id": self._request_id(), "count": len(page)}
        if more:
            body["next_url"] = self._next_url(request, str(page[-1].t))
        return Answer(200, body)

    def _previous(self, ticker: str, query: dict[str, str]) -> Answer:
        adjusted = truth(query.get("adjusted", "true"))
        now = self.exchange.now
        bar = self.history.previous_day(ticker) if ticker in self.exchange.tape else None
        if bar is not None and now >= self.exchange.session.close:
            bar = self.history.today(ticker) or bar
        rows = [{"T": ticker, **aggregate_view(bar)}] if bar else []
        body: dict[str, Any] = {"ticker": ticker, "queryCount": len(rows), "resultsCount": len(rows),
                                "adjusted": adjusted}  # fmt: skip
        if rows:
            body["results"] = rows
        return Answer(200, {**body, "status": "OK", "request_id": self._request_id(), "count": len(rows)})

    def _grouped(self, day_text: str, query: dict[str, str]) -> Answer:
        day = parse_day(day_text)
        rows = []
        t = parse_moment(day.isoformat())
        adjusted = truth(query.get("adjusted", "true"))
        for symbol in self.exchange.tape.symbols:
            bar = next(self.history.bars(symbol, Frame("day", 1), t, t, "split" if adjusted else "raw"), None)
            if bar is not None:
                rows.append({"T": symbol, **aggregate_view(bar)})
        body: dict[str, Any] = {"queryCount": len(rows), "resultsCount": len(rows), "adjusted": adjusted}
        if rows:
            body["results"] = rows
        return Answer(200, {**body, "status": "OK", "request_id": self._request_id(), "count": len(rows)})

    def _open_close(self, ticker: str, day_text: str, query: dict[str, str]) -> Answer:
        day = parse_day(day_text)
        t = parse_moment(day.isoformat())
        adjustment = "split" if truth(query.get("adjusted", "true")) else "raw"
        bar = next(self.history.bars(self._known(ticker), Frame("day", 1), t, t, adjustment), None)
        if bar is None:
            raise not_found("Data not found.")
        return Answer(200, {"status": "OK", "from": day.isoformat(), "symbol": ticker, "open": bar.open,
                            "high": bar.high, "low": bar.low, "close": bar.close, "volume": bar.volume,
                            "afterHours": bar.close, "preMarket": bar.open})  # fmt: skip

    # --- trades and quotes -------------------------------------------------------------------------------

    def _rows(self, request: Request, ticker: str, kind: str) -> Answer:
        query = request.query
        start, end = self._timestamp_span(query)
        limit = parse_limit(query, 1000)
        after = row_cursor(query)
        order = query.get("order") or "desc"
        if order not in ("asc", "desc"):
            raise bad("Could not parse the 'order' parameter")
        if query.get("sort") not in (None, "", "timestamp"):
            raise bad("Could not parse the 'sort' parameter")
        if after is not None:
            start, end = (start, min(end, after[0])) if order == "desc" else (max(start, after[0]), end)
        self.history.looked_at = 0
        look_up = self.history.trades if kind == "trades" else self.history.quotes
        source: Iterator[Any] = look_up(ticker, start, end, newest_first=order == "desc")
        counted = (
            (row.t, seen, row)
            for _, group in itertools.groupby(source, key=lambda row: row.t)
            for seen, row in enumerate(group, 1)
        )
        if after is not None:
            sign = -1 if order == "desc" else 1
            counted = (item for item in counted if (sign * item[0], item[1]) > (sign * after[0], after[1]))
        page, more = self._page(counted, limit)
        view = self._trade_view if kind == "trades" else self._quote_view
        answer: dict[str, Any] = {"results": [view(ticker, row) for _, _, row in page], "status": "OK",
                                  "request_id": self._request_id()}  # fmt: skip
        if more:
            answer["next_url"] = self._next_url(request, f"{page[-1][0]}|{page[-1][1]}")
        return Answer(200, answer)

    def _page(self, rows: Iterator[T], limit: int) -> tuple[list[T], bool]:
        """(rows of a page, whether there are more): it ends at the limit, or when it has opened enough sessions."""
        page: list[T] = []
        for row in rows:
            if len(page) == limit or (page and self.history.looked_at > SESSIONS_A_PAGE):
                return page, True
            page.append(row)
        return page, False

    def _timestamp_span(self, query: dict[str, str]) -> tuple[int, int]:
        """The venue's day unless the query says otherwise; the day of its end when it has no beginning."""
        today = parse_moment(new_york_date(self.exchange.now).isoformat())
        start, end = timestamp_span(query, default_start=today, now=self.exchange.now)
        if not any(query.get(name) for name in ("timestamp", "timestamp.gte", "timestamp.gt")):
            start = min(start, parse_moment(new_york_date(max(end, 0)).isoformat()))
        return start, end

    def _tape_number(self, symbol: str) -> int:
        return "ABC".index(self.exchange.assets[symbol].tape_letter) + 1

    def _trade_view(self, symbol: str, trade: Print) -> dict[str, Any]:
        return {"conditions": _CONDITIONS.get(trade.kind, [0]), "correction": 0, "exchange": 11, "id": str(trade.number),
                "participant_timestamp": trade.t, "price": trade.price / PRICE_SCALE, "sequence_number": trade.number,
                "sip_timestamp": trade.t, "size": trade.size, "tape": self._tape_number(symbol), "trf_id": 0,
                "trf_timestamp": 0}  # fmt: skip

    def _quote_view(self, symbol: str, quote: Quote) -> dict[str, Any]:
        return {"ask_exchange": 11, "ask_price": quote.ask / PRICE_SCALE, "ask_size": quote.ask_size,
                "bid_exchange": 11, "bid_price": quote.bid / PRICE_SCALE, "bid_size": quote.bid_size,
                "conditions": [1], "indicators": [604], "participant_timestamp": quote.t,
                "sequence_number": quote.t // 1000 % 10**9, "sip_timestamp": quote.t,
                "tape": self._tape_number(symbol)}  # fmt: skip

    def _last_trade(self, ticker: str) -> Answer:
        trade = self.history.latest_trade(self._known(ticker))
        if trade is None:
            raise not_found("Data not found.")
        return self._ok({"c": _CONDITIONS.get(trade.kind, [0]), "i": str(trade.number), "p": trade.price / PRICE_SCALE, "s": trade.size, "x": 11,
                         "r": 0, "z": self._tape_number(ticker), "T": ticker, "t": trade.t, "y": trade.t,
                         "f": trade.t, "q": trade.number})  # fmt: skip

    def _last_quote(self, ticker: str) -> Answer:
        quote = self.history.latest_quote(self._known(ticker))
        if quote is None:
            raise not_found("Data not found.")
        return self._ok({"p": quote.bid / PRICE_SCALE, "s": quote.bid_size, "x": 11, "P": quote.ask / PRICE_SCALE,
                         "S": quote.ask_size, "X": 11, "z": self._tape_number(ticker), "T": ticker, "t": quote.t,
                         "y": quote.t, "q": quote.t // 1000 % 10**9})  # fmt: skip


def _sunday(monday: int) -> int:
    """Polygon labels a week with its Sunday, New York midnight."""
    return parse_moment((new_york_date(monday) - timedelta(days=1)).isoformat())
