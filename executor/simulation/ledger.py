"""The ledger in memory: what survives a crash, and the few things it refuses.

It holds what Postgres holds for the executor and keeps its own copy of the order table (written from
the design, not imported), so that an engine which moves an order along an edge of its own is caught.
It does *not* check exposure caps, as the real one does: here the engine's gate stands alone.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal

from executor.core.commands import Intent, Record
from executor.core.events import Batch
from executor.core.modes import Mode
from executor.core.orders import State

ZERO = Decimal(0)

EDGES: dict[str, str] = {
    "INTENT": "SENDING VOID",
    "SENDING": "LIVE UNKNOWN DONE REJECTED",
    "UNKNOWN": "LIVE DONE REJECTED SENDING EXPIRED_UNSENT",
    "LIVE": "CANCELING DONE REJECTED",
    "CANCELING": "LIVE DONE REJECTED",
    "DONE": "", "REJECTED": "", "VOID": "", "EXPIRED_UNSENT": "",
}  # fmt: skip
"""State → states it may go to next: reliability plan, order state machine."""


class LedgerRefused(Exception):
    """The ledger would have raised: a transition that the table does not have, a second fill of a key."""


@dataclass
class Row:
    """One order's row."""

    intent: Intent
    epoch: int
    state: str = "INTENT"
    filled: Decimal = ZERO
    broker_order_id: str | None = None
    history: list[str] = field(default_factory=list)


@dataclass
class Ledger:
    """Everything that is still there after a kill -9."""

    cash: Decimal
    positions: dict[str, Decimal]
    limits: dict[str, str]
    limit_version: int = 1
    epoch: int = 0
    mode: Mode = Mode.READY
    killed: bool = False
    flatten: bool = False
    rows: dict[str, Row] = field(default_factory=dict)
    fills: dict[str, tuple[str, Decimal, Decimal]] = field(default_factory=dict)
    activities: set[str] = field(default_factory=set)
    batches: dict[str, Batch] = field(default_factory=dict)
    """Approved and claimed, by id."""
    finished: dict[str, str] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    """Strategy → id of its last batch."""
    alerts: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    day: dt.date | None = None
    day_open_equity: Decimal | None = None
    high_water_mark: Decimal | None = None
    worst_drawdown: Decimal = ZERO
    refuse_next: list[str] = field(default_factory=list)
    """Reasons to refuse the next placements with, once each."""

    def place(self, intent: Intent) -> tuple[bool, str]:
        """Decision, intent and reservation; the mode, the kill and the limit version have a say here too."""
        cid = intent.client_order_id
        assert cid is not None
        if cid in self.rows:
            return True, "already placed"
        if self.refuse_next:
            return False, self.refuse_next.pop(0)
        if why := self._mode_refusal(intent):
            return False, why
        if intent.limit_version != self.limit_version and not self.only_reduces(intent):
            return False, f"limits changed: version {self.limit_version} is in force"
        self.rows[cid] = Row(intent, self.epoch, history=["INTENT"])
        return True, ""

    def only_reduces(self, intent: Intent, *, apart_from: str = "") -> bool:
        """Whether the order, beside all others on its side, can only bring the position nearer to zero."""
        held = self.positions.get(intent.symbol, ZERO) * (1 if intent.side == "sell" else -1)
        same = sum(
            (
                r.intent.qty - r.filled
                for cid, r in self.rows.items()
                if r.intent.symbol == intent.symbol
                and r.intent.side == intent.side
                and EDGES[r.state]
                and cid != apart_from
            ),
            ZERO,
        )
        return held > 0 and intent.qty + same <= held

    def _mode_refusal(self, intent: Intent, *, apart_from: str = "") -> str:
        reducing = self.only_reduces(intent, apart_from=apart_from)
        if self.killed and not (self.mode is Mode.FLATTENING and reducing):
            return "killed"
        if self.mode is Mode.HALTED:
            return "mode HALTED"
        if self.mode in (Mode.CLOSE_ONLY, Mode.FLATTENING) and not reducing:
            return f"mode {self.mode} takes only reducing orders"
        return ""

    def record(self, command: Record) -> str:
        """Write a state; the state held afterwards (VOID where the mode withdrew what was about to be sent)."""
        row = self.rows[command.client_order_id]
        state = str(command.state)
        withdrawn = self._mode_refusal(row.intent, apart_from=command.client_order_id)
        if row.state == "INTENT" and state == "SENDING" and withdrawn:
            state = "VOID"
        if state != row.state:
            if state not in EDGES[row.state].split():
                raise LedgerRefused(
                    f"order {command.client_order_id}: transition {row.state} -> {state} is not allowed "
                    f"({command.reason})"
                )
            row.history.append(state)
            row.state = state
        row.broker_order_id = command.broker_order_id or row.broker_order_id
        return row.state

    def record_fill(self, key: str, client_order_id: str, qty: Decimal, price: Decimal) -> bool:
        """Book one execution; False if it was booked before."""
        if key in self.fills:
            return False
        self.fills[key] = (client_order_id, qty, price)
        row = self.rows[client_order_id]
        row.filled += qty
        signed = qty if row.intent.side == "buy" else -qty
        self.move(row.intent.symbol, signed, -signed * price)
        return True

    def move(self, symbol: str, shares: Decimal, cash: Decimal) -> None:
        """Post shares and cash."""
        after = self.positions.get(symbol, ZERO) + shares
        if after:
            self.positions[symbol] = after
        else:
            self.positions.pop(symbol, None)
        self.cash += cash

    def tighten(self, mode: Mode) -> None:
        """The stricter of two modes stays; from FLATTENING only to HALTED."""
        ranks = list(Mode)
        if ranks.index(mode) > ranks.index(self.mode):
            self.mode = mode

    def kill(self, *, flatten: bool) -> None:
        """A person's stop, as committed."""
        self.killed, self.flatten = True, self.flatten or flatten
        self.mode = Mode.FLATTENING if self.flatten else Mode.HALTED

    def rearm(self) -> None:
        """A person's loosening."""
        self.killed = self.flatten = False
        self.mode = Mode.READY
        self.worst_drawdown = ZERO

    def open_states(self, client_order_id: str) -> bool:
        """Whether the ledger still counts the order as one that may fill."""
        return bool(EDGES[self.rows[client_order_id].state])

    def legs_of(self, signal_id: str) -> int:
        """Orders already sent for a signal."""
        return max((r.intent.leg for r in self.rows.values() if r.intent.signal_id == signal_id), default=0)

    def state_of(self, client_order_id: str) -> State:
        """As the engine's enumeration has it."""
        return State(self.rows[client_order_id].state)
