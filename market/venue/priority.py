"""Who trades first, at what an order may trade, and how the shares of a cross are shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import ROUND_DOWN, Decimal
from typing import Any

from market.venue.decimals import to_price, to_ticks
from market.venue.orders import Order

ROUND_LOT = Decimal(100)
_NANO_SHARE = Decimal("1e-9")


def by_priority(orders: Iterable[Order]) -> list[Order]:
    """Unpriced first, then better price, then first come; the side does not matter to the ranking."""

    def rank(order: Order) -> tuple[int, Any, int]:
        if order.limit_price is None:
            return (0, 0, order.sequence)
        return (1, -order.limit_price if order.is_buy else order.limit_price, order.sequence)

    return sorted(orders, key=rank)


def reaches(order: Order, ticks: int) -> bool:
    """Whether the order may trade at `ticks`."""
    if order.limit_price is not None:
        limit = to_ticks(order.limit_price)
        return ticks <= limit if order.is_buy else ticks >= limit
    if order.is_buy and order.collar_ticks:
        return ticks <= order.collar_ticks
    return True


def shares_for(order: Order, ticks: int, offered: Decimal) -> Decimal:
    """What the order takes of `offered` at `ticks`: its rest, or what its dollars buy to nine decimals."""
    if order.notional is None or order.qty is not None:
        return min(order.left, offered)
    dollars = order.notional - order.filled_value
    return min((dollars / to_price(ticks)).quantize(_NANO_SHARE, ROUND_DOWN), offered)


def cross(
    orders: Iterable[Order], ticks: int, each_side: Decimal, allowed: Callable[[Order], bool]
) -> Iterator[tuple[Order, Decimal]]:
    """An auction at one price: (order, shares) by priority, at most `each_side` shares bought and as many sold."""
    left = {"buy": each_side, "sell": each_side}
    for order in by_priority(orders):
        if reaches(order, ticks) and allowed(order):
            qty = shares_for(order, ticks, left[order.side])
            if qty > 0:
                left[order.side] -= qty
                yield order, qty
