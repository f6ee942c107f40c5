"""What may be lost: by the model's scenarios and factors tomorrow, and by the day already."""

from __future__ import annotations

from executor.core.limits.limit import EQUITY, Bounds, Limit, Measured
from executor.core.limits.proposal import Proposal, Unknown

SCENARIOS = "historical simulation over the snapshot's scenarios, one day"
FEW = "equity is unknown, a name is not in the snapshot, or it has too few scenarios"


def over_equity(order: Proposal, bound: float, before: float, after: float) -> Measured:
    """USD figures as fractions of equity."""
    equity = order.equity
    return bound, before / equity, after / equity


class ValueAtRisk(Limit):
    """One-day 95 % value at risk of the book after the order."""

    name = "value_at_risk"
    formula = "−5 % quantile of scenario P&L ÷ equity, each name at its worst value"
    source = SCENARIOS
    unknown = FEW

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        before, after = order.tails()
        return over_equity(order, bounds["value_at_risk"], before.var_95, after.var_95)


class ExpectedShortfall(Limit):
    """One-day 95 % expected shortfall (CVaR) of the book after the order."""

    name = "expected_shortfall"
    formula = "−mean of scenario P&L at or below its 5 % quantile ÷ equity"
    source = SCENARIOS
    unknown = FEW

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        before, after = order.tails()
        return over_equity(order, bounds["expected_shortfall"], before.es_95, after.es_95)


class ValueAtRisk99(Limit):
    """One-day 99 % value at risk of the book after the order."""

    name = "value_at_risk_99"
    formula = "−1 % quantile of scenario P&L ÷ equity"
    source = f"{SCENARIOS}; at least 500 scenarios"
    unknown = FEW

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        before, after = order.tails()
        return over_equity(order, bounds["value_at_risk_99"], before.var_99, after.var_99)


class ExpectedShortfall99(Limit):
    """One-day 99 % expected shortfall (CVaR) of the book after the order."""

    name = "expected_shortfall_99"
    formula = "−mean of scenario P&L at or below its 1 % quantile ÷ equity"
    source = f"{SCENARIOS}; at least 500 scenarios"
    unknown = FEW

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        before, after = order.tails()
        return over_equity(order, bounds["expected_shortfall_99"], before.es_99, after.es_99)


class Beta(Limit):
    """Worst-case exposure to the market, long or short."""

    name = "beta"
    unit = "beta of the book"
    formula = "max |Σ beta × value| ÷ equity over what open orders may do"
    source = "slope on the equal-weighted market over 252 sessions (models/risk/factors.py)"
    unknown = "equity is unknown, or the snapshot has no betas or not this name"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        exposure, line = order.exposure, order.line
        if order.book_modelled().beta is None:
            raise Unknown("the risk snapshot has no betas: propose again")
        more_high, more_low = order.high - line.high, order.low - line.low
        if line.beta < 0.0:
            more_high, more_low = more_low, more_high
        high, low = exposure.beta_high, exposure.beta_low
        before = max(high, -low)
        after = max(high + line.beta * more_high, -(low + line.beta * more_low))
        equity = order.equity
        return bounds["beta"], before / equity, after / equity


class FactorRisk(Limit):
    """Worst-case loss by one standard deviation of any one factor of the risk model."""

    name = "factor_risk"
    unit = EQUITY
    formula = "max over factors of |Σ loading × value| ÷ equity, over what open orders may do"
    source = "principal components of correlation, one daily standard deviation (models/risk/factors.py)"
    unknown = "equity is unknown, or the snapshot has no loadings or not this name"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        order.book_modelled()
        exposure, line = order.exposure, order.line
        if not line.loadings:
            raise Unknown("the risk snapshot has no factor loadings: propose again")
        before = exposure.factor_worst()
        more_high, more_low = order.high - line.high, order.low - line.low
        after = 0.0
        for loading, high, low in zip(line.loadings, exposure.factor_high, exposure.factor_low, strict=False):
            # The factor's highest and lowest sums after the order; the larger in size counts.
            if loading >= 0.0:
                after = max(after, high + loading * more_high, -low - loading * more_low)
            else:
                after = max(after, high + loading * more_low, -low - loading * more_high)
        equity = order.equity
        return bounds["factor_risk"], before / equity, after / equity


class DailyLoss(Limit):
    """Loss since the day's opening equity; at the bound no new risk is taken."""

    name = "daily_loss"
    version = 2
    unit = "fraction of the day's opening equity"
    formula = "1 − equity ÷ opening equity"
    source = "the daily loss breaker looks at the same figure (executor/core/breakers.py)"
    unknown = "equity, or what the day opened with, is unknown"
    passing = True

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        opening = order.exposure.book.day_open_equity
        if opening is None:
            raise Unknown("the day's opening equity is unknown")
        loss = 1.0 - order.equity / float(opening)
        return bounds["daily_loss"], loss, loss
