"""One name of the book: what is held, ordered, quoted and known of it, and what it is worth at worst."""

from __future__ import annotations

from executor.core.events import Quote
from executor.core.orders import WorkingOrder

LONG_MARGIN = 0.25
SHORT_MARGIN = 0.30
SHORT_MARGIN_USD = 5.0
CHEAP_USD = 5.0
CHEAP_SHORT_MARGIN_USD = 2.5
"""FINRA Rule 4210(c): longs 25 %; shorts 30 % but at least 5 USD a share, under 5 USD all of it or 2.50."""


class Line:
    """One name: what is held, ordered, quoted and known of it, and what it adds to each sum."""

    __slots__ = (
        "ask", "beta", "bid", "buys", "close", "cluster", "column", "counted_high", "counted_low",
        "counted_signed", "exit", "fell", "held", "high", "latest", "loadings", "low", "mark", "mid", "open_usd",
        "orders", "pending", "required", "sector", "sells", "signed", "symbol", "top", "unmodelled", "unpriced",
        "usable", "volatility", "volume", "worst",
    )  # fmt: skip

    def __init__(self, symbol: str, sector: str | None) -> None:
        self.symbol = symbol
        self.sector = sector
        self.latest: Quote | None = None
        """The newest quote; the prices below are those of the last usable one."""
        self.usable = False
        """Whether the newest quote is."""
        self.bid = self.ask = self.mid = 0.0
        self.fell = False
        """Whether it was a tenth under the prior close, today or in the last session (Rule 201)."""
        self.orders: dict[str, WorkingOrder] = {}
        self.held = self.buys = self.sells = self.top = self.open_usd = 0.0
        self.high = self.low = self.worst = self.signed = self.mark = self.exit = self.required = 0.0
        self.unpriced = self.unmodelled = self.pending = False
        self.counted_signed = self.counted_high = self.counted_low = 0.0
        self.forget_model()

    def forget_model(self) -> None:
        """Nothing is known of its risk."""
        self.column = -1
        self.beta = self.volatility = self.volume = self.close = 0.0
        self.loadings: tuple[float, ...] = ()
        self.cluster = -1


def valued(up: float, down: float, price: float) -> tuple[float, float, float, float, float]:
    """``(high, low, worst, signed, required)`` in USD of a position between ``down`` and ``up`` shares.

    ``required`` is the maintenance margin of the worse side.
    """
    high, low = up * price, down * price
    required = high * LONG_MARGIN if high > 0.0 else 0.0
    if low < 0.0:
        cheap = price < CHEAP_USD
        each = max(price, CHEAP_SHORT_MARGIN_USD) if cheap else max(SHORT_MARGIN * price, SHORT_MARGIN_USD)
        required = max(required, -down * each)
    if high >= -low:
        return high, low, high, high, required
    return high, low, -low, low, required


def count_orders(line: Line) -> float:
    """Set what the line's open orders may buy and sell; returns their value in USD, and forgets ended ones.

    Orders of which the broker fills one or the other count once, at the larger: the legs of one entry, and
    an order with the one that replaces it.
    """
    orders = line.orders
    for cid in [cid for cid, order in orders.items() if not order.is_open]:
        del orders[cid]
    alternatives: dict[tuple[str, str], float] = {}
    open_usd = 0.0
    for cid, order in orders.items():
        left, price = float(order.remaining), float(order.worst_price or order.limit_price)
        line.top = max(line.top, price)
        if len(orders) > 1:
            replaced = order.replaces_client_order_id
            key = (
                order.parent_client_order_id or (replaced if replaced in orders else None) or cid,
                order.side,
            )
            counted = alternatives.get(key, 0.0)
            alternatives[key] = max(left, counted)
            left = max(left - counted, 0.0)
        if order.side == "buy":
            line.buys += left
        else:
            line.sells += left
        open_usd += left * price
    return open_usd
