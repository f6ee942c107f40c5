"""One symbol's working orders against its tape: who trades, how much, at what price.

Rules (the strict model; see docs/venue.md):

* A marketable order takes what the best quote shows, at the quote, and waits for the next quote for the rest.
* A resting limit order trades at its own price: when the quote comes through it, up to the size shown there, or
  when prints happen. A print better than its price fills it; a print at its price first eats the size that was
  displayed when it joined (its queue).
* Better price first, then first come. Accounts share the displayed size and never trade with each other.
* Nothing trades outside the price bands, and a restricted short sale never at the bid or below it, unless it rests
  there because the market came to it (restrictions.py says when).
* A halt ends in an auction: every order that reaches its price trades at that price, bands or no bands.
* Shares taken in a minute stay under `participation` of that minute's volume (one round lot is always allowed).
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Protocol

from market.venue.decimals import to_price, to_ticks
from market.venue.luld import ANY_PRICE, PriceLimits
from market.venue.orders import Order
from market.venue.priority import ROUND_LOT, by_priority, cross, reaches, shares_for
from market.venue.tape import EXTENDED, OPENING, REOPENING, Print, SymbolTape
from market.venue.timestamps import MINUTE, NEVER
from market.venue.trailing import follow
from market.venue.triggers import next_trigger

_BOUNDLESS = Decimal(10) ** 12


class Floor(Protocol):
    """What a book tells the exchange."""

    def filled(self, order: Order, qty: Decimal, ticks: int, t: int) -> None:
        """`qty` shares of `order` traded at `ticks` at `t`."""

    def elected(self, order: Order, t: int) -> None:
        """A stop order was triggered at `t`."""

    def trailed(self, order: Order, t: int) -> None:
        """A trailing stop moved its stop price."""

    def wants(self, order: Order, ticks: int, available: Decimal) -> Decimal:
        """How much of `available` the order takes at `ticks` (everything, unless a fill model says less)."""

    def is_short(self, order: Order) -> bool:
        """Whether the order opens or increases a short position."""


class Book:
    """The working orders of one symbol and where the tape stands for it."""

    def __init__(
        self,
        symbol: str,
        tape: SymbolTape | None,
        floor: Floor,
        *,
        participation: float,
        unlimited: bool = False,
        levels: int = 1,
    ) -> None:
        self.symbol = symbol
        self.tape = tape
        self.orders: dict[int, Order] = {}
        self.halted = False
        self.trigger = NEVER
        self._floor = floor
        self._participation = Decimal(str(participation))
        self._unlimited = unlimited
        self._levels = levels
        self._limits: PriceLimits | None = None
        self._shorts_from = NEVER
        self._quote = -1
        self._processed = 0
        self._minute = -1
        self._taken = Decimal(0)
        self.bid = self.ask = 0
        self._bid_left = self._ask_left = Decimal(0)

    # --- orders in and out -------------------------------------------------------------------------------

    def add(self, order: Order, t: int) -> None:
        """A working order arrives: stops wait, the rest trades what it can and then rests."""
        order.in_book = True
        order.resting, order.queue_ahead = False, None  # one that comes back queues anew
        self.orders[order.sequence] = order
        self._sync(t)
        self._processed = max(self._processed, t)
        if not self.halted:
            if order.is_active:
                self._arrive(order, t)
            if order.in_book and self.tape is not None:
                self.trigger = min(self.trigger, next_trigger(self.tape, (order,), t))

    def remove(self, order: Order) -> None:
        """Take an order out; the trigger may stay early, which costs one idle look."""
        order.in_book = False
        self.orders.pop(order.sequence, None)

    def halt(self) -> None:
        """Stop matching; orders stay."""
        self.halted = True
        self.trigger = NEVER

    def resume(self, t: int) -> None:
        """Match again from `t` on: first the auction that ends the halt, then what is marketable now."""
        self.halted = False
        self._sync(t)
        self._processed = t
        if self.tape is not None:
            for i in range(self.tape.trades_until(t - 1), self.tape.trades_until(t)):
                trade = self.tape.trade(i)
                auction = trade.kind in (OPENING, REOPENING)
                if auction:
                    self._cross(trade, t)
                self._match_print(trade, t, crossed=auction)
        self._match_quote(t)
        self.refresh(t)

    def restrict(self, limits: PriceLimits, shorts_from: int) -> None:
        """The session's price bands, and the instant from which short sales are restricted."""
        self._limits, self._shorts_from = limits, shorts_from

    def follow(self, tape: SymbolTape | None) -> None:
        """What the tape will show has changed; what it has shown has not."""
        self.tape = tape
        self.refresh(self._processed)

    def open_day(self, tape: SymbolTape | None) -> None:
        """Start on another session's tape."""
        self.tape = tape
        self._quote = -1
        self._minute = -1
        self.bid = self.ask = 0
        self._bid_left = self._ask_left = Decimal(0)

    def refresh(self, t: int) -> None:
        """Find the next instant of the tape, after `t`, that concerns any order here."""
        if self.halted or not self.orders or self.tape is None:
            self.trigger = NEVER
        else:
            self.trigger = next_trigger(self.tape, self.orders.values(), t)

    def available_to(self, order: Order, t: int) -> Decimal:
        """Shares a fill-or-kill order could have at once."""
        self._sync(t)
        ticks = self.ask if order.is_buy else self.bid
        if ticks <= 0 or not reaches(order, ticks) or self.halted or self._forbidden(order, ticks, t):
            return Decimal(0)
        return self._offered(order, t)

    # --- the tape moves ----------------------------------------------------------------------------------

    def process(self, t: int) -> None:
        """Play the tape of this instant: first its quote, then its prints, then look for the next."""
        if self.tape is None or self.halted:
            self.trigger = NEVER
            return
        before = self._quote
        self._sync(t)
        if self._quote != before:
            self._match_quote(t)
        first = self.tape.trades_until(max(t - 1, self._processed))
        for i in range(first, self.tape.trades_until(t)):
            self._match_print(self.tape.trade(i), t)
        self._processed = t
        self.refresh(t)

    def _sync(self, t: int) -> None:
        if self.tape is None:
            return
        newest = self.tape.quotes_until(t) - 1
        if newest == self._quote or newest < 0:
            return
        self._quote = newest
        tape = self.tape
        self.bid, self.ask = int(tape.bid[newest]), int(tape.ask[newest])
        self._bid_left = Decimal(int(tape.bid_size[newest]))
        self._ask_left = Decimal(int(tape.ask_size[newest]))

    def _match_quote(self, t: int) -> None:
        for order in by_priority(self.orders.values()):
            if order.in_book and order.is_active:
                self._take(order, t)

    def _cross(self, trade: Print, t: int) -> None:
        """The auction that ends a halt: one price, and the price bands do not hold there."""
        each_side = self.cross_allowance(trade.size)
        active = [order for order in self.orders.values() if order.is_active]
        for order, qty in cross(active, trade.price, each_side, lambda o: self.may_cross(o, trade.price, t)):
            if order.in_book:
                self._floor.filled(order, qty, trade.price, t)

    def cross_allowance(self, size: int) -> Decimal:
        """Shares that orders here may buy, and sell, in an auction of `size` shares."""
        if self._unlimited:
            return _BOUNDLESS
        return max(ROUND_LOT, (self._participation * size).to_integral_value(ROUND_DOWN))

    def may_cross(self, order: Order, ticks: int, t: int) -> bool:
        """A restricted short sale takes part in an auction only above the best bid."""
        self._sync(t)
        return t < self._shorts_from or ticks > self.bid or not self._floor.is_short(order)

    def _match_print(self, trade: Print, t: int, *, crossed: bool = False) -> None:
        """A print fills resting orders (in an auction they have had their part already) and elects stops."""
        if trade.kind == EXTENDED:
            return
        left = Decimal(0 if crossed else trade.size)
        for order in by_priority(self.orders.values()):
            if not order.in_book:
                continue
            if order.is_active:
                if order.limit_price is not None and order.resting and left > 0:
                    left -= self._make(order, trade, left, t)
            else:
                self._watch_stop(order, trade.price, t)

    # --- one order ---------------------------------------------------------------------------------------

    def _arrive(self, order: Order, t: int) -> None:
        """It takes what is there; if its limit is not reached it rests, behind what its price already shows."""
        ticks = self.ask if order.is_buy else self.bid
        if order.limit_price is not None and self._quote < 0 and self.tape is not None and len(self.tape.ask):
            return  # nobody has quoted yet: at the first quote it takes, or rests; it does not wait there as a maker
        if order.limit_price is not None and (ticks <= 0 or not reaches(order, ticks)):
            order.resting = True
            limit = to_ticks(order.limit_price)
            own_side = self.bid if order.is_buy else self.ask
            if limit == own_side and own_side > 0:
                order.queue_ahead = int(self._bid_left if order.is_buy else self._ask_left)
            elif own_side <= 0 or (limit > own_side if order.is_buy else limit < own_side):
                order.queue_ahead = 0
            return
        self._take(order, t)

    def _take(self, order: Order, t: int) -> None:
        """Trade against the quote shown now."""
        best = self.ask if order.is_buy else self.bid
        shown = self._ask_left if order.is_buy else self._bid_left
        tick = 100 if best >= 10_000 else 1
        for level in range(self._levels):
            ticks = best + level * tick if order.is_buy else best - level * tick
            if best <= 0 or ticks <= 0 or not reaches(order, ticks) or not order.in_book:
                if order.limit_price is not None and not level:
                    order.resting = True  # the market left it: from here on it makes
                return
            if self._forbidden(order, ticks, t):
                return  # not a maker by this: it asks again at the next quote
            if level:
                # Depth beyond the best quote is modelled: each further tick shows as much again.
                shown = (
                    Decimal(int((self.tape.ask_size if order.is_buy else self.tape.bid_size)[self._quote]))
                    if (self.tape is not None)
                    else Decimal(0)
                )
            price = self._own_price(order, t) if order.resting and order.limit_price is not None else ticks
            offered = self._offered(order, t) if not level else min(shown, self._allowance(t))
            qty = self._fit(order, price, offered)
            if qty <= 0:
                return
            if not level and not self._unlimited:
                if order.is_buy:
                    self._ask_left -= qty
                else:
                    self._bid_left -= qty
            self._taken += qty
            self._floor.filled(order, qty, price, t)

    def _make(self, order: Order, trade: Print, left: Decimal, t: int) -> Decimal:
        """Shares of a print that fall to a resting order; returns how many the order used up."""
        assert order.limit_price is not None
        limit = to_ticks(order.limit_price)
        beyond = trade.price < limit if order.is_buy else trade.price > limit
        lower, upper = self._bands(t)
        if not lower <= trade.price <= upper:
            return Decimal(0)
        used = Decimal(0)
        if not beyond:
            if trade.price != limit:
                return used
            if order.queue_ahead is None:
                own_side = self.bid if order.is_buy else self.ask
                order.queue_ahead = (
                    int(self._bid_left if order.is_buy else self._ask_left) if own_side == limit else 0
                )
            used = min(Decimal(order.queue_ahead), left)
            order.queue_ahead -= int(used)
        price = self._own_price(order, t)
        qty = self._fit(order, price, min(left - used, self._allowance(t)))
        if qty > 0:
            self._taken += qty
            self._floor.filled(order, qty, price, t)
            used += qty
        return used

    def _watch_stop(self, order: Order, ticks: int, t: int) -> None:
        if order.type == "trailing_stop" and follow(order, to_price(ticks)):
            self._floor.trailed(order, t)
        assert order.stop_price is not None
        stop = to_ticks(order.stop_price)
        if (ticks >= stop) if order.is_buy else (ticks <= stop):
            self._floor.elected(order, t)
            if order.in_book:
                self._arrive(order, t)

    # --- what the rules allow ----------------------------------------------------------------------------

    def _bands(self, t: int) -> tuple[int, int]:
        return ANY_PRICE if self._limits is None else self._limits.at(t)

    def _forbidden(self, order: Order, ticks: int, t: int) -> bool:
        """Outside the bands, or a restricted short sale that would hit the bid instead of waiting above it."""
        lower, upper = self._bands(t)
        if not lower <= ticks <= upper:
            return True
        return t >= self._shorts_from and not order.resting and self._floor.is_short(order)

    def _own_price(self, order: Order, t: int) -> int:
        """What a resting order trades at: its limit, or the band where its limit lies beyond."""
        assert order.limit_price is not None
        lower, upper = self._bands(t)
        return min(max(to_ticks(order.limit_price), lower), upper)

    # --- how much ----------------------------------------------------------------------------------------

    def _offered(self, order: Order, t: int) -> Decimal:
        if self._unlimited:
            return _BOUNDLESS
        return min(self._ask_left if order.is_buy else self._bid_left, self._allowance(t))

    def _allowance(self, t: int) -> Decimal:
        """What participation leaves of this minute."""
        if self._unlimited:
            return _BOUNDLESS
        minute = t - t % MINUTE
        if minute != self._minute:
            self._minute, self._taken = minute, Decimal(0)
        volume = self.tape.minute_volume(t) if self.tape is not None else 0
        cap = max(ROUND_LOT, (self._participation * volume).to_integral_value(ROUND_DOWN))
        return max(cap - self._taken, Decimal(0))

    def _fit(self, order: Order, ticks: int, offered: Decimal) -> Decimal:
        return shares_for(order, ticks, self._floor.wants(order, ticks, offered))
