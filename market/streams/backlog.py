"""Records that wait for a consumer that is slower than the market, bounded without losing what matters.

A quote is replaced by the name's next one anyway, so of quotes only the newest of each name waits. A
print, a bar, a status or a band is never dropped: when they alone pass the bound, that is an error to
be heard, not a loss to be hidden.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from market.errors import MarketError


class Overrun(MarketError):
    """More records wait than may; the consumer has stopped or the bound is too small."""


class Backlog:
    """An asyncio queue of records that conflates quotes.

    Parameters
    ----------
    most : int
        Records other than quotes that may wait.
    """

    def __init__(self, most: int = 100_000) -> None:
        self.most = most
        self.quotes_replaced = 0
        self._quotes: dict[str, Any] = {}
        self._others: deque[Any] = deque()
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._quotes) + len(self._others)

    def put(self, record: Any) -> None:
        """Leave a record. Raises :class:`Overrun` when the bound is passed; the record is kept all the same."""
        if record.kind == "quote":
            if record.symbol in self._quotes:
                self.quotes_replaced += 1
            self._quotes[record.symbol] = record
        else:
            self._others.append(record)
        self._some.set()
        if len(self._others) > self.most:
            raise Overrun(
                f"{len(self._others)} records wait, more than {self.most}: the consumer is too slow"
            )

    async def take(self) -> list[Any]:
        """Everything that waits, at least one record: prints and statuses in order, then the newest quotes."""
        await self._some.wait()
        self._some.clear()
        records = [*self._others, *self._quotes.values()]
        self._others.clear()
        self._quotes.clear()
        return records
