"""A trained model as one file, named by its own hash.

The file is JSON: what the model was made of, and LightGBM's own text form of the trees. It holds no
time of writing, so the same training gives the same bytes and the same hash.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from pathlib import Path
from typing import Any

import lightgbm as lgb
import msgspec

from models.alpha.training import TrainedModel
from models.errors import ArtifactError

FORMAT = 1


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int
    strategy: str
    strategy_hash: str
    feature_names: tuple[str, ...]
    feature_hash: str
    trained_from: dt.date
    trained_to: dt.date
    as_of: dt.date
    rows: int
    symbols: int
    min_sessions: int
    parameters: dict[str, Any]
    trees: str


def save(model: TrainedModel, folder: Path) -> tuple[Path, str]:
    """Write ``<strategy>-<12 hex>.json`` atomically; returns the path and the SHA-256 of its bytes."""
    stored = _Stored(
        format=FORMAT,
        strategy=model.strategy,
        strategy_hash=model.strategy_hash,
        feature_names=model.feature_names,
        feature_hash=model.feature_hash,
        trained_from=model.trained_from,
        trained_to=model.trained_to,
        as_of=model.as_of,
        rows=model.rows,
        symbols=model.symbols,
        min_sessions=model.min_sessions,
        parameters=model.parameters,
        trees=model.booster.model_to_string(),
    )
    content = msgspec.json.encode(stored, order="deterministic")
    digest = hashlib.sha256(content).hexdigest()
    path = Path(folder) / f"{model.strategy}-{digest[:12]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)
    return path, digest


def load(path: Path, expected_hash: str) -> TrainedModel:
    """Read a model back, if and only if its bytes have the expected SHA-256.

    Raises:
        ArtifactError: no such file, another content, or a format this version does not know.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read the model {path}: {error.strerror}; train it again") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected_hash:
        raise ArtifactError(
            f"the model {path} has SHA-256 {digest[:16]}..., the registry recorded {expected_hash[:16]}...: "
            "it was changed or replaced; train it again"
        )
    try:
        stored = msgspec.json.decode(content, type=_Stored)
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{path} is not a model artifact: {error}") from None
    if stored.format != FORMAT:
        raise ArtifactError(f"the model {path} has format {stored.format}, not {FORMAT}; train it again")
    return TrainedModel(
        booster=lgb.Booster(model_str=stored.trees),
        strategy=stored.strategy,
        strategy_hash=stored.strategy_hash,
        feature_names=stored.feature_names,
        feature_hash=stored.feature_hash,
        trained_from=stored.trained_from,
        trained_to=stored.trained_to,
        as_of=stored.as_of,
        rows=stored.rows,
        symbols=stored.symbols,
        min_sessions=stored.min_sessions,
        parameters=stored.parameters,
    )
