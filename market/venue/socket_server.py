"""WebSocket handshakes of the three streams: which protocol, whose limits, which faults."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web

from market.venue import fakepaca
from market.venue.data_stream import AUTH_TIMEOUT_S, ERRORS, DataConnection
from market.venue.faults import HANDSHAKE, Fault
from market.venue.feeds import FEEDS, PAID_STREAMS, SOCKETS, TEST, Feed
from market.venue.polygon_stream import PolygonConnection
from market.venue.sockets import Client
from market.venue.trading_stream import TradingConnection

if TYPE_CHECKING:
    from market.venue.server import Server

_DATA_PATHS: dict[str, Feed | None] = {
    **{f"/v2/{name}": feed for name, feed in SOCKETS.items()},
    # The night's feeds are still in beta at the vendor; the specification knows them under /v2 as well.
    "/v1beta1/boats": FEEDS["boats"],
    "/v1beta1/overnight": FEEDS["overnight"],
    "/v1beta1/news": None,
}


class SocketServer:
    """Takes handshakes for `Server`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # Wall times at which dead sessions stop to count (fault ghost_session).
        self._ghosts: list[float] = []

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Route a handshake by its path."""
        path = request.path.rstrip("/")
        if path == "/stream":
            socket = "trading"
        elif path == "/stocks":
            socket = "polygon"
        elif path in _DATA_PATHS:
            socket = "data"
        else:
            return web.Response(
                status=404,
                text='{"code":40410000,"message":"endpoint not found."}',
                content_type="application/json",
            )
        faults = self._server.faults.at_point(HANDSHAKE, socket=socket)
        for fault in faults:
            if fault.kind == "refuse_handshake":
                return web.Response(status=int(fault.parameters["status"]), text="too many requests")
        if socket == "trading":
            return await self._trading(request)
        if socket == "polygon":
            return await self._polygon(request, faults)
        return await self._data(request, _DATA_PATHS[path], faults)

    async def _trading(self, request: web.BaseRequest) -> web.StreamResponse:
        server = self._server
        packed = request.headers.get("Content-Type", "") == "application/msgpack"
        talker = TradingConnection(server.credentials.account, msgpack=packed)
        client = Client(talker, binary=packed or server.exchange.rules.update_frames == "binary")
        server.trading_clients[talker] = client
        server.journal.wire("open", {"socket": "trading", "client": client.number})
        try:
            await client.run(
                request, auth_timeout_s=AUTH_TIMEOUT_S, authenticated=lambda: talker.account >= 0
            )
        finally:
            server.trading_clients.pop(talker, None)
            server.journal.wire(
                "close", {"socket": "trading", "client": client.number, "account": talker.account}
            )
        return client.socket

    def _sessions(self, clients: int) -> int:
        now = time.monotonic()
        self._ghosts = [until for until in self._ghosts if until > now]
        return clients + len(self._ghosts)

    async def _data(
        self, request: web.BaseRequest, feed: Feed | None, faults: list[Fault]
    ) -> web.StreamResponse:
        server = self._server
        kinds = {fault.kind: fault for fault in faults}

        name = feed.name if feed is not None else "news"
        free_plan = not server.gateway.data.recent_sip

        def refusal() -> int:
            refused = kinds.get("insufficient_subscription")
            if refused is not None:
                code = int(refused.parameters["code"])
                return code if code in ERRORS else 409
            if free_plan and name in PAID_STREAMS:
                return 409
            same_feed = sum(t.authenticated and t.feed is feed for t in server.data_clients)
            if free_plan and same_feed:
                return 406
            limit = kinds.get("connection_limit")
            open_now = sum(talker.authenticated for talker in server.data_clients)
            return 406 if limit and self._sessions(open_now) >= limit.parameters["sessions"] else 0

        talker = DataConnection(
            msgpack="application/msgpack" in request.headers.get("Content-Type", ""),
            feed=feed,
            authenticate=lambda key, secret: server.credentials.account(key, secret) >= 0,
            known=(lambda symbol: symbol == fakepaca.SYMBOL)
            if feed is TEST
            else (lambda symbol: symbol in server.exchange.tape),
            symbol_limit=server.symbol_limit,
            refuse_with=refusal,
        )
        client = Client(talker, binary=talker.codec.binary)
        client.when_slow(talker.error(407))
        server.data_clients[talker] = client
        server.journal.wire("open", {"socket": "data", "client": client.number, "feed": name})
        try:
            await client.run(
                request, auth_timeout_s=AUTH_TIMEOUT_S, authenticated=lambda: talker.authenticated
            )
        finally:
            server.data_clients.pop(talker, None)
            if "ghost_session" in kinds and talker.authenticated:
                self._ghosts.append(time.monotonic() + float(kinds["ghost_session"].parameters["seconds"]))
            server.frame_log.forget(talker)
            server.journal.wire("close", {"socket": "data", "client": client.number, "feed": name})
        return client.socket

    async def _polygon(self, request: web.BaseRequest, faults: list[Fault]) -> web.StreamResponse:
        server = self._server
        limit = next((int(f.parameters["sessions"]) for f in faults if f.kind == "connection_limit"), None)

        def too_many() -> bool:
            open_now = sum(talker.authenticated for talker in server.polygon_clients)
            return limit is not None and open_now > limit

        talker = PolygonConnection(
            authenticate=server.credentials.is_polygon,
            known=lambda symbol: symbol in server.exchange.tape,
            too_many=too_many,
        )
        client = Client(talker, binary=False)
        server.polygon_clients[talker] = client
        server.journal.wire("open", {"socket": "polygon", "client": client.number})
        try:
            await client.run(
                request, auth_timeout_s=AUTH_TIMEOUT_S, authenticated=lambda: talker.authenticated
            )
        finally:
            server.polygon_clients.pop(talker, None)
            server.frame_log.forget(talker)
            server.journal.wire("close", {"socket": "polygon", "client": client.number})
        return client.socket
