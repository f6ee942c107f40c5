"""Alpaca's market data socket (``/v2/{sip,iex,...}``): its messages and its conversation. No socket here.

Vendor page: "Real-time Stock Data", message formats ``t q b u d s l c x i``. msgpack is asked for by
the handshake header; its Timestamp values become aware UTC datetimes, rounded to the microsecond.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from market.streams.conversation import Refused, Said, decode_array

CHANNELS = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
"""What may be asked for; corrections and cancels come with trades."""


class Trade(
    msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="t",
    rename={"symbol": "S", "trade_id": "i", "exchange": "x", "price": "p", "size": "s", "conditions": "c",
            "at": "t", "tape": "z"},
):  # fmt: skip
    """A print. ``size`` in shares."""

    kind: ClassVar[str] = "trade"
    symbol: str
    price: float
    size: float
    at: dt.datetime
    trade_id: int = 0
    exchange: str = ""
    conditions: tuple[str, ...] = ()
    tape: str = ""


class Quote(
    msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="q",
    rename={"symbol": "S", "bid": "bp", "bid_size": "bs", "ask": "ap", "ask_size": "as", "at": "t"},
):  # fmt: skip
    """Best bid and offer; a side that is not there has price 0. Sizes in shares (since 2025-11-03)."""

    kind: ClassVar[str] = "quote"
    symbol: str
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    at: dt.datetime


_BAR = {"symbol": "S", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "trades": "n",
        "vwap": "vw", "at": "t"}  # fmt: skip


class Bar(msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="b", rename=_BAR):
    """A minute that is over; ``at`` is its left edge."""

    kind: ClassVar[str] = "bar"
    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    at: dt.datetime
    trades: int = 0
    vwap: float = 0.0


class UpdatedBar(Bar, frozen=True, gc=False, tag_field="T", tag="u", rename=_BAR):
    """A minute said again, because late trades changed it."""

    kind: ClassVar[str] = "updated_bar"


class DailyBar(Bar, frozen=True, gc=False, tag_field="T", tag="d", rename=_BAR):
    """The session so far."""

    kind: ClassVar[str] = "daily_bar"


class Status(
    msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="s",
    rename={"symbol": "S", "code": "sc", "text": "sm", "reason": "rc", "reason_text": "rm", "at": "t",
            "tape": "z"},
):  # fmt: skip
    """Halt, resume, pause or restriction, in the tape's own codes."""

    kind: ClassVar[str] = "status"
    symbol: str
    code: str
    at: dt.datetime
    text: str = ""
    reason: str = ""
    reason_text: str = ""
    tape: str = ""


class Band(
    msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="l",
    rename={"symbol": "S", "high": "u", "low": "d", "indicator": "i", "at": "t", "tape": "z"},
):  # fmt: skip
    """Limit up-limit down prices."""

    kind: ClassVar[str] = "band"
    symbol: str
    low: float
    high: float
    at: dt.datetime
    indicator: str = ""
    tape: str = ""


class Correction(
    msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="c",
    rename={"symbol": "S", "trade_id": "oi", "price": "op", "size": "os", "corrected_id": "ci",
            "corrected_price": "cp", "corrected_size": "cs", "at": "t"},
):  # fmt: skip
    """A print that was wrong, and what it should have said."""

    kind: ClassVar[str] = "correction"
    symbol: str
    trade_id: int
    price: float
    size: float
    corrected_id: int
    corrected_price: float
    corrected_size: float
    at: dt.datetime


class Cancel(
    msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="x",
    rename={"symbol": "S", "trade_id": "i", "price": "p", "size": "s", "action": "a", "at": "t"},
):  # fmt: skip
    """A print taken back (``C``) or in error (``E``)."""

    kind: ClassVar[str] = "cancel"
    symbol: str
    trade_id: int
    price: float
    size: float
    at: dt.datetime
    action: str = ""


