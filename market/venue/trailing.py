"""Stop prices that follow the market: the trailing stop's water mark and the price it asks for."""

from __future__ import annotations

from decimal import Decimal

from market.venue.orders import Order


def trail_stop(order: Order) -> Decimal:
    """The stop price of a trailing stop from its high (sell) or low (buy) water mark, on the cent."""
    assert order.hwm is not None
    if order.trail_price is not None:
        distance = order.trail_price
    else:
        assert order.trail_percent is not None
        distance = order.hwm * order.trail_percent / 100
    stop = order.hwm + distance if order.is_buy else order.hwm - distance
    places = Decimal("0.01") if stop >= 1 else Decimal("0.0001")
    return max(stop.quantize(places), places)


def follow(order: Order, price: Decimal) -> bool:
    """Move the water mark to `price` if that is better; whether it moved."""
    assert order.hwm is not None
    if (price < order.hwm) if order.is_buy else (price > order.hwm):
        order.hwm = price
        order.stop_price = trail_stop(order)
        return True
    return False
