"""At what limit: through the far side with a bound, or pegged to our own side or the middle."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from executor.core.events import Quote
from executor.core.policy import Price

PRICE_OFFSET = Decimal("0.0005")
"""How far through the far side a limit is set, as a fraction: marketable, yet bounded."""
EXIT_STEP = 4
"""An exit that did not fill is priced this many times further through, up to the collar."""


def tick(price: Decimal) -> Decimal:
    """Minimum price variation: a cent from one dollar up, a hundredth of a cent below (Reg NMS 612)."""
    return Decimal("0.01") if price >= 1 else Decimal("0.0001")


def marketable_limit(side: str, quote: Quote, offset: Decimal = PRICE_OFFSET) -> Decimal:
    """Limit price just through the far side, rounded outward to the tick."""
    if side == "buy":
        price = quote.ask * (1 + offset)
        return price.quantize(tick(price), rounding=ROUND_CEILING)
    price = quote.bid * (1 - offset)
    return max(price.quantize(tick(price), rounding=ROUND_FLOOR), tick(price))


def pegged_limit(side: str, quote: Quote, price: Price) -> Decimal:
    """Limit at our side of the quote or at its middle, rounded to the tick away from the far side."""
    if price is Price.PEG_NEAR:
        return quote.bid if side == "buy" else quote.ask
    rounding = ROUND_FLOOR if side == "buy" else ROUND_CEILING
    return quote.mid.quantize(tick(quote.mid), rounding=rounding)


def exit_offset(tries: int, collar: Decimal) -> Decimal:
    """How far through an exit is priced at its n-th try (0 = first): further each time, never past the collar."""
    return min(PRICE_OFFSET * Decimal(EXIT_STEP) ** min(tries, 8), collar)
