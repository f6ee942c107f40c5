"""The ledger is killed in the middle of a session, again and again: what was lost, and how long it took to go on.

A venue, the executor's own process and a Postgres of their own. Each round kill -9s Postgres once orders
trade; the executor ends (exit 4), what the broker said meanwhile lies in the spool; Postgres and the executor
are started again and the next round begins. At the end the session is reconciled and every fill is held
against the broker's own bytes. The baseline is the same start without an outage, in the same run. Run:
``.venv/bin/python bench/outage.py [--rounds 3]``; exit 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "executor"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sql"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # before bench/, whose executor.py would hide the package

from rehearsal import environment, executor, prepare, venue
from sqlalchemy import text
from test_crash import kill_postgres, serve

from executor.spool import Spool
from sql import audit, witnesses
from sql.ledger import Ledger
from sql.migrate import upgrade
from sql.rebuild import compare

DEADLINE_S = 120


def rows(ledger: Ledger, query: str) -> list[Any]:
    with ledger.session() as session:
        return list(session.execute(text(query)))


def wait(ledger: Ledger, query: str) -> float:
    """Seconds until the query has a row."""
    begun = time.monotonic()
    while not rows(ledger, query):
        if time.monotonic() - begun > DEADLINE_S:
            raise SystemExit(f"not within {DEADLINE_S} s: {query}")
        time.sleep(0.02)
    return time.monotonic() - begun


def main() -> None:
    """Print a line a round and the account at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sallyport-outage-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "pg").mkdir()
        server, url = serve(folder / "pg")
        ledger = Ledger(url)
        upgrade(ledger.engine, environment="replay")
        with ledger.session() as session:
            prepare(session, folder, limits={"order_notional_usd": "4000"})
        with venue("--cash", "1000000", "--start", "14:30", speed=45) as ready:
            print(f"{'round':8}{'start s':>9}{'exit':>6}{'orders':>8}{'fills':>7}{'spooled':>9}")
            for turn in range(options.rounds):
                process = executor("run", "--until-close", env=environment(ready, ledger, folder), cwd=folder)
                # Its own start reconciliation is there: it has recovered and trades.
                took = wait(
                    ledger, f"SELECT 1 FROM ledger.reconciliation_run WHERE occasion = 'start' OFFSET {turn}"
                )
                before = rows(ledger, "SELECT count(*) FROM ledger.fill")[0][0]
                wait(ledger, f"SELECT 1 FROM ledger.fill OFFSET {before + 2}")
                orders, fills = rows(
                    ledger, "SELECT (SELECT count(*) FROM ledger.orders), (SELECT count(*) FROM ledger.fill)"
                )[0]
                kill_postgres(folder / "pg")
                process.communicate(timeout=DEADLINE_S)
                spool = Spool(folder / "state")
                with_spool = (
                    sum(len(f.read_bytes().splitlines()) for f in spool.folder.glob("*"))
                    if spool.waiting
                    else 0
                )
                print(f"{turn + 1:<8}{took:9.1f}{process.returncode:6}{orders:8}{fills:7}{with_spool:9}")
                ledger.close()
                server.kill()
                server.wait()
                server, url = serve(folder / "pg")
                ledger = Ledger(url)
            process = executor("run", "--until-close", env=environment(ready, ledger, folder), cwd=folder)
            took = wait(
                ledger,
                f"SELECT 1 FROM ledger.reconciliation_run WHERE occasion = 'start' OFFSET {options.rounds}",
            )
            print(f"{'no kill':8}{took:9.1f}")
            _, err = process.communicate(timeout=6 * DEADLINE_S)
        with ledger.session() as session:
            chain = audit.verify(session)
        with ledger.session() as session:
            built, differences = compare(session)
            told, doubts = witnesses.compare(session)
        print(
            f"{len(built.orders)} orders, {len(built.fills)} fills, {told} told by the broker's own bytes, "
            f"{len(differences) + len(doubts)} differences; chain of {chain.rows:,} {'whole' if chain.ok else 'BROKEN'}; "
            f"spool {'NOT EMPTY' if Spool(folder / 'state').waiting else 'empty'}; executor ended with {process.returncode}"
        )
        ledger.close()
        server.communicate("\n")
        if differences or doubts or not chain.ok or process.returncode or told != len(built.fills):
            raise SystemExit(f"something was lost: {differences} {doubts} {err}")


if __name__ == "__main__":
    main()
