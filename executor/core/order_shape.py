"""What an order must look like for the broker to take it: form only, whoever sends it and why.

The rules are the broker's (Alpaca, "Placing orders"); what may be *risked* is the gate's matter.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from executor.core.commands import Intent
from executor.core.pricing import tick

FRACTION = Decimal("0.000000001")
"""Shares are counted to nine decimals."""
ID_MAX = 48
TYPES = frozenset({"limit", "stop", "stop_limit", "trailing_stop"})
TIMES_IN_FORCE = frozenset({"day", "gtc", "opg", "cls"})


def whole(qty: Decimal) -> bool:
    """Whether a quantity is in whole shares."""
    return qty == qty.to_integral_value()


def fitted(qty: Decimal, *, fractional: bool) -> Decimal:
    """The largest quantity not above ``qty`` that may be sent."""
    return qty.quantize(FRACTION if fractional else Decimal(1), rounding=ROUND_DOWN)


def misshapen(order: Intent, *, short: bool, step: Decimal | None = None) -> str:
    """Why the broker would refuse the order for its form; empty if it would not.

    ``short``: it sells what is not held. ``step``: the name's own tick, where it is not the rule's.
    """
    return (
        _bad_terms(order)
        or _bad_fraction(order, short)
        or _bad_price(order, step)
        or _bad_hours(order)
        or (_bad_class(order) if order.order_class or order.take_profit or order.stop_loss else "")
    )


def _bad_terms(order: Intent) -> str:
    if order.qty <= 0:
        return "the quantity is not positive"
    if len(order.client_order_id or "") > ID_MAX:
        return f"its id is longer than {ID_MAX} characters"
    if order.order_type not in TYPES:
        return f"type {order.order_type}"
    if order.time_in_force not in TIMES_IN_FORCE:
        return f"time in force {order.time_in_force}"
    return ""


def _bad_fraction(order: Intent, short: bool) -> str:
    if whole(order.qty):
        return ""
    if order.time_in_force != "day":
        return "fractions of a share are for the day only"
    if order.order_class != "":
        return "fractions of a share take no legs"
    if short:
        return "a short sale is in whole shares"
    return "more than nine decimals of a share" if order.qty != order.qty.quantize(FRACTION) else ""


def _bad_price(order: Intent, step: Decimal | None) -> str:
    prices = [order.limit_price, order.stop_price]
    for leg in (order.take_profit, order.stop_loss):
        if leg is not None:
            prices += (leg.limit_price, leg.stop_price)
    for price in prices:
        if price is not None and (price <= 0 or price % (step or tick(price))):
            return f"price {price} is not on the tick"
    if order.order_type in ("stop", "stop_limit") and order.stop_price is None:
        return "a stop order needs its stop price"
    if order.order_type == "trailing_stop" and order.trail is None:
        return "a trailing stop needs its trail"
    return ""


def _bad_hours(order: Intent) -> str:
    if order.extended_hours and (order.order_type != "limit" or order.time_in_force not in ("day", "gtc")):
        return "extended hours take limit orders for the day or until cancelled only"
    if order.time_in_force in ("opg", "cls") and order.order_type != "limit":
        return "an auction takes limit orders only"
    return ""


def _bad_class(order: Intent) -> str:
    take, stop = order.take_profit, order.stop_loss
    up = 1 if order.side == "buy" else -1
    if order.order_class not in ("", "bracket", "oto"):
        return f"order class {order.order_class}"
    if order.order_class == "":
        return "legs need an order class"
    if order.order_class == "bracket" and (take is None or stop is None):
        return "a bracket needs both legs"
    if order.order_class == "oto" and (take is None) == (stop is None):
        return "an OTO needs exactly one leg"
    if order.extended_hours:
        return "legs do not work in extended hours"
    if take is not None and (take.limit_price is None or up * (take.limit_price - order.limit_price) <= 0):
        return "the take-profit must lie beyond the entry"
    if stop is not None and (stop.stop_price is None or up * (order.limit_price - stop.stop_price) <= 0):
        return "the stop must lie before the entry"
    return ""
