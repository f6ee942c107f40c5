"""HTTP requests that arrive whole on an idle connection are answered at once, without a task, by a short parser.

Nearly every request of a keep-alive client is of this kind, and aiohttp spends more on it than the exchange does.
Whatever is not plainly so (a body in pieces, pipelining, an upgrade, chunks, odd bytes, a head nobody finishes) goes to
aiohttp with all its limits and timeouts, byte for byte as it came; so does what `answer` declines.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE
from aiohttp.web_protocol import RequestHandler

from market.venue.messages import Answer, Request

WHOLE_BYTES_MAX = 64 * 1024
HEADS_KEPT_MAX, HEAD_BYTES_KEPT_MAX = 256, 4096
BODY_WAIT_S = 0.05
"""Clients send head and body in two writes; a body that takes longer is aiohttp's to wait for."""
_METHODS = {b"GET": "GET", b"POST": "POST", b"PATCH": "PATCH", b"DELETE": "DELETE", b"PUT": "PUT"}
_TARGET = re.compile(rb"/[A-Za-z0-9_./:~@,-]*(\?[A-Za-z0-9_./:%~@,&=+*-]*)?\Z")
_NAME = re.compile(r"[A-Za-z0-9-]+\Z")
_NOT_PLAIN = {"transfer-encoding", "upgrade", "expect", "content-encoding", "connection", "trailer"}
Answering = Callable[[Request, Mapping[str, str]], Answer | None]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
logger = logging.getLogger(__name__)


class Headers(dict[str, str]):
    """Header values by lower-case name, asked for in any case."""

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default`."""
        return super().get(name.lower(), default)


class Head:
    """A parsed request head: everything but the body."""

    __slots__ = ("headers", "length", "method", "path", "query")

    def __init__(self, method: str, path: str, query: dict[str, str], headers: Headers, length: int) -> None:
        self.method, self.path, self.query, self.headers, self.length = method, path, query, headers, length


def parse_head(raw: bytes) -> Head | None:
    """The head before the empty line, or None when it is anything but plain."""
    try:
        lines = raw.decode("ascii").split("\r\n")
    except UnicodeDecodeError:
        return None
    parts = raw.split(b"\r\n", 1)[0].split(b" ")
    if len(parts) != 3 or parts[2] != b"HTTP/1.1" or parts[0] not in _METHODS or not _TARGET.match(parts[1]):
        return None
    headers = Headers()
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not _NAME.match(name) or key in headers or not value.isprintable():
            return None
        if key in _NOT_PLAIN and not (key == "connection" and value.strip().lower() == "keep-alive"):
            return None
        headers[key] = value.strip()
    length = headers.get("content-length", "0")
    if not length.isdigit() or len(length) > 6 or "host" not in headers:
        return None
    target, _, query = parts[1].decode().partition("?")
    return Head(
        _METHODS[parts[0]],
        target,
        dict(parse_qsl(query, keep_blank_values=True)),
        headers,
        int(length),
    )


def response_bytes(answer: Answer) -> bytes:
    """An Answer as it travels, with the headers aiohttp would send."""
    body = answer.encode()
    lines = [f"HTTP/1.1 {answer.status} {_reason(answer.status)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if body:
        lines.append(f"Content-Type: {answer.content_type}")
    if body or answer.status != 204:
        lines.append(f"Content-Length: {len(body)}")
    lines.append(f"Date: {_date(int(time.time()))}")
    lines.append(f"Server: {SERVER_SOFTWARE}\r\n\r\n")
    return "\r\n".join(lines).encode() + body


_reasons = {status.value: status.phrase for status in HTTPStatus}
_dates: dict[int, str] = {}


def _reason(status: int) -> str:
    return _reasons.get(status, "")


def _date(second: int) -> str:
    found = _dates.get(second)
    if found is None:
        _dates.clear()
        found = _dates[second] = email.utils.formatdate(second, usegmt=True)
    return found


class WholeRequests(RequestHandler):
    """One connection."""

    __slots__ = ("_answer", "_heads", "_held", "_patience", "_plain")

    def __init__(self, *args: Any, answer: Answering, heads: dict[bytes, Head], **more: Any) -> None:
        super().__init__(*args, **more)
        self._answer, self._heads = answer, heads
        self._plain = True
        self._held = b""
        self._patience: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._held:
            data, self._held = self._held + data, b""
            if self._patience is not None:
                self._patience.cancel()
        if not self._plain or not self._is_idle():
            super().data_received(data)
            return
        split = data.find(b"\r\n\r\n")
        head = self._head(data[:split]) if split > 0 and len(data) <= WHOLE_BYTES_MAX else None
        missing = 1 if head is None else split + 4 + head.length - len(data)
        if head is not None and missing > 0 and split + 4 + head.length <= WHOLE_BYTES_MAX:
            self._held = data
            self._patience = self._loop.call_later(BODY_WAIT_S, self._give_up)
            return
        if head is None or missing:
            self._plain = False  # from here on aiohttp alone knows where a request ends
            super().data_received(data)
            return
        request = Request(head.method, head.path, dict(head.query), data[split + 4 :])
        try:
            answer = self._answer(request, head.headers)
        except Exception:
            logger.exception("%s %s failed", head.method, head.path)
            answer = Answer(500, {"code": 50010000, "message": "internal server error occurred"})
        if answer is None:
            super().data_received(data)
            return
        self._request_count += 1
        self._keepalive = True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self.transport is not None:
            self.transport.write(response_bytes(answer))

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone."""
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        """Whether aiohttp has nothing of this connection in its hands and the client reads."""
        return (
            self._waiter is not None
            and not self._waiter.done()
            and not self._messages
            and self._current_request is None
            and not self._upgraded
            and not self._paused
            and not self._force_close
            and not self._close
        )

    def _head(self, raw: bytes) -> Head | None:
        head = self._heads.get(raw)
        if head is None:
            head = parse_head(raw)
            if head is not None and len(raw) <= HEAD_BYTES_KEPT_MAX:
                if len(self._heads) >= HEADS_KEPT_MAX:
                    self._heads.clear()
                self._heads[raw] = head
        return head

    def _give_up(self) -> None:
        """The body takes its time: aiohttp waits for it."""
        held, self._held = self._held, b""
        self._plain = False
        if held:
            super().data_received(held)


class WholeRequestServer(web.Server):
    """aiohttp's server with the short way in front of it; `answer` gives None to what needs the long one."""

    def __init__(self, handler: Handler, answer: Answering, **more: Any) -> None:
        super().__init__(handler, **more)
        self._answer = answer
        self._heads: dict[bytes, Head] = {}

    def __call__(self) -> RequestHandler:
        """A protocol for a new connection."""
        return WholeRequests(self, loop=self._loop, answer=self._answer, heads=self._heads, **self._kwargs)
