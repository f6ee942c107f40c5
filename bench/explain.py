"""The story of one order in a ledger of many, beside a bare primary-key select in the same run.

Real orders are placed through the ledger's functions before and after the many that set-based SQL writes
between them (with their signals, decisions, fills, postings, lots, messages and entries of the chain; the
entries between are not chained, so only the real ones can be whole). Run:
``.venv/bin/python bench/explain.py [--orders 1000000] [--url postgresql://...]``. A million orders take ten
minutes to write and 11 GB of disk while it runs.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sql"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # before bench/, whose executor.py would hide the package

import psycopg
from sqlalchemy import text
from standing_book import StandingBook

from sql.ledger import Ledger, open_ledger
from sql.server import external_url, libpq_url, stop_embedded
from sql.story import tell
from sql.subject import Subject, find, find_by_day

A_DAY = 1_000
"""Orders of one batch, one a session."""
ROUNDS = 7

FILLED = """
SET session_replication_role = replica; SET synchronous_commit = off; SET search_path = ledger; SET work_mem = '256MB';
INSERT INTO instrument SELECT 'S' || n, 'Bench ' || n, 'Tech', 'active' FROM generate_series(1, {day}) n;
INSERT INTO signal_batch (id, strategy, environment, as_of, session, proposer, proposed_at, valid_from, valid_until, data_set_id,
    validation_run_id, model_version_id, risk_snapshot_id, signals, gross_weight, content_hash, state, note)
  SELECT md5('b' || d)::uuid, 'bench', 'replay', date '1990-01-01' + d, date '1990-01-02' + d, 'bench', t, t, t + interval '7 hours',
    x.data_set_id, x.validation_run_id, x.model_version_id, x.risk_snapshot_id, {day}, 1, md5('c' || d), 'DONE', ''
  FROM generate_series(0, {days} - 1) d, LATERAL (SELECT timestamptz '1990-01-02 14:30Z' + d * interval '1 day' AS t) c,
    (SELECT * FROM signal_batch LIMIT 1) x;
INSERT INTO approval (id, batch_id, verdict, approver, reason, environment, content_hash, decided_at)
  SELECT md5('a' || d)::uuid, md5('b' || d)::uuid, 'approved', 'policy:paper', 'bench', 'replay', md5('c' || d), now() FROM generate_series(0, {days} - 1) d;
CREATE TEMP TABLE o AS
  SELECT n, md5('s' || n)::uuid AS sid, md5('b' || n / {day})::uuid AS bid, 'sp-' || md5('s' || n) || '-1' AS cid, md5('k' || n)::uuid::text AS kid,
    'S' || n % {day} + 1 AS symbol, timestamptz '1990-01-02 15:00Z' + n / {day} * interval '1 day' + n % {day} * interval '10 s' AS t,
    (SELECT seq FROM audit_head) + 6 * n::bigint AS q
  FROM generate_series(0, {orders} - 1) n;
INSERT INTO signal (id, batch_id, symbol, target_weight, score, contributions)
  SELECT sid, bid, symbol, 0.001, 0.1, '{{"momentum_12_1": 0.05, "reversal_5": -0.02}}' FROM o;
INSERT INTO decision (seq, at, market_time, epoch, batch_id, signal_id, client_order_id, symbol, verdict, reason, limit_version, inputs, checks)
  SELECT q + 1, t, t, 1, bid, sid, cid, symbol, 'accepted', '', 1, x.inputs, x.checks FROM o, (SELECT inputs, checks FROM decision LIMIT 1) x;
INSERT INTO orders (client_order_id, signal_id, leg, batch_id, purpose, decision_seq, epoch, symbol, side, qty, order_type, limit_price,
    time_in_force, state, filled_qty, filled_notional, broker_order_id, broker_status, reason, arrival_price, cost_estimate, created_at,
    updated_at, market_time, worst_price)
  SELECT cid, sid, 1, bid, 'target', q + 1, 1, symbol, 'buy', 10, 'limit', 100, 'day', 'DONE', 10, 1000, kid, 'filled', '', 99.9,
    '{{"fees": 0, "spread": 0.5, "impact": 0.3, "total": 0.8, "bps": 8}}', t, t + interval '1 s', t, 100 FROM o;
