"""What the venue's tests talk to it with: raw HTTP, alpaca-py's stream on a thread, waiting on conditions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgpack
import pytest
import requests
import websockets
from alpaca.trading.stream import TradingStream

from market.venue.rehearsal import RehearsalVenue

DEADLINE_S = 10.0
SYMBOLS = ["AAPL", "AMD", "BAC", "GE", "KO", "MSFT", "RRC"]


def wait_until(
    condition: Callable[[], Any], what: str = "the condition", deadline_s: float = DEADLINE_S
) -> Any:
    """Poll until `condition` is true; fail with `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen in {deadline_s} s")
        time.sleep(0.005)


class Wire:
    """Raw HTTP to a venue: what the SDKs refuse to send, and the bytes they hide."""

    def __init__(self, venue: RehearsalVenue, account: int = 0) -> None:
        self.venue = venue
        self.base = venue.address["rest_url"]
        pair = venue.address["accounts"][account]
        self.headers = {"APCA-API-KEY-ID": pair["key_id"], "APCA-API-SECRET-KEY": pair["secret_key"]}
        self.session = requests.Session()

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        more.setdefault("headers", self.headers)
        return self.session.request(method, self.base + path, json=body, timeout=10, **more)

    def order(self, **fields: Any) -> requests.Response:
        """POST an order, a market day buy of one AAPL unless told otherwise."""
        body = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
        body.update(fields)
        return self("POST", "/v2/orders", {key: value for key, value in body.items() if value is not None})

    def price(self, symbol: str = "AAPL") -> Decimal:
        """The ask shown now."""
        quote = self("GET", f"/v2/stocks/{symbol}/quotes/latest").json()["quote"]
        return Decimal(str(quote["ap"]))

    def bid(self, symbol: str = "AAPL") -> Decimal:
        """The bid shown now."""
        quote = self("GET", f"/v2/stocks/{symbol}/quotes/latest").json()["quote"]
        return Decimal(str(quote["bp"]))

    def get(self, path: str, **query: Any) -> Any:
        """The body of a GET that succeeds."""
        answer = self("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


class Listener:
    """alpaca-py's TradingStream on a thread of its own, keeping what it delivers."""

    def __init__(self, venue: RehearsalVenue, account: int = 0) -> None:
        pair = venue.address["accounts"][account]
        self.updates: list[Any] = []
        self.stream = TradingStream(
            pair["key_id"], pair["secret_key"], url_override=venue.address["trading_stream_url"]
        )
        self.stream.subscribe_trade_updates(self._take)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        server = venue.server
        wait_until(
            lambda: any(t.streams and t.account == account for t in list(server.trading_clients)),
            "the listen request",
        )

    async def _take(self, update: Any) -> None:
        self.updates.append(update)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self.stream._run_forever())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.run_until_complete(self.stream.close())
            self._loop.close()

    def events(self, order_id: Any = None) -> list[str]:
        """Events so far, of one order or of all."""
        return [
            str(getattr(u.event, "value", u.event))
            for u in list(self.updates)
            if order_id is None or str(u.order.id) == str(order_id)
        ]

    def close(self) -> None:
        """Stop listening."""
        while self._thread.is_alive():  # alpaca-py's wait_for may swallow a cancellation under Python 3.11
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(0.2)


class Feed:
    """A raw client of the data socket in either encoding."""

    def __init__(self, venue: RehearsalVenue, *, packed: bool, feed: str = "v2/iex") -> None:
        self.venue, self.packed = venue, packed
        self.url = venue.address["data_stream_url"].removesuffix("v2/iex") + feed

    async def __aenter__(self) -> Feed:
        headers = {"Content-Type": "application/msgpack"} if self.packed else {}
        self.socket = await websockets.connect(self.url, additional_headers=headers, proxy=None)
        assert await self.next() == [{"T": "success", "msg": "connected"}]
        return self

    async def __aexit__(self, *ignored: object) -> None:
        await self.socket.close()

    async def say(self, **message: Any) -> None:
        await self.socket.send(msgpack.packb(message) if self.packed else json.dumps(message))

    async def next(self) -> list[dict[str, Any]]:
        frame = await asyncio.wait_for(self.socket.recv(), 5)
        assert isinstance(frame, bytes) is self.packed
        return msgpack.unpackb(frame, timestamp=0) if self.packed else json.loads(frame)

    async def login(self) -> list[dict[str, Any]]:
        await self.say(
            action="auth", key=self.venue.address["key_id"], secret=self.venue.address["secret_key"]
        )
        return await self.next()

    async def messages(self, seconds: float) -> list[dict[str, Any]]:
        """What arrives while the venue clock moves on."""
        await asyncio.to_thread(self.venue.advance, seconds)
        found: list[dict[str, Any]] = []
        try:
            while True:
                found += await asyncio.wait_for(self.next(), 0.3)
        except TimeoutError:
            return found
