"""The day's evidence: whole, exact, and the same bytes every time."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlmodel import Session

from reports.compliance import CompliancePack, write_compliance_pack
from reports.errors import NothingToReport

if TYPE_CHECKING:
    from conftest import Desk


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(pack: CompliancePack) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in pack.paths}


@pytest.fixture
def pack(session: Session, day: dt.date, out: Path) -> CompliancePack:
    return write_compliance_pack(session, day=day, out=out)


def test_every_decision_is_there_with_all_it_was_decided_on(pack: CompliancePack) -> None:
    found = {row["symbol"]: row for row in rows(pack.decisions)}
    assert {s: r["verdict"] for s, r in found.items()} == {
        "AAPL": "accepted",
        "XOM": "accepted",
        "JPM": "refused",
    }
    refused = found["JPM"]
    assert refused["reason"] == "single_name: 0.30 over 0.12"
    assert refused["limits_not_passed"] == "single_name"
    assert (refused["side"], refused["qty"], refused["limit_price"]) == ("buy", "300", "100.00")
    assert json.loads(refused["inputs"])["bid"] == "49.99"
    assert refused["model_hash"] == "c" * 64
    assert refused["approved_by"] == "policy:paper"


def test_an_orders_life_can_be_followed_from_intent_to_last_fill(pack: CompliancePack) -> None:
    life = [row for row in rows(pack.order_audit_trail) if row["symbol"] == "AAPL"]
    assert [row["event"] for row in life] == ["INTENT", "SENDING", "LIVE", "FILL", "FILL", "DONE"]
    assert [row["cat_event"] for row in life] == ["MENO", "MEOR", "MEOA", "MEOT", "MEOT", ""]
    assert [row["leaves_qty"] for row in life] == ["200", "200", "200", "50", "0", "0"]
    assert [row["event_price"] for row in life][3:5] == ["50.02", "50.04"]
    assert [row["broker_order_id"] for row in life] == ["", "", "b-1", "b-1", "b-1", "b-1"]
    assert {row["nbo_price"] for row in life} == {"50.01"}
    assert [int(row["audit_seq"]) for row in life] == sorted(int(row["audit_seq"]) for row in life)


def test_times_are_utc_to_the_microsecond(pack: CompliancePack) -> None:
    fill = next(row for row in rows(pack.order_audit_trail) if row["execution_id"] == "x-1")
    assert fill["market_time_utc"] == "2020-03-12T13:32:01.000125Z"
    assert len(fill["event_timestamp_utc"]) == len("2020-03-12T13:32:01.000125Z")


def test_every_audit_entry_of_the_range_is_in_exactly_one_file(pack: CompliancePack) -> None:
    seqs = [int(row["audit_seq"]) for row in rows(pack.order_audit_trail) + rows(pack.control_events)]
    seqs += [int(row["audit_seq"]) for row in rows(pack.decisions) if row["verdict"] == "refused"]
    assert sorted(seqs) == list(range(pack.first_seq, pack.last_seq + 1))


def test_limit_use_names_the_highest_and_what_was_never_checked(pack: CompliancePack) -> None:
    use = {row["limit"]: row for row in rows(pack.limit_use)}
    assert Decimal(use["single_name"]["fraction_of_limit"]) == Decimal("0.841666667")
    assert (use["single_name"]["symbol"], use["single_name"]["refusals"]) == ("AAPL", "1")
    assert Decimal(use["daily_loss"]["most_used"]) == Decimal("0.02")
    assert (use["gross"]["checks"], use["gross"]["fraction_of_limit"]) == ("0", "")


def test_the_manifest_holds_the_hash_of_each_file(pack: CompliancePack) -> None:
    manifest = json.loads(pack.manifest.read_text())
    assert manifest["audit_seq"] == {"first": pack.first_seq, "last": pack.last_seq}
    others = [path for path in pack.paths if path != pack.manifest]
    assert set(manifest["files"]) == {path.name for path in others}
    for path in others:
        assert manifest["files"][path.name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_range_gives_the_same_bytes_whatever_happened_since(
    traded_desk: Desk, day: dt.date, tmp_path: Path
) -> None:
    with traded_desk.ledger.session() as session:
        first = write_compliance_pack(session, day=day, out=tmp_path / "one")
    traded_desk.mark("397", "85995.93", "101000")
    traded_desk.call("set_limits", p_author="x", p_reason="later", p_limits='{"single_name": "0.01"}')
    traded_desk.alert("critical", "kill", "Later", "after the pack was written")
    with traded_desk.ledger.session() as session:
        again = write_compliance_pack(session, day=day, out=tmp_path / "two", last_seq=first.last_seq)
        now = write_compliance_pack(session, day=day, out=tmp_path / "three")
    assert contents(again) == contents(first)
    assert now.last_seq == first.last_seq + 2
    assert contents(now)["limit_use.csv"] != contents(first)["limit_use.csv"]


def test_a_changed_entry_is_said_to_break_the_chain(traded_desk: Desk, day: dt.date, tmp_path: Path) -> None:
    with traded_desk.ledger.session() as session:
        session.execute(text("ALTER TABLE ledger.audit_log DISABLE TRIGGER ALL"))
        session.execute(
            text("UPDATE ledger.audit_log SET body = replace(body, '50.04', '50.03') WHERE kind = 'FILL'")
        )
        pack = write_compliance_pack(session, day=day, out=tmp_path)
    chain = json.loads(pack.chain.read_text())
    bad = next(int(r["audit_seq"]) for r in rows(pack.order_audit_trail) if r["event_price"] == "50.03")
    assert not pack.chain_ok
    assert (chain["holds"], chain["first_bad"]) == (False, bad)


def test_nothing_calls_itself_compliant(pack: CompliancePack) -> None:
    said = b"".join(contents(pack).values()).lower()
    assert b"compliant" not in said
    assert b"control_mapped_to" in said


def test_controls_count_their_evidence(pack: CompliancePack) -> None:
    found = {row["requirement"].split(":")[0]: int(row["entries_in_range"]) for row in rows(pack.controls)}
    assert found["RTS 6 art. 28, SEC 17a-3"] == len(rows(pack.order_audit_trail))
    assert found["RTS 6 art. 12"] == 0


def test_a_day_without_orders_still_has_headed_files(desk: Desk, day: dt.date, tmp_path: Path) -> None:
    desk.propose({"AAPL": "0.05"})
    with desk.ledger.session() as session:
        pack = write_compliance_pack(session, day=day, out=tmp_path)
    assert rows(pack.decisions) == []
    assert pack.decisions.read_text().startswith("audit_seq,decided_at_utc,")


def test_a_day_the_ledger_does_not_know_is_refused(session: Session, day: dt.date, out: Path) -> None:
    with pytest.raises(NothingToReport, match="2020-03-13"):
        write_compliance_pack(session, day=day + dt.timedelta(days=1), out=out)
    assert not out.exists()
