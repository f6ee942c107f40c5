"""The venue on sockets: HTTP and WebSocket shells around the protocol modules, and the pump that moves time."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from market.venue import event_stream
from market.venue.clock import VenueClock
from market.venue.control import Control
from market.venue.credentials import Credentials
from market.venue.data_stream import DataConnection
from market.venue.effects import Effects
from market.venue.errors import AddressInUse, FaultPlanError, VenueError
from market.venue.exchange import Exchange, Update
from market.venue.faults import KINDS, NOW, UPDATE, Fault, FaultPlan
from market.venue.frame_log import FrameLog, Talker, hash_of
from market.venue.gateway import Gateway
from market.venue.http_server import HttpServer
from market.venue.journal import Journal
from market.venue.market_feed import MarketFeed, Window
from market.venue.polygon_stream import PolygonConnection
from market.venue.rate_limit import RateLimit
from market.venue.request_faults import Distortions
from market.venue.socket_server import SocketServer
from market.venue.sockets import Client
from market.venue.trading_stream import TradingConnection
from market.venue.update_faults import UpdateFaults
from market.venue.whole_requests import Answering, WholeRequestServer

PUMP_S = 0.01
HEAD_TIMEOUT_S = 10.0
"""How long a connection may take over its first request's head; aiohttp itself would wait for ever."""

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
        auth_status: int = 401,
        recent_sip: bool = True,
        symbol_limit: int = 0,
    ) -> None:
        self.exchange = exchange
        self.clock = clock
        self.credentials = credentials
        self.journal = journal
        self.host = host
        self.port = 0
        self.control_port = 0
        self.symbol_limit = symbol_limit
        self.faults: FaultPlan = exchange.faults
        self.distortions = Distortions()
        self.feed = MarketFeed(exchange, conflate=conflate)
        self.gateway = Gateway(
            exchange, credentials, journal, rate_limit=RateLimit(rate_limit), auth_status=auth_status
        )
        self.gateway.data.recent_sip = recent_sip
        self.frame_log = FrameLog(journal, self.feed)
        self.events = event_stream.EventLog(exchange)
        self.effects = Effects(self)
        self.control = Control(self, secrets.token_urlsafe(24))
        self.trading_clients: dict[TradingConnection, Client] = {}
        self.data_clients: dict[DataConnection, Client] = {}
        self.polygon_clients: dict[PolygonConnection, Client] = {}
        self.sockets = SocketServer(self)
        self._http = HttpServer(self)
        self._update_faults = UpdateFaults(self.faults, self._send_later)
        self._flush_s = flush_s
        self._runners: list[web.ServerRunner] = []
        self._pump: asyncio.Task[None] | None = None
        self._dispatch_due = False
        self.head_timeout_s = HEAD_TIMEOUT_S
        self._silent_since: dict[Any, float] = {}

    # --- life --------------------------------------------------------------------------------------------

    async def start(self, port: int = 0, control_port: int = 0) -> None:
        """Listen; AddressInUse when the port is taken."""
        try:
            self.port = await self._listen(self._http.serve, port, self._http.answer_whole)
            self.control_port = await self._listen(self.control.serve, control_port, lambda *asked: None)
        except BaseException:
            await self.stop()
            raise
        self.gateway.polygon.base_url = f"http://{self.host}:{self.port}"
        for fault in list(self.faults.armed):
            self.effects.schedule(fault)
        self._pump = asyncio.create_task(self._run_pump())

    async def _listen(self, handler: Handler, port: int, answer: Answering) -> int:
        # Lingering would wait for the rest of a body nobody wants. aiohttp itself refuses bodies over a megabyte.
        runner = web.ServerRunner(
            WholeRequestServer(handler, answer, access_log=None, lingering_time=1.0, keepalive_timeout=75.0)
        )
        await runner.setup()
        site = web.TCPSite(runner, self.host, port, backlog=512, shutdown_timeout=0.2)
        try:
            await site.start()
        except OSError as reason:
            await runner.cleanup()
            raise cannot_listen(self.host, port, reason) from None
        except OverflowError:
            await runner.cleanup()
            raise VenueError(f"port {port} is out of range; use 0 to 65535") from None
        self._runners.append(runner)
        address: tuple[str, int] = runner.addresses[0]
        return int(address[1])

    async def stop(self) -> None:
        """Close every connection and listener; well under a second."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        self.events.close()
        if self.clients():
            for client in self.clients():
                client.close(1001)
            await asyncio.sleep(0.05)
            for client in self.clients():
                client.abort()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self.close_journal()

    def close_journal(self) -> None:
        """The last line and the end of the file."""
        self.journal.record("end", self.exchange.now, {})
        self.journal.close()

    # --- faults ------------------------------------------------------------------------------------------

    def arm(self, fields: dict[str, Any]) -> Fault:
        """Arm a fault, or let it act at once; FaultPlanError when it cannot be."""
        fault = self.faults.add(fields)
        kind = KINDS[fault.kind]
        if self.journal.on and (kind.point != NOW or fault.time is not None):
            self.journal.record("arm", self.exchange.now, {"fault": fields})
        try:
            self.effects.schedule(fault)
        except FaultPlanError:
            self.faults.clear(fault.number)
            raise
        self.exchange.advance(self.exchange.now)
        return fault

    def disarm(self, number: int | None) -> int:
        """Disarm one fault or all; how many."""
        self.journal.record("disarm", self.exchange.now, {"number": number})
        return self.faults.clear(number)

    def clients(self) -> list[Client]:
        """Every open socket."""
        return [*self.trading_clients.values(), *self.data_clients.values(), *self.polygon_clients.values()]

    def clients_of(self, socket: str) -> list[Client]:
        """The open sockets of trading, data or polygon."""
        if socket == "trading":
            return list(self.trading_clients.values())
        return list(self.data_clients.values() if socket == "data" else self.polygon_clients.values())

    # --- time --------------------------------------------------------------------------------------------

    async def _run_pump(self) -> None:
        next_flush = time.monotonic()
        next_sweep = next_flush + 1
        while True:
            self.exchange.advance(self.clock.now())
            self.dispatch()
            if time.monotonic() >= next_sweep:
                self._cut_silent()
                next_sweep = time.monotonic() + 1
            if time.monotonic() >= next_flush:
                self.flush_market_data()
                self.journal.flush()
                next_flush = time.monotonic() + self._flush_s
            await asyncio.sleep(PUMP_S)

    def _cut_silent(self) -> None:
        """Cut connections that never finished the head of a first request."""
        now = time.monotonic()
        silent: dict[Any, float] = {}
        for runner in self._runners:
            served = runner.server
            for handler in served.connections if served is not None else ():
                # Private to aiohttp, and there is no other way to tell; without it nothing is cut.
                if getattr(handler, "_request_count", 1) == 0:
                    silent[handler] = self._silent_since.get(handler, now)
        self._silent_since = silent
        for handler, since in silent.items():
            if now - since > self.head_timeout_s and handler.transport is not None:
                handler.transport.abort()

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
        self.events.trade_updates(updates)
        self.journal.flush()
        if self.faults.has(UPDATE) or self.distortions.on:
            updates = [
                sent for update in updates for sent in self._update_faults.deliver(self._distorted(update))
            ]
        for update in updates:
            self._send_update(update)

    def _distorted(self, update: Update) -> Update:
        if self.distortions.on:
            update.data = self.distortions.update(update.data)
        return update

    def _send_update(self, update: Update) -> None:
        for talker, client in self.trading_clients.items():
            frames = talker.publish(update)
            if frames:
                client.send(frames)
                if self.journal.on:
                    self.journal.wire("frame", {"socket": "trading", "client": client.number, "account": update.account,
                                                "update": update.number, "bytes": len(frames[0]),
                                                "blake2b": hash_of(frames)})  # fmt: skip

    def _send_later(self, seconds: float, update: Update) -> None:
        asyncio.get_running_loop().call_later(seconds, self._send_update, update)

    def flush_market_data(self) -> None:
        """Send the market data that is due, each message encoded once."""
        window = self.feed.step()
        self.events.activities(self.exchange.accounts)
        if not self.data_clients and not self.polygon_clients:
            return
        symbols = self.exchange.tape.symbols
        for talker, client in self.data_clients.items():
            self._send_data("data", client, talker, window, talker.publish(window, symbols))
        for polygon, client in self.polygon_clients.items():
            self._send_data("polygon", client, polygon, window, polygon.publish(window, symbols))

    def _send_data(
        self, socket: str, client: Client, talker: Talker, window: Window, frames: list[bytes]
    ) -> None:
        if not frames:
            return
        if self.journal.on:
            self.frame_log.sent(socket, client.number, talker, frames, window)
        client.send(frames)


def check_free(host: str, port: int) -> None:
    """AddressInUse when somebody listens there already."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as reason:
        raise cannot_listen(host, port, reason) from None
    except OverflowError:
        raise VenueError(f"port {port} is out of range; use 0 to 65535") from None


def cannot_listen(host: str, port: int, reason: OSError) -> VenueError:
    """The error for an address that cannot be had."""
    if reason.errno == errno.EADDRINUSE:
        return AddressInUse(
            f"{host}:{port} is already in use; stop what listens there, or give another --port (0 picks one)"
        )
    return VenueError(f"cannot listen on {host}:{port}: {reason.strerror or reason}")
