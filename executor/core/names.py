"""What the market says of each name beyond its quote, and why no new risk may be taken in it just now.

A name is blocked by itself: halted, its feed doubtful, its price jumped, a corporate action pending.
A block refuses new risk in that name and nothing else, and ends with its cause.
"""

from __future__ import annotations

from executor.core.cancels import cancel_each
from executor.core.commands import Alert, Command
from executor.core.events import (
    SPREAD_MAX,
    Bar,
    Bars,
    CorporateAction,
    Feed,
    FeedState,
    InstrumentSeen,
    PriceBand,
    Quote,
    ShortRestriction,
    Trade,
    TradingStatus,
)
from executor.core.known import Known

HALTING = {"2": "halted", "H": "halted", "P": "volatility pause", "F": "limit up-limit down pause"}
"""Tape codes that stop trading: CTA 2 and F, UTP H and P."""
RESUMING = frozenset({"3", "T"})
"""Tape codes that resume it: CTA 3, UTP T. UTP Q resumes quotation only."""
INFORMING = frozenset({"5", "6", "7", "8", "9", "A", "C", "D", "E", "Q"})
"""Indications, imbalances, short-sale restriction, quotation: neither halt nor resumption."""


WIDEST = float(SPREAD_MAX)


def on_quote(known: Known, event: Quote) -> list[Command]:
    """Take a quote in. The hottest path there is: nothing is decided on it.

    A usable quote moves the marks, a jump included: a loss must be seen. What a jump may not do is
    lead to new risk before it has stood for a while.
    """
    symbol, exposure = event.symbol, known.exposure
    line = exposure.lines.get(symbol) or exposure.line(symbol)
    bid, ask = float(event.bid), float(event.ask)
    mid = (bid + ask) * 0.5
    usable = 0.0 < bid <= ask and ask - bid <= WIDEST * mid
    known.latest[symbol] = line.latest = event
    line.usable = usable
    known.quoted_ns = event.now_ns
    if usable:
        was = line.mid
        if was > 0.0 and not was * known.jump_down <= mid <= was * known.jump_up:
            _jumped(known, known.quotes[symbol], event)
        known.quotes[symbol] = event
        if line.held:
            known.values.clear()
        exposure.price(line, bid, ask)
    return []


def _jumped(known: Known, before: Quote, event: Quote) -> None:
    name = known.name(event.symbol)
    name.jumped_ns, name.jump = event.now_ns, f"price jumped from {before.mid:f} to {event.mid:f}"
    known.untold.append(
        Alert(
            severity="warning",
            kind="price_jump",
            title=f"{event.symbol}: {name.jump}",
            body=f"No new risk in it until its price has stood for {known.limits['price_jump_rest_s']} s.",
        )
    )


def on_trade(known: Known, event: Trade) -> list[Command]:
    """Count the volume that participation is measured by."""
    known.name(event.symbol).volume += event.size
    return []


def on_bar(known: Known, event: Bar) -> list[Command]:
    """One bar: its volume counts, and where no quote is fed its close is the market."""
    known.name(event.symbol).volume += event.volume
    return []


def on_bars(known: Known, event: Bars) -> list[Command]:
    """A session's bars: the closes become quotes when a name is looked at, and marks at once."""
    known.take_bars(event)
    return []


def on_status(known: Known, event: TradingStatus) -> list[Command]:
    """Halt or resumption. At a halt what adds risk is cancelled; on resumption it is planned anew."""
    name = known.name(event.symbol)
    if event.code in RESUMING:
        name.halted = ""
        return []
    if event.code in INFORMING and event.reason != "M":
        return []
    word = HALTING.get(event.code, f"status {event.code}, which we do not know")
    name.halted = f"{event.symbol} {word}" + (f" ({event.reason})" if event.reason else "")
    adding = [
        o
        for o in known.open_orders()
        if o.symbol == event.symbol and not known.reduces(o.symbol, o.side) and o.purpose != "protect"
    ]
    return cancel_each(known, adding, event.now_ns)


def on_band(known: Known, event: PriceBand) -> list[Command]:
    """Limit up-limit down band."""
    known.name(event.symbol).band = event
    return []


def on_short_restriction(known: Known, event: ShortRestriction) -> list[Command]:
    """Reg SHO 201 in force or over."""
    known.name(event.symbol).short_restricted = event.active
    return []


def on_instrument(known: Known, event: InstrumentSeen) -> list[Command]:
    """What the broker says of the name."""
    known.name(event.symbol).instrument = event
    return []


def on_feed_state(known: Known, event: FeedState) -> list[Command]:
    """The feed's state as a whole is the breakers' matter; of one name, the name's."""
    if event.symbol is None:
        known.health.feed(event)
    else:
        doubt = "" if event.state is Feed.LIVE else f"{event.feed} feed of {event.symbol} is {event.state}"
        known.name(event.symbol).feed = doubt
    return []


def on_corporate_action(known: Known, event: CorporateAction) -> list[Command]:
    """Prices, orders and targets of the name are void: cancel, forget, and wait for a fresh batch."""
    known.book.adjust(event.symbol, event.shares, event.cash)
    known.latest.pop(event.symbol, None)
    known.quotes.pop(event.symbol, None)
    known.exposure.forget_price(event.symbol)
    known.shares_moved(event.symbol)
    reason = f"{event.kind} of {event.symbol}: its targets were made before it"
    for work in known.works.values():
        if not work.finished:
            work.given_up[event.symbol] = reason
    alert = Alert(
        severity="warning", kind="corporate_action", title=f"{event.kind}: {event.symbol}", body=reason
    )
    doomed = [o for o in known.open_orders() if o.symbol == event.symbol]
    return [alert, *cancel_each(known, doomed, event.now_ns)]
