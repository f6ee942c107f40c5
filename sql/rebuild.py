"""The book once more, from the audit chain alone, held against the tables.

Orders, shares, cash and profit are projections of what the chain says was decided and what the
broker showed. Here they are computed again, in Python, by code that shares nothing with the
functions in Postgres; any difference is drift of a table, or tampering with it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlmodel import Session

from sql.audit import Link, links

ZERO = Decimal(0)
PNL_TOLERANCE_USD = Decimal("0.01")
"""Average prices are stored to 9 digits, so realised profit may differ in the sixth."""


@dataclass
class BuiltOrder:
    """One order as the chain tells it."""

    symbol: str
    side: str
    qty: Decimal
    worst_price: Decimal
    state: str = "INTENT"
    filled_qty: Decimal = ZERO
    filled_notional: Decimal = ZERO


@dataclass
class Holding:
    """Shares of one symbol: by average price, and lot by lot (first in, first out)."""

    qty: Decimal = ZERO
    average_price: Decimal = ZERO
    realised: Decimal = ZERO
    realised_fifo: Decimal = ZERO
    lots: list[tuple[Decimal, Decimal]] = field(default_factory=list)

    def trade(self, delta: Decimal, price: Decimal) -> None:
        """Move ``delta`` signed shares at ``price``."""
        self._fifo(delta, price)
        after = self.qty + delta
        if self.qty * delta >= 0:
            self.average_price = (abs(self.qty) * self.average_price + abs(delta) * price) / abs(after)
        else:
            closed = min(abs(self.qty), abs(delta)) * (1 if self.qty > 0 else -1)
            self.realised += closed * (price - self.average_price)
            if after == 0:
                self.average_price = ZERO
            elif after * self.qty < 0:
                self.average_price = price
        self.qty = after

    def split(self, shares: Decimal) -> None:
        """Scale by a corporate action that adds ``shares``."""
        ratio = (self.qty + shares) / self.qty
        self.qty += shares
        self.average_price /= ratio
        self.lots = [(qty * ratio, price / ratio) for qty, price in self.lots]

    def _fifo(self, delta: Decimal, price: Decimal) -> None:
        while delta and self.lots and self.lots[0][0] * delta < 0:
            qty, paid = self.lots[0]
            taken = min(abs(qty), abs(delta)) * (1 if qty > 0 else -1)
            self.realised_fifo += taken * (price - paid)
            delta += taken
            self.lots = ([(qty - taken, paid)] if qty != taken else []) + self.lots[1:]
        if delta:
            self.lots.append((delta, price))


class Move(NamedTuple):
    """Shares of one symbol moved by one entry. ``place`` orders moves: a correction stands where the corrected did."""

    place: int
    seq: int
    key: str
    delta: Decimal
    price: Decimal | None
    """None: a corporate action, which scales."""


@dataclass
class Rebuilt:
    """The whole book from the chain."""

    orders: dict[str, BuiltOrder] = field(default_factory=dict)
    cash: Decimal = ZERO
    fills: dict[str, str] = field(default_factory=dict)
    reversals: dict[str, str] = field(default_factory=dict)
    """Reversal id → the execution it took back."""
    moves: dict[str, dict[str, Move]] = field(default_factory=lambda: defaultdict(dict))
    """Symbol → what stands, by key."""
    places: dict[str, int] = field(default_factory=dict)
    raw: dict[int, str] = field(default_factory=dict)
    months_dropped: int = 0
    entries: int = 0
    seq: int = 0

    @cached_property
    def holdings(self) -> dict[str, Holding]:
        """Every symbol that ever moved, from what stands, in its order; asked for when all entries are taken."""
        found = {}
        for symbol, moves in self.moves.items():
            held = found[symbol] = Holding()
            for move in sorted(moves.values()):
                if move.price is None:
                    held.split(move.delta)
                else:
                    held.trade(move.delta, move.price)
        return found

    def take(self, link: Link) -> None:
        """Apply one entry of the chain; kinds that move nothing are passed over."""
        self.entries += 1
        self.seq = link.seq
        act = getattr(self, f"_on_{link.kind.lower()}", None)
        if act is not None:
            act(link.ref, json.loads(link.body, parse_float=Decimal, parse_int=Decimal))

    def _on_opening(self, _ref: str, body: dict[str, Any]) -> None:
        self.cash += Decimal(body["cash"])
        for row in body["positions"]:
            self._move(row["symbol"], "opening", Decimal(row["qty"]), Decimal(row["price"]))

    def _on_decision(self, ref: str, body: dict[str, Any]) -> None:
        prices = [body.get(name) for name in ("limit_price", "stop_price", "worst_price")]
        worst = max(Decimal(price) for price in prices if price is not None)
        self.orders[ref] = BuiltOrder(body["symbol"], body["side"], Decimal(body["qty"]), worst)

    def _on_state(self, ref: str, body: dict[str, Any]) -> None:
        self.orders[ref].state = body["to"]

    def _on_fill(self, ref: str, body: dict[str, Any]) -> None:
        order, qty, price = self.orders[ref], Decimal(body["qty"]), Decimal(body["price"])
        replaced = self.places.get(body.get("replaces", ""))
        self.places[body["execution_id"]] = replaced or self.seq
        self.fills[body["execution_id"]] = ref
        delta = qty if order.side == "buy" else -qty
        self._move(order.symbol, body["execution_id"], delta, price, replaced)
        self._count(order, qty, price)

    def _on_reversal(self, ref: str, body: dict[str, Any]) -> None:
        self.reversals[body["id"]] = body["execution_id"]
        order = self.orders[ref]
        gone = self.moves[order.symbol].pop(body["execution_id"])
        assert gone.price is not None
        self._count(order, -abs(gone.delta), gone.price)

    def _count(self, order: BuiltOrder, qty: Decimal, price: Decimal) -> None:
        """The order's sums and the cash of an execution, or with ``qty`` negative of one taken back."""
        order.filled_qty += qty
        order.filled_notional += qty * price
        self.cash -= qty * price if order.side == "buy" else -qty * price

    def _move(
        self, symbol: str, key: str, delta: Decimal, price: Decimal | None, place: int | None = None
    ) -> None:
        self.moves[symbol][key] = Move(place or self.seq, self.seq, key, delta, price)

    def _on_cash(self, _ref: str, body: dict[str, Any]) -> None:
        self.cash += Decimal(body["amount"])

    _on_adjustment = _on_cash

    def _on_corporate_action(self, ref: str, body: dict[str, Any]) -> None:
        if shares := Decimal(body["shares"]):
            self._move(body["symbol"], f"activity:{ref}", shares, None)
        self.cash += Decimal(body["cash"])

    def _on_raw(self, ref: str, body: dict[str, Any]) -> None:
        self.raw[int(ref)] = body["sha256"]

    def _on_retention(self, _ref: str, _body: dict[str, Any]) -> None:
        self.months_dropped += 1


