"""A gap healed: what was missed is fetched by REST and told first, in order, before the names count as live.

While a gap is being filled, prints and bars of its names wait; quotes do not, because only the newest
counts. A print that came both ways is told once, by its vendor id.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol


class Print(Protocol):
    """A trade of any vendor."""

    @property
    def symbol(self) -> str:
        """The name."""
        ...

    @property
    def trade_id(self) -> int | str:
        """The vendor's id, unique within name and exchange of a day."""
        ...

    @property
    def exchange(self) -> int | str:
        """Where it printed."""
        ...

    @property
    def at(self) -> dt.datetime:
        """Exchange time."""
        ...


Fetch = Callable[[Sequence[str], dt.datetime, dt.datetime], Awaitable[Sequence[Any]]]
"""Trades (or bars) of these names between two times, inclusive, any order; raises when it cannot."""

REMEMBERED = 4096
"""Ids of the last prints kept per name: more than a gap's overlap ever holds."""


class Healing:
    """Passes records on in order and without doubles, holding back those of names whose gap is open.

    Parameters
    ----------
    fetch : callable
        Asks the vendor's REST side.
    tell : callable
        Takes each record in its turn.
    """

    def __init__(self, fetch: Fetch, tell: Callable[[Any], None]) -> None:
        self._fetch = fetch
        self._tell = tell
        self._seen: dict[str, dict[tuple[int | str, int | str], None]] = {}
        self._last: dict[str, dt.datetime] = {}
        self._held: dict[str, list[Any]] = {}
        self.filled = 0
        """Prints that only REST had."""

    def take(self, trade: Print) -> None:
        """A live print: told now, or after the gap of its name."""
        held = self._held.get(trade.symbol)
        if held is not None:
            held.append(trade)
        elif self._fresh(trade):
            self._tell(trade)

    def open_gap(self, symbols: Iterable[str]) -> None:
        """The connection was lost: prints of these names wait until :meth:`heal` has run."""
        for symbol in symbols:
            self._held.setdefault(symbol, [])

    async def heal(self, symbols: Sequence[str], now: dt.datetime) -> None:
        """Fill the gap of these names up to ``now`` and pass on what waited.

        Raises what ``fetch`` raises; the names then stay held, and it may be called again.
        """
        known = [s for s in symbols if s in self._last]
        missed: Sequence[Any] = ()
        if known:
            missed = await self._fetch(known, min(self._last[s] for s in known), now)
        for trade in sorted(missed, key=lambda t: t.at):
            # An old print of a name whose own gap began later is no news, though the fetch covers it.
            if trade.at >= self._last.get(trade.symbol, now) and self._fresh(trade):
                self.filled += 1
                self._tell(trade)
        for symbol in symbols:
            for trade in self._held.pop(symbol, ()):
                if self._fresh(trade):
                    self._tell(trade)

    def _fresh(self, trade: Print) -> bool:
        """Whether it was not told yet; remembers it."""
        seen = self._seen.setdefault(trade.symbol, {})
        key = (trade.exchange, trade.trade_id)
        if key in seen:
            return False
        seen[key] = None
        if len(seen) > REMEMBERED:
            del seen[next(iter(seen))]
        last = self._last.get(trade.symbol)
        if last is None or trade.at > last:
            self._last[trade.symbol] = trade.at
        return True
