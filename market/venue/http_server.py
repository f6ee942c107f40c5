"""HTTP requests: read, admitted, answered; with the faults that a request can meet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aiohttp import web

from market.venue import event_stream, request_faults
from market.venue.faults import REQUEST
from market.venue.messages import Answer, Request
from market.venue.request_faults import BEFORE

if TYPE_CHECKING:
    from market.venue.server import Server

BODY_TIMEOUT_S = 10.0
CONNECTIONS_MAX = 2000
"""Open sockets on the public port; one account needs three."""


class HttpServer:
    """Answers the public port for `Server`."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request of any kind, however it arrives."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            if len(self._server.clients()) >= CONNECTIONS_MAX:
                return web.Response(status=429)
            return await self._server.sockets.serve(request)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await request.read() if request.body_exists else b""
        except TimeoutError:
            return web.Response(status=408, headers={"Connection": "close"})
        except web.HTTPRequestEntityTooLarge:
            refused = web.Response(
                status=413, text='{"message":"request body too large"}', content_type="application/json"
            )
            refused.force_close()
            return refused
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        asked = Request(request.method, request.path, query, body)
        dialect, account, turned_away, headers = self._admit(asked, request.headers)
        if turned_away is not None:
            return respond(turned_away)
        if asked.path in event_stream.PATHS and asked.method == "GET":
            return await self._stream_events(request, asked, account, headers)
        if self._server.faults.has(REQUEST) or self._server.distortions.on:
            return await self._serve_faulty(request, asked, dialect, account, headers)
        return respond(self._perform(asked, dialect, account, headers))

    def answer_whole(self, asked: Request, headers: Mapping[str, str]) -> Answer | None:
        """The answer to a request that arrived whole; None when it takes more than an answer."""
        if (
            self._server.faults.has(REQUEST)
            or self._server.distortions.on
            or asked.path in event_stream.PATHS
        ):
            return None
        dialect, account, turned_away, limits = self._admit(asked, headers)
        return turned_away if turned_away is not None else self._perform(asked, dialect, account, limits)

    def _admit(
        self, asked: Request, headers: Mapping[str, str]
    ) -> tuple[str, int, Answer | None, dict[str, str]]:
        """(dialect, account, the answer when the request goes no further, rate limit headers)."""
        self._server.exchange.advance(self._server.clock.now())
        dialect, account = self._server.gateway.identify(asked, headers)
        if account < 0:
            self._server.journal.wire(
                "refused",
                {"status": self._server.gateway.auth_status, "method": asked.method, "path": asked.path},
            )
            return dialect, account, self._server.gateway.unknown(dialect), {}
        limited, limits = self._server.gateway.admit(dialect, account)
        if limited is not None:
            self._server.journal.wire(
                "refused", {"status": 429, "method": asked.method, "path": asked.path, "account": account}
            )
        return dialect, account, limited, limits

    def _perform(self, asked: Request, dialect: str, account: int, limits: dict[str, str]) -> Answer:
        answer = self._server.gateway.perform(dialect, account, asked)
        answer.headers.update(limits)
        self._server.dispatch_soon()
        return answer

    async def _stream_events(
        self, request: web.BaseRequest, asked: Request, account: int, headers: dict[str, str]
    ) -> web.StreamResponse:
        if len(self._server.clients()) + len(self._server.events.listeners) >= CONNECTIONS_MAX:
            return web.Response(status=429, headers=headers)
        self._server.journal.wire("open", {"socket": "events", "account": account})
        try:
            return await event_stream.serve(request, self._server.events, account, asked.query, headers)
        finally:
            self._server.journal.wire("close", {"socket": "events", "account": account})

    async def _serve_faulty(
        self, request: web.BaseRequest, asked: Request, dialect: str, account: int, headers: dict[str, str]
    ) -> web.StreamResponse:
        faults = self._server.faults.at_point(REQUEST, method=asked.method, path=asked.path, account=account)
        for fault in faults:
            self._server.journal.wire(
                "fault", {"kind_of_fault": fault.kind, "fault": fault.number, "occasion": fault.occasions}
            )
        for fault in faults:
            if fault.kind not in BEFORE:
                continue
            if fault.kind == "error":
                return request_faults.error_response(fault, headers)
            if fault.kind != "reset":
                await request_faults.wait_or_hang(fault)
            if fault.kind != "delay":
                request_faults.cut(request)
                return web.Response()
        self._server.exchange.advance(self._server.clock.now())
        answer = self._server.gateway.perform(dialect, account, asked)
        body = answer.encode()
        if self._server.distortions.on:
            answer = self._server.distortions.apply(asked, answer, account, self._server.exchange.now)
        self._server.dispatch_soon()
        for fault in faults:
            match fault.kind:
                case "accept_then_error":
                    return request_faults.error_response(fault, headers)
                case "accept_then_kill":
                    request_faults.kill(fault)
                case "accept_then_hang" | "accept_then_delay" | "early_update":
                    self._server.dispatch()
                    await request_faults.wait_or_hang(fault)
                    if fault.kind == "accept_then_hang":
                        request_faults.cut(request)
                        return web.Response()
                case "accept_then_reset":
                    request_faults.cut(request)
                    return web.Response()
                case "truncate":
                    return request_faults.truncated(body, headers)
                case "drip":
                    return await request_faults.drip(
                        request, body, answer.status, float(fault.parameters["seconds_per_byte"])
                    )
                case "late_lookup":
                    seconds = float(fault.parameters["seconds"])
                    answer = request_faults.lost_lookup(asked, answer, self._server.exchange.now, seconds)
        answer.headers.update(headers)
        return respond(answer)


def respond(answer: Answer) -> web.Response:
    """An Answer as aiohttp sends it."""
    body = answer.encode()
    headers = dict(answer.headers)
    if body:
        headers["Content-Type"] = answer.content_type
    return web.Response(status=answer.status, body=body or None, headers=headers)
