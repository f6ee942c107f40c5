"""Servers that are old, full, half upgraded or cut off: a clear error, no half-written fact, HALTED written down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from cutting_proxy import proxied
from sqlalchemy import text
from sqlalchemy.engine import make_url
from standing_book import StandingBook

from executor.core.modes import Mode
from executor.errors import RefusedError
from executor.journal import Journal
from sql import audit
from sql.errors import LedgerError
from sql.ledger import Ledger, open_ledger
from sql.migrate import alembic_config, upgrade
from sql.rebuild import compare
from sql.roles import in_force
from sql.server import ledger_url, libpq_url, stop_embedded


def whole(ledger: Ledger) -> None:
    """The chain holds and every table equals it."""
    with ledger.session() as session:
        assert audit.verify(session).ok
    with ledger.session() as session:
        assert compare(session)[1] == []


def counts(ledger: Ledger) -> tuple[int, ...]:
    with ledger.session() as session:
        return tuple(
            session.execute(text(f"SELECT count(*) FROM ledger.{table}")).scalar_one()
            for table in ("orders", "decision", "reservation", "fill", "posting")
        )


def test_a_connection_cut_at_any_message_leaves_a_fact_whole_or_absent(ledger: Ledger) -> None:
    """Order, decision and reservation come together; asking again with the same id gives the same order."""
    book = StandingBook(ledger)
    proxy, url = proxied(ledger)
    try:
        cut, leg, acknowledged = 0, 0, 0
        while True:
            leg += 1
            order = book.order(qty="1", leg=leg)
            place = ("SELECT place(%s, %s::jsonb)", (book.epoch, json.dumps(order)))
            before, answered = counts(ledger), False
            proxy.arm(None)
            connection = psycopg.connect(libpq_url(url), options="-c search_path=ledger")
            proxy.arm(cut)
            try:
                with connection.transaction():
                    connection.execute(*place)
                    connection.execute(
                        "SELECT record_fill(%s, %s, %s, 1, 100, now(), 'stream')",
                        (book.epoch, f"k{leg}", order["client_order_id"]),
                    )
                answered = True
            except psycopg.OperationalError:
                connection.close()
            after = counts(ledger)
            assert after in (before, tuple(n + m for n, m in zip(before, (1, 1, 1, 1, 4), strict=True)))
            assert after != before or not answered, "acknowledged and not there"
            acknowledged += answered
            again = book.call("place(:e, CAST(:p AS jsonb))", p=json.dumps(order))
            assert again["ok"]
            assert again["reason"] == ("already placed" if after != before else "")
            if answered:
                break
            cut += 1
        assert cut >= 6  # begin, place, fill and commit each were cut in both directions
    finally:
        proxy.close()
    whole(ledger)


def test_a_journal_whose_connection_is_cut_says_so_and_still_writes_the_halt(ledger: Ledger) -> None:
    proxy, url = proxied(ledger)

    async def run() -> None:
        journal = await Journal.open(url)
        await journal.claim_account("ACC")
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            await journal.cash()
        await journal.alert("critical", "executor_stopped", "Executor stopped on an error", "cut off")
        await journal.tighten(Mode.HALTED, "cut off")
        await journal.close()

    try:
        asyncio.run(run())
    finally:
        proxy.close()
    with ledger.session() as session:
        assert session.execute(text("SELECT mode FROM ledger.v_mode")).scalar_one() == "HALTED"
        assert session.execute(text("SELECT title FROM ledger.alert")).scalars().all() == [
            "Executor stopped on an error"
        ]


def test_a_login_without_rights_is_told_what_it_lacks(ledger: Ledger) -> None:
    name = f"t_nobody_{uuid.uuid4().hex[:8]}"
    with ledger.engine.begin() as connection:
        if not in_force(connection):
            pytest.skip("this server's login may not create roles")
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    address = make_url(ledger.url).set(username=name, password="x").render_as_string(hide_password=False)

    async def run() -> None:
        journal = await Journal.open(address)
        try:
            await journal.claim_account("ACC")
        finally:
            await journal.close()

    try:
        with pytest.raises(RefusedError, match=f"GRANT sallyport_executor TO {name}"):
            asyncio.run(run())
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql(f"GRANT sallyport_executor TO {name}")
        narrow = Ledger(address)
        upgrade(narrow.engine, environment="replay")  # up to date: nothing to write, so it may open it
        narrow.close()
        asyncio.run(run())
    finally:
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql(f"DROP ROLE {name}")


def test_a_server_that_is_too_old_is_refused_by_its_version(tmp_path: Path) -> None:
    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                with client:
                    length = int.from_bytes(client.recv(4), "big")
                    client.recv(length)
                    client.sendall(
                        message(b"R", (0).to_bytes(4, "big"))
                        + message(b"S", b"server_version\x0013.9\x00")
                        + message(b"Z", b"I")
                    )
                    client.recv(1 << 10)

    threading.Thread(target=answer, daemon=True).start()
    url = f"postgresql://me:secret@127.0.0.1:{server.getsockname()[1]}/x?sslmode=disable&gssencmode=disable"
    try:
        with pytest.raises(
            LedgerError, match=r"Postgres 13 at .* is too old; the ledger needs 14 or newer"
        ) as caught:
            ledger_url(tmp_path, url)
        assert "secret" not in str(caught.value)
    finally:
        server.close()


@pytest.fixture
def empty(ledger: Ledger) -> Ledger:
    """A database without a ledger."""
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA ledger CASCADE")
    return ledger


def version(ledger: Ledger) -> Any:
    with ledger.session() as session:
        return session.execute(text("SELECT version_num FROM ledger.alembic_version")).scalar_one()


def test_an_upgrade_that_fails_in_the_middle_has_changed_nothing_and_can_be_run_again(empty: Ledger) -> None:
    with empty.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA ledger")
        command.upgrade(alembic_config(connection), "0005")
        connection.exec_driver_sql("CREATE TABLE ledger.order_terms (x int)")  # in the way of a later step
    with pytest.raises(LedgerError, match=r"from schema 0005 to .*already exists.* Nothing was changed"):
        upgrade(empty.engine, environment="replay")
    assert version(empty) == "0005"
    with empty.engine.begin() as connection:
        columns = connection.exec_driver_sql(
            "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'ledger' AND column_name = 'stop_price'"
        )
        assert columns.scalar_one() == 0
        connection.exec_driver_sql("DROP TABLE ledger.order_terms")
    upgrade(empty.engine, environment="replay")
    assert version(empty) != "0005"
    StandingBook(empty).place()
    whole(empty)


def test_a_ledger_with_history_is_upgraded_and_means_what_it_meant(empty: Ledger) -> None:
    """Orders, fills and an opening written by schema 0005, read by this one."""
    with empty.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA ledger")
        command.upgrade(alembic_config(connection), "0005")
        connection.exec_driver_sql(
            "INSERT INTO ledger.book (one, environment, epoch, holder, mode, mode_reason, mode_since, killed, flatten) "
            "VALUES (true, 'replay', 0, '', 'READY', 'new ledger', clock_timestamp(), false, false)"
        )
        # Today's tables write the history; what they know and the old schema did not is lent to it meanwhile.
        connection.exec_driver_sql("ALTER TABLE ledger.signal ADD COLUMN features jsonb")
    book = StandingBook(empty)
    cid = book.place(qty="10")["cid"]
    for state in ("SENDING", "LIVE"):
        book.state(cid, state)
    book.fill(cid, "4", "99", key="k1")
    book.fill(cid, "6", "98", key="k2")
    book.place("BBB", qty="5")
    with empty.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE ledger.signal DROP COLUMN features")
    upgrade(empty.engine, environment="replay")
    whole(empty)
    with empty.session() as session:
        rows = session.execute(
            text("SELECT worst_price, order_class, strategy FROM ledger.v_orders ORDER BY symbol")
        )
        assert [tuple(r) for r in rows] == [(Decimal(100), "simple", "")] * 2
    assert book.call("reverse_fill(:e, 'r1', 'k1', 'test')")  # what was booked before can be taken back
    whole(empty)


def test_a_ledger_of_a_newer_build_is_not_touched(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE ledger.alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match=r"has schema 9999, .* a newer build made it"):
        upgrade(ledger.engine, environment="replay")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 MB in memory."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root may mount the small file system this needs")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=200m,mode=755", "sallyport-test", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    with contextlib.suppress(Exception):
        stop_embedded(folder)
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_is_an_error_and_nothing_half_written(small_disk: Path) -> None:
    ledger = open_ledger(small_disk, None, "replay")
    book = StandingBook(ledger)
    acknowledged = []
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"\0" * (free - 2_000_000))
    with pytest.raises(
        Exception, match=r"(?i)no space left|closed the connection|recovery mode|terminat"
    ) as caught:
        for leg in range(1, 5_000):
            answer = book.place(
                qty="1", limit_price="1", leg=leg, inputs={"padding": os.urandom(3_000).hex()}
            )
            assert answer["ok"]
            acknowledged.append(answer["cid"])
    assert acknowledged
    assert (
        "space" in str(caught.value) or "connection" in str(caught.value) or "recovery" in str(caught.value)
    )
    ballast.unlink()
    ledger.close()
    for _ in range(100):  # a server that stopped on it recovers by itself once there is room
        try:
            with ledger.session() as session:
                there = set(session.execute(text("SELECT client_order_id FROM ledger.orders")).scalars())
            break
        except Exception:
            threading.Event().wait(0.2)
    assert set(acknowledged) <= there
    whole(ledger)
    assert book.place("BBB", qty="1")["ok"]
    ledger.close()
