"""From a target to the next order: what to buy or sell now, and how much.

Rules: whole shares unless fractions are allowed; never through zero in one order (the broker refuses
long-to-short); no order below the minimum notional or inside the no-trade band; no order larger than
the notional and participation limits, the rest follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from executor.core.events import Quote
from executor.core.order_shape import fitted
from executor.core.orders import Leg
from executor.core.policy import IMMEDIATE, ExecutionPolicy
from executor.core.pricing import marketable_limit


@dataclass(frozen=True)
class Draft:
    """An order the planner would like to send; terms as in :class:`executor.core.commands.Intent`."""

    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal
    time_in_force: str = "day"
    order_class: str = ""
    take_profit: Leg | None = None
    stop_loss: Leg | None = None
    extended_hours: bool = False
    replaces: str | None = None
    """Client id of the working order that is to go on as this one."""


def target_shares(weight: Decimal, equity: Decimal, mid: Decimal, *, fractional: bool = False) -> Decimal:
    """Shares nearest to zero that hold ``weight`` of ``equity`` at ``mid``; whole unless fractional."""
    shares = weight * equity / mid
    return fitted(shares, fractional=True) if fractional else shares.quantize(Decimal(1), rounding=ROUND_DOWN)


def draft(
    symbol: str,
    held: Decimal,
    target: Decimal,
    equity: Decimal,
    quote: Quote,
    limits: Mapping[str, Decimal],
    average_volume: Decimal | None,
    *,
    policy: ExecutionPolicy = IMMEDIATE,
    price: Decimal | None = None,
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
    price : Decimal or None
        Limit price; None = just through the far side.
    """
    difference = target - held
    if difference == 0:
        return None
    if held and (held > 0) != (target > 0):
        difference = -held  # first to zero, then to the other side
    side = "buy" if difference > 0 else "sell"
    if price is None:
        price = marketable_limit(side, quote)
    qty = abs(difference)
    closes = held != 0 and difference == -held
    value = qty * quote.mid
    if not closes and (value < policy.order_notional_min_usd or value < policy.no_trade_band * equity):
        return None
    largest = limits["order_notional_usd"] / price
    if average_volume is not None:
        largest = min(largest, limits["participation"] * average_volume)
    if qty > largest:
        qty = largest.quantize(Decimal(1), rounding=ROUND_DOWN)
    if qty <= 0:
        return None
    return Draft(symbol, side, qty, price)
