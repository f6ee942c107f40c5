"""Alpaca's market data socket: hello, auth, subscribe, and the messages a connection asked for. No socket here.

Section 3.1 of the specification. The codec is chosen by the handshake header: msgpack for
`Content-Type: application/msgpack`, JSON text otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from market.venue import fakepaca
from market.venue.feeds import SIP, TEST, Feed
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
_IMPLIED = ("corrections", "cancelErrors")
_IMBALANCES = "imbalances"
"""Named in the acknowledgement only to those who ask for it: most clients have never heard of it."""
NEWS = "news"
_FOREIGN = (NEWS, "orderbooks", "pricing")
"""Channels of the service's other sockets."""
_TAPE_CHANNELS = ("trades", "quotes", "bars", "dailyBars", "lulds", _IMBALANCES)
_EACH_MINUTE = ("bars", "dailyBars", "lulds")
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
    """One client of the data socket. Frames to send come back from every call; `closing` says: then close.

    `feed` None is the news socket: one channel, and no other.
    """

    def __init__(
        self,
        *,
        msgpack: bool,
        feed: Feed | None,
        authenticate: Callable[[str, str], bool],
        known: Callable[[str], bool],
        symbol_limit: int = 0,
        refuse_with: Callable[[], int] | None = None,
    ) -> None:
        self.feed = feed
        self.codec: AlpacaMsgpack | AlpacaJson = (
            AlpacaMsgpack(feed or SIP) if msgpack else AlpacaJson(feed or SIP)
        )
        self.authenticated = False
        self.closing = False
        shown = (*CHANNELS, _IMBALANCES) if feed is not None else (NEWS,)
        self.subscriptions: dict[str, dict[str, None]] = {channel: {} for channel in shown}
        self._acknowledged = [channel for channel in shown if channel != _IMBALANCES]
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
        foreign = _FOREIGN if self.feed is not None else (*CHANNELS, _IMBALANCES)
        if any(message.get(channel) is not None for channel in foreign):
            return [self.error(410)]
        wanted: dict[str, list[str]] = {}
        for channel in self.subscriptions:
            symbols = message.get(channel)
            if symbols is None or channel in _IMPLIED:
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
            for target in (channel, *_IMPLIED) if channel == "trades" else (channel,):
                current = self.subscriptions[target]
                for symbol in symbols:
                    if add:
                        if symbol == "*" or self._known(symbol):
                            current[symbol] = None
                    else:
                        current.pop(symbol, None)
            if channel == _IMBALANCES and channel not in self._acknowledged:
                self._acknowledged.append(channel)
        current_list = {channel: list(self.subscriptions[channel]) for channel in self._acknowledged}
        return [self._control({"T": "subscription", **current_list})]

    def publish(self, window: Window, symbols: tuple[str, ...]) -> list[bytes]:
        """Frames of a window for this connection; several messages travel in one frame."""
        if not self.authenticated or self.closing:
            return []
        codec = self.codec
        if self.feed is None:
            wanted = self.subscriptions[NEWS]
            found = window.news() if wanted else []
            messages = [
                codec.message(m) for m in found if "*" in wanted or not wanted.keys().isdisjoint(m["symbols"])
            ]
        elif self.feed is TEST:
            messages = [
                codec.message(m)
                for channel, found in fakepaca.messages(window.start, window.end).items()
                if self.subscriptions[channel]
                for m in found
            ]
        else:
            messages = self._tape_messages(window.behind(self.feed.delay), symbols)
        return [codec.frame(group) for group in pieces(messages)]

    def _tape_messages(self, window: Window, symbols: tuple[str, ...]) -> list[bytes]:
        messages: list[bytes] = []
        codec = self.codec
        for channel in _TAPE_CHANNELS:
            wanted = self.subscriptions[channel]
            if not wanted or (channel in _EACH_MINUTE and not window.minute_passed()):
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
        return messages
