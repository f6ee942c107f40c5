"""The broker, through alpaca-py, with the one function that sends.

Every answer and every frame is handed to ``keep`` as the bytes it is,
before the SDK or we parse it; what it says is then taken raw, so that a status or field the SDK does
not know cannot lose a message. An answer that proves nothing is AMBIGUOUS, never a rejection.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.stream import TradingStream

from executor.broker_wire import Calls, Keep, UpdateStream, trading_client
from executor.core.commands import Replace, Submit
from executor.core.orders import Evidence, evidence_of_status
from executor.errors import BrokerUnreachable, ExecutorError
from executor.message_log import MessageLog
from executor.messages import News
from executor.order_body import order_fields
from executor.settings import BrokerSettings

Raw = dict[str, Any]
T = TypeVar("T")
ORDERS_PAGE = 500
ACTIVITIES_PAGE = 100
DUPLICATE_ID = "client_order_id must be unique"
# Refusals whose meaning is certain (design: venue section 2.5); any other 4xx proves nothing.
DEFINITE_REFUSALS = frozenset({(400, 40010000), (403, 40310000), (422, 40010001), (422, 42210000)})

UNANSWERED = (APIError, requests.RequestException, ValueError)
"""What a call raises when the broker gave no usable answer (ValueError: a body that is no JSON)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubmitOutcome:
    """What a submit proved: evidence, and the broker's order if it showed one."""

    evidence: Evidence
    order: Raw | None
    reason: str


