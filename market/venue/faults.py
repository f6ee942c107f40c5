"""Misbehaviour on request: what can go wrong, when, and to whom. Section 4 of the specification.

A fault has a `kind` (the table below), a filter (whom), a trigger (when) and parameters (how). It comes from a TOML
plan or from the control address. Triggers count the occasions that pass the filter, from 1:

    at = 7  or  at = [7, 9]     exactly these occasions
    every = 5                   each fifth
    probability = 0.1           by the seed, the same in every run
    time = "10:05:30"           at this New York time (kinds that need no occasion)
    (none)                      every occasion
    times = 3                   at most so often; 1 for `at`, else unlimited

Filters: method, path (a prefix), account, symbol, side, event, socket.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from market.venue.errors import FaultPlanError
from market.venue.path import seed_of

REQUEST, UPDATE, ORDER, CANCEL, LATE_CANCEL, REPLACE, EXECUTION, HANDSHAKE, NOW = (
    "request", "update", "order", "cancel", "late cancel", "replace", "execution", "handshake", "now",
)  # fmt: skip
_FILTERS = {
    REQUEST: {"method", "path", "account"},
    UPDATE: {"event", "symbol", "side", "account"},
    ORDER: {"symbol", "side", "account"},
    CANCEL: {"symbol", "side", "account"},
    LATE_CANCEL: {"symbol", "side", "account"},
    REPLACE: {"symbol", "side", "account"},
    EXECUTION: {"symbol", "side", "account"},
    HANDSHAKE: {"socket"},
    NOW: set(),
}
_TRIGGERS = {"at", "every", "probability", "times"}


@dataclass(frozen=True)
class Kind:
    """What a kind of fault is: on which occasion it acts, its parameters with defaults (None: required)."""

    point: str
    meaning: str
    parameters: dict[str, Any] = field(default_factory=dict)
    catalogue: str = ""


KINDS: dict[str, Kind] = {
    # HTTP, before the exchange sees the request
    "error": Kind(REQUEST, "answer an error instead of doing it", {"status": 504, "body": "json", "headers": True}, "F2 F25"),
    "hang": Kind(REQUEST, "do nothing and never answer", {"seconds": 3600.0}, ""),
    "reset": Kind(REQUEST, "do nothing and cut the connection", {}, ""),
    "delay": Kind(REQUEST, "wait before doing it", {"seconds": 1.0}, ""),
    # HTTP, after it was done
    "accept_then_error": Kind(REQUEST, "do it and answer an error", {"status": 504, "body": "html", "headers": True}, "F1"),
    "accept_then_hang": Kind(REQUEST, "do it and never answer", {"seconds": 3600.0}, "F1"),
    "accept_then_reset": Kind(REQUEST, "do it and cut the connection", {}, "F1"),
    "accept_then_delay": Kind(REQUEST, "do it, answer late", {"seconds": 1.0}, "F3"),
    "accept_then_kill": Kind(REQUEST, "do it and send a signal to a process", {"pid": None, "signal": 9}, ""),
    "early_update": Kind(REQUEST, "its trade updates arrive before the answer", {"seconds": 0.05}, "F3"),
    "truncate": Kind(REQUEST, "do it and answer half of the JSON with 200", {}, ""),
    "drip": Kind(REQUEST, "do it and answer a byte at a time", {"seconds_per_byte": 1.0}, ""),
    "late_lookup": Kind(REQUEST, "GET of an order younger than so many venue seconds answers 404", {"seconds": 30.0}, ""),
    # trade updates
    "drop_update": Kind(UPDATE, "never send it", {}, "F5"),
    "duplicate_update": Kind(UPDATE, "send it more than once", {"copies": 2}, "F4"),
    "delay_update": Kind(UPDATE, "send it so many wall seconds late", {"seconds": 1.0}, "F4"),
    "reorder_update": Kind(UPDATE, "send it after the next one", {}, "F4"),
    "withhold_update": Kind(UPDATE, "send it only when the order is cancelled", {}, "F5"),
    "null_execution_id": Kind(UPDATE, "send it without execution id", {}, "F4"),
    "cumulative_qty": Kind(UPDATE, "a fill's qty is the total so far", {}, "F6"),
    "unknown_status": Kind(UPDATE, "an order status nobody documents", {"status": "under_review"}, ""),
    # orders
    "reject_after_new": Kind(ORDER, "reject it so many venue seconds after it was acknowledged", {"seconds": 1.0}, "F9"),
    "suspend_order": Kind(NOW, "an account's working orders in a symbol are suspended for so many venue seconds",
                          {"account": 0, "symbol": None, "seconds": 60.0}),
    "stop_order": Kind(NOW, "they are stopped: a trade at their price or better is guaranteed, so many venue seconds later",
                       {"account": 0, "symbol": None, "seconds": 5.0}),
    "stuck_cancel": Kind(CANCEL, "pending_cancel for so many venue seconds", {"seconds": 120.0}, "F11"),
    "fill_wins_cancel": Kind(CANCEL, "the rest is filled before the cancel takes effect", {}, "F10"),
    "late_cancel_accepted": Kind(LATE_CANCEL, "204 to the cancel of an order that is over, and nothing happens", {}, "F10"),
    "cancel_rejected": Kind(CANCEL, "the cancel is refused later: order_cancel_rejected", {}, "F10"),
    "canceled_and_filled": Kind(CANCEL, "204, filled, and a canceled event as well", {}, "F10"),
    "not_sent_but_replaced": Kind(REPLACE, "422 `not sent to exchange yet`, and it is replaced", {}, "F12"),
    "replace_rejected": Kind(REPLACE, "200, and then the new order is rejected", {}, "F12"),
    "split_fill": Kind(EXECUTION, "one execution becomes several in one millisecond", {"parts": 3}, "F7"),
    "late_activity": Kind(EXECUTION, "the FILL activity appears so many venue seconds late", {"seconds": 60.0}, "F8"),
    # sockets
    "refuse_handshake": Kind(HANDSHAKE, "answer the WebSocket handshake with an HTTP error", {"status": 429}, "F15"),
    "connection_limit": Kind(HANDSHAKE, "only so many sessions a feed: 406, or max_connections", {"sessions": 1}, "F16 F28"),
    "ghost_session": Kind(HANDSHAKE, "a dead session counts for so many wall seconds", {"seconds": 90.0}, "F16"),
    "insufficient_subscription": Kind(HANDSHAKE, "409 (or 408, 411, 500) at authentication", {"code": 409}, ""),
    "mute": Kind(NOW, "the socket stays open and says nothing", {"socket": "trading", "seconds": 0.0}, "F13"),
    "close": Kind(NOW, "close the sockets with this code", {"socket": "trading", "code": 1000}, "F13 F28"),
    "abort": Kind(NOW, "cut the sockets without a close frame", {"socket": "trading"}, "F13"),
    "half_open": Kind(NOW, "neither read nor write any more, answer no ping", {"socket": "trading"}, "F13"),
    "slow_client": Kind(NOW, "407 slow client, then disconnect", {}, "F17"),
    # the account
    "foreign_order": Kind(NOW, "somebody trades by hand in this account",
                          {"account": 0, "symbol": None, "side": "buy", "qty": "1", "type": "market", "limit_price": ""}),
    "bust_execution": Kind(NOW, "the newest execution is taken back", {"account": 0, "symbol": ""}, ""),
    "correct_execution": Kind(NOW, "the newest execution gets another price", {"account": 0, "symbol": "", "price": None}, ""),
    "wrong_positions": Kind(NOW, "GET positions omits or scales", {"account": 0, "symbol": "", "factor": "0", "seconds": 0.0}),
    "block_trading": Kind(NOW, "trading_blocked on or off", {"account": 0, "on": True}),
    "revoke_key": Kind(NOW, "the key is no longer known, or is again", {"account": 0, "on": True}),
    "clock_ahead": Kind(NOW, "the clock endpoints, order times and market data run ahead", {"seconds": 300.0}, "F30"),
    "mixed_offsets": Kind(NOW, "created_at with an offset, submitted_at 90 ms before it", {"on": True}, "F30"),
    # market data
    "halt": Kind(NOW, "trading halt, then a resume",
                 {"symbol": None, "seconds": 300.0, "code": "T1", "luld": False}, "F24"),
    "market_halt": Kind(NOW, "market-wide circuit breaker", {"level": 1, "seconds": 900.0}, "F24"),
    "bad_quote": Kind(NOW, "one wrong quote on the streams",
                      {"symbol": None, "style": "crossed", "factor": 10.0}, ""),
    "bust_print": Kind(NOW, "the last print is cancelled (x)", {"symbol": None}, "F26"),
    "correct_print": Kind(NOW, "the last print is corrected (c)", {"symbol": None, "price": None}, "F26"),
    "late_print": Kind(NOW, "a late print revises the last minute bar (u)", {"symbol": None, "size": 100}, ""),
    "mute_symbol": Kind(NOW, "no quotes of this symbol for so many venue seconds", {"symbol": None, "seconds": 60.0}, "F23"),
    "skip_bars": Kind(NOW, "this share of minute bars is missing", {"share": 0.2}, "F23"),
    "sip_gap": Kind(NOW, "IEX quotes differ from the tape by so many basis points", {"bps": 200.0}, "F23"),
}  # fmt: skip


@dataclass
class Fault:
    """One armed fault and how often it has acted."""

    number: int
    kind: str
    filters: dict[str, Any]
    parameters: dict[str, Any]
    at: tuple[int, ...] = ()
    every: int = 0
    probability: float = 1.0
    times: int = 0
    time: str | None = None
    occasions: int = 0
    fired: int = 0

    def view(self) -> dict[str, Any]:
        """As the control address shows it."""
        return {
            "number": self.number, "kind": self.kind, **self.filters, **self.parameters, "occasions": self.occasions,
            "fired": self.fired,
        }  # fmt: skip

    def concerns(self, context: dict[str, Any]) -> bool:
        """Whether the filter lets this occasion through."""
        for key, wanted in self.filters.items():
            actual = context.get(key)
            if key == "path":
                if not str(actual).startswith(str(wanted)):
                    return False
            elif actual != wanted:
                return False
        return True

    def strikes(self, seed: int) -> bool:
        """Count an occasion and say whether the fault acts on it."""
        self.occasions += 1
        if self.times and self.fired >= self.times:
            return False
        if self.at:
            hit = self.occasions in self.at
        elif self.every:
            hit = self.occasions % self.every == 0
        elif self.probability < 1:
            hit = seed_of(seed, "fault", self.number, self.occasions) % 10**9 < self.probability * 10**9
        else:
            hit = True
        self.fired += hit
        return hit


class FaultPlan:
    """Every armed fault of a venue."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.armed: list[Fault] = []
        self._count = 0
        # Occasions are frequent and faults are few: most look-ups end here.
        self._points: dict[str, list[Fault]] = {}

    def add(self, fields: dict[str, Any]) -> Fault:
        """Arm a fault; FaultPlanError names an unknown kind or key, a missing or wrong value."""
        fault = self._read(dict(fields))
        self.armed.append(fault)
        self._points.setdefault(KINDS[fault.kind].point, []).append(fault)
        return fault

    def clear(self, number: int | None = None) -> int:
        """Disarm one fault or all; how many."""
        gone = [fault for fault in self.armed if number in (None, fault.number)]
        self.armed = [fault for fault in self.armed if fault not in gone]
        self._points = {}
        for fault in self.armed:
            self._points.setdefault(KINDS[fault.kind].point, []).append(fault)
        return len(gone)

    def at_point(self, point: str, **context: Any) -> list[Fault]:
        """The faults that act on this occasion."""
        candidates = self._points.get(point)
        if not candidates:
            return []
        return [fault for fault in candidates if fault.concerns(context) and fault.strikes(self.seed)]

    def has(self, point: str) -> bool:
        """Whether anything is armed for this kind of occasion."""
        return bool(self._points.get(point))

    def _read(self, fields: dict[str, Any]) -> Fault:
        name = fields.pop("kind", None)
        kind = KINDS.get(str(name))
        if kind is None:
            raise FaultPlanError(f"no such fault kind: {name}; known are {', '.join(sorted(KINDS))}")
        when = fields.pop("time", None)
        if when is not None and kind.point != NOW:
            raise FaultPlanError(f"fault {name} acts on an occasion, not at a time; remove `time`")
        at = fields.pop("at", ())
        at = (at,) if isinstance(at, int) else tuple(at)
        if not all(isinstance(n, int) and n > 0 for n in at):
            raise FaultPlanError(f"fault {name}: `at` takes occasion numbers from 1")
        every, probability = fields.pop("every", 0), fields.pop("probability", 1.0)
        times = fields.pop("times", 0)
        if not (isinstance(every, int) and isinstance(times, int) and every >= 0 and times >= 0):
            raise FaultPlanError(f"fault {name}: `every` and `times` take whole numbers")
        if not isinstance(probability, int | float) or not 0 <= probability <= 1:
            raise FaultPlanError(f"fault {name}: `probability` is between 0 and 1")
        filters = {key: fields.pop(key) for key in _FILTERS[kind.point] if key in fields}
        parameters = {}
        for key, default in kind.parameters.items():
            value = fields.pop(key, default)
            if value is None:
                raise FaultPlanError(f"fault {name} needs `{key}`")
            if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if default is not None and type(value) is not type(default) and not isinstance(default, str):
                raise FaultPlanError(f"fault {name}: `{key}` is {value!r}, not like {default!r}")
            parameters[key] = value
        if fields:
            allowed = sorted({*_FILTERS[kind.point], *kind.parameters, *_TRIGGERS, "kind", "time"})
            raise FaultPlanError(
                f"fault {name} has no key {', '.join(sorted(fields))}; it takes {', '.join(allowed)}"
            )
        self._count += 1
        return Fault(self._count, str(name), filters, parameters, at, every, float(probability), times, when)


def load_plan(path: Path, seed: int) -> FaultPlan:
    """A TOML file of `[[fault]]` tables; FaultPlanError when it cannot be read."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as reason:
        raise FaultPlanError(f"the fault plan {path} cannot be read: {reason.strerror}") from None
    except tomllib.TOMLDecodeError as reason:
        raise FaultPlanError(f"the fault plan {path} is not TOML: {reason}") from None
    unknown = set(content) - {"fault"}
    if unknown or not isinstance(content.get("fault", []), list):
        raise FaultPlanError(
            f"the fault plan {path} may hold [[fault]] tables only, not {', '.join(sorted(unknown))}"
        )
    plan = FaultPlan(seed)
    for fields in content.get("fault", []):
        plan.add(fields)
    return plan
