"""The way out: bringing positions down without a signal, which no limit or breaker blocks."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from executor.core import planner
from executor.core.book import ZERO
from executor.core.cancels import cancel_each
from executor.core.commands import Command
from executor.core.events import Quote, Timer
from executor.core.known import Known
from executor.core.orders import State
from executor.core.pricing import exit_offset, marketable_limit
from executor.core.proposal import propose


def plan_reduction(known: Known, factor: Decimal) -> None:
    """Scale down what no unfinished batch is working on; a batch's own targets are scaled as it is worked."""
    in_work = {t.symbol for w in known.works.values() if not w.finished for t in w.batch.targets}
    for symbol, held in known.book.positions.items():
        if symbol not in in_work:
            goal = known.reduce_to.get(symbol, held) * factor
            known.reduce_to[symbol] = goal.quantize(Decimal(1), rounding=ROUND_DOWN)


def bring_down(known: Known, goals: dict[str, Decimal], event: Timer) -> list[Command]:
    """Bring positions down to their goals, each symbol by itself.

    Whatever else works in a symbol is cancelled first. The symbol waits for its open orders, except
    those whose fate is unknown: what such an order may still take off is left to it, the rest is not
    held up. An exit that did not fill is priced further through the market at its next try.
    """
    open_orders = known.open_orders()
    others = [o for o in open_orders if o.symbol in goals and o.purpose != "flatten"]
    commands: list[Command] = cancel_each(known, others, event.now_ns)
    blocked = {o.symbol for o in open_orders if o.state is not State.UNKNOWN}
    blocked |= {i.symbol for i in known.intents.values()}
    for symbol, goal in sorted(goals.items()):
        held, quote = known.held(symbol), _last_usable(known, symbol)
        if symbol in blocked or quote is None or event.now_ns < known.retry_ns.get(symbol, 0):
            continue
        side = "sell" if held > 0 else "buy"
        doubtful = sum((o.remaining for o in open_orders if o.symbol == symbol and o.side == side), ZERO)
        sure = max(abs(held) - doubtful, abs(goal)).copy_sign(held)
        offset = exit_offset(known.exit_legs.get(symbol, 0), known.limits["price_collar"])
        wanted = planner.draft(
            symbol,
            sure,
            goal,
            known.equity or ZERO,
            quote,
            known.limits,
            None,
            price=marketable_limit(side, quote, offset),
        )
        if wanted is not None:
            commands += propose(known, wanted, None, None, event)
        elif not doubtful:
            known.exit_legs.pop(symbol, None)
            known.reduce_to.pop(symbol, None)  # as near to its goal as an order can bring it
    return commands


def _last_usable(known: Known, symbol: str) -> Quote | None:
    known.latest_quote(symbol)
    return known.quotes.get(symbol)
