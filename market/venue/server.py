"""The venue on sockets: HTTP and WebSocket shells around the protocol modules, and the pump that moves time."""

from __future__ import annotations

import asyncio
import errno
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from aiohttp import web

from market.venue.clock import VenueClock
from market.venue.control import Control
from market.venue.credentials import Credentials
from market.venue.data_stream import AUTH_TIMEOUT_S, DataConnection
from market.venue.errors import AddressInUse, VenueError
from market.venue.exchange import Exchange
from market.venue.gateway import Gateway
from market.venue.journal import Journal
from market.venue.market_feed import MarketFeed
from market.venue.messages import Answer, Request
from market.venue.polygon_stream import PolygonConnection
from market.venue.rate_limit import RateLimit
from market.venue.sockets import Client
from market.venue.trading_stream import TradingConnection

PUMP_S = 0.01
BODY_BYTES_MAX = 1024 * 1024
BODY_TIMEOUT_S = 10.0
_FEEDS = ("iex", "sip", "delayed_sip", "boats", "overnight", "otc", "test")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server:
    """Serves one exchange on one public port and one control port."""

    def __init__(
        self,
        exchange: Exchange,
        clock: VenueClock,
        credentials: Credentials,
        journal: Journal,
        *,
        host: str,
        rate_limit: int,
        flush_s: float,
        conflate: bool,
    ) -> None:
        self.exchange = exchange
        self.clock = clock
        self.credentials = credentials
        self.journal = journal
        self.host = host
        self.port = 0
        self.control_port = 0
        self.feed = MarketFeed(exchange, conflate=conflate)
        self.gateway = Gateway(exchange, credentials, journal, rate_limit=RateLimit(rate_limit))
        self.control = Control(self, secrets.token_urlsafe(24))
        self.trading_clients: dict[TradingConnection, Client] = {}
        self.data_clients: dict[DataConnection, Client] = {}
        self.polygon_clients: dict[PolygonConnection, Client] = {}
        self._flush_s = flush_s
        self._runners: list[web.ServerRunner] = []
        self._pump: asyncio.Task[None] | None = None
        self._dispatch_due = False

    # --- life --------------------------------------------------------------------------------------------

    async def start(self, port: int = 0, control_port: int = 0) -> None:
        """Listen; AddressInUse when the port is taken."""
        self.port = await self._listen(self._serve, port)
        self.control_port = await self._listen(self.control.serve, control_port)
        self.gateway.polygon.base_url = f"http://{self.host}:{self.port}"
        self._pump = asyncio.create_task(self._run_pump())

    async def _listen(self, handler: Handler, port: int) -> int:
        runner = web.ServerRunner(web.Server(handler, access_log=None))
        await runner.setup()
        site = web.TCPSite(runner, self.host, port, backlog=512, shutdown_timeout=0.2)
        try:
            await site.start()
        except OSError as reason:
            await runner.cleanup()
            if reason.errno == errno.EADDRINUSE:
                raise AddressInUse(
                    f"{self.host}:{port} is already in use; stop what listens there, or give another --port (0 picks one)"
                ) from None
            raise VenueError(f"cannot listen on {self.host}:{port}: {reason.strerror or reason}") from None
        self._runners.append(runner)
        address: tuple[str, int] = runner.addresses[0]
        return int(address[1])

    async def stop(self) -> None:
        """Close every connection and listener; well under a second."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        for client in self._clients():
            client.close(1001)
        await asyncio.sleep(0.05)
        for client in self._clients():
            client.abort()
        for runner in self._runners:
            await runner.cleanup()
        self.journal.close()

    def _clients(self) -> list[Client]:
        return [*self.trading_clients.values(), *self.data_clients.values(), *self.polygon_clients.values()]

    # --- time --------------------------------------------------------------------------------------------

    async def _run_pump(self) -> None:
        next_flush = time.monotonic()
        while True:
            self.exchange.advance(self.clock.now())
            self.dispatch()
            if time.monotonic() >= next_flush:
                self.flush_market_data()
                self.journal.flush()
                next_flush = time.monotonic() + self._flush_s
            await asyncio.sleep(PUMP_S)

    def dispatch_soon(self) -> None:
        """Send trade updates once the answer that caused them is on its way."""
        if not self._dispatch_due:
            self._dispatch_due = True
            asyncio.get_running_loop().call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Send the trade updates that are due."""
        self._dispatch_due = False
        updates = self.exchange.drain_updates()
        if not updates:
            return
        for update in updates:
            for talker, client in self.trading_clients.items():
                client.send(talker.publish(update))

    def flush_market_data(self) -> None:
        """Send the market data that is due, each message encoded once."""
        window = self.feed.step()
        if not self.data_clients and not self.polygon_clients:
            return
        symbols = self.exchange.tape.symbols
        for talker, client in self.data_clients.items():
            client.send(talker.publish(window, symbols))
        for polygon, client in self.polygon_clients.items():
            client.send(polygon.publish(window, symbols))

    # --- HTTP --------------------------------------------------------------------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_socket(request)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await request.read() if request.body_exists else b""
        except TimeoutError:
            return web.Response(status=408, headers={"Connection": "close"})
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=413, text='{"message":"request body too large"}', content_type="application/json")
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        answer = self.gateway.handle(
            Request(request.method, request.path, query, body), request.headers, self.clock.now()
        )
        self.dispatch_soon()
        return respond(answer)

    # --- WebSocket ---------------------------------------------------------------------------------------

    async def _serve_socket(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.rstrip("/")
        if path == "/stream":
            return await self._serve_trading(request)
        if path == "/stocks":
            return await self._serve_polygon(request)
        parts = path.split("/")
        if len(parts) == 3 and parts[1] == "v2" and parts[2] in _FEEDS:
            return await self._serve_data(request, parts[2])
        return web.Response(status=404, text='{"code":40410000,"message":"endpoint not found."}',
                            content_type="application/json")  # fmt: skip

    async def _serve_trading(self, request: web.BaseRequest) -> web.StreamResponse:
        msgpack = request.headers.get("Content-Type", "") == "application/msgpack"
        talker = TradingConnection(self.credentials.account, msgpack=msgpack)
        client = Client(talker, binary=True)
        self.trading_clients[talker] = client
        self.journal.wire("open", {"socket": "trading"})
        try:
            await client.run(request, auth_timeout_s=AUTH_TIMEOUT_S, authenticated=lambda: talker.account >= 0)
        finally:
            self.trading_clients.pop(talker, None)
            self.journal.wire("close", {"socket": "trading", "account": talker.account})
        return client.socket

    async def _serve_data(self, request: web.BaseRequest, feed: str) -> web.StreamResponse:
        talker = DataConnection(
            msgpack="application/msgpack" in request.headers.get("Content-Type", ""),
            feed=feed,
            authenticate=lambda key, secret: self.credentials.account(key, secret) >= 0,
            known=lambda symbol: symbol in self.exchange.tape,
        )
        client = Client(talker, binary=talker.codec.binary)
        client.when_slow(talker.error(407))
        self.data_clients[talker] = client
        self.journal.wire("open", {"socket": "data", "feed": feed})
        try:
            await client.run(request, auth_timeout_s=AUTH_TIMEOUT_S, authenticated=lambda: talker.authenticated)
        finally:
            self.data_clients.pop(talker, None)
            self.journal.wire("close", {"socket": "data", "feed": feed})
        return client.socket

    async def _serve_polygon(self, request: web.BaseRequest) -> web.StreamResponse:
        talker = PolygonConnection(
            authenticate=self.credentials.is_polygon, known=lambda symbol: symbol in self.exchange.tape
        )
        client = Client(talker, binary=False)
        self.polygon_clients[talker] = client
        self.journal.wire("open", {"socket": "polygon"})
        try:
            await client.run(request, auth_timeout_s=AUTH_TIMEOUT_S, authenticated=lambda: talker.authenticated)
        finally:
            self.polygon_clients.pop(talker, None)
            self.journal.wire("close", {"socket": "polygon"})
        return client.socket


def respond(answer: Answer) -> web.Response:
    """An Answer as aiohttp sends it."""
    body = answer.encode()
    headers = dict(answer.headers)
    if body:
        headers["Content-Type"] = answer.content_type
    return web.Response(status=answer.status, body=body or None, headers=headers)
