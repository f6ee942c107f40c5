"""Polygon's reference endpoints: tickers, splits, dividends, market status. Nothing from after the venue's day."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from market import calendar
from market.errors import CalendarError
from market.venue import sessions
from market.venue.assets import Asset
from market.venue.exchange import Exchange
from market.venue.messages import Answer, Request
from market.venue.path import seed_of
from market.venue.polygon_parameters import COMPARISONS, cursor_text, parse_day, parse_limit
from market.venue.timestamps import rfc3339, rfc3339_new_york

_MIC = {"NASDAQ": "XNAS", "NYSE": "XNYS"}


class PolygonReference:
    """Answers /v3/reference and /v1/marketstatus. `ok` and `next_url` are the dialect's envelope."""

    def __init__(
        self, exchange: Exchange, ok: Callable[..., Answer], next_url: Callable[[Request, str], str]
    ) -> None:
        self.exchange = exchange
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
                rows += [{"exchange": name, "name": "Holiday", "date": at.isoformat(), "status": "closed"}
                         for name in ("NYSE", "NASDAQ")]  # fmt: skip
                continue
            session = sessions.session_on(at)
            if session.close - session.open < 6 * 3600 * 10**9:
                rows += [{"exchange": name, "name": "Early close", "date": at.isoformat(), "status": "early-close",
                          "open": rfc3339(session.open), "close": rfc3339(session.close)}
                         for name in ("NYSE", "NASDAQ")]  # fmt: skip
        return Answer(200, rows)


EXCHANGES = [
    {"id": 10, "type": "exchange", "asset_class": "stocks", "locale": "us", "name": "New York Stock Exchange",
     "mic": "XNYS", "operating_mic": "XNYS", "participant_id": "N", "url": "https://www.nyse.com"},
    {"id": 11, "type": "exchange", "asset_class": "stocks", "locale": "us", "name": "NYSE Arca, Inc.",
     "mic": "ARCX", "operating_mic": "XNYS", "participant_id": "P", "url": "https://www.nyse.com/markets/nyse-arca"},
    {"id": 12, "type": "exchange", "asset_class": "stocks", "locale": "us", "name": "Nasdaq", "mic": "XNAS",
     "operating_mic": "XNAS", "participant_id": "T", "url": "https://www.nasdaq.com"},
]  # fmt: skip
CONDITIONS = [
    {"id": number, "type": "sale_condition", "name": name, "asset_class": "stocks", "data_types": ["trade"],
     "sip_mapping": {"CTA": letter, "UTP": letter}}
    for number, name, letter in ((0, "Regular Sale", "@"), (8, "Closing Prints", "6"), (17, "Market Center Opening Trade", "O"))
]  # fmt: skip
