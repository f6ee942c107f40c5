"""Polygon's reference endpoints: tickers, splits, dividends, market status. Nothing from after the venue's day."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from market import calendar
from market.errors import CalendarError
from market.venue import sessions
from market.venue.assets import Asset
from market.venue.exchange import Exchange
from market.venue.messages import Answer, Request
from market.venue.news import Article, Newsroom
from market.venue.path import seed_of
from market.venue.polygon_codes import conditions
from market.venue.polygon_parameters import COMPARISONS, bad, cursor_text, parse_day, parse_limit
from market.venue.timestamps import SECOND, parse_moment, rfc3339, rfc3339_new_york

NEWS_REACH = 30 * 86_400 * SECOND
"""How far back news is searched."""
_MIC = {"NASDAQ": "XNAS", "NYSE": "XNYS"}


class PolygonReference:
    """Answers /v3/reference and /v1/marketstatus. `ok` and `next_url` are the dialect's envelope."""

    def __init__(
        self, exchange: Exchange, ok: Callable[..., Answer], next_url: Callable[[Request, str], str]
    ) -> None:
        self.exchange = exchange
        self.newsroom = Newsroom(exchange)
        self._ok = ok
        self._next_url = next_url

    def ticker_view(self, asset: Asset) -> dict[str, Any]:
        """One listed company."""
        return {"ticker": asset.symbol, "name": asset.name, "market": "stocks", "locale": "us",
                "primary_exchange": _MIC.get(asset.exchange, "XNYS"), "type": "CS", "active": asset.active,
                "currency_name": "usd", "cik": f"{seed_of('cik', asset.symbol) % 10**7:010d}",
                "composite_figi": f"BBG{seed_of('figi', asset.symbol) % 16**9:09X}",
                "share_class_figi": f"BBG001{seed_of('share', asset.symbol) % 16**6:06X}",
                "last_updated_utc": rfc3339(self.exchange.session.pre_open)}  # fmt: skip

    def tickers(self, request: Request) -> Answer:
        """The listed symbols, by ticker, paged."""
        query = request.query
        symbols = sorted(self.exchange.tape.symbols)
        if query.get("ticker"):
            symbols = [s for s in symbols if s == query["ticker"]]
        for name, keep in (
            ("gte", operator.ge),
            ("gt", operator.gt),
            ("lte", operator.le),
            ("lt", operator.lt),
        ):
            value = query.get(f"ticker.{name}")
            if value:
                symbols = [s for s in symbols if keep(s, value)]
        if query.get("search"):
            symbols = [s for s in symbols if query["search"].lower() in s.lower()]
        if query.get("market", "stocks") != "stocks" or query.get("active") == "false":
            symbols = []
        if query.get("order") == "desc":
            symbols.reverse()
        limit = parse_limit(query, 100, most=1000)
        seen = cursor_text(query)
        if seen:
            symbols = [s for s in symbols if (s < seen if query.get("order") == "desc" else s > seen)]
        page = symbols[:limit]
        more = {"next_url": self._next_url(request, page[-1])} if len(symbols) > limit else {}
        return self._ok([self.ticker_view(self.exchange.assets[s]) for s in page], **more)

    def news(self, request: Request) -> Answer:
        """The venue's modelled articles, newest first."""
        query, exchange = request.query, self.exchange
        start, end = 0, exchange.now
        try:
            if query.get("published_utc"):
                start, end = (
                    parse_moment(query["published_utc"]),
                    parse_moment(query["published_utc"], end_of_day=True),
                )
            for name in COMPARISONS:
                text = query.get(f"published_utc.{name}")
                if text and name[0] == "g":
                    start = parse_moment(text) + (name == "gt")
                elif text:
                    end = parse_moment(text, end_of_day=name == "lte") - (name == "lt")
        except (ValueError, OverflowError):
            raise bad("Could not parse the 'published_utc' parameter") from None
        start = max(start, end - NEWS_REACH)
        newest_first = query.get("order", "desc") == "desc"
        rows = [
            article
            for article in self.newsroom.between(start, end, newest_first=newest_first)
            if query.get("ticker") in (None, "", article.symbol)
        ]
        limit = parse_limit(query, 10, most=1000)
        offset = int(text) if (text := cursor_text(query) or "0").isdigit() else 0
        page = rows[offset : offset + limit]
        more = (
            {"next_url": self._next_url(request, str(offset + limit))} if len(rows) > offset + limit else {}
        )
        return self._ok([_article(article) for article in page], **more)

    def conditions(self, request: Request) -> Answer:
        """Trade conditions, filtered and paged."""
        query = request.query
        rows = conditions()
        if query.get("asset_class", "stocks") != "stocks" or query.get("data_type", "trade") != "trade":
            rows = []
        if query.get("id"):
            rows = [row for row in rows if str(row["id"]) == query["id"]]
        if query.get("sip"):
            rows = [row for row in rows if query["sip"] in row["sip_mapping"]]
        limit = parse_limit(query, 10, most=1000)
        offset = int(text) if (text := cursor_text(query) or "0").isdigit() else 0
        more = (
            {"next_url": self._next_url(request, str(offset + limit))} if len(rows) > offset + limit else {}
        )
        return self._ok(rows[offset : offset + limit], **more)

    def events(self, ticker: str) -> Answer:
        """No ticker ever changed its name here."""
        view = self.ticker_view(self.exchange.assets[ticker])
        kept = {key: view[key] for key in ("name", "composite_figi", "cik")}
        answer = self._ok({**kept, "events": []})
        return answer

    def actions(self, request: Request, kind: str) -> Answer:
        """Splits or dividends up to the venue's day, newest first."""
        query = request.query
        history, today = self.exchange.tape.history, self.exchange.session.day
        symbols = [query["ticker"]] if query.get("ticker") else list(self.exchange.tape.symbols)
        field_name = "execution_date" if kind == "splits" else "ex_dividend_date"
        low, high = history.first_day, today
        exact = query.get(field_name)
        if exact:
            low = high = parse_day(exact)
        for name in COMPARISONS:
            text = query.get(f"{field_name}.{name}")
            if text:
                day = parse_day(text)
                if name[0] == "g":
                    low = max(low, day + timedelta(days=name == "gt"))
                else:
                    high = min(high, day - timedelta(days=name == "lt"))
        rows: list[dict[str, Any]] = []
        for symbol in symbols:
            for bar in history.between(symbol, low, min(high, today)):
                if kind == "splits" and bar.split not in (0.0, 1.0):
                    old, new = (1, bar.split) if bar.split >= 1 else (round(1 / bar.split, 6), 1)
                    rows.append({"execution_date": bar.day.isoformat(), "split_from": old, "split_to": new,
                                 "ticker": symbol, "id": f"E{seed_of(symbol, bar.day):016x}"})  # fmt: skip
                elif kind == "dividends" and bar.dividend:
                    day_text = bar.day.isoformat()
                    rows.append({"cash_amount": bar.dividend, "currency": "USD", "declaration_date": day_text,
                                 "dividend_type": "CD", "ex_dividend_date": day_text, "frequency": 4,
                                 "pay_date": day_text, "record_date": day_text, "ticker": symbol,
                                 "id": f"E{seed_of(symbol, bar.day, 'd'):016x}"})  # fmt: skip
        rows.sort(
            key=lambda row: (row[field_name], row["ticker"]), reverse=query.get("order", "desc") == "desc"
        )
        limit = parse_limit(query, 10, most=1000)
        offset = int(cursor_text(query) or 0) if (cursor_text(query) or "0").isdigit() else 0
        page = rows[offset : offset + limit]
        more = (
            {"next_url": self._next_url(request, str(offset + limit))} if len(rows) > offset + limit else {}
        )
        answer = self._ok(page, **more)
        del answer.body["count"]
        return answer

    # --- market status -----------------------------------------------------------------------------------

    def status_now(self) -> Answer:
        """Open, extended or closed."""
        now, session = self.exchange.now, self.exchange.session
        regular, extended = session.is_regular(now), session.is_extended(now)
        word = "open" if regular else "extended-hours" if extended else "closed"
        return Answer(200, {
            "afterHours": session.close <= now < session.post_close,
            "earlyHours": session.pre_open <= now < session.open,
            "currencies": {"crypto": "open", "fx": "open"},
            "exchanges": {"nasdaq": word, "nyse": word, "otc": word},
            "market": word,
            "serverTime": rfc3339_new_york(now - now % 10**9),
        })  # fmt: skip

    def status_upcoming(self) -> Answer:
        """Holidays and early closes of the next 120 days."""
        day, rows = self.exchange.session.day, []
        for ahead in range(1, 121):
            at = day + timedelta(days=ahead)
            if at.weekday() >= 5:
                continue
            try:
                open_day = calendar.is_session(at)
            except CalendarError:
                break
            if not open_day:
                rows += [{"exchange": name, "name": holiday(at), "date": at.isoformat(), "status": "closed"}
                         for name in ("NYSE", "NASDAQ")]  # fmt: skip
                continue
            session = sessions.session_on(at)
            if session.close - session.open < 6 * 3600 * 10**9:
                rows += [{"exchange": name, "name": holiday(at), "date": at.isoformat(), "status": "early-close",
                          "open": rfc3339(session.open), "close": rfc3339(session.close)}
                         for name in ("NYSE", "NASDAQ")]  # fmt: skip
        return Answer(200, rows)


