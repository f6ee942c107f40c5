"""Who may change the mode: it tightens by itself; kill and re-arm are a person's acts."""

from __future__ import annotations

from executor.core.book import ZERO
from executor.core.cancels import cancel_all
from executor.core.commands import Alert, Command, EnterMode
from executor.core.events import Kill, ModeSeen, Rearm
from executor.core.known import Known
from executor.core.modes import Mode, tighter


def on_mode_seen(known: Known, event: ModeSeen) -> list[Command]:
    """The ledger's mode and latches: taken if stricter. Loosening comes as a re-arm, with its reason."""
    known.killed = known.killed or event.killed
    known.flatten = known.flatten or event.flatten
    if event.mode is Mode.FLATTENING and event.flatten:
        known.enter(Mode.FLATTENING)  # from HALTED too: it is the way out, and a person asked for it
    else:
        known.enter(tighter(event.mode, known.mode))
    return []


def on_kill(known: Known, event: Kill) -> list[Command]:
    """Stop: no new order, every open one cancelled; and out of everything if asked."""
    known.killed, known.flatten = True, known.flatten or event.flatten
    mode = Mode.FLATTENING if known.flatten else Mode.HALTED
    known.enter(mode)
    reason = f"kill by {event.who}: {event.reason}"
    return [
        EnterMode(mode=mode, reason=reason),
        Alert(severity="critical", kind="kill", title=f"Mode {mode}", body=reason),
        *cancel_all(known, event.now_ns, keep="flatten" if known.flatten else ""),
    ]


def on_rearm(known: Known, event: Rearm) -> list[Command]:
    """A person loosens. What tripped is forgotten; if its cause still stands it trips again."""
    if event.asked_ns is not None and event.asked_ns <= known.tightened_ns:
        return []  # decided before our last tightening was known
    if not event.reason.strip():
        return []
    known.killed = known.flatten = False
    known.mode = event.mode
    known.tripped.clear()
    known.doubt, known.health.difference = None, ""
    known.reduce_to.clear()
    if event.mode is Mode.READY:
        known.worst_drawdown = ZERO
    if event.rebase and known.equity is not None:
        known.book.rebase(known.equity)
    return [
        Alert(
            severity="info",
            kind="rearmed",
            title=f"Mode {event.mode}",
            body=f"re-armed{' by ' + event.who if event.who else ''}: {event.reason}",
        )
    ]
