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
    rules = (
        (order.qty <= 0, "the quantity is not positive"),
        (len(order.client_order_id or "") > ID_MAX, f"its id is longer than {ID_MAX} characters"),
        (
            order.order_type not in ("limit", "stop", "stop_limit", "trailing_stop"),
            f"type {order.order_type}",
        ),
        (order.time_in_force not in ("day", "gtc", "opg", "cls"), f"time in force {order.time_in_force}"),
        *_fraction_rules(order, short),
        *_price_rules(order, step),
        (
            order.extended_hours
            and (order.order_type != "limit" or order.time_in_force not in ("day", "gtc")),
            "extended hours take limit orders for the day or until cancelled only",
        ),
        (
            order.time_in_force in ("opg", "cls") and order.order_type != "limit",
            "an auction takes limit orders only",
        ),
        *_class_rules(order),
    )
    return next((why for broken, why in rules if broken), "")


def _fraction_rules(order: Intent, short: bool) -> tuple[tuple[bool, str], ...]:
    fraction = not whole(order.qty)
    return (
        (fraction and order.time_in_force != "day", "fractions of a share are for the day only"),
        (fraction and order.order_class != "", "fractions of a share take no legs"),
        (fraction and short, "a short sale is in whole shares"),
        (fraction and order.qty != order.qty.quantize(FRACTION), "more than nine decimals of a share"),
    )


def _price_rules(order: Intent, step: Decimal | None) -> tuple[tuple[bool, str], ...]:
    legs = [leg for leg in (order.take_profit, order.stop_loss) if leg is not None]
    prices = [
        order.limit_price,
        order.stop_price,
        *(p for leg in legs for p in (leg.limit_price, leg.stop_price)),
    ]
    known = [p for p in prices if p is not None]
    off = [p for p in known if p <= 0 or p % (step or tick(p))]
    needs_stop = order.order_type in ("stop", "stop_limit") and order.stop_price is None
    needs_trail = order.order_type == "trailing_stop" and order.trail is None
    return (
        (bool(off), f"price {off[0] if off else ''} is not on the tick"),
        (needs_stop, "a stop order needs its stop price"),
        (needs_trail, "a trailing stop needs its trail"),
    )


def _class_rules(order: Intent) -> tuple[tuple[bool, str], ...]:
    take, stop = order.take_profit, order.stop_loss
    up = 1 if order.side == "buy" else -1
    entry = order.limit_price
    return (
        (order.order_class not in ("", "bracket", "oto"), f"order class {order.order_class}"),
        (order.order_class == "" and (take or stop) is not None, "legs need an order class"),
        (order.order_class == "bracket" and (take is None or stop is None), "a bracket needs both legs"),
        (order.order_class == "oto" and (take is None) == (stop is None), "an OTO needs exactly one leg"),
        (order.order_class != "" and order.extended_hours, "legs do not work in extended hours"),
        (
            take is not None and (take.limit_price is None or up * (take.limit_price - entry) <= 0),
            "the take-profit must lie beyond the entry",
        ),
        (
            stop is not None and (stop.stop_price is None or up * (entry - stop.stop_price) <= 0),
            "the stop must lie before the entry",
        ),
    )
