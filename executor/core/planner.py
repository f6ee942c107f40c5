"""From target weights to the next orders: what to buy or sell now, at what limit price.

Rules: whole shares; one working order a symbol; reductions before increases; never through zero in
one order (the broker refuses long-to-short); no order below the minimum notional or inside the
no-trade band; no order larger than the notional and participation limits, the rest follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from executor.core.events import Quote

ORDER_NOTIONAL_MIN_USD = Decimal(100)
NO_TRADE_BAND = Decimal("0.002")
"""Differences below this fraction of equity are left alone: they cost more than they correct."""
PRICE_OFFSET = Decimal("0.0005")
"""How far through the far side a limit is set, as a fraction: marketable, yet bounded."""


@dataclass(frozen=True)
class Draft:
    """An order the planner would like to send."""

    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal


def target_shares(weight: Decimal, equity: Decimal, mid: Decimal) -> Decimal:
    """Whole shares nearest to zero that hold ``weight`` of ``equity`` at ``mid``."""
    return (weight * equity / mid).quantize(Decimal(1), rounding=ROUND_DOWN)


def tick(price: Decimal) -> Decimal:
    """Minimum price variation: a cent from one dollar up, a hundredth of a cent below (Reg NMS 612)."""
    return Decimal("0.01") if price >= 1 else Decimal("0.0001")


def marketable_limit(side: str, quote: Quote) -> Decimal:
    """Limit price just through the far side, rounded outward to the tick."""
    if side == "buy":
        price = quote.ask * (1 + PRICE_OFFSET)
        return price.quantize(tick(price), rounding=ROUND_CEILING)
    price = quote.bid * (1 - PRICE_OFFSET)
    return price.quantize(tick(price), rounding=ROUND_FLOOR)


def draft(
    symbol: str,
    held: Decimal,
    target: Decimal,
    equity: Decimal,
    quote: Quote,
    limits: Mapping[str, Decimal],
    average_volume: Decimal | None,
) -> Draft | None:
    """The next order that brings ``held`` nearer to ``target``, or None if none is worth its cost.

    Parameters
    ----------
    held, target : Decimal
        Signed shares.
    equity : Decimal
        USD; the no-trade band is a fraction of it.
    average_volume : Decimal or None
        Shares a day; bounds the order by the participation limit. Unknown leaves it to the gate.
    """
    difference = target - held
    if difference == 0:
        return None
    if held and (held > 0) != (target > 0):
        difference = -held  # first to zero, then to the other side
    side = "buy" if difference > 0 else "sell"
    price = marketable_limit(side, quote)
    qty = abs(difference)
    closes = held != 0 and difference == -held
    if not closes and (qty * quote.mid < ORDER_NOTIONAL_MIN_USD or qty * quote.mid < NO_TRADE_BAND * equity):
        return None
    largest = limits["order_notional_usd"] / price
    if average_volume is not None:
        largest = min(largest, limits["participation"] * average_volume)
    qty = min(qty, largest.quantize(Decimal(1), rounding=ROUND_DOWN))
    if qty <= 0:
        return None
    return Draft(symbol, side, qty, price)
