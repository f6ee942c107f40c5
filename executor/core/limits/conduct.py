"""What we must not do to ourselves or to the market: wash trades, duplicates, bursts, churning."""

from __future__ import annotations

from executor.core.limits.limit import EQUITY, Bounds, Limit, Measured, Rule
from executor.core.limits.proposal import Proposal


class WashTrade(Rule):
    """No own order on the other side that this one could trade with."""

    name = "wash_trade"
    formula = "own open orders of the other side whose limit price meets this one's (buy ≥ sell)"
    source = "FINRA Rule 5210.02 (self-trades); the broker refuses such an order"
    unknown = "never: an order that may still fill counts as open"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        crossing = 0.0
        for other in order.line.orders.values():
            if other.side == order.side:
                continue
            if order.direction * (order.limit_price - float(other.limit_price)) >= 0.0:
                crossing += 1.0
        return 0.0, 0.0, crossing


class DuplicateOrders(Limit):
    """The same order again: symbol, side and quantity."""

    name = "duplicate_orders"
    unit = "orders"
    formula = "orders of this symbol, side and quantity within duplicate_window_s, with this one"
    source = "SEC Rule 15c3-5(c)(1)(ii), duplicative orders"
    unknown = "never"
    parameters = ("duplicate_window_s",)
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        since_s = order.now_s - bounds["duplicate_window_s"]
        sent = float(order.pace.same(order.symbol, order.side, order.qty, since_s))
        return bounds["duplicate_orders"], sent, sent + 1.0


class RepeatedOrders(Limit):
    """Orders of one symbol in a short time, whatever their terms."""

    name = "repeated_orders"
    unit = "orders"
    formula = "orders of this symbol within repeat_window_s, with this one"
    source = "RTS 6 article 15(3), repeated automated execution throttle"
    unknown = "never"
    parameters = ("repeat_window_s",)
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        sent = float(order.pace.of(order.symbol, order.now_s - bounds["repeat_window_s"]))
        return bounds["repeated_orders"], sent, sent + 1.0


class MessageRate(Limit):
    """Messages to the broker, with a part kept for cancels, which are never held back."""

    name = "messages_per_minute"
    unit = "messages"
    formula = (
        "messages in use + 1 against half of messages_per_minute less messages_reserved; the other half of "
        "the minute's messages flows back evenly, so no minute holds more than the whole"
    )
    source = (
        "RTS 6 article 15(1)(d); FIA 2024: a throttle never rejects a cancel; the broker takes 200 a minute"
    )
    unknown = "never"
    parameters = ("messages_reserved",)
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        per_minute = bounds["messages_per_minute"]
        spent = order.pace.spent(order.now_s, per_minute)
        return per_minute / 2.0 - bounds["messages_reserved"], spent, spent + 1.0


class OrdersPerDay(Limit):
    """Orders placed in the session."""

    name = "orders_per_day"
    unit = "orders"
    formula = "orders of the session, with those the ledger has not answered yet, and this one"
    source = "RTS 6 article 15(1)(c); self-inflicted loops"
    unknown = "never"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        return bounds["orders_per_day"], float(order.orders_today), order.orders_today + 1.0


class NotionalPerDay(Limit):
    """Value traded in the session, with all that open orders may still trade."""

    name = "notional_per_day_usd"
    unit = "USD"
    formula = "Σ executions + Σ open orders at their limits + this order"
    source = "RTS 6 article 15(2): all orders sent count at once; SEC Rule 15c3-5(c)(1)(i)"
    unknown = "never"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        before = order.pace.traded_usd + order.exposure.open_usd
        return bounds["notional_per_day_usd"], before, before + order.notional


class Turnover(Limit):
    """The same as a fraction of equity: churning."""

    name = "turnover"
    unit = EQUITY
    formula = "(Σ executions + Σ open orders at their limits + this order) ÷ equity, both sides counted"
    source = "costs grow with it; a book that turns over more than planned is out of control"
    unknown = "equity is unknown"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity = order.equity
        before = order.pace.traded_usd + order.exposure.open_usd
        return bounds["turnover"], before / equity, (before + order.notional) / equity
