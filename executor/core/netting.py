"""What is wanted of each name, all strategies together.

Each strategy has its own book share: the shares its targets come to on its capital. They are netted
before anything is sent, so that two strategies never trade against each other, and what a finished
batch has settled stays counted while another is worked.
"""

from __future__ import annotations

from decimal import Decimal

from executor.core import schedule
from executor.core.book import ZERO
from executor.core.events import Quote, Target, Timer
from executor.core.known import Known, Work
from executor.core.order_shape import fitted


def net_shares(known: Known, work: Work, target: Target, quote: Quote, event: Timer) -> tuple[Decimal, bool]:
    """Signed shares wanted of the target's name by now, and whether all of it has been released.

    The strategies' shares are added up exactly and the sum is rounded, so that every strategy's batch
    asks for the same. Within a share of the sum what is held stays: which whole share is nearer
    changes with every quote.
    """
    symbol, held, fractional = target.symbol, known.held(target.symbol), work.batch.policy.fractional
    others = sum((share(known, w, symbol, quote) for w in known.works.values() if w is not work), ZERO)
    own = share(known, work, symbol, quote)
    start = work.starts.setdefault(symbol, held - others)
    fraction = _released(known, work, symbol, own - start, event)
    net = others + (own if fraction >= 1 else start + (own - start) * fraction)
    if net and not fractional and abs(net - held) < 1:
        return held, fraction >= 1
    return fitted(net, fractional=fractional), fraction >= 1


def share(known: Known, work: Work, symbol: str, quote: Quote) -> Decimal:
    """The strategy's own signed shares of a name, not rounded: as wanted while it is worked, then as settled."""
    target = work.by_symbol.get(symbol)
    told_settled = work.batch.settled and symbol not in work.settled
    if target is None or (work.finished and not told_settled):
        return work.settled.get(symbol, ZERO) * known.exposure_scale
    if symbol in work.given_up:
        return work.starts.get(symbol, ZERO)
    equity = work.equity if work.equity is not None else known.equity
    if equity is None:
        return ZERO
    return target.weight * known.exposure_scale * work.batch.capital * equity / quote.mid


def settle(known: Known, work: Work) -> None:
    """A batch is over: what its strategy owns of each name from now on.

    As sized, where the name was worked to its end. Where it was given up or ran out of time, what is
    held less what the others want, but never outside the way from its start to its target.
    """
    scale = known.exposure_scale
    for symbol in work.by_symbol:
        quote = known.latest_quote(symbol)
        if quote is None or not scale:
            continue
        start, given_up = work.starts.get(symbol, ZERO), work.given_up.pop(symbol, None)
        sized = share(known, work, symbol, quote)
        if given_up is not None:
            work.given_up[symbol] = given_up
        others = sum((share(known, w, symbol, quote) for w in known.works.values() if w is not work), ZERO)
        low, high = sorted((start, sized))
        own = min(max(known.held(symbol) - others, low - 1), high + 1)  # to within the rounding
        work.settled[symbol] = own / scale


def _released(known: Known, work: Work, symbol: str, difference: Decimal, event: Timer) -> Decimal:
    policy = work.batch.policy
    session = (event.session_open, event.session_close)
    start = policy.start or work.batch.market_time
    end = policy.end or min(work.batch.valid_until, event.session_close)
    by_time = schedule.released(policy, event.market_time, start, end, session)
    printed = known.volume_printed(symbol)
    since = work.printed.setdefault(symbol, printed)
    return min(by_time, schedule.participated(policy, printed - since, difference))
