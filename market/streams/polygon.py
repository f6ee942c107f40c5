"""Polygon's (now Massive's) stocks socket: its messages and its conversation. No socket here.

Vendor page: "Stocks WebSocket", events ``T Q A AM LULD status``; times in milliseconds. Attributes
carry the same names as Alpaca's records, so that whoever takes them need not know the vendor.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from market.streams.conversation import Refused, Said, decode_array

TOPICS = {"trades": "T", "quotes": "Q", "bars": "AM", "lulds": "LULD"}
HALT, RESUME = 17, 18
"""Indicators of a LULD message that mean a pause and its end."""


class Trade(
    msgspec.Struct, frozen=True, gc=False, tag_field="ev", tag="T",
    rename={"symbol": "sym", "trade_id": "i", "exchange": "x", "price": "p", "size": "s", "conditions": "c",
            "tape": "z", "ms": "t"},
):  # fmt: skip
    """A print. ``size`` in shares."""

    kind: ClassVar[str] = "trade"
    symbol: str
    price: float
    size: float
    ms: int
    trade_id: str = ""
    exchange: int = 0
    conditions: tuple[int, ...] = ()
    tape: int = 0

    @property
    def at(self) -> dt.datetime:
        """Exchange time, aware UTC."""
        return dt.datetime.fromtimestamp(self.ms / 1e3, dt.UTC)


class Quote(
    msgspec.Struct, frozen=True, gc=False, tag_field="ev", tag="Q",
    rename={"symbol": "sym", "bid": "bp", "bid_size": "bs", "ask": "ap", "ask_size": "as", "ms": "t"},
):  # fmt: skip
    """Best bid and offer; a side that is not there is 0."""

    kind: ClassVar[str] = "quote"
    symbol: str
    ms: int
    bid: float = 0.0
    bid_size: float = 0.0
    ask: float = 0.0
    ask_size: float = 0.0

    @property
    def at(self) -> dt.datetime:
        """Exchange time, aware UTC."""
        return dt.datetime.fromtimestamp(self.ms / 1e3, dt.UTC)


class Bar(
    msgspec.Struct, frozen=True, gc=False, tag_field="ev", tag="AM",
    rename={"symbol": "sym", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "vwap": "vw",
            "ms": "s"},
):  # fmt: skip
    """A minute that is over; ``at`` is its left edge."""

    kind: ClassVar[str] = "bar"
    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    ms: int
    vwap: float = 0.0

    @property
    def at(self) -> dt.datetime:
        """Left edge, aware UTC."""
        return dt.datetime.fromtimestamp(self.ms / 1e3, dt.UTC)


class Band(
    msgspec.Struct, frozen=True, gc=False, tag_field="ev", tag="LULD",
    rename={"symbol": "T", "high": "h", "low": "l", "indicators": "i", "ns": "t"},
):  # fmt: skip
    """Limit up-limit down prices; ``indicators`` 17 pauses the name, 18 resumes it."""

    kind: ClassVar[str] = "band"
    symbol: str
    low: float
    high: float
    ns: int
    indicators: tuple[int, ...] = ()

    @property
    def at(self) -> dt.datetime:
        """Exchange time, aware UTC; the vendor has sent it in milliseconds and in nanoseconds."""
        seconds = self.ns / 1e9 if self.ns > 10**15 else self.ns / 1e3
        return dt.datetime.fromtimestamp(seconds, dt.UTC)


class _Status(msgspec.Struct, tag_field="ev", tag="status"):
    status: str = ""
    message: str = ""


_Message = Trade | Quote | Bar | Band | _Status
_DECODER = msgspec.json.Decoder(list[_Message])
_LOOSE = msgspec.json.Decoder(list[msgspec.Raw])
_ONE = msgspec.json.Decoder(_Message)


class Polygon:
    """The client's side of the conversation. ``key`` is the API key."""

    name: ClassVar[str] = "polygon"
    headers: ClassVar[dict[str, str]] = {}
    binary: ClassVar[bool] = False

    def __init__(self, key: str, *, channels: Iterable[str] = ("trades", "quotes", "lulds")) -> None:
        unknown = sorted(set(channels) - set(TOPICS))
        if unknown:
            raise ValueError(f"no such channel: {', '.join(unknown)}; there are {', '.join(TOPICS)}")
        self._key = key
        self.channels = tuple(channels)

    def hello(self) -> bytes | None:
        """Polygon speaks first."""
        return None

    def subscribe(self, symbols: Iterable[str]) -> list[bytes]:
        """Frames that ask for these names on every channel."""
        return self._topics("subscribe", symbols)

    def unsubscribe(self, symbols: Iterable[str]) -> list[bytes]:
        """Frames that drop these names."""
        return self._topics("unsubscribe", symbols)

    def _topics(self, action: str, symbols: Iterable[str]) -> list[bytes]:
        topics = [f"{TOPICS[c]}.{s}" for c in self.channels for s in sorted(symbols)]
        return [msgspec.json.encode({"action": action, "params": ",".join(topics)})] if topics else []

    def decode(self, frame: bytes | memoryview) -> tuple[list[Any], int]:
        """The frame's messages, and how many nobody understood. Raises ``msgspec.DecodeError`` if no array."""
        return decode_array(frame, _DECODER, _LOOSE, _ONE)

    def control(self, message: Any) -> Said | None:
        """What a control message means; None for market data. :class:`Refused` when retrying cannot help."""
        match message:
            case _Status(status="connected"):
                return Said(reply=[msgspec.json.encode({"action": "auth", "params": self._key})])
            case _Status(status="auth_success"):
                return Said(ready=True)
            case _Status(status="auth_failed", message=text):
                raise Refused(f"polygon refuses the key: {text}; check POLYGON_API_KEY")
            case _Status(status="error" | "auth_timeout" | "max_connections", message=text):
                return Said(error=text)
            case _Status():
                return Said()
        return None
