"""The risk snapshot of a back-test: what live builds each night, from the same arrays, up to one session."""

from __future__ import annotations

import numpy as np

from executor.backtest.history import History
from models.cost.spread import pooled_spread
from models.risk.snapshot import (
    SCENARIOS,
    SPREAD_SESSIONS,
    VOLATILITY_SESSIONS,
    VOLUME_SESSIONS,
    Floats,
    RiskSnapshot,
    with_factors,
)

SESSIONS_MIN = 501
"""The tail limits need five hundred scenarios: before that the gate refuses every new risk."""


def snapshot_of(known: History) -> RiskSnapshot | None:
    """Of the names that traded in the last session of ``known``; None while the past is too short."""
    if len(known) < SESSIONS_MIN:
        return None
    listed = np.flatnonzero(np.isfinite(known.close[-1]))
    window = slice(max(0, len(known) - SCENARIOS - 1), None)
    close = _carried(known.close[window][:, listed])
    with np.errstate(invalid="ignore", divide="ignore"):
        returns = close[1:] / close[:-1] - 1.0
    seen = np.isfinite(returns)
    count = seen.sum(axis=1)
    market = np.where(seen, returns, 0.0).sum(axis=1) / np.maximum(count, 1)
    recent = np.where(seen, returns, market[:, None])
    traded = np.nan_to_num(
        known.close[-VOLUME_SESSIONS:, listed] * known.volume[-VOLUME_SESSIONS:, listed]
    ).mean(axis=0)
    o, h, low, c = (
        getattr(known, name)[-SPREAD_SESSIONS:, listed] for name in ("open", "high", "low", "close")
    )
    last = known.close[-1, listed]
    return with_factors(
        RiskSnapshot(
            as_of=known.sessions[-1],
            symbols=tuple(known.symbols[i] for i in listed.tolist()),
            close=last.copy(),
            daily_volatility=np.maximum(recent[-VOLATILITY_SESSIONS:].std(axis=0, ddof=1), 1e-4),
            average_volume=traded / last,
            spread=pooled_spread(o, h, low, c, traded, known.sessions[-1]),
            returns=np.ascontiguousarray(recent),
        )
    )


def _carried(close: Floats) -> Floats:
    """Each close carried over the sessions without one."""
    rows = np.where(np.isfinite(close), np.arange(len(close))[:, None], 0)
    np.maximum.accumulate(rows, axis=0, out=rows)
    return np.asarray(close[rows, np.arange(close.shape[1])])
