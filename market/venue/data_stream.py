"""Alpaca's market data socket: hello, auth, subscribe, and the messages a connection asked for. No socket here.

Section 3.1 of the specification. The codec is chosen by the handshake header: msgpack for
`Content-Type: application/msgpack`, JSON text otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from market.venue.frames import AlpacaJson, AlpacaMsgpack, pieces
from market.venue.halts import special_of
from market.venue.market_feed import Window

CHANNELS = (
    "trades",
    "quotes",
    "bars",
    "updatedBars",
    "dailyBars",
    "statuses",
    "lulds",
    "corrections",
    "cancelErrors",
)
_ASKED = tuple(channel for channel in CHANNELS if channel not in ("corrections", "cancelErrors"))
_FEED_CHANNELS = ("trades", "quotes", "bars", "dailyBars", "lulds")
AUTH_TIMEOUT_S = 10.0
SYMBOLS_PER_MESSAGE_MAX = 20_000

ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    408: "v2 not enabled",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    411: "insufficient scope",
    500: "internal error",
}


class DataConnection:
    """One client of the data socket. Frames to send come back from every call; `closing` says: then close."""

    def __init__(
        self,
        *,
        msgpack: bool,
        feed: str,
        authenticate: Callable[[str, str], bool],
        known: Callable[[str], bool],
        symbol_limit: int = 0,
        refuse_with: Callable[[], int] | None = None,
    ) -> None:
        letter = "V" if feed == "iex" else "P"
        self.codec: AlpacaMsgpack | AlpacaJson = AlpacaMsgpack(letter) if msgpack else AlpacaJson(letter)
        self.authenticated = False
        self.closing = False
        self.subscriptions: dict[str, dict[str, None]] = {channel: {} for channel in CHANNELS}
        self._authenticate = authenticate
        self._known = known
        self._symbol_limit = symbol_limit
        self._refuse_with = refuse_with

    def opened(self) -> list[bytes]:
        """The hello."""
        return [self._control({"T": "success", "msg": "connected"})]

    def error(self, code: int) -> bytes:
        """An error frame."""
        return self._control({"T": "error", "code": code, "msg": ERRORS[code]})

    def auth_timeout(self) -> list[bytes]:
        """Nothing came in time."""
        self.closing = True
        return [self.error(404)]

    def _control(self, message: dict[str, Any]) -> bytes:
        return self.codec.frame([self.codec.message(message)])

    def receive(self, data: bytes) -> list[bytes]:
        """A message of the client, in its own codec (either is understood)."""
        try:
            message = msgspec.msgpack.decode(data) if self.codec.binary else msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            return [self.error(400)]
        if not isinstance(message, dict):
            return [self.error(400)]
        action = message.get("action")
        if action == "auth":
            return self._auth(message)
        if action in ("subscribe", "unsubscribe"):
            if not self.authenticated:
                return [self.error(401)]
            return self._subscribe(message, add=action == "subscribe")
        return [self.error(400)]

    def _auth(self, message: dict[str, Any]) -> list[bytes]:
        if self.authenticated:
            return [self.error(403)]
        key, secret = message.get("key"), message.get("secret")
        if not (isinstance(key, str) and isinstance(secret, str) and self._authenticate(key, secret)):
            self.closing = True
            return [self.error(402)]
        refusal = self._refuse_with() if self._refuse_with else 0
        if refusal:
            self.closing = True
            return [self.error(refusal)]
        self.authenticated = True
        return [self._control({"T": "success", "msg": "authenticated"})]

    def _subscribe(self, message: dict[str, Any], *, add: bool) -> list[bytes]:
        wanted: dict[str, list[str]] = {}
        for channel in _ASKED:
            symbols = message.get(channel)
            if symbols is None:
                continue
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
                return [self.error(400)]
            if len(symbols) > SYMBOLS_PER_MESSAGE_MAX:
                return [self.error(405)]
            wanted[channel] = symbols
        if add and self._symbol_limit:
            after = {
                (channel, symbol)
                for channel in ("trades", "quotes")
                for symbol in [*self.subscriptions[channel], *wanted.get(channel, ())]
            }
            if len(after) > self._symbol_limit:
                return [self.error(405)]
        for channel, symbols in wanted.items():
            # Corrections and cancels come with the trades; nobody can ask for them alone.
            for target in (channel, "corrections", "cancelErrors") if channel == "trades" else (channel,):
                current = self.subscriptions[target]
                for symbol in symbols:
                    if add:
                        if symbol == "*" or self._known(symbol):
                            current[symbol] = None
                    else:
                        current.pop(symbol, None)
        return [self._control({"T": "subscription", **{c: list(self.subscriptions[c]) for c in CHANNELS}})]

    def publish(self, window: Window, symbols: tuple[str, ...]) -> list[bytes]:
        """Frames of a window for this connection; several messages travel in one frame."""
        if not self.authenticated or self.closing:
            return []
        messages: list[bytes] = []
        codec = self.codec
        for channel in _FEED_CHANNELS:
            wanted = self.subscriptions[channel]
            if not wanted or (channel in ("bars", "dailyBars", "lulds") and not window.minute_passed()):
                continue
            for symbol in symbols if "*" in wanted else wanted:
                messages.extend(window.encoded(codec, channel, symbol))
        if paused := self.subscriptions["statuses"]:
            for event in window.statuses(symbols if "*" in paused else paused):
                messages.append(codec.message(special_of(window.exchange, event).alpaca))
        for special in window.specials:
            wanted = self.subscriptions[special.channel]
            if special.symbol in wanted or "*" in wanted:
                messages.append(codec.message(special.alpaca))
        return [codec.frame(group) for group in pieces(messages)]
