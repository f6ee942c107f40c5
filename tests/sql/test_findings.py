"""Findings in the ledger: recorded once, overruled by a person with a reason, and who may only be reduced."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from chain import NOW, first_half
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from sql import audit
from sql.errors import LedgerRefused, LineageError
from sql.findings import findings_of, newest_run, overrule, overrules, record_findings, reduce_only
from sql.ledger import Ledger
from sql.lineage import record_validation
from sql.tables import ValidationRun

DAY = dt.date(2022, 12, 27)


def finding(key: str, severity: str, symbol: str | None, **more: Any) -> dict[str, Any]:
    return {
        "key": key, "check": "bad_print", "severity": severity, "symbol": symbol, "first": DAY, "last": DAY,
        "value": 0.5, "confidence": 0.9, "action": "fetch it again", "detail": "moved 50 % and back",
        "evidence": {"step": 0.4}, "overruled": "", **more,
    }  # fmt: skip


ROWS = [finding("k1", "block", None), finding("k2", "quarantine", "AAA"), finding("k3", "note", "BBB")]


def recorded(session: Session) -> ValidationRun:
    _, run = first_half(session)
    assert record_findings(session, run.id, ROWS) == 3
    return run


def test_findings_are_recorded_once_and_come_back_worst_first(ledger: Ledger) -> None:
    with ledger.session() as session:
        run = recorded(session)
        assert record_findings(session, run.id, ROWS) == 0
        assert [row.key for row in findings_of(session, run.id)] == ["k1", "k2", "k3"]
        assert findings_of(session, run.id)[1].evidence == {"step": 0.4}


def test_only_what_is_in_quarantine_may_only_be_reduced(ledger: Ledger) -> None:
    with ledger.session() as session:
        assert reduce_only(session) == {}
        recorded(session)
        assert reduce_only(session) == {"AAA": "bad print: moved 50 % and back"}


def test_an_overruled_symbol_is_free_at_once_and_the_chain_says_who_did_it(ledger: Ledger) -> None:
    with ledger.session() as session:
        recorded(session)
        seq = overrule(session, "k2", person="Ann", reason="seen at the exchange")
        assert reduce_only(session) == {}
        assert overrules(session) == {"k2": "Ann: seen at the exchange"}
        entry = next(link for link in audit.links(session) if link.seq == seq)
        assert (entry.kind, entry.ref) == ("OVERRULE", "k2")
        assert '"person": "Ann"' in entry.body
        assert audit.verify(session).ok
        overrule(session, "k2", person="Bob", reason="it was wrong after all", standing=False)
        assert overrules(session) == {}
        assert list(reduce_only(session)) == ["AAA"]


@pytest.mark.parametrize(
    ("key", "person", "reason", "message"),
    [
        ("nope", "Ann", "x", "no finding nope"),
        ("k2", "", "x", "a person and a reason"),
        ("k2", "Ann", "  ", "a person and a reason"),
    ],
)
def test_a_word_without_finding_person_or_reason_is_refused(
    ledger: Ledger, key: str, person: str, reason: str, message: str
) -> None:
    with ledger.session() as session:
        recorded(session)
    with pytest.raises(LedgerRefused, match=message), ledger.session() as session:
        overrule(session, key, person=person, reason=reason)


def test_the_same_word_twice_is_refused(ledger: Ledger) -> None:
    with ledger.session() as session:
        recorded(session)
        overrule(session, "k2", person="Ann", reason="seen")
    with pytest.raises(LedgerRefused, match="overruled already"), ledger.session() as session:
        overrule(session, "k2", person="Ann", reason="seen")


def test_the_newest_validation_decides(ledger: Ledger) -> None:
    with ledger.session() as session:
        run = recorded(session)
        later = record_validation(
            session,
            ValidationRun(
                data_set_id=run.data_set_id, as_of=DAY, suite="prices", suite_version="1", started_at=NOW,
                finished_at=NOW + dt.timedelta(hours=1), verdict="passed", checks={"expectations": 3, "failed": 0},
            ),
        )  # fmt: skip
        assert newest_run(session).id == later.id
        assert reduce_only(session) == {}
        with pytest.raises(LineageError, match="no validation for 1999-01-04"):
            newest_run(session, dt.date(1999, 1, 4))


@pytest.mark.parametrize("table", ["finding", "finding_overrule"])
def test_what_was_found_and_said_stays(ledger: Ledger, table: str) -> None:
    with ledger.session() as session:
        recorded(session)
        overrule(session, "k2", person="Ann", reason="seen")
    for act in (
        f"DELETE FROM ledger.{table}",
        f"UPDATE ledger.{table} SET key = 'x'",
        f"TRUNCATE ledger.{table}",
    ):
        with pytest.raises(DBAPIError), ledger.session() as session:
            session.execute(text(act))
