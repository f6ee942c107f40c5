"""Pages of a list that is known whole: the token is the number of rows already seen, in base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from market.venue.refusals import Refusal

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Rows of one page and the token of the next, None on the last."""

    rows: list[T]
    next_token: str | None

    @classmethod
    def of(cls, rows: Sequence[T], limit: int, token: str | None) -> Page[T]:
        """The page that `token` (None: the first) asks for; Refusal 400 when the token is not one."""
        start = 0
        if token:
            try:
                start = int(base64.b64decode(token, validate=True).decode("ascii"))
            except (ValueError, binascii.Error):
                raise Refusal(400, None, "invalid page token") from None
            if start < 0:
                raise Refusal(400, None, "invalid page token")
        end = start + limit
        more = base64.b64encode(str(end).encode()).decode() if end < len(rows) else None
        return cls(list(rows[start:end]), more)


def read_limit(query: dict[str, str], default: int, most: int, name: str = "limit") -> int:
    """A page size of 1 to `most`; Refusal 400 for anything else."""
    text = query.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:10]) <= most:
        raise Refusal(400, None, f"invalid {name}: must be between 1 and {most}")
    return int(text)