INSERT INTO reservation SELECT (r).* FROM (SELECT jsonb_populate_record(x, jsonb_build_object('client_order_id', cid, 'root', cid, 'symbol', symbol,
    'qty', 0, 'released_at', t, 'released_as', 'DONE')) AS r FROM o, (SELECT y AS x FROM reservation y LIMIT 1) z) w;
INSERT INTO fill SELECT kid || ':10', cid, symbol, 'buy', 10, 100, t, t + interval '1 s', 'stream' FROM o;
INSERT INTO posting (txn, line, account, asset, amount, at, memo)
  SELECT 'fill:' || kid || ':10', l, a, CASE WHEN l < 3 THEN symbol ELSE 'USD' END, m, t, cid
  FROM o, (VALUES (1, 'inventory', 10), (2, 'street', -10), (3, 'cash', -1000), (4, 'street', 1000)) v(l, a, m);
INSERT INTO lot (symbol, txn, opened_at, qty, price, remaining) SELECT symbol, 'fill:' || kid || ':10', t, 10, 100, 10 FROM o;
INSERT INTO raw_message (received_at, channel, direction, refs, body, sha256, request, status)
  SELECT t + w * interval '10 ms', CASE w WHEN 2 THEN 'trade_updates' ELSE 'rest' END, 'in', ARRAY[cid, kid], b, sha256(b),
    CASE w WHEN 2 THEN '' ELSE 'POST /v2/orders' END, 200 FROM o, generate_series(1, 2) w, LATERAL (SELECT convert_to(repeat(
    '{{"id": "' || kid || '", "client_order_id": "' || cid || '", "status": "filled", "symbol": "S1", "qty": "10"}}', 6), 'UTF8') AS b) c;
INSERT INTO audit_log (seq, at, actor, kind, ref, body, prev_hash, hash)
  SELECT q + k, t, 'bench', kind, CASE kind WHEN 'RAW' THEN (9000000 + q + k)::text ELSE cid END,
    CASE kind WHEN 'DECISION' THEN '{{"symbol": "' || symbol || '", "side": "buy", "qty": "10", "limit_price": "100", "pad": "' || repeat('x', 1500) || '"}}'
      WHEN 'STATE' THEN '{{"from": "LIVE", "to": "DONE", "broker_status": "filled", "reason": ""}}'
      WHEN 'FILL' THEN '{{"execution_id": "' || kid || ':10", "qty": 10, "price": 100}}' ELSE '{{"sha256": "' || md5(cid) || '"}}' END,
    '', sha256((q + k)::text::bytea)
  FROM o, (VALUES (1, 'DECISION'), (2, 'STATE'), (3, 'STATE'), (4, 'FILL'), (5, 'RAW'), (6, 'RAW')) v(k, kind);
INSERT INTO reconciliation_run (id, at, market_time, occasion, matched, ledger_cash, broker_cash, compared)
  SELECT gen_random_uuid(), timestamptz '1990-01-02 15:00Z' + n * interval '1 minute', now(), 'running', true, 0, 0, '{{}}'
  FROM generate_series(0, {days} * 390) n;
UPDATE audit_head SET seq = (SELECT max(seq) FROM audit_log), hash = (SELECT hash FROM audit_log ORDER BY seq DESC LIMIT 1);
"""


def generate(url: str, orders: int) -> None:
    """Write the million between the real ones; as the owner, past the guards, for a benchmark only."""
    script = FILLED.format(orders=orders, day=A_DAY, days=orders // A_DAY)
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.execute(statement)  # type: ignore[arg-type]
        connection.execute("ANALYZE")


def real_orders(book: StandingBook, count: int, leg: int) -> list[str]:
    """Orders through the ledger's own functions, each with states, messages and a fill."""
    made = []
    for n in range(count):
        cid = book.place(
            qty="1", leg=leg + n, limit_price="100", inputs={"bid": "99.8", "ask": "100", "quote_age_ms": 12.5, "equity": "1e5"},
            checks={"limits": [{"name": f"limit_{k}", "ok": True, "limit": "1", "before": "0", "after": "0.1", "version": 1} for k in range(12)]},
            cost_estimate={"fees": 0.0, "spread": 0.1, "impact": 0.05, "total": 0.15, "bps": 15},
        )["cid"]  # fmt: skip
        for state in ("SENDING", "LIVE"):
            book.state(cid, state)
            book.call(
                "record_raw('rest', 'in', ARRAY[:c], :b, 'POST /v2/orders', 200)",
                c=cid,
                b=b'{"status": "new"}',
            )
        book.fill(cid, "1", "100")
        book.state(cid, "DONE")
        made.append(cid)
    return made


