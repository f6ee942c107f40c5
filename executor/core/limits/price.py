"""Whether the price is one to trade at: a fresh, sane quote, and a limit price near it."""

from __future__ import annotations

from executor.core.events import Quote
from executor.core.limits.limit import Bounds, Limit, Measured
from executor.core.limits.proposal import Proposal, Unknown

FUTURE_S = 1.0
"""How far a quote may be ahead of our clock: vendors' clocks run up to about a second fast."""


def usable_quote(order: Proposal) -> Quote:
    """The newest quote, if it has two sides that are not crossed; raises :class:`Unknown` otherwise."""
    quote = order.line.latest
    if quote is None:
        raise Unknown(f"no quote for {order.symbol}")
    if not order.line.usable:
        raise Unknown(f"quote for {order.symbol} is one-sided, crossed or a stub: {quote.bid} x {quote.ask}")
    return quote


class QuoteAge(Limit):
    """Age of the quote the order is priced from."""

    name = "quote_age_s"
    unit = "seconds"
    formula = "time since receipt + age at receipt, never below 0"
    source = "FIA 2024, market data reasonability"
    unknown = "no usable quote, or one from more than a second in the future"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        quote = usable_quote(order)
        age_s = (order.now_ns - quote.now_ns) * 1e-9 + quote.age_at_receipt_ms * 1e-3
        if age_s < -FUTURE_S:
            raise Unknown(f"quote for {order.symbol} is from the future: {age_s:.1f} s old")
        return bounds["quote_age_s"], 0.0, max(age_s, 0.0)


class QuoteSpread(Limit):
    """Width of the quote; a locked one (bid = ask) is about to change and is no price either."""

    name = "spread"
    unit = "fraction of the mid"
    formula = "(ask − bid) ÷ mid"
    source = "FIA 2024, market data reasonability; Reg NMS Rule 610(d) forbids locking a protected quote"
    unknown = "no quote, or one that is one-sided, locked or crossed"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        usable_quote(order)
        line = order.line
        width = line.ask - line.bid
        if width <= 0.0:
            raise Unknown(f"quote for {order.symbol} is locked at {line.bid}")
        return bounds["spread"], 0.0, width / line.mid


class PriceCollar(Limit):
    """How far the limit price is through the mid, on the side that costs."""

    name = "price_collar"
    unit = "fraction of the mid"
    formula = "direction × (limit price − mid) ÷ mid"
    source = "SEC Rule 15c3-5(c)(1)(ii); RTS 6 article 15(1)(a)"
    unknown = "no usable quote"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        usable_quote(order)
        mid = order.line.mid
        return bounds["price_collar"], 0.0, order.direction * (order.limit_price - mid) / mid
