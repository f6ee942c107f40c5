"""The ledger's speed beside the server's own floor, measured in the same run on the same server.

The floor is a single-row durable INSERT by psycopg (one transaction each), by as many writers; where
pgbench is installed it makes the same INSERT, in C. Run:
``.venv/bin/python bench/ledger.py [--seconds 4] [--rows 200000] [--url postgresql://...]``.
``--rows 1000000`` is the honest chain of a million entries that must raise no alarm; ``--only-chain`` does only that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import text
from sqlmodel import select

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sql"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # before bench/, whose executor.py would hide the package

from chain import DAY, NOON, whole_chain

from executor.journal import OPTIONS
from sql import audit
from sql.approvals import PAPER_POLICY, approve
from sql.ledger import Ledger, open_ledger
from sql.roles import adopt
from sql.server import external_url, libpq_url, stop_embedded
from sql.tables import Signal

CHUNK = 5_000
"""Entries a transaction."""
Act = Callable[[psycopg.Connection[Any], int], object]


def prepare(ledger: Ledger) -> tuple[int, str, str]:
    """A book with room for any number of one-dollar orders; ``(epoch, signal, batch)``."""
    with ledger.session() as session:
        batch = whole_chain(session)
        approve(session, batch.id, approver=PAPER_POLICY, reason="bench", now=NOON, policy=True)
        signal = session.exec(select(Signal).where(Signal.symbol == "AAA")).one().id
        session.execute(
            text("CREATE TABLE IF NOT EXISTS public.floor (id uuid PRIMARY KEY, body text NOT NULL)")
        )
    with ledger.session() as session:
        epoch = session.execute(text("SELECT ledger.take_over('BENCH', 'bench')")).scalar_one()
        session.execute(text("SELECT ledger.open_book(:e, 1e12, '[]')"), {"e": epoch})
        mark = {k: "1e12" for k in ("cash", "equity", "day_open_equity", "high_water_mark")} | {
            "market_time": NOON.isoformat(), "session": DAY.isoformat(), "long_value": "0", "short_value": "0", "marks": {},
        }  # fmt: skip
        session.execute(
            text("SELECT ledger.mark_equity(:e, CAST(:m AS jsonb))"), {"e": epoch, "m": json.dumps(mark)}
        )
        session.execute(text("SELECT ledger.claim_batch(:e, :t)"), {"e": epoch, "t": NOON})
    return epoch, str(signal), str(batch.id)


def order(signal: str, batch: str, leg: int) -> str:
    """An order as the executor hands it over, with inputs and checks of the usual size."""
    return json.dumps({
        "client_order_id": f"sp-{uuid.uuid4().hex}-{leg}", "signal_id": signal, "leg": leg, "batch_id": batch,
        "purpose": "target", "symbol": "AAA", "side": "buy", "qty": "10", "order_type": "limit", "limit_price": "1",
        "time_in_force": "day", "arrival_price": "0.99", "market_time": NOON.isoformat(), "limit_version": 1,
        "inputs": {"quote": {"bid": "0.99", "ask": "1.01", "age_ms": 120}, "position": "0", "equity": "1e12", "mode": "READY"},
        "checks": {"limits": [{"name": f"limit {n}", "ok": True, "limit": "1", "before": "0", "after": "0.1", "version": 1} for n in range(12)]},
        "cost_estimate": {"fees": "0.1", "spread": "0.2", "impact": "0.3", "total": "0.6", "bps": "6"},
    })  # fmt: skip


def writer(url: str, kind: str, given: tuple[int, str, str], number: int, seconds: float, out: Any) -> None:
    """One writer: act as often as it can; hands back the latencies in seconds."""
    epoch, signal, batch = given
    with psycopg.connect(url, autocommit=True, options=OPTIONS) as connection:
        if kind != "floor":
            connection.execute(adopt("executor"))
        acts: dict[str, Act] = {
            "floor": lambda c, i: c.execute(
                "INSERT INTO public.floor VALUES (%s, %s)", (uuid.uuid4(), "x" * 900)
            ),
            "place": lambda c, i: c.execute("SELECT place(%s, %s::jsonb)", (epoch, remember(i))),
        }
        last = [""]

        def remember(leg: int) -> str:
            body = order(signal, batch, leg)
            last[0] = json.loads(body)["client_order_id"]
            return body

        act, times, i = acts[kind], [], number * 100_000
        begun = time.perf_counter()
        while (now := time.perf_counter()) - begun < seconds:
            i += 1
            act(connection, i)
            times.append(time.perf_counter() - now)
            if (
                kind == "place"
            ):  # not timed: a session has hundreds of open orders, not a benchmark's thousands
                connection.execute("SELECT set_state(%s, %s, 'VOID', NULL, NULL, 'bench')", (epoch, last[0]))
    out.put(times)


def race(
    url: str, kind: str, given: tuple[int, str, str], writers: int, seconds: float, turn: int
) -> dict[str, float]:
    """Latencies and rate of several writers at once."""
    queue: Any = mp.Queue()
    workers = [
        mp.Process(target=writer, args=(url, kind, given, 100 * turn + w + 1, seconds, queue))
        for w in range(writers)
    ]
    for worker in workers:
        worker.start()
    times = sorted(t for _ in workers for t in queue.get())
    for worker in workers:
        worker.join()
    return {
        "p50_ms": statistics.median(times) * 1e3, "p99_ms": times[int(len(times) * 0.99)] * 1e3,
        "per_s": len(times) / seconds * (2 if kind == "place" else 1),
    }  # fmt: skip


def fills(url: str, given: tuple[int, str, str], count: int = 600) -> dict[str, float]:
    """Fills a second by one writer, each on an order of its own."""
    epoch, signal, batch = given
    times = []
    with psycopg.connect(url, autocommit=True, options=OPTIONS) as connection:
        connection.execute(adopt("executor"))
        for i in range(count):
            body = order(signal, batch, 1_900_000_000 + i)
            connection.execute("SELECT place(%s, %s::jsonb)", (epoch, body))
            now = time.perf_counter()
            connection.execute(
                "SELECT record_fill(%s, %s, %s, 10, 1, now(), 'stream')",
                (epoch, f"bench-{i}", json.loads(body)["client_order_id"]),
            )
            times.append(time.perf_counter() - now)
    times.sort()
    return {
        "p50_ms": statistics.median(times) * 1e3,
        "p99_ms": times[int(count * 0.99)] * 1e3,
        "per_s": count / sum(times),
    }


def pgbench(url: str, writers: int, seconds: float) -> dict[str, float] | None:
    """The floor's INSERT by pgbench; None where it is not installed."""
    program = shutil.which("pgbench") or next(
        (str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), reverse=True)), None
    )
    if program is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("INSERT INTO public.floor VALUES (gen_random_uuid(), '" + "x" * 900 + "');\n")
        script.flush()
        done = subprocess.run(
            [program, "-n", "-M", "prepared", "-c", str(writers), "-T", str(max(1, round(seconds))), "-f", script.name, url],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    found = dict(re.findall(r"^(latency average|tps) = ([0-9.]+)", done.stdout, re.MULTILINE))
    return {"mean_ms": float(found["latency average"]), "per_s": float(found["tps"])}


def verification(ledger: Ledger, rows: int) -> tuple[int, float, float]:
    """An honest chain of ``rows`` more entries; ``(entries, appended a second, verified a second)``."""
    body = order("s", "b", 1)[:400].replace("'", "")
    begun = time.perf_counter()
    with psycopg.connect(libpq_url(ledger.url), autocommit=True, options=OPTIONS) as connection:
        for first in range(1, rows + 1, CHUNK):
            refs = [f"sp-{n}" for n in range(first, min(first + CHUNK, rows + 1))]
            connection.execute("SELECT audit_many('STATE', %b, %b)", (refs, [f"{body}{ref}" for ref in refs]))
    appended = rows / (time.perf_counter() - begun)
    with ledger.session() as session:
        begun = time.perf_counter()
        report = audit.verify(session)
        seconds = time.perf_counter() - begun
    if not report.ok:
        raise SystemExit(f"false alarm: {report}")
    return report.rows, appended, report.rows / seconds


def speeds(url: str, given: tuple[int, str, str], seconds: float) -> None:
    """Floor, pgbench and place by 1, 8 and 16 writers; fills by one."""
    print(f"{'':24}{'p50 ms':>9}{'p99 ms':>9}{'tx/s':>10}{'p50 / floor':>13}")
    for turn, writers in enumerate((1, 8, 16)):
        floor = race(url, "floor", given, writers, seconds, turn)
        baseline = pgbench(url, writers, seconds)
        placed = race(url, "place", given, writers, seconds, turn)
        for what, found in (("durable INSERT (floor)", floor), ("place", placed)):
            ratio = found["p50_ms"] / floor["p50_ms"]
            print(
                f"{what + ', ' + str(writers):24}{found['p50_ms']:9.2f}{found['p99_ms']:9.2f}{found['per_s']:10.0f}{ratio:13.2f}"
            )
        if baseline is not None:
            print(
                f"{'pgbench, ' + str(writers) + ' (mean)':24}{baseline['mean_ms']:9.2f}{'':9}{baseline['per_s']:10.0f}"
            )
    booked = fills(url, given)
    print(f"{'record_fill, 1':24}{booked['p50_ms']:9.2f}{booked['p99_ms']:9.2f}{booked['per_s']:10.0f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--only-chain", action="store_true", help="only append and verify the chain")
    parser.add_argument("--url", help="another server than the embedded one (an empty database)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        ledger = open_ledger(folder, options.url, "replay")
        url = libpq_url(external_url(options.url) if options.url else ledger.url)
        try:
            given = prepare(ledger)
            with ledger.session() as session:
                print(
                    "Postgres",
                    session.execute(text("SHOW server_version")).scalar_one(),
                    "| tx/s of place count the withdrawal after each",
                )
            if not options.only_chain:
                speeds(url, given, options.seconds)
            rows, appended, verified = verification(ledger, options.rows)
            print(
                f"chain: {rows:,} entries, appended {appended:,.0f}/s (in transactions of {CHUNK:,}), "
                f"verified {verified:,.0f}/s, no false alarm"
            )
        finally:
            ledger.close()
            if not options.url:
                stop_embedded(folder)


if __name__ == "__main__":
    main()
