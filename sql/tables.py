"""Every table of the ledger, as SQLModel classes in the Postgres schema ``ledger``.

The ledger is the authority for intent, approval and limits, and the record of what the broker
showed. Money, prices and quantities are ``NUMERIC`` (``Decimal`` in Python); every time is
``timestamptz`` (aware UTC in Python); a trading day is a ``DATE`` of the exchange calendar.

Tables an executor writes to (orders, fills, postings, ...) are written only through the functions
of the migrations (``place``, ``set_state``, ``record_fill``, ...), which append to the audit chain
in the same transaction.
"""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    LargeBinary,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

SCHEMA = "ledger"
metadata = MetaData(schema=SCHEMA)


class LedgerTable(SQLModel):
    """Base of all ledger tables: puts them in the ``ledger`` schema."""

    metadata = metadata


def _time(*, nullable: bool = False) -> Any:
    return Field(sa_type=DateTime(timezone=True), nullable=nullable)


def _optional_time() -> Any:
    return Field(default=None, sa_type=DateTime(timezone=True), nullable=True)


def _money(*, nullable: bool = False, scale: int = 6) -> Any:
    column = Column(Numeric(24, scale), nullable=nullable)
    return Field(default=None, sa_column=column) if nullable else Field(sa_column=column)


def _json() -> Any:
    return Field(default_factory=dict, sa_column=Column(JSONB, nullable=False))


# ---------------------------------------------------------------- what the world says


class Instrument(LedgerTable, table=True):
    """A tradable name. ``status`` is ``active`` or ``inactive`` (delisted, merged)."""

    __tablename__ = "instrument"
    symbol: str = Field(primary_key=True, max_length=16)
    name: str = ""
    sector: str | None = None
    status: str = "active"
    first_session: dt.date | None = None
    last_session: dt.date | None = None


class DataSet(LedgerTable, table=True):
    """An immutable set of prices. ``id`` is derived from the content hash of its rows."""

    __tablename__ = "data_set"
    id: str = Field(primary_key=True, max_length=64)
    created_at: dt.datetime = _time()
    source: str
    path: str
    content_hash: str = Field(max_length=64)
    rows: int
    symbols: int
    first_session: dt.date
    last_session: dt.date
    modelled: dict[str, Any] = _json()
    """``{"columns": [...], "how": str}``: columns that were modelled, not observed; ``{}`` if none."""


class ValidationRun(LedgerTable, table=True):
    """One run of a validation suite over a data set; ``verdict`` is ``passed`` or ``failed``."""

    __tablename__ = "validation_run"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    data_set_id: str = Field(foreign_key="ledger.data_set.id", index=True)
    as_of: dt.date
    suite: str
    suite_version: str
    started_at: dt.datetime = _time()
    finished_at: dt.datetime = _time()
    verdict: str
    checks: dict[str, Any] = _json()
    """``{"expectations": n, "failed": n, "findings": [{check, severity, symbol, session, value, detail}]}``."""
    report_path: str | None = None
    __table_args__ = (CheckConstraint("verdict IN ('passed','failed')", name="verdict"),)


# ---------------------------------------------------------------- what we believe


class ModelVersion(LedgerTable, table=True):
    """A trained model. ``id`` is ``<strategy>-<first 12 hex of the artifact hash>``."""

    __tablename__ = "model_version"
    id: str = Field(primary_key=True, max_length=96)
    created_at: dt.datetime = _time()
    strategy: str = Field(index=True)
    strategy_hash: str = Field(max_length=64)
    data_set_id: str = Field(foreign_key="ledger.data_set.id")
    validation_run_id: uuid.UUID = Field(foreign_key="ledger.validation_run.id")
    artifact_path: str
    artifact_hash: str = Field(max_length=64)
    feature_hash: str = Field(max_length=64)
    features: dict[str, Any] = _json()
    """``{"names": [...]}`` in the order the model takes them."""
    parameters: dict[str, Any] = _json()
    trained_from: dt.date
    trained_to: dt.date
    metrics: dict[str, Any] = _json()
    """Walk-forward, out of sample, net of costs: filled in by the walk-forward flow."""
    walk_forward_path: str | None = None
    expires_at: dt.datetime = _time()


