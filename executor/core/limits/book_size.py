"""How much of the book may be where: names, sectors, clusters, sums, and what drawdown and stage leave."""

from __future__ import annotations

from executor.core.limits.limit import Bounds, Limit, Measured
from executor.core.limits.proposal import Proposal, Unknown

WORST = "all open and unknown orders at worst"


class SingleName(Limit):
    """Worst-case value of one name."""

    name = "single_name"
    formula = "worst value of the name ÷ equity"
    source = f"{WORST} (15c3-5(c)(1)(i)). The ledger checks it again in Decimal"
    unknown = "equity is unknown"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity = order.equity
        return bounds["single_name"], order.line.worst / equity, order.worst / equity


class Sector(Limit):
    """Worst-case value of the order's sector."""

    name = "sector"
    formula = "Σ worst values of the sector's names ÷ equity"
    source = WORST
    unknown = "equity, or the sector of the name, is unknown"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        sector = order.line.sector
        if sector is None:
            raise Unknown(f"sector of {order.symbol} is unknown")
        equity = order.equity
        before = order.exposure.sectors.get(sector, 0.0)
        return bounds["sector"], before / equity, (before + order.added) / equity


class Cluster(Limit):
    """Worst-case value of the names that move together with the ordered one."""

    name = "cluster"
    formula = "Σ worst values of the names of its cluster (mean correlation from 0.7 up) ÷ equity"
    source = "average linkage on 1 − correlation of daily returns (models/risk/factors.py)"
    unknown = "equity is unknown, or the snapshot has no clusters or not this name"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        order.book_modelled()
        cluster = order.line.cluster
        if cluster < 0:
            raise Unknown("the risk snapshot has no clusters: propose again")
        equity = order.equity
        before = order.exposure.clusters.get(cluster, 0.0)
        return bounds["cluster"], before / equity, (before + order.added) / equity


class Gross(Limit):
    """Worst-case gross value of the book."""

    name = "gross"
    version = 2
    formula = "Σ worst values ÷ equity"
    source = f"{WORST} (15c3-5(c)(1)(i)). The ledger checks it again in Decimal"
    unknown = "equity is unknown"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity, gross = order.equity, order.exposure.gross
        return bounds["gross"], gross / equity, (gross + order.added) / equity


class Net(Limit):
    """Worst-case net value, long or short."""

    name = "net"
    formula = "max(Σ highest values, −Σ lowest values) ÷ equity"
    source = WORST
    unknown = "equity is unknown"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity, exposure, line = order.equity, order.exposure, order.line
        before = max(exposure.high, -exposure.low)
        after = max(exposure.high + order.high - line.high, -(exposure.low + order.low - line.low))
        return bounds["net"], before / equity, after / equity


class Leverage(Limit):
    """Gross over what equity would be after a shock to every position at once."""

    name = "leverage"
    formula = "Σ worst values ÷ (equity − leverage_shock × Σ worst values)"
    source = "leverage rises as equity falls: measured after a fall, not before it"
    unknown = "equity is unknown, or the shock leaves none"
    parameters = ("leverage_shock",)

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity, before, shock = order.equity, order.exposure.gross, bounds["leverage_shock"]
        after = before + order.added
        left = equity - shock * after
        if left <= 0.0:
            raise Unknown(f"a fall of {shock:.0%} would leave no equity: leverage has no value")
        return bounds["leverage"], before / (equity - shock * before), after / left


class Concentration(Limit):
    """Herfindahl-Hirschman index of the book: its inverse is the number of equal names it is worth."""

    name = "concentration"
    unit = "HHI on fractions of equity"
    formula = "Σ (worst value ÷ equity)²"
    source = "Herfindahl 1950, Hirschman 1945; on equity, so that the first order is no concentration"
    unknown = "equity is unknown"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity, before = order.equity, order.exposure.squares
        after = before + order.added * (order.worst + order.line.worst)
        squared = equity * equity
        return bounds["concentration"], before / squared, after / squared


class DrawdownExposure(Limit):
    """Gross value that the drawdown leaves."""

    name = "drawdown_exposure"
    formula = "Σ worst values ÷ equity, against gross × the scale of the present drawdown"
    source = "the published curve of the drawdown breaker (executor/core/breakers.py)"
    unknown = "equity is unknown"
    setting = "gross"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity, gross = order.equity, order.exposure.gross
        return bounds["gross"] * order.scale, gross / equity, (gross + order.added) / equity


class StageCapital(Limit):
    """Capital allocated to the stage: all of it on paper, a little in a canary, then more."""

    name = "stage_capital"
    formula = "Σ worst values ÷ equity, against the smaller of stage_capital and capital_usd ÷ equity where that is set"
    source = "staged capital: raising it takes two persons, like any loosened limit. The ledger checks capital_usd again"
    unknown = "equity is unknown"

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        equity, gross = order.equity, order.exposure.gross
        bound, capital_usd = bounds["stage_capital"], bounds.get("capital_usd")
        if capital_usd is not None:
            bound = min(bound, capital_usd / equity)
        return bound, gross / equity, (gross + order.added) / equity
