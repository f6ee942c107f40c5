"""Crisis replay: what the book did, or what today's weights would have done, in crises that happened.

A crisis runs from the close of its peak (or its eve) to the close of its trough in the S&P 500, so a
replay is the compounded return of the sessions after the first up to and including the last. Only
crises that the data cover whole are answered; there is no guess about the others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models.errors import ValidationError
from models.panel import fill_forward, to_panel


@dataclass(frozen=True)
class Crisis:
    """A named fall, from the close of ``start`` to the close of ``end``."""

    name: str
    start: dt.date
    end: dt.date


def _crisis(name: str, start: str, end: str) -> Crisis:
    return Crisis(name, dt.date.fromisoformat(start), dt.date.fromisoformat(end))


CRISES: tuple[Crisis, ...] = (
    _crisis("Gulf war 1990", "1990-07-16", "1990-10-11"),
    _crisis("Asian crisis, one day 1997", "1997-10-24", "1997-10-27"),
    _crisis("Russia and LTCM 1998", "1998-07-17", "1998-08-31"),
    _crisis("Dot-com 2000-2002", "2000-03-24", "2002-10-09"),
    _crisis("11 September 2001", "2001-09-10", "2001-09-21"),
    _crisis("Quant crisis 2007", "2007-08-08", "2007-08-15"),
    _crisis("Financial crisis 2007-2009", "2007-10-09", "2009-03-09"),
    _crisis("Lehman 2008", "2008-09-12", "2008-11-20"),
    _crisis("Flash crash 2010", "2010-05-05", "2010-05-07"),
    _crisis("US downgrade 2011", "2011-07-22", "2011-08-08"),
    _crisis("China devaluation 2015", "2015-08-17", "2015-08-25"),
    _crisis("Volmageddon 2018", "2018-01-26", "2018-02-08"),
    _crisis("Fourth quarter 2018", "2018-09-20", "2018-12-24"),
    _crisis("Covid 2020", "2020-02-19", "2020-03-23"),
    _crisis("Bear market 2022", "2022-01-03", "2022-10-12"),
)


def crisis_replay(
    book: pl.DataFrame | Mapping[str, float], prices: pl.DataFrame | None = None
) -> list[dict[str, Any]]:
    """Replay every crisis that the data cover.

    Args:
        book: either the walk-forward's returns (``date, net, benchmark``) or weights held today by symbol,
            which are then bought at the peak and held to the trough.
        prices: canonical daily prices; needed for weights. A name without prices in a crisis takes the mean
            of the others (a beta of one); the part of the book it stands for is reported.

    Returns:
        One dict a crisis, oldest first: ``name, start, end, sessions, portfolio, benchmark, max_drawdown``
        (returns of the whole crisis; drawdown <= 0 inside it) and ``proxied`` (weight without own prices).
        The benchmark of weights is the equal-weighted universe, rebalanced daily.

    Raises:
        ValidationError: weights without prices, or a frame without the columns.
    """
    if isinstance(book, pl.DataFrame):
        missing = [name for name in ("date", "net", "benchmark") if name not in book.columns]
        if missing:
            raise ValidationError(f"the returns lack {', '.join(missing)}; found {', '.join(book.columns)}")
        ordered = book.sort("date")
        days = np.array(ordered["date"].to_list(), dtype="datetime64[D]")
        net, benchmark = ordered["net"].to_numpy(), ordered["benchmark"].to_numpy()
        return [
            _answer(crisis, net[inside], benchmark[inside], 0.0)
            for crisis in CRISES
            if (inside := _inside(days, crisis)) is not None
        ]
    if prices is None:
        raise ValidationError("weights are replayed through prices: give the canonical price frame too")
    return _replay_weights(book, prices)


def _replay_weights(weights: Mapping[str, float], prices: pl.DataFrame) -> list[dict[str, Any]]:
    panel = to_panel(prices, ("adj_close",))
    days = np.array(panel.sessions, dtype="datetime64[D]")
    adjusted = fill_forward(panel["adj_close"])
    returns = adjusted[1:] / adjusted[:-1] - 1.0
    seen = np.isfinite(returns)
    market = np.where(seen, returns, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    column = {symbol: i for i, symbol in enumerate(panel.symbols)}
    answers = []
    for crisis in CRISES:
        inside = _inside(days[1:], crisis)
        if inside is None:
            continue
        proxied = 0.0
        value = np.zeros(len(market[inside]))
        for symbol, weight in weights.items():
            i = column.get(symbol)
            if i is None or not seen[inside, i].all():
                path, proxied = market[inside], proxied + abs(weight)
            else:
                path = returns[inside, i]
            value += weight * np.cumprod(1.0 + path)
        # Bought at the peak and held; what is not invested stays cash.
        wealth = 1.0 - sum(weights.values()) + value
        own = np.diff(np.concatenate([[1.0], wealth])) / np.concatenate([[1.0], wealth[:-1]])
        answers.append(_answer(crisis, own, market[inside], proxied))
    return answers


def _inside(days: np.ndarray, crisis: Crisis) -> slice | None:
    """The return days of a crisis, or None where the series does not cover it whole."""
    low = int(np.searchsorted(days, np.datetime64(crisis.start), side="right"))
    high = int(np.searchsorted(days, np.datetime64(crisis.end), side="right"))
    # The series must reach back to the peak (a long weekend at most) and on to the trough.
    covered = low < high and (low > 0 or days[0] - np.datetime64(crisis.start) <= np.timedelta64(5, "D"))
    return slice(low, high) if covered and days[-1] >= np.datetime64(crisis.end) else None


def _answer(crisis: Crisis, own: np.ndarray, benchmark: np.ndarray, proxied: float) -> dict[str, Any]:
    wealth = np.cumprod(1.0 + own)
    peak = np.maximum.accumulate(np.maximum(wealth, 1.0))
    return {
        "name": crisis.name,
        "start": crisis.start,
        "end": crisis.end,
        "sessions": len(own),
        "portfolio": float(wealth[-1] - 1.0),
        "benchmark": float(np.prod(1.0 + benchmark) - 1.0),
        "max_drawdown": float((wealth / peak).min() - 1.0),
        "proxied": proxied,
    }
