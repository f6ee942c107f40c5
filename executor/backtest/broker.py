"""The back-test's broker: what an order fills at, and what that costs.

An order is filled whole, at once, at the ask for a buy and the bid for a sell (the price of the session,
its open or its close, half the estimated spread away), if its limit allows that price; otherwise not at
all, and it is cancelled at the end of the session. The square-root impact of the whole order and the
regulatory fees of the date are charged in cash beside the fill, because a limit order's own price
cannot say them. Shares are adjusted shares, so per-share fees are approximate before splits.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal

from executor.core.commands import Submit
from executor.core.events import Quote
from models.cost.estimate import CostEstimate, estimate
from models.cost.fees import Side

CENT = Decimal("0.01")
IMPACT_MAX = 0.10
"""Impact is charged up to this fraction: beyond it the law is not measured."""


@dataclass(frozen=True)
class Trade:
    """One fill with its costs, USD."""

    session: dt.date
    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    mid: Decimal
    purpose: str
    fees: float
    spread: float
    impact: float


@dataclass
class BacktestBroker:
    """Fills orders against the quotes of the session."""

    impact_y: float = 1.0
    trades: list[Trade] = field(default_factory=list)
    owed: float = 0.0
    """Fees and impact of the session, to be charged at its end."""

    def fill(
        self,
        order: Submit,
        quote: Quote | None,
        volume: float,
        volatility: float,
        session: dt.date,
        purpose: str,
    ) -> Trade | None:
        """The fill of an order now, or None if its limit (or the lack of a market) forbids it."""
        if quote is None or not quote.usable:
            return None
        price = quote.ask if order.side == "buy" else quote.bid
        if (price > order.limit_price) if order.side == "buy" else (price < order.limit_price):
            return None
        cost = self._cost(order, quote, volume, volatility, session)
        self.owed += cost.fees + cost.impact
        trade = Trade(
            session, order.client_order_id, order.symbol, order.side, order.qty, price, quote.mid, purpose,
            cost.fees, cost.spread, cost.impact,
        )  # fmt: skip
        self.trades.append(trade)
        return trade

    def _cost(
        self, order: Submit, quote: Quote, volume: float, volatility: float, session: dt.date
    ) -> CostEstimate:
        side: Side = "buy" if order.side == "buy" else "sell"
        mid = float(quote.mid)
        width = float(quote.ask - quote.bid) / mid
        known = volume > 0 and volatility > 0
        cost = estimate(
            side, order.qty, mid, width, volume if known else 1.0, volatility if known else 0.0, session
        )
        most = IMPACT_MAX * float(order.qty) * mid
        impact = min(cost.impact * self.impact_y, most) if known else most
        return CostEstimate(cost.fees, cost.spread, impact, cost.fees + cost.spread + impact, cost.bps)

    def charge(self) -> Decimal:
        """What the session's fees and impact take out of the cash, to the cent; 0 if nothing was traded."""
        amount = Decimal(str(round(self.owed, 2))).quantize(CENT)
        self.owed = 0.0
        return -amount
