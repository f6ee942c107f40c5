"""One live connection to a vendor, kept up: greeting, names asked for, silence noticed, tried again.

The socket is picows (frames are decoded in place, about a million single messages a second); the SDKs'
own clients manage 30–50 thousand, never notice a mute peer, and lose the rest of a frame when a
handler raises. Here a handler's error costs its own message and is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec
from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from market.streams.conversation import Dialect, Refused

log = logging.getLogger(__name__)

CONNECT_S = 10.0
READY_S = 10.0
PING_IDLE_S = 5.0
PING_REPLY_S = 5.0
WATCH_S = 0.5
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.5, 30.0
SETTLED_S = 30.0
"""A connection that lasted this long ends a row of failures; one that is dropped at once does not."""
FRAME_MAX = 16 * 1024 * 1024


class Phase(StrEnum):
    """Where the connection is."""

    CONNECTING = "CONNECTING"
    READY = "READY"
    """Authenticated and subscribed."""
    DOWN = "DOWN"


class Mute(ConnectionError):
    """Connected, and nothing came although something should have."""


class Connection:
    """A supervised connection that never gives up, unless the vendor refuses for good.

    Parameters
    ----------
    url : str
        Full ``ws://`` or ``wss://`` address.
    handlers : mapping
        Kind of record (``quote``, ``trade``, ``bar``, ``status``, ...) → function; others are ignored.
    on_phase : callable
        Told of every change, with a reason.
    mute_after_s : callable
        Seconds of silence after which the connection counts as mute now; None while silence is no news
        (no session, no names). Asked twice a second.
    jitter : callable
        A number in [0, 1); random outside tests.
    """

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        handlers: Mapping[str, Callable[[Any], None]],
        *,
        on_phase: Callable[[Phase, str], None],
        mute_after_s: Callable[[], float | None] = lambda: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self.dialect = dialect
        self.handlers = dict(handlers)
        self.symbols: set[str] = set()
        self.phase = Phase.DOWN
        self.messages = 0
        self.not_understood = 0
        self.handler_errors = 0
        self.connects = 0
        self.last_data: float | None = None
        """When the last market data came (monotonic seconds)."""
        self._on_phase = on_phase
        self._mute_after_s = mute_after_s
        self._jitter = jitter
        self._transport: WSTransport | None = None
        self._failures = 0
        self._welcome = False

    # ------------------------------------------------------------------ names

    def want(self, symbols: Iterable[str]) -> None:
        """Ask for names too; at once when connected, and again after every reconnect."""
        fresh = set(symbols) - self.symbols
        self.symbols |= fresh
        if fresh and self.phase is Phase.READY:
            self._send(self.dialect.subscribe(fresh))

    def drop(self, symbols: Iterable[str]) -> None:
        """Ask for names no longer."""
        gone = set(symbols) & self.symbols
        self.symbols -= gone
        if gone and self.phase is Phase.READY:
            self._send(self.dialect.unsubscribe(gone))

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Connect, and connect again whenever it ends.

        Raises :class:`Refused` when that cannot help: a vendor that has had us before is asked again.
        """
        while True:
            began = time.monotonic()
            try:
                await self._connected()
                reason = "the peer closed"
            except (OSError, WSError, TimeoutError, msgspec.DecodeError) as error:
                reason = f"{type(error).__name__}: {error}"
            except Refused as error:
                if not self._welcome:
                    raise
                reason = str(error)
            finally:
                self._hang_up()
            self._failures = 0 if time.monotonic() - began > SETTLED_S else self._failures + 1
            self._enter(Phase.DOWN, reason)
            await asyncio.sleep(self.pause_s())

    def pause_s(self) -> float:
        """Seconds to wait before the next try: doubled each time up to the cap, half of it by chance."""
        ceiling = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2.0 ** min(max(self._failures - 1, 0), 10))
        return ceiling * (0.5 + 0.5 * self._jitter())

    async def _connected(self) -> None:
        self._enter(Phase.CONNECTING, self.url)
        self.connects += 1
        listener = _Listener(self)
        transport, _ = await ws_connect(
            lambda: listener,
            self.url,
            websocket_handshake_timeout=CONNECT_S,
            enable_auto_ping=True,
            auto_ping_idle_timeout=PING_IDLE_S,
            auto_ping_reply_timeout=PING_REPLY_S,
            max_frame_size=FRAME_MAX,
            extra_headers=self.dialect.headers,
            logger_name=log,
        )
        self._transport = transport
        hello = self.dialect.hello()
        if hello is not None:
            self._send([hello])
        ended = asyncio.ensure_future(transport.wait_disconnected())
        try:
            deadline = time.monotonic() + READY_S
            while not ended.done():
                await asyncio.wait({ended}, timeout=WATCH_S)
                if listener.failure is not None:
                    raise listener.failure
                if self.phase is Phase.READY:
                    self._watch_silence()
                elif time.monotonic() > deadline:
                    raise TimeoutError(f"not authenticated within {READY_S:.0f} s")
        finally:
            ended.cancel()
            with contextlib.suppress(asyncio.CancelledError, WSError, OSError):
                await ended
        if listener.failure is not None:
            raise listener.failure

    def _watch_silence(self) -> None:
        allowed_s = self._mute_after_s()
        if allowed_s is None or self.last_data is None:
            return
        silent_s = time.monotonic() - self.last_data
        if silent_s > allowed_s:
            raise Mute(f"no data for {silent_s:.0f} s")

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)
            self._transport = None

    def _enter(self, phase: Phase, reason: str) -> None:
        if phase is not self.phase:
            self.phase = phase
            self._on_phase(phase, reason)

    # ------------------------------------------------------------------ frames

    def take(self, frame: bytes | memoryview) -> None:
        """One whole frame. Raises ``msgspec.DecodeError`` if it is no array of the dialect's encoding."""
        messages, unknown = self.dialect.decode(frame)
        self.not_understood += unknown
        handlers = self.handlers
        data = False
        for message in messages:
            kind = getattr(message, "kind", None)
            if kind is None:
                self._obey(message)
                continue
            data = True
            handler = handlers.get(kind)
            if handler is not None:
                try:
                    handler(message)
                except Exception:
                    self.handler_errors += 1
                    log.exception("a %s of %s was not taken", kind, getattr(message, "symbol", "?"))
        self.messages += len(messages)
        if data:
            self.last_data = time.monotonic()

    def _obey(self, message: Any) -> None:
        said = self.dialect.control(message)
        if said is None:
            return
        if said.error:
            log.error("%s: %s", self.dialect.name, said.error)
        self._send(said.reply)
        if said.ready:
            self._send(self.dialect.subscribe(self.symbols))
            self.last_data = time.monotonic()  # silence is counted from here
            self._welcome = True
            self._enter(Phase.READY, "authenticated")

    def _send(self, frames: Iterable[bytes]) -> None:
        if self._transport is None:
            return
        kind = WSMsgType.BINARY if self.dialect.binary else WSMsgType.TEXT
        for frame in frames:
            self._transport.send(kind, frame)


class _Listener(WSListener):
    """Puts fragments together and hands whole frames on; a failure is kept for the connection's task."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts: list[bytes] = []
        self.failure: Exception | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._connection._transport = transport  # the hello may come before ws_connect has returned

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind in (WSMsgType.TEXT, WSMsgType.BINARY) and frame.fin and not self._parts:
            self._take(transport, frame.get_payload_as_memoryview())
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._parts.append(frame.get_payload_as_bytes())
            if sum(map(len, self._parts)) > FRAME_MAX:
                self.failure = ConnectionError("a message larger than any market data")
                transport.disconnect(graceful=False)
            elif frame.fin:
                whole = b"".join(self._parts)
                self._parts.clear()
                self._take(transport, whole)
        elif kind == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def _take(self, transport: WSTransport, payload: bytes | memoryview) -> None:
        try:
            self._connection.take(payload)
        except Exception as error:
            # Refused or unreadable: raised by the connection's own task, not inside the socket's callback.
            self.failure = error
            transport.disconnect(graceful=False)
