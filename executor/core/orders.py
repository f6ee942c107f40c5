"""The life of an order, as one table: state × evidence → state. Nothing else is allowed.

Everything that affects an order's state is in this file; ``docs/order-states.md`` is generated from
it and the ledger holds the same edges as data. An outcome we cannot prove is UNKNOWN and stays
fully reserved until the broker's own evidence resolves it (design: ambiguous outcomes).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec


class State(StrEnum):
    """Where an order is, as far as the broker's evidence goes."""

    INTENT = "INTENT"
    SENDING = "SENDING"
    LIVE = "LIVE"
    CANCELING = "CANCELING"
    UNKNOWN = "UNKNOWN"
    DONE = "DONE"
    REJECTED = "REJECTED"
    VOID = "VOID"
    EXPIRED_UNSENT = "EXPIRED_UNSENT"


class Evidence(StrEnum):
    """What was learnt about an order."""

    SEND = "about to be sent"
    VOIDED = "withdrawn before it was sent"
    WORKING = "the broker shows it open"
    ENDED = "the broker shows it filled, canceled, expired or replaced"
    REFUSED = "the broker's definite refusal"
    AMBIGUOUS = "no answer, or one that proves nothing"
    CANCEL_SENT = "a cancel was sent"
    NOT_FOUND = "neither the look-up nor the full list shows it"
    ABSENT = "proven never to have reached the broker"


S, E = State, Evidence
TRANSITIONS: dict[tuple[State, Evidence], State] = {
    (S.INTENT, E.SEND): S.SENDING,
    (S.INTENT, E.VOIDED): S.VOID,
    (S.SENDING, E.WORKING): S.LIVE,
    (S.SENDING, E.ENDED): S.DONE,
    (S.SENDING, E.REFUSED): S.REJECTED,
    (S.SENDING, E.AMBIGUOUS): S.UNKNOWN,
    (S.UNKNOWN, E.WORKING): S.LIVE,
    (S.UNKNOWN, E.ENDED): S.DONE,
    (S.UNKNOWN, E.REFUSED): S.REJECTED,
    (S.UNKNOWN, E.SEND): S.SENDING,
    (S.UNKNOWN, E.AMBIGUOUS): S.UNKNOWN,
    (S.UNKNOWN, E.NOT_FOUND): S.UNKNOWN,
    (S.UNKNOWN, E.ABSENT): S.EXPIRED_UNSENT,
    (S.LIVE, E.WORKING): S.LIVE,
    (S.LIVE, E.CANCEL_SENT): S.CANCELING,
    (S.LIVE, E.ENDED): S.DONE,
    (S.LIVE, E.REFUSED): S.REJECTED,
    (S.CANCELING, E.WORKING): S.LIVE,
    (S.CANCELING, E.CANCEL_SENT): S.CANCELING,
    (S.CANCELING, E.ENDED): S.DONE,
    (S.CANCELING, E.REFUSED): S.REJECTED,
}

TERMINAL = frozenset({S.DONE, S.REJECTED, S.VOID, S.EXPIRED_UNSENT})

# Broker statuses (Alpaca's order life cycle page). One that is not listed proves nothing: the order
# counts as open, because assuming it ended would free its reservation.
ENDED_STATUSES = frozenset({"filled", "canceled", "expired", "replaced", "done_for_day"})
REFUSED_STATUSES = frozenset({"rejected"})


def evidence_of_status(status: str) -> Evidence:
    """What a broker status proves about an order."""
    if status in ENDED_STATUSES:
        return Evidence.ENDED
    if status in REFUSED_STATUSES:
        return Evidence.REFUSED
    return Evidence.WORKING


def next_state(state: State, evidence: Evidence) -> State:
    """The state after the evidence; evidence that has no row leaves the state as it is.

    Late evidence about a terminal order changes nothing here; its fills are booked all the same.
    """
    return TRANSITIONS.get((state, evidence), state)


class WorkingOrder(msgspec.Struct):
    """An order the engine knows. Terms never change; state and fills do."""

    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal
    purpose: str
    signal_id: str | None
    batch_id: str | None
    leg: int
    state: State
    created_ns: int
    filled_qty: Decimal = Decimal(0)
    broker_order_id: str | None = None
    cancel_ns: int | None = None
    """When a cancel was last asked for; not asked again within the retry interval."""

    @property
    def remaining(self) -> Decimal:
        """Shares that may still fill."""
        return self.qty - self.filled_qty

    @property
    def is_open(self) -> bool:
        """Whether it may still fill (UNKNOWN counts as open)."""
        return self.state not in TERMINAL

    @property
    def direction(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self.side == "buy" else -1
