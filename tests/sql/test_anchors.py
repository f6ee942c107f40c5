"""Tampering of every kind is seen, from inside with anchors and offline without our code; honesty passes."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forgery import disarm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session

from sql import audit
from sql.anchors import AnchorCommand, AnchorError, AnchorFile, anchor_now, places, read_anchors, read_head
from sql.ledger import Ledger

OFFLINE = Path(audit.__file__).with_name("offline_verifier.py")
ROWS = 60


def fill(session: Session, rows: int = ROWS) -> None:
    for number in range(rows):
        audit.append(
            session, f"K{number % 3}", f"ref-{number}", {"n": number, "text": "größer|7|x" * (number % 4)}
        )


@pytest.fixture
def chained(ledger: Ledger, tmp_path: Path) -> tuple[Ledger, AnchorFile]:
    file = AnchorFile(tmp_path / "elsewhere" / "anchors.jsonl")
    with ledger.session() as session:
        for _ in range(3):
            fill(session, ROWS // 3)
            assert anchor_now(session, [file], "minute") == []
    return ledger, file


def checked(session: Session, file: AnchorFile) -> audit.ChainReport:
    return audit.verify(session, anchors=read_anchors([file], read_head(session).ledger))


def offline(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(OFFLINE), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


# ---------------------------------------------------------------- every way to rewrite history


def rehash(session: Session, start: int) -> None:
    """What a forger with the database's password and our source would do."""
    session.execute(
        text(
            "DO $$ DECLARE r record; p bytea; n bigint := 0; BEGIN p := sha256(convert_to('sallyport:genesis', 'UTF8'));"
            " FOR r IN SELECT * FROM ledger.audit_log ORDER BY seq LOOP n := n + 1;"
            f" IF r.seq >= {start} THEN"
            " UPDATE ledger.audit_log SET seq = -n, prev_hash = p,"
            "   hash = ledger.audit_hash(n, r.at, r.actor, r.kind, r.ref, r.body, p) WHERE seq = r.seq;"
            " UPDATE ledger.audit_log SET seq = n WHERE seq = -n;"
            " END IF;"
            " SELECT hash INTO p FROM ledger.audit_log WHERE seq = n; END LOOP;"
            " UPDATE ledger.audit_head SET seq = n, hash = p; END $$"
        )
    )


def edit(session: Session, seq: int, rng: random.Random) -> None:
    column = rng.choice(["body", "kind", "ref", "actor"])
    session.execute(
        text(f"UPDATE ledger.audit_log SET {column} = {column} || 'x' WHERE seq = :s"), {"s": seq}
    )


def shift_time(session: Session, seq: int, rng: random.Random) -> None:
    session.execute(
        text("UPDATE ledger.audit_log SET at = at + interval '1 microsecond' WHERE seq = :s"), {"s": seq}
    )


def delete(session: Session, seq: int, rng: random.Random) -> None:
    session.execute(text("DELETE FROM ledger.audit_log WHERE seq = :s"), {"s": seq})


def insert(session: Session, seq: int, rng: random.Random) -> None:
    session.execute(text("UPDATE ledger.audit_log SET seq = -seq WHERE seq >= :s"), {"s": seq})
    session.execute(text("UPDATE ledger.audit_log SET seq = 1 - seq WHERE seq < 0"))
    session.execute(
        text(
            "INSERT INTO ledger.audit_log SELECT :s, at, actor, kind, ref, 'forged', prev_hash, :h FROM ledger.audit_log WHERE seq = :n"
        ),
        {"s": seq, "h": rng.randbytes(32), "n": seq + 1},
    )


def swap(session: Session, seq: int, rng: random.Random) -> None:
    other = seq % ROWS + 1
    for before, after in ((seq, -1), (other, seq), (-1, other)):
        session.execute(
            text("UPDATE ledger.audit_log SET seq = :a WHERE seq = :b"), {"a": after, "b": before}
        )


def truncate(session: Session, seq: int, rng: random.Random) -> None:
    session.execute(text("DELETE FROM ledger.audit_log WHERE seq >= :s"), {"s": seq})


def reset_head(session: Session, seq: int, rng: random.Random) -> None:
    session.execute(text("UPDATE ledger.audit_head SET seq = :s - 1"), {"s": seq})


WAYS: list[Callable[[Session, int, random.Random], None]] = [
    edit, shift_time, delete, insert, swap, truncate, reset_head,
]  # fmt: skip


class Undo(Exception):
    """Rolls a tampering back."""


def tampered_is_seen(
    chained: tuple[Ledger, AnchorFile], way: Callable[..., None], seq: int, again: bool, seed: int
) -> None:
    ledger, file = chained
    with pytest.raises(Undo), ledger.session() as session:
        disarm(session)  # triggers off: a superuser's forgery
        way(session, seq, random.Random(seed))
        if again:
            rehash(session, 1)
        report = checked(session, file)
        # Resetting the head alone and then hashing anew restores the honest chain.
        honest = again and way is reset_head
        assert report.ok == honest, f"{way.__name__} at {seq}, hashed anew: {again}"
        raise Undo


