"""The running executor writes the chain's head down outside, and will not trade on an older copy of the ledger."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

from sqlalchemy import text

from executor.anchoring import Anchoring
from executor.journal import Journal
from sql.anchors import AnchorFile, Head
from sql.ledger import Ledger


def rows(ledger: Ledger, query: str) -> list[Any]:
    with ledger.session() as session:
        return list(session.execute(text(query)))


async def taken(ledger: Ledger) -> Journal:
    journal = await Journal.open(ledger.url)
    await journal.claim_account("ACC")
    return journal


async def test_an_anchor_is_written_at_once_when_asked_for(ledger: Ledger, tmp_path: Path) -> None:
    journal, file = await taken(ledger), AnchorFile(tmp_path / "elsewhere" / "anchors.jsonl")
    anchoring = Anchoring(journal, [file], print)
    await anchoring.write("takeover")
    loop = asyncio.create_task(anchoring.loop())
    anchoring.want("kill")
    async with asyncio.timeout(20):
        while len(file.read()) < 2:  # noqa: ASYNC110  (a file has no event)
            await asyncio.sleep(0.01)
    loop.cancel()
    await journal.close()
    assert [a.occasion for a in file.read()] == ["takeover", "kill"]
    head = rows(ledger, "SELECT encode(hash, 'hex') FROM ledger.audit_head")[0][0]
    assert file.read()[-1].hash == head
    assert [r.occasion for r in rows(ledger, "SELECT occasion FROM ledger.anchor ORDER BY id")] == [
        "takeover",
        "kill",
    ]
    actor = rows(ledger, "SELECT actor FROM ledger.audit_log WHERE kind = 'EPOCH'")[0][0]
    roles = rows(
        ledger,
        "SELECT 1 FROM pg_namespace WHERE nspname = 'ledger' AND pg_get_userbyid(nspowner) = 'sallyport_owner'",
    )
    assert actor.endswith("/sallyport_executor") == bool(roles), (
        "the executor works with the executor's rights"
    )


async def test_a_ledger_older_than_its_anchor_is_halted(ledger: Ledger, tmp_path: Path) -> None:
    journal, file = await taken(ledger), AnchorFile(tmp_path / "anchors.jsonl")
    own = str(rows(ledger, "SELECT ledger_id FROM ledger.identity")[0][0])
    anchoring = Anchoring(journal, [file], print)
    await anchoring.check()
    assert rows(ledger, "SELECT mode FROM ledger.book")[0][0] == "READY", "no anchor yet is no mismatch"
    file.write(Head(own, 999, "0" * 64, dt.datetime.now(dt.UTC)), "minute")
    await anchoring.check()
    await journal.close()
    mode, reason = rows(ledger, "SELECT mode, mode_reason FROM ledger.book")[0]
    assert mode == "HALTED"
    assert "does not reach its anchor" in reason
    assert rows(ledger, "SELECT kind FROM ledger.alert")[0][0] == "anchor_mismatch"


async def test_a_place_that_fails_is_told_once_and_stops_nobody(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    journal = await taken(ledger)
    anchoring = Anchoring(
        journal, [AnchorFile(tmp_path / "file" / "below"), AnchorFile(tmp_path / "good")], said.append
    )
    for _ in range(3):
        await anchoring.write("minute")
    await journal.close()
    assert len(said) == 1
    assert len(AnchorFile(tmp_path / "good").read()) == 3
    assert len(rows(ledger, "SELECT 1 FROM ledger.alert WHERE kind = 'anchor_failed'")) == 1
