"""A request and its answer without a socket: what the shells pass to the protocol modules and to the journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Request:
    """One HTTP request. `query` holds decoded values; a repeated key keeps its last one."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class Answer:
    """Status and JSON body (None: no body at all)."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    content_type: str = "application/json"

    def encode(self) -> bytes:
        """The body's bytes."""
        if self.raw is not None:
            return self.raw
        if self.body is None:
            return b""
        return _encoder.encode(self.body)


def truth(text: str | None) -> bool:
    """alpaca-py writes query booleans `True` and `False`; others write `true` or `1`."""
    return text is not None and text.lower() in ("true", "1", "t", "yes")


_POLYGON = ("/v2/aggs/", "/v1/open-close/", "/v3/trades/", "/v3/quotes/", "/v2/last/", "/v2/snapshot/",
            "/v3/reference/", "/v1/marketstatus/", "/v3/snapshot", "/v1/indicators/", "/v2/reference/", "/vX/",
            "/v1/summaries", "/v1/last", "/v1/conversion/", "/v1/related-companies/", "/stocks/", "/benzinga/", "/fed/",
            "/futures/", "/etf-global/", "/tmx/")  # fmt: skip
_DATA = ("/v2/stocks/", "/v1beta1/", "/v1/corporate-actions", "/v1beta3/")


def dialect_of(path: str) -> str:
    """trading, data or polygon."""
    if path.startswith(_POLYGON):
        return "polygon"
    return "data" if path.startswith(_DATA) else "trading"
