"""The links of the chain a flow starts from, or a refusal that says which flow makes the missing one.

Order in a schedule is not proof: each flow asks the ledger for what it builds on, so a flow that is
started by hand cannot step over one that failed.
"""

from __future__ import annotations

from datetime import date

from sqlmodel import Session, col, select

from flows.errors import LinkMissing
from sql.tables import DataSet, Instrument, ModelVersion, ValidationRun


def data_set(session: Session, as_of: date) -> DataSet:
    """The data set ingested last whose newest session is `as_of`."""
    newest = col(DataSet.created_at).desc()
    found = session.exec(select(DataSet).where(DataSet.last_session == as_of).order_by(newest)).first()
    if found is None:
        latest = session.exec(select(DataSet).order_by(newest)).first()
        held = f"the newest ends {latest.last_session}" if latest else "it holds none"
        raise LinkMissing(
            f"the ledger has no prices up to {as_of} ({held}); get the session's prices and run: "
            f"sallyport flows run ingest --as-of {as_of}"
        )
    return found


def passed_validation(session: Session, prices: DataSet, as_of: date) -> ValidationRun:
    """The validation that `prices` passed for `as_of`; a failed or missing one stops the caller."""
    found = session.exec(
        select(ValidationRun)
        .where(ValidationRun.data_set_id == prices.id, ValidationRun.as_of == as_of)
        .order_by(col(ValidationRun.finished_at).desc())
    ).first()
    if found is None:
        raise LinkMissing(
            f"data set {prices.id} has not been validated for {as_of}; run: "
            f"sallyport flows run validate --as-of {as_of}"
        )
    if found.verdict != "passed":
        raise LinkMissing(
            f"data set {prices.id} failed validation for {as_of} (run {found.id}); nothing may be built on it. "
            f"Read {found.report_path or 'its findings in the ledger'}, mend the prices, ingest and validate again"
        )
    return found


def newest_model(session: Session, strategy: str, strategy_hash: str, as_of: date) -> ModelVersion | None:
    """The model trained last for exactly this strategy, on nothing later than `as_of`."""
    return session.exec(
        select(ModelVersion)
        .where(
            ModelVersion.strategy == strategy,
            ModelVersion.strategy_hash == strategy_hash,
            ModelVersion.trained_to <= as_of,
        )
        .order_by(col(ModelVersion.created_at).desc())
    ).first()


def model(session: Session, strategy: str, strategy_hash: str, as_of: date) -> ModelVersion:
    """As :func:`newest_model`, but there has to be one."""
    found = newest_model(session, strategy, strategy_hash, as_of)
    if found is None:
        raise LinkMissing(
            f"no model of strategy {strategy!r} as the file stands now; run: sallyport flows run retrain --as-of {as_of}"
        )
    return found


def tested_model(session: Session, strategy: str, strategy_hash: str, as_of: date) -> ModelVersion:
    """As :func:`model`, and its walk-forward result is in the ledger."""
    found = model(session, strategy, strategy_hash, as_of)
    if not found.metrics:
        raise LinkMissing(
            f"model {found.id} has no walk-forward result; run: sallyport flows run walk_forward --as-of {as_of}"
        )
    return found


def quarantined(run: ValidationRun) -> list[str]:
    """Symbols the validation passed only without: nothing is learned from them and none is proposed."""
    return list(run.checks.get("quarantined", []))


def sectors(session: Session) -> dict[str, str]:
    """GICS sector by symbol, of the names that have one."""
    return {row.symbol: row.sector for row in session.exec(select(Instrument)) if row.sector}