@dataclass(frozen=True)
class Difference:
    """One thing the chain and a table do not agree on."""

    what: str
    ref: str
    chain: str
    table: str


def rebuild(entries: Iterable[Link]) -> Rebuilt:
    """The book from a chain's entries in order."""
    built = Rebuilt()
    for link in entries:
        built.take(link)
    return built


def compare(session: Session) -> tuple[Rebuilt, list[Difference]]:
    """Rebuild from the ledger's chain and compare with its tables: orders, fills, shares, cash, profit, raw messages."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    built = rebuild(links(session))
    found = [
        *_orders(session, built),
        *_holdings(session, built),
        *_fills(session, built),
        *_raw(session, built),
    ]
    cash = session.execute(
        text("SELECT coalesce(sum(amount), 0) FROM ledger.posting WHERE account = 'cash' AND asset = 'USD'")
    ).scalar_one()
    if cash != built.cash:
        found.append(Difference("cash", "USD", _shown(built.cash), _shown(cash)))
    return built, found


def _orders(session: Session, built: Rebuilt) -> Iterable[Difference]:
    stored = {
        r.client_order_id: BuiltOrder(
            r.symbol, r.side, r.qty, r.worst_price, r.state, r.filled_qty, r.filled_notional
        )
        for r in session.execute(text("SELECT * FROM ledger.orders"))
    }
    for ref in sorted(stored.keys() | built.orders.keys()):
        mine, table = built.orders.get(ref), stored.get(ref)
        if mine != table:
            yield Difference("order", ref, _order(mine), _order(table))


def _order(order: BuiltOrder | None) -> str:
    if order is None:
        return "none"
    return (
        f"{order.side} {_shown(order.qty)} {order.symbol} at {_shown(order.worst_price)}, {order.state}, "
        f"filled {_shown(order.filled_qty)}"
    )


def _holdings(session: Session, built: Rebuilt) -> Iterable[Difference]:
    rows = session.execute(
        text(
            "SELECT symbol, coalesce(p.qty, 0) AS held, coalesce(b.qty, 0) AS posted, coalesce(p.realised_pnl, 0) AS realised, "
            "coalesce(l.qty, 0) AS lots, coalesce(c.pnl, 0) AS fifo FROM ledger.position p "
            "FULL JOIN (SELECT asset AS symbol, sum(amount) AS qty FROM ledger.posting WHERE account = 'inventory' GROUP BY 1) b USING (symbol) "
            "LEFT JOIN (SELECT symbol, sum(remaining) AS qty FROM ledger.lot GROUP BY 1) l USING (symbol) "
            "LEFT JOIN (SELECT l.symbol, sum(c.pnl) AS pnl FROM ledger.lot_close c JOIN ledger.lot l ON l.id = c.lot_id GROUP BY 1) c USING (symbol)"
        )
    )
    stored = {r.symbol: r for r in rows}
    for symbol in sorted(stored.keys() | built.holdings.keys()):
        mine, table = built.holdings.get(symbol, Holding()), stored.get(symbol)
        for what, ours, theirs, tolerance in (
            ("position", mine.qty, table.held if table else ZERO, ZERO),
            ("inventory postings", mine.qty, table.posted if table else ZERO, ZERO),
            ("lots", mine.qty, table.lots if table else ZERO, PNL_TOLERANCE_USD / 1000),
            ("realised profit", mine.realised, table.realised if table else ZERO, PNL_TOLERANCE_USD),
            ("realised profit (FIFO)", mine.realised_fifo, table.fifo if table else ZERO, PNL_TOLERANCE_USD),
        ):
            if abs(ours - theirs) > tolerance:
                yield Difference(what, symbol, _shown(ours), _shown(theirs))


def _fills(session: Session, built: Rebuilt) -> Iterable[Difference]:
    stored = {r.execution_id: r.client_order_id for r in session.execute(text("SELECT * FROM ledger.fill"))}
    for ref in sorted(stored.keys() | built.fills.keys()):
        if built.fills.get(ref) != stored.get(ref):
            yield Difference("fill", ref, built.fills.get(ref, "none"), stored.get(ref, "none"))
    undone = {r.id: r.execution_id for r in session.execute(text("SELECT * FROM ledger.fill_reversal"))}
    for ref in sorted(undone.keys() | built.reversals.keys()):
        if built.reversals.get(ref) != undone.get(ref):
            yield Difference("reversal", ref, built.reversals.get(ref, "none"), undone.get(ref, "none"))


def _raw(session: Session, built: Rebuilt) -> Iterable[Difference]:
    """Raw messages carry the hash the chain says; months that retention dropped are gone, and that is said there."""
    rows = session.execute(text("SELECT id, encode(sha256(body), 'hex') AS hash FROM ledger.raw_message"))
    stored = {row.id: row.hash for row in rows}
    oldest = min(stored, default=0) if built.months_dropped else 0
    for ref in sorted(
        stored.keys() | {r for r in built.raw if r >= oldest and (stored or not built.months_dropped)}
    ):
        if built.raw.get(ref) != stored.get(ref):
            yield Difference("raw message", str(ref), built.raw.get(ref, "none"), stored.get(ref, "none"))


def _shown(value: Decimal) -> str:
    return f"{value.normalize():f}"
