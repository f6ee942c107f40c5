"""What the engine asks the shell to do, in this order and no other."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec

from executor.core.events import Quote
from executor.core.gate import Ruling
from executor.core.modes import Mode
from executor.core.orders import Leg, State
from models.cost.estimate import estimate


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all commands."""


class Inputs(msgspec.Struct, frozen=True):
    """What an order was decided on; text is made of it when it is recorded, not while it is decided."""

    quote: Quote
    decided_ns: int
    position: Decimal
    equity: Decimal | None
    cash: Decimal
    mode: Mode
    target_weight: Decimal | None
    identity: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """As the ledger keeps them: decimals as text, six places of a dollar."""
        quote = self.quote
        return {
            "bid": str(quote.bid),
            "ask": str(quote.ask),
            "quote_age_ms": round((self.decided_ns - quote.now_ns) / 1e6 + quote.age_at_receipt_ms, 3),
            "quote_time": quote.market_time.isoformat(),
            "position": str(self.position),
            "equity": None if self.equity is None else f"{self.equity:.6f}",
            "cash": f"{self.cash:.6f}",
            "mode": str(self.mode),
            "target_weight": None if self.target_weight is None else str(self.target_weight),
            **self.identity,
        }


class ExpectedCost(msgspec.Struct, frozen=True):
    """What an order's expected cost is worked out from, when it is recorded."""

    side: str
    qty: float
    price: float
    spread: float
    """Quoted, as a fraction of price."""
    volume: float
    """Shares a day."""
    volatility: float
    """Daily."""
    day: dt.date

    def as_json(self) -> dict[str, float]:
        """USD: fees, half the quoted spread, square-root impact, their sum; and the sum in basis points."""
        cost = estimate(
            "buy" if self.side == "buy" else "sell",
            self.qty,
            self.price,
            self.spread,
            self.volume,
            self.volatility,
            self.day,
        )
        parts = {
            "fees": cost.fees,
            "spread": cost.spread,
            "impact": cost.impact,
            "total": cost.total,
            "bps": cost.bps,
        }
        return {name: round(value, 6) for name, value in parts.items()}


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """An order as decided, with everything it was decided on.

    Order terms beyond the plain limit order: ``order_type`` and ``time_in_force`` in the broker's
    words (``limit stop stop_limit``; ``day gtc opg cls``), ``order_class`` (``""``, ``bracket``,
    ``oto``) with its legs. ``worst_price`` is the price the ledger reserves at: the limit, or for an
    order without one the worst it may fill at.
    """

    client_order_id: str | None
    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal
    purpose: str
    leg: int
    signal_id: str | None
    batch_id: str | None
    arrival_price: Decimal
    market_time: dt.datetime
    limit_version: int
    inputs: Inputs
    checks: Ruling
    cost_estimate: ExpectedCost | None
    """None where no volume or no price is known."""
    order_type: str = "limit"
    time_in_force: str = "day"
    strategy: str = ""
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    order_class: str = ""
    take_profit: Leg | None = None
    stop_loss: Leg | None = None
    extended_hours: bool = False
    parent_client_order_id: str | None = None
    replaces_client_order_id: str | None = None
    worst_price: Decimal | None = None


class Reserve(Command, frozen=True, kw_only=True):
    """Write decision, intent and reservation to the ledger; answered by ``Reserved``."""

    intent: Intent


class Refuse(Command, frozen=True, kw_only=True):
    """Record a refusal of the gate with its reason."""

    intent: Intent
    reason: str


class Record(Command, frozen=True, kw_only=True):
    """Write an order's new state and the evidence for it."""

    client_order_id: str
    state: State
    broker_order_id: str | None = None
    broker_status: str | None = None
    reason: str = ""


class Submit(Command, frozen=True, kw_only=True):
    """Send the order, once; answered by ``OrderEvidence``.

    The same id may be sent again after quarantine (the broker refuses a second order of one id, so
    it exists at most once); ``repeat`` says so.
    """

    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal
    order_type: str = "limit"
    time_in_force: str = "day"
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    order_class: str = ""
    take_profit: Leg | None = None
    stop_loss: Leg | None = None
    extended_hours: bool = False
    repeat: bool = False


class Replace(Command, frozen=True, kw_only=True):
    """Ask the broker to go on with a working order at another price (PATCH), under our new client id.

    Answered by ``OrderEvidence`` for the new id (WORKING with the new broker id, REFUSED, AMBIGUOUS)
    and, once the broker shows it, by ``Replaced`` for the old one.
    """

    client_order_id: str
    """Of the order that goes on: reserved in the ledger like any other."""
    replaces_client_order_id: str
    broker_order_id: str
    """Of the order that is replaced."""
    qty: Decimal
    limit_price: Decimal


class Cancel(Command, frozen=True, kw_only=True):
    """Ask the broker to cancel; the answer comes as evidence."""

    client_order_id: str
    broker_order_id: str


class ConfirmEquity(Command, frozen=True, kw_only=True):
    """Ask the second source (the broker's account) for the equity; answered by ``EquityConfirmed``."""

    reason: str


class ConfirmFlat(Command, frozen=True, kw_only=True):
    """Ask the broker what it still shows; answered by ``BrokerFlat``."""


class EnterMode(Command, frozen=True, kw_only=True):
    """Tighten the mode in the ledger."""

    mode: Mode
    reason: str


class Alert(Command, frozen=True, kw_only=True):
    """Tell a person."""

    severity: str
    kind: str
    title: str
    body: str
    ref: str = ""


class FinishBatch(Command, frozen=True, kw_only=True):
    """The batch has been worked as far as it can be."""

    batch_id: str
    note: str
