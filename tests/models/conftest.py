"""Synthetic price panels whose signal is known, so that finding it, or finding one where none is, shows."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from models.strategy import Strategy, Training, Universe

MakePrices = Callable[..., pl.DataFrame]


@pytest.fixture(scope="session")
def make_prices() -> MakePrices:
    """Prices in which today's volume foretells the relative return of the sessions t+2 to t+6.

    With strength k the correlation of ln(volume) and the label of five sessions is
    5k / sqrt(5 + 85 k^2): see ``planted_ic``.
    """

    def make(
        names: int = 30, sessions: int = 820, *, k: float = 0.0, seed: int = 1, spread: float = 0.0
    ) -> pl.DataFrame:
        random = np.random.default_rng(seed)
        signal = random.normal(size=(sessions, names))
        drift = np.zeros((sessions, names))
        for lag in range(2, 7):
            drift[lag:] += k * signal[:-lag]
        market = random.normal(0.0003, 0.008, (sessions, 1))
        returns = market + 0.015 * (random.normal(size=(sessions, names)) + drift)
        close = 50.0 * np.exp(np.cumsum(returns, axis=0)) * np.linspace(0.5, 2.0, names)
        gap = np.exp(0.004 * random.normal(size=close.shape))
        open_ = np.vstack([close[:1], close[:-1]]) * gap
        swing = np.exp(np.abs(0.006 * random.normal(size=(2, *close.shape))))
        volume = np.round(1e6 * np.exp(0.4 * signal))
        days = _weekdays(dt.date(2010, 1, 4), sessions)
        symbols = [f"S{i:03d}" for i in range(names)]
        flat = {
            "open": open_,
            "high": np.maximum(open_, close) * swing[0],
            "low": np.minimum(open_, close) / swing[1],
            "close": close,
            "volume": volume,
            "adj_close": close,
            "dividend": np.zeros_like(close),
            "split": np.ones_like(close),
        }
        return pl.DataFrame(
            {
                "symbol": np.repeat(symbols, sessions),
                "date": days * names,
                **{name: values.T.ravel() for name, values in flat.items()},
            },
            schema_overrides={"date": pl.Date},
        )

    return make


def _weekdays(start: dt.date, n: int) -> list[dt.date]:
    days, day = [], start
    while len(days) < n:
        if day.weekday() < 5:
            days.append(day)
        day += dt.timedelta(days=1)
    return days


@pytest.fixture(scope="session")
def planted_ic() -> Callable[[float], float]:
    """The Pearson correlation that ``make_prices`` plants."""
    return lambda k: 5.0 * k / math.sqrt(5.0 + 85.0 * k * k)


@pytest.fixture(scope="session")
def quick_strategy() -> Strategy:
    """A strategy small enough for a test: one year learned from, refitted every half year."""
    return Strategy(
        name="quick",
        universe=Universe(min_price=0.0, min_sessions=252),
        training=Training(window_years=1, refit_sessions=126, embargo=2),
    )


@pytest.fixture(scope="session")
def prices(make_prices: MakePrices) -> pl.DataFrame:
    """Thirty names, 820 sessions, a planted signal of correlation 0.11."""
    return make_prices(k=0.05)
