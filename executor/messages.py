"""A message of the broker as the bytes it was, and which orders it tells of.

Bytes are kept before anything acts on them. The look into a body here only finds the ids to file it
under: it takes any bytes, never raises, and a body that is no JSON is filed under what was asked.
Credentials never come near: of a request only method, path, query and body are taken, of an answer
only the headers of :data:`HEADERS`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

HEADERS = frozenset(
    {
        "x-request-id",
        "content-type",
        "date",
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    }
)
"""Headers of an answer that are kept."""
REF_CHARS_MAX = 128
"""Client order ids have 48 characters at most (128 at the vendor); what is longer is no id."""


@dataclass(frozen=True)
class BrokerMessage:
    """One request, answer or frame.

    ``received_at`` is our wall clock when its last byte was there; ``failure`` says why there is no
    answer (a timeout, a reset).
    """

    channel: str
    direction: str
    body: bytes
    refs: tuple[str, ...] = ()
    request: str = ""
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    received_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    message_id: uuid.UUID = field(default_factory=uuid.uuid4)


class News:
    """Finds the orders and activities that a body brings news of.

    In a list only those count that are not as the list before showed them: a sweep of five hundred
    orders of which one was filled is news of that one.
    """

    def __init__(self) -> None:
        self._seen: dict[str, bytes] = {}

    def of_frame(self, body: bytes) -> tuple[str, ...]:
        """Ids of a stream's frame."""
        return _usable(_ids(_parsed(body)))

    def of_answer(self, request: str, sent: bytes, body: bytes) -> tuple[str, ...]:
        """Ids of an answer, and of what was asked: a refusal or an empty body names none itself."""
        shown = _parsed(body)
        rows = [row for row in shown if self._is_news(row)] if isinstance(shown, list) else shown
        return _usable([*_asked(request), *_ids(_parsed(sent)), *_ids(rows)])

    def _is_news(self, row: Any) -> bool:
        key = str(row.get("id", "")) if isinstance(row, dict) else ""
        digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).digest()
        if self._seen.get(key) == digest:
            return False
        self._seen[key] = digest
        return True


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Of an answer's headers those worth keeping, names in lower case."""
    return {k.lower(): _printable(v) for k, v in headers.items() if k.lower() in HEADERS}


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None


def _ids(value: Any) -> Iterator[str]:
    """Order and activity ids anywhere in a parsed body."""
    if isinstance(value, list):
        for item in value:
            yield from _ids(item)
    elif isinstance(value, dict):
        if "client_order_id" in value or "activity_type" in value:
            yield from (value.get(k) for k in ("client_order_id", "order_id", "id"))  # type: ignore[misc]
        for item in value.values():
            if isinstance(item, (dict, list)):
                yield from _ids(item)


def _asked(request: str) -> list[str]:
    """The order a request's address names: ``/v2/orders/<id>`` or ``?client_order_id=<id>``."""
    address = urlsplit(request.partition(" ")[2])
    head, _, last = address.path.rpartition("/")
    return [
        *parse_qs(address.query).get("client_order_id", []),
        *([last] if head.endswith("/orders") else []),
    ]


def _usable(ids: Any) -> tuple[str, ...]:
    found = (i for i in ids if isinstance(i, str) and 0 < len(i) <= REF_CHARS_MAX and i.isprintable())
    return tuple(dict.fromkeys(found))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
