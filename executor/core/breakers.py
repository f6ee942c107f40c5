"""The breakers: what is wrong enough to tighten the mode."""

from __future__ import annotations

from executor.core.commands import Command
from executor.core.events import Timer
from executor.core.exits import plan_reduction
from executor.core.known import Known
from executor.core.modes import Mode
from executor.core.order_life import cancel_increasing


def mark(known: Known, event: Timer) -> list[Command]:
    """Mark the book, and trip the breakers that look at equity."""
    known.equity = known.book.equity(known.quotes)
    if not event.in_session or known.equity is None:
        return []
    if known.book.day not in (None, event.session_open.date()):
        known.orders_today = 0
    known.book.open_day(event.session_open.date(), known.equity)
    at_exit = known.book.equity(known.quotes, at_exit=True)
    assert at_exit is not None
    commands: list[Command] = []
    loss, fall = known.book.daily_loss(at_exit), known.book.drawdown(at_exit)
    if loss >= known.limits["daily_loss"]:
        reason = f"daily loss {loss:.2%} reached the limit of {known.limits['daily_loss']:.2%}"
        commands += known.tighten(Mode.CLOSE_ONLY, reason)
        commands += cancel_increasing(known, event.now_ns)
    if fall >= known.limits["drawdown"]:
        reason = f"drawdown {fall:.2%} from the high-water mark passed {known.limits['drawdown']:.2%}"
        tightened = known.tighten(Mode.REDUCING, reason)
        if tightened and known.batch_finished:
            plan_reduction(known)
        commands += tightened
    return commands
