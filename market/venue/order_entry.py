"""What a client may ask for: the body of POST and PATCH, checked for shape and against the rules of entry.

Nothing here knows an account or a price; what needs them is refused by the exchange. Section 2.4 and the
40010001 and 42210000 rows of section 2.5 of the specification.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from market.venue.decimals import ZERO, decimal_places, parse_decimal
from market.venue.orders import ORDER_CLASSES, ORDER_TYPES, TIMES_IN_FORCE
from market.venue.refusals import invalid, malformed, sub_penny, unprocessable

_decoder = msgspec.json.Decoder(float_hook=Decimal)
CLIENT_ID_LENGTH_MAX = 128
_INTENTS = ("buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close")
_SYMBOL = re.compile(r"[A-Za-z0-9./ _-]{1,64}\Z")


def decode_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a request, every number exact; Refusal 400 when it is not one."""
    try:
        fields = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, ArithmeticError, RecursionError):
        raise malformed() from None
    if not isinstance(fields, dict):
        raise malformed()
    return fields


@dataclass(frozen=True, slots=True)
class OrderSpec:
    """An order as asked for, well formed. `symbol` may still be an asset id."""

    symbol: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    client_order_id: str | None = None
    order_class: str = ""
    position_intent: str | None = None
    take_profit_limit: Decimal | None = None
    stop_loss_stop: Decimal | None = None
    stop_loss_limit: Decimal | None = None

    @property
    def is_fractional(self) -> bool:
        """By dollars, or not a whole number of shares."""
        return self.notional is not None or (
            self.qty is not None and self.qty != self.qty.to_integral_value()
        )


def _number(fields: dict[str, Any], key: str) -> Decimal | None:
    value = fields.get(key)
    if value is None or value == "":
        return None
    try:
        return parse_decimal(value)
    except ValueError:
        raise malformed() from None


def _text(fields: dict[str, Any], key: str) -> str | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise malformed()
    return value


def _group(fields: dict[str, Any], key: str) -> dict[str, Any]:
    value = fields.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise malformed()
    return value


def check_tick(field: str, price: Decimal | None) -> None:
    """Two decimals at one dollar and above, four below it."""
    if price is None:
        return
    if decimal_places(price) > (2 if price >= 1 else 4):
        raise sub_penny(field, price)


def check_client_order_id(client_order_id: str | None) -> None:
    """At most 128 characters; uniqueness is the account's matter."""
    if client_order_id is not None and len(client_order_id) > CLIENT_ID_LENGTH_MAX:
        raise invalid(f"client_order_id must be no more than {CLIENT_ID_LENGTH_MAX} characters")


def parse_order(fields: dict[str, Any]) -> OrderSpec:
    """The order in a decoded body; Refusal when a field is missing, malformed or contradicts another."""
    symbol = _text(fields, "symbol")
    if not symbol:
        raise invalid("symbol is required")
    if not _SYMBOL.match(symbol):
        raise unprocessable(f'asset "{symbol[:64]}" not found')
    side = _text(fields, "side")
    if side not in ("buy", "sell"):
        raise invalid("side is required" if side is None else "invalid side")
    kind = _text(fields, "type")
    order_class = _text(fields, "order_class") or ""
    if order_class not in ORDER_CLASSES:
        raise invalid("invalid order_class")
    if kind is None:
        raise invalid("order type is required")
    if kind not in ORDER_TYPES:
        raise invalid("invalid order type")
    tif = _text(fields, "time_in_force")
    if tif is None:
        raise invalid("time_in_force is required")
    if tif not in TIMES_IN_FORCE:
        raise invalid("invalid time_in_force")
    extended = fields.get("extended_hours")
    if extended is not None and not isinstance(extended, bool):
        raise malformed()
    intent = _text(fields, "position_intent")
    if intent is not None and intent not in _INTENTS:
        raise invalid("invalid position_intent")
    take_profit, stop_loss = _group(fields, "take_profit"), _group(fields, "stop_loss")
    client_order_id = _text(fields, "client_order_id") or None
    check_client_order_id(client_order_id)
    spec = OrderSpec(
        symbol=symbol,
        side=side,
        type=kind,
        time_in_force=tif,
        qty=_number(fields, "qty"),
        notional=_number(fields, "notional"),
        limit_price=_number(fields, "limit_price"),
        stop_price=_number(fields, "stop_price"),
        trail_price=_number(fields, "trail_price"),
        trail_percent=_number(fields, "trail_percent"),
        extended_hours=bool(extended),
        client_order_id=client_order_id,
        order_class="" if order_class == "simple" else order_class,
        position_intent=intent,
        take_profit_limit=_number(take_profit, "limit_price"),
        stop_loss_stop=_number(stop_loss, "stop_price"),
        stop_loss_limit=_number(stop_loss, "limit_price"),
    )
    _check_size(spec)
    if spec.order_class:
        spec = _check_class(spec)
    _check_prices(spec)
    _check_time_in_force(spec)
    return spec


def _check_size(spec: OrderSpec) -> None:
    if spec.qty is None and spec.notional is None:
        raise invalid("qty or notional is required")
    if spec.qty is not None and spec.notional is not None:
        raise invalid("only one of qty or notional is accepted")
    if spec.qty is not None:
        if spec.qty <= 0:
            raise invalid("qty must be > 0")
        if decimal_places(spec.qty) > 9:
            raise invalid("qty must be limited to 9 decimal places")
    if spec.notional is not None:
        if spec.notional <= 0:
            raise invalid("notional must be > 0")
        if decimal_places(spec.notional) > 2:
            raise invalid("notional value must be limited to 2 decimal places")
        if spec.notional < 1:
            raise unprocessable("notional must be >= 1.00")


