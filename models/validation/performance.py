"""Statistics of a return series, each by its own formula and checked against published numbers.

Returns are simple and per session. Annualisation is 252 sessions, standard deviations are of a sample
(n - 1), drawdowns are of the compounded wealth from its running peak, the start included. Cash earns 0.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import ValidationError

Floats = NDArray[np.float64]
SESSIONS_A_YEAR = 252
_NORMAL = NormalDist()
_EULER = 0.5772156649015329


def _series(returns: ArrayLike) -> Floats:
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2:
        raise ValidationError(f"a statistic needs a series of at least two returns, got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValidationError(
            "the returns hold a value that is not finite: a missing session must be left out"
        )
    return x


def wealth(returns: ArrayLike) -> Floats:
    """Compounded wealth per unit invested, (n,): after each session."""
    return np.cumprod(1.0 + np.asarray(returns, dtype=np.float64), dtype=np.float64)


def sharpe(returns: ArrayLike, periods: int = SESSIONS_A_YEAR) -> float:
    """Annualised mean over standard deviation; 0 for a series that never moves."""
    x = _series(returns)
    deviation = float(x.std(ddof=1))
    return math.sqrt(periods) * float(x.mean()) / deviation if deviation > 0.0 else 0.0


def sortino(returns: ArrayLike, periods: int = SESSIONS_A_YEAR) -> float:
    """Annualised mean over the root mean square of the losses (all sessions counted)."""
    x = _series(returns)
    downside = math.sqrt(float((np.minimum(x, 0.0) ** 2).mean()))
    return math.sqrt(periods) * float(x.mean()) / downside if downside > 0.0 else 0.0


def volatility(returns: ArrayLike, periods: int = SESSIONS_A_YEAR) -> float:
    """Annualised standard deviation."""
    return math.sqrt(periods) * float(_series(returns).std(ddof=1))


def cagr(returns: ArrayLike, periods: int = SESSIONS_A_YEAR) -> float:
    """Compound growth a year; -1 once everything is lost."""
    x = _series(returns)
    end = float(wealth(x)[-1])
    return end ** (periods / len(x)) - 1.0 if end > 0.0 else -1.0


def drawdowns(returns: ArrayLike) -> Floats:
    """Distance of wealth from its running peak after each session, (n,), <= 0."""
    w = wealth(returns)
    return w / np.maximum.accumulate(np.maximum(w, 1.0)) - 1.0


def max_drawdown(returns: ArrayLike) -> float:
    """The deepest drawdown, <= 0 (-0.25 = a quarter lost from the peak)."""
    return float(drawdowns(_series(returns)).min())


def calmar(returns: ArrayLike, periods: int = SESSIONS_A_YEAR) -> float:
    """CAGR over the depth of the deepest drawdown; 0 if there was none."""
    depth = -max_drawdown(returns)
    return cagr(returns, periods) / depth if depth > 0.0 else 0.0


def beta(returns: ArrayLike, benchmark: ArrayLike) -> float:
    """Slope of the returns on the benchmark's; 0 where the benchmark never moves."""
    x, m = _series(returns), _series(benchmark)
    spread = m - m.mean()
    power = float(spread @ spread)
    return float(spread @ x) / power if power > 0.0 else 0.0


def information_ratio(returns: ArrayLike, benchmark: ArrayLike, periods: int = SESSIONS_A_YEAR) -> float:
    """Annualised Sharpe ratio of the difference to the benchmark."""
    return sharpe(_series(returns) - _series(benchmark), periods)


def skewness(returns: ArrayLike) -> float:
    """Third standardised moment of the population; 0 for a series that never moves."""
    return _moment(_series(returns), 3)


def kurtosis(returns: ArrayLike) -> float:
    """Fourth standardised moment of the population, 3 for a normal; 3 for a series that never moves."""
    x = _series(returns)
    return _moment(x, 4) if x.std() > 0.0 else 3.0


