"""The opening and closing crosses of a session, and what is told of an auction before it happens.

Orders for a cross (opg, cls) wait `accepted`, become `accepted_for_bidding` when entry for it ends, and trade at its
one price, by priority, up to the participation in its volume on each side; what is left over is canceled. The
opening cross happens with the tape's opening print: a symbol that is halted then opens with the auction that ends
its halt. A closing cross needs a closing print; a regulatory halt that lasts to the close has none.

The imbalance before an auction is a model but for the accounts' own orders: paired shares grow to the volume of the
cross, and an imbalance to one side, drawn by the seed, dissolves towards it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from market.venue.orders import Order
from market.venue.path import seed_of
from market.venue.priority import cross, reaches
from market.venue.stops import Stop
from market.venue.tape import CLOSING, OPENING, SymbolTape
from market.venue.timestamps import MINUTE

if TYPE_CHECKING:
    from market.venue.exchange import Exchange

OPENING_ENTRY_ENDS = 2 * MINUTE
CLOSING_ENTRY_ENDS = 10 * MINUTE
OPENING_TOLD_FROM = 5 * MINUTE
"""Nasdaq tells its opening imbalance from 9:25 on, and its closing one from 15:50."""
_PAIRED_AT_FIRST = 0.4
_IMBALANCE_MOST = 0.3


@dataclass(frozen=True, slots=True)
class Imbalance:
    """What is known of an auction before it: `auction` is opening, closing or reopening, `t` when it is due.

    `paired` shares would trade; `imbalance` is signed, positive when more is bid for. `reference` is in ticks.
    """

    symbol: str
    auction: str
    t: int
    paired: int
    imbalance: int
    reference: int

    @property
    def side(self) -> str:
        """B, S or N, as Nasdaq writes it."""
        return "B" if self.imbalance > 0 else "S" if self.imbalance < 0 else "N"


class Crosses:
    """Runs the crosses of the session for the orders that wait for them."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    # --- the crosses -------------------------------------------------------------------------------------

    def end_entry(self, time_in_force: str, t: int) -> None:
        """No more orders for the cross: those that are in take part in finding its price."""
        for order in self._waiting(time_in_force):
            if order.status in ("accepted", "new"):
                order.move("accepted_for_bidding", t)
                self._exchange.emit(order, "accepted_for_bidding", t)

    def open(self, t: int) -> None:
        """The open: each symbol's cross comes with its opening print."""
        for symbol in dict.fromkeys(order.symbol for order in self._waiting("opg")):
            self._open_symbol(symbol, t)

    def _open_symbol(self, symbol: str, t: int) -> None:
        exchange = self._exchange
        tape = exchange.tape.on(symbol, exchange.session.day)
        number = -1 if tape is None else tape.print_of(OPENING)
        if tape is None or number < 0:
            # Halted for longer than anybody knows, or without a single trade today: the close ends the wait.
            if not exchange.restrictions.stopped(symbol):
                self._end("opg", symbol, t)
            return
        when = tape.trade_time(number)
        if when > t:
            exchange.at(when, lambda due: self._open_symbol(symbol, due))
        else:
            self._cross("opg", symbol, tape, number, t)
            self._end("opg", symbol, t)

    def close(self, t: int) -> None:
        """The close: crosses where the tape has a closing print, and the end of what waited for a cross."""
        exchange = self._exchange
        for symbol in dict.fromkeys(order.symbol for order in self._waiting("cls")):
            tape = exchange.tape.on(symbol, exchange.session.day)
            number = -1 if tape is None else tape.print_of(CLOSING)
            if tape is not None and number >= 0:
                self._cross("cls", symbol, tape, number, t)
            self._end("cls", symbol, t)
        for symbol in dict.fromkeys(order.symbol for order in self._waiting("opg")):
            self._end("opg", symbol, t)

    def _cross(self, time_in_force: str, symbol: str, tape: SymbolTape, number: int, t: int) -> None:
        exchange = self._exchange
        book, trade = exchange.book(symbol), tape.trade(number)
        waiting = [
            o
            for o in self._waiting(time_in_force)
            if o.symbol == symbol and o.created_at < t and not o.doomed
        ]
        each_side = book.cross_allowance(trade.size)
        for order, qty in cross(waiting, trade.price, each_side, lambda o: book.may_cross(o, trade.price, t)):
            if order.is_open:
                exchange.filled(order, qty, trade.price, t)

    def _end(self, time_in_force: str, symbol: str, t: int) -> None:
        """What the cross left over is canceled; orders for a later one are not its own."""
        for order in self._waiting(time_in_force):
            if order.symbol == symbol and order.is_open and order.created_at < t:
                self._exchange.terminate(order, "canceled", t)

    def _waiting(self, time_in_force: str) -> list[Order]:
        """Open orders for a cross, of every account, oldest first."""
        found = [
            order
            for account in self._exchange.accounts
            for order in account.open_list()
            if order.time_in_force == time_in_force and order.status not in ("held", "pending_new")
        ]
        return sorted(found, key=lambda order: order.sequence)

    # --- what is told before -----------------------------------------------------------------------------

    def imbalance(self, symbol: str) -> Imbalance | None:
        """The auction ahead of `symbol` as it looks now; None outside the minutes before one."""
        exchange = self._exchange
        session, t = exchange.session, exchange.now
        tape = exchange.tape.on(symbol, session.day)
        if tape is None:
            return None
        stop = exchange.restrictions.stop_of(symbol)
        if stop is not None and not stop.closing:
            return self._before_reopening(tape, stop)
        if session.open - OPENING_TOLD_FROM <= t < session.open:
            return self._of(tape, "opening", session.open - OPENING_TOLD_FROM, OPENING)
        if session.close - CLOSING_ENTRY_ENDS <= t < session.close:
            return self._of(tape, "closing", session.close - CLOSING_ENTRY_ENDS, CLOSING)
        return None

    def _before_reopening(self, tape: SymbolTape, stop: Stop) -> Imbalance | None:
        number = tape.trades_until(stop.end - 1)
        if not stop.price or number >= len(tape.price) or tape.trade_time(number) != stop.end:
            return None
        return self._at(tape, "reopening", stop.start, number)

    def _of(self, tape: SymbolTape, auction: str, begins: int, kind: int) -> Imbalance | None:
        number = tape.print_of(kind)
        return None if number < 0 else self._at(tape, auction, begins, number)

    def _at(self, tape: SymbolTape, auction: str, begins: int, number: int) -> Imbalance:
        exchange, symbol = self._exchange, tape.symbol
        due = tape.trade_time(number)
        volume = int(tape.size[number])
        passed = min(max((exchange.now - begins) / max(due - begins, 1), 0.0), 1.0)
        draw = seed_of(exchange.seed, "imbalance", symbol, exchange.session.day, auction) % 2001 / 1000 - 1
        reference = exchange.tape.last_price(symbol, exchange.session.day, exchange.now)
        return Imbalance(
            symbol,
            auction,
            due,
            paired=int(volume * (_PAIRED_AT_FIRST + (1 - _PAIRED_AT_FIRST) * passed)),
            imbalance=int(volume * _IMBALANCE_MOST * draw * (1 - passed))
            + self._own(symbol, auction, reference),
            reference=reference,
        )

    def _own(self, symbol: str, auction: str, reference: int) -> int:
        """Signed shares of the accounts' own orders that would take part at the reference price."""
        if auction == "reopening":
            book = self._exchange.books.get(symbol)
            orders = [order for order in book.orders.values() if order.is_active] if book else []
        else:
            waiting = self._waiting("opg" if auction == "opening" else "cls")
            orders = [order for order in waiting if order.symbol == symbol]
        total = Decimal(0)
        for order in orders:
            if reaches(order, reference):
                total += order.left if order.is_buy else -order.left
        return int(total)