class RiskSnapshot(LedgerTable, table=True):
    """Close, volatility, average volume and return scenarios a batch is risk-checked with (an .npz)."""

    __tablename__ = "risk_snapshot"
    id: str = Field(primary_key=True, max_length=64)
    created_at: dt.datetime = _time()
    data_set_id: str = Field(foreign_key="ledger.data_set.id")
    as_of: dt.date
    path: str
    content_hash: str = Field(max_length=64)
    symbols: int
    scenarios: int


class SignalBatch(LedgerTable, table=True):
    """Target weights proposed for one session, all or none.

    ``state``: PROPOSED → APPROVED | REJECTED → CLAIMED → DONE, or EXPIRED. ``content_hash`` covers
    every signal and the ids of the chain, so an approval names exactly what it approved.
    """

    __tablename__ = "signal_batch"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    strategy: str
    environment: str
    as_of: dt.date
    """Last session whose prices the signals know."""
    session: dt.date
    """Session they may be traded in."""
    proposer: str
    proposed_at: dt.datetime = _time()
    valid_from: dt.datetime = _time()
    valid_until: dt.datetime = _time()
    data_set_id: str = Field(foreign_key="ledger.data_set.id")
    validation_run_id: uuid.UUID | None = Field(default=None, foreign_key="ledger.validation_run.id")
    model_version_id: str | None = Field(default=None, foreign_key="ledger.model_version.id")
    risk_snapshot_id: str = Field(foreign_key="ledger.risk_snapshot.id")
    signals: int
    gross_weight: Decimal = _money()
    content_hash: str = Field(max_length=64)
    state: str = "PROPOSED"
    note: str = ""
    __table_args__ = (
        UniqueConstraint("strategy", "session", "content_hash", name="one_batch_per_content"),
        CheckConstraint("environment IN ('replay','paper','live')", name="environment"),
        CheckConstraint("valid_until > valid_from", name="validity"),
        CheckConstraint(
            "state IN ('PROPOSED','APPROVED','REJECTED','CLAIMED','DONE','EXPIRED')", name="batch_state"
        ),
    )


class Signal(LedgerTable, table=True):
    """One target weight (fraction of equity, negative = short) with its score and main reasons."""

    __tablename__ = "signal"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    batch_id: uuid.UUID = Field(foreign_key="ledger.signal_batch.id", index=True)
    symbol: str = Field(foreign_key="ledger.instrument.symbol")
    target_weight: Decimal = _money(scale=8)
    score: float | None = None
    contributions: dict[str, Any] = _json()
    """Top features by |contribution| to the score: ``{feature: contribution}``."""
    features: dict[str, Any] = _json()
    """What the model saw: ``{feature: value}``, null where it could not be computed."""
    __table_args__ = (
        UniqueConstraint("batch_id", "symbol", name="one_signal_per_symbol"),
        CheckConstraint("target_weight BETWEEN -10 AND 10", name="weight_is_a_fraction"),
    )


class Approval(LedgerTable, table=True):
    """A person's (or on paper a policy's) word on one batch. ``verdict``: ``approved`` | ``rejected``."""

    __tablename__ = "approval"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    batch_id: uuid.UUID = Field(foreign_key="ledger.signal_batch.id", unique=True)
    verdict: str
    approver: str
    reason: str
    environment: str
    content_hash: str = Field(max_length=64)
    decided_at: dt.datetime = _time()
    key_id: str | None = Field(default=None, max_length=16)
    signature: str | None = Field(default=None, max_length=128)
    """Ed25519 over :func:`sql.signatures.statement`, hex; required on a live ledger."""
    __table_args__ = (
        CheckConstraint("verdict IN ('approved','rejected')", name="verdict"),
        CheckConstraint("length(reason) > 0", name="reason_given"),
    )


