"""Target weights of one proposal: skfolio's MeanRisk on the selected names, with the user's caps.

    maximise   mu'w - lambda/2 w'Sigma w - c'|w - w0|
    subject to lower <= w <= upper,  sum(w) = budget,  sum(w of a sector) <= sector

mu from the scores (``selection.expected_returns``), Sigma the Ledoit-Wolf shrunk covariance of the
snapshot's newest 252 scenarios, c half the spread plus fees and the square-root impact of a typical
order, spread over the sessions a position is held; the bounds are those of ``caps``.

If skfolio fails, the same programme goes straight to the solver (``mean_variance``); if that fails too,
the names get equal weights under the caps (``equal_weights``). Which of the three it was is logged.
Frames and arrays outside; skfolio's pandas is never seen.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, Decimal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.cost.fees import rates_on
from models.cost.impact import impact_fractions
from models.errors import OptimiserError
from models.portfolio import mean_variance
from models.portfolio.caps import Caps, caps_of
from models.portfolio.selection import expected_returns, hold_within_band, select
from models.risk.snapshot import RiskSnapshot
from models.strategy import Strategy

Floats = NDArray[np.float64]
log = logging.getLogger(__name__)

COVARIANCE_SESSIONS = 252
HOLDING_SESSIONS = 21
"""Sessions over which the cost of a trade is written off."""
WEIGHT_MIN = Decimal("0.002")
"""Positions under 20 bp of equity are not worth their tickets."""
QUANTUM = Decimal("0.000001")
UNCLASSIFIED = "Unclassified"
"""Names without a known sector share one, and its cap: unknown is not unlimited."""


def target_weights(
    scores: pl.DataFrame,
    snapshot: RiskSnapshot,
    sectors: Mapping[str, str],
    strategy: Strategy,
    previous: Mapping[str, float] | None = None,
) -> dict[str, Decimal]:
    """Target weights by symbol, fractions of equity, rounded down to 1e-6; absent means zero.

    Args:
        scores: ``symbol, score``; names the snapshot does not know are left out.
        previous: weights held now; makes the proposal mind what trading costs.

    Raises:
        OptimiserError: no name is admissible, or a symbol is scored twice.
    """
    _refuse_duplicates(scores)
    symbols, score, at = _admissible(scores, snapshot, strategy)
    held = np.array([float((previous or {}).get(symbol, 0.0)) for symbol in symbols])
    if np.isnan(held).any() or (held < 0.0).any():
        raise OptimiserError("previous weights must be fractions >= 0 of equity: this strategy is long only")
    mu = expected_returns(score, snapshot.daily_volatility[at], strategy.label.horizon_sessions)
    chosen = select(score, held > 0.0, names=strategy.names_held(len(symbols)), keep=strategy.portfolio.keep)
    names = [symbols[i] for i in chosen]
    groups = [sectors.get(symbol) or UNCLASSIFIED for symbol in names]
    returns = snapshot.returns[-COVARIANCE_SESSIONS:][:, at[chosen]]
    cost = trading_costs(snapshot, at[chosen], strategy) if previous else None
    caps = caps_of(groups, strategy.portfolio)
    weights = _solve(names, mu[chosen], returns, caps, strategy.portfolio.risk_aversion, cost, held[chosen])
    if previous:
        weights = hold_within_band(weights, held[chosen], caps, band=strategy.portfolio.band)
    return _quantised(names, weights, caps)


def trading_costs(snapshot: RiskSnapshot, at: NDArray[np.int64], strategy: Strategy) -> Floats:
    """Cost of trading one unit of weight, in return a session, (names,).

    Half the spread, half the round trip's fees and the impact of a position of average size, written off
    over ``HOLDING_SESSIONS``.
    """
    order_usd = np.full(len(at), strategy.costs.capital_usd * strategy.portfolio.gross / max(1, len(at)))
    dollar_volume = snapshot.average_volume[at] * snapshot.close[at]
    impact = impact_fractions(
        order_usd, dollar_volume, snapshot.daily_volatility[at], strategy.costs.impact_y
    )
    rates = rates_on(snapshot.as_of)
    fees = 0.5 * rates.sell_per_usd + (0.5 * rates.sell_per_share + rates.any_per_share) / snapshot.close[at]
    once = 0.5 * snapshot.spread[at] + np.minimum(impact, 0.1) + fees + strategy.costs.commission_bps / 1e4
    return once / HOLDING_SESSIONS


def equal_weights(caps: Caps) -> Floats:
    """Equal weights under the caps, (names,): water poured evenly until a cap or the budget stops it."""
    members = caps.membership
    weights = np.zeros(len(caps.groups))
    pouring = np.ones(len(weights), dtype=bool)
    while pouring.any() and weights.sum() < caps.budget - 1e-12:
        inflow = members @ pouring
        sector_room = ((caps.sector - members @ weights)[inflow > 0] / inflow[inflow > 0]).min()
        name_room = caps.upper - weights[pouring].max()
        weights[pouring] += max(
            0.0, min((caps.budget - weights.sum()) / pouring.sum(), name_room, sector_room)
        )
        full = members.T @ (members @ weights >= caps.sector - 1e-12) > 0
        pouring &= (weights < caps.upper - 1e-12) & ~full
    return weights


def skfolio_weights(
    names: Sequence[str],
    mu: Floats,
    returns: Floats,
    caps: Caps,
    *,
    risk_aversion: float,
    cost: Floats | None = None,
    previous: Floats | None = None,
) -> Floats:
    """The programme above by skfolio's MeanRisk, (names,)."""
    from skfolio import RiskMeasure
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import MeanRisk, ObjectiveFunction
    from skfolio.prior import EmpiricalPrior

    # skfolio estimates mu from the returns it is given: shift each column so that its mean is ours,
    # which leaves the covariance as it is.
    shifted = returns - returns.mean(axis=0) + mu
    labels = sorted(set(caps.groups))
    tags = [f"g{labels.index(group)}" for group in caps.groups]  # skfolio parses names: no spaces in them
    model = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_measure=RiskMeasure.VARIANCE,
        risk_aversion=risk_aversion / 2.0,  # skfolio's utility has no half
        prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()),
        min_weights=caps.lower,
        max_weights=caps.upper,
        budget=caps.budget,
        groups=[list(names), tags],
        linear_constraints=[f"g{i} <= {caps.sector}" for i in range(len(labels))],
        transaction_costs=0.0 if cost is None else cost,
        previous_weights=None if cost is None else previous,
    )
    model.fit(shifted)
    return np.asarray(model.weights_, dtype=np.float64)