class Imbalance(
    msgspec.Struct, frozen=True, gc=False, tag_field="T", tag="i",
    rename={"symbol": "S", "price": "p", "at": "t"},
):  # fmt: skip
    """An order imbalance before an auction."""

    kind: ClassVar[str] = "imbalance"
    symbol: str
    price: float
    at: dt.datetime


class _Success(msgspec.Struct, tag_field="T", tag="success"):
    msg: str = ""


class _Error(msgspec.Struct, tag_field="T", tag="error"):
    code: int = 0
    msg: str = ""


class _Subscription(msgspec.Struct, tag_field="T", tag="subscription"):
    trades: list[str] = []
    quotes: list[str] = []
    bars: list[str] = []
    updatedBars: list[str] = []
    dailyBars: list[str] = []
    statuses: list[str] = []
    lulds: list[str] = []


Record = Trade | Quote | Bar | UpdatedBar | DailyBar | Status | Band | Correction | Cancel | Imbalance
_Message = Record | _Success | _Error | _Subscription
_DECODER = msgspec.msgpack.Decoder(list[_Message])
_LOOSE = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ONE = msgspec.msgpack.Decoder(_Message)
_ENCODE = msgspec.msgpack.Encoder().encode

FATAL = frozenset({402, 408, 409, 410, 411})
"""Error codes after which asking again in the same words cannot help. 406, too many connections, can be our
own last session, which the vendor notices to be dead only after a minute and a half."""


class Alpaca:
    """The client's side of the conversation. Raises ``ValueError`` for a channel that does not exist."""

    name: ClassVar[str] = "alpaca"
    headers: ClassVar[dict[str, str]] = {"Content-Type": "application/msgpack"}
    binary: ClassVar[bool] = True

    def __init__(self, key: str, secret: str, *, channels: Iterable[str] = ("trades", "quotes", "statuses")):
        unknown = sorted(set(channels) - set(CHANNELS))
        if unknown:
            raise ValueError(f"no such channel: {', '.join(unknown)}; there are {', '.join(CHANNELS)}")
        self._key, self._secret = key, secret
        self.channels = tuple(channels)

    def hello(self) -> bytes | None:
        """What to send once connected; Alpaca speaks first."""
        return None

    def subscribe(self, symbols: Iterable[str]) -> list[bytes]:
        """Frames that ask for these names on every channel."""
        names = sorted(symbols)
        return [_ENCODE({"action": "subscribe", **{c: names for c in self.channels}})] if names else []

    def unsubscribe(self, symbols: Iterable[str]) -> list[bytes]:
        """Frames that drop these names."""
        names = sorted(symbols)
        return [_ENCODE({"action": "unsubscribe", **{c: names for c in self.channels}})] if names else []

    def decode(self, frame: bytes | memoryview) -> tuple[list[Any], int]:
        """The frame's messages, and how many of them nobody understood (they cost only themselves).

        Raises ``msgspec.DecodeError`` for a frame that is no msgpack array.
        """
        return decode_array(frame, _DECODER, _LOOSE, _ONE)

    def control(self, message: Any) -> Said | None:
        """What a control message means; None for market data. :class:`Refused` when retrying cannot help."""
        match message:
            case _Success(msg="connected"):
                return Said(reply=[_ENCODE({"action": "auth", "key": self._key, "secret": self._secret})])
            case _Success(msg="authenticated"):
                return Said(ready=True)
            case _Success():
                return Said()
            case _Error(code=code, msg=msg):
                if code in FATAL:
                    raise Refused(f"alpaca refuses the stream: {code} {msg}{_WAY_OUT.get(code, '')}")
                return Said(error=f"{code} {msg}")
            case _Subscription():
                return Said(confirmed=frozenset(getattr(message, self.channels[0])))
        return None


_WAY_OUT = {
    402: "; check the key and secret",
    409: "; the plan does not cover this feed: choose iex, or change the plan",
}
