"""A backup comes back whole or not at all, and one that is older than the truth says so."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from forgery import disarm
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from standing_book import StandingBook

from sql.anchors import AnchorFile, anchor_now, read_anchors, read_head
from sql.audit import verify
from sql.backup import backup, manifest_file, read_backup, restore
from sql.doctor import examine
from sql.errors import LedgerError
from sql.ledger import Ledger
from sql.rebuild import compare
from sql.roles import in_force
from sql.server import libpq_url


@pytest.fixture
def book(ledger: Ledger) -> StandingBook:
    book = StandingBook(ledger)
    book.fill(book.place()["cid"], "10", "99.5")
    return book


@pytest.fixture
def empty(book: StandingBook) -> Iterator[str]:
    """Address of another, empty database on the same server."""
    url = make_url(book.ledger.url)
    name = f"restored_{uuid.uuid4().hex[:8]}"
    maintenance = libpq_url(url.set(database="postgres").render_as_string(hide_password=False))
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield url.set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_what_was_backed_up_comes_back_equal_and_halted(
    book: StandingBook, empty: str, tmp_path: Path
) -> None:
    file, anchors = tmp_path / "b" / "ledger.dump", AnchorFile(tmp_path / "anchors.jsonl")
    made = backup(book.ledger, file)
    assert file.stat().st_mode & 0o777 == 0o600
    with book.ledger.session() as session:
        anchor_now(session, [anchors], "backup")
    found = restore(empty, file, environment="replay", where=[anchors], who="ann")
    assert (found.entries_lost, found.chain.ok, found.chain.anchors) == (0, True, 1)
    restored = Ledger(empty)
    with restored.session() as session:
        _, differences = compare(session)
        assert differences == []
        row = session.execute(text("SELECT * FROM ledger.v_mode")).one()
        assert (row.mode, row.audit_seq) == ("HALTED", made.seq + 1)
        with book.ledger.engine.begin() as connection, restored.engine.begin() as other:
            assert in_force(connection) == in_force(other), "owner and grants are as before"
    with pytest.raises(DBAPIError, match="append-only"), restored.session() as session:
        session.execute(text("DELETE FROM ledger.fill"))
    restored.close()


def test_a_backup_older_than_the_truth_is_noticed_and_explained(
    book: StandingBook, empty: str, tmp_path: Path
) -> None:
    file, anchors = tmp_path / "ledger.dump", AnchorFile(tmp_path / "anchors.jsonl")
    made = backup(book.ledger, file)
    book.fill(book.place("BBB")["cid"], "5")  # after the backup: the broker has it, the copy will not
    with book.ledger.session() as session:
        anchor_now(session, [anchors], "minute")
        last = read_head(session)
    found = restore(empty, file, environment="replay", where=[anchors], who="ann")
    assert found.entries_lost == last.seq - made.seq == 2
    assert found.last_anchor is not None
    assert found.last_anchor.seq == last.seq
    restored = Ledger(empty)
    with restored.session() as session:
        mine = read_anchors([anchors], made.ledger)
        report = verify(session, anchors=mine)
        assert (report.ok, report.abandoned, report.anchors) == (True, 1, 1), (
            "the declared cut is counted, not hidden"
        )
        alert = session.execute(
            text("SELECT severity, kind FROM ledger.alert ORDER BY at DESC LIMIT 1")
        ).one()
        assert tuple(alert) == ("critical", "ledger_restored")
        detail = session.execute(
            text("SELECT body::jsonb ->> 'entries_lost' FROM ledger.audit_log WHERE kind = 'RESTORE'")
        )
        assert detail.scalar_one() == "2"
    restored.close()


def test_a_cut_that_no_restore_declared_is_no_restore(book: StandingBook, empty: str, tmp_path: Path) -> None:
    """Copying an old database over the ledger, without our command, is seen by verify and by the doctor."""
    file, anchors = tmp_path / "ledger.dump", AnchorFile(tmp_path / "anchors.jsonl")
    backup(book.ledger, file)
    restore(empty, file, environment="replay", where=[], who="ann")
    book.place("BBB")
    book.place(leg=2)
    with book.ledger.session() as session:
        anchor_now(session, [anchors], "minute")
        wanted = read_anchors([anchors], read_head(session).ledger)
    restored = Ledger(empty)
    with restored.session() as session:
        disarm(session)
        session.execute(text("DELETE FROM ledger.audit_log WHERE kind = 'RESTORE'"))
        session.execute(
            text(
                "UPDATE ledger.audit_head SET (seq, hash) = (SELECT seq, hash FROM ledger.audit_log ORDER BY seq DESC LIMIT 1)"
            )
        )
        assert not verify(session, anchors=wanted).ok
        assert "bad" in {f.verdict for f in examine(session, [anchors], tmp_path) if f.check == "anchors"}
    restored.close()


def test_a_ledger_in_use_is_never_overwritten(book: StandingBook, tmp_path: Path) -> None:
    backup(book.ledger, tmp_path / "ledger.dump")
    with pytest.raises(LedgerError, match="holds a ledger in use"):
        restore(book.ledger.url, tmp_path / "ledger.dump", environment="replay", where=[], who="ann")


def test_a_damaged_or_foreign_backup_is_refused(book: StandingBook, empty: str, tmp_path: Path) -> None:
    file = tmp_path / "ledger.dump"
    backup(book.ledger, file)
    with pytest.raises(LedgerError, match="environment 'replay', but 'live'"):
        restore(empty, file, environment="live", where=[], who="ann")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(LedgerError, match="its hash differs"):
        read_backup(file)
    manifest_file(file).write_text("{}")
    with pytest.raises(LedgerError, match="is not a backup's manifest"):
        read_backup(file)
    with pytest.raises(LedgerError, match="no backup"):
        read_backup(tmp_path / "nowhere.dump")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_leaves_no_half_backup(book: StandingBook, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    part = tmp_path / "full" / "ledger.dump.part"
    part.symlink_to("/dev/full")
    with pytest.raises((LedgerError, OSError)):
        backup(book.ledger, tmp_path / "full" / "ledger.dump")
    assert not (tmp_path / "full" / "ledger.dump").exists()


# ---------------------------------------------------------------- the doctor

AILMENTS = [
    ("ALTER TABLE ledger.audit_log DISABLE TRIGGER append_only", "guards"),
    ("UPDATE ledger.alembic_version SET version_num = '0002'", "schema"),
    ("ALTER TABLE ledger.orders ADD COLUMN extra int", "tables"),
    ("ALTER TABLE ledger.orders DROP COLUMN cost_estimate CASCADE", "tables"),
    ("SELECT ledger.add_limit_version('x', 'x', '{\"gross\": \"1\"}')", "limits"),
    ("GRANT EXECUTE ON FUNCTION ledger.place(int, jsonb) TO PUBLIC", "roles"),
]


@pytest.mark.parametrize(("ailment", "check"), AILMENTS)
def test_the_doctor_names_what_is_wrong(book: StandingBook, tmp_path: Path, ailment: str, check: str) -> None:
    with book.ledger.session() as session:
        session.execute(text(ailment))
    with book.ledger.session() as session:
        bad = {
            f.check
            for f in examine(session, [AnchorFile(tmp_path / "a.jsonl")], tmp_path)
            if f.verdict == "bad"
        }
    assert check in bad


def test_a_healthy_ledger_has_nothing_bad(book: StandingBook, tmp_path: Path) -> None:
    with book.ledger.session() as session:
        found = examine(session, [AnchorFile(tmp_path / "elsewhere.jsonl")], tmp_path / "state")
    assert [f for f in found if f.verdict == "bad"] == []
    assert {f.check for f in found} >= {
        "server",
        "durability",
        "schema",
        "tables",
        "roles",
        "guards",
        "limits",
        "anchors",
    }
