"""One order out of a recorded session: the events and verdicts that led to it, and its life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from executor.core.commands import Intent
from executor.core.events import Batch, Quote
from executor.errors import InputError
from executor.replay.frames import Recording, Told, decode_commands


@dataclass(frozen=True)
class Line:
    """One step: event number, market time and what happened."""

    number: int
    at: str
    text: str


@dataclass(frozen=True)
class Explained:
    """What led to an order, and what became of it."""

    intent: Intent
    refused: str
    """Why it was refused; empty if it was not."""
    before: list[Line]
    life: list[Line]


def explain(recording: Recording, order: str) -> Explained:
    """The story of a client order id, or of the only one that begins with ``order``.

    Raises :class:`InputError` if the session has no such order, or several.
    """
    decided: dict[str, tuple[Told, Intent, str]] = {}
    for told in recording.told:
        for name, command in decode_commands(told.commands):
            if name in ("Reserve", "Refuse") and command.intent.client_order_id is not None:
                reason = command.reason if name == "Refuse" else ""
                decided[command.intent.client_order_id] = (told, command.intent, reason)
    named = [cid for cid in decided if cid == order] or [cid for cid in decided if cid.startswith(order)]
    if len(named) != 1:
        few = ", ".join(named[:5] or list(decided)[:5]) or "none at all"
        raise InputError(
            f"{order!r} names {len(named)} orders of session {recording.header.session}; there are: {few}"
        )
    client_order_id = named[0]
    told, intent, refused = decided[client_order_id]
    return Explained(
        intent, refused, _led_to(recording, told, intent), _life(recording, client_order_id, told)
    )


def _led_to(recording: Recording, at: Told, intent: Intent) -> list[Line]:
    """The batch, the last quote, what spoke of the name, and the fills that made the position."""
    lines: list[Line] = []
    quote: Told | None = None
    for told in recording.told[: at.number]:
        event = told.event
        if isinstance(event, Quote):
            quote = told if event.symbol == intent.symbol else quote
        elif isinstance(event, Batch):
            target = next((t for t in event.targets if t.signal_id == intent.signal_id), None)
            if target is not None:
                lines.append(_line(told, f"Batch {event.batch_id}: target {target.weight} {target.symbol}"))
        elif getattr(event, "symbol", None) == intent.symbol:
            lines.append(_line(told, _said(event)))
    if quote is not None:
        lines.append(_line(quote, _said(quote.event)))
    figures = intent.inputs
    verdict = (
        f"{len(intent.checks.measured)} limits checked on {figures.equity} USD of equity, mode {figures.mode}"
    )
    lines.append(
        _line(
            at,
            f"{type(at.event).__name__}: {intent.side} {intent.qty} {intent.symbol} at {intent.limit_price}; {verdict}",
        )
    )
    return lines


def _life(recording: Recording, client_order_id: str, since: Told) -> list[Line]:
    lines: list[Line] = []
    for told in recording.told[since.number - 1 :]:
        if _about(told.event, client_order_id):
            lines.append(_line(told, _said(told.event)))
        lines += [
            _line(told, f"-> {name} {_fields(command)}")
            for name, command in decode_commands(told.commands)
            if name not in ("Reserve", "Refuse") and _about(command, client_order_id)
        ]
    return lines


def _about(thing: Any, client_order_id: str) -> bool:
    names = (
        "client_order_id",
        "by_client_order_id",
        "replaces_client_order_id",
        "parent_client_order_id",
        "ref",
    )
    return any(getattr(thing, name, None) == client_order_id for name in names)


def _line(told: Told, text: str) -> Line:
    return Line(told.number, f"{told.event.market_time:%H:%M:%S.%f}"[:-3], text)


def _said(event: Any) -> str:
    return f"{type(event).__name__} {_fields(event)}"


def _fields(thing: Any) -> str:
    """What it says, without its times, ids of the order itself and what was left empty."""
    silent = ("market_time", "now_ns", "client_order_id", "intent")
    shown = {n: getattr(thing, n) for n in thing.__struct_fields__ if n not in silent}
    return ", ".join(f"{n} {v}" for n, v in shown.items() if v not in (None, "", False, ()))
