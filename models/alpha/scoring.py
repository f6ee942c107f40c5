"""Scores of names, with the features that made them.

Contributions are LightGBM's own TreeSHAP values (Lundberg et al. 2020): with the model's mean they add
up to the score exactly, so a signal can be shown with its reasons.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from models.alpha.features import FEATURE_HASH
from models.alpha.training import THREADS, TrainedModel, mature, to_matrix
from models.errors import TrainingError


def score(model: TrainedModel, features: pl.DataFrame, *, top: int = 3) -> pl.DataFrame:
    """Score each row of ``features``.

    Args:
        features: ``symbol`` and the model's features, normally one session's rows.
        top: how many contributions to keep, the largest by size first.

    Returns:
        ``symbol, score`` (Float64, rank units, higher = expected to do better; null for a name with too
        little history to be held) and ``contributions`` (List[Struct{feature: String, contribution:
        Float64}]), in the order of the rows given.

    Raises:
        TrainingError: a feature is missing, or the features are defined differently from the model's.
    """
    _refuse_other_features(model, features)
    x = to_matrix(features, model.feature_names)
    if not len(x):
        return pl.DataFrame(schema=_SCHEMA)
    shares = np.asarray(model.booster.predict(x, pred_contrib=True, num_threads=THREADS))
    reasons = shares[:, :-1]
    best = np.argsort(-np.abs(reasons), axis=1, kind="stable")[:, : max(0, top)]
    names = model.feature_names
    contributions = [
        [{"feature": names[j], "contribution": float(row[j])} for j in order]
        for row, order in zip(reasons, best, strict=True)
    ]
    scores = np.asarray(model.booster.predict(x, num_threads=THREADS), dtype=np.float64)
    old_enough = features.select(mature(model.min_sessions)).to_series()
    return pl.DataFrame(
        {"symbol": features["symbol"], "score": scores, "contributions": contributions}, schema=_SCHEMA
    ).with_columns(score=pl.when(old_enough).then(pl.col("score")))


def predict(model: TrainedModel, features: pl.DataFrame) -> np.ndarray:
    """Scores alone, (rows,) float64, without the cost of explaining them."""
    _refuse_other_features(model, features)
    x = to_matrix(features, model.feature_names)
    if not len(x):
        return np.zeros(0)
    return np.asarray(model.booster.predict(x, num_threads=THREADS), dtype=np.float64)


_REASONS = pl.List(pl.Struct({"feature": pl.String, "contribution": pl.Float64}))
_SCHEMA = pl.Schema([("symbol", pl.String()), ("score", pl.Float64()), ("contributions", _REASONS)])


def _refuse_other_features(model: TrainedModel, features: pl.DataFrame) -> None:
    missing = [name for name in ("symbol", *model.feature_names) if name not in features.columns]
    if missing:
        raise TrainingError(f"the rows to score lack {', '.join(missing[:6])}: use compute_features")
    if model.feature_hash != FEATURE_HASH:
        raise TrainingError(
            f"the model of {model.as_of} was trained on features {model.feature_hash[:12]}, "
            f"this version computes {FEATURE_HASH[:12]}: train it again"
        )
