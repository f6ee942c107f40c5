"""The chain's upper half: data set → validation → model → risk snapshot → signal batch.

Written by the flows; each write appends its audit entry in the same transaction and is idempotent
by the row's id, so a flow that is re-run does not write twice.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from sql import audit, limit_changes
from sql.errors import LineageError
from sql.tables import (
    DataSet,
    Instrument,
    LimitVersion,
    ModelVersion,
    RiskSnapshot,
    Signal,
    SignalBatch,
    ValidationRun,
)


def upsert_instruments(session: Session, rows: Iterable[Instrument]) -> int:
    """Insert or update instruments by symbol; returns how many were given."""
    count = 0
    for row in rows:
        session.merge(row)
        count += 1
    session.flush()
    return count


def record_data_set(session: Session, row: DataSet) -> DataSet:
    """Record a data set once; the same id with other content is refused."""
    known = session.get(DataSet, row.id)
    if known is not None:
        if known.content_hash != row.content_hash:
            raise LineageError(
                f"data set {row.id} is recorded with content {known.content_hash[:12]}, not "
                f"{row.content_hash[:12]}; an id names one content, ingest again"
            )
        return known
    session.add(row)
    session.flush()
    audit.append(
        session,
        "DATA_SET",
        row.id,
        {
            "content_hash": row.content_hash,
            "source": row.source,
            "rows": row.rows,
            "symbols": row.symbols,
            "first": row.first_session,
            "last": row.last_session,
            "modelled": row.modelled,
        },
    )
    return row


def record_validation(session: Session, row: ValidationRun) -> ValidationRun:
    """Record one validation run, passed or failed."""
    session.add(row)
    session.flush()
    counts = {name: row.checks.get(name) for name in ("expectations", "failed")}
    audit.append(
        session,
        "VALIDATION",
        str(row.id),
        {
            "data_set": row.data_set_id,
            "as_of": row.as_of,
            "suite": f"{row.suite} {row.suite_version}",
            "verdict": row.verdict,
            "checks_hash": content_hash(row.checks),
            **counts,
        },
    )
    return row


def record_model(session: Session, row: ModelVersion) -> ModelVersion:
    """Record a trained model; refused unless its data set passed the validation it names."""
    known = session.get(ModelVersion, row.id)
    if known is not None:
        return known
    _require_passed(session, row.validation_run_id, row.data_set_id)
    session.add(row)
    session.flush()
    audit.append(
        session,
        "MODEL",
        row.id,
        {
            "strategy": row.strategy,
            "strategy_hash": row.strategy_hash,
            "data_set": row.data_set_id,
            "validation": row.validation_run_id,
            "artifact_hash": row.artifact_hash,
            "feature_hash": row.feature_hash,
            "trained_from": row.trained_from,
            "trained_to": row.trained_to,
        },
    )
    return row


def record_metrics(session: Session, model_id: str, metrics: dict[str, Any], path: str | None) -> None:
    """Attach walk-forward metrics (out of sample, net of costs) to a model."""
    model = session.get(ModelVersion, model_id)
    if model is None:
        raise LineageError(f"no model {model_id!r} in the registry; run the retrain flow first")
    model.metrics, model.walk_forward_path = metrics, path
    session.add(model)
    session.flush()
    audit.append(session, "WALK_FORWARD", model_id, {"metrics": metrics})


def record_risk_snapshot(session: Session, row: RiskSnapshot) -> RiskSnapshot:
    """Record a risk snapshot once by its id."""
    known = session.get(RiskSnapshot, row.id)
    if known is not None:
        return known
    session.add(row)
    session.flush()
    audit.append(
        session,
        "RISK_SNAPSHOT",
        row.id,
        {"data_set": row.data_set_id, "as_of": row.as_of, "content_hash": row.content_hash},
    )
    return row


def propose_batch(session: Session, batch: SignalBatch, signals: Sequence[Signal]) -> SignalBatch:
    """Propose target weights for one session, all or none.

    Fills in ``signals``, ``gross_weight`` and ``content_hash``; the same content for the same
    strategy and session returns the batch that exists.

    Raises
    ------
    LineageError
        Empty batch, a symbol twice or unknown, weights past the gross limit in force, or a batch
        whose model or validation is missing, failed or expired.
    """
    if not signals:
        raise LineageError(f"the batch for {batch.session} has no signals; nothing to propose")
    symbols = [signal.symbol for signal in signals]
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise LineageError(f"symbol {twice[0]} stands {symbols.count(twice[0])} times; give one weight each")
    known = set(session.exec(select(Instrument.symbol).where(col(Instrument.symbol).in_(symbols))))
    unknown = sorted(set(symbols) - known)
    if unknown:
        raise LineageError(
            f"unknown symbol {', '.join(unknown[:5])}: not among the ledger's instruments; correct the "
            "spelling, or ingest its prices first (sallyport data ingest)"
        )
    gross = sum((abs(signal.target_weight) for signal in signals), Decimal(0))
    limit = gross_limit(session)
    if gross > limit:
        raise LineageError(
            f"weights sum to {gross.normalize():f} gross, over the limit of {limit.normalize():f}; "
            "scale the weights down, or change the limit first"
        )
    _require_model(session, batch)
    batch.signals, batch.gross_weight = len(signals), gross
    batch.content_hash = batch_hash(batch, signals)
    same = session.exec(
        select(SignalBatch).where(
            SignalBatch.strategy == batch.strategy,
            SignalBatch.session == batch.session,
            SignalBatch.content_hash == batch.content_hash,
        )
    ).first()
    if same is not None:
        return same
    session.add(batch)
    session.flush()
    for signal in signals:
        signal.batch_id = batch.id
        session.add(signal)
    session.flush()
    audit.append(
        session,
        "PROPOSAL",
        str(batch.id),
        {
            "strategy": batch.strategy,
            "session": batch.session,
            "as_of": batch.as_of,
            "proposer": batch.proposer,
            "model": batch.model_version_id,
            "data_set": batch.data_set_id,
            "risk_snapshot": batch.risk_snapshot_id,
            "signals": batch.signals,
            "gross": str(gross),
            "content_hash": batch.content_hash,
        },
    )
    return batch


def batch_hash(batch: SignalBatch, signals: Sequence[Signal]) -> str:
    """SHA-256 over everything an approval approves: ids of the chain, validity and every weight."""
    return content_hash(
        {
            "strategy": batch.strategy,
            "environment": batch.environment,
            "as_of": batch.as_of.isoformat(),
            "session": batch.session.isoformat(),
            "valid_from": batch.valid_from.astimezone(dt.UTC).isoformat(),
            "valid_until": batch.valid_until.astimezone(dt.UTC).isoformat(),
            "data_set": batch.data_set_id,
            "model": batch.model_version_id,
            "risk_snapshot": batch.risk_snapshot_id,
            "weights": {s.symbol: f"{s.target_weight:.8f}" for s in sorted(signals, key=lambda s: s.symbol)},
        }
    )


def content_hash(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def gross_limit(session: Session) -> Decimal:
    """The gross limit in force, as a fraction of equity; refuses if no limits are set."""
    row = session.exec(select(LimitVersion).order_by(col(LimitVersion.version).desc())).first()
    if row is None or "gross" not in row.limits:
        raise LineageError("no limit version with a gross limit; run: executor ledger init")
    return Decimal(row.limits["gross"])


def set_limits(session: Session, limits: dict[str, str], *, author: str, reason: str) -> int:
    """Append a limit version and return its number; unchanged limits keep the present version.

    Raises :class:`sql.errors.LimitsError` if that loosens a limit: see :mod:`sql.limit_changes`.
    """
    row = session.exec(select(LimitVersion).order_by(col(LimitVersion.version).desc())).first()
    if row is not None and row.limits == limits:
        return row.version
    return limit_changes.tighten(session, limits, author=author, reason=reason)


def raise_alert(
    session: Session, severity: str, kind: str, title: str, body: str, ref: str = ""
) -> uuid.UUID:
    """Record something a person must know; the notifier delivers it."""
    statement = text("SELECT ledger.raise_alert(:severity, :kind, :title, :body, :ref)")
    values = {"severity": severity, "kind": kind, "title": title, "body": body, "ref": ref}
    return uuid.UUID(str(session.execute(statement, values).scalar_one()))


def _require_passed(session: Session, run_id: uuid.UUID, data_set_id: str) -> None:
    run = session.get(ValidationRun, run_id)
    if run is None:
        raise LineageError(f"no validation run {run_id}; run the validate flow first")
    if run.verdict != "passed":
        raise LineageError(
            f"validation run {run_id} of data set {run.data_set_id} failed; mend the data and validate again"
        )
    if run.data_set_id != data_set_id:
        raise LineageError(f"validation run {run_id} is of data set {run.data_set_id}, not {data_set_id}")


def _require_model(session: Session, batch: SignalBatch) -> None:
    if batch.validation_run_id is not None:
        _require_passed(session, batch.validation_run_id, batch.data_set_id)
    if batch.model_version_id is None:
        return  # weights brought from elsewhere: the approval says who answers for them
    model = session.get(ModelVersion, batch.model_version_id)
    if model is None:
        raise LineageError(f"no model {batch.model_version_id!r} in the registry; run the retrain flow first")
    if model.expires_at <= batch.valid_from:
        raise LineageError(
            f"model {model.id} expired {model.expires_at:%Y-%m-%d %H:%M} UTC, before the batch is valid; retrain"
        )
