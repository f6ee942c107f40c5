"""What the engine can be told. Every event carries its two times; the engine has no clock.

``market_time`` is the exchange's time (aware UTC; the replayed one in a replay); ``now_ns`` is a
monotonic count of nanoseconds for ages and intervals, which must not jump with a clock step.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from executor.core.modes import Mode
from executor.core.orders import Evidence
from models.risk.snapshot import RiskSnapshot

SPREAD_MAX = Decimal("0.05")
"""A quote wider than this fraction of its mid is a stub, not a market: nothing is valued by it."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base: when it happened."""

    market_time: dt.datetime
    now_ns: int


class Quote(Event, frozen=True, kw_only=True):
    """Best bid and offer. A side without a price is 0."""

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_size: int
    ask_size: int
    age_at_receipt_ms: float = 0.0

    @property
    def usable(self) -> bool:
        """Both sides present, not crossed, and no wider than a market is."""
        return 0 < self.bid <= self.ask and self.ask - self.bid <= SPREAD_MAX * self.mid

    @property
    def mid(self) -> Decimal:
        """Midpoint of bid and ask."""
        return (self.bid + self.ask) / 2


class Target(msgspec.Struct, frozen=True):
    """One approved target weight (fraction of equity)."""

    signal_id: str
    symbol: str
    weight: Decimal


class Batch(Event, frozen=True, kw_only=True):
    """An approved and claimed signal batch with its risk inputs.

    ``legs`` counts the orders already sent for each signal, so that a restart does not repeat an id.
    """

    batch_id: str
    valid_until: dt.datetime
    targets: tuple[Target, ...]
    snapshot: RiskSnapshot
    legs: dict[str, int]


class Reserved(Event, frozen=True, kw_only=True):
    """The ledger's answer to a Reserve command."""

    client_order_id: str
    ok: bool
    reason: str


class OrderEvidence(Event, frozen=True, kw_only=True):
    """Something the broker showed, or failed to show, about an order."""

    client_order_id: str
    evidence: Evidence
    broker_order_id: str | None = None
    broker_status: str | None = None
    broker_filled: Decimal | None = None
    """Shares the broker shows as filled, where it showed the order."""
    reason: str = ""


class Fill(Event, frozen=True, kw_only=True):
    """An execution that the ledger has just booked for the first time."""

    execution_id: str
    client_order_id: str
    qty: Decimal
    price: Decimal


class CashMoved(Event, frozen=True, kw_only=True):
    """A fee, dividend or other cash activity that the ledger has just booked."""

    amount: Decimal


class LimitsChanged(Event, frozen=True, kw_only=True):
    """A new limit version is in force."""

    version: int
    limits: dict[str, str]


class ModeSeen(Event, frozen=True, kw_only=True):
    """The mode and kill latch as the ledger holds them."""

    mode: Mode
    killed: bool
    flatten: bool


class Timer(Event, frozen=True, kw_only=True):
    """Time passed; ``session_open`` and ``session_close`` bound the present session.

    ``broker_ready`` says whether order updates and the broker's answers come in: without them no new
    target is worked, because its outcome would not be seen. ``draining`` says that the process is
    about to end: everything open is cancelled and nothing new is sent.
    """

    session_open: dt.datetime
    session_close: dt.datetime
    broker_ready: bool = True
    draining: bool = False

    @property
    def in_session(self) -> bool:
        """Whether the market is open at this moment."""
        return self.session_open <= self.market_time < self.session_close
