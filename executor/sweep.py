"""What the broker shows, turned into bookings and evidence: one path for stream, sweep and recovery.

A fill is keyed by its order and the order's cumulative quantity after it (``<broker order>:<cum>``).
Both the stream (``order.filled_qty``) and the activities (``cum_qty``) carry that pair, so the same
execution gets the same key whichever channel brings it first; the vendor does not promise that its
execution ids agree between the two.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from executor.broker import Raw, parse_time
from executor.journal import Journal

# Activity types that move cash only → account of the counter-posting.
CASH_ACTIVITIES = {"FEE": "fees", "CFEE": "fees", "DIV": "dividends", "INT": "interest", "PTC": "fees"}

SHARE_ACTIVITIES = {"SPLIT": "split", "SSP": "split"}
"""Activity types that change the number of shares held → what a person calls them. Others (mergers, spin-offs,
name changes) are left to the comparison, which halts on them: they need a person."""


def fill_key(broker_order_id: str, cumulative_qty: str | Decimal) -> str:
    """The one key of an execution, equal for every channel."""
    return f"{broker_order_id}:{Decimal(cumulative_qty).normalize():f}"


async def book_update(journal: Journal, data: Raw) -> tuple[str, Decimal, Decimal] | None:
    """Book the execution of a trade update; ``(key, qty, price)`` if it was new, else None."""
    if data.get("event") not in ("fill", "partial_fill") or not data.get("qty") or not data.get("price"):
        return None
    order = data["order"]
    key = fill_key(order["id"], order["filled_qty"])
    qty, price = Decimal(data["qty"]), Decimal(data["price"])
    at = parse_time(data["timestamp"])
    fresh = await journal.record_fill(
        key, order["client_order_id"], qty, price, at, "stream", data.get("execution_id")
    )
    return (key, qty, price) if fresh else None


async def book_fill_activity(
    journal: Journal, row: Raw, client_order_id: str
) -> tuple[str, Decimal, Decimal] | None:
    """Book a FILL activity; ``(key, qty, price)`` if it was new, else None."""
    key = fill_key(row["order_id"], row["cum_qty"])
    qty, price = Decimal(row["qty"]), Decimal(row["price"])
    at = parse_time(row["transaction_time"])
    fresh = await journal.record_fill(
        key, client_order_id, qty, price, at, "activities", row["id"].partition("::")[2] or None
    )
    return (key, qty, price) if fresh else None


CORRECTIONS = frozenset({"trade_bust", "trade_correct"})


async def book_correction(journal: Journal, data: Raw) -> tuple[Decimal, Decimal] | None:
    """Book a ``trade_bust`` or ``trade_correct`` update by the broker's execution id.

    Returns the signed shares and the cash it moved, or None if it is known already.
    """
    event, execution = data["event"], data["execution_id"]
    key = f"{event}:{execution}:{data.get('timestamp') or data.get('at') or ''}"
    if event == "trade_bust":
        fresh = await journal.reverse_fill(key, execution, "trade_bust")
    else:
        qty, price = Decimal(data["qty"]), Decimal(data["price"])
        fresh = await journal.correct_fill(key, execution, qty, price, "trade_correct")
    return await journal.moved_by(key) if fresh else None


async def book_share_activity(journal: Journal, row: Raw) -> bool:
    """Book a split by its activity id; False if it is known."""
    return await journal.record_corporate_action(
        row["id"],
        row["symbol"],
        Decimal(row["qty"]),
        Decimal(row.get("net_amount") or 0),
        row["activity_type"],
    )


async def book_cash_activity(journal: Journal, row: Raw) -> Decimal | None:
    """Book a cash activity; its amount if it was new, else None."""
    account = CASH_ACTIVITIES[row["activity_type"]]
    amount = Decimal(row["net_amount"])
    memo = " ".join(
        str(row.get(k) or "") for k in ("activity_type", "activity_sub_type", "description")
    ).strip()
    return amount if await journal.record_cash(row["id"], account, amount, memo) else None


def activities_since(session_day: dt.date) -> dt.date:
    """Where to read activities from: a few days back, because some are posted late."""
    return session_day - dt.timedelta(days=4)