def _moment(x: Floats, order: int) -> float:
    deviation = float(x.std())
    return float((((x - x.mean()) / deviation) ** order).mean()) if deviation > 0.0 else 0.0


def probabilistic_sharpe(
    sharpe_ratio: float, n: int, *, skew: float = 0.0, kurt: float = 3.0, target: float = 0.0
) -> float:
    """Probability that the true Sharpe ratio is above ``target`` (Bailey and Lopez de Prado 2012).

    ``sharpe_ratio`` and ``target`` are per period (not annualised), ``n`` the number of returns, ``kurt``
    not in excess. The 2012 convention: variance at the observed ratio, n - 1.
    """
    variance = _ratio_variance(sharpe_ratio, skew, kurt)
    return _NORMAL.cdf((sharpe_ratio - target) * math.sqrt(n - 1) / math.sqrt(variance))


def psr(returns: ArrayLike, target_annual: float = 0.0, periods: int = SESSIONS_A_YEAR) -> float:
    """``probabilistic_sharpe`` of a series, with its own skewness and kurtosis."""
    x = _series(returns)
    ratio = sharpe(x, 1)
    target = target_annual / math.sqrt(periods)
    return probabilistic_sharpe(ratio, len(x), skew=skewness(x), kurt=kurtosis(x), target=target)


def min_track_record(
    sharpe_ratio: float, *, skew: float = 0.0, kurt: float = 3.0, target: float = 0.0, alpha: float = 0.05
) -> float:
    """Periods needed to say with confidence 1 - alpha that the true ratio is above ``target`` (2012)."""
    if sharpe_ratio <= target:
        return math.inf
    z = _NORMAL.inv_cdf(1.0 - alpha)
    return 1.0 + _ratio_variance(sharpe_ratio, skew, kurt) * (z / (sharpe_ratio - target)) ** 2


def expected_max_sharpe(trials: int) -> float:
    """Expected largest of ``trials`` standard normal ratios (Bailey et al. 2014's approximation)."""
    if trials < 2:
        return 0.0
    return (1.0 - _EULER) * _NORMAL.inv_cdf(1.0 - 1.0 / trials) + _EULER * _NORMAL.inv_cdf(
        1.0 - 1.0 / (trials * math.e)
    )


def deflated_sharpe(
    sharpe_ratio: float, n: int, *, trials: int, trial_variance: float, skew: float = 0.0, kurt: float = 3.0
) -> float:
    """PSR against the best ratio that luck alone gives in ``trials`` tries (Bailey, Lopez de Prado 2014).

    All ratios per period; ``trial_variance`` is the variance of the tried ratios per period. The classic
    2014 convention, the most conservative of the three in print.
    """
    target = math.sqrt(trial_variance) * expected_max_sharpe(trials)
    return probabilistic_sharpe(sharpe_ratio, n, skew=skew, kurt=kurt, target=target)


def _ratio_variance(sharpe_ratio: float, skew: float, kurt: float) -> float:
    variance = 1.0 - skew * sharpe_ratio + (kurt - 1.0) / 4.0 * sharpe_ratio**2
    if variance <= 0.0:
        raise ValidationError(
            f"ratio {sharpe_ratio:.3f}, skewness {skew:.2f} and kurtosis {kurt:.2f} are not moments of one series"
        )
    return variance


def newey_west_t(x: ArrayLike, lags: int) -> float:
    """t of a mean whose observations overlap (Newey and West 1987, Bartlett weights)."""
    values = _series(x)
    centred = values - values.mean()
    n = len(values)
    variance = float(centred @ centred) / n
    for k in range(1, min(lags, n - 1) + 1):
        variance += 2.0 * (1.0 - k / (lags + 1)) * float(centred[k:] @ centred[:-k]) / n
    return float(values.mean()) / math.sqrt(variance / n) if variance > 0.0 else 0.0
