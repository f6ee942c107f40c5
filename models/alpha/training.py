"""Training: gradient-boosted trees on cross-sectionally ranked labels.

The label of a row is replaced by its rank among the names of its session, spread evenly with mean 0
and variance 1. So a crash session weighs no more than a quiet one, an outlier no more than a rank, and
the model learns who beats whom, which is all a long-only book of equal gross needs. A score is then in
units of that rank: its correlation with the outcome is the information coefficient.

Only rows whose label was known at ``as_of`` are learned from. The same rows, strategy and seed give the
same model, byte for byte (fixed thread count, deterministic histograms).
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl

from models.alpha.features import FEATURE_HASH, FEATURE_NAMES
from models.errors import LeakageError, TrainingError
from models.strategy import Strategy

THREADS = 1
"""Threads a model is trained with. Two threads that meet after every node wait for each other whenever the
machine is busy (7 times slower in the worst case seen, 1.9 times faster at best), so the walk-forward runs
whole folds side by side instead. Fixed, so that a model does not depend on the machine."""
YEAR = 252
NAMES_MIN = 5
"""Sessions with fewer labelled names say nothing about who beats whom and are left out."""
FEATURE_CORRELATION_MAX = 0.5
"""No honest daily feature correlates with next week's rank like this: it is the label in disguise."""


@dataclass(frozen=True)
class TrainedModel:
    """A model and what it was made of. Hashes tie it to its strategy and to the feature definitions."""

    booster: lgb.Booster
    strategy: str
    strategy_hash: str
    feature_names: tuple[str, ...]
    feature_hash: str
    trained_from: dt.date
    """First session learned from."""
    trained_to: dt.date
    """Last session learned from; its label ended by ``as_of``."""
    as_of: dt.date
    rows: int
    symbols: int
    min_sessions: int
    """History a name needs before this model may score it."""
    parameters: dict[str, Any] = field(default_factory=dict)

    def importance(self) -> dict[str, float]:
        """Share of the total gain by feature, largest first; sums to 1 (or all 0 for a flat model)."""
        gain = self.booster.feature_importance("gain")
        total = float(gain.sum()) or 1.0
        shares = {name: float(g) / total for name, g in zip(self.feature_names, gain, strict=True)}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))


def mature(min_sessions: int) -> pl.Expr:
    """Whether a row of features has the history a strategy asks for, told by the features themselves.

    The same rule for what is learned from, validated and proposed.
    """
    enough = pl.col("volatility_21").is_not_null()
    return enough & pl.col("momentum_12_1").is_not_null() if min_sessions >= YEAR else enough


def training_rows(features_labels: pl.DataFrame, strategy: Strategy, *, as_of: dt.date) -> pl.DataFrame:
    """The rows a model of ``as_of`` may learn from, thinned to ``max_rows``, with the ranked label as ``y``.

    Kept are rows whose ``label_end`` is on or before ``as_of``, inside ``window_years``, with the history
    that ``universe.min_sessions`` asks for (``mature``).
    """
    wanted = ("symbol", "date", "label", "label_end", *FEATURE_NAMES)
    missing = [name for name in wanted if name not in features_labels.columns]
    if missing:
        raise TrainingError(
            f"training rows lack {', '.join(missing[:6])}; join compute_features with forward_return"
        )
    start = _years_before(as_of, strategy.training.window_years)
    rows = features_labels.filter(
        pl.col("date") > start,
        pl.col("label_end") <= as_of,
        pl.col("label").is_not_null(),
        mature(strategy.universe.min_sessions),
    )
    if rows.is_empty():
        raise TrainingError(
            f"no row has a label known by {as_of} inside {strategy.training.window_years} years and "
            f"{strategy.universe.min_sessions} sessions of history: ingest a longer history"
        )
    step = math.ceil(rows.height / strategy.training.max_rows)
    if step > 1:
        # Count back from the newest session, so that it is always learned from.
        sessions = rows["date"].unique().sort(descending=True).gather_every(step)
        rows = rows.filter(pl.col("date").is_in(sessions.implode()))
    count = pl.len().over("date")
    place = (pl.col("label").rank("average").over("date") - 0.5) / count
    return (
        rows.filter(count >= NAMES_MIN)
        .with_columns(y=(math.sqrt(12.0) * (place - 0.5)).cast(pl.Float32))
        .sort("date", "symbol")
    )


