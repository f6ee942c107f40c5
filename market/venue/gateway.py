"""From a request to the protocol module that answers it: authentication, rate limit, journal. No socket here.

One address serves the three HTTP dialects: their paths do not overlap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from market.venue.credentials import Credentials
from market.venue.data_rest import DataRest
from market.venue.exchange import Exchange
from market.venue.journal import Journal
from market.venue.messages import Answer, Request, dialect_of
from market.venue.polygon_rest import PolygonRest
from market.venue.rate_limit import RateLimit
from market.venue.refusals import forbidden, rate_limited, unauthorized
from market.venue.trading_rest import TradingRest


class Gateway:
    """Answers any request at the exchange's present time."""

    def __init__(
        self,
        exchange: Exchange,
        credentials: Credentials,
        journal: Journal,
        *,
        rate_limit: RateLimit,
        base_url: str = "",
        auth_status: int = 401,
    ) -> None:
        self.auth_status = auth_status
        self.exchange = exchange
        self.credentials = credentials
        self.journal = journal
        self.rate_limit = rate_limit
        self.trading = TradingRest(exchange)
        self.data = DataRest(exchange)
        self.polygon = PolygonRest(exchange, base_url)

    def identify(self, request: Request, headers: Mapping[str, str]) -> tuple[str, int]:
        """(dialect, account number or -1)."""
        dialect = dialect_of(request.path)
        if dialect != "polygon":
            return dialect, self.credentials.account_of_headers(headers)
        scheme, _, token = (headers.get("Authorization") or "").partition(" ")
        key = token if scheme.lower() == "bearer" else request.query.get("apiKey")
        return dialect, 0 if self.credentials.is_polygon(key) else -1

    def unknown(self, dialect: str) -> Answer:
        """The answer to a key nobody has."""
        if dialect == "polygon":
            answer = self.polygon.unauthorized()
        else:
            refusal = unauthorized() if self.auth_status == 401 else forbidden()
            answer = Answer(refusal.status, refusal.body())
        answer.headers.update(self.rate_limit.headers(0))
        return answer

    def admit(self, dialect: str, account: int) -> tuple[Answer | None, dict[str, str]]:
        """(the 429 when the minute is used up, else None; the rate limit headers of the answer)."""
        allowed, headers = self.rate_limit.take("polygon" if dialect == "polygon" else str(account))
        if allowed:
            return None, headers
        if dialect == "polygon":
            answer = self.polygon.rate_limited()
        else:
            refusal = rate_limited()
            answer = Answer(refusal.status, refusal.body())
        answer.headers.update(headers)
        return answer, headers

    def perform(self, dialect: str, account: int, request: Request) -> Answer:
        """Answer an authenticated request: the part that a replay of the journal repeats."""
        exchange = self.exchange
        if self.journal.on:
            self.journal.record(
                "request", exchange.now, {"dialect": dialect, "account": account, **_journaled(request)}
            )
        if request.method == "HEAD":  # the server leaves the body out
            request = dataclasses.replace(request, method="GET")
        if dialect == "trading":
            answer = self.trading.answer(request, exchange.accounts[account])
        elif dialect == "data":
            answer = self.data.answer(request)
        else:
            answer = self.polygon.answer(request)
        answer.raw = answer.encode()
        if self.journal.on:
            body = answer.raw.decode("utf-8", "replace")
            if self.polygon.base_url:
                body = body.replace(self.polygon.base_url, "")  # a free port is no part of the session
            self.journal.record("answer", exchange.now, {"status": answer.status, "body": body})
        exchange.advance(exchange.now)
        # Before the answer leaves: whoever has heard of the order finds it in the file, whatever happens next.
        self.journal.flush()
        return answer


def _journaled(request: Request) -> dict[str, Any]:
    line: dict[str, Any] = {"method": request.method, "path": request.path}
    if request.query:
        line["query"] = {key: value for key, value in request.query.items() if key != "apiKey"}
    if request.body:
        line["body"] = request.body.decode("utf-8", "replace")
    return line
