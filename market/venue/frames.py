"""Market data messages as bytes: Alpaca in msgpack and in JSON, Polygon in JSON.

Quotes and prints are the bulk, so each symbol has a compiled template for them and a message costs one
`struct.pack` or one `%`. Everything rarer goes through the generic encoder. `"T"` is the first key of every
map, because Alpaca's Go client insists; msgpack times are Timestamp extensions (type -1), which alpaca-py needs.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgspec

from market.calendar import NEW_YORK
from market.venue.decimals import PRICE_SCALE
from market.venue.feeds import SIP, Feed
from market.venue.tape import CLOSING, OPENING, Bar, Print, Quote
from market.venue.timestamps import MILLISECOND, SECOND, rfc3339, to_datetime

if TYPE_CHECKING:
    from market.venue.crosses import Imbalance

_AUCTIONS = {"opening": "M", "reopening": "H", "closing": "C"}
_TIMES = ("t", "created_at", "updated_at")
_CONDITIONS = {OPENING: ["@", "O"], CLOSING: ["@", "6"]}
_packer = msgspec.msgpack.Encoder()
_json = msgspec.json.Encoder()
FRAME_BYTES_MAX = 256 * 1024
"""Clients of the websockets library refuse messages over 1 MiB; a frame stays far below."""


def timestamp(t: int) -> msgspec.msgpack.Ext:
    """The 64-bit msgpack Timestamp of a time in nanoseconds."""
    seconds, nanoseconds = divmod(t, SECOND)
    return msgspec.msgpack.Ext(-1, ((nanoseconds << 34) | seconds).to_bytes(8, "big"))


def _fixed_text(text: str) -> bytes:
    return _packer.encode(text)


def _usd(ticks: int) -> float:
    return ticks / PRICE_SCALE


def array_frame(messages: list[bytes]) -> bytes:
    """A msgpack array of encoded messages."""
    count = len(messages)
    if count < 16:
        head = bytes([0x90 | count])
    elif count < 65536:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(messages)


def text_frame(messages: list[bytes]) -> bytes:
    """A JSON array of encoded messages."""
    return b"[" + b",".join(messages) + b"]"


def pieces(messages: list[bytes]) -> list[list[bytes]]:
    """Messages in groups whose frame stays under `FRAME_BYTES_MAX`."""
    total = sum(map(len, messages))
    if total <= FRAME_BYTES_MAX:
        return [messages] if messages else []
    groups: list[list[bytes]] = []
    group: list[bytes] = []
    size = 0
    for message in messages:
        if group and size + len(message) > FRAME_BYTES_MAX:
            groups.append(group)
            group, size = [], 0
        group.append(message)
        size += len(message)
    if group:
        groups.append(group)
    return groups


class AlpacaMsgpack:
    """Alpaca's messages in msgpack, for connections that asked for it in the handshake."""

    binary = True

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.letter = feed.letter
        self.name = f"msgpack-{feed.name}"
        self._quotes: dict[str, tuple[struct.Struct, bytes, bytes, bytes]] = {}
        self._trades: dict[str, tuple[struct.Struct, bytes, bytes, bytes]] = {}

    def quote(self, symbol: str, tape_letter: str, quote: Quote) -> bytes:
        """One `q` message."""
        template = self._quotes.get(symbol)
        if template is None:
            letter = _fixed_text(self.letter)
            head = b"\x8b\xa1T\xa1q\xa1S" + _fixed_text(symbol) + b"\xa2bx" + letter + b"\xa2bp\xcb"
            middle = b"\xa2ax" + letter + b"\xa2ap\xcb"
            tail = b"\xa1c\x91\xa1R\xa1z" + _fixed_text(tape_letter) + b"\xa1t\xd7\xff"
            # bid price, bid size, ask price, ask size, time; the fixed text in between is packed with them
            pattern = struct.Struct(f">{len(head)}sd4sI{len(middle)}sd4sI{len(tail)}sQ")
            template = self._quotes[symbol] = (pattern, head, middle, tail)
        pattern, head, middle, tail = template
        seconds, nanoseconds = divmod(quote.t, SECOND)
        return pattern.pack(
            head,
            quote.bid / PRICE_SCALE,
            b"\xa2bs\xce",
            quote.bid_size,
            middle,
            quote.ask / PRICE_SCALE,
            b"\xa2as\xce",
            quote.ask_size,
            tail,
            (nanoseconds << 34) | seconds,
        )

    def trade(self, symbol: str, tape_letter: str, trade: Print) -> bytes:
        """One `t` message."""
        if trade.kind in _CONDITIONS:
            return self.message(trade_message(symbol, tape_letter, trade, self.letter))
        template = self._trades.get(symbol)
        if template is None:
            head = b"\x89\xa1T\xa1t\xa1S" + _fixed_text(symbol) + b"\xa1i\xce"
            middle = b"\xa1x" + _fixed_text(self.letter) + b"\xa1p\xcb"
            tail = b"\xa1c\x91\xa1@\xa1z" + _fixed_text(tape_letter) + b"\xa1t\xd7\xff"
            pattern = struct.Struct(f">{len(head)}sI{len(middle)}sd3sI{len(tail)}sQ")
            template = self._trades[symbol] = (pattern, head, middle, tail)
        pattern, head, middle, tail = template
        seconds, nanoseconds = divmod(trade.t, SECOND)
        return pattern.pack(
            head,
            trade.number,
            middle,
            trade.price / PRICE_SCALE,
            b"\xa1s\xce",
            trade.size,
            tail,
            (nanoseconds << 34) | seconds,
        )

    def message(self, message: dict[str, Any]) -> bytes:
        """Any other message; a time in nanoseconds becomes a Timestamp."""
        return _packer.encode(
            {key: timestamp(value) if key in _TIMES else value for key, value in message.items()}
        )

    def frame(self, messages: list[bytes]) -> bytes:
        """Messages as one frame."""
        return array_frame(messages)


