"""Equity marks in the ledger: each minute, before the day's first order, and after the close."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from executor.core.engine import Engine
from executor.core.limits import VAR_LEVEL
from executor.journal import Journal
from executor.market_day import MarketDay
from models.risk.value_at_risk import historical


class Marks:
    """Writes what the book is worth at the last usable quotes, with its risk."""

    def __init__(self, day: MarketDay, journal: Journal, engine: Engine) -> None:
        self.day = day
        self.journal = journal
        self.engine = engine
        self._marked: dt.date | None = None

    async def write_first(self) -> None:
        """Mark the book unless this session has a mark: the ledger refuses risk on an equity it has not seen."""
        if self._marked != self.day.date:
            await self.write()

    async def write(self) -> None:
        """Mark the book now; nothing is written while a price is unknown."""
        book, engine = self.engine.book, self.engine
        equity = book.equity(engine.quotes)
        if equity is None or book.day_open_equity is None:
            return
        self._marked = self.day.date
        values = {s: qty * engine.quotes[s].mid for s, qty in book.positions.items()}
        var, shortfall = self._book_risk(values)
        await self.journal.mark_equity(
            {
                "market_time": self.day.clock.now().isoformat(),
                "session": self.day.date,
                "cash": book.cash,
                "long_value": sum((v for v in values.values() if v > 0), Decimal(0)),
                "short_value": sum((v for v in values.values() if v < 0), Decimal(0)),
                "equity": equity,
                "day_open_equity": book.day_open_equity,
                "high_water_mark": book.high_water_mark,
                "value_at_risk": var,
                "expected_shortfall": shortfall,
                "marks": {s: engine.quotes[s].mid for s in values},
            }
        )

    def _book_risk(self, values: dict[str, Decimal]) -> tuple[Decimal | None, Decimal | None]:
        snapshot = self.engine.snapshot
        if snapshot is None or not set(values) <= set(snapshot.symbols):
            return None, None
        pnl = snapshot.returns @ [float(values.get(s, 0)) for s in snapshot.symbols]
        var, shortfall = historical(pnl, VAR_LEVEL)
        return Decimal(f"{var:.2f}"), Decimal(f"{shortfall:.2f}")
