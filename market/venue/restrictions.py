"""What the rules of the market forbid in a symbol now: trading pauses, price bands, short sales after a fall.

All of it follows from the tape of the session, so it is the same for every reader and every replay.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from market.venue.luld import PriceLimits, price_limits
from market.venue.matching import NEVER, Book
from market.venue.tape import SymbolTape

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


PAUSED, RESUMED, SHORTS_RESTRICTED = "paused", "resumed", "short sales restricted"


@dataclass(frozen=True, slots=True)
class Restriction:
    """One symbol's session: its price limits, and the instant from which short sales are restricted."""

    limits: PriceLimits
    shorts_from: int = NEVER


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """A trading status changed at `t`."""

    t: int
    symbol: str
    kind: str


def short_sales_restricted_from(tape: SymbolTape, previous_close: int) -> int:
    """When a regular print is first 10 % under the previous close (Regulation SHO rule 201); NEVER if none is."""
    low, high = tape.trades_until(tape.session.open - 1), tape.trades_until(tape.session.close - 1)
    fallen = tape.price[low:high].astype(np.int64) * 10 <= previous_close * 9
    return tape.trade_time(low + int(np.argmax(fallen))) if fallen.any() else NEVER


class Restrictions:
    """The restrictions of every symbol of the current session, found when first asked for."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._day: date | None = None
        self._found: dict[str, Restriction] = {}
        self._events: list[StatusEvent] = []

    def of(self, symbol: str) -> Restriction:
        """The restriction of `symbol` in the current session."""
        exchange = self._exchange
        day = exchange.session.day
        if day != self._day:
            self._day, self._found, self._events = day, {}, []
        found = self._found.get(symbol)
        if found is None:
            found = self._found[symbol] = self._find(symbol, day)
            for start, end in found.limits.pauses:
                self._events += [StatusEvent(start, symbol, PAUSED), StatusEvent(end, symbol, RESUMED)]
            if found.shorts_from < NEVER:
                self._events.append(StatusEvent(found.shorts_from, symbol, SHORTS_RESTRICTED))
            self._events.sort(key=lambda event: (event.t, event.symbol))
        return found

    def _find(self, symbol: str, day: date) -> Restriction:
        rules, tape = self._exchange.rules, self._exchange.tape.on(symbol, day)
        limits, shorts_from = PriceLimits(0, (), ()), NEVER
        if tape is not None:
            previous = self._exchange.tape.last_close(symbol, day)
            if rules.luld:
                limits = price_limits(tape, previous, rules.luld_tier)
            if rules.short_sale_restriction:
                shorts_from = short_sales_restricted_from(tape, previous)
        return Restriction(limits, shorts_from)

    def events(self, start: int, end: int, symbols: Collection[str]) -> list[StatusEvent]:
        """What began or ended for `symbols` at start < time <= end, in order of time."""
        for symbol in symbols:
            if symbol not in self._found or self._day != self._exchange.session.day:
                self.of(symbol)
        return [e for e in self._events if start < e.t <= end and e.symbol in symbols]

    def paused(self) -> list[str]:
        """Symbols that are in a trading pause now, of those somebody asked about."""
        now = self._exchange.now
        return sorted(symbol for symbol, found in self._found.items() if found.limits.paused(now))

    def stopped(self, symbol: str) -> bool:
        """Whether trading in `symbol` stands still now: halted or paused."""
        exchange = self._exchange
        return symbol in exchange.halted or self.of(symbol).limits.paused(exchange.now)

    def watch_over(self, book: Book) -> None:
        """Give a book the session's limits and stop it during the pauses still to come."""
        exchange, symbol = self._exchange, book.symbol
        found = self.of(symbol)
        book.restrict(found.limits, found.shorts_from)
        if self.stopped(symbol):
            book.halt()
        for start, end in found.limits.pauses:
            if end > exchange.now:
                if start > exchange.now:
                    exchange.at(start, lambda when: book.halt())
                exchange.at(end, lambda when: self.resume(symbol, when))

    def resume(self, symbol: str, t: int) -> None:
        """Match again, unless another reason still stops the symbol."""
        book = self._exchange.books.get(symbol)
        if book is not None and not self.stopped(symbol):
            book.resume(t)
            self._exchange.watch(book)
