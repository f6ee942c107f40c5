"""Server-sent events: the only feed of the broker that can be asked for the past.

    GET /v2/events/trades              trade updates, each with `event_id` and `at`
    GET /v2beta1/events/activities     account activities (ActivityEventV2)

Query: `since`/`until` (RFC 3339 or a day) or `since_id`/`until_id` (ULIDs), both ends included. Without a beginning
nothing old is sent; with an end the stream stops there with its 200. Ids are ULIDs of the venue's time: they sort as
the events happened. A client that does not read loses messages and is told how many, in a comment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from market.errors import CalendarError
from market.venue import sessions
from market.venue.account import Account
from market.venue.decimals import decimal_text, parse_decimal
from market.venue.exchange import Exchange, Update
from market.venue.refusals import Refusal, invalid
from market.venue.timestamps import MILLISECOND, new_york_date, parse_moment, rfc3339

PATHS = {"/v2/events/trades": "trades", "/v2beta1/events/activities": "activities"}
KEPT_MAX = 20_000
"""Events of a kind that can be asked for again."""
WAITING_MAX = 10_000
"""Events a client may be behind."""
HEARTBEAT_S = 15.0
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(t: int, number: int) -> str:
    """26 characters of Crockford's base 32: milliseconds of `t`, then the number of the event."""
    value = (t // MILLISECOND << 80) | number
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one account; `t` in venue nanoseconds."""

    number: int
    account: int
    t: int
    data: dict[str, Any]

    @property
    def id(self) -> str:
        """Its ULID; made when asked for, for most events never are."""
        return ulid(self.t, self.number)

    def encode(self) -> bytes:
        """As it travels."""
        body = msgspec.json.encode({**self.data, "event_id": self.id, "at": rfc3339(self.t)})
        return b"event: message\nid: " + self.id.encode() + b"\ndata: " + body + b"\n\n"


@dataclass(frozen=True, slots=True)
class Span:
    """What a query asks for; None is an open end. `live` when nothing old is wanted."""

    since: int | None = None
    until: int | None = None
    since_id: str | None = None
    until_id: str | None = None

    @property
    def live(self) -> bool:
        """Only what is still to come."""
        return self.since is None and self.since_id is None

    def begun(self, event: Event) -> bool:
        """Whether the event is not too early."""
        return (self.since is None or event.t >= self.since) and (
            self.since_id is None or event.id >= self.since_id
        )

    def over(self, event: Event) -> bool:
        """Whether the event is too late."""
        return (self.until is not None and event.t > self.until) or (
            self.until_id is not None and event.id > self.until_id
        )

    def passed(self, now: int) -> bool:
        """Whether nothing inside it can still happen at venue time `now`."""
        return (self.until is not None and now > self.until) or (
            self.until_id is not None and ulid(now, 0) > self.until_id
        )


def read_span(query: dict[str, str]) -> Span:
    """The query's ends; Refusal 422 when they contradict each other or cannot be read."""
    if query.get("until") and not query.get("since"):
        raise invalid("since is required when until is specified")
    if query.get("until_id") and not query.get("since_id"):
        raise invalid("since_id is required when until_id is specified")
    if query.get("since") and query.get("since_id"):
        raise invalid("since and since_id cannot be used together")
    for name in ("since_id", "until_id"):
        text = query.get(name) or ""
        if text and (len(text) != 26 or not set(text) <= set(_ALPHABET)):
            raise invalid(f"{name} is not a ULID")
    try:
        since = parse_moment(query["since"]) if query.get("since") else None
        until = parse_moment(query["until"], end_of_day=True) if query.get("until") else None
    except (ValueError, OverflowError):
        raise invalid("since and until must be RFC3339 or YYYY-MM-DD") from None
    return Span(since, until, query.get("since_id") or None, query.get("until_id") or None)


def activity_event(exchange: Exchange, row: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """(venue time, ActivityEventV2 without its id) of an activity row."""
    reference = row["id"].partition("::")[2]
    if row["activity_type"] == "FILL":
        t = parse_moment(row["transaction_time"])
        short = row["side"] == "sell_short"
        amount = parse_decimal(row["price"]) * parse_decimal(row["qty"]) * (-1 if row["side"] == "buy" else 1)
        return t, {
            "activity_type": "FILL",
            "executed_at": row["transaction_time"],
            "status": "executed",
            "settle_date": _settles(t),
            "currency": "USD",
            "ref_id": reference,
            "price": row["price"],
            "qty": row["qty"],
            "net_amount": decimal_text(amount),
            "details": {
                "execution_type": "fill",
                "order_id": row["order_id"],
                "order_status": row["order_status"],
                "side": "sell" if short else row["side"],
                "symbol": row["symbol"],
                "asset_id": exchange.assets[row["symbol"]].id,
                "cum_qty": row["cum_qty"],
                "leaves_qty": row["leaves_qty"],
            },
        }
    t = parse_moment(row["created_at"])
    details = {"system_date": row["date"]}
    if "symbol" in row:
        details["symbol"] = row["symbol"]
    event = {
        "activity_type": row["activity_type"],
        "activity_subtype": row["activity_sub_type"],
        "executed_at": row["created_at"],
        "status": row["status"],
        "settle_date": row["date"],
        "currency": row["currency"],
        "ref_id": reference,
        "net_amount": row["net_amount"],
        "details": details,
    }
    return t, {**event, "qty": row["qty"]} if "qty" in row else event


def _settles(t: int) -> str:
    try:
        return sessions.settlement_date(new_york_date(t)).isoformat()
    except CalendarError:  # past the end of the calendar the trade date is the best there is
        return new_york_date(t).isoformat()


class EventLog:
    """What has happened, by kind, and who listens."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._rows = 0
        self._kept: dict[str, deque[Event]] = {kind: deque(maxlen=KEPT_MAX) for kind in PATHS.values()}
        self._told: dict[int, int] = {}
        self.listeners: list[Listener] = []

    def trade_updates(self, updates: list[Update]) -> None:
        """Trade updates as the exchange made them, before any fault."""
        for update in updates:
            self._add("trades", update.number, update.account, update.t, update.data)

    def activities(self, accounts: list[Account]) -> None:
        """Activity rows that are new since the last look; streams whose span has passed end."""
        for account in accounts:
            rows = account.activities
            known = self._told.get(account.number, 0)
            if len(rows) > known:
                self._told[account.number] = len(rows)
                for row in rows[known:]:
                    t, data = activity_event(self._exchange, row)
                    self._rows += 1
                    self._add("activities", self._rows, account.number, t, data)
        for listener in self.listeners:
            if listener.span.passed(self._exchange.now):
                listener.end()

    def _add(self, kind: str, number: int, account: int, t: int, data: dict[str, Any]) -> None:
        kept = self._kept[kind]
        t = max(t, kept[-1].t) if kept else t  # a late row is told late: ids never go back
        event = Event(number, account, t, data)
        kept.append(event)
        for listener in self.listeners:
            if listener.kind == kind and listener.account == account:
                listener.hear(event)

    def past(self, kind: str, account: int, span: Span) -> list[Event]:
        """Events of the past that the span asks for."""
        if span.live:
            return []
        return [e for e in self._kept[kind] if e.account == account and span.begun(e) and not span.over(e)]

    def close(self) -> None:
        """End every stream."""
        for listener in self.listeners:
            listener.end()


class Listener:
    """One open stream."""

    def __init__(self, kind: str, account: int, span: Span) -> None:
        self.kind, self.account, self.span = kind, account, span
        self._ended = False
        self._waiting: deque[Event] = deque()
        self._dropped = 0
        self._wake = asyncio.Event()

    def hear(self, event: Event) -> None:
        """Queue an event, or count it as lost."""
        if self.span.over(event):
            self._ended = True
        elif self.span.begun(event):
            if len(self._waiting) < WAITING_MAX:
                self._waiting.append(event)
            else:
                self._dropped += 1
        self._wake.set()

    def end(self) -> None:
        """Stop once everything is said."""
        self._ended = True
        self._wake.set()

    async def frames(self) -> bytes | None:
        """What there is to send, a heartbeat after a quiet while, None at the end."""
        if not self._waiting and not self._dropped and not self._ended:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                return b": heartbeat\n\n"
        self._wake.clear()
        out = [event.encode() for event in self._waiting]
        self._waiting.clear()
        if self._dropped:
            out.append(b": you are reading too slowly, dropped %d messages\n\n" % self._dropped)
            self._dropped = 0
        return None if self._ended and not out else b"".join(out)


async def serve(
    request: web.BaseRequest, log: EventLog, account: int, query: dict[str, str], headers: dict[str, str]
) -> web.StreamResponse:
    """Stream until the client goes, the span ends, or the venue stops."""
    try:
        span = read_span(query)
    except Refusal as refusal:
        return web.json_response(refusal.body(), status=refusal.status, headers=headers)
    listener = Listener(PATHS[request.path], account, span)
    past = log.past(listener.kind, account, span)
    log.listeners.append(listener)
    response = web.StreamResponse(
        headers={**headers, "Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    try:
        await response.prepare(request)
        await response.write(b": connected\n\n" + b"".join(event.encode() for event in past))
        while (frames := await listener.frames()) is not None:
            if frames:
                await response.write(frames)
        await response.write_eof()
    except ConnectionError:
        pass  # the client went
    finally:
        log.listeners.remove(listener)
    return response