def _article(article: Article) -> dict[str, Any]:
    return {
        "id": f"{article.id:x}",
        "publisher": {
            "name": "Venue newsroom (modelled)",
            "homepage_url": "",
            "logo_url": "",
            "favicon_url": "",
        },
        "title": article.headline,
        "author": "Venue newsroom (modelled)",
        "published_utc": rfc3339(article.updated_at),
        "article_url": "",
        "tickers": [article.symbol],
        "amp_url": "",
        "image_url": "",
        "description": article.summary,
    }


def holiday(day: date) -> str:
    """The name of an exchange holiday or early close, by the rules of the New York Stock Exchange."""
    if day.weekday() == 4 and (day.month, day.day) not in _FIXED and day.month in (3, 4):
        return "Good Friday"
    for (month, number), name in _FIXED.items():
        at = date(day.year + (month == 1 and day.month == 12), month, number)
        if abs((at - day).days) <= 1:
            return name
    for month, first, name in _MONDAYS:
        if day.month == month and day.weekday() == 0 and first <= day.day < first + 7:
            return name
    if day.month == 11 and 22 <= day.day <= 29:
        return "Thanksgiving"
    return "Holiday"


_FIXED = {(1, 1): "New Years Day", (6, 19): "Juneteenth", (7, 4): "Independence Day", (12, 25): "Christmas"}
_MONDAYS = ((1, 15, "Martin Luther King, Jr. Day"), (2, 15, "Washington's Birthday"), (5, 25, "Memorial Day"),
            (9, 1, "Labor Day"))  # fmt: skip