# ---------------------------------------------------------------- what we do


class LimitVersion(LedgerTable, table=True):
    """The limits in force from ``effective_from`` on; append-only, the newest row counts."""

    __tablename__ = "limit_version"
    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    effective_from: dt.datetime = _time()
    author: str
    reason: str
    limits: dict[str, Any] = _json()
    """``{name: "decimal as text"}``, every limit present: a missing one refuses all orders."""


class Order(LedgerTable, table=True):
    """An order from intent to its end; terms never change, ``state`` follows ``order_edge``."""

    __tablename__ = "orders"
    client_order_id: str = Field(primary_key=True, max_length=48)
    signal_id: uuid.UUID | None = Field(default=None, foreign_key="ledger.signal.id", index=True)
    leg: int
    batch_id: uuid.UUID | None = Field(default=None, foreign_key="ledger.signal_batch.id", index=True)
    purpose: str = "target"
    """``target`` (towards a signal's weight), or an exit: ``flatten``, ``stop``, ``take_profit``."""
    decision_seq: int = Field(sa_type=BigInteger, foreign_key="ledger.decision.seq")
    epoch: int
    symbol: str
    side: str
    qty: Decimal = _money()
    order_type: str
    limit_price: Decimal | None = _money(nullable=True)
    time_in_force: str
    state: str
    filled_qty: Decimal = _money()
    filled_notional: Decimal = _money()
    broker_order_id: str | None = None
    broker_status: str | None = None
    reason: str = ""
    arrival_price: Decimal = _money()
    """Mid at the decision: what implementation shortfall is measured against."""
    cost_estimate: dict[str, Any] = _json()
    """Expected costs in USD before sending: ``{"fees", "spread", "impact", "total", "bps"}``."""
    created_at: dt.datetime = _time()
    updated_at: dt.datetime = _time()
    market_time: dt.datetime = _time()
    """Market clock at the decision (equals ``created_at`` but for replays)."""
    stop_price: Decimal | None = _money(nullable=True)
    trail_percent: Decimal | None = _money(nullable=True)
    trail_price: Decimal | None = _money(nullable=True)
    order_class: str = "simple"
    """``simple``, or how its legs hang together: ``bracket``, ``oco``, ``oto``."""
    parent_client_order_id: str | None = Field(
        default=None, max_length=48, foreign_key="ledger.orders.client_order_id"
    )
    extended_hours: bool = False
    replaces_client_order_id: str | None = Field(
        default=None, max_length=48, foreign_key="ledger.orders.client_order_id"
    )
    worst_price: Decimal = _money()
    """What exposure values it at: the limit, or the collar around an order without one."""
    strategy: str = ""
    __table_args__ = (
        UniqueConstraint("signal_id", "leg", name="one_order_per_leg"),
        CheckConstraint("side IN ('buy','sell')", name="side"),
        CheckConstraint("purpose IN ('target','flatten','stop','take_profit')", name="purpose"),
        CheckConstraint("order_class IN ('simple','bracket','oco','oto')", name="order_class"),
        CheckConstraint("purpose <> 'target' OR signal_id IS NOT NULL", name="a_signal_or_an_exit"),
        CheckConstraint(
            "qty > 0 AND worst_price > 0 AND limit_price > 0 AND stop_price > 0 AND trail_percent > 0 "
            "AND trail_price > 0",
            name="positive_terms",
        ),
        CheckConstraint("worst_price >= limit_price AND worst_price >= stop_price", name="bounded"),
        CheckConstraint("filled_qty >= 0 AND filled_qty <= qty", name="never_overfilled"),
    )


class OrderEdge(LedgerTable, table=True):
    """Allowed order transitions as data; a trigger refuses any other."""

    __tablename__ = "order_edge"
    before: str = Field(primary_key=True)
    after: str = Field(primary_key=True)


