"""An order as the broker takes it."""

from __future__ import annotations

from typing import Any

from alpaca.trading.enums import OrderClass, OrderSide, OrderType, TimeInForce
from alpaca.trading.requests import (
    LimitOrderRequest,
    MarketOrderRequest,
    StopLimitOrderRequest,
    StopOrderRequest,
    TrailingStopOrderRequest,
)

from executor.core.commands import Submit

REQUESTS: dict[str, Any] = {
    "market": MarketOrderRequest,
    "limit": LimitOrderRequest,
    "stop": StopOrderRequest,
    "stop_limit": StopLimitOrderRequest,
    "trailing_stop": TrailingStopOrderRequest,
}


def order_fields(order: Submit) -> dict[str, Any]:
    """The body of ``POST /v2/orders``: alpaca-py's request model checks it, our decimals go as text.

    The model would send prices as binary floats; the service takes, and answers, decimal strings.
    Raises ``ValueError`` for terms that are no order.
    """
    terms: dict[str, Any] = {
        "symbol": order.symbol,
        "qty": float(order.qty),
        "side": OrderSide(order.side),
        "type": OrderType(order.order_type),
        "time_in_force": TimeInForce(order.time_in_force),
        "client_order_id": order.client_order_id,
        "extended_hours": order.extended_hours or None,
    }
    exact: dict[str, Any] = {"qty": f"{order.qty:f}"}
    if order.order_type in ("limit", "stop_limit"):
        exact["limit_price"] = f"{order.limit_price:f}"
    if order.order_type in ("stop", "stop_limit"):
        exact["stop_price"] = f"{order.stop_price:f}"
    if order.order_type == "trailing_stop":
        exact["trail_price"] = f"{order.trail:f}"
    if order.order_class:
        terms["order_class"] = OrderClass(order.order_class)
    if order.take_profit is not None:
        exact["take_profit"] = {"limit_price": f"{order.take_profit.limit_price:f}"}
    if order.stop_loss is not None:
        exact["stop_loss"] = {"stop_price": f"{order.stop_loss.stop_price:f}"}
        if order.stop_loss.limit_price is not None:
            exact["stop_loss"]["limit_price"] = f"{order.stop_loss.limit_price:f}"
    request = REQUESTS[order.order_type](**terms, **{k: v for k, v in exact.items() if k != "qty"})
    fields: dict[str, Any] = request.to_request_fields()
    return fields | exact
