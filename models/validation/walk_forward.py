"""Walk-forward: at each refit, learn from what was known, then score the sessions that follow.

No score is ever made by a model that knows a label reaching into the scored session: rows are purged by
their ``label_end`` and an embargo is left before each test block. Scores, weights, turnover, costs and
returns are thus all out of sample. What comes out is reported as it is; nothing is chosen by it.

Two results fail instead of being reported, since they are too good to be true for daily equity data: a
mean daily information coefficient beyond 0.2 and an annualised Sharpe ratio beyond 5, gross of costs.
Something then knows the future.

One thing it cannot see: the names are those of the price file. A file of today's index members holds no
company that failed or was dropped, which flatters the strategy and its benchmark alike (survivorship).
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from market.history import adjusted
from models.alpha.features import compute_features
from models.alpha.labels import forward_return
from models.alpha.scoring import predict
from models.alpha.training import mature, train
from models.errors import LeakageError, ValidationError
from models.panel import to_panel
from models.strategy import Strategy
from models.validation import performance
from models.validation.book import BookReturns, market_of, simulate
from models.validation.splits import Split, walk_forward_splits

IC_MAX = 0.2
SHARPE_MAX = 5.0
WORKERS = 2
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class WalkForward:
    """Everything a walk-forward found, all of it out of sample."""

    returns: pl.DataFrame
    """``date, gross, cost, net, benchmark, turnover, held``: one row a session, fractions of equity."""
    scores: pl.DataFrame
    """``symbol, date, score, label``: label null where the outcome is not known yet."""
    folds: list[dict[str, Any]]
    """Per refit: sessions learned from and tested on, rows, information coefficient."""
    metrics: dict[str, float]


def walk_forward(
    prices: pl.DataFrame,
    strategy: Strategy,
    sectors: Mapping[str, str],
    *,
    as_of: dt.date,
    progress: Progress | None = None,
) -> WalkForward:
    """Validate a strategy on canonical daily prices up to ``as_of``.

    Raises:
        ValidationError: the history is too short for one refit and one test.
        LeakageError: the result is too good to be true.
    """
    tell = progress or _silent
    known = prices.filter(pl.col("date") <= as_of)
    if known.is_empty():
        raise ValidationError(f"no prices up to {as_of}: ingest a history that reaches it")
    tell("features", 0, 1)
    bars = adjusted(known)
    rows = _rows(bars, strategy)
    tell("features", 1, 1)
    panel = to_panel(known, ("open", "high", "low", "close", "volume", "adj_close"))
    splits = _splits(len(panel.sessions), strategy)
    scores, folds = _score_folds(rows, splits, panel.sessions, strategy, tell)
    ic = daily_ic(scores)
    daily = ic["ic"].to_numpy()
    _refuse_oracle("mean daily information coefficient", float(daily.mean()) if len(daily) else 0.0, IC_MAX)

    market = market_of(panel, strategy)
    matrix = _score_matrix(scores, panel.sessions, panel.symbols)
    first = splits[0].test_from
    book = simulate(
        market, matrix, sectors, strategy, first=first, progress=lambda done, total: tell("book", done, total)
    )
    returns = pl.DataFrame(
        {
            "date": panel.sessions[first + 1 :],
            "gross": book.gross,
            "cost": book.cost,
            "net": book.gross - book.cost,
            "benchmark": book.benchmark,
            "turnover": book.turnover,
            "held": book.held,
        },
        schema_overrides={"date": pl.Date},
    )
    metrics = _metrics(book, ic, folds, strategy) | {"survivors": survivors(known)}
    _refuse_oracle("Sharpe ratio gross of costs", metrics["sharpe_gross"], SHARPE_MAX)
    return WalkForward(returns, scores, _with_ic(folds, ic), metrics)


def daily_ic(scores: pl.DataFrame) -> pl.DataFrame:
    """``date, ic, names``: rank correlation (Spearman) of score and outcome across each session's names.

    Sessions with fewer than five known outcomes, or where either side is all ties, are left out.
    """
    return (
        scores.lazy()
        .filter(pl.col("label").is_not_null())
        .with_columns(
            a=pl.col("score").rank("average").over("date"), b=pl.col("label").rank("average").over("date")
        )
        .group_by("date")
        .agg(ic=pl.corr("a", "b"), names=pl.len())
        .filter(pl.col("names") >= 5, pl.col("ic").is_finite())
        .sort("date")
        .collect()
    )


def _rows(bars: pl.DataFrame, strategy: Strategy) -> pl.DataFrame:
    """Features and labels side by side, by session: a fold is then a slice."""
    features = compute_features(bars)
    labels = forward_return(bars, strategy.label.horizon_sessions)
    # Both come sorted by (symbol, date) from the same bars: no join needed.
    return pl.concat([features, labels.select("label", "label_end")], how="horizontal").sort("date", "symbol")


def _splits(sessions: int, strategy: Strategy) -> list[Split]:
    training = strategy.training
    gap = strategy.label.horizon_sessions + 1
    window = training.window_years * performance.SESSIONS_A_YEAR
    warm_up = strategy.universe.min_sessions
    # A history too short for a full first window starts half way through what it has.
    first = min(warm_up + window, warm_up + (sessions - warm_up) // 2)
    if first <= warm_up + gap + training.embargo:
        raise ValidationError(
            f"{sessions} sessions are too few to learn from and test on after the {warm_up} that the universe "
            "asks for: ingest a longer history or lower universe.min_sessions"
        )
    return walk_forward_splits(
        [i + gap for i in range(sessions)],
        train_sessions=window,
        test_sessions=training.refit_sessions,
        embargo=training.embargo,
        first_test=first,
        folds=training.folds,
    )


def _score_folds(
    rows: pl.DataFrame, splits: list[Split], sessions: tuple[dt.date, ...], strategy: Strategy, tell: Progress
) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    tell("folds", 0, len(splits))
    scores, folds = [], []
    # Folds are independent and LightGBM works outside Python's lock: whole folds side by side.
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="fold") as pool:
        pending = [pool.submit(_score_fold, rows, split, sessions, strategy) for split in splits]
        try:
            for done in pending:
                found, fold = done.result()
                scores.append(found)
                folds.append(fold)
                tell("folds", len(folds), len(splits))
        except BaseException:
            # An error or Ctrl-C must not wait for folds nobody will read.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return pl.concat(scores), folds


def _score_fold(
    rows: pl.DataFrame, split: Split, sessions: tuple[dt.date, ...], strategy: Strategy
) -> tuple[pl.DataFrame, dict[str, Any]]:
    known_by = sessions[split.known_by]
    test_from, test_to = sessions[split.test_from], sessions[split.test_to]
    past = _between(rows, sessions[split.train_from], known_by)
    model = train(past, strategy, as_of=known_by)
    test = _between(rows, test_from, test_to).filter(mature(strategy.universe.min_sessions))
    fold = {
        "fold": split.fold,
        "train_from": model.trained_from,
        "train_to": model.trained_to,
        "known_by": known_by,
        "test_from": test_from,
        "test_to": test_to,
        "rows": model.rows,
        "symbols": model.symbols,
    }
    return test.select("symbol", "date", score=pl.Series(predict(model, test)), label="label"), fold


def _between(rows: pl.DataFrame, start: dt.date, end: dt.date) -> pl.DataFrame:
    """Rows of a span of sessions, found by bisection in the sorted dates."""
    dates = rows["date"]
    low = int(dates.search_sorted(start, side="left"))
    return rows.slice(low, int(dates.search_sorted(end, side="right")) - low)


def _score_matrix(
    scores: pl.DataFrame, sessions: tuple[dt.date, ...], symbols: tuple[str, ...]
) -> np.ndarray:
    matrix = np.full((len(sessions), len(symbols)), np.nan)
    row = np.searchsorted(np.array(sessions, dtype="datetime64[D]"), scores["date"].to_numpy())
    column = np.searchsorted(np.array(symbols), scores["symbol"].to_numpy().astype(str))
    matrix[row, column] = scores["score"].to_numpy()
    return matrix


def _with_ic(folds: list[dict[str, Any]], ic: pl.DataFrame) -> list[dict[str, Any]]:
    out = []
    for fold in folds:
        inside = ic.filter(pl.col("date").is_between(fold["test_from"], fold["test_to"]))["ic"].to_numpy()
        out.append({**fold, "ic": float(inside.mean()) if len(inside) else math.nan})
    return out


def survivors(prices: pl.DataFrame) -> float:
    """Fraction of the names that still trade on the last session.

    Real index members leave at several percent a year, so over a long history a value near one says
    that the file holds only companies that were still there at its end (survivorship bias).
    """
    last = prices.group_by("symbol").agg(pl.col("date").max())["date"]
    return float((last == prices["date"].max()).mean() or 0.0)


def _metrics(
    book: BookReturns, ic: pl.DataFrame, folds: list[dict[str, Any]], strategy: Strategy
) -> dict[str, float]:
    net, gross, benchmark = book.gross - book.cost, book.gross, book.benchmark
    if len(net) < 20:
        raise ValidationError(f"only {len(net)} out-of-sample sessions: ingest a longer history")
    daily = ic["ic"].to_numpy()
    spread = float(daily.std(ddof=1)) if len(daily) > 1 else 0.0
    mean = float(daily.mean()) if len(daily) else 0.0
    return {
        "sharpe_net": performance.sharpe(net),
        "sharpe_gross": performance.sharpe(gross),
        "sharpe_benchmark": performance.sharpe(benchmark),
        "cagr_net": performance.cagr(net),
        "cagr_gross": performance.cagr(gross),
        "cagr_benchmark": performance.cagr(benchmark),
        "volatility_net": performance.volatility(net),
        "sortino_net": performance.sortino(net),
        "calmar_net": performance.calmar(net),
        "max_drawdown": performance.max_drawdown(net),
        "max_drawdown_benchmark": performance.max_drawdown(benchmark),
        "beta": performance.beta(net, benchmark),
        "information_ratio": performance.information_ratio(net, benchmark),
        "skewness": performance.skewness(net),
        "kurtosis": performance.kurtosis(net),
        "psr": performance.psr(net),
        "information_coefficient": mean,
        "ic_std": spread,
        "icir": mean / spread if spread else 0.0,
        "ic_t": performance.newey_west_t(daily, strategy.label.horizon_sessions) if len(daily) > 1 else 0.0,
        "turnover_per_day": float(book.turnover.mean()),
        "cost_bps_per_day": 1e4 * float(book.cost.mean()),
        "names_held": float(book.held.mean()),
        "sessions": float(len(net)),
        "folds": float(len(folds)),
    }


def _refuse_oracle(what: str, value: float, limit: float) -> None:
    if abs(value) > limit:
        raise LeakageError(
            f"{what} is {value:+.3f}, beyond {limit}: no daily equity strategy is that good (or that bad); an "
            "input knows the future. Check the price history and the features; nothing was recorded"
        )


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
