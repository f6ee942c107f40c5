"""Training learns from the past only, finds what was planted, and is the same every time."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from models.alpha import artifact
from models.alpha.features import FEATURE_NAMES, compute_features
from models.alpha.labels import forward_return
from models.alpha.scoring import predict, score
from models.alpha.training import TrainedModel, train, training_rows
from models.errors import ArtifactError, LeakageError, TrainingError
from models.strategy import Strategy


@pytest.fixture(scope="module")
def rows(prices: pl.DataFrame) -> pl.DataFrame:
    return compute_features(prices).join(forward_return(prices, 5), on=["symbol", "date"])


@pytest.fixture(scope="module")
def as_of(rows: pl.DataFrame) -> dt.date:
    return rows["date"].unique().sort()[700]


@pytest.fixture(scope="module")
def model(rows: pl.DataFrame, quick_strategy: Strategy, as_of: dt.date) -> TrainedModel:
    return train(rows, quick_strategy, as_of=as_of)


def test_it_finds_the_feature_that_was_planted(model: TrainedModel) -> None:
    assert next(iter(model.importance())) in {"volume_surprise", "volume_ratio_5_63"}
    assert sum(model.importance().values()) == pytest.approx(1.0)


def test_no_row_is_learned_from_before_its_outcome_is_known(
    rows: pl.DataFrame, quick_strategy: Strategy, as_of: dt.date
) -> None:
    learned = training_rows(rows, quick_strategy, as_of=as_of)
    assert learned["label_end"].max() <= as_of
    sessions = rows["date"].unique().sort()
    assert learned["date"].max() == sessions[700 - 6]


def test_the_future_does_not_change_the_model(
    rows: pl.DataFrame, model: TrainedModel, quick_strategy: Strategy, as_of: dt.date, tmp_path: Path
) -> None:
    later = pl.col("label_end") > as_of
    poisoned = rows.with_columns(label=pl.when(later).then(9.9).otherwise(pl.col("label")))
    again = train(poisoned, quick_strategy, as_of=as_of)
    assert artifact.save(again, tmp_path)[1] == artifact.save(model, tmp_path)[1]


def test_the_same_data_strategy_and_seed_give_the_same_artifact(
    prices: pl.DataFrame, model: TrainedModel, quick_strategy: Strategy, as_of: dt.date, tmp_path: Path
) -> None:
    rows = compute_features(prices).join(forward_return(prices, 5), on=["symbol", "date"])
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=5)
    first = artifact.save(model, tmp_path / "a")
    second = artifact.save(train(shuffled, quick_strategy, as_of=as_of), tmp_path / "b")
    assert first[1] == second[1]
    assert first[0].read_bytes() == second[0].read_bytes()


def test_another_process_makes_the_same_artifact(
    prices: pl.DataFrame, model: TrainedModel, quick_strategy: Strategy, as_of: dt.date, tmp_path: Path
) -> None:
    prices.write_parquet(tmp_path / "prices.parquet")
    (tmp_path / "strategy.json").write_bytes(msgspec.json.encode(quick_strategy))
    program = f"""
import datetime, msgspec, pathlib, polars
from models.alpha import artifact
from models.alpha.features import compute_features
from models.alpha.labels import forward_return
from models.alpha.training import train
from models.strategy import Strategy
folder = pathlib.Path({str(tmp_path)!r})
prices = polars.read_parquet(folder / "prices.parquet")
strategy = msgspec.json.decode((folder / "strategy.json").read_bytes(), type=Strategy)
rows = compute_features(prices).join(forward_return(prices, 5), on=["symbol", "date"])
model = train(rows, strategy, as_of=datetime.date.fromisoformat({as_of.isoformat()!r}))
print(artifact.save(model, folder)[1])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONHASHSEED": "123", "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == artifact.save(model, tmp_path / "here")[1]


def test_another_seed_gives_another_artifact(
    rows: pl.DataFrame, model: TrainedModel, quick_strategy: Strategy, as_of: dt.date, tmp_path: Path
) -> None:
    other = msgspec.structs.replace(
        quick_strategy, model=msgspec.structs.replace(quick_strategy.model, seed=8)
    )
    assert artifact.save(train(rows, other, as_of=as_of), tmp_path)[1] != artifact.save(model, tmp_path)[1]


def test_the_label_disguised_as_a_feature_is_refused_by_name(
    rows: pl.DataFrame, quick_strategy: Strategy, as_of: dt.date
) -> None:
    leaking = rows.with_columns(trend_63=pl.col("label").cast(pl.Float32))
    with pytest.raises(LeakageError, match="trend_63"):
        train(leaking, quick_strategy, as_of=as_of)


