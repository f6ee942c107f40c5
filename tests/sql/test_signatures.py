"""Signed approvals: only the registered key of the approver covers exactly what was proposed."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path

import pytest
from chain import NOON, whole_chain
from forgery import disarm
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sql import signatures
from sql.approvals import approve
from sql.errors import ApprovalError
from sql.ledger import Ledger
from sql.signatures import SigningKey, check_batch, load_key, new_key, register, revoke, statement
from sql.tables import Approval, SignalBatch

LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def ann(tmp_path: Path) -> SigningKey:
    return new_key(tmp_path / "keys", "ann")


def test_a_private_key_is_for_its_owner_only_and_never_overwritten(tmp_path: Path, ann: SigningKey) -> None:
    path = tmp_path / "keys" / "ann.key"
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = load_key(tmp_path / "keys", "ann")
    assert loaded is not None
    assert loaded.public_hex == ann.public_hex
    with pytest.raises(ApprovalError, match="has a key already"):
        new_key(tmp_path / "keys", "ann")
    path.chmod(0o644)
    with pytest.raises(ApprovalError, match="can be read by others"):
        load_key(tmp_path / "keys", "ann")
    assert load_key(tmp_path / "keys", "bob") is None


@pytest.mark.parametrize("name", ["../ann", "", "a/b", ".ann", "a\n"])
def test_a_name_cannot_leave_the_folder_of_keys(tmp_path: Path, name: str) -> None:
    with pytest.raises(ApprovalError, match="is no name for a key"):
        load_key(tmp_path, name)


def test_a_signed_approval_is_checked_against_the_registered_key(ledger: Ledger, ann: SigningKey) -> None:
    with ledger.session() as session:
        assert register(session, ann, by="risk") == ann.key_id
        batch = whole_chain(session)
        approval = approve(session, batch.id, approver="ann", reason="read it", now=NOON, key=ann)
        assert approval.key_id == ann.key_id
        assert check_batch(session, batch.id) == ""


def test_a_key_that_nobody_registered_signs_nothing(ledger: Ledger, ann: SigningKey) -> None:
    with ledger.session() as session:
        batch = whole_chain(session)
        with pytest.raises(ApprovalError, match="is not registered and in force"):
            approve(session, batch.id, approver="ann", reason="r", now=NOON, key=ann)


def test_one_persons_key_does_not_sign_for_another(ledger: Ledger, ann: SigningKey) -> None:
    with ledger.session() as session:
        register(session, ann, by="risk")
        batch = whole_chain(session)
        with pytest.raises(ApprovalError, match="for bob"):
            approve(session, batch.id, approver="bob", reason="r", now=NOON, key=ann)


def test_a_revoked_key_no_longer_covers_what_it_signed(ledger: Ledger, ann: SigningKey) -> None:
    with ledger.session() as session:
        register(session, ann, by="risk")
        batch = whole_chain(session)
        approve(session, batch.id, approver="ann", reason="r", now=NOON, key=ann)
        revoke(session, ann.key_id, by="risk", reason="laptop lost")
        session.expire_all()
        assert "was revoked" in check_batch(session, batch.id)


@pytest.mark.parametrize("column", ["reason", "approver", "decided_at", "environment", "signature"])
def test_an_approval_rewritten_in_the_database_is_seen(ledger: Ledger, ann: SigningKey, column: str) -> None:
    forged = {"decided_at": "decided_at + interval '1 second'", "signature": "repeat('0', 128)"}
    with ledger.session() as session:
        register(session, ann, by="risk")
        batch = whole_chain(session)
        approve(session, batch.id, approver="ann", reason="r", now=NOON, key=ann)
        disarm(session)
        session.execute(
            text(f"UPDATE ledger.approval SET {column} = {forged.get(column, chr(39) + 'x' + chr(39))}")
        )
        if column == "approver":
            session.execute(text("UPDATE ledger.approver_key SET approver = 'x'"))
        session.expire_all()
        assert "the signature is not" in check_batch(session, batch.id)


def test_a_weight_changed_after_the_approval_is_seen(ledger: Ledger, ann: SigningKey) -> None:
    with ledger.session() as session:
        register(session, ann, by="risk")
        batch = whole_chain(session)
        approve(session, batch.id, approver="ann", reason="r", now=NOON, key=ann)
        disarm(session)
        session.execute(text("UPDATE ledger.signal SET target_weight = 0.11 WHERE symbol = 'AAA'"))
        session.expire_all()
        assert "content hash differs" in check_batch(session, batch.id)


def test_a_live_batch_needs_a_signature_from_python_and_from_sql(ledger: Ledger, ann: SigningKey) -> None:
    with ledger.session() as session:
        session.execute(text("UPDATE ledger.book SET environment = 'live'"))
        batch = whole_chain(session, environment="live", valid_until=LATER)
        with pytest.raises(ApprovalError, match="needs a signed approval"):
            approve(session, batch.id, approver="ann", reason="r")
        unsigned = Approval(
            batch_id=batch.id, verdict="approved", approver="ann", reason="r", environment="live",
            content_hash=batch.content_hash, decided_at=NOON,
        )  # fmt: skip
        with pytest.raises(DBAPIError, match="needs a signed approval"), session.begin_nested():
            session.add(unsigned)
            session.flush()
        register(session, ann, by="risk")
        approve(session, batch.id, approver="ann", reason="r", key=ann)
        assert check_batch(session, batch.id) == ""


def test_a_batch_cannot_be_changed_once_proposed(ledger: Ledger) -> None:
    with ledger.session() as session:
        batch = whole_chain(session)
        for change in (
            "content_hash = 'x'",
            "valid_until = valid_until + interval '1 day'",
            "proposer = 'bob'",
        ):
            with pytest.raises(DBAPIError, match="its terms never change"), session.begin_nested():
                session.execute(text(f"UPDATE ledger.signal_batch SET {change}"))
        assert session.get(SignalBatch, batch.id) is not None


@given(
    st.lists(st.text(max_size=30), min_size=4, max_size=4),
    st.lists(st.text(max_size=30), min_size=4, max_size=4),
)
@settings(max_examples=200)
def test_two_different_approvals_never_sign_the_same_bytes(one: list[str], two: list[str]) -> None:
    ledger, batch = uuid.UUID(int=1), uuid.UUID(int=2)

    def message(fields: list[str]) -> bytes:
        approver, content, reason, verdict = (f.replace("\n", " ") for f in fields)
        return statement(ledger, batch, "paper", verdict, approver, content, reason, NOON)

    cleaned = [[f.replace("\n", " ") for f in fields] for fields in (one, two)]
    assert (message(one) == message(two)) == (cleaned[0] == cleaned[1])
    assert signatures.FORMAT.encode() in message(one)
