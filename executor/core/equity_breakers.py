"""The breakers that look at money: daily loss, drawdown, extreme loss.

One bad tick must not stop a day, and a real loss must not wait for an argument. So a reading at its
bound blocks new risk at once, and a second source (the broker's own account) is asked:

- it sees the loss too (at least nine tenths of the bound): the breaker trips;
- it does not answer in ``equity_confirm_s``, or cannot say: the breaker trips (fail closed);
- it contradicts us: it is asked again; at the third contradiction the breaker trips, because one of
  the two does not know what we own.

Extreme loss flattens the book, which cannot be undone: it alone waits for a yes. By then the daily
loss has closed the way to new risk. With ``equity_confirm_s`` 0 our own marks suffice.
"""

from __future__ import annotations

from decimal import Decimal

from executor.core import breakers, drawdown
from executor.core.book import Book
from executor.core.cancels import cancel_increasing
from executor.core.commands import Alert, Command, ConfirmEquity
from executor.core.events import EquityConfirmed, Timer
from executor.core.exits import plan_reduction
from executor.core.known import Doubt, Known
from executor.core.modes import Mode

AGREES = Decimal("0.9")
"""The second source confirms if it sees this much of the bound: it marks at other prices and moments."""
DENIALS_MAX = 3


class EquityBreaker:
    """Base: a name, its bound, the mode it trips into, and a reading of the book at an equity."""

    name: str
    bound: str
    mode = Mode.CLOSE_ONLY
    reads: str
    blocks = "new risk at once, until the second source has answered"
    needs_a_yes = False

    def reading(self, book: Book, equity: Decimal) -> Decimal:
        """Loss as a fraction of its base."""
        raise NotImplementedError

    def trips_at(self, known: Known) -> Decimal:
        """The reading it trips at now."""
        return known.limits[self.bound]

    def trip(self, known: Known, reading: Decimal, reason: str) -> list[Command]:
        """Latch."""
        return breakers.trip(known, self.name, self.mode, reason)


class DailyLoss(EquityBreaker):
    """Loss since the day's opening equity; nothing but exits for the rest of the day."""

    name, bound = "daily_loss", "daily_loss"
    reads = "loss since the day's opening equity, longs at the bid and shorts at the ask"

    def reading(self, book: Book, equity: Decimal) -> Decimal:
        return book.daily_loss(equity)


class Drawdown(EquityBreaker):
    """Fall from the high-water mark; exposure is cut by the curve of ``drawdown.py`` and kept cut."""

    name, bound, mode = "drawdown", "drawdown", Mode.REDUCING
    reads = "fall from the high-water mark"

    def reading(self, book: Book, equity: Decimal) -> Decimal:
        return book.drawdown(equity)

    def trips_at(self, known: Known) -> Decimal:
        first = known.limits[self.bound]
        return max(first, known.worst_drawdown + drawdown.STEP) if known.worst_drawdown else first

    def trip(self, known: Known, reading: Decimal, reason: str) -> list[Command]:
        before = known.exposure_scale
        known.worst_drawdown = max(known.worst_drawdown, reading)
        after = known.exposure_scale
        known.tripped[self.name] = reason
        reason = f"{reason}; exposure held at {after:.0%} of what is approved"
        commands = known.tighten(self.mode, reason)
        if before > after:
            plan_reduction(known, after / before)
        told = Alert(severity="critical", kind="breach", title="Drawdown deepens", body=reason)
        return commands or [told]


class ExtremeLoss(EquityBreaker):
    """A loss no plan allows for: everything is closed."""

    name, bound, mode = "extreme_loss", "extreme_loss", Mode.FLATTENING
    reads = "loss since the day's opening equity"
    needs_a_yes = True

    def reading(self, book: Book, equity: Decimal) -> Decimal:
        return book.daily_loss(equity)


EQUITY_BREAKERS: tuple[EquityBreaker, ...] = (ExtremeLoss(), DailyLoss(), Drawdown())


