"""The first door: a word on one batch, by someone other than its proposer, before it expires."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlmodel import Session, select

from sql import audit
from sql.errors import ApprovalError
from sql.lineage import batch_hash
from sql.tables import Approval, Book, Signal, SignalBatch

PAPER_POLICY = "policy:paper"


def approve(
    session: Session,
    batch_id: uuid.UUID,
    *,
    approver: str,
    reason: str,
    now: dt.datetime | None = None,
    policy: bool = False,
) -> Approval:
    """Approve a proposed batch so that the executor may trade it.

    Parameters
    ----------
    now : datetime, optional
        Market time; only a replay ledger accepts one that is not the wall clock.
    policy : bool
        The approver is a rule, not a person: refused on a live ledger.

    Raises
    ------
    ApprovalError
        Unknown, decided, expired or altered batch; approver equal to proposer; a policy on live.
    """
    return _decide(session, batch_id, "approved", approver, reason, now, policy)


def reject(
    session: Session,
    batch_id: uuid.UUID,
    *,
    approver: str,
    reason: str,
    now: dt.datetime | None = None,
) -> Approval:
    """Reject a proposed batch; it can never be traded."""
    return _decide(session, batch_id, "rejected", approver, reason, now, policy=False)


def _decide(
    session: Session,
    batch_id: uuid.UUID,
    verdict: str,
    approver: str,
    reason: str,
    now: dt.datetime | None,
    policy: bool,
) -> Approval:
    book = session.exec(select(Book)).one()
    wall = dt.datetime.now(dt.UTC)
    market_now = now if now is not None and book.environment == "replay" else wall
    if not reason.strip():
        raise ApprovalError(f"an {verdict} batch needs a reason; say why with --reason")
    batch = session.get(SignalBatch, batch_id, with_for_update=True)
    if batch is None:
        raise ApprovalError(f"no batch {batch_id}; executor signals list shows what there is")
    if batch.state != "PROPOSED":
        raise ApprovalError(f"batch {batch_id} is {batch.state}; only a PROPOSED batch can be {verdict}")
    if batch.environment != book.environment:
        raise ApprovalError(
            f"batch {batch_id} is for environment {batch.environment}, this ledger is {book.environment}"
        )
    if policy and book.environment == "live":
        raise ApprovalError("a policy cannot approve on a live account; a person must")
    if verdict == "approved":
        if approver == batch.proposer:
            raise ApprovalError(
                f"{approver} proposed batch {batch_id} and cannot approve it; someone else must"
            )
        if batch.valid_until <= market_now:
            raise ApprovalError(
                f"batch {batch_id} expired at {batch.valid_until:%Y-%m-%d %H:%M} UTC; propose a new one"
            )
    signals = session.exec(select(Signal).where(Signal.batch_id == batch_id)).all()
    if batch_hash(batch, signals) != batch.content_hash:
        raise ApprovalError(
            f"batch {batch_id} is not what was proposed (its content hash differs); propose again"
        )
    approval = Approval(
        batch_id=batch_id,
        verdict=verdict,
        approver=approver,
        reason=reason,
        environment=batch.environment,
        content_hash=batch.content_hash,
        decided_at=wall,
    )
    session.add(approval)
    batch.state = "APPROVED" if verdict == "approved" else "REJECTED"
    session.add(batch)
    session.flush()
    audit.append(
        session,
        "APPROVAL",
        str(batch_id),
        {"verdict": verdict, "approver": approver, "reason": reason, "content_hash": batch.content_hash},
    )
    return approval
