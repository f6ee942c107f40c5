"""Findings of the validation in the ledger: recorded by the flow, overruled by a person, read by the executor.

The executor reads :func:`reduce_only` (the view ``v_reduce_only``): positions in those symbols may be
reduced and not increased.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlmodel import Field, Session, col, insert, select

from sql.errors import LedgerRefused, LineageError
from sql.tables import LedgerTable, ValidationRun


class Finding(LedgerTable, table=True):
    """One finding of one validation run; ``symbol`` is null where it is about the whole delivery."""

    __tablename__ = "finding"
    run_id: uuid.UUID = Field(primary_key=True, foreign_key="ledger.validation_run.id")
    place: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """Worst first."""
    key: str = Field(max_length=16, index=True)
    """Names what is seen (fault, symbol, range, number): the same in the next run as long as it is the same."""
    fault: str
    severity: str
    symbol: str | None = None
    first_session: dt.date | None = None
    last_session: dt.date | None = None
    value: float | None = None
    confidence: float
    action: str
    detail: str
    evidence: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False))
    overruled: str = ""


class FindingOverrule(LedgerTable, table=True):
    """A person's word on a finding; the newest row of a key stands. Written by :func:`overrule` only."""

    __tablename__ = "finding_overrule"
    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    at: dt.datetime = Field(sa_type=DateTime(timezone=True))
    key: str = Field(max_length=16)
    standing: bool
    person: str
    reason: str
    seen: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False))


def record_findings(session: Session, run_id: uuid.UUID, findings: Iterable[Mapping[str, Any]]) -> int:
    """Record the findings of a run, worst first, once; returns how many. The run's audit entry covers them
    by its hash of the checks."""
    if session.exec(select(Finding.place).where(Finding.run_id == run_id).limit(1)).first() is not None:
        return 0
    rows = [
        {
            "run_id": run_id, "place": place, "key": row["key"], "fault": row["check"], "severity": row["severity"],
            "symbol": row["symbol"], "first_session": row["first"], "last_session": row["last"], "value": row["value"],
            "confidence": row["confidence"], "action": row["action"], "detail": row["detail"],
            "evidence": row["evidence"], "overruled": row["overruled"],
        }
        for place, row in enumerate(findings)
    ]  # fmt: skip
    if rows:
        session.execute(insert(Finding), rows)
    return len(rows)


def newest_run(session: Session, as_of: dt.date | None = None) -> ValidationRun:
    """The validation that counts: the last of the newest session (or of ``as_of``).

    Raises :class:`LineageError` when there is none.
    """
    query = select(ValidationRun).where(ValidationRun.suite == "prices")
    if as_of is not None:
        query = query.where(ValidationRun.as_of == as_of)
    newest = query.order_by(col(ValidationRun.as_of).desc(), col(ValidationRun.finished_at).desc())
    run = session.exec(newest).first()
    if run is None:
        asked = f" for {as_of}" if as_of else ""
        raise LineageError(f"no validation{asked} in the ledger; run: sallyport flows run validate")
    return run


def findings_of(session: Session, run_id: uuid.UUID) -> list[Finding]:
    """The findings of a run, worst first."""
    return list(session.exec(select(Finding).where(Finding.run_id == run_id).order_by(col(Finding.place))))


def overrule(session: Session, key: str, *, person: str, reason: str, standing: bool = True) -> int:
    """A person overrules one finding (or, not ``standing``, takes that back); returns the audit number.

    The word holds for the finding as seen: it follows the key into later runs, and lapses when the
    numbers change. Raises :class:`LedgerRefused`: unknown key, no person or reason, nothing to change.
    """
    statement = text("SELECT ledger.overrule_finding(:key, :person, :reason, :standing)")
    values = {"key": key, "person": person, "reason": reason, "standing": standing}
    try:
        return int(session.execute(statement, values).scalar_one())
    except DBAPIError as error:
        raise LedgerRefused(str(error.orig).splitlines()[0]) from None


def overrules(session: Session) -> dict[str, str]:
    """Key of each overruled finding -> who and why."""
    rows = session.execute(text("SELECT key, person, reason FROM ledger.v_overrules ORDER BY key"))
    return {key: f"{person}: {reason}" for key, person, reason in rows}


def reduce_only(session: Session) -> dict[str, str]:
    """Symbols that may only be reduced -> why, by the newest validation and what was overruled since."""
    rows = session.execute(text("SELECT symbol, fault, detail FROM ledger.v_reduce_only ORDER BY symbol"))
    return {symbol: f"{fault.replace('_', ' ')}: {detail}" for symbol, fault, detail in rows}