class AlpacaJson:
    """Alpaca's messages in JSON text."""

    binary = False

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.letter = feed.letter
        self.name = f"json-{feed.name}"

    def quote(self, symbol: str, tape_letter: str, quote: Quote) -> bytes:
        """One `q` message."""
        return (
            f'{{"T":"q","S":"{symbol}","bx":"{self.letter}","bp":{_usd(quote.bid)},"bs":{quote.bid_size},'
            f'"ax":"{self.letter}","ap":{_usd(quote.ask)},"as":{quote.ask_size},"c":["R"],"z":"{tape_letter}",'
            f'"t":"{rfc3339(quote.t)}"}}'
        ).encode()

    def trade(self, symbol: str, tape_letter: str, trade: Print) -> bytes:
        """One `t` message."""
        return self.message(trade_message(symbol, tape_letter, trade, self.letter))

    def message(self, message: dict[str, Any]) -> bytes:
        """Any other message."""
        return _json.encode(
            {key: rfc3339(value) if key in _TIMES else value for key, value in message.items()}
        )

    def frame(self, messages: list[bytes]) -> bytes:
        """Messages as one frame."""
        return text_frame(messages)


class PolygonJson:
    """Polygon's messages; times in milliseconds, exchanges and conditions as numbers."""

    binary = False

    def __init__(self) -> None:
        self.feed = SIP
        self.name = "polygon"
        self._exchange = 11

    def quote(self, symbol: str, tape_letter: str, quote: Quote) -> bytes:
        """One `Q` event."""
        tape = "ABC".index(tape_letter) + 1
        return (
            f'{{"ev":"Q","sym":"{symbol}","bx":{self._exchange},"bp":{_usd(quote.bid)},"bs":{quote.bid_size},'
            f'"ax":{self._exchange},"ap":{_usd(quote.ask)},"as":{quote.ask_size},"c":0,"i":[604],'
            f'"t":{quote.t // MILLISECOND},"q":{quote.t // 1000 % 10**9},"z":{tape}}}'
        ).encode()

    def trade(self, symbol: str, tape_letter: str, trade: Print) -> bytes:
        """One `T` event."""
        tape = "ABC".index(tape_letter) + 1
        conditions = {OPENING: "[17]", CLOSING: "[8]"}.get(trade.kind, "[0]")
        return (
            f'{{"ev":"T","sym":"{symbol}","x":{self._exchange},"i":"{trade.number}","z":{tape},'
            f'"p":{_usd(trade.price)},"s":{trade.size},"c":{conditions},"t":{trade.t // MILLISECOND},'
            f'"q":{trade.number}}}'
        ).encode()

    def message(self, message: dict[str, Any]) -> bytes:
        """Any other event."""
        return _json.encode(message)

    def frame(self, messages: list[bytes]) -> bytes:
        """Messages as one frame."""
        return text_frame(messages)


Codec = AlpacaMsgpack | AlpacaJson | PolygonJson


def trade_message(symbol: str, tape_letter: str, trade: Print, letter: str) -> dict[str, Any]:
    """Alpaca's `t` as a dictionary, `t` in nanoseconds."""
    return {
        "T": "t", "S": symbol, "i": trade.number, "x": letter, "p": _usd(trade.price), "s": trade.size,
        "c": _CONDITIONS.get(trade.kind, ["@"]), "z": tape_letter, "t": trade.t,
    }  # fmt: skip


def bar_message(kind: str, symbol: str, bar: Bar) -> dict[str, Any]:
    """Alpaca's `b`, `u` or `d` as a dictionary."""
    return {
        "T": kind, "S": symbol, "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close, "v": int(bar.volume),
        "t": bar.t, "n": bar.trades, "vw": bar.vwap,
    }  # fmt: skip


def polygon_bar(kind: str, symbol: str, bar: Bar, width: int, day: Bar | None) -> dict[str, Any]:
    """Polygon's `A` or `AM`: the window's bar with the day's volume, open and average."""
    return {
        "ev": kind, "sym": symbol, "v": int(bar.volume), "av": int(day.volume if day else bar.volume),
        "op": day.open if day else bar.open, "vw": bar.vwap, "o": bar.open, "c": bar.close, "h": bar.high,
        "l": bar.low, "a": day.vwap if day else bar.vwap, "z": int(bar.volume / max(bar.trades, 1)),
        "s": bar.t // MILLISECOND, "e": (bar.t + width) // MILLISECOND,
    }  # fmt: skip


def imbalance_message(imbalance: Imbalance, tape_letter: str, t: int) -> dict[str, Any]:
    """Alpaca's `i`: the price at which the auction ahead would clear."""
    return {"T": "i", "S": imbalance.symbol, "p": _usd(imbalance.reference), "z": tape_letter, "t": t}


def polygon_imbalance(imbalance: Imbalance, t: int) -> dict[str, Any]:
    """Polygon's `NOI`: core opening (M), reopening (H) or closing (C) auction, its time as HHMM in New York."""
    due = to_datetime(imbalance.t).astimezone(NEW_YORK)
    return {
        "ev": "NOI", "T": imbalance.symbol, "t": t // MILLISECOND, "at": due.hour * 100 + due.minute,
        "a": _AUCTIONS[imbalance.auction], "i": t // 1000 % 10**9, "x": 10, "o": imbalance.imbalance,
        "p": imbalance.paired, "b": _usd(imbalance.reference),
    }  # fmt: skip
