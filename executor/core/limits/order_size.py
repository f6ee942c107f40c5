"""How large one order may be: shares, value, risk, and its part of what trades."""

from __future__ import annotations

import math

from executor.core.limits.limit import EQUITY, Bounds, Limit, Measured
from executor.core.limits.proposal import Proposal, Unknown


class OrderQuantity(Limit):
    """Shares of one order."""

    name = "order_qty"
    unit = "shares"
    formula = "quantity"
    source = "SEC Rule 15c3-5(c)(1)(ii); FIA 2024, maximum order size"
    unknown = "the bound is not set"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        return bounds["order_qty"], 0.0, order.qty


class OrderNotional(Limit):
    """Value of one order at its limit price."""

    name = "order_notional_usd"
    unit = "USD"
    formula = "quantity × limit price"
    source = "SEC Rule 15c3-5(c)(1)(ii); RTS 6 article 15(1)(b). The ledger checks it again in Decimal"
    unknown = "the bound is not set"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        return bounds["order_notional_usd"], 0.0, order.notional


class RiskPerTrade(Limit):
    """Equity lost by the whole position in the name if its protective exit is reached."""

    name = "risk_per_trade"
    version = 2
    unit = EQUITY
    formula = (
        "worst value × d ÷ equity, where d = |limit price − stop| ÷ limit price if the order carries a "
        "protective stop on its losing side, else d = risk_volatilities × daily volatility"
    )
    source = "the two-per-cent rule; k daily volatilities stand in where no stop is set"
    unknown = "no risk snapshot, a volatility that is not a positive number, or a stop on the wrong side"
    parameters = ("risk_volatilities",)

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity = order.equity
        if order.stop_price is not None:
            distance = order.direction * (order.limit_price - order.stop_price) / order.limit_price
            if not 0.0 < distance < 1.0:
                raise Unknown(
                    f"a stop at {order.stop_price} does not protect a {order.side} of {order.symbol}"
                )
        else:
            volatility = order.line.volatility
            if not 0.0 < volatility < math.inf:
                raise Unknown(f"daily volatility of {order.symbol} is unknown")
            distance = bounds["risk_volatilities"] * volatility
        return bounds["risk_per_trade"], order.line.worst * distance / equity, order.worst * distance / equity


class Participation(Limit):
    """The order's part of an average day's volume."""

    name = "participation"
    unit = "fraction of average daily volume"
    formula = "quantity ÷ mean shares a session over 21 sessions"
    source = "market impact grows with the square root of this fraction (models/cost/impact.py)"
    unknown = "no risk snapshot, or a volume that is not a positive number"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        volume = order.line.volume
        if not 0.0 < volume < math.inf:
            raise Unknown(f"average volume of {order.symbol} is unknown")
        return bounds["participation"], 0.0, order.qty / volume


class DisplayedSize(Limit):
    """The order against what the far side of the quote shows."""

    name = "displayed_size"
    unit = "multiple of the displayed size"
    formula = "quantity ÷ shares at the ask for a buy, at the bid for a sell"
    source = "an order many times what is shown moves the price before it is filled"
    unknown = "no quote, or no size shown on the far side"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        quote = order.line.latest
        if quote is None:
            raise Unknown(f"no quote for {order.symbol}")
        shown = quote.ask_size if order.side == "buy" else quote.bid_size
        if shown <= 0:
            raise Unknown(f"the quote for {order.symbol} shows no size to trade with")
        return bounds["displayed_size"], 0.0, order.qty / shown
