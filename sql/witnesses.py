"""What the broker's own bytes say was executed, held against the fills that were booked.

The rebuild of the book (:mod:`sql.rebuild`) believes the chain's FILL entries. Here the messages themselves
are read again, by code that shares nothing with what booked them: every execution they tell of one of our
orders must be booked with that quantity and price, and every fill must be told by a message.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from sql.rebuild import Difference

UNDER_WAY = dt.timedelta(minutes=1)
"""A message this young may be on its way to being booked by a running executor."""


@dataclass(frozen=True)
class Execution:
    """One execution as a message tells it; ``key`` is the broker's order id and the cumulative quantity after it."""

    key: str
    order_id: str
    qty: Decimal
    price: Decimal
    message: int
    received_at: dt.datetime


def executions_told(session: Session) -> Iterator[Execution]:
    """Every execution in the frames and activity lists that are kept, in the order they came."""
    rows = session.execute(
        text(
            "SELECT message, received_at, body FROM ledger.v_messages WHERE direction = 'in' AND (channel IN ('trade_updates', "
            "'activities') OR (request LIKE 'GET /v2/account/activities%' AND status = 200)) ORDER BY received_at, message"
        ),
        execution_options={"yield_per": 500},
    )
    for row in rows:
        yield from _in_body(bytes(row.body), row.message, row.received_at)


def compare(session: Session) -> tuple[int, list[Difference]]:
    """How many fills are told by a message, and where messages and fills disagree.

    Fills from before the oldest message that is kept are passed over (its month may have been dropped), and so
    are those inferred or corrected, which have keys of their own.
    """
    booked = {
        row.execution_id: row
        for row in session.execute(
            text(
                "SELECT execution_id, qty, price, booked_at FROM ledger.fill "
                "WHERE execution_id NOT LIKE 'inf:%' AND source <> 'correction'"
            )
        )
    }
    ours = set(session.execute(text("SELECT broker_order_id FROM ledger.orders")).scalars())
    oldest, now = session.execute(
        text("SELECT min(received_at), clock_timestamp() FROM ledger.raw_message")
    ).one()
    told: set[str] = set()
    found: dict[tuple[str, str], Difference] = {}
    for execution in executions_told(session):
        fill = booked.get(execution.key)
        said = f"{_shown(execution.qty)} at {_shown(execution.price)} (message {execution.message})"
        if fill is not None:
            told.add(execution.key)
            if (fill.qty, fill.price) != (execution.qty, execution.price):
                shown = f"{_shown(fill.qty)} at {_shown(fill.price)}"
                found[execution.key, said] = Difference("fill and message", execution.key, said, shown)
        elif execution.order_id in ours and execution.received_at < now - UNDER_WAY:
            found[execution.key, ""] = Difference("execution told", execution.key, said, "not booked")
    for key, fill in sorted(booked.items()):
        if key not in told and oldest is not None and fill.booked_at >= oldest:
            shown = f"{_shown(fill.qty)} at {_shown(fill.price)}"
            found[key, "untold"] = Difference("fill", key, "no message of the broker tells of it", shown)
    return len(told), list(found.values())


def _in_body(body: bytes, message: int, at: dt.datetime) -> Iterator[Execution]:
    try:
        shown = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError):
        return
    for row in shown if isinstance(shown, list) else [shown]:
        execution = _execution(row, message, at) if isinstance(row, dict) else None
        if execution is not None:
            yield execution


def _execution(row: dict[str, Any], message: int, at: dt.datetime) -> Execution | None:
    """An execution out of a FILL activity or a fill's frame; None for anything else."""
    try:
        if row.get("activity_type") == "FILL":
            order_id, after = row["order_id"], row["cum_qty"]
        else:
            row = row["data"]
            if row["event"] not in ("fill", "partial_fill"):
                return None
            order_id, after = row["order"]["id"], row["order"]["filled_qty"]
        key = f"{order_id}:{_shown(Decimal(after))}"
        return Execution(key, str(order_id), Decimal(row["qty"]), Decimal(row["price"]), message, at)
    except (KeyError, TypeError, ValueError, InvalidOperation):
        return None


def _shown(value: Decimal) -> str:
    return f"{value.normalize():f}"
