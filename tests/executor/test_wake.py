"""News of the ledger wakes the executor early, also after its connection was lost; drills and retention are recorded."""

from __future__ import annotations

import asyncio
import contextlib
import json

import psycopg
import pytest
from sqlalchemy import text

from executor import upkeep, wake
from executor.errors import InputError, RefusedError
from executor.journal import Journal
from executor.wake import Wake
from sql.ledger import Ledger
from sql.roles import in_force
from sql.server import libpq_url


def tell(ledger: Ledger, statement: str) -> None:
    with psycopg.connect(
        libpq_url(ledger.url), autocommit=True, options="-c search_path=ledger"
    ) as connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    "news",
    [
        "SELECT kill('me', 'test', false)",
        "SELECT tighten(0, 'CLOSE_ONLY', 'test')",
        "SELECT set_limits('me', 'test', '{\"gross\": \"1\"}')",
        "SELECT pg_notify('sallyport_batch', 'x')",  # what the trigger on an approval sends
    ],
)
def test_news_wakes_and_heartbeats_do_not(ledger: Ledger, news: str) -> None:
    async def run() -> None:
        ear = Wake(ledger.url)
        task = asyncio.create_task(ear.loop())
        await asyncio.wait_for(ear.event.wait(), 20)  # set by connecting: something may have been missed
        ear.event.clear()
        await asyncio.to_thread(tell, ledger, "SELECT heartbeat(0, now(), 1)")
        await ear.wait(0.05)
        assert not ear.event.is_set()
        await asyncio.to_thread(tell, ledger, news)
        await asyncio.wait_for(ear.event.wait(), 20)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_a_lost_connection_counts_as_news_and_is_made_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "RETRY_S", 0.01)

    async def run() -> None:
        ear = Wake(ledger.url)
        task = asyncio.create_task(ear.loop())
        for _ in range(2):
            await asyncio.wait_for(ear.event.wait(), 20)
            ear.event.clear()
            await asyncio.to_thread(
                tell,
                ledger,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' "
                "AND datname = current_database()",
            )
        await asyncio.wait_for(ear.event.wait(), 20)
        ear.event.clear()
        await asyncio.to_thread(tell, ledger, "SELECT kill('me', 'test', false)")
        await asyncio.wait_for(ear.event.wait(), 20)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_a_drill_is_recorded_with_what_was_seen(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    upkeep.record_drill(ledger, "kill", who="ann", passed=False, detail="orders stayed open for 9 s")
    upkeep.show_drills(ledger)
    assert "never" in capsys.readouterr().out
    with ledger.session() as session:
        entry = session.execute(text("SELECT body FROM ledger.v_audit WHERE kind = 'DRILL'")).scalar_one()
    assert json.loads(entry) == {
        "who": "ann",
        "passed": False,
        "detail": {"text": "orders stayed open for 9 s"},
    }
    with pytest.raises(InputError, match="no drill 'picnic'"):
        upkeep.record_drill(ledger, "picnic", who="ann", passed=True, detail="x")


def test_housekeeping_that_fails_is_an_alert_and_no_end(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        if not in_force(connection):
            pytest.skip("this server's login may not create roles: nothing can be taken from them")
        connection.exec_driver_sql("REVOKE EXECUTE ON FUNCTION ledger.keep_raw(text) FROM sallyport_executor")

    async def run() -> int:
        journal = await Journal.open(ledger.url)
        try:
            return await journal.keep_raw()
        finally:
            await journal.close()

    assert asyncio.run(run()) == 0
    with ledger.session() as session:
        assert "permission denied" in session.execute(text("SELECT body FROM ledger.alert")).scalar_one()


def test_only_raw_messages_are_ever_dropped_and_only_by_the_policy(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    with ledger.session() as session:
        session.execute(text("SELECT ledger.open_raw_partitions('2020-01-01', 2)"))
    with pytest.raises(RefusedError, match="fill is kept for ever"):
        upkeep.keep_messages(ledger, "fill", keep_months=1, forever=False, dry_run=False, who="ann")
    with pytest.raises(InputError, match="--keep-months 0"):
        upkeep.keep_messages(ledger, "raw_message", keep_months=0, forever=False, dry_run=False, who="ann")

    def partitions() -> set[str]:
        with ledger.session() as session:
            found = session.execute(
                text(
                    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ledger.raw_message'::regclass"
                )
            )
            return {name.removeprefix("ledger.") for name in found.scalars()}

    old = {"raw_message_202001", "raw_message_202002"}
    upkeep.keep_messages(ledger, "raw_message", keep_months=12, forever=False, dry_run=True, who="ann")
    assert "would drop raw_message_202001" in capsys.readouterr().out
    assert old < partitions()
    with ledger.session() as session:  # without a policy nothing is dropped, whoever calls
        assert session.execute(text("SELECT ledger.keep_raw('executor')")).scalar_one() == 0
    upkeep.keep_messages(ledger, "raw_message", keep_months=12, forever=False, dry_run=False, who="ann")
    assert not old & partitions()
    assert "raw_message_default" in partitions()
    assert len(partitions()) >= 4  # the present month and two ahead
    with ledger.session() as session:
        kinds = session.execute(
            text("SELECT kind, count(*) FROM ledger.audit_log WHERE kind LIKE 'RETENTION%' GROUP BY 1")
        )
        assert dict(kinds.tuples().all()) == {"RETENTION": 2, "RETENTION_POLICY": 1}