class OrderTerms(LedgerTable, table=True):
    """Which prices an order type takes, as data; a type that is not here is refused."""

    __tablename__ = "order_terms"
    order_type: str = Field(primary_key=True)
    takes_limit: bool
    takes_stop: bool
    takes_trail: bool


class Decision(LedgerTable, table=True):
    """Every acceptance and every refusal, with all it was decided on. ``seq`` is its audit number."""

    __tablename__ = "decision"
    seq: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    at: dt.datetime = _time()
    market_time: dt.datetime = _time()
    epoch: int
    batch_id: uuid.UUID | None = Field(default=None, foreign_key="ledger.signal_batch.id", index=True)
    signal_id: uuid.UUID | None = Field(default=None, foreign_key="ledger.signal.id")
    client_order_id: str | None = Field(default=None, max_length=48)
    symbol: str
    verdict: str
    reason: str
    limit_version: int
    inputs: dict[str, Any] = _json()
    """Quote (bid, ask, age_ms), position, equity, cash, mode, build, configuration hash."""
    checks: dict[str, Any] = _json()
    """``{"limits": [{"name", "ok", "limit", "before", "after", "version"}]}``."""
    __table_args__ = (CheckConstraint("verdict IN ('accepted','refused')", name="verdict"),)


class Fill(LedgerTable, table=True):
    """One execution, keyed by the broker's execution id, booked exactly once."""

    __tablename__ = "fill"
    execution_id: str = Field(primary_key=True)
    client_order_id: str = Field(foreign_key="ledger.orders.client_order_id", index=True)
    symbol: str
    side: str
    qty: Decimal = _money(scale=9)
    price: Decimal = _money()
    filled_at: dt.datetime = _time()
    booked_at: dt.datetime = _time()
    source: str
    """Which channel brought it first: ``stream``, ``activities``, ``correction``, or who inferred it."""
    broker_execution_id: str | None = Field(default=None, unique=True)
    replaces_execution_id: str | None = Field(default=None, foreign_key="ledger.fill.execution_id")
    """The execution that was corrected, or inferred, and taken back for this one."""
    seq: int | None = Field(default=None, sa_type=BigInteger)
    """Its audit number."""
    ordered_seq: int | None = Field(default=None, sa_type=BigInteger)
    """Its place among the executions: its own number, or the place of the one it replaces."""
    __table_args__ = (CheckConstraint("qty > 0 AND price > 0", name="positive_fill"),)


class FillReversal(LedgerTable, table=True):
    """An execution that was taken back; ``kind`` is ``bust``, ``correct`` or ``inferred``."""

    __tablename__ = "fill_reversal"
    id: str = Field(primary_key=True)
    execution_id: str = Field(foreign_key="ledger.fill.execution_id", unique=True)
    kind: str
    reason: str
    at: dt.datetime = _time()
    seq: int = Field(sa_type=BigInteger)


class Posting(LedgerTable, table=True):
    """One line of a double-entry transaction; the lines of a ``txn`` sum to zero for each asset."""

    __tablename__ = "posting"
    txn: str = Field(primary_key=True)
    line: int = Field(primary_key=True)
    account: str
    """``cash``, ``inventory``, ``street``, ``fees``, ``dividends``, ``opening``, ``adjustment``."""
    asset: str
    """``USD`` or a symbol."""
    amount: Decimal = _money(scale=9)
    at: dt.datetime = _time()
    memo: str = ""


class Position(LedgerTable, table=True):
    """Shares held and what they cost; a projection of the postings, kept in the same transaction."""

    __tablename__ = "position"
    symbol: str = Field(primary_key=True)
    qty: Decimal = _money(scale=9)
    average_price: Decimal = _money(scale=9)
    realised_pnl: Decimal = _money()
    mark_price: Decimal | None = _money(nullable=True)
    """Last price the book was marked at; what the hard caps value the position with."""
    updated_at: dt.datetime = _time()


