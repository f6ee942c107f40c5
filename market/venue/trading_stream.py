"""Alpaca's trade_updates socket: authenticate, listen, updates. JSON, in binary frames as the paper service sends.

No snapshot on connect and no replay after a reconnect: what was missed has to come from REST. Sections 1.3, 2.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from market.venue.exchange import Update

STREAMS = ("trade_updates",)
AUTH_TIMEOUT_S = 10.0
_encoder = msgspec.json.Encoder()


def update_frame(data: dict[str, Any]) -> bytes:
    """A trade update as it travels."""
    return _encoder.encode({"stream": "trade_updates", "data": data})


class TradingConnection:
    """One client of the trading socket; `account` is -1 until it has authenticated."""

    def __init__(self, authenticate: Callable[[str, str], int], *, msgpack: bool = False) -> None:
        self.account = -1
        self.closing = False
        self.streams: list[str] = []
        self._authenticate = authenticate
        self._msgpack = msgpack

    def opened(self) -> list[bytes]:
        """Nothing: the client speaks first."""
        return []

    def _say(self, stream: str, data: dict[str, Any]) -> bytes:
        message = {"stream": stream, "data": data}
        return msgspec.msgpack.encode(message) if self._msgpack else _encoder.encode(message)

    def auth_timeout(self) -> list[bytes]:
        """Nothing came in time."""
        self.closing = True
        return [self._say("authorization", {"status": "unauthorized", "action": "authenticate"})]

    def receive(self, data: bytes) -> list[bytes]:
        """A message of the client, JSON in a text or binary frame (msgpack too when negotiated)."""
        try:
            message = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            try:
                message = msgspec.msgpack.decode(data) if self._msgpack else None
            except (msgspec.DecodeError, ValueError, RecursionError):
                message = None
        if not isinstance(message, dict):
            self.closing = True
            return [self._say("error", {"error": "invalid message"})]
        action = message.get("action")
        body = message.get("data")
        body = body if isinstance(body, dict) else {}
        if action in ("authenticate", "auth"):
            # The newer documents put key and secret beside the action.
            key = body.get("key_id", message.get("key"))
            secret = body.get("secret_key", message.get("secret"))
            number = (
                self._authenticate(key, secret) if isinstance(key, str) and isinstance(secret, str) else -1
            )
            if number < 0:
                return [self._say("authorization", {"status": "unauthorized", "action": "authenticate"})]
            self.account = number
            return [self._say("authorization", {"status": "authorized", "action": "authenticate"})]
        if action == "listen":
            if self.account < 0:
                return [self._say("authorization", {"status": "unauthorized", "action": "listen"})]
            asked = body.get("streams")
            self.streams = [name for name in asked if name in STREAMS] if isinstance(asked, list) else []
            return [self._say("listening", {"streams": self.streams})]
        return [self._say("error", {"error": f"unknown action: {str(action)[:100]}"})]

    def publish(self, update: Update) -> list[bytes]:
        """The frame of an update of this connection's account, if it listens."""
        if update.account != self.account or "trade_updates" not in self.streams:
            return []
        if self._msgpack:
            return [msgspec.msgpack.encode({"stream": "trade_updates", "data": update.data})]
        return [update_frame(update.data)]
