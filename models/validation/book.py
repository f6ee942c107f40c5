"""The walk-forward's book: scores in, weights traded at the next close, costs taken off.

    session t      scores are made after the close
    session t + 1  the book is traded to its targets at the close, and charged
    session t + 2  the new weights earn their first return

The names are chosen and weighted by the functions that the live proposal uses (``selection``,
``caps``, ``mean_variance`` for skfolio's programme), and charged by the cost model: fees of the date,
half the estimated spread, the square-root impact at the strategy's capital, commission if any. Weights
drift with prices in between; cash earns nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.cost.fees import rates_on
from models.cost.impact import impact_fractions
from models.cost.spread import pooled_spread
from models.errors import OptimiserError
from models.panel import Panel, fill_forward
from models.portfolio.caps import caps_of
from models.portfolio.mean_variance import solve
from models.portfolio.optimiser import (
    COVARIANCE_SESSIONS,
    HOLDING_SESSIONS,
    UNCLASSIFIED,
    equal_weights,
    shrunk_covariance,
)
from models.portfolio.selection import expected_returns, hold_within_band, select
from models.strategy import Strategy

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
SPREAD_SESSIONS = 252
SPREAD_EVERY = 63
IMPACT_MAX = 0.10


@dataclass(frozen=True)
class Market:
    """What the book is traded in, (sessions x names) each, aligned with one panel."""

    panel: Panel
    returns: Floats
    """Total return to this close; 0 where there was no bar."""
    listed: Flags
    """There was a bar."""
    close: Floats
    """Raw close, carried over gaps."""
    traded_usd: Floats
    """Mean traded value over 21 sessions."""
    volatility: Floats
    """Standard deviation of daily returns over 63 sessions."""
    eligible: Flags
    """May be held, by the strategy's universe rules, from what was known at this close."""


@dataclass(frozen=True)
class BookReturns:
    """Per session of the simulation, (sessions,) each."""

    gross: Floats
    cost: Floats
    benchmark: Floats
    turnover: Floats
    """Traded value over equity, buys and sells both counted."""
    held: NDArray[np.int64]


def market_of(panel: Panel, strategy: Strategy) -> Market:
    """The market a panel of ``close, volume, adj_close`` (and bars for spreads) describes."""
    listed = np.isfinite(panel["close"])
    adjusted = fill_forward(panel["adj_close"])
    returns = np.zeros_like(adjusted)
    returns[1:] = np.nan_to_num(adjusted[1:] / adjusted[:-1] - 1.0, posinf=0.0, neginf=0.0)
    traded = _rolling_mean(np.nan_to_num(panel["close"] * panel["volume"]), 21)
    mean = _rolling_mean(returns, 63)
    volatility = np.sqrt(np.maximum(_rolling_mean(returns**2, 63) - mean**2, 0.0) * 63 / 62)
    history = np.cumsum(listed, axis=0)
    rules = strategy.universe
    eligible = (
        listed
        & (history > rules.min_sessions)
        & (np.nan_to_num(panel["close"]) >= rules.min_price)
        & (traded >= rules.min_dollar_volume)
        & (volatility > 0.0)
    )
    if eligible.shape[1] > rules.max_names:
        rank = np.argsort(np.argsort(-np.where(eligible, traded, -1.0), axis=1, kind="stable"), axis=1)
        eligible &= rank < rules.max_names
    return Market(panel, returns, listed, fill_forward(panel["close"]), traded, volatility, eligible)


