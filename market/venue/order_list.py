"""GET /v2/orders: which orders, in which order, rolled up or flat."""

from __future__ import annotations

from typing import Any

from market.venue.account import Account
from market.venue.messages import truth
from market.venue.orders import Order
from market.venue.refusals import invalid
from market.venue.timestamps import parse_moment
from market.venue.views import order_view

LIMIT_DEFAULT, LIMIT_MAX = 50, 500


def list_orders(account: Account, query: dict[str, str]) -> list[dict[str, Any]]:
    """The rows a query asks for; Refusal 422 for a value outside its set.

    `after` and `until` are exclusive on submitted_at; there is no page token, callers page by time.
    """
    status = query.get("status") or "open"
    if status not in ("open", "closed", "all"):
        raise invalid("status must be one of open, closed, all")
    direction = query.get("direction") or "desc"
    if direction not in ("asc", "desc"):
        raise invalid("direction must be one of asc, desc")
    side = query.get("side")
    if side and side not in ("buy", "sell"):
        raise invalid("invalid side")
    try:
        limit = int(query.get("limit") or LIMIT_DEFAULT)
    except ValueError:
        raise invalid("limit must be an integer") from None
    if not 1 <= limit <= LIMIT_MAX:
        raise invalid(f"limit must be between 1 and {LIMIT_MAX}")
    nested = truth(query.get("nested"))
    symbols = {symbol for symbol in (query.get("symbols") or "").split(",") if symbol}
    try:
        after = parse_moment(query["after"]) if query.get("after") else None
        until = parse_moment(query["until"]) if query.get("until") else None
    except (ValueError, OverflowError):
        raise invalid("invalid date format") from None
    classes = {name for name in (query.get("asset_class") or "").split(",") if name}

    rows: list[Order] = account.open_list() if status == "open" else list(account.orders.values())
    if nested:
        rows = [
            order for order in rows if order.parent is None or (status == "open" and not order.parent.is_open)
        ]
    rows = [
        order
        for order in rows
        if (status != "closed" or not order.is_open)
        and (not side or order.side == side)
        and (not symbols or order.symbol in symbols)
        and (after is None or order.submitted_at > after)
        and (until is None or order.submitted_at < until)
    ]
    if classes and classes.isdisjoint(("us_equity", "all")):
        rows = []
    rows.sort(key=lambda order: (order.submitted_at, order.sequence), reverse=direction == "desc")
    for key, take_before in (("before_order_id", True), ("after_order_id", False)):
        anchor = account.orders.get(query.get(key) or "")
        if query.get(key) and anchor is None:
            raise invalid(f"{key} does not name an order")
        if anchor is not None:
            rows = [
                order
                for order in rows
                if ((order.sequence < anchor.sequence) if take_before else (order.sequence > anchor.sequence))
            ]
    return [order_view(order, nested=nested) for order in rows[:limit]]