def mark(known: Known, event: Timer) -> list[Command]:
    """Mark the book to the market, and doubt or trip the breakers that look at equity."""
    known.equity = known.book_equity()
    if not event.in_session or known.equity is None:
        return []
    day = event.session_open.date()
    if known.book.day not in (None, day):
        known.orders_today = 0
        known.pace.open_day()
        known.exposure.open_day()
    known.book.open_day(day, known.equity)
    at_exit = known.book_equity(at_exit=True)
    assert at_exit is not None
    known.equity_at_exit = at_exit
    suspects = _suspects(known)
    if not suspects:
        known.doubt = None
        return []
    return _doubted(known, suspects, event.now_ns)


def _suspects(known: Known) -> list[EquityBreaker]:
    """Breakers whose reading is at the bound and that have not acted on it yet."""
    equity = known.equity_at_exit
    if equity is None:
        return []
    return [
        b
        for b in EQUITY_BREAKERS
        if (b.name not in known.tripped or isinstance(b, Drawdown))
        and b.reading(known.book, equity) >= b.trips_at(known)
    ]


def _doubted(known: Known, suspects: list[EquityBreaker], now_ns: int) -> list[Command]:
    """Ask, wait, ask again, or trip for want of an answer."""
    wait_s = known.limits["equity_confirm_s"]
    if wait_s == 0:
        return _trip(known, suspects, "by our marks")
    if known.doubt is None:
        known.doubt = Doubt("; ".join(_said(known, b, known.equity_at_exit) for b in suspects), now_ns)
        return [ConfirmEquity(reason=known.doubt.reason), *cancel_increasing(known, now_ns)]
    if now_ns - known.doubt.asked_ns < wait_s * Decimal(breakers.NS):
        return []
    unanswered = not known.doubt.answered
    known.doubt.asked_ns, known.doubt.answered = now_ns, False
    tripped: list[Command] = []
    if unanswered:
        certain = [b for b in suspects if not b.needs_a_yes]
        tripped = _trip(known, certain, f"no second source has answered in {wait_s} s")
    if known.doubt is None:
        return tripped
    return [*tripped, ConfirmEquity(reason=known.doubt.reason)]


def on_equity_confirmed(known: Known, event: EquityConfirmed) -> list[Command]:
    """The second source's answer: trip what it confirms, count what it denies."""
    suspects = _suspects(known)
    if known.doubt is None or not suspects:
        return []
    if event.equity is None:
        return _trip(known, [b for b in suspects if not b.needs_a_yes], f"{event.source} cannot say")
    seen: list[EquityBreaker] = []
    denied: list[EquityBreaker] = []
    for breaker in suspects:
        agrees = breaker.reading(known.book, event.equity) >= AGREES * breaker.trips_at(known)
        (seen if agrees else denied).append(breaker)
    commands = _trip(known, seen, f"{event.source} sees an equity of {event.equity:.2f}")
    if known.doubt is not None and denied:
        known.doubt.answered = True
        known.doubt.denials += 1
        if known.doubt.denials >= DENIALS_MAX:
            certain = [b for b in denied if not b.needs_a_yes]
            commands += _trip(known, certain, f"{event.source} says {event.equity:.2f}, {DENIALS_MAX} times")
    return commands


def _trip(known: Known, which: list[EquityBreaker], because: str) -> list[Command]:
    commands: list[Command] = []
    equity = known.equity_at_exit
    assert equity is not None
    for breaker in which:
        reading = breaker.reading(known.book, equity)
        commands += breaker.trip(known, reading, f"{_said(known, breaker, equity)}; {because}")
    if not _suspects(known):
        known.doubt = None
    return commands


def _said(known: Known, breaker: EquityBreaker, equity: Decimal | None) -> str:
    assert equity is not None
    reading, bound = breaker.reading(known.book, equity), breaker.trips_at(known)
    return f"{breaker.name.replace('_', ' ')} of {reading:.2%} reached the limit of {bound:.2%}"
