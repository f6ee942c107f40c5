"""One WebSocket client: its protocol object, its outgoing queue, its limits."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from aiohttp import WSCloseCode, WSMsgType, web

QUEUE_BYTES_MAX = 32 * 1024 * 1024
"""A client this far behind is slow: it is told so and disconnected. 32 MiB is about 300,000 quotes."""
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Room for a subscription of every listed symbol on every channel, and not for more."""


class Talker(Protocol):
    """A protocol without a socket: frames out for frames in."""

    closing: bool

    def opened(self) -> list[bytes]:
        """Frames to send on connecting."""

    def receive(self, data: bytes) -> list[bytes]:
        """Frames to send for a frame received."""

    def auth_timeout(self) -> list[bytes]:
        """Frames to send when authentication did not come in time."""


class Client:
    """A connected socket. Everything it sends goes through one queue and one task, in order.

    `number` tells the sockets of a process apart in the journal.
    """

    _count = 0

    def __init__(self, talker: Talker, *, binary: bool) -> None:
        self.talker = talker
        self.binary = binary
        self.socket = web.WebSocketResponse(compress=False, max_msg_size=MESSAGE_BYTES_MAX, autoping=True)
        self.muted = False
        Client._count += 1
        self.number = Client._count
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._close_code: int | None = None
        self._slow_frame: bytes | None = None
        self.gone = False

    def send(self, frames: list[bytes]) -> None:
        """Queue frames; a client that does not read is cut off rather than kept in memory."""
        if not frames or self.gone or self._close_code is not None:
            return
        self._queue.extend(frames)
        self._queued += sum(map(len, frames))
        if self._queued > QUEUE_BYTES_MAX:
            self._queue.clear()
            if self._slow_frame is not None:
                self._queue.append(self._slow_frame)
            self._close_code = WSCloseCode.POLICY_VIOLATION
        self._wake.set()

    def when_slow(self, frame: bytes) -> None:
        """The last frame of a client that is too slow."""
        self._slow_frame = frame

    def close(self, code: int = WSCloseCode.OK) -> None:
        """Close once the queue is out."""
        if self._close_code is None:
            self._close_code = code
        self._wake.set()

    def abort(self) -> None:
        """Cut the connection without a close frame."""
        self.gone = True
        transport = getattr(self.socket, "_req", None) and self.socket._req.transport  # type: ignore[union-attr]
        if transport is not None:
            transport.abort()
        self._wake.set()

    def freeze(self) -> None:
        """Leave the connection open and do nothing with it any more: no read, no write, no pong."""
        self.muted = True
        transport = getattr(self.socket, "_req", None) and self.socket._req.transport  # type: ignore[union-attr]
        if transport is not None:
            transport.pause_reading()

    async def run(self, request: web.BaseRequest, *, auth_timeout_s: float, authenticated: object) -> None:
        """Serve until either side closes."""
        await self.socket.prepare(request)
        sender = asyncio.create_task(self._send_loop())
        watcher = asyncio.create_task(self._auth_watch(auth_timeout_s, authenticated))
        try:
            self.send(self.talker.opened())
            async for message in self.socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    data = message.data.encode() if isinstance(message.data, str) else message.data
                    self.send(self.talker.receive(data))
                    if self.talker.closing:
                        self.close(getattr(self.talker, "close_code", WSCloseCode.OK))
                else:
                    break
        finally:
            self.gone = True
            self._wake.set()
            watcher.cancel()
            sender.cancel()
            await asyncio.gather(sender, watcher, return_exceptions=True)

    async def _auth_watch(self, seconds: float, authenticated: object) -> None:
        await asyncio.sleep(seconds)
        if not authenticated():  # type: ignore[operator]
            self.send(self.talker.auth_timeout())
            self.close(WSCloseCode.POLICY_VIOLATION)

    async def _send_loop(self) -> None:
        while not self.gone:
            await self._wake.wait()
            self._wake.clear()
            try:
                while self._queue and not self.gone:
                    frame = self._queue.popleft()
                    self._queued -= len(frame)
                    if self.muted:
                        continue
                    if self.binary:
                        await self.socket.send_bytes(frame)
                    else:
                        await self.socket.send_str(frame.decode())
                if self._close_code is not None and not self.gone:
                    await self.socket.close(code=self._close_code, drain=False)
                    return
            except (ConnectionError, RuntimeError):
                self.gone = True
                return
