"""What a vendor's dialect must know, so that one connection can carry any of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import msgspec

from market.errors import MarketError


class Refused(MarketError):
    """The vendor refuses for a reason that asking again will not change."""


@dataclass(frozen=True)
class Said:
    """What a control message means for the connection."""

    reply: list[bytes] = field(default_factory=list)
    ready: bool = False
    """Authenticated: names may be asked for."""
    confirmed: frozenset[str] | None = None
    """The names the vendor says it sends, where it says so."""
    error: str = ""


class Decoder(Protocol):
    """A msgspec decoder of either encoding."""

    def decode(self, data: bytes | memoryview, /) -> Any:
        """The value of the bytes; raises ``msgspec.ValidationError`` for one of another type."""


def decode_array(
    frame: bytes | memoryview, whole: Decoder, loose: Decoder, one: Decoder
) -> tuple[list[Any], int]:
    """All messages of a frame at once, or one by one where one is not understood: it costs only itself.

    Returns the messages and how many nobody understood; raises ``msgspec.DecodeError`` if it is no array.
    """
    try:
        return whole.decode(frame), 0
    except msgspec.ValidationError:
        messages: list[Any] = []
        raws = loose.decode(frame)
        for raw in raws:
            with contextlib.suppress(msgspec.ValidationError):
                messages.append(one.decode(raw))
        return messages, len(raws) - len(messages)


class Dialect(Protocol):
    """One vendor's words: how to greet, authenticate, subscribe, and read frames."""

    name: ClassVar[str]
    headers: ClassVar[dict[str, str]]
    binary: ClassVar[bool]

    def hello(self) -> bytes | None:
        """First frame from us, if we speak first."""

    def subscribe(self, symbols: Iterable[str]) -> list[bytes]:
        """Frames that ask for names."""

    def unsubscribe(self, symbols: Iterable[str]) -> list[bytes]:
        """Frames that drop names."""

    def decode(self, frame: bytes | memoryview) -> tuple[list[Any], int]:
        """Messages of a frame, and the number not understood."""

    def control(self, message: Any) -> Said | None:
        """What a control message means; None for market data."""
