"""What an engine was built from, so that it can be built again."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from executor.core.book import Book, Lot
from executor.core.engine import Engine
from executor.core.modes import Mode
from executor.core.orders import WorkingOrder


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Everything :class:`executor.core.known.Known` is constructed with, and the latches set on it.

    Attributes
    ----------
    lots : dict
        Symbol → ``(shares, price or None)``, oldest first.
    """

    cash: Decimal
    positions: dict[str, Decimal]
    lots: dict[str, list[tuple[Decimal, Decimal | None]]]
    realised: Decimal
    unpriced: Decimal
    day: dt.date | None
    day_open_equity: Decimal | None
    high_water_mark: Decimal | None
    mode: Mode
    killed: bool
    flatten: bool
    limit_version: int
    limits: dict[str, str]
    sectors: dict[str, str]
    reprice_ns: int
    identity: dict[str, str]
    orders: list[WorkingOrder]
    orders_today: int
    traded_today: float
    worst_drawdown: Decimal

    @classmethod
    def of(cls, engine: Engine) -> Opening:
        """Of an engine that has been told nothing yet."""
        book = engine.book
        return cls(
            cash=book.cash,
            positions=dict(book.positions),
            lots={s: [(lot.qty, lot.price) for lot in lots] for s, lots in book.lots.items()},
            realised=book.realised,
            unpriced=book.unpriced,
            day=book.day,
            day_open_equity=book.day_open_equity,
            high_water_mark=book.high_water_mark,
            mode=engine.mode,
            killed=engine.killed,
            flatten=engine.flatten,
            limit_version=engine.limit_version,
            limits={name: str(value) for name, value in engine.limits.items()},
            sectors=dict(engine.sectors),
            reprice_ns=engine.reprice_ns,
            identity=dict(engine.identity),
            orders=[msgspec.structs.replace(o) for o in engine.orders.values()],
            orders_today=engine.orders_today,
            traded_today=engine.pace.traded_usd,
            worst_drawdown=engine.worst_drawdown,
        )

    def engine(self) -> Engine:
        """The engine as it was."""
        book = Book(
            self.cash, dict(self.positions), self.day, self.day_open_equity, self.high_water_mark,
            realised=self.realised, unpriced=self.unpriced,
        )  # fmt: skip
        for symbol, lots in self.lots.items():
            book.lots[symbol].clear()
            book.lots[symbol].extend(Lot(qty, price) for qty, price in lots)
        engine = Engine(
            book, self.mode, self.limit_version, self.limits, self.sectors, reprice_ns=self.reprice_ns,
            identity=self.identity, orders=[msgspec.structs.replace(o) for o in self.orders],
            orders_today=self.orders_today, traded_today=self.traded_today, worst_drawdown=self.worst_drawdown,
        )  # fmt: skip
        engine.killed, engine.flatten = self.killed, self.flatten
        return engine
