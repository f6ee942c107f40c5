"""Tables of proof and of the book's finer grain: written by the ledger's functions, read by anyone.

Anchors, raw messages, epochs, drills, releases, clock samples and alert deliveries say how the
ledger came to know what it knows; reservations and lots refine orders and positions; keys and limit
proposals carry the acts that need a person, or two.
"""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, LargeBinary, Numeric, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from sql.tables import LedgerTable


def _time(**more: Any) -> Any:
    return Field(sa_type=DateTime(timezone=True), **more)


def _number(scale: int, *, nullable: bool = False) -> Any:
    return Field(default=None, sa_column=Column(Numeric(24, scale), nullable=nullable))


def _json() -> Any:
    return Field(default_factory=dict, sa_column=Column(JSONB, nullable=False))


class Identity(LedgerTable, table=True):
    """Which ledger this is: a random id that anchors and signatures carry."""

    __tablename__ = "identity"
    one: bool = Field(primary_key=True, default=True)
    ledger_id: uuid.UUID
    created_at: dt.datetime = _time()


class Recordable(LedgerTable, table=True):
    """Kinds of audit entries a role may append by itself."""

    __tablename__ = "recordable"
    kind: str = Field(primary_key=True)
    role: str = Field(primary_key=True)


class Anchor(LedgerTable, table=True):
    """That the chain's head was written down outside; ``error`` says why a place did not take it."""

    __tablename__ = "anchor"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    at: dt.datetime = _time()
    seq: int = Field(sa_type=BigInteger)
    hash: bytes = Field(sa_type=LargeBinary)
    occasion: str
    """``minute``, ``kill``, ``takeover``, ``limits``, ``close``, ``backup`` or ``manual``."""
    place: str
    error: str = ""


class Epoch(LedgerTable, table=True):
    """One reign of one executor over the account."""

    __tablename__ = "epoch"
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    account: str
    holder: str
    at: dt.datetime = _time()


class Drill(LedgerTable, table=True):
    """An exercise of a control (kill, restore, failover) and how it went."""

    __tablename__ = "drill"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    at: dt.datetime = _time()
    kind: str
    who: str
    passed: bool
    detail: dict[str, Any] = _json()


class Release(LedgerTable, table=True):
    """A build with its settings, first seen on this ledger at ``at``."""

    __tablename__ = "release"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    at: dt.datetime = _time()
    build: str
    settings_hash: str
    who: str
    detail: dict[str, Any] = _json()


class ClockSample(LedgerTable, table=True):
    """Our clock against another one, milliseconds; positive = the other is ahead."""

    __tablename__ = "clock_sample"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    at: dt.datetime = _time()
    source: str
    offset_ms: Decimal = Field(sa_column=Column(Numeric(12, 3), nullable=False))
    round_trip_ms: Decimal | None = Field(default=None, sa_column=Column(Numeric(12, 3)))


class AlertDelivery(LedgerTable, table=True):
    """One attempt to bring an alert to people; a trigger on ``alert`` writes it."""

    __tablename__ = "alert_delivery"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    alert_id: uuid.UUID = Field(foreign_key="ledger.alert.id", index=True)
    at: dt.datetime = _time()
    attempt: int
    delivered: bool
    error: str


class RawMessage(LedgerTable, table=True):
    """What came from or went to the broker, as it was before parsing; monthly partitions."""

    __tablename__ = "raw_message"
    id: int = Field(primary_key=True, sa_type=BigInteger)
    received_at: dt.datetime = _time(primary_key=True)
    channel: str
    """``rest`` or ``trade_updates``; before bytes were kept: ``orders``, ``activities``."""
    direction: str
    refs: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    """Every order (our id or the broker's) and activity it brings news of."""
    body: bytes = Field(sa_type=LargeBinary)
    sha256: bytes = Field(sa_type=LargeBinary)
    message_id: uuid.UUID
    """Given when it arrived: a message that was spooled and stored too is one message."""
    request: str = ""
    """Method and address of the call that was answered; empty for a frame."""
    status: int | None = None
    headers: dict[str, Any] = _json()
    failure: str = ""
    """Why there is no answer (a timeout, a reset), where there is none."""


class Retention(LedgerTable, table=True):
    """How many whole months of raw messages are kept beside the present one; None = all."""

    __tablename__ = "retention"
    one: bool = Field(primary_key=True, default=True)
    keep_months: int | None = None
    set_by: str
    set_at: dt.datetime = _time()


class Reservation(LedgerTable, table=True):
    """What an order may still do to the book; open until terminal evidence releases it."""

    __tablename__ = "reservation"
    client_order_id: str = Field(primary_key=True, max_length=48, foreign_key="ledger.orders.client_order_id")
    symbol: str
    side: str
    qty: Decimal = _number(6)
    price: Decimal = _number(6)
    reserved_at: dt.datetime = _time()
    released_at: dt.datetime | None = _time(default=None, nullable=True)
    released_as: str | None = None
    root: str = Field(max_length=48)
    """The first order of its group; one side of a group reserves only its largest member."""


class Lot(LedgerTable, table=True):
    """Shares bought (or, negative, sold short) at one price; closed first in first out."""

    __tablename__ = "lot"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    symbol: str
    txn: str
    opened_at: dt.datetime = _time()
    qty: Decimal = _number(9)
    price: Decimal = _number(9)
    remaining: Decimal = _number(9)


class LotClose(LedgerTable, table=True):
    """Part of a lot closed by a transaction, with the profit it realised (USD, before fees)."""

    __tablename__ = "lot_close"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    lot_id: int = Field(foreign_key="ledger.lot.id", index=True, sa_type=BigInteger)
    txn: str
    at: dt.datetime = _time()
    qty: Decimal = _number(9)
    price: Decimal = _number(9)
    pnl: Decimal = _number(6)


class LimitDirection(LedgerTable, table=True):
    """Which way a limit tightens: ``lower`` or ``higher``."""

    __tablename__ = "limit_direction"
    name: str = Field(primary_key=True)
    tighter: str
    optional: bool = False
    """Not set, it bounds nothing; any other limit that is not set refuses every order."""


class LimitProposal(LedgerTable, table=True):
    """A change of limits that waits for a second person."""

    __tablename__ = "limit_proposal"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    at: dt.datetime = _time()
    author: str
    reason: str
    limits: dict[str, Any] = _json()
    base_version: int
    state: str = "OPEN"
    decided_by: str | None = None
    decided_at: dt.datetime | None = _time(default=None, nullable=True)
    version: int | None = None
    __table_args__ = (CheckConstraint("state IN ('OPEN','CONFIRMED','WITHDRAWN')", name="proposal_state"),)


class ApproverKey(LedgerTable, table=True):
    """An approver's Ed25519 public key (hex); ``key_id`` is the first 16 hex of its SHA-256."""

    __tablename__ = "approver_key"
    key_id: str = Field(primary_key=True, max_length=16)
    approver: str
    public_key: str = Field(max_length=64)
    registered_at: dt.datetime = _time()
    registered_by: str
    revoked_at: dt.datetime | None = _time(default=None, nullable=True)
    revoked_by: str | None = None