def simulate(
    market: Market,
    scores: Floats,
    sectors: Mapping[str, str],
    strategy: Strategy,
    *,
    first: int,
    progress: Callable[[int, int], None] | None = None,
) -> BookReturns:
    """Trade the scores from session ``first`` to the end.

    Args:
        scores: (sessions x names), NaN where there is none.
        first: the first session whose scores are used; the first return that can be earned is two later.

    Returns:
        Arrays over the sessions ``first + 1`` to the last.
    """
    n = len(scores)
    groups = np.array([sectors.get(symbol) or UNCLASSIFIED for symbol in market.panel.symbols])
    book = strategy.portfolio
    capital = strategy.costs.capital_usd
    weights = np.zeros(scores.shape[1])
    spread = np.full(scores.shape[1], 0.001)
    days = n - first - 1
    out = BookReturns(
        gross=np.zeros(days),
        cost=np.zeros(days),
        benchmark=np.zeros(days),
        turnover=np.zeros(days),
        held=np.zeros(days, dtype=np.int64),
    )
    for k in range(days):
        decided, now = first + k, first + k + 1
        earned = float(weights @ market.returns[now])
        known = market.eligible[decided]
        out.gross[k] = earned
        if known.any():
            out.benchmark[k] = market.returns[now][known].mean()
        weights = weights * (1.0 + market.returns[now]) / (1.0 + earned)
        if k % SPREAD_EVERY == 0:
            spread = _spreads(market, decided)
        if k % book.rebalance_sessions == 0:
            target = _targets(
                market, np.where(known, scores[decided], np.nan), weights, groups, spread, strategy, decided
            )
            # A name that does not trade today can be neither bought nor sold today.
            target = np.where(market.listed[now], target, weights)
            change = target - weights
            rates = _rates(market, change, spread, strategy, decided, now, capital)
            out.cost[k] = float(np.abs(change) @ rates)
            out.turnover[k] = float(np.abs(change).sum())
            weights = target
        out.held[k] = int((weights > 0.0).sum())
        if progress and (k % 252 == 0 or k == days - 1):
            progress(k + 1, days)
    return out


def _targets(
    market: Market,
    scores: Floats,
    weights: Floats,
    groups: NDArray[np.str_],
    spread: Floats,
    strategy: Strategy,
    at: int,
) -> Floats:
    """Target weights of all names decided at the close of session ``at``."""
    target = np.zeros_like(weights)
    known = ~np.isnan(scores)
    if not known.any():
        return target
    book = strategy.portfolio
    mu = expected_returns(scores, market.volatility[at], strategy.label.horizon_sessions)
    held = weights > 0.0
    chosen = select(scores, held, names=strategy.names_held(int(known.sum())), keep=book.keep)
    caps = caps_of(groups[chosen].tolist(), book)
    window = market.returns[max(0, at - COVARIANCE_SESSIONS + 1) : at + 1, chosen]
    order = np.full(len(chosen), book.gross / len(chosen))
    cost = _rates(
        market, _at(order, chosen, len(weights)), spread, strategy, at, at, strategy.costs.capital_usd
    )
    previous = np.minimum(weights[chosen], 1.0)
    try:
        best = solve(
            mu[chosen],
            shrunk_covariance(window),
            caps,
            risk_aversion=book.risk_aversion,
            cost=cost[chosen] / HOLDING_SESSIONS,
            previous=previous,
        )
    except OptimiserError:
        best = equal_weights(caps)
    target[chosen] = hold_within_band(best, previous, caps, band=book.band)
    return target


def _rates(
    market: Market, change: Floats, spread: Floats, strategy: Strategy, known: int, day: int, capital: float
) -> Floats:
    """Cost of trading one unit of each weight on session ``day``, with liquidity as of ``known``, (names,)."""
    rates = rates_on(market.panel.sessions[day])
    close = np.where(market.close[day] > 0.0, market.close[day], np.inf)
    fees = rates.any_per_share / close
    fees = fees + np.where(change < 0.0, rates.sell_per_usd + rates.sell_per_share / close, 0.0)
    impact = impact_fractions(
        change * capital, market.traded_usd[known], market.volatility[known], strategy.costs.impact_y
    )
    return fees + 0.5 * spread + np.minimum(impact, IMPACT_MAX) + strategy.costs.commission_bps / 1e4


def _spreads(market: Market, at: int) -> Floats:
    start = max(0, at - SPREAD_SESSIONS + 1)
    o, h, low, c = (market.panel[name][start : at + 1] for name in ("open", "high", "low", "close"))
    return pooled_spread(o, h, low, c, market.traded_usd[at], market.panel.sessions[at])


def _at(values: Floats, chosen: NDArray[np.int64], n: int) -> Floats:
    out = np.zeros(n)
    out[chosen] = values
    return out


def _rolling_mean(x: Floats, n: int) -> Floats:
    """Mean of the last n rows, fewer at the start; the cumulative sum keeps it to one pass."""
    total = np.cumsum(x, axis=0)
    out = total.copy()
    out[n:] -= total[:-n]
    count = np.minimum(np.arange(1, len(x) + 1), n)[:, None]
    return out / count
