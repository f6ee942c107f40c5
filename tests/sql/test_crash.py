"""kill -9 of Postgres and of writers under load: what was acknowledged is there, and the chain holds.

This shows that a crash of processes loses nothing; it says nothing about a loss of power, for which
the argument is Postgres' flush before every acknowledgement (``executor ledger doctor`` checks it is on).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sqlalchemy import text
from standing_book import StandingBook

from sql import audit
from sql.ledger import Ledger
from sql.migrate import upgrade
from sql.rebuild import compare
from sql.server import libpq_url

SERVE = (
    "import sys; from pathlib import Path; from sql.server import embedded_url;"
    "print(embedded_url(Path(sys.argv[1])), flush=True); input()"
)
WRITE = """
import json, sys, uuid, psycopg
url, epoch, order, first = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
with psycopg.connect(url, autocommit=True, options="-c search_path=ledger") as connection:
    for leg in range(first, first + 100_000):
        mine = order | {"client_order_id": f"sp-{uuid.uuid4().hex}", "leg": leg}
        connection.execute("SELECT place(%s, %s::jsonb)", (epoch, json.dumps(mine)))
        print("orders", mine["client_order_id"], flush=True)
        connection.execute(
            "SELECT record_fill(%s, %s, %s, 1, 1, now(), 'stream')", (epoch, f"fill-{leg}", mine["client_order_id"])
        )
        print("fill", f"fill-{leg}", flush=True)
"""
ACKNOWLEDGED_EACH_ROUND = 60
ROUNDS = 3


def serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill_postgres(folder: Path) -> None:
    """The postmaster and every backend at once, with no chance to say goodbye."""
    postmaster = psutil.Process(int((folder / "postgres/postmaster.pid").read_text().splitlines()[0]))
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=20)


def write_until_killed(
    url: str, book: StandingBook, number: int, acknowledged: list[tuple[str, str]], enough: threading.Event
) -> None:
    try:
        with psycopg.connect(libpq_url(url), autocommit=True, options="-c search_path=ledger") as connection:
            leg = number * 100_000
            while True:
                leg += 1
                order = book.order(qty="1", limit_price="1", leg=leg)
                row = connection.execute(
                    "SELECT place(%s, %s::jsonb)", (book.epoch, json.dumps(order))
                ).fetchone()
                assert row is not None
                assert row[0]["ok"]
                acknowledged.append(("orders", order["client_order_id"]))
                key = f"fill-{leg}"
                connection.execute(
                    "SELECT record_fill(%s, %s, %s, 1, 1, now(), 'stream')",
                    (book.epoch, key, order["client_order_id"]),
                )
                acknowledged.append(("fill", key))
                if len(acknowledged) >= ACKNOWLEDGED_EACH_ROUND:
                    enough.set()
    except psycopg.OperationalError:
        return


def test_nothing_acknowledged_is_lost_when_postgres_is_killed_again_and_again(server_folder: Path) -> None:
    process, url = serve(server_folder)
    book: Any = None
    acknowledged: list[tuple[str, str]] = []
    for round_ in range(ROUNDS):
        ledger = Ledger(url)
        if book is None:
            upgrade(ledger.engine, environment="replay")
            book = StandingBook(ledger)
        mine: list[tuple[str, str]] = []
        enough = threading.Event()
        writers = [
            threading.Thread(target=write_until_killed, args=(url, book, 10 * round_ + n + 1, mine, enough))
            for n in range(3)
        ]
        for writer in writers:
            writer.start()
        assert enough.wait(60)
        kill_postgres(server_folder)
        for writer in writers:
            writer.join(30)
            assert not writer.is_alive()
        acknowledged += mine
        ledger.close()
        process.kill()
        process.wait()
        process, url = serve(server_folder)
        ledger = Ledger(url)
        with ledger.session() as session:
            there = {
                ("orders", c)
                for c in session.execute(text("SELECT client_order_id FROM ledger.orders")).scalars()
            }
            there |= {
                ("fill", k) for k in session.execute(text("SELECT execution_id FROM ledger.fill")).scalars()
            }
            assert set(acknowledged) <= there, "an acknowledged write is gone"
            assert len(there) - len(acknowledged) <= 3 * (round_ + 1), (
                "at most one unacknowledged commit a writer"
            )
        with ledger.session() as session:
            assert audit.verify(session).ok
        with ledger.session() as session:
            assert compare(session)[1] == []
        ledger.close()
    assert len(acknowledged) >= ROUNDS * ACKNOWLEDGED_EACH_ROUND
    process.communicate("\n")
    assert not (server_folder / "postgres/postmaster.pid").exists()


def test_nothing_acknowledged_is_lost_when_writers_are_killed_again_and_again(ledger: Ledger) -> None:
    book = StandingBook(ledger)
    order = json.dumps(book.order(qty="1", limit_price="1"))
    acknowledged: set[tuple[str, ...]] = set()
    for round_ in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITE, libpq_url(ledger.url), str(book.epoch), order, str(1_000 * (2 * round_ + n + 1))],
                stdout=subprocess.PIPE, text=True,
            )
            for n in range(2)
        ]  # fmt: skip
        for writer in writers:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(7 + round_)]
            writer.kill()  # in the middle of whatever it does now
            lines += writer.stdout.read().splitlines(keepends=True)
            writer.wait()
            acknowledged |= {tuple(line.split()) for line in lines if line.endswith("\n")}
        with ledger.session() as session:
            session.execute(  # what a killed writer had begun is over before anything is counted
                text("SELECT FROM ledger.book FOR UPDATE")
            )
            there = {
                ("orders", c)
                for c in session.execute(text("SELECT client_order_id FROM ledger.orders")).scalars()
            }
            there |= {
                ("fill", k) for k in session.execute(text("SELECT execution_id FROM ledger.fill")).scalars()
            }
        assert acknowledged <= there, "an acknowledged write is gone"
        with ledger.session() as session:
            assert audit.verify(session).ok
        with ledger.session() as session:
            assert compare(session)[1] == []
