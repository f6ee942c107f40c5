"""From scores to the few names that are held and what they are expected to earn.

The walk-forward and the live proposal both go through these functions, so that what was validated is
what trades.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import OptimiserError
from models.portfolio.caps import Caps

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

ASSUMED_IC = 0.03
"""Skill assumed when scores become returns: about what daily equity features are published to have (Qlib's
benchmark of the same model: 0.045). It scales expected return against risk and cost; it is not fitted."""


def select(scores: Floats, held: NDArray[np.bool_], *, names: int, keep: float) -> Positions:
    """Positions of the names to hold: ``names`` at most, best score first.

    A held name stays while it ranks within ``keep`` times ``names``; free places go to the best of the
    others. Trading is thus for a reason, not for a rank that flickers. NaN scores are never held.
    """
    order = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), kind="stable")
    order = order[~np.isnan(scores[order])]
    within = order[: max(names, round(keep * names))]
    stays = within[held[within]][:names]
    fresh = order[~np.isin(order, stays)][: names - len(stays)]
    chosen = np.concatenate([stays, fresh])
    return np.asarray(chosen[np.argsort(-scores[chosen], kind="stable")], dtype=np.int64)


def expected_returns(scores: Floats, daily_volatility: Floats, horizon_sessions: int) -> Floats:
    """Expected total return a session of each name, (names,): IC x volatility x standardised score.

    Grinold 1994, "Alpha is volatility times IC times score", with the volatility of the label's horizon,
    spread over its sessions. NaN scores give NaN.
    """
    known = scores[~np.isnan(scores)]
    if not len(known):
        raise OptimiserError("no name has a score: nothing can be expected of any")
    deviation = known.std()
    standard = (
        (scores - known.mean()) / deviation if deviation > 0.0 else np.where(np.isnan(scores), np.nan, 0.0)
    )
    bounded = np.clip(standard, -3.0, 3.0)
    return np.asarray(ASSUMED_IC * daily_volatility * bounded / np.sqrt(horizon_sessions), dtype=np.float64)


def hold_within_band(target: Floats, previous: Floats, caps: Caps, *, band: float) -> Floats:
    """Leave weights alone that lie within ``band`` of their target, as far as the caps allow.

    Entries and exits always happen. If leaving them alone would break a cap, every weight goes to its
    target. The sum is brought within the budget by moving kept weights that are over their targets.
    """
    keeps = (target > 0.0) & (previous > 0.0) & (np.abs(previous - target) <= band * target)
    weights = np.where(keeps, previous, target)
    over = weights.sum() - caps.budget
    if over > 0.0:
        above = np.where(keeps, np.maximum(previous - target, 0.0), 0.0)
        if above.sum() > 0.0:
            weights = weights - above * min(1.0, over / above.sum())
    return weights if caps.admits(weights) else target
