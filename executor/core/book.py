"""What we hold: positions and their lots, cash, profit and loss, and the bases of the loss limits.

Cash and shares are Decimal and move only by fills and cash activities the ledger has booked. Lots are
closed first in, first out; a lot taken over without its price has an unknown cost, and what is closed
against it is counted as shares but adds nothing to the realised figure (unknown is not zero: see
``unpriced``).
Equity is marked to the mid; the loss limits use the side a position would be closed at (bid for
longs, ask for shorts), so that a wide quote can only tighten them.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from executor.core.events import Quote
from executor.core.orders import WorkingOrder

ZERO = Decimal(0)


@dataclass
class Lot:
    """Shares bought (or sold short, negative) together."""

    qty: Decimal
    price: Decimal | None
    """USD a share; None = taken over without its cost."""


@dataclass
class Book:
    """Positions and cash of one account.

    Attributes
    ----------
    cash : Decimal
        USD, negative when borrowed.
    positions : dict
        Symbol → signed shares; a flat symbol is absent.
    day_open_equity, high_water_mark : Decimal or None
        Bases of the daily loss and the drawdown; None until the first mark.
    lots : dict
        Symbol → open lots, oldest first, all of the position's sign; they sum to the position.
    realised : Decimal
        USD gained by closing lots whose cost is known, before fees.
    unpriced : Decimal
        Shares closed against lots of unknown cost.
    """

    cash: Decimal
    positions: dict[str, Decimal] = field(default_factory=dict)
    day: dt.date | None = None
    day_open_equity: Decimal | None = None
    high_water_mark: Decimal | None = None
    lots: dict[str, deque[Lot]] = field(default_factory=dict)
    realised: Decimal = ZERO
    unpriced: Decimal = ZERO

    def __post_init__(self) -> None:
        for symbol, held in self.positions.items():
            self.lots.setdefault(symbol, deque([Lot(held, None)]))

    def apply_fill(self, order: WorkingOrder, qty: Decimal, price: Decimal) -> None:
        """Move shares and cash by one execution of ``order``."""
        signed = order.direction * qty
        self._move_shares(order.symbol, signed)
        self._move_lots(order.symbol, signed, price)
        self.cash -= signed * price

    def adjust(self, symbol: str, shares: Decimal, cash: Decimal) -> None:
        """A corporate action the ledger has booked: the lots are spread over the new number of shares."""
        self.cash += cash
        if not shares:
            return
        before = self.positions.get(symbol, ZERO)
        self._move_shares(symbol, shares)
        after = self.positions.get(symbol, ZERO)
        if before and after and (before > 0) == (after > 0):
            for lot in self.lots[symbol]:
                lot.qty = lot.qty * after / before
                lot.price = None if lot.price is None else lot.price * before / after
        elif after:
            self.lots[symbol] = deque([Lot(after, None)])
        else:
            self.lots.pop(symbol, None)

    def _move_shares(self, symbol: str, signed: Decimal) -> None:
        after = self.positions.get(symbol, ZERO) + signed
        if after:
            self.positions[symbol] = after
        else:
            self.positions.pop(symbol, None)

    def _move_lots(self, symbol: str, signed: Decimal, price: Decimal) -> None:
        """Close lots of the other sign, oldest first; what is left over opens one."""
        lots = self.lots.setdefault(symbol, deque())
        while signed and lots and (lots[0].qty > 0) != (signed > 0):
            oldest = lots[0]
            closed = min(abs(oldest.qty), abs(signed)).copy_sign(oldest.qty)
            if oldest.price is None:
                self.unpriced += abs(closed)
            else:
                self.realised += closed * (price - oldest.price)
            signed += closed
            oldest.qty -= closed
            if not oldest.qty:
                lots.popleft()
        if signed:
            lots.append(Lot(signed, price))
        if not lots:
            del self.lots[symbol]

    def unrealised(self, quotes: Mapping[str, Quote]) -> Decimal | None:
        """Gain of the open lots at the mid, USD; None if a price or a lot's cost is unknown."""
        gain = ZERO
        for symbol, lots in self.lots.items():
            quote = quotes.get(symbol)
            for lot in lots:
                if quote is None or lot.price is None:
                    return None
                gain += lot.qty * (quote.mid - lot.price)
        return gain

    def equity(self, quotes: Mapping[str, Quote], *, at_exit: bool = False) -> Decimal | None:
        """Cash plus positions at the mid, or at the exit side; None if any price is unknown.

        ``quotes`` holds the last usable quote of each name, so that one broken quote neither moves the
        marks nor blinds the breakers.
        """
        value = self.cash
        for symbol, qty in self.positions.items():
            quote = quotes.get(symbol)
            if quote is None:
                return None
            price = (quote.bid if qty > 0 else quote.ask) if at_exit else quote.mid
            value += qty * price
        return value

    def open_day(self, day: dt.date, equity: Decimal) -> None:
        """Start a trading day: its first equity is what the daily loss is measured from."""
        if self.day != day:
            self.day, self.day_open_equity = day, equity
        self.high_water_mark = max(self.high_water_mark or equity, equity)

    def rebase(self, equity: Decimal) -> None:
        """Measure daily loss and drawdown from this equity on: a person has accepted what is lost."""
        self.day_open_equity = self.high_water_mark = equity

    def daily_loss(self, equity: Decimal) -> Decimal:
        """Loss since the day's opening equity as a fraction of it (positive = loss)."""
        assert self.day_open_equity is not None, "open_day comes first"
        return 1 - equity / self.day_open_equity

    def drawdown(self, equity: Decimal) -> Decimal:
        """Fall from the high-water mark as a fraction of it."""
        assert self.high_water_mark is not None, "open_day comes first"
        return 1 - equity / self.high_water_mark
