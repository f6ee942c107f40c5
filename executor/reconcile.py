"""Is what we recorded what the broker has? Compared over the union of both sides, to the share and the cent.

Never a corrective trade and never an invented fill: an unexplained difference is a break, and stops
new risk until a person has looked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from executor.broker import Broker, Raw
from executor.core.orders import TERMINAL, WorkingOrder
from executor.journal import Journal

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Break:
    """One difference."""

    kind: str
    ref: str
    ledger_value: str
    broker_value: str
    explanation: str = ""


@dataclass(frozen=True)
class Reconciliation:
    """The result of one comparison."""

    occasion: str
    market_time: dt.datetime
    ledger_cash: Decimal
    broker_cash: Decimal
    breaks: tuple[Break, ...]
    compared: dict[str, int] = field(default_factory=dict)

    @property
    def matched(self) -> bool:
        """Whether nothing differs."""
        return not self.breaks

    def only(self, seen_before: tuple[Break, ...]) -> Reconciliation:
        """The same comparison with the differences that an earlier look showed in the same way."""
        return replace(self, breaks=tuple(b for b in self.breaks if b in seen_before))

    def as_json(self) -> dict[str, Any]:
        """As ``ledger.record_reconciliation`` takes it."""
        return {
            "occasion": self.occasion,
            "market_time": self.market_time.isoformat(),
            "matched": self.matched,
            "ledger_cash": str(self.ledger_cash),
            "broker_cash": str(self.broker_cash),
            "compared": self.compared,
            "breaks": [vars(b) for b in self.breaks],
        }


def compare(
    *,
    occasion: str,
    market_time: dt.datetime,
    ledger_cash: Decimal,
    broker_cash: Decimal,
    ledger_positions: Mapping[str, Decimal],
    broker_positions: Mapping[str, Decimal],
    ledger_orders: Iterable[WorkingOrder],
    broker_open: Iterable[Raw],
) -> Reconciliation:
    """Compare both sides; pure.

    Cash must agree to the cent, shares exactly. Every open order of either side must be open, or
    not yet resolved, on the other.
    """
    breaks: list[Break] = []
    if abs(ledger_cash - broker_cash) >= CENT:
        breaks.append(Break("cash", "USD", f"{ledger_cash:.2f}", f"{broker_cash:.2f}"))
    symbols = sorted({*ledger_positions, *broker_positions})
    for symbol in symbols:
        ours, theirs = ledger_positions.get(symbol, Decimal(0)), broker_positions.get(symbol, Decimal(0))
        if ours != theirs:
            breaks.append(Break("position", symbol, f"{ours.normalize():f}", f"{theirs.normalize():f}"))
    known = {o.client_order_id: o for o in ledger_orders}
    open_there = {o["client_order_id"]: o for o in broker_open}
    for client_id, raw in sorted(open_there.items()):
        order = known.get(client_id)
        if order is None:
            breaks.append(Break("foreign_order", client_id, "none", raw["status"], "not sent by us"))
        elif order.state in TERMINAL:
            breaks.append(Break("order", client_id, str(order.state), raw["status"]))
    for client_id, order in sorted(known.items()):
        if order.state in ("LIVE", "CANCELING") and client_id not in open_there:
            breaks.append(Break("order", client_id, str(order.state), "not open"))
    compared = {"positions": len(symbols), "orders": len(set(known) | set(open_there))}
    return Reconciliation(occasion, market_time, ledger_cash, broker_cash, tuple(breaks), compared)


async def reconcile(
    broker: Broker, journal: Journal, occasion: str, market_time: dt.datetime
) -> Reconciliation:
    """Read both sides and compare them; nothing is written."""
    account, positions, open_orders = (
        await broker.account(),
        await broker.positions(),
        await broker.open_orders(),
    )
    return compare(
        occasion=occasion,
        market_time=market_time,
        ledger_cash=await journal.cash(),
        broker_cash=Decimal(account["cash"]),
        ledger_positions=await journal.positions(),
        broker_positions={symbol: Decimal(p["qty"]) for symbol, p in positions.items()},
        ledger_orders=await journal.orders(open_only=False),
        broker_open=open_orders,
    )
