"""The limits of the gate, one small class each, in the order in which a refusal names them.

A family a file. ``LIMITS`` is the list the gate runs: adding a limit is adding a class here and a bound in
:class:`executor.settings.LimitSettings`. ``docs/limits.md`` is generated from the classes.
"""

from __future__ import annotations

from executor.core.limits.book_size import (
    Cluster,
    Concentration,
    DrawdownExposure,
    Gross,
    Leverage,
    Net,
    Sector,
    SingleName,
    StageCapital,
)
from executor.core.limits.conduct import (
    DuplicateOrders,
    MessageRate,
    NotionalPerDay,
    OrdersPerDay,
    RepeatedOrders,
    Turnover,
    WashTrade,
)
from executor.core.limits.limit import Bounds, Limit, Measured, Rule
from executor.core.limits.loss import (
    Beta,
    DailyLoss,
    ExpectedShortfall,
    ExpectedShortfall99,
    FactorRisk,
    ValueAtRisk,
    ValueAtRisk99,
)
from executor.core.limits.margin import AccountAllows, BuyingPower, IntradayMargin
from executor.core.limits.order_size import (
    DisplayedSize,
    OrderNotional,
    OrderQuantity,
    Participation,
    RiskPerTrade,
)
from executor.core.limits.permission import (
    Borrow,
    Halted,
    InSession,
    OrderTermsAllowed,
    PriceBands,
    ShortExposure,
    ShortSaleRestriction,
    SymbolAllowed,
)
from executor.core.limits.price import PriceCollar, QuoteAge, QuoteSpread
from executor.core.limits.proposal import OrderTerms, Proposal, Unknown

__all__ = [
    "LIMITS",
    "PASSING",
    "VAR_LEVEL",
    "Bounds",
    "Limit",
    "Measured",
    "OrderTerms",
    "Proposal",
    "Rule",
    "Unknown",
]

VAR_LEVEL = 0.95

ORDER: tuple[Limit, ...] = (
    SymbolAllowed(),
    OrderTermsAllowed(),
    InSession(),
    Halted(),
    PriceBands(),
    ShortSaleRestriction(),
    Borrow(),
    OrderQuantity(),
    OrderNotional(),
    QuoteAge(),
    QuoteSpread(),
    PriceCollar(),
    RiskPerTrade(),
    Participation(),
    DisplayedSize(),
    AccountAllows(),
    BuyingPower(),
    IntradayMargin(),
    WashTrade(),
    DuplicateOrders(),
    RepeatedOrders(),
    MessageRate(),
)
"""What one order may be."""

PORTFOLIO: tuple[Limit, ...] = (
    SingleName(),
    ShortExposure(),
    Sector(),
    Cluster(),
    Gross(),
    Net(),
    Leverage(),
    Concentration(),
    Beta(),
    FactorRisk(),
    ValueAtRisk(),
    ExpectedShortfall(),
    ValueAtRisk99(),
    ExpectedShortfall99(),
    DrawdownExposure(),
    StageCapital(),
    Turnover(),
    OrdersPerDay(),
    NotionalPerDay(),
    DailyLoss(),
)
"""What the book may be after it, with all open and unknown orders at worst."""

LIMITS: tuple[Limit, ...] = ORDER + PORTFOLIO

PASSING = frozenset(limit.name for limit in LIMITS if limit.passing)
"""Limits whose breach can go away by itself."""
