"""Polygon's stocks REST: aggregates, trades, quotes, last, snapshots, reference, market status. Section 3.4.

Times are nanoseconds in trades and quotes and milliseconds in aggregates; `adjusted` means splits only.
"""

from __future__ import annotations

import base64
import itertools
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from market.venue.decimals import PRICE_SCALE
from market.venue.exchange import Exchange
from market.venue.messages import Answer, Request, truth
from market.venue.path import seed_of
from market.venue.polygon_parameters import (
    COMPARISONS,
    PolygonRefusal,
    bad,
    cursor,
    not_found,
    parse_day,
    parse_instant,
    parse_limit,
)
from market.venue.polygon_reference import CONDITIONS, EXCHANGES, PolygonReference
from market.venue.price_history import Frame, PriceHistory
from market.venue.tape import Bar, Print, Quote
from market.venue.timestamps import MILLISECOND, new_york_date, parse_moment

_TIMESPANS = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
AGGREGATES_DEFAULT = 5000


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
                return self._open_close(ticker, day)
            case ["v3", "trades", ticker]:
                return self._rows(request, ticker, "trades")
            case ["v3", "quotes", ticker]:
                return self._rows(request, ticker, "quotes")
            case ["v2", "last", "trade", ticker]:
                return self._last_trade(ticker)
            case ["v2", "last", "nbbo", ticker]:
                return self._last_quote(ticker)
            case ["v2", "snapshot", "locale", "us", "markets", "stocks", "tickers", ticker]:
                return Answer(200, {"ticker": self._snapshot(self._known(ticker)), "status": "OK",
                                    "request_id": self._request_id()})  # fmt: skip
            case ["v2", "snapshot", "locale", "us", "markets", "stocks", "tickers"]:
                return self._snapshots(query)
            case ["v2", "snapshot", "locale", "us", "markets", "stocks", ("gainers" | "losers") as direction]:
                return self._movers(direction)
            case ["v3", "reference", "tickers"]:
                return self.reference.tickers(request)
            case ["v3", "reference", "tickers", "types"]:
                kinds = [
                    {"code": "CS", "description": "Common Stock", "asset_class": "stocks", "locale": "us"}
                ]
                return self._ok(kinds)
            case ["v3", "reference", "tickers", ticker]:
                return self._ok(self.reference.ticker_view(self.exchange.assets[self._known(ticker)]))
            case ["v3", "reference", ("splits" | "dividends") as kind]:
                return self.reference.actions(request, kind)
            case ["v3", "reference", "exchanges"]:
                return self._ok(EXCHANGES)
            case ["v3", "reference", "conditions"]:
                return self._ok(CONDITIONS)
            case ["v1", "marketstatus", "now"]:
                return self.reference.status_now()
            case ["v1", "marketstatus", "upcoming"]:
                return self.reference.status_upcoming()
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
        descending = query.get("sort") == "desc"
        frame = Frame(timespan, int(multiplier))
        bars: Iterator[Bar] = self.history.bars(ticker, frame, start, end, "split" if adjusted else "raw")
        if descending:
            bars = iter(list(bars)[::-1])
        seen = cursor(query)
        if seen is not None:
            bars = itertools.dropwhile(lambda bar: bar.t >= seen if descending else bar.t <= seen, bars)
        page = list(itertools.islice(bars, limit + 1))
        more, page = len(page) > limit, page[:limit]
        body: dict[str, Any] = {"ticker": ticker, "queryCount": len(page), "resultsCount": len(page),
                                "adjusted": adjusted}  # fmt: skip
        if page:
            body["results"] = [_aggregate(bar) for bar in page]
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
        rows = [{"T": ticker, **_aggregate(bar)}] if bar else []
        body: dict[str, Any] = {"ticker": ticker, "queryCount": len(rows), "resultsCount": len(rows),
                                "adjusted": adjusted}  # fmt: skip
        if rows:
            body["results"] = rows
        return Answer(200, {**body, "status": "OK", "request_id": self._request_id(), "count": len(rows)})

    def _grouped(self, day_text: str, query: dict[str, str]) -> Answer:
        day = parse_day(day_text)
        rows = []
        t = parse_moment(day.isoformat())
        for symbol in self.exchange.tape.symbols:
            bar = next(self.history.bars(symbol, Frame("day", 1), t, t), None)
            if bar is not None:
                rows.append({"T": symbol, **_aggregate(bar)})
        body: dict[str, Any] = {"queryCount": len(rows), "resultsCount": len(rows),
                                "adjusted": truth(query.get("adjusted", "true"))}  # fmt: skip
        if rows:
            body["results"] = rows
        return Answer(200, {**body, "status": "OK", "request_id": self._request_id(), "count": len(rows)})

    def _open_close(self, ticker: str, day_text: str) -> Answer:
        day = parse_day(day_text)
        t = parse_moment(day.isoformat())
        bar = next(self.history.bars(self._known(ticker), Frame("day", 1), t, t), None)
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
        descending = (query.get("order") or "desc") == "desc"
        source: Iterator[Any] = (
            self.history.trades(ticker, start, end)
            if kind == "trades"
            else self.history.quotes(ticker, start, end)
        )
        if descending:
            source = iter(list(source)[::-1])
        seen = cursor(query)
        if seen is not None:
            source = itertools.dropwhile(lambda row: row.t >= seen if descending else row.t <= seen, source)
        page = list(itertools.islice(source, limit + 1))
        more, page = len(page) > limit, page[:limit]
        view = self._trade_view if kind == "trades" else self._quote_view
        answer: dict[str, Any] = {"results": [view(ticker, row) for row in page], "status": "OK",
                                  "request_id": self._request_id()}  # fmt: skip
        if more:
            answer["next_url"] = self._next_url(request, str(page[-1].t))
        return Answer(200, answer)

    def _timestamp_span(self, query: dict[str, str]) -> tuple[int, int]:
        """From `timestamp` or its comparisons; the venue's day without them."""
        start, end = parse_moment(new_york_date(self.exchange.now).isoformat()), self.exchange.now
        try:
            if query.get("timestamp"):
                start, end = parse_instant(query["timestamp"]), parse_instant(query["timestamp"], end=True)
            for name in COMPARISONS:
                text = query.get(f"timestamp.{name}")
                if not text:
                    continue
                if name == "gte":
                    start = parse_instant(text)
                elif name == "gt":
                    start = parse_instant(text) + 1
                elif name == "lte":
                    end = parse_instant(text, end=True)
                else:
                    end = parse_instant(text) - 1
            if "timestamp.gte" not in query and "timestamp.gt" not in query and not query.get("timestamp"):
                start = min(start, parse_moment(new_york_date(max(end, 0)).isoformat()))
        except (ValueError, OverflowError):
            raise bad("Could not parse the 'timestamp' parameter") from None
        return start, end

    def _tape_number(self, symbol: str) -> int:
        return "ABC".index(self.exchange.assets[symbol].tape_letter) + 1

    def _trade_view(self, symbol: str, trade: Print) -> dict[str, Any]:
        return {"conditions": [0], "exchange": 11, "id": str(trade.number), "participant_timestamp": trade.t,
                "price": trade.price / PRICE_SCALE, "sequence_number": trade.number, "sip_timestamp": trade.t,
                "size": trade.size, "tape": self._tape_number(symbol)}  # fmt: skip

    def _quote_view(self, symbol: str, quote: Quote) -> dict[str, Any]:
        return {"ask_exchange": 11, "ask_price": quote.ask / PRICE_SCALE, "ask_size": quote.ask_size,
                "bid_exchange": 11, "bid_price": quote.bid / PRICE_SCALE, "bid_size": quote.bid_size,
                "participant_timestamp": quote.t, "sequence_number": quote.t // 1000 % 10**9,
                "sip_timestamp": quote.t, "tape": self._tape_number(symbol)}  # fmt: skip

    def _last_trade(self, ticker: str) -> Answer:
        trade = self.history.latest_trade(self._known(ticker))
        if trade is None:
            raise not_found("Data not found.")
        return self._ok({"c": [0], "i": str(trade.number), "p": trade.price / PRICE_SCALE, "s": trade.size, "x": 11,
                         "r": 0, "z": self._tape_number(ticker), "T": ticker, "t": trade.t, "y": trade.t,
                         "f": trade.t, "q": trade.number})  # fmt: skip

    def _last_quote(self, ticker: str) -> Answer:
        quote = self.history.latest_quote(self._known(ticker))
        if quote is None:
            raise not_found("Data not found.")
        return self._ok({"p": quote.bid / PRICE_SCALE, "s": quote.bid_size, "x": 11, "P": quote.ask / PRICE_SCALE,
                         "S": quote.ask_size, "X": 11, "z": self._tape_number(ticker), "T": ticker, "t": quote.t,
                         "y": quote.t, "q": quote.t // 1000 % 10**9})  # fmt: skip

    # --- snapshots ---------------------------------------------------------------------------------------

    def _snapshot(self, symbol: str) -> dict[str, Any]:
        day, previous = self.history.today(symbol), self.history.previous_day(symbol)
        minute, trade, quote = (
            self.history.minute_bar(symbol) if day else None,
            self.history.latest_trade(symbol),
            self.history.latest_quote(symbol),
        )
        price = trade.price / PRICE_SCALE if trade else 0
        change = round(price - previous.close, 4) if day and previous else 0
        empty = {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0, "vw": 0}
        return {
            "ticker": symbol,
            "todaysChange": change,
            "todaysChangePerc": round(100 * change / previous.close, 4) if previous and previous.close else 0,
            "updated": self.exchange.now,
            "day": _day(day) if day else empty,
            "min": {**_day(minute), "av": int(day.volume), "t": minute.t // MILLISECOND, "n": minute.trades}
            if minute and day else {**empty, "av": 0, "t": 0, "n": 0},
            "prevDay": _day(previous) if previous else empty,
            "lastTrade": {"c": [0], "i": str(trade.number), "p": price, "s": trade.size, "t": trade.t, "x": 11}
            if trade else {},
            "lastQuote": {"P": quote.ask / PRICE_SCALE, "S": quote.ask_size, "p": quote.bid / PRICE_SCALE,
                          "s": quote.bid_size, "t": quote.t} if quote else {},
            "fmv": price,
        }  # fmt: skip

    def _snapshots(self, query: dict[str, str]) -> Answer:
        asked = [t for t in (query.get("tickers") or "").split(",") if t]
        symbols = [s for s in (asked or self.exchange.tape.symbols) if s in self.exchange.tape]
        tickers = [self._snapshot(symbol) for symbol in symbols]
        return Answer(200, {"count": len(tickers), "tickers": tickers, "status": "OK",
                            "request_id": self._request_id()})  # fmt: skip

    def _movers(self, direction: str) -> Answer:
        rows = sorted(
            (self._snapshot(s) for s in self.exchange.tape.symbols), key=lambda row: row["todaysChangePerc"]
        )
        chosen = (rows[::-1] if direction == "gainers" else rows)[:20]
        return Answer(200, {"tickers": chosen, "status": "OK", "request_id": self._request_id()})


def _aggregate(bar: Bar) -> dict[str, Any]:
    return {"v": bar.volume, "vw": bar.vwap, "o": bar.open, "c": bar.close, "h": bar.high, "l": bar.low,
            "t": bar.t // MILLISECOND, "n": bar.trades}  # fmt: skip


def _day(bar: Bar) -> dict[str, Any]:
    return {"o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": bar.volume, "vw": bar.vwap}