@given(st.sampled_from(WAYS), st.integers(1, ROWS), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_tampering_before_the_last_anchor_is_seen(
    chained: tuple[Ledger, AnchorFile], way: Callable[..., None], seq: int, again: bool, seed: int
) -> None:
    tampered_is_seen(chained, way, seq, again, seed)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("seq", [1, ROWS])
def test_each_way_is_seen_at_both_ends(
    chained: tuple[Ledger, AnchorFile], way: Callable[..., None], again: bool, seq: int
) -> None:
    tampered_is_seen(chained, way, seq, again, 1)


def test_without_anchors_a_chain_hashed_anew_passes_which_is_why_there_are_anchors(
    chained: tuple[Ledger, AnchorFile],
) -> None:
    ledger, _ = chained
    with pytest.raises(Undo), ledger.session() as session:
        disarm(session)
        edit(session, 5, random.Random(1))
        rehash(session, 1)
        assert audit.verify(session).ok
        raise Undo


def test_an_honest_chain_passes_whole_and_in_parts(chained: tuple[Ledger, AnchorFile]) -> None:
    ledger, file = chained
    with ledger.session() as session:
        report = checked(session, file)
        assert (report.ok, report.rows, report.anchors) == (True, ROWS, 3)
        assert audit.verify(session, first=20, last=30).rows == 11
        assert not audit.verify(session, first=50, last=ROWS + 5).ok
        fill(session, 5)
        assert checked(session, file).ok, "entries after the last anchor are no alarm"


# ---------------------------------------------------------------- anchors themselves


def test_an_edited_anchor_file_is_seen(chained: tuple[Ledger, AnchorFile]) -> None:
    _, file = chained
    lines = file.path.read_text().splitlines()
    for bad in (lines[1:], [lines[0], lines[2]], [lines[0].replace("minute", "manual"), *lines[1:]], ["{}"]):
        file.path.write_text("\n".join(bad) + "\n")
        with pytest.raises(AnchorError, match="line"):
            file.read()


def test_another_ledgers_anchors_are_not_ours(chained: tuple[Ledger, AnchorFile]) -> None:
    assert read_anchors([chained[1]], "another ledger") == []


def test_a_place_that_fails_is_recorded_and_the_others_are_written(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bad, good = AnchorFile(tmp_path / "file" / "below" / "anchors.jsonl"), AnchorFile(tmp_path / "good.jsonl")
    taken = tmp_path / "taken"
    program = AnchorCommand(
        f"{sys.executable} -c \"import sys; open('{taken}', 'w').write(sys.stdin.read())\""
    )
    with ledger.session() as session:
        fill(session, 3)
        problems = anchor_now(session, [bad, good, program, AnchorCommand("/nonexistent")], "kill")
        head = read_head(session)
        rows = session.execute(text("SELECT place, error <> '' FROM ledger.anchor ORDER BY id")).all()
    assert len(problems) == 2
    assert [failed for _, failed in rows] == [True, False, False, True]
    assert good.read()[-1].hash == head.hash == json.loads(taken.read_text())["hash"]


def test_a_place_is_a_path_or_a_command(tmp_path: Path) -> None:
    named = places(["file:/a/b.jsonl", "/c.jsonl", "command:mail me"], tmp_path)
    assert [p.name for p in named] == ["file /a/b.jsonl", "file /c.jsonl", "command mail"]
    assert [p.name for p in places([], tmp_path)] == [f"file {tmp_path}/anchors/anchors.jsonl"]


# ---------------------------------------------------------------- offline, with no code of ours


def test_the_offline_verifier_agrees_and_imports_nothing_of_ours(
    chained: tuple[Ledger, AnchorFile], tmp_path: Path
) -> None:
    ledger, file = chained
    with ledger.session() as session:
        assert audit.export(session, tmp_path / "chain.jsonl") == ROWS
        head = read_head(session).hash
    done = offline(tmp_path / "chain.jsonl", "--anchors", file.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"holds: {ROWS} entries" in done.stdout
    assert head in done.stdout
    assert "anchors: 3 agree" in done.stdout
    source = OFFLINE.read_text()
    assert not [name for name in ("sql", "executor", "sqlalchemy", "psycopg") if f"import {name}" in source]
    with ledger.session() as session:
        audit.export(session, tmp_path / "part.jsonl", first=11, last=30)
    assert offline(tmp_path / "part.jsonl", "--anchors", file.path).returncode == 0
    assert offline(tmp_path / "nowhere.jsonl").returncode == 2


@given(
    st.sampled_from(["edit", "drop", "double", "swap", "cut", "anew"]),
    st.integers(1, ROWS - 1),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_offline_verifier_sees_every_edit_of_the_export(
    chained: tuple[Ledger, AnchorFile], tmp_path: Path, way: str, at: int, where: int
) -> None:
    ledger, file = chained
    path = tmp_path / "chain.jsonl"
    if not path.exists():
        with ledger.session() as session:
            audit.export(session, path)
    lines = path.read_text().splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    match way:
        case "edit":
            name = ["actor", "kind", "ref", "body"][where % 4]
            rows[at][name] += "!"
        case "drop":
            del rows[at]
        case "double":
            rows.insert(at, rows[at])
        case "swap":
            rows[at], rows[at + 1] = rows[at + 1], rows[at]
        case "cut":
            del rows[at:]
            rows[0] |= {"last": at - 1, "head_seq": at - 1, "head_hash": rows[-1].get("hash", "")}
        case "anew":
            rows[at]["body"] = "forged"
            previous = hashlib.sha256(b"sallyport:genesis").digest()
            for row in rows[1:]:
                link = audit.Link(
                    row["seq"],
                    row["at_us"],
                    row["actor"],
                    row["kind"],
                    row["ref"],
                    row["body"],
                    previous,
                    b"",
                )
                row["prev_hash"], previous = previous.hex(), audit.chain_hash(link, previous)
                row["hash"] = previous.hex()
            rows[0]["head_hash"] = previous.hex()
    bad = tmp_path / "bad.jsonl"
    bad.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")
    assert offline(bad, "--anchors", file.path).returncode == 1
