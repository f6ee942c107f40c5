"""The chain's upper half refuses a missing link; approvals say who and approve exactly one content."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal

import pytest
from chain import CLOSE, NOON, batch_of, first_half, whole_chain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import select

from sql import audit
from sql.approvals import PAPER_POLICY, approve, reject
from sql.errors import ApprovalError, LineageError
from sql.ledger import Ledger
from sql.lineage import propose_batch, record_data_set, record_model
from sql.tables import AuditLog, DataSet, ModelVersion, Signal, SignalBatch


def test_a_whole_chain_can_be_proposed_approved_and_verified(ledger: Ledger) -> None:
    with ledger.session() as session:
        batch = whole_chain(session)
        approve(session, batch.id, approver="ann", reason="looks right", now=NOON)
        assert batch.state == "APPROVED"
        report = audit.verify(session)
    assert report.ok
    assert report.rows >= 6


def test_the_same_proposal_twice_is_one_batch(ledger: Ledger) -> None:
    with ledger.session() as session:
        first = whole_chain(session)
        again = whole_chain(session)
        assert again.id == first.id
        assert len(session.exec(select(SignalBatch)).all()) == 1


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"AAA": "0.6", "BBB": "0.41"}, "sum to 1.01 gross, over the limit of 1"),
        ({"ZZZ": "0.1"}, "unknown symbol ZZZ"),
    ],
)
def test_weights_that_cannot_be_traded_are_refused(
    ledger: Ledger, weights: dict[str, str], message: str
) -> None:
    with pytest.raises(LineageError, match=message), ledger.session() as session:
        whole_chain(session, weights)


def test_an_empty_batch_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LineageError, match="no signals"), ledger.session() as session:
        data, run = first_half(session)
        propose_batch(session, batch_of(data, run), [])


def test_a_symbol_given_twice_is_refused(ledger: Ledger) -> None:
    twice = [Signal(batch_id=uuid.uuid4(), symbol="AAA", target_weight=Decimal("0.1")) for _ in range(2)]
    with pytest.raises(LineageError, match="AAA stands 2 times"), ledger.session() as session:
        data, run = first_half(session)
        propose_batch(session, batch_of(data, run), twice)


def test_a_failed_validation_blocks_model_and_batch(ledger: Ledger) -> None:
    with ledger.session() as session:
        data, run = first_half(session, verdict="failed")
        model = ModelVersion(
            id="m", created_at=NOON, strategy="t", strategy_hash="", data_set_id=data.id, validation_run_id=run.id,
            artifact_path="", artifact_hash="", feature_hash="", trained_from=run.as_of, trained_to=run.as_of,
            expires_at=NOON,
        )  # fmt: skip
        with pytest.raises(LineageError, match="failed; mend the data"):
            record_model(session, model)
        signals = [Signal(batch_id=uuid.uuid4(), symbol="AAA", target_weight=Decimal("0.1"))]
        with pytest.raises(LineageError, match="failed; mend the data"):
            propose_batch(session, batch_of(data, run), signals)


def test_an_expired_model_cannot_propose(ledger: Ledger) -> None:
    with pytest.raises(LineageError, match="expired"), ledger.session() as session:
        late = dt.datetime(2023, 2, 1, 14, 30, tzinfo=dt.UTC)
        whole_chain(session, valid_from=late, valid_until=late + dt.timedelta(hours=6))


def test_an_id_names_one_content(ledger: Ledger) -> None:
    with pytest.raises(LineageError, match="an id names one content"), ledger.session() as session:
        data, _ = first_half(session)
        fields = data.model_dump() | {"content_hash": "f" * 64}
        record_data_set(session, DataSet(**fields))


def test_who_proposed_cannot_approve(ledger: Ledger) -> None:
    with pytest.raises(ApprovalError, match="cannot approve it"), ledger.session() as session:
        batch = whole_chain(session, proposer="ann")
        approve(session, batch.id, approver="ann", reason="mine", now=NOON)


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_approval_needs_a_reason(ledger: Ledger, reason: str) -> None:
    with pytest.raises(ApprovalError, match="needs a reason"), ledger.session() as session:
        approve(session, whole_chain(session).id, approver="ann", reason=reason, now=NOON)


def test_an_expired_batch_cannot_be_approved(ledger: Ledger) -> None:
    with pytest.raises(ApprovalError, match="expired at"), ledger.session() as session:
        approve(session, whole_chain(session).id, approver="ann", reason="late", now=CLOSE)


def test_a_rejected_batch_stays_rejected(ledger: Ledger) -> None:
    with ledger.session() as session:
        batch = whole_chain(session)
        reject(session, batch.id, approver="ann", reason="no")
        with pytest.raises(ApprovalError, match="is REJECTED"):
            approve(session, batch.id, approver="bob", reason="yes", now=NOON)


def test_a_policy_cannot_approve_on_a_live_ledger(ledger: Ledger) -> None:
    with ledger.session() as session:
        session.execute(text("UPDATE ledger.book SET environment = 'live'"))
        batch = whole_chain(session, environment="live", valid_until=dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
        with pytest.raises(ApprovalError, match="a person must"):
            approve(session, batch.id, approver=PAPER_POLICY, reason="auto", policy=True)


def test_a_replay_clock_is_refused_by_a_live_ledger(ledger: Ledger) -> None:
    """On a live ledger a claimed market time cannot revive a batch that has expired."""
    with ledger.session() as session:
        session.execute(text("UPDATE ledger.book SET environment = 'live'"))
        batch = whole_chain(session, environment="live")
        with pytest.raises(ApprovalError, match="expired"):
            approve(session, batch.id, approver="ann", reason="r", now=NOON)


def test_a_batch_changed_behind_the_ledgers_back_cannot_be_approved(ledger: Ledger) -> None:
    with ledger.session() as session:
        batch = whole_chain(session)
        session.execute(text("ALTER TABLE ledger.signal DISABLE TRIGGER append_only"))
        session.execute(text("UPDATE ledger.signal SET target_weight = 0.9 WHERE symbol = 'AAA'"))
        session.expire_all()
        with pytest.raises(ApprovalError, match="content hash differs"):
            approve(session, batch.id, approver="ann", reason="r", now=NOON)


TAMPERS = [
    ("edit", "UPDATE ledger.audit_log SET body = body || ' ' WHERE seq = 3", 3),
    ("delete", "DELETE FROM ledger.audit_log WHERE seq = 3", 3),
    ("swap actor", "UPDATE ledger.audit_log SET actor = 'nobody' WHERE seq = 2", 2),
    (
        "cut the tail",
        "DELETE FROM ledger.audit_log WHERE seq = (SELECT max(seq) FROM ledger.audit_log)",
        None,
    ),
]


@pytest.mark.parametrize(("name", "tamper", "first_bad"), TAMPERS)
def test_tampering_is_seen(ledger: Ledger, name: str, tamper: str, first_bad: int | None) -> None:
    with ledger.session() as session:
        whole_chain(session)
        rows = len(session.exec(select(AuditLog)).all())
        session.execute(text("ALTER TABLE ledger.audit_log DISABLE TRIGGER append_only"))
        session.execute(text(tamper))
        session.expire_all()
        report = audit.verify(session)
    assert not report.ok
    assert report.first_bad == (first_bad or rows)


def test_many_entries_at_once_are_the_chain_they_would_be_one_by_one(ledger: Ledger) -> None:
    entries = [(f"réf {n}", {"n": n, "text": "ü" * (n % 5)}) for n in range(300)]
    with ledger.session() as session:
        audit.append(session, "MODEL", "before", {})
        last = audit.append_many(session, "MODEL", entries)
        audit.append(session, "MODEL", "after", {})
    with ledger.session() as session:
        report = audit.verify(session)
        assert report.ok
        assert (last, report.rows) == (301, 302)
        stored = [(e.ref, e.body) for e in audit.links(session, 2, 301)]
    assert stored == [(ref, json.dumps(body, sort_keys=True, separators=(",", ":"))) for ref, body in entries]


@given(st.lists(st.integers(0, 4_102_444_799_999_999), min_size=200, max_size=200))  # up to the year 2099
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_microseconds_are_read_exactly(ledger: Ledger, moments: list[int]) -> None:
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    query = "SELECT (date_part('epoch', x) * 1000000)::bigint FROM unnest(:at) WITH ORDINALITY AS t (x, n) ORDER BY n"
    with ledger.session() as session:
        at = [epoch + dt.timedelta(microseconds=us) for us in moments]
        assert list(session.execute(text(query), {"at": at}).scalars()) == moments
