"""An order and the one table of its life. Everything that decides which status may follow which is here.

Source: section 2.6 of the venue specification (Alpaca's order life cycle). `open` means: not terminal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from market.venue.decimals import ZERO

_LIVE_NEXT = frozenset(
    [
        "partially_filled",
        "filled",
        "done_for_day",
        "canceled",
        "expired",
        "pending_cancel",
        "pending_replace",
        "replaced",
        "rejected",
        "suspended",
        "stopped",
    ]
)
_WAITING = frozenset({"accepted", "new", "held", "accepted_for_bidding", "calculated"})
TRANSITIONS: dict[str, frozenset[str]] = {
    "accepted": frozenset({"pending_new", "new", "held", "accepted_for_bidding"}) | _LIVE_NEXT,
    "pending_new": frozenset({"accepted", "new", "held"}) | _LIVE_NEXT,
    # Entry for its cross has ended; what the cross leaves is canceled.
    "accepted_for_bidding": frozenset({"new"}) | _LIVE_NEXT,
    "held": frozenset({"accepted", "new"}) | _LIVE_NEXT,
    "new": frozenset({"accepted_for_bidding"}) | _LIVE_NEXT,
    "partially_filled": _LIVE_NEXT,
    # Set aside by the exchange: open, and it does not trade.
    "suspended": frozenset({"new"}) | _LIVE_NEXT,
    # Its trade is guaranteed and yet to come.
    "stopped": _LIVE_NEXT,
    # A request that loses its race goes back to where the order was.
    "pending_cancel": frozenset({"pending_new"}) | _WAITING | _LIVE_NEXT,
    "pending_replace": _WAITING | _LIVE_NEXT,
    # The day's part is over; a gtc order comes back the next morning, a day order does not.
    "done_for_day": frozenset(
        {"accepted", "new", "partially_filled", "pending_cancel", "canceled", "expired", "calculated"}
    ),
    # The day's part is settled as well, if there was one.
    "calculated": frozenset({"partially_filled", "pending_cancel", "canceled", "expired"}),
    "filled": frozenset(),
    "canceled": frozenset(),
    "expired": frozenset(),
    "replaced": frozenset(),
    "rejected": frozenset(),
}
"""status -> statuses that may follow it. A status may always follow itself while the order is open."""

TERMINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
WORKING = frozenset({"new", "partially_filled", "pending_cancel", "pending_replace", "stopped"})
"""Statuses in which the order can trade."""
REPLACEABLE = frozenset({"new", "partially_filled", "held"})

ORDER_TYPES = ("market", "limit", "stop", "stop_limit", "trailing_stop")
TIMES_IN_FORCE = ("day", "gtc", "opg", "cls", "ioc", "fok")
ORDER_CLASSES = ("", "simple", "bracket", "oco", "oto")

_STAMP = {
    "filled": "filled_at",
    "expired": "expired_at",
    "canceled": "canceled_at",
    "rejected": "failed_at",
    "replaced": "replaced_at",
}


class ForbiddenTransition(AssertionError):
    """The engine tried what the table forbids: a bug of the venue, never an answer to a client."""


@dataclass(slots=True, eq=False)
class Order:
    """One order. Money and shares are Decimal, times venue nanoseconds; `account` is the account's number."""

    id: str
    client_order_id: str
    account: int
    sequence: int
    asset_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    created_at: int
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None
    extended_hours: bool = False
    order_class: str = ""
    position_intent: str | None = None
    status: str = "pending_new"
    updated_at: int = 0
    submitted_at: int = 0
    filled_at: int | None = None
    expired_at: int | None = None
    canceled_at: int | None = None
    failed_at: int | None = None
    replaced_at: int | None = None
    expires_at: int | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    legs: list[Order] = field(default_factory=list)
    parent: Order | None = None
    # What the engine keeps for itself.
    reserved: Decimal = ZERO
    "USD of buying power this order holds."
    holds: Decimal = ZERO
    "Shares of the position this order holds."
    in_book: bool = False
    resting: bool = False
    "It was not marketable when it came to the book: it makes, it does not take."
    triggered: bool = False
    "A stop that has been elected."
    collar_ticks: int = 0
    "The worst price a buy without limit may pay, 0 for none."
    queue_ahead: int | None = None
    "Displayed shares in front of it at its price; None until it is at the touch."
    before_pending: str = ""
    "Status to go back to when a cancel or replace fails."
    pending_replacement: Order | None = None
    calculated_qty: Decimal = ZERO
    "Shares of it that a day's settlement has dealt with."
    shown: dict[str, Any] | None = None
    "The part of its view that never changes, once it has been shown."
    doomed: bool = False
    "It will be rejected after its acknowledgement and never reaches a book."

    def __post_init__(self) -> None:
        self.updated_at = self.submitted_at = self.created_at

    @property
    def is_open(self) -> bool:
        """Whether it may still change: a day order that is done for its only day does not."""
        return self.status not in TERMINAL and not (
            self.status == "done_for_day" and self.time_in_force != "gtc"
        )

    @property
    def is_buy(self) -> bool:
        """Whether it buys."""
        return self.side == "buy"

    @property
    def is_active(self) -> bool:
        """Whether it wants to trade now: not a stop that still waits for its price."""
        return self.triggered or self.type in ("market", "limit")

    @property
    def filled_avg_price(self) -> Decimal | None:
        """Sum of price x shares over shares, to nine decimals at most; None before the first fill."""
        if not self.filled_qty:
            return None
        return (self.filled_value / self.filled_qty).quantize(Decimal("1e-9"))

    @property
    def left(self) -> Decimal:
        """Shares still to trade of a quantity order (0 for a notional one, whose shares are not known)."""
        return ZERO if self.qty is None else self.qty - self.filled_qty

    def who(self) -> dict[str, Any]:
        """What a fault's filter may look at."""
        return {"symbol": self.symbol, "side": self.side, "account": self.account}

    def move(self, status: str, t: int) -> None:
        """Go to `status` at `t` and stamp it; ForbiddenTransition if the table does not allow it."""
        if status != self.status or status in TERMINAL:
            if status not in TRANSITIONS[self.status]:
                raise ForbiddenTransition(f"order {self.id}: {self.status} -> {status}")
            self.status = status
        self.updated_at = max(self.updated_at, t)
        stamp = _STAMP.get(status)
        if stamp:
            setattr(self, stamp, t)