def _check_class(spec: OrderSpec) -> OrderSpec:
    """Bracket, OCO and OTO: which legs they need. An OCO's own limit price is its take-profit's."""
    target, stop = spec.take_profit_limit, spec.stop_loss_stop
    if spec.stop_loss_limit is not None and stop is None:
        raise invalid("stop_loss.stop_price is required")
    if spec.order_class == "bracket":
        if spec.type not in ("market", "limit"):
            raise invalid("bracket orders must be market or limit orders")
        if target is None:
            raise invalid("bracket orders require take_profit.limit_price")
        if stop is None:
            raise invalid("bracket orders require stop_loss.stop_price")
    elif spec.order_class == "oco":
        if spec.type != "limit":
            raise invalid("oco orders must be limit orders")
        target = target if target is not None else spec.limit_price
        if target is None:
            raise invalid("oco orders require take_profit.limit_price")
        if stop is None:
            raise invalid("oco orders require stop_loss.stop_price")
        spec = dataclasses.replace(spec, limit_price=target, take_profit_limit=target)
    elif (target is None) == (stop is None):
        raise invalid("oto orders require exactly one of take_profit or stop_loss")
    if spec.is_fractional:
        raise unprocessable("fractional orders must be simple orders")
    if spec.time_in_force not in ("day", "gtc"):
        raise invalid("invalid time_in_force")
    if spec.extended_hours:
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    return spec


def _check_prices(spec: OrderSpec) -> None:
    prices = [
        (name, price)
        for name, price in (
            ("limit_price", spec.limit_price),
            ("stop_price", spec.stop_price),
            ("trail_price", spec.trail_price),
            ("take_profit.limit_price", spec.take_profit_limit),
            ("stop_loss.stop_price", spec.stop_loss_stop),
            ("stop_loss.limit_price", spec.stop_loss_limit),
        )
        if price is not None
    ]
    for name, price in prices:
        if price <= 0:
            shown = name.replace("_", " ") if name in ("limit_price", "stop_price") else name
            raise invalid(f"{shown} must be > 0")
    if spec.type == "limit" and spec.limit_price is None:
        raise invalid("limit orders require a limit price")
    if spec.type == "stop" and spec.stop_price is None:
        raise invalid("stop orders require a stop price")
    if spec.type == "stop_limit" and (spec.stop_price is None or spec.limit_price is None):
        raise invalid("stop limit orders require both stop and limit price")
    if spec.type == "market" and (spec.limit_price is not None or spec.stop_price is not None):
        raise invalid("market orders require no stop or limit price")
    if spec.type == "trailing_stop":
        if (spec.trail_price is None) == (spec.trail_percent is None):
            raise invalid("trailing stop orders must specify one of trail_price or trail_percent")
        if spec.trail_percent is not None and spec.trail_percent < Decimal("0.1"):
            raise invalid("trail_percent must be >= 0.1")
        if spec.trail_percent is not None and spec.trail_percent >= 100:
            raise invalid("trail_percent must be < 100")
    for name, price in prices:
        check_tick(name, price)


def _check_time_in_force(spec: OrderSpec) -> None:
    if spec.is_fractional and spec.time_in_force != "day":
        raise unprocessable("fractional orders must be DAY orders")
    if spec.is_fractional and spec.type == "trailing_stop":
        raise unprocessable("fractional orders must be market, limit, stop or stop_limit orders")
    if spec.extended_hours and (spec.type != "limit" or spec.time_in_force not in ("day", "gtc")):
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    if spec.time_in_force in ("opg", "cls") and spec.type not in ("market", "limit"):
        raise invalid(f"{spec.time_in_force} orders must be market or limit orders")
    if spec.time_in_force in ("ioc", "fok") and spec.type not in ("market", "limit"):
        raise invalid(f"{spec.time_in_force} orders must be market or limit orders")
    if spec.type == "trailing_stop" and spec.time_in_force not in ("day", "gtc"):
        raise invalid("trailing stop orders must be DAY or GTC orders")


@dataclass(frozen=True, slots=True)
class ReplaceSpec:
    """What a PATCH asks to change; None leaves it as it is."""

    qty: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    time_in_force: str | None = None
    client_order_id: str | None = None


def parse_replace(fields: dict[str, Any]) -> ReplaceSpec:
    """The body of PATCH; Refusal when a value is malformed or not positive."""
    spec = ReplaceSpec(
        qty=_number(fields, "qty"),
        limit_price=_number(fields, "limit_price"),
        stop_price=_number(fields, "stop_price"),
        trail=_number(fields, "trail"),
        time_in_force=_text(fields, "time_in_force") or None,
        client_order_id=_text(fields, "client_order_id") or None,
    )
    for name, value in (
        ("qty", spec.qty),
        ("limit price", spec.limit_price),
        ("stop price", spec.stop_price),
        ("trail", spec.trail),
    ):
        if value is not None and value <= ZERO:
            raise invalid(f"{name} must be > 0")
    if spec.time_in_force is not None and spec.time_in_force not in TIMES_IN_FORCE:
        raise invalid("invalid time_in_force")
    check_client_order_id(spec.client_order_id)
    check_tick("limit_price", spec.limit_price)
    check_tick("stop_price", spec.stop_price)
    return spec
