"""What else could have happened: block bootstrap of the walk-forward's daily returns.

Stationary bootstrap (Politis and Romano 1994): blocks of random length, drawn from the history with
wrapping, keep the clustering of volatility that independent draws destroy. The mean block length is
chosen by Politis and White (2004) with the correction of Patton, Politis and White (2009), as arch
computes it, for the returns and for their sizes; the longer counts, since drawdowns live on the clusters
(for S&P 500 returns the one is 9 sessions, the other over 100). A benchmark, if given, is drawn with the
same blocks, so both live through the same days.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import ValidationError

Floats = NDArray[np.float64]
PERCENTILES = (5, 25, 50, 75, 95)
FAN_POINTS = 80
SESSIONS_A_YEAR = 252


def block_length(returns: ArrayLike) -> float:
    """Mean block length in sessions that suits a series in the stationary bootstrap, at least 1."""
    from arch.bootstrap import optimal_block_length

    found = float(optimal_block_length(np.asarray(returns, dtype=np.float64))["stationary"].iloc[0])
    return max(1.0, found) if np.isfinite(found) else 1.0


def clustered_block_length(returns: ArrayLike) -> float:
    """The longer of the lengths for the returns and for their sizes, at most a twentieth of the history."""
    x = np.asarray(returns, dtype=np.float64)
    if not x.std() > 0.0:
        return 1.0
    return min(max(block_length(x), block_length(np.abs(x))), max(1.0, len(x) / 20.0))


def block_bootstrap(
    net: ArrayLike, paths: int = 1000, seed: int = 7, *, benchmark: ArrayLike | None = None
) -> dict[str, Any]:
    """Bootstrap a daily return series; the same series, paths and seed give the same answer.

    Returns a dict of plain numbers and lists:

    ``paths, sessions, seed, block_length``;
    ``terminal_wealth, cagr, max_drawdown, sharpe``: ``{"p5", "p25", "p50", "p75", "p95", "mean", "observed"}``,
    wealth per unit invested, drawdown <= 0, the rest a year;
    ``probability_of_loss``: part of the paths that end below where they began;
    ``probability_of_ruin``: part that ever lose half from the start;
    ``beats_benchmark``: part that end above the benchmark of the same blocks (only with ``benchmark``);
    ``fan``: ``{"session": [...], "p5": [...], ..., "p95": [...]}``, wealth along the way, for a chart.

    Raises:
        ValidationError: fewer than 60 returns, returns that are not finite, or a benchmark of another length.
    """
    from arch.bootstrap import StationaryBootstrap

    x = np.asarray(net, dtype=np.float64)
    if x.ndim != 1 or len(x) < 60:
        raise ValidationError(f"a block bootstrap needs at least 60 daily returns, got shape {x.shape}")
    if not np.isfinite(x).all() or (x <= -1.0).any():
        raise ValidationError(
            "the returns hold a value that is not finite or loses everything: check the book"
        )
    if paths < 20:
        raise ValidationError(f"percentiles need at least 20 paths, got {paths}")
    m = None if benchmark is None else np.asarray(benchmark, dtype=np.float64)
    if m is not None and m.shape != x.shape:
        raise ValidationError(
            f"the benchmark has {len(m)} returns, the book {len(x)}: give the same sessions"
        )

    length = clustered_block_length(x)
    at = np.unique(np.linspace(0, len(x) - 1, FAN_POINTS).astype(int))
    fan = np.empty((paths, len(at)))
    figures = np.empty((paths, 4))
    lowest = np.empty(paths)
    ahead = np.empty(paths)
    # arch draws with probability 1 / length, so a length need not be whole, whatever its hint says.
    sampler = StationaryBootstrap(length, np.arange(len(x)), seed=seed)  # type: ignore[arg-type]
    for i, (drawn, _) in enumerate(sampler.bootstrap(paths)):
        path = x[drawn[0]]
        wealth = np.cumprod(1.0 + path, dtype=np.float64)
        fan[i] = wealth[at]
        lowest[i] = wealth.min()
        figures[i] = _figures(path, wealth)
        if m is not None:
            ahead[i] = wealth[-1] > np.prod(1.0 + m[drawn[0]])

    names = ("terminal_wealth", "cagr", "max_drawdown", "sharpe")
    observed = _figures(x, np.cumprod(1.0 + x, dtype=np.float64))
    result: dict[str, Any] = {
        "paths": paths,
        "sessions": len(x),
        "seed": seed,
        "block_length": length,
        **{
            name: {**_percentiles(column), "mean": float(column.mean()), "observed": float(seen)}
            for name, column, seen in zip(names, figures.T, observed, strict=True)
        },
        "probability_of_loss": float((figures[:, 0] < 1.0).mean()),
        "probability_of_ruin": float((lowest < 0.5).mean()),
        "fan": {
            "session": (at + 1).tolist(),
            **{f"p{p}": np.percentile(fan, p, axis=0).tolist() for p in PERCENTILES},
        },
    }
    if m is not None:
        result["beats_benchmark"] = float(ahead.mean())
    return result


def _figures(path: Floats, wealth: Floats) -> Floats:
    """Terminal wealth, CAGR, deepest drawdown and Sharpe ratio of one path."""
    end = wealth[-1]
    depth = float((wealth / np.maximum(np.maximum.accumulate(wealth), 1.0)).min()) - 1.0
    deviation = float(path.std(ddof=1))
    ratio = np.sqrt(SESSIONS_A_YEAR) * float(path.mean()) / deviation if deviation > 0.0 else 0.0
    return np.array([end, end ** (SESSIONS_A_YEAR / len(path)) - 1.0, depth, ratio])


def _percentiles(values: Floats) -> dict[str, float]:
    return {f"p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
