"""Getting flat, and saying so only when the broker does.

Every order is cancelled and waited for, every position closed by orders of its own, priced further
through the market each time; when our book is empty the broker is asked, and asked again until its
answer is empty too. A name that cannot be closed (halted, without a price) is named to a person at
once and again every minute: it is reported, never forgotten.
"""

from __future__ import annotations

from executor.core.book import ZERO
from executor.core.cancels import cancel_all
from executor.core.commands import Alert, Command, ConfirmFlat, EnterMode
from executor.core.events import BrokerFlat, Timer
from executor.core.exits import bring_down
from executor.core.known import Known
from executor.core.modes import Mode

ASK_AGAIN_NS = 2_000_000_000
TELL_AGAIN_NS = 60_000_000_000
STUCK_NS = 30_000_000_000
"""How long a cancel may stay unanswered before a person hears of it."""


def flatten(known: Known, event: Timer) -> list[Command]:
    """The next step on the way to flat."""
    commands = cancel_all(known, event.now_ns, keep="flatten")
    if event.in_session:
        commands += bring_down(known, dict.fromkeys(known.book.positions, ZERO), event)
    commands += _cannot_close(known, event)
    if not known.book.positions and not known.open_orders() and not known.intents:
        commands += _ask(known, event.now_ns)
    return commands


def _ask(known: Known, now_ns: int) -> list[Command]:
    if now_ns - known.watch.flat_asked_ns < ASK_AGAIN_NS:
        return []
    known.watch.flat_asked_ns = now_ns
    return [ConfirmFlat()]


def _cannot_close(known: Known, event: Timer) -> list[Command]:
    """Name what is still held and cannot be sold or bought back now."""
    why = {s: _obstacle(known, s) for s in known.book.positions}
    stuck = {s: reason for s, reason in why.items() if reason}
    if not stuck or not event.in_session or event.now_ns - known.watch.stuck_told_ns < TELL_AGAIN_NS:
        return []
    known.watch.stuck_told_ns = event.now_ns
    return [
        Alert(
            severity="critical",
            kind="cannot_close",
            title=f"Still held and not to be closed now: {', '.join(sorted(stuck))}",
            body="; ".join(f"{known.held(s)} {s}: {reason}" for s, reason in sorted(stuck.items())),
        )
    ]


def _obstacle(known: Known, symbol: str) -> str:
    name = known.names.get(symbol)
    if name is not None and name.halted:
        return name.halted
    quote = known.latest_quote(symbol)
    if quote is None:
        return "no quote"
    age_s = (known.now_ns - quote.now_ns) / 1e9
    return f"its quote is {age_s:.0f} s old" if age_s > known.limits["feed_silent_s"] else ""


def on_broker_flat(known: Known, event: BrokerFlat) -> list[Command]:
    """What the broker still shows. Empty: flat, and halted. Otherwise said, and asked again."""
    if known.mode is not Mode.FLATTENING or known.book.positions or known.open_orders():
        return []
    if event.flat:
        known.enter(Mode.HALTED)
        body = "The broker shows no positions and no open orders."
        return [
            Alert(severity="critical", kind="flat", title="Flat", body=body),
            EnterMode(mode=Mode.HALTED, reason=f"flattened: {body}"),
        ]
    shown = ", ".join(f"{qty} {symbol}" for symbol, qty in sorted(event.positions.items()))
    if event.now_ns - known.watch.stuck_told_ns < TELL_AGAIN_NS:
        return []
    known.watch.stuck_told_ns = event.now_ns
    return [
        Alert(
            severity="critical",
            kind="not_flat",
            title="Our book is flat, the broker's is not",
            body=f"It shows {shown or 'no position'} and {len(event.open_orders)} open orders.",
        )
    ]


def cancels_pending(known: Known, now_ns: int) -> list[Command]:
    """While halted: cancel until every order has ended, and name those whose end does not come."""
    commands = cancel_all(known, now_ns)
    still = known.open_orders()
    if not still:
        known.watch.halting_ns = None
        return commands
    if known.watch.halting_ns is None:
        known.watch.halting_ns = now_ns
    waited_ns = now_ns - known.watch.halting_ns
    if waited_ns >= STUCK_NS and now_ns - known.watch.stuck_told_ns >= TELL_AGAIN_NS:
        known.watch.stuck_told_ns = now_ns
        lines = [f"{o.client_order_id} ({o.side} {o.remaining} {o.symbol}, {o.state})" for o in still]
        commands.append(
            Alert(
                severity="critical",
                kind="cancel_pending",
                title=f"{len(still)} orders not ended {waited_ns / 1e9:.0f} s after they were cancelled",
                body="; ".join(lines[:20]),
            )
        )
    return commands
