"""What we hold: positions, cash, marks and the bases of the loss limits.

Cash and shares are Decimal and move only by fills and cash activities the ledger has booked.
Equity is marked to the mid; the loss limits use the side a position would be closed at (bid for
longs, ask for shorts), so that a wide quote can only tighten them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from executor.core.events import Quote
from executor.core.orders import WorkingOrder

ZERO = Decimal(0)


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
    """

    cash: Decimal
    positions: dict[str, Decimal] = field(default_factory=dict)
    day: dt.date | None = None
    day_open_equity: Decimal | None = None
    high_water_mark: Decimal | None = None

    def apply_fill(self, order: WorkingOrder, qty: Decimal, price: Decimal) -> None:
        """Move shares and cash by one execution of ``order``."""
        after = self.positions.get(order.symbol, ZERO) + order.direction * qty
        if after:
            self.positions[order.symbol] = after
        else:
            self.positions.pop(order.symbol, None)
        self.cash -= order.direction * qty * price

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

    def daily_loss(self, equity: Decimal) -> Decimal:
        """Loss since the day's opening equity as a fraction of it (positive = loss)."""
        assert self.day_open_equity is not None, "open_day comes first"
        return 1 - equity / self.day_open_equity

    def drawdown(self, equity: Decimal) -> Decimal:
        """Fall from the high-water mark as a fraction of it."""
        assert self.high_water_mark is not None, "open_day comes first"
        return 1 - equity / self.high_water_mark
