"""Polygon's query parameters and its way to refuse them."""

from __future__ import annotations

import base64
import binascii
from datetime import date
from typing import Any

from market.venue.timestamps import parse_moment

COMPARISONS = ("gte", "gt", "lte", "lt")
ROWS_MAX = 50_000
_NANOSECONDS_2100 = 4_102_444_800 * 10**9


class PolygonRefusal(Exception):
    """An error in Polygon's shape."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body))
        self.status, self.body = status, body


def bad(message: str) -> PolygonRefusal:
    """A parameter that cannot be read."""
    return PolygonRefusal(400, {"status": "ERROR", "error": message})


def not_found(message: str) -> PolygonRefusal:
    """Nothing of that name."""
    return PolygonRefusal(404, {"status": "NOT_FOUND", "message": message})


def parse_day(text: str) -> date:
    """YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise bad("Could not parse the 'date' parameter: use YYYY-MM-DD") from None


def parse_limit(query: dict[str, str], default: int, most: int = ROWS_MAX) -> int:
    """Page size, 1 to `most`."""
    text = query.get("limit")
    if not text:
        return default
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise bad(f"limit must be between 1 and {most}")
    return int(text)


def cursor_text(query: dict[str, str]) -> str | None:
    """What `next_url` carried, None on a first page."""
    text = query.get("cursor")
    if not text:
        return None
    try:
        return base64.urlsafe_b64decode(text.encode()).decode()
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise bad("invalid cursor") from None


def cursor(query: dict[str, str]) -> int | None:
    """The same as a number."""
    text = cursor_text(query)
    if text is None:
        return None
    if not text.isdigit():
        raise bad("invalid cursor")
    return int(text)


def not_entitled() -> PolygonRefusal:
    """What a stocks plan does not include."""
    message = "You are not entitled to this data. Please upgrade your plan at https://massive.com/pricing"
    return PolygonRefusal(403, {"status": "NOT_AUTHORIZED", "message": message})


def row_cursor(query: dict[str, str]) -> tuple[int, int] | None:
    """(time, how many rows of that time were seen): several rows may share a nanosecond."""
    text = cursor_text(query)
    if text is None:
        return None
    t, _, seen = text.partition("|")
    if not (t.isascii() and t.isdigit() and seen.isascii() and seen.isdigit()):
        raise bad("invalid cursor")
    return int(t), int(seen)


def timestamp_span(query: dict[str, str], *, default_start: int, now: int) -> tuple[int, int]:
    """(start, end), both included, from `timestamp` or its comparisons."""
    start, end = default_start, now
    try:
        if query.get("timestamp"):
            start, end = parse_instant(query["timestamp"]), parse_instant(query["timestamp"], end=True)
        for name in COMPARISONS:
            text = query.get(f"timestamp.{name}")
            if not text:
                continue
            if name == "gte":
                start = parse_instant(text)
            elif name == "gt":
                start = parse_instant(text) + 1
            elif name == "lte":
                end = parse_instant(text, end=True)
            else:
                end = parse_instant(text) - 1
    except (ValueError, OverflowError):
        raise bad("Could not parse the 'timestamp' parameter") from None
    return start, end


def parse_instant(text: str, *, end: bool = False) -> int:
    """A date, RFC 3339 text or nanoseconds."""
    if text.isdigit() and len(text) >= 19:
        return min(int(text), _NANOSECONDS_2100)
    return parse_moment(text, end_of_day=end)