def shrunk_covariance(returns: Floats) -> Floats:
    """Ledoit and Wolf's (2004) covariance a session, (names x names), as skfolio's prior computes it."""
    from sklearn.covariance import ledoit_wolf

    return np.asarray(ledoit_wolf(returns)[0], dtype=np.float64)


def _solve(
    names: Sequence[str],
    mu: Floats,
    returns: Floats,
    caps: Caps,
    risk_aversion: float,
    cost: Floats | None,
    held: Floats,
) -> Floats:
    previous = None if cost is None else held
    try:
        weights = skfolio_weights(
            names, mu, returns, caps, risk_aversion=risk_aversion, cost=cost, previous=previous
        )
        if caps.admits(weights, tolerance=1e-5):
            return weights
        log.warning("skfolio's weights for %d names break the caps; solving directly", len(names))
    except Exception as error:  # a solver may fail in any way; each has the same answer
        log.warning("skfolio failed for %d names (%s); solving directly", len(names), error)
    try:
        return mean_variance.solve(
            mu, shrunk_covariance(returns), caps, risk_aversion=risk_aversion, cost=cost, previous=previous
        )
    except (OptimiserError, ValueError, np.linalg.LinAlgError) as error:
        log.warning("the direct solver failed too (%s); equal weights under the caps", error)
        return equal_weights(caps)


def _refuse_duplicates(scores: pl.DataFrame) -> None:
    missing = [name for name in ("symbol", "score") if name not in scores.columns]
    if missing:
        raise OptimiserError(f"scores lack {', '.join(missing)}; found {', '.join(scores.columns)}")
    twice = scores.filter(pl.col("symbol").is_duplicated())["symbol"]
    if len(twice):
        raise OptimiserError(f"{twice[0]} is scored more than once: give the scores of one session")


def _admissible(
    scores: pl.DataFrame, snapshot: RiskSnapshot, strategy: Strategy
) -> tuple[list[str], Floats, NDArray[np.int64]]:
    """Symbols that may be held, their scores and their columns in the snapshot, most liquid first kept."""
    rules = strategy.universe
    column = {symbol: i for i, symbol in enumerate(snapshot.symbols)}
    traded = snapshot.average_volume * snapshot.close
    rows = []
    for symbol, value in scores.select("symbol", "score").iter_rows():
        i = column.get(symbol)
        if i is None or value is None or not np.isfinite(value):
            continue
        if snapshot.close[i] < rules.min_price or traded[i] < rules.min_dollar_volume:
            continue
        rows.append((symbol, float(value), i))
    if not rows:
        raise OptimiserError(
            f"none of {scores.height} scored names may be held on {snapshot.as_of}: each is missing from the risk "
            f"snapshot, has no score, or is under {rules.min_price} USD or {rules.min_dollar_volume:.0f} USD a day"
        )
    rows.sort(key=lambda row: (-traded[row[2]], row[0]))
    rows = sorted(rows[: rules.max_names])
    return (
        [row[0] for row in rows],
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows], dtype=np.int64),
    )


def _quantised(names: Sequence[str], weights: Floats, caps: Caps) -> dict[str, Decimal]:
    """Weights as exact decimals, rounded down, inside every cap; dust left out."""
    upper, sector, left = (Decimal(str(x)) for x in (caps.upper, caps.sector, caps.budget))
    out: dict[str, Decimal] = {}
    room = dict.fromkeys(caps.groups, sector)
    rows = zip(names, weights.tolist(), caps.groups, strict=True)
    for symbol, weight, group in sorted(rows, key=lambda row: -row[1]):
        # A solver keeps a cap to about 1e-8: give that hair back before rounding down.
        exact = min(Decimal(repr(weight)) + Decimal("1e-8"), upper, room[group], left)
        exact = exact.quantize(QUANTUM, rounding=ROUND_DOWN)
        if exact < WEIGHT_MIN:
            continue
        out[symbol] = exact
        room[group] -= exact
        left -= exact
    if not out:
        raise OptimiserError(
            f"every weight of {len(names)} names came out under {WEIGHT_MIN}: widen the caps"
        )
    return dict(sorted(out.items()))