def test_a_long_window_is_thinned_to_whole_sessions_with_the_newest_kept(
    rows: pl.DataFrame, quick_strategy: Strategy, as_of: dt.date
) -> None:
    thin = msgspec.structs.replace(
        quick_strategy, training=msgspec.structs.replace(quick_strategy.training, max_rows=2000)
    )
    learned = training_rows(rows, thin, as_of=as_of)
    everything = training_rows(rows, quick_strategy, as_of=as_of)
    assert learned.height <= 2000 < everything.height
    assert learned["date"].max() == everything["date"].max()
    assert set(learned.group_by("date").len()["len"]) == {30}


def test_ranked_labels_have_mean_nought_and_variance_one_each_session(
    rows: pl.DataFrame, quick_strategy: Strategy, as_of: dt.date
) -> None:
    y = (
        training_rows(rows, quick_strategy, as_of=as_of)
        .group_by("date")
        .agg(m=pl.col("y").mean(), v=pl.col("y").var())
    )
    assert y["m"].abs().max() < 1e-6
    assert y["v"].to_list() == pytest.approx([1.0] * y.height, rel=0.05)


def test_too_little_history_is_one_clear_message(rows: pl.DataFrame, quick_strategy: Strategy) -> None:
    with pytest.raises(TrainingError, match="ingest a longer history"):
        train(rows, quick_strategy, as_of=rows["date"].min())
    with pytest.raises(TrainingError, match="label"):
        train(rows.drop("label"), quick_strategy, as_of=rows["date"].max())


def test_an_artifact_comes_back_and_predicts_the_same(
    model: TrainedModel, rows: pl.DataFrame, tmp_path: Path
) -> None:
    path, digest = artifact.save(model, tmp_path)
    back = artifact.load(path, digest)
    sample = rows.tail(500)
    assert np.array_equal(predict(back, sample), predict(model, sample))
    for name in ("strategy", "strategy_hash", "feature_names", "trained_from", "trained_to", "as_of", "rows"):
        assert getattr(back, name) == getattr(model, name)
    assert artifact.save(back, tmp_path / "again")[1] == digest


def test_a_changed_missing_or_foreign_artifact_is_refused(model: TrainedModel, tmp_path: Path) -> None:
    path, digest = artifact.save(model, tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="was changed or replaced"):
        artifact.load(path, digest)
    with pytest.raises(ArtifactError, match="cannot read"):
        artifact.load(tmp_path / "none.json", digest)
    path.write_bytes(b"[]")
    with pytest.raises(ArtifactError, match="not a model artifact"):
        artifact.load(path, "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945")


def test_reasons_are_the_largest_first_and_add_up_to_the_score(
    model: TrainedModel, rows: pl.DataFrame
) -> None:
    last = rows.filter(pl.col("date") == rows["date"].max())
    scored = score(model, last, top=len(FEATURE_NAMES))
    raw = model.booster.predict(np.zeros((1, len(FEATURE_NAMES))), pred_contrib=True)
    base = raw[0, -1]
    for value, reasons in scored.select("score", "contributions").iter_rows():
        sizes = [abs(reason["contribution"]) for reason in reasons]
        assert sizes == sorted(sizes, reverse=True)
        assert value == pytest.approx(base + sum(reason["contribution"] for reason in reasons), abs=1e-9)
    assert scored["symbol"].to_list() == last["symbol"].to_list()
    assert scored["score"].to_numpy() == pytest.approx(predict(model, last), abs=0)


def test_only_the_asked_for_reasons_are_kept(model: TrainedModel, rows: pl.DataFrame) -> None:
    assert set(score(model, rows.tail(5), top=3)["contributions"].list.len()) == {3}
    assert set(score(model, rows.tail(5), top=0)["contributions"].list.len()) == {0}


def test_no_rows_are_scored_as_no_rows_and_a_missing_feature_is_named(
    model: TrainedModel, rows: pl.DataFrame
) -> None:
    assert score(model, rows.head(0)).height == 0
    with pytest.raises(TrainingError, match="beta_252"):
        score(model, rows.tail(5).drop("beta_252"))


def test_a_model_of_other_feature_definitions_does_not_score(model: TrainedModel, rows: pl.DataFrame) -> None:
    with pytest.raises(TrainingError, match="train it again"):
        score(replace(model, feature_hash="0" * 64), rows.tail(5))


def test_a_name_without_the_history_it_was_validated_with_gets_no_score(
    model: TrainedModel, rows: pl.DataFrame
) -> None:
    young = rows.tail(4).with_columns(
        momentum_12_1=pl.when(pl.int_range(pl.len()) > 1).then(pl.col("momentum_12_1"))
    )
    assert score(model, young)["score"].is_null().to_list() == [True, True, False, False]
