"""What an order is expected to cost before it is sent: fees, half the spread, impact.

Standard library and the cost modules only: the executor's core calls this before each order, and
the walk-forward charges the same terms, so what was validated is what is expected and compared with
what was paid.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from models.cost.fees import Side, rates_on
from models.cost.impact import impact_fraction
from models.errors import CostError


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Expected cost of one order, USD; ``bps`` is the total over the order's notional."""

    fees: float
    spread: float
    impact: float
    total: float
    bps: float


def estimate(
    side: Side,
    qty: Decimal | float,
    price: Decimal | float,
    spread_fraction: float,
    adv_shares: float,
    daily_vol: float,
    day: dt.date,
) -> CostEstimate:
    """Expected cost of trading ``qty`` shares at about ``price``.

    Fees are the marginal accrual (the cent they are rounded up to once a day belongs to the day, not
    to the order); spread is half of ``spread_fraction`` times notional; impact is the square-root law.

    Raises:
        CostError: unknown side, a negative figure, or a spread that is not in [0, 1].
    """
    shares, at = float(qty), float(price)
    if side not in ("buy", "sell"):
        raise CostError(f"no cost is defined for side {side!r}: use 'buy' or 'sell'")
    if not (shares >= 0.0 and at >= 0.0):
        raise CostError(f"a cost needs a quantity and a price >= 0, got qty {qty} at price {price}")
    if not 0.0 <= spread_fraction <= 1.0:
        raise CostError(f"a spread is a fraction of price in [0, 1], got {spread_fraction}")
    notional = shares * at
    rates = rates_on(day)
    charged = shares * rates.any_per_share
    if side == "sell":
        activity = shares * rates.sell_per_share
        if rates.trading_activity.cap is not None:
            activity = min(activity, float(rates.trading_activity.cap))
        charged += notional * rates.sell_per_usd + activity
    half_spread = 0.5 * spread_fraction * notional
    moved = impact_fraction(shares, adv_shares, daily_vol) * notional if notional else 0.0
    total = charged + half_spread + moved
    return CostEstimate(charged, half_spread, moved, total, 1e4 * total / notional if notional else 0.0)
