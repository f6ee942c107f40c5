"""What moves names together: market beta, statistical factors, clusters of correlated names.

All are read from one matrix of daily returns without gaps (scenarios x names). They describe risk that
the number of names hides: thirty semiconductor makers are one position.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.errors import RiskError

Floats = NDArray[np.float64]
FACTORS = 5
"""Statistical factors kept. On 500 large names five explain about half the variance; more are noise."""
CORRELATED = 0.7
"""Names of one cluster correlate at least this much on average with each other."""
OBSERVATIONS_MIN = 21


def market_beta(returns: Floats, market: Floats) -> Floats:
    """Slope of each name's return on the market's, (names,); ordinary least squares with a constant.

    Args:
        returns: (scenarios x names).
        market: (scenarios,) returns of the market the slope is taken against.

    Raises:
        RiskError: too few scenarios, or a market that did not move.
    """
    _check(returns)
    centred = market - market.mean()
    variance = float(centred @ centred)
    if variance <= 0.0:
        raise RiskError("the market did not move in any scenario: no beta can be measured")
    return np.asarray(centred @ (returns - returns.mean(axis=0)) / variance)


def statistical_factors(returns: Floats, count: int = FACTORS) -> Floats:
    """Loadings of each name on the strongest principal components of correlation, (names x count).

        r_i = sigma_i * sum_k sqrt(lambda_k) * u_ik * f_k + e_i,     loading_ik = sigma_i * sqrt(lambda_k) * u_ik

    with unit-variance factors f, so a book's exposure ``w @ loadings[:, k]`` is its return when factor k
    moves by one daily standard deviation. Components of the correlation matrix, not of the covariance, so
    that one wild name is not a factor of its own (Connor and Korajczyk 1988 use the same device). The sign
    of each is fixed by a positive sum of its vector; columns past the number of names are zero.
    """
    _check(returns)
    names = returns.shape[1]
    sigma = returns.std(axis=0, ddof=1)
    correlation = _correlation(returns)
    values, vectors = np.linalg.eigh(correlation)
    kept = min(count, names)
    loadings = np.zeros((names, count))
    for k in range(kept):
        vector = vectors[:, -1 - k]
        sign = -1.0 if vector.sum() < 0.0 else 1.0
        loadings[:, k] = sign * sigma * np.sqrt(max(float(values[-1 - k]), 0.0)) * vector
    return loadings


def absorption_ratio(returns: Floats, count: int) -> float:
    """Share of the correlation matrix's variance in its ``count`` strongest components (Kritzman et al. 2011)."""
    _check(returns)
    values = np.linalg.eigvalsh(_correlation(returns))
    return float(values[-count:].sum() / values.sum())


def correlation_clusters(returns: Floats, correlated: float = CORRELATED) -> NDArray[np.int64]:
    """Cluster number of each name, (names,): average linkage on the distance ``1 - correlation``.

    Two clusters are joined while the mean correlation between their members is at least ``correlated``.
    Numbers follow the first member's place, so the same returns always give the same answer.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    _check(returns)
    if returns.shape[1] == 1:
        return np.zeros(1, dtype=np.int64)
    distance = np.clip(1.0 - _correlation(returns), 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    joined = linkage(squareform(distance, checks=False), method="average")
    found = fcluster(joined, t=1.0 - correlated + 1e-12, criterion="distance")
    order = {int(label): place for place, label in enumerate(dict.fromkeys(found.tolist()))}
    return np.array([order[int(label)] for label in found], dtype=np.int64)


def _correlation(returns: Floats) -> Floats:
    """Correlation matrix; a name that never moved correlates with nothing."""
    centred = returns - returns.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    scaled = centred / np.where(length > 0.0, length, 1.0)
    correlation = scaled.T @ scaled
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(0.5 * (correlation + correlation.T))


def _check(returns: Floats) -> None:
    if returns.ndim != 2 or returns.shape[1] == 0 or returns.shape[0] < OBSERVATIONS_MIN:
        raise RiskError(
            f"returns of shape {returns.shape}: at least {OBSERVATIONS_MIN} scenarios of one name are needed"
        )
    if not np.isfinite(returns).all():
        raise RiskError("returns hold a value that is not finite: rebuild the risk snapshot")
