"""One symbol's working orders against its tape: who trades, how much, at what price.

Rules (the strict model; see docs/venue.md):

* A marketable order takes what the best quote shows, at the quote, and waits for the next quote for the rest.
* A resting limit order trades at its own price: when the quote comes through it, up to the size shown there, or
  when prints happen. A print better than its price fills it; a print at its price first eats the size that was
  displayed when it joined (its queue).
* Better price first, then first come. Accounts share the displayed size and never trade with each other.
* Nothing trades outside the price bands, and a restricted short sale never at the bid or below it, unless it rests
  there because the market came to it (restrictions.py says when).
* Shares taken in a minute stay under `participation` of that minute's volume (one round lot is always allowed).

Nothing depends on how often the venue is asked: the book computes when the tape next concerns one of its orders,
and is processed at exactly that instant.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_DOWN, Decimal
from typing import Any, Protocol

import numpy as np

from market.venue.decimals import to_price, to_ticks
from market.venue.luld import ANY_PRICE, PriceLimits
from market.venue.orders import Order
from market.venue.tape import EXTENDED, OPENING, Print, SymbolTape
from market.venue.timestamps import MINUTE

_ROUND_LOT = 100
_NANO_SHARE = Decimal("1e-9")
NEVER = 1 << 62


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
        self.orders[order.sequence] = order
        self._sync(t)
        self._processed = max(self._processed, t)
        if not self.halted:
            if order.type in ("stop", "stop_limit", "trailing_stop") and not order.triggered:
                pass
            else:
                self._arrive(order, t)
        if order.in_book:
            self.trigger = min(self.trigger, self._next_trigger((order,), t))

    def remove(self, order: Order) -> None:
        """Take an order out; the trigger may stay early, which costs one idle look."""
        order.in_book = False
        self.orders.pop(order.sequence, None)

    def halt(self) -> None:
        """Stop matching; orders stay."""
        self.halted = True
        self.trigger = NEVER

    def resume(self, t: int) -> None:
        """Match again from `t` on, starting with what is marketable now."""
        self.halted = False
        self._sync(t)
        self._processed = t
        self._match_quote(t)
        self.refresh(t)

    def restrict(self, limits: PriceLimits, shorts_from: int) -> None:
        """The session's price bands, and the instant from which short sales are restricted."""
        self._limits, self._shorts_from = limits, shorts_from

    def open_day(self, tape: SymbolTape | None) -> None:
        """Start on another session's tape."""
        self.tape = tape
        self._quote = -1
        self._minute = -1
        self.bid = self.ask = 0
        self._bid_left = self._ask_left = Decimal(0)

    def refresh(self, t: int) -> None:
        """Find the next instant of the tape, after `t`, that concerns any order here."""
        self.trigger = (
            NEVER if self.halted or not self.orders else self._next_trigger(self.orders.values(), t)
        )

    def available_to(self, order: Order, t: int) -> Decimal:
        """Shares a fill-or-kill order could have at once."""
        self._sync(t)
        ticks = self.ask if order.is_buy else self.bid
        if ticks <= 0 or not _reaches(order, ticks) or self.halted or self._forbidden(order, ticks, t):
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
        for order in _by_priority(self.orders.values()):
            if order.in_book and _is_active(order):
                self._take(order, t)

    def _match_print(self, trade: Print, t: int) -> None:
        if trade.kind == EXTENDED:
            return
        left = Decimal(trade.size)
        for order in _by_priority(self.orders.values()):
            if not order.in_book:
                continue
            if _is_active(order):
                if order.limit_price is not None and order.resting and left > 0:
                    left -= self._make(order, trade, left, t)
            else:
                self._watch_stop(order, trade.price, t)

    # --- one order ---------------------------------------------------------------------------------------

    def _arrive(self, order: Order, t: int) -> None:
        """It takes what is there; if its limit is not reached it rests, behind what its price already shows."""
        ticks = self.ask if order.is_buy else self.bid
        if order.limit_price is not None and (ticks <= 0 or not _reaches(order, ticks)):
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
            if best <= 0 or ticks <= 0 or not _reaches(order, ticks) or not order.in_book:
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
        if order.type == "trailing_stop":
            price = to_price(ticks)
            assert order.hwm is not None
            if (price < order.hwm) if order.is_buy else (price > order.hwm):
                order.hwm = price
                order.stop_price = trail_stop(order)
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
            return Decimal(10) ** 12
        return min(self._ask_left if order.is_buy else self._bid_left, self._allowance(t))

    def _allowance(self, t: int) -> Decimal:
        """What participation leaves of this minute."""
        if self._unlimited:
            return Decimal(10) ** 12
        minute = t - t % MINUTE
        if minute != self._minute:
            self._minute, self._taken = minute, Decimal(0)
        volume = self.tape.minute_volume(t) if self.tape is not None else 0
        cap = max(Decimal(_ROUND_LOT), (self._participation * volume).to_integral_value(ROUND_DOWN))
        return max(cap - self._taken, Decimal(0))

    def _fit(self, order: Order, ticks: int, offered: Decimal) -> Decimal:
        offered = self._floor.wants(order, ticks, offered)
        if order.notional is None or order.qty is not None:
            return min(order.left, offered)
        dollars = order.notional - order.filled_value
        return min((dollars / to_price(ticks)).quantize(_NANO_SHARE, ROUND_DOWN), offered)

    # --- when next ---------------------------------------------------------------------------------------

    def _next_trigger(self, orders: Iterable[Order], t: int) -> int:
        """Time of the first quote or print after `t` that could change anything for `orders`."""
        tape = self.tape
        if tape is None or self.halted:
            return NEVER
        buy_limit, sell_limit = -1, NEVER
        buy_stop, sell_stop = NEVER, -1
        any_quote = any_print = False
        for order in orders:
            if not order.in_book:
                continue
            if not _is_active(order):
                if order.type == "trailing_stop":
                    any_print = True
                elif order.is_buy:
                    buy_stop = min(buy_stop, to_ticks(order.stop_price or Decimal(0)))
                else:
                    sell_stop = max(sell_stop, to_ticks(order.stop_price or Decimal(0)))
            elif order.limit_price is not None and order.resting:
                if order.is_buy:
                    buy_limit = max(buy_limit, to_ticks(order.limit_price))
                else:
                    sell_limit = min(sell_limit, to_ticks(order.limit_price))
            else:
                any_quote = True
        quotes, prints = tape.quotes_until(t), tape.trades_until(t)
        lowest_ask, highest_bid, lowest_print, highest_print = tape.extremes()
        quote_at = quotes if any_quote and quotes < len(tape.ask) else -1
        if quote_at < 0:
            quote_at = _first(tape.ask, quotes, 1, buy_limit) if buy_limit >= lowest_ask else -1
            if sell_limit <= highest_bid:
                quote_at = _earlier(quote_at, _first(tape.bid, quotes, sell_limit, NEVER))
        print_at = prints if any_print and prints < len(tape.price) else -1
        if print_at < 0:
            for wanted, low, high in (
                (buy_limit >= lowest_print, 1, buy_limit),
                (sell_limit <= highest_print, sell_limit, NEVER),
                (buy_stop <= highest_print, buy_stop, NEVER),
                (sell_stop >= lowest_print, 1, sell_stop),
            ):
                if wanted:
                    print_at = _earlier(print_at, _first(tape.price, prints, low, high))
        when = NEVER
        if quote_at >= 0:
            when = tape.quote_time(quote_at)
        if print_at >= 0:
            when = min(when, tape.trade_time(print_at))
        return when