class EquityMark(LedgerTable, table=True):
    """Equity marked to market at one moment, with the bases of the loss limits."""

    __tablename__ = "equity_mark"
    id: int | None = Field(default=None, primary_key=True)
    at: dt.datetime = _time()
    market_time: dt.datetime = _time()
    session: dt.date
    cash: Decimal = _money()
    long_value: Decimal = _money()
    short_value: Decimal = _money()
    equity: Decimal = _money()
    day_open_equity: Decimal = _money()
    high_water_mark: Decimal = _money()
    value_at_risk: Decimal | None = _money(nullable=True)
    expected_shortfall: Decimal | None = _money(nullable=True)


class Book(LedgerTable, table=True):
    """The one row that serialises decisions: environment, account, epoch, mode and kill latch."""

    __tablename__ = "book"
    one: bool = Field(primary_key=True, default=True)
    environment: str
    account: str | None = None
    """Broker account number, pinned by the first executor to start."""
    epoch: int = 0
    holder: str = ""
    heartbeat_at: dt.datetime | None = _optional_time()
    market_time: dt.datetime | None = _optional_time()
    feed_age_ms: int | None = None
    mode: str = "READY"
    mode_reason: str = ""
    mode_since: dt.datetime = _time()
    killed: bool = False
    flatten: bool = False
    __table_args__ = (
        CheckConstraint("one", name="one_row"),
        CheckConstraint("mode IN ('READY','REDUCING','CLOSE_ONLY','HALTED','FLATTENING')", name="mode_known"),
    )


# ---------------------------------------------------------------- what can be proven


class AuditHead(LedgerTable, table=True):
    """The newest link of the chain; locked by every append, so the sequence has no gaps."""

    __tablename__ = "audit_head"
    one: bool = Field(primary_key=True, default=True)
    seq: int = Field(sa_type=BigInteger)
    hash: bytes = Field(sa_type=LargeBinary)


class AuditLog(LedgerTable, table=True):
    """Append-only hash chain. ``body`` is the JSON text exactly as hashed."""

    __tablename__ = "audit_log"
    seq: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    at: dt.datetime = _time()
    actor: str
    kind: str = Field(index=True)
    ref: str = Field(index=True)
    body: str = Field(sa_column=Column(Text, nullable=False))
    prev_hash: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary, unique=True)


class ReconciliationRun(LedgerTable, table=True):
    """A comparison of ledger and broker over the union of symbols, orders and cash."""

    __tablename__ = "reconciliation_run"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    at: dt.datetime = _time()
    market_time: dt.datetime = _time()
    occasion: str
    """``start``, ``running``, ``reconnect``, ``close`` or ``manual``."""
    matched: bool
    ledger_cash: Decimal = _money()
    broker_cash: Decimal = _money()
    compared: dict[str, Any] = _json()
    """``{"positions": n, "orders": n, "fills_booked": n, "fees_booked": n}``."""


class ReconciliationBreak(LedgerTable, table=True):
    """One difference a reconciliation could not explain."""

    __tablename__ = "reconciliation_break"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    run_id: uuid.UUID = Field(foreign_key="ledger.reconciliation_run.id", index=True)
    kind: str
    """``position``, ``cash``, ``order`` or ``foreign_order``."""
    ref: str
    ledger_value: str
    broker_value: str
    explanation: str = ""


class Alert(LedgerTable, table=True):
    """Something a person must know. Written by whoever notices; delivered by the notifier."""

    __tablename__ = "alert"
    id: uuid.UUID = Field(default_factory=uuid.uuid4, primary_key=True)
    at: dt.datetime = _time()
    severity: str
    """``info``, ``warning`` or ``critical``."""
    kind: str
    """``breach``, ``kill``, ``validation_failed``, ``reconciliation_break``, ``feed_stale``, ``nightly`` ..."""
    title: str
    body: str
    ref: str = ""
    delivered_at: dt.datetime | None = _optional_time()
    attempts: int = 0
    last_error: str = ""
    __table_args__ = (CheckConstraint("severity IN ('info','warning','critical')", name="severity"),)