class Broker:
    """Trading REST and trade updates of one account.

    Urgent calls (submit, cancel) and slow ones (sweeps) have a connection and a thread each, so that
    a sweep cannot hold up a cancel.
    """

    def __init__(self, settings: BrokerSettings, keep: Keep, news: News) -> None:
        key, secret = settings.key_id.get_secret_value(), settings.secret_key.get_secret_value()
        if not key or not secret:
            raise ExecutorError("no broker key")  # the command line checks first, with the way out
        self.url = settings.url
        self._settings = settings
        self._keep, self._news = keep, news
        self.calls = Calls()
        self._urgent = trading_client(settings, key, secret, keep, news)
        self._slow = trading_client(settings, key, secret, keep, news)
        self._urgent_thread = ThreadPoolExecutor(1, thread_name_prefix="broker-urgent")
        self._slow_thread = ThreadPoolExecutor(1, thread_name_prefix="broker-sweep")

    def close(self) -> None:
        """Drop threads and connections."""
        for pool in (self._urgent_thread, self._slow_thread):
            pool.shutdown(wait=False, cancel_futures=True)
        self._urgent._session.close()
        self._slow._session.close()

    # ------------------------------------------------------------------ orders

    async def submit(self, order: Submit) -> SubmitOutcome:
        """Send one order, once. The only function of the project that sends an order."""
        try:
            fields = order_fields(order)
        except ValueError as error:
            # Nothing was sent, which is as definite as a refusal can be.
            return SubmitOutcome(Evidence.REFUSED, None, f"never sent, its terms are no order: {error}")
        return await self._send(order.client_order_id, lambda: self._urgent.post("/orders", fields))

    async def replace(self, order: Replace) -> SubmitOutcome:
        """Ask the broker to go on with a working order at new terms, under our new client id.

        A 200 does not mean that it was replaced: the outcome shows the new order as it is so far.
        """
        fields = {
            "qty": f"{order.qty:f}",
            "limit_price": f"{order.limit_price:f}",
            "client_order_id": order.client_order_id,
        }
        return await self._send(
            order.client_order_id,
            lambda: self._urgent.patch(f"/orders/{order.broker_order_id}", fields),
        )

    async def _send(self, client_order_id: str, call: Callable[[], Any]) -> SubmitOutcome:
        try:
            order = await self._in(self._urgent_thread, call)
        except APIError as error:
            return await self._refusal(client_order_id, error)
        except (requests.RequestException, ValueError) as error:
            return SubmitOutcome(Evidence.AMBIGUOUS, None, f"no usable answer: {type(error).__name__}")
        if not isinstance(order, dict) or not {"id", "status"} <= order.keys():
            return SubmitOutcome(Evidence.AMBIGUOUS, None, "an answer without an order")
        return SubmitOutcome(evidence_of_status(order["status"]), order, order["status"])

    async def _refusal(self, client_order_id: str, error: APIError) -> SubmitOutcome:
        code, message = _api_error(error)
        if DUPLICATE_ID in message:
            # The broker has this id already: it accepted an earlier try. Ask what became of it.
            try:
                order = await self.find(client_order_id)
            except UNANSWERED as failure:
                return SubmitOutcome(
                    Evidence.AMBIGUOUS, None, f"id is taken, look-up failed: {type(failure).__name__}"
                )
            if order is None:
                return SubmitOutcome(Evidence.AMBIGUOUS, None, "id is taken but the order is not found")
            return SubmitOutcome(evidence_of_status(order["status"]), order, order["status"])
        if (error.status_code, code) in DEFINITE_REFUSALS:
            return SubmitOutcome(Evidence.REFUSED, None, f"{error.status_code} {code}: {message}")
        return SubmitOutcome(Evidence.AMBIGUOUS, None, f"{error.status_code} proves nothing: {message[:200]}")

    async def cancel(self, broker_order_id: str) -> bool:
        """Ask to cancel; True if the request was taken. The result comes as an update or a sweep."""
        try:
            await self._in(self._urgent_thread, self._urgent.cancel_order_by_id, broker_order_id)
        except UNANSWERED as error:
            log.warning("cancel of %s not taken: %s", broker_order_id, type(error).__name__)
            return False
        return True

    async def cancel_all(self) -> int:
        """Ask to cancel every open order of the account; how many the broker listed.

        Raises :class:`BrokerUnreachable` if the broker gives no usable answer.
        """
        try:
            return len(await self._in(self._urgent_thread, self._urgent.cancel_orders) or [])
        except UNANSWERED as error:
            raise BrokerUnreachable(f"{self.url} did not take the cancel: {type(error).__name__}") from None

    async def find(self, client_order_id: str) -> Raw | None:
        """The order with this client id, or None if the broker says it has none."""
        try:
            order: Raw = await self._in(
                self._urgent_thread, self._urgent.get_order_by_client_id, client_order_id
            )
        except APIError as error:
            if error.status_code == 404:
                return None
            raise
        return order

    async def nested(self, broker_order_id: str) -> Raw:
        """One order with its legs."""
        order: Raw = await self._in(
            self._slow_thread, self._slow.get, f"/orders/{broker_order_id}", {"nested": "true"}
        )
        return order

    async def orders_since(self, after: dt.datetime) -> list[Raw]:
        """Every order submitted after ``after``, any status, paged by submission time, no duplicates."""
        found: dict[str, Raw] = {}
        since = after
        while True:
            query = {"status": "all", "limit": ORDERS_PAGE, "direction": "asc", "after": _rfc3339(since)}
            page = await self._get("/orders", query)
            fresh = [o for o in page if o["id"] not in found]
            found |= {o["id"]: o for o in page}
            if len(page) < ORDERS_PAGE or not fresh:
                return list(found.values())
            # Ties at the boundary would be lost: step back a moment, the ids remove the overlap.
            since = parse_time(page[-1]["submitted_at"]) - dt.timedelta(milliseconds=1)

    async def open_orders(self) -> list[Raw]:
        """Every open order."""
        page = await self._get("/orders", {"status": "open", "limit": ORDERS_PAGE, "nested": "false"})
        if len(page) == ORDERS_PAGE:
            raise ExecutorError(
                f"{ORDERS_PAGE} open orders or more: the list is truncated and proves nothing"
            )
        return page

    # ------------------------------------------------------------------ account

    async def account(self) -> Raw:
        """The account object."""
        account: Raw = await self._in(self._slow_thread, self._slow.get_account)
        return account

    async def assets(self) -> list[Raw]:
        """Every active US equity the broker knows."""
        return await self._get("/assets", {"status": "active", "asset_class": "us_equity"})

    async def positions(self) -> dict[str, Raw]:
        """Positions by symbol."""
        return {p["symbol"]: p for p in await self._in(self._slow_thread, self._slow.get_all_positions)}

    async def clock(self) -> tuple[dt.datetime, bool]:
        """The broker's time and whether the market is open."""
        clock = await self._in(self._slow_thread, self._slow.get_clock)
        return parse_time(clock["timestamp"]), bool(clock["is_open"])

    async def session(self, day: dt.date) -> tuple[dt.datetime, dt.datetime] | None:
        """Open and close of a day (aware UTC) by the broker's calendar; None if it is no session."""
        from zoneinfo import ZoneInfo

        rows = await self._get("/calendar", {"start": day.isoformat(), "end": day.isoformat()})
        if not rows:
            return None
        new_york = ZoneInfo("America/New_York")

        def at(text: str) -> dt.datetime:
            return dt.datetime.combine(day, dt.time.fromisoformat(text), new_york).astimezone(dt.UTC)

        return at(rows[0]["open"]), at(rows[0]["close"])

    async def activities(self, after: dt.date) -> list[Raw]:
        """Every account activity since a day, oldest first, paged by the last row's id."""
        rows: list[Raw] = []
        query: Raw = {
            "after": f"{after.isoformat()}T00:00:00Z",
            "direction": "asc",
            "page_size": ACTIVITIES_PAGE,
        }
        while True:
            page = await self._get("/account/activities", query)
            rows += page
            if len(page) < ACTIVITIES_PAGE:
                return rows
            query = {**query, "page_token": page[-1]["id"]}

    # ------------------------------------------------------------------ stream

    def trade_updates(
        self, handler: Callable[[Raw], Awaitable[None]], fail: Callable[[BaseException], None]
    ) -> TradingStream:
        """A stream that hands every frame to ``handler``, which must not raise and must bear one without data.

        ``fail`` is told if a frame could not be kept.
        """
        stream = UpdateStream(
            self._settings.key_id.get_secret_value(),
            self._settings.secret_key.get_secret_value(),
            raw_data=True,
            url_override=self._settings.stream_url,
            keep=self._keep,
            news=self._news,
            fail=fail,
        )
        stream.subscribe_trade_updates(handler)
        return stream

    # ------------------------------------------------------------------ plumbing

    async def _get(self, path: str, query: Raw) -> list[Raw]:
        rows: list[Raw] = await self._in(self._slow_thread, self._slow.get, path, query)
        return rows

    async def _in(self, pool: ThreadPoolExecutor, call: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answer = await loop.run_in_executor(pool, functools.partial(call, *args))
        except APIError as error:
            # A clear refusal is an answer; what proves nothing is a failure of the broker.
            failed = error.status_code is None or error.status_code >= 500 or error.status_code == 429
            self.calls.add(loop.time(), (loop.time() - began) * 1e3, failed=failed)
            raise
        except (requests.RequestException, ValueError):
            self.calls.add(loop.time(), (loop.time() - began) * 1e3, failed=True)
            raise
        self.calls.add(loop.time(), (loop.time() - began) * 1e3, failed=False)
        return answer


async def connect(settings: BrokerSettings, messages: MessageLog) -> tuple[Broker, Raw]:
    """A broker whose key works, and its account; all it says goes to ``messages``.

    Raises :class:`BrokerUnreachable` naming the address and the way out.
    """
    broker = Broker(settings, messages.keep, messages.news)
    try:
        account = await broker.account()
    except APIError as error:
        broker.close()
        if error.status_code in (401, 403):
            raise BrokerUnreachable(
                f"{settings.url} refuses the key {settings.key_id.get_secret_value()[:4]}… "
                f"(HTTP {error.status_code}); check APCA_API_KEY_ID and APCA_API_SECRET_KEY, and that a "
                "paper key goes with the paper address"
            ) from None
        raise BrokerUnreachable(f"{settings.url} answers HTTP {error.status_code}; try again later") from None
    except requests.RequestException as error:
        broker.close()
        raise BrokerUnreachable(
            f"no broker at {settings.url} ({type(error).__name__}); check the network and "
            "SALLYPORT_BROKER__URL, or start the local one: executor venue"
        ) from None
    return broker, account


def _api_error(error: APIError) -> tuple[int | None, str]:
    """Numeric code and message of an error body, which may be HTML or have no code."""
    try:
        body = json.loads(str(error))
    except ValueError:
        return None, str(error)
    if not isinstance(body, dict):
        return None, str(error)
    code = body.get("code")
    return (code if isinstance(code, int) else None), str(body.get("message", ""))


def parse_time(text: str) -> dt.datetime:
    """RFC 3339 with up to nine fractional digits and any offset → aware UTC."""
    head, dot, rest = text.partition(".")
    if dot:
        digits = rest[: next((i for i, c in enumerate(rest) if not c.isdigit()), len(rest))]
        text = f"{head}.{digits[:6]}{rest[len(digits) :]}"
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(dt.UTC)


def _rfc3339(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
