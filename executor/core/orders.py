"""The life of an order, as one table: state × evidence → state. Nothing else is allowed.

Everything that affects an order's state is in this file; ``docs/order-states.md`` is generated from
it and the ledger holds the same edges as data. An outcome we cannot prove is UNKNOWN and stays
fully reserved until the broker's own evidence resolves it (design: ambiguous outcomes).

UNKNOWN ends in one of three ways. The broker shows the order after all; or, after a quarantine in which
it was looked for again and again, the *same* id is sent once more (the broker refuses a second order of
one id, so at most one exists); or it is proven never to have arrived, which takes a closed session.
"""

from __future__ import annotations

import datetime as dt
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
    TRADED = "an execution of it was booked"
    WORKING = "the broker shows it open"
    ENDED = "the broker shows it filled, canceled, expired or replaced"
    REFUSED = "the broker's definite refusal"
    AMBIGUOUS = "no answer, or one that proves nothing"
    CANCEL_SENT = "a cancel was sent"
    NOT_FOUND = "neither the look-up by our id nor the full list shows it"
    ABSENT = "proven never to have reached the broker"


S, E = State, Evidence
TRANSITIONS: dict[tuple[State, Evidence], State] = {
    (S.INTENT, E.SEND): S.SENDING,
    (S.INTENT, E.VOIDED): S.VOID,
    (S.SENDING, E.WORKING): S.LIVE,
    (S.SENDING, E.TRADED): S.LIVE,
    (S.SENDING, E.ENDED): S.DONE,
    (S.SENDING, E.REFUSED): S.REJECTED,
    (S.SENDING, E.AMBIGUOUS): S.UNKNOWN,
    (S.UNKNOWN, E.WORKING): S.LIVE,
    (S.UNKNOWN, E.TRADED): S.LIVE,
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


def evidence_of_status(status: str, time_in_force: str = "day") -> Evidence:
    """What a broker status proves about an order; one good till canceled is only done for the day."""
    if status == "done_for_day" and time_in_force == "gtc":
        return Evidence.WORKING
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


QUARANTINE_NS = 60_000_000_000
"""How long an order stays UNKNOWN at least before its id is sent again."""
QUARANTINE_READS = 3
"""Looks (by id and by the full list) that must all have missed it before that."""
ARRIVAL_MAX_NS = 10_000_000_000
"""Past the send deadline and the longest request: what has not arrived by then is not on its way."""


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A protective leg sent with its entry: a take-profit (limit) or a stop-loss (stop, stop-limit)."""

    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class WorkingOrder(msgspec.Struct):
    """An order the engine knows. Terms never change; state and fills do."""

    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal
    purpose: str
    """``target`` (a signal's), ``flatten`` (an exit), ``protect`` (a stop or a bracket's leg)."""
    signal_id: str | None
    batch_id: str | None
    leg: int
    state: State
    created_ns: int
    filled_qty: Decimal = Decimal(0)
    broker_order_id: str | None = None
    cancel_ns: int | None = None
    """When a cancel was last asked for; not asked again within the retry interval."""
    order_type: str = "limit"
    time_in_force: str = "day"
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    order_class: str = ""
    take_profit: Leg | None = None
    stop_loss: Leg | None = None
    extended_hours: bool = False
    strategy: str = ""
    parent_client_order_id: str | None = None
    """Of a bracket's leg: its entry."""
    replaces_client_order_id: str | None = None
    """The order the broker was asked to go on with as this one."""
    worst_price: Decimal | None = None
    expires_at: dt.datetime | None = None
    """Close of the session a day order belongs to."""
    sent_ns: int = 0
    unknown_ns: int = 0
    """Since when its fate has been unknown."""
    looks: int = 0
    """How often it was looked for since then, and not found."""
    sends: int = 1
    ending: Decimal | None = None
    """The broker shows it ended with so many shares filled, and not all of those are booked yet."""
    replaces: int = 0
    """How often it has been re-priced by replacement, its predecessors included."""

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

    def may_be_sent_again(self, now_ns: int) -> bool:
        """Quarantine is over: unknown for a minute, and looked for three times in vain."""
        return (
            self.state is State.UNKNOWN
            and self.looks >= QUARANTINE_READS
            and now_ns - self.unknown_ns >= QUARANTINE_NS
        )

    def proven_absent(self, market_time: dt.datetime, now_ns: int, session_close: dt.datetime | None) -> bool:
        """Whether "not found" is by now a proof that it never arrived and never can.

        The look-up and the full list do not show it (that is the evidence), nothing of it can be on its
        way any more, and the session of a day order has closed. That every process which might have
        sent it is dead, or is this one, the epoch fence has seen to.
        """
        closes = self.expires_at or session_close
        return (
            self.time_in_force != "gtc"
            and closes is not None
            and market_time >= closes
            and now_ns - self.sent_ns >= ARRIVAL_MAX_NS
        )