def milliseconds(act: Callable[[], Any]) -> float:
    """Median of some runs."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        act()
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times)


def measure(ledger: Ledger, name: str, look: Callable[[Any], list[Subject]], floor: float) -> dict[str, Any]:
    """Time to find and to tell one subject, and how many times the floor that is."""

    def whole() -> dict[str, Any]:
        with ledger.session() as session:
            [subject] = look(session)
        with ledger.session() as session:
            return tell(session, subject)

    begun = time.perf_counter()
    story = whole()
    first = (time.perf_counter() - begun) * 1e3
    again = milliseconds(whole)
    audit = story["audit"]
    print(
        f"{name:34}{first:10.1f}{again:10.1f}{again / floor:12.0f}   {'whole' if audit['whole'] else 'not chained (bench)'}, {audit['checked']} entries"
    )
    return story


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=50_000)
    parser.add_argument("--url", help="another server than the embedded one (an empty database)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as folder_name:
        folder = Path(folder_name)
        folder.chmod(0o755)
        ledger = open_ledger(folder, options.url, "replay")
        url = libpq_url(external_url(options.url) if options.url else ledger.url)
        try:
            book = StandingBook(ledger)
            early = real_orders(book, 3, 1)
            begun = time.perf_counter()
            generate(url, options.orders)
            took = time.perf_counter() - begun
            late = real_orders(book, 3, 100)
            with ledger.session() as session:
                counts = {
                    name: session.execute(text(f"SELECT count(*) FROM ledger.{name}")).scalar_one()
                    for name in ("orders", "decision", "fill", "posting", "raw_message", "audit_log")
                }
                size = session.execute(
                    text("SELECT pg_size_pretty(pg_database_size(current_database()))")
                ).scalar_one()
            print(
                ", ".join(f"{n:,} {name}" for name, n in counts.items())
                + f"; {size}, written in {took:.0f} s"
            )

            def bare() -> None:
                with ledger.session() as session:
                    session.execute(
                        text("SELECT * FROM ledger.orders WHERE client_order_id = :c"), {"c": late[0]}
                    ).one()

            floor = milliseconds(bare)
            print(f"{'':34}{'first ms':>10}{'again ms':>10}{'× floor':>12}")
            print(f"{'primary-key select (floor)':34}{'':>10}{floor:10.2f}{1:12.0f}")
            with ledger.session() as session:
                row = session.execute(
                    text("SELECT * FROM ledger.orders WHERE market_time > '1991-01-01' ORDER BY market_time, symbol LIMIT 1 OFFSET 7")
                    if options.orders >= 400 * A_DAY else text("SELECT * FROM ledger.orders WHERE broker_order_id IS NOT NULL LIMIT 1 OFFSET 7")
                ).one()  # fmt: skip
            day: dt.date = row.market_time.date()
            looks: dict[str, Callable[[Any], list[Subject]]] = {
                "order of the beginning": lambda s: find(s, early[1]),
                "order of the end": lambda s: find(s, late[1]),
                "order by a prefix": lambda s: find(s, late[2][:20]),
                "order of the middle": lambda s: find(s, row.client_order_id),
                "by the broker's id": lambda s: find(s, row.broker_order_id),
                "by a prefix of the broker's id": lambda s: find(s, row.broker_order_id[:13]),
                "fill": lambda s: find(s, f"{row.broker_order_id}:10"),
                "signal": lambda s: find(s, str(row.signal_id)),
                "symbol and day": lambda s: find_by_day(s, row.symbol, day),
            }
            for name, look in looks.items():
                measure(ledger, name, look, floor)
        finally:
            ledger.close()
            if not options.url:
                stop_embedded(folder)


if __name__ == "__main__":
    main()
