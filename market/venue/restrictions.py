"""What the rules of the market forbid in a symbol now: halts, pauses, price bands, short sales after a fall.

Pauses, breakers and bands follow from the tape of the session, so they are the same for every reader and every
replay; halts come from whoever runs the rehearsal. Both leave holes in the tape that everybody reads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from market import calendar
from market.venue import sessions
from market.venue.breakers import INDEX, LEVELS, market_stops
from market.venue.decimals import PRICE_SCALE, to_price
from market.venue.luld import PriceLimits, half_width, price_limits
from market.venue.matching import Book
from market.venue.set_aside import suspend, take_up
from market.venue.stops import Stop, with_holes
from market.venue.tape import SymbolTape
from market.venue.timestamps import NEVER, SECOND

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


STOPPED, RESUMED, SHORTS_RESTRICTED = "stopped", "resumed", "short sales restricted"


@dataclass(frozen=True, slots=True)
class Restriction:
    """One symbol's session: its price limits, and the instant from which short sales are restricted."""

    limits: PriceLimits
    shorts_from: int = NEVER


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """A trading status changed at `t`; `code` is the reason of a stop."""

    t: int
    symbol: str
    kind: str
    code: str = ""


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
        self._told: set[str] = set()
        self._events: list[StatusEvent] = []
        self._by_hand: dict[str, list[Stop]] = {}
        self._market: dict[date, tuple[Stop, ...]] = {}
        self._noted: dict[str, tuple[int, int]] = {}
        exchange.tape.published_by(self._published)

    # --- the current session -----------------------------------------------------------------------------

    def _turn_the_page(self) -> None:
        day = self._exchange.session.day
        if self._day != day:
            self._day = day
            for kept in (self._found, self._told, self._events, self._noted):
                kept.clear()

    def of(self, symbol: str) -> Restriction:
        """The restriction of `symbol` in the current session."""
        self._turn_the_page()
        found = self._found.get(symbol)
        if found is None:
            day = self._exchange.session.day
            raw = self._exchange.tape.raw(symbol, day)
            limits = PriceLimits(0) if raw is None else self._limits(raw)
            found = self._found[symbol] = Restriction(limits, self._shorts_from(symbol, day, raw))
        return found

    def events(self, start: int, end: int, symbols: Collection[str]) -> list[StatusEvent]:
        """What began or ended for `symbols` at start < time <= end, in order of time; halts by hand left out.

        A symbol whose daily bar rules every event out costs no look at its tape.
        """
        self._turn_the_page()
        day = self._exchange.session.day
        new = [symbol for symbol in symbols if symbol not in self._told]
        for symbol in new:
            self._told.add(symbol)
            if not (self._is_quiet(symbol, day) and self._never_falls(symbol, day)):
                self._tell(symbol)
        if new:
            self._events.sort(key=lambda event: (event.t, event.symbol))
        return [e for e in self._events if start < e.t <= end and e.symbol in symbols]

    def _tell(self, symbol: str) -> None:
        found = self.of(symbol)
        for stop in found.limits.stops:
            if not stop.by_hand:
                self._events.append(StatusEvent(stop.start, symbol, STOPPED, stop.code))
            if not stop.lifted_by_hand:
                self._events.append(StatusEvent(stop.end, symbol, RESUMED, stop.code))
        if found.shorts_from < NEVER:
            begins = max(found.shorts_from, self._exchange.session.pre_open)
            self._events.append(StatusEvent(begins, symbol, SHORTS_RESTRICTED))

    def paused(self) -> list[str]:
        """Symbols that are in a trading pause or a market-wide halt now, of those somebody asked about."""
        now = self._exchange.now
        found = {symbol: found.limits.stopped(now) for symbol, found in self._found.items()}
        return sorted(symbol for symbol, stop in found.items() if stop and not stop.by_hand)

    def stop_of(self, symbol: str) -> Stop | None:
        """The stop that `symbol` is in now."""
        return self.of(symbol).limits.stopped(self._exchange.now)

    def stopped(self, symbol: str) -> bool:
        """Whether trading in `symbol` stands still now."""
        return self.stop_of(symbol) is not None

    # --- what follows from the tape ----------------------------------------------------------------------

    def _published(self, raw: SymbolTape) -> SymbolTape:
        """The tape with its holes."""
        day = raw.session.day
        if self._is_quiet(raw.symbol, day) and raw.symbol not in self._by_hand:
            return raw
        if day == self._exchange.session.day:
            return with_holes(raw, self.of(raw.symbol).limits.stops)
        return with_holes(raw, self._limits(raw).stops)

    def _limits(self, raw: SymbolTape) -> PriceLimits:
        rules, day, symbol = self._exchange.rules, raw.session.day, raw.symbol
        by_hand = [
            stop
            for stop in self._by_hand.get(symbol, ())
            if stop.end > raw.session.pre_open and stop.start < raw.session.post_close
        ]
        return price_limits(
            raw,
            self._exchange.tape.last_close(symbol, day),
            rules.luld_tier,
            [*self.market_wide(day), *by_hand],
            bands=rules.luld,
            straddle_pause=int(rules.straddle_pause_s * SECOND),
        )

    def _is_quiet(self, symbol: str, day: date) -> bool:
        """Whether the daily bar alone says that nothing stops the symbol on `day`.

        Prints, bids and asks of a modelled session stay inside the bar, and so does the reference price; a bar
        narrower than the bands are wide reaches neither of them.
        """
        rules, tape = self._exchange.rules, self._exchange.tape
        if rules.luld:
            bar = tape.history.on(symbol, day)
            if not tape.modelled or rules.straddle_pause_s or bar is None:
                return False
            low, high = round(bar.low * PRICE_SCALE), round(bar.high * PRICE_SCALE)
            share, most = half_width(
                tape.last_close(symbol, day) or round(bar.open * PRICE_SCALE), rules.luld_tier
            )
            if high - low >= min(low * share, most) - 100:
                return False
        return not self.market_wide(day)

    def _never_falls(self, symbol: str, day: date) -> bool:
        """Whether daily bars alone say that short sales in the symbol are not restricted on `day`."""
        tape = self._exchange.tape
        bar = tape.history.on(symbol, day)
        if not self._exchange.rules.short_sale_restriction:
            return True
        if not tape.modelled or bar is None or self._fell_before(symbol, day):
            return False
        return round(bar.low * PRICE_SCALE) * 10 > tape.last_close(symbol, day) * 9

    def _shorts_from(self, symbol: str, day: date, raw: SymbolTape | None) -> int:
        """Restricted from the fall on, and the whole of the session after it."""
        if not self._exchange.rules.short_sale_restriction:
            return NEVER
        if self._fell_before(symbol, day):
            return 0
        return (
            NEVER
            if raw is None
            else short_sales_restricted_from(raw, self._exchange.tape.last_close(symbol, day))
        )

    def _fell_before(self, symbol: str, day: date) -> bool:
        """Whether the session before `day` printed 10 % under the close before it (its daily low says so)."""
        tape = self._exchange.tape
        bar = tape.previous(symbol, day)
        if bar is None or calendar.next_session(bar.day) != day:
            return False
        return round(bar.low * PRICE_SCALE) * 10 <= tape.last_close(symbol, bar.day) * 9

    def market_wide(self, day: date) -> tuple[Stop, ...]:
        """The market-wide breakers of `day`."""
        found = self._market.get(day)
        if found is None:
            found = self._market[day] = self._find_market_wide(day)
        return found

    def _find_market_wide(self, day: date) -> tuple[Stop, ...]:
        tape, rules = self._exchange.tape, self._exchange.rules
        symbols = [INDEX] if INDEX in tape else list(tape.symbols)
        if not rules.breakers or (INDEX not in tape and len(symbols) < rules.breaker_names):
            return ()
        lowest: list[float] = []
        for symbol in symbols:
            bar, close = tape.history.on(symbol, day), tape.last_close(symbol, day)
            if bar is not None and close > 0:
                lowest.append(bar.low * PRICE_SCALE / close)
        if not lowest or 1 - sum(lowest) / len(lowest) < LEVELS[0] - 1e-9:
            return ()  # even with every name at its low at once
        tapes = ((tape.raw(symbol, day), tape.last_close(symbol, day)) for symbol in symbols)
        return market_stops(tapes, sessions.session_on(day))

    # --- books -------------------------------------------------------------------------------------------

    def watch_over(self, book: Book) -> None:
        """Give a book the session's limits, and stop and start it when they say so."""
        exchange, symbol = self._exchange, book.symbol
        found = self.of(symbol)
        book.restrict(found.limits, found.shorts_from)
        self.settle(symbol, exchange.now)
        self._note_bands(symbol, exchange.now)
        for start, end in found.limits.pauses:
            for when in (start, end):
                if exchange.now < when < NEVER:
                    exchange.at(when, lambda t: self.settle(symbol, t))
        for when in found.limits.changes(exchange.now):
            exchange.at(when, lambda t: self._note_bands(symbol, t))
        if exchange.now < found.shorts_from < NEVER:
            exchange.at(
                found.shorts_from, lambda t: exchange.note("status", t, {"symbol": symbol, "code": "SSR"})
            )

    def settle(self, symbol: str, t: int) -> None:
        """Stop the book of `symbol` or start it again, as the limits say for this instant."""
        book = self._exchange.books.get(symbol)
        if book is None:
            return
        stop = self.stop_of(symbol)
        if stop is not None and not book.halted:
            book.halt()
            self._exchange.note("status", t, {"symbol": symbol, "code": stop.code, "trading": False})
            if self._exchange.rules.halted_orders == "suspended":
                for order in list(book.orders.values()):
                    suspend(self._exchange, order, t)
        elif stop is None and book.halted:
            self._exchange.note("status", t, {"symbol": symbol, "code": "", "trading": True})
            for order in list(book.orders.values()):
                take_up(self._exchange, order, t)
            book.resume(t)
            self._exchange.watch(book)

    def _note_bands(self, symbol: str, t: int) -> None:
        bands = self.of(symbol).limits.at(t)
        if self._noted.get(symbol) != bands:
            self._noted[symbol] = bands
            lower, upper = (None if side in (0, NEVER) else float(to_price(side)) for side in bands)
            self._exchange.note("bands", t, {"symbol": symbol, "lower": lower, "upper": upper})

    # --- halts by hand -----------------------------------------------------------------------------------

    def halt(self, symbol: str, code: str, t: int, end: int) -> None:
        """Stop `symbol` from `t` until `end`; the tape to come gets its hole."""
        before = self.of(symbol)
        self._by_hand.setdefault(symbol, []).append(Stop(t, end, code, by_hand=True, lifted_by_hand=True))
        self._found[symbol] = Restriction(self._limits_now(symbol), before.shorts_from)
        tape, day = self._exchange.tape, self._exchange.session.day
        tape.republish(symbol, day)
        if symbol in self._told:
            self._events = [e for e in self._events if e.symbol != symbol]
            self._tell(symbol)
            self._events.sort(key=lambda event: (event.t, event.symbol))
        book = self._exchange.books.get(symbol)
        if book is not None:
            book.follow(tape.on(symbol, day))
            self.watch_over(book)
            self._exchange.watch(book)

    def _limits_now(self, symbol: str) -> PriceLimits:
        raw = self._exchange.tape.raw(symbol, self._exchange.session.day)
        return PriceLimits(0) if raw is None else self._limits(raw)
