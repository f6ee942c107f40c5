"""Account activities: fills, fees and other bookings, newest first, paged by the id of the last row seen."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from market.venue.account import Account
from market.venue.decimals import decimal_text
from market.venue.orders import Order
from market.venue.refusals import invalid
from market.venue.timestamps import activity_prefix, new_york_date, parse_moment, rfc3339

PAGE_SIZE_MAX = 100
TRADE_TYPES = ("FILL",)
FEE_NAMES = {
    "REG": "REG fee for proceed of {day}",
    "TAF": "TAF fee for proceed of {day}",
    "CAT": "CAT fee for proceed of {day}",
}


def fill_activity(
    identity: str, order: Order, qty: Decimal, price: Decimal, t: int, short: bool
) -> dict[str, Any]:
    """One execution. The id begins with New York local time; the rest is random, as the real one is."""
    return {
        "activity_type": "FILL",
        "id": f"{activity_prefix(t)}::{identity}",
        "cum_qty": decimal_text(order.filled_qty),
        "leaves_qty": decimal_text(order.left),
        "order_id": order.id,
        "order_status": order.status,
        "price": decimal_text(price),
        "qty": decimal_text(qty),
        "side": "sell_short" if short else order.side,
        "symbol": order.symbol,
        "transaction_time": rfc3339(t),
        "type": "fill" if order.status == "filled" else "partial_fill",
    }


def cash_activity(
    identity: str,
    kind: str,
    sub_type: str,
    amount: Decimal,
    t: int,
    description: str,
    *,
    symbol: str | None = None,
    qty: Decimal | None = None,
    per_share: Decimal | None = None,
    status: str = "executed",
) -> dict[str, Any]:
    """A booking that is not a trade; `amount` is signed."""
    day = new_york_date(t)
    row: dict[str, Any] = {
        "activity_type": kind,
        "activity_sub_type": sub_type,
        "id": f"{activity_prefix(t)}::{identity}",
        "date": day.isoformat(),
        "created_at": rfc3339(t),
        "net_amount": decimal_text(amount),
        "description": description,
        "status": status,
        "currency": "USD",
        "group_id": None,
    }
    if symbol is not None:
        row["symbol"] = symbol
    if qty is not None:
        row["qty"] = decimal_text(qty)
    if per_share is not None:
        row["per_share_amount"] = decimal_text(per_share)
    return row


def fee_description(kind: str, day: date) -> str:
    """What a fee row says."""
    return FEE_NAMES[kind].format(day=day.isoformat())


def list_activities(account: Account, query: dict[str, str], types: list[str] | None) -> list[dict[str, Any]]:
    """The rows a query asks for; Refusal 422 for a bad date, direction, size or token."""
    category = query.get("category")
    asked = [kind for kind in query.get("activity_types", "").split(",") if kind]
    if category and (asked or types):
        raise invalid("category cannot be used with activity_types")
    wanted = types or asked or None
    direction = query.get("direction", "desc")
    if direction not in ("asc", "desc"):
        raise invalid("direction must be one of asc, desc")
    try:
        size = int(query.get("page_size") or PAGE_SIZE_MAX)
    except ValueError:
        raise invalid("page_size must be an integer") from None
    if not 1 <= size <= PAGE_SIZE_MAX:
        raise invalid(f"page_size must be between 1 and {PAGE_SIZE_MAX}")
    rows = account.activities
    if wanted:
        rows = [row for row in rows if row["activity_type"] in wanted]
    if category == "trade_activity":
        rows = [row for row in rows if row["activity_type"] in TRADE_TYPES]
    elif category == "non_trade_activity":
        rows = [row for row in rows if row["activity_type"] not in TRADE_TYPES]
    elif category:
        raise invalid("category must be one of trade_activity, non_trade_activity")
    order_id = query.get("order_id")
    if order_id:
        rows = [row for row in rows if row.get("order_id") == order_id]
    try:
        if query.get("date"):
            day = query["date"][:10]
            date.fromisoformat(day)
            rows = [row for row in rows if _day(row) == day]
        if query.get("after"):
            after = parse_moment(query["after"])
            rows = [row for row in rows if _moment(row) > after]
        if query.get("until"):
            until = parse_moment(query["until"])
            rows = [row for row in rows if _moment(row) < until]
    except (ValueError, OverflowError):
        raise invalid("invalid date format") from None
    rows = sorted(rows, key=lambda row: row["id"], reverse=direction == "desc")
    token = query.get("page_token")
    if token:
        rows = [row for row in rows if (row["id"] < token if direction == "desc" else row["id"] > token)]
    return rows[:size]


def _moment(row: dict[str, Any]) -> int:
    return parse_moment(row.get("transaction_time") or row["created_at"])


def _day(row: dict[str, Any]) -> str:
    return row.get("date") or new_york_date(parse_moment(row["transaction_time"])).isoformat()
