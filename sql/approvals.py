"""The first door: a word on one batch, by someone other than its proposer, before it expires."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlmodel import Session, select

from sql import audit
from sql.errors import ApprovalError
from sql.evidence import Identity
from sql.lineage import batch_hash
from sql.signatures import SigningKey, is_registered, statement
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
    key: SigningKey | None = None,
) -> Approval:
    """Approve a proposed batch so that the executor may trade it.

    Parameters
    ----------
    now : datetime, optional
        Market time; only a replay ledger accepts one that is not the wall clock.
    policy : bool
        The approver is a rule, not a person: refused on a live ledger.
    key : SigningKey, optional
        The approver's registered key; a live ledger takes no approval without one.

    Raises
    ------
    ApprovalError
        Unknown, decided, expired or altered batch; approver equal to proposer; a policy on live.
    """
    return _decide(session, batch_id, "approved", approver, reason, now, policy, key)


def reject(
    session: Session,
    batch_id: uuid.UUID,
    *,
    approver: str,
    reason: str,
    now: dt.datetime | None = None,
    key: SigningKey | None = None,
) -> Approval:
    """Reject a proposed batch; it can never be traded."""
    return _decide(session, batch_id, "rejected", approver, reason, now, False, key)


def _decide(
    session: Session,
    batch_id: uuid.UUID,
    verdict: str,
    approver: str,
    reason: str,
    now: dt.datetime | None,
    policy: bool,
    key: SigningKey | None,
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
    if key is not None and not (key.approver == approver and is_registered(session, key)):
        raise ApprovalError(
            f"key {key.key_id} is not registered and in force for {approver}; executor approvers list shows what is"
        )
    if verdict == "approved":
        if approver == batch.proposer:
            raise ApprovalError(
                f"{approver} proposed batch {batch_id} and cannot approve it; someone else must"
            )
        if batch.valid_until <= market_now:
            raise ApprovalError(
                f"batch {batch_id} expired at {batch.valid_until:%Y-%m-%d %H:%M} UTC; propose a new one"
            )
    if verdict == "approved" and book.environment == "live" and key is None:
        raise ApprovalError(
            f"a live batch needs a signed approval and {approver} has no key; "
            f"make and register one: executor approvers new {approver}"
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
    if key is not None:
        identity = session.exec(select(Identity)).one()
        message = statement(
            identity.ledger_id,
            batch_id,
            batch.environment,
            verdict,
            approver,
            batch.content_hash,
            reason,
            wall,
        )
        approval.key_id, approval.signature = key.key_id, key.sign(message)
    session.add(approval)
    session.flush()
    batch.state = "APPROVED" if verdict == "approved" else "REJECTED"
    session.add(batch)
    session.flush()
    audit.append(
        session,
        "APPROVAL",
        str(batch_id),
        {
            "verdict": verdict,
            "approver": approver,
            "reason": reason,
            "content_hash": batch.content_hash,
            "key": approval.key_id,
            "signature": approval.signature,
        },
    )
    return approval