def trail_stop(order: Order) -> Decimal:
    """The stop price of a trailing stop from its high (sell) or low (buy) water mark, on the cent."""
    assert order.hwm is not None
    if order.trail_price is not None:
        distance = order.trail_price
    else:
        assert order.trail_percent is not None
        distance = order.hwm * order.trail_percent / 100
    stop = order.hwm + distance if order.is_buy else order.hwm - distance
    places = Decimal("0.01") if stop >= 1 else Decimal("0.0001")
    return max(stop.quantize(places), places)


def _is_active(order: Order) -> bool:
    return order.triggered or order.type in ("market", "limit")


def _reaches(order: Order, ticks: int) -> bool:
    """Whether the order may trade at `ticks`."""
    if order.limit_price is not None:
        limit = to_ticks(order.limit_price)
        return ticks <= limit if order.is_buy else ticks >= limit
    if order.is_buy and order.collar_ticks:
        return ticks <= order.collar_ticks
    return True


def _by_priority(orders: Iterable[Order]) -> list[Order]:
    """Unpriced first, then better price, then first come; the side does not matter to the ranking."""

    def rank(order: Order) -> tuple[int, Any, int]:
        if order.limit_price is None:
            return (0, 0, order.sequence)
        return (1, -order.limit_price if order.is_buy else order.limit_price, order.sequence)

    return sorted(orders, key=rank)


def _first(values: Any, start: int, low: int, high: int) -> int:
    """Index of the first value in low..high from `start` on, -1 for none; looks in growing blocks."""
    size, block = len(values), 256
    while start < size:
        part = values[start : start + block]
        hits = (part >= low) & (part <= high) if high < NEVER else part >= low
        at = int(np.argmax(hits))
        if hits[at]:
            return start + at
        start += block
        block *= 4
    return -1


def _earlier(a: int, b: int) -> int:
    if a < 0:
        return b
    return a if b < 0 else min(a, b)


__all__ = ["NEVER", "OPENING", "Book", "Floor", "trail_stop"]
