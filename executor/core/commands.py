"""What the engine asks the shell to do, in this order and no other."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec

from executor.core.modes import Mode
from executor.core.orders import State


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all commands."""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """An order as decided, with everything it was decided on."""

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
    inputs: dict[str, Any]
    checks: list[dict[str, Any]]
    cost_estimate: dict[str, float]
    order_type: str = "limit"
    time_in_force: str = "day"


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
    """Send the order, once; answered by ``OrderEvidence``."""

    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal


class Cancel(Command, frozen=True, kw_only=True):
    """Ask the broker to cancel; the answer comes as evidence."""

    client_order_id: str
    broker_order_id: str


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
