"""A complete upper half of the chain, written through the public functions."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

from sqlmodel import Session

from executor.settings import LimitSettings
from sql.lineage import (
    propose_batch,
    record_data_set,
    record_model,
    record_risk_snapshot,
    record_validation,
    set_limits,
    upsert_instruments,
)
from sql.tables import DataSet, Instrument, ModelVersion, RiskSnapshot, Signal, SignalBatch, ValidationRun

DAY = dt.date(2022, 12, 28)
OPEN = dt.datetime(2022, 12, 28, 14, 30, tzinfo=dt.UTC)
NOON = dt.datetime(2022, 12, 28, 17, 0, tzinfo=dt.UTC)
CLOSE = dt.datetime(2022, 12, 28, 21, 0, tzinfo=dt.UTC)
NOW = dt.datetime(2022, 12, 27, 23, 0, tzinfo=dt.UTC)


def first_half(session: Session, verdict: str = "passed") -> tuple[DataSet, ValidationRun]:
    """Instruments, limits, a data set and its validation."""
    limits = {name: str(value) for name, value in LimitSettings().model_dump().items()}
    set_limits(session, limits, author="test", reason="test")
    upsert_instruments(session, [Instrument(symbol=s, name=s, sector="Tech") for s in ("AAA", "BBB")])
    data = record_data_set(
        session,
        DataSet(
            id="ds-1", created_at=NOW, source="test", path="/nowhere", content_hash="0" * 64, rows=10, symbols=2,
            first_session=dt.date(2020, 1, 2), last_session=dt.date(2022, 12, 27),
        ),
    )  # fmt: skip
    run = record_validation(
        session,
        ValidationRun(
            data_set_id=data.id, as_of=dt.date(2022, 12, 27), suite="prices", suite_version="1", started_at=NOW,
            finished_at=NOW, verdict=verdict, checks={"expectations": 3, "failed": 0 if verdict == "passed" else 1},
        ),
    )  # fmt: skip
    return data, run


def batch_of(data: DataSet, run: ValidationRun, **changed: Any) -> SignalBatch:
    """A batch that has not been proposed yet."""
    fields: dict[str, Any] = {
        "strategy": "test", "environment": "replay", "as_of": dt.date(2022, 12, 27), "session": DAY,
        "proposer": "flow:propose", "proposed_at": NOW, "valid_from": OPEN, "valid_until": CLOSE,
        "data_set_id": data.id, "validation_run_id": run.id, "risk_snapshot_id": "risk-1", "signals": 0,
        "gross_weight": Decimal(0), "content_hash": "",
    }  # fmt: skip
    return SignalBatch(**fields | changed)


def whole_chain(session: Session, weights: dict[str, str] | None = None, **changed: Any) -> SignalBatch:
    """Everything up to a proposed batch."""
    data, run = first_half(session)
    model = record_model(
        session,
        ModelVersion(
            id="test-1", created_at=NOW, strategy="test", strategy_hash="1" * 64, data_set_id=data.id,
            validation_run_id=run.id, artifact_path="/nowhere", artifact_hash="2" * 64, feature_hash="3" * 64,
            trained_from=dt.date(2020, 1, 2), trained_to=dt.date(2022, 12, 20),
            expires_at=dt.datetime(2023, 1, 31, tzinfo=dt.UTC),
        ),
    )  # fmt: skip
    record_risk_snapshot(
        session,
        RiskSnapshot(
            id="risk-1", created_at=NOW, data_set_id=data.id, as_of=dt.date(2022, 12, 27), path="/nowhere",
            content_hash="4" * 64, symbols=2, scenarios=250,
        ),
    )  # fmt: skip
    batch = batch_of(data, run, model_version_id=model.id, **changed)
    signals = [
        Signal(batch_id=uuid.uuid4(), symbol=s, target_weight=Decimal(w))
        for s, w in (weights or {"AAA": "0.10", "BBB": "0.05"}).items()
    ]
    return propose_batch(session, batch, signals)