def train(features_labels: pl.DataFrame, strategy: Strategy, *, as_of: dt.date) -> TrainedModel:
    """Train on what was known at the close of ``as_of``.

    Args:
        features_labels: ``symbol, date, *FEATURE_NAMES, label, label_end``; other columns are not looked at.

    Raises:
        TrainingError: too few rows to learn from.
        LeakageError: a feature is the label in disguise.
    """
    rows = training_rows(features_labels, strategy, as_of=as_of)
    if rows.height < 10 * strategy.model.num_leaves:
        raise TrainingError(
            f"{rows.height} rows up to {as_of} are too few for {strategy.model.num_leaves} leaves: "
            "ingest a longer history or lower model.num_leaves"
        )
    x = to_matrix(rows, FEATURE_NAMES)
    y = rows["y"].to_numpy()
    _refuse_oracles(x, y)
    parameters = lightgbm_parameters(strategy, rows.height)
    data = lgb.Dataset(x, label=y, feature_name=list(FEATURE_NAMES), free_raw_data=True)
    booster = lgb.train(parameters, data, num_boost_round=strategy.model.rounds)
    dates = rows["date"]
    return TrainedModel(
        booster=booster,
        strategy=strategy.name,
        strategy_hash=strategy.hash,
        feature_names=FEATURE_NAMES,
        feature_hash=FEATURE_HASH,
        trained_from=dates[0],
        trained_to=dates[-1],
        as_of=as_of,
        rows=rows.height,
        symbols=rows["symbol"].n_unique(),
        min_sessions=strategy.universe.min_sessions,
        parameters={**parameters, "rounds": strategy.model.rounds},
    )


def lightgbm_parameters(strategy: Strategy, rows: int) -> dict[str, Any]:
    """LightGBM's parameters for this strategy; everything that could vary between runs is fixed.

    A leaf never asks for more than a hundredth of the rows, so that a short history can split at all.
    """
    model = strategy.model
    return {
        "objective": "regression",
        "learning_rate": model.learning_rate,
        "num_leaves": model.num_leaves,
        "min_data_in_leaf": max(1, min(model.min_data_in_leaf, rows // 100)),
        "feature_fraction": model.feature_fraction,
        "bagging_fraction": model.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": model.lambda_l2,
        "max_bin": model.max_bin,
        "seed": model.seed,
        "num_threads": THREADS,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }


def to_matrix(rows: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
    """Features as a (rows x features) float32 matrix, a missing value as NaN."""
    # Polars writes a null of a Float32 column as NaN by itself.
    return rows.select(pl.col(names).cast(pl.Float32)).to_numpy(order="c")


def _years_before(day: dt.date, years: int) -> dt.date:
    # 28 February stands in for the 29th of a leap year.
    return day.replace(year=day.year - years, day=min(day.day, 28) if day.month == 2 else day.day)


def _refuse_oracles(x: np.ndarray, y: np.ndarray) -> None:
    for at, name in enumerate(FEATURE_NAMES):
        column = x[:, at]
        seen = np.isfinite(column)
        if seen.sum() < 500 or column[seen].std() == 0.0:
            continue
        correlation = float(np.corrcoef(column[seen], y[seen])[0, 1])
        if abs(correlation) > FEATURE_CORRELATION_MAX:
            raise LeakageError(
                f"feature {name} correlates {correlation:+.2f} with the future it should predict "
                f"(limit {FEATURE_CORRELATION_MAX}): its input knows the outcome; check the price history"
            )
