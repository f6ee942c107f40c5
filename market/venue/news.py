"""News: modelled articles, the same in every run, each written from prices that were known when it appeared.

Nothing here is anybody's journalism. A symbol has an article on about two days in five, between 6:00 and 19:00 New
York; it says where the stock closed the session before and how far that was from the close before it. An article can be
read from its update time on, and never before.

Shapes: Market Data API 1.1 (`news`), the news socket's `n` message (section 1.1 of the specification: /v1beta1/news).
"""

from __future__ import annotations

import base64
import binascii
import functools
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any

from market.venue.exchange import Exchange
from market.venue.messages import truth
from market.venue.paging import read_limit
from market.venue.path import seed_of
from market.venue.refusals import Refusal
from market.venue.timestamps import SECOND, new_york, new_york_date, parse_moment, rfc3339

LIMIT_DEFAULT, LIMIT_MAX = 10, 50
DAYS_BY_DEFAULT = 30
"""How far back a query without `start` reaches."""
DAYS_A_PAGE = 366
_FIRST, _LAST = time(6), 13 * 3600
_IN_FIVE = 2


@dataclass(frozen=True, slots=True)
class Article:
    """One article; times in venue nanoseconds. `content` is empty for a headline alone."""

    id: int
    symbol: str
    headline: str
    summary: str
    content: str
    created_at: int
    updated_at: int

    def view(self, *, content: bool) -> dict[str, Any]:
        """As REST sends it."""
        return {
            "id": self.id,
            "headline": self.headline,
            "author": "Venue newsroom (modelled)",
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "summary": self.summary,
            "content": self.content if content else "",
            "url": None,
            "images": [],
            "symbols": [self.symbol],
            "source": "modelled",
        }

    def message(self) -> dict[str, Any]:
        """As the socket sends it, times in nanoseconds."""
        view = self.view(content=True)
        del view["images"]
        return {"T": "n", **view, "created_at": self.created_at, "updated_at": self.updated_at}


class Newsroom:
    """Every article of a venue, a day at a time."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.of_day = functools.lru_cache(maxsize=64)(self._of_day)

    def _of_day(self, day: date) -> tuple[Article, ...]:
        """The articles of a calendar day, by update time."""
        exchange = self._exchange
        written: list[tuple[int, int, str]] = []
        for symbol in exchange.tape.symbols:
            draw = seed_of(exchange.seed, "news", symbol, day.isoformat())
            if draw % 5 < _IN_FIVE:
                created = new_york(day, _FIRST) + (draw // 8) % _LAST * SECOND
                written.append((created + (draw // 2**40) % 90 * SECOND, created, symbol))
        found: list[Article] = []
        for number, (updated, created, symbol) in enumerate(sorted(written)):
            article = self._write(day.toordinal() * 10_000 + number, symbol, day, created, updated)
            if article is not None:
                found.append(article)
        return tuple(found)

    def _write(self, number: int, symbol: str, day: date, created: int, updated: int) -> Article | None:
        history = self._exchange.tape.history
        last = history.before(symbol, day)
        before = history.before(symbol, last.day) if last is not None else None
        if last is None or before is None or before.close <= 0:
            return None
        change = (last.close / before.close / (1 / last.split if last.split else 1) - 1) * 100
        way = "up" if change >= 0 else "down"
        headline = f"{symbol} closed {way} {abs(change):.1f} % at {last.close:.2f} USD on {last.day:%B %d}"
        summary = f"{symbol} traded between {last.low:.2f} and {last.high:.2f} USD on {last.day.isoformat()}."
        content = "" if number % 3 == 0 else f"<p>{summary} {int(last.volume):,} shares changed hands.</p>"
        return Article(number, symbol, headline, summary, content, created, updated)

    def between(self, start: int, end: int, *, newest_first: bool) -> Iterator[Article]:
        """Articles updated in start..end, nothing after the clock."""
        end = min(end, self._exchange.now)
        if end < start:
            return
        first, last = new_york_date(start), new_york_date(end)
        first = max(first, self._exchange.tape.history.first_day)
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        for day in reversed(days) if newest_first else days:
            articles = [a for a in self.of_day(day) if start <= a.updated_at <= end]
            yield from reversed(articles) if newest_first else articles

    def since(self, start: int, end: int) -> list[Article]:
        """Articles updated at start < time <= end: what the socket has to send."""
        found: list[Article] = []
        for day in sorted({new_york_date(start), new_york_date(end)}):
            articles = self.of_day(day)
            low = bisect_right(articles, start, key=lambda a: a.updated_at)
            high = bisect_right(articles, end, key=lambda a: a.updated_at)
            found.extend(articles[low:high])
        return found


def list_news(exchange: Exchange, newsroom: Newsroom, query: dict[str, str]) -> dict[str, Any]:
    """GET /v1beta1/news; Refusal 400 for a parameter it cannot read."""
    limit = read_limit(query, LIMIT_DEFAULT, LIMIT_MAX)
    sort = query.get("sort") or "desc"
    if sort not in ("asc", "desc"):
        raise Refusal(400, None, "invalid sort: only asc and desc are supported")
    end = _moment(query, "end", exchange.now, end_of_day=True)
    start = _moment(query, "start", end - DAYS_BY_DEFAULT * 86_400 * SECOND)
    if end < start:
        raise Refusal(400, None, "end should not be before start")
    symbols = {s.strip().upper() for s in (query.get("symbols") or "").split(",") if s.strip()}
    with_content = truth(query.get("include_content"))
    last = _token(query.get("page_token"))
    if last is not None:
        start, end = (start, min(end, last[0])) if sort == "desc" else (max(start, last[0]), end)
    page: list[Article] = []
    # A search for what is rare goes on with the next page: one answer reads so many days and no more.
    reach = DAYS_A_PAGE * 86_400 * SECOND
    start = max(start, new_york(exchange.tape.history.first_day, time()))
    shorter = end - start > reach
    if shorter:
        start, end = (end - reach, end) if sort == "desc" else (start, start + reach)
    for article in newsroom.between(start, end, newest_first=sort == "desc"):
        if symbols and article.symbol not in symbols:
            continue
        if truth(query.get("exclude_contentless")) and not article.content:
            continue
        place = (article.updated_at, article.id)
        if last is not None and (place >= last if sort == "desc" else place <= last):
            continue
        page.append(article)
        if len(page) > limit:
            break
    more = len(page) > limit
    page = page[:limit]
    place_reached = f"{page[-1].updated_at}|{page[-1].id}" if more else ""
    if shorter and not more:
        place_reached = f"{start}|0" if sort == "desc" else f"{end}|{10**12}"
    token = place_reached.encode()
    return {
        "news": [article.view(content=with_content) for article in page],
        "next_page_token": base64.b64encode(token).decode() if token else None,
    }


def _moment(query: dict[str, str], name: str, default: int, *, end_of_day: bool = False) -> int:
    try:
        return parse_moment(query[name], end_of_day=end_of_day) if query.get(name) else default
    except (ValueError, OverflowError):
        raise Refusal(400, None, f"invalid {name}: {query[name][:60]}") from None


def _token(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        t, _, number = base64.b64decode(text, validate=True).decode("ascii").partition("|")
        return int(t), int(number)
    except (ValueError, binascii.Error):
        raise Refusal(400, None, "invalid page token") from None
