"""Any interleaving of placing, filling, cancelling, killing and taking over keeps the ledger's promises.

Every rule goes through the real functions on a real Postgres; after each one the invariants are
read back: worst-case exposure under its caps, no order overfilled, postings that balance and equal
the positions, one decision an order, reservations that equal the open orders, a gapless chain.
"""

from __future__ import annotations

import json
import threading
import uuid
from decimal import Decimal
from typing import Any, ClassVar

import psycopg
import pytest
from chain import NOON
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from standing_book import StandingBook

from sql import audit
from sql.ledger import Ledger
from sql.rebuild import compare
from sql.server import libpq_url

STATES = ["INTENT", "SENDING", "LIVE", "CANCELING", "UNKNOWN", "DONE", "REJECTED", "VOID", "EXPIRED_UNSENT"]
TERMINAL = {"DONE", "REJECTED", "VOID", "EXPIRED_UNSENT"}
BROKEN = {
    "an order is overfilled": "SELECT 1 FROM ledger.orders WHERE filled_qty > qty OR filled_qty < 0",
    "an order has no accepted decision": (
        "SELECT 1 FROM ledger.orders o LEFT JOIN ledger.decision d ON d.seq = o.decision_seq "
        "WHERE d.verdict IS DISTINCT FROM 'accepted' OR d.client_order_id <> o.client_order_id"
    ),
    "an order has no approval": (
        "SELECT 1 FROM ledger.orders o JOIN ledger.signal_batch b ON b.id = o.batch_id LEFT JOIN ledger.approval a "
        "ON a.batch_id = b.id WHERE a.verdict IS DISTINCT FROM 'approved' OR a.approver = b.proposer"
    ),
    "a refusal has no reason": "SELECT 1 FROM ledger.decision WHERE verdict = 'refused' AND reason = ''",
    "a transaction does not balance": "SELECT 1 FROM ledger.posting GROUP BY txn, asset HAVING sum(amount) <> 0",
    "positions differ from postings": (
        "SELECT 1 FROM ledger.position p FULL JOIN (SELECT asset, sum(amount) AS q FROM ledger.posting WHERE "
        "account = 'inventory' GROUP BY 1) b ON b.asset = p.symbol WHERE coalesce(p.qty, 0) <> coalesce(b.q, 0)"
    ),
    "positions differ from fills": (
        "SELECT 1 FROM ledger.position p JOIN (SELECT symbol, sum(CASE side WHEN 'buy' THEN qty ELSE -qty END) AS q "
        "FROM ledger.fill GROUP BY 1) f USING (symbol) WHERE p.qty <> f.q"
    ),
    "positions differ from lots": (
        "SELECT 1 FROM ledger.position p JOIN (SELECT symbol, sum(remaining) AS q FROM ledger.lot GROUP BY 1) l "
        "USING (symbol) WHERE p.qty <> l.q"
    ),
    "reservations differ from open orders": (
        "SELECT 1 FROM ledger.orders o FULL JOIN ledger.reservation r USING (client_order_id) WHERE r.qty IS DISTINCT FROM "
        "o.qty - o.filled_qty OR (r.released_at IS NULL) <> (o.state NOT IN ('DONE','REJECTED','VOID','EXPIRED_UNSENT'))"
    ),
}  # fmt: skip


class LedgerMachine(RuleBasedStateMachine):
    """Drives one ledger; the class attribute is set by the test to a maker of fresh ones."""

    orders: Bundle[dict[str, Any]] = Bundle("orders")
    fresh: ClassVar[Any]

    @initialize()
    def open(self) -> None:
        self.ledger, self.drop = type(self).fresh()
        self.book = StandingBook(self.ledger, {"AAA": "0.05", "BBB": "0.05"})
        self.leg = 0
        self.placed: dict[str, dict[str, Any]] = {}
        self.killed = False
        self.keys = 0

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            with self.ledger.session() as session:
                _, differences = compare(session)
                assert differences == [], differences
                assert audit.verify(session).ok
            self.drop()

    @rule(
        target=orders, symbol=st.sampled_from(["AAA", "BBB"]), side=st.sampled_from(["buy", "sell"]),
        qty=st.integers(1, 80), price=st.integers(80, 140), again=st.booleans(),
    )  # fmt: skip
    def place(self, symbol: str, side: str, qty: int, price: int, again: bool) -> Any:
        self.leg += 1
        order = self.book.order(symbol, str(qty), side=side, limit_price=str(price), leg=self.leg)
        answer = self.book.call("place(:e, CAST(:p AS jsonb))", p=json.dumps(order))
        if again:  # a retry of the same order is the same order
            second = self.book.call("place(:e, CAST(:p AS jsonb))", p=json.dumps(order))
            assert second["ok"] == answer["ok"]
            assert not answer["ok"] or second["seq"] == answer["seq"]
        if self.killed:
            assert not answer["ok"]
        if answer["ok"]:
            self.placed[order["client_order_id"]] = order
            return order
        return multiple()

    @rule(order=orders, state=st.sampled_from(STATES), reason=st.sampled_from(["", "seen at the broker"]))
    def move(self, order: dict[str, Any], state: str, reason: str) -> None:
        cid = order["client_order_id"]
        with self.ledger.session() as session:
            edges = {tuple(r) for r in session.execute(text("SELECT before, after FROM ledger.order_edge"))}
            before = session.execute(
                text("SELECT state FROM ledger.orders WHERE client_order_id = :c"), {"c": cid}
            ).scalar_one()
        allowed = before == state or ((before, state) in edges and (before != "UNKNOWN" or reason != ""))
        voided = before == "INTENT" and state == "SENDING" and self.killed
        try:
            after = self.book.state(cid, state, reason)
        except DBAPIError:
            assert not allowed, f"{before} -> {state} ({reason!r}) is allowed and was refused"
        else:
            assert allowed, f"{before} -> {state} ({reason!r}) is not allowed and was taken"
            assert after == ("VOID" if voided else state)

    @rule(order=orders, qty=st.integers(1, 60), cents=st.integers(8_000, 14_000), again=st.booleans())
    def fill(self, order: dict[str, Any], qty: int, cents: int, again: bool) -> None:
        self.keys += 1
        cid, price = order["client_order_id"], min if order["side"] == "buy" else max
        at = price(Decimal(cents) / 100, Decimal(order["limit_price"]))  # never worse than its limit
        with self.ledger.session() as session:
            row = session.execute(
                text("SELECT qty - filled_qty FROM ledger.orders WHERE client_order_id = :c"), {"c": cid}
            )
            room = row.scalar_one()
        if qty > room:
            with pytest.raises(DBAPIError, match="never_overfilled"):
                self.book.fill(cid, str(qty), str(at), key=f"k{self.keys}")
            return
        assert self.book.fill(cid, str(qty), str(at), key=f"k{self.keys}")
        if again:
            assert not self.book.fill(cid, str(qty), str(at), key=f"k{self.keys}")

    @rule()
    def kill(self) -> None:
        self.book.call("kill('machine', 'test', false)")
        self.killed = True

    @rule()
    def rearm(self) -> None:
        with self.ledger.session() as session:
            mode, killed = session.execute(text("SELECT mode, killed FROM ledger.book")).one()
        if killed or mode != "READY":
            self.book.call("rearm('person', 'looked')")
        self.killed = False

    @rule()
    def take_over(self) -> None:
        old = self.book.epoch
        self.book.epoch = int(self.book.call("take_over('ACC', 'next')"))
        with pytest.raises(DBAPIError, match="taken over"), self.ledger.session() as session:
            session.execute(text("SELECT ledger.tighten(:e, 'HALTED', 'old')"), {"e": old})

    @rule(order=orders)
    def crash(self, order: dict[str, Any]) -> None:
        """A writer dies between its statement and its commit: nothing of it is there."""
        with psycopg.connect(libpq_url(self.ledger.url)) as connection:
            before = connection.execute("SELECT seq FROM ledger.audit_head").fetchone()
            connection.commit()
            with connection.transaction(force_rollback=True):
                connection.execute("SELECT ledger.raise_alert('info', 'x', 'x', 'x', '')")
            assert connection.execute("SELECT seq FROM ledger.audit_head").fetchone() == before

    @invariant()
    def promises_hold(self) -> None:
        if not hasattr(self, "ledger"):
            return
        with self.ledger.session() as session:
            for what, query in BROKEN.items():
                assert session.execute(text(query + " LIMIT 1")).first() is None, what
            head = session.execute(
                text("SELECT (SELECT count(*) FROM ledger.audit_log) = seq FROM ledger.audit_head")
            )
            assert head.scalar_one(), "the chain has a gap"
            if not self.keys:  # until a fill moves a mark, the view shows exactly what place() admitted
                worst = session.execute(text("SELECT worst_notional FROM ledger.exposure")).scalars().all()
                assert sum(worst) <= 100_000
                assert max(worst, default=0) <= 12_000


@pytest.fixture
def fresh(ledger_template: str) -> Any:
    """A maker of new ledgers, each dropped when the machine is done."""
    source = ledger_template.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    maintenance = libpq_url(ledger_template.replace(f"/{source}", "/postgres", 1))

    def make() -> tuple[Ledger, Any]:
        name = f"state_{uuid.uuid4().hex[:8]}"
        with psycopg.connect(maintenance, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
        ledger = Ledger(ledger_template.replace(f"/{source}", f"/{name}", 1))

        def drop() -> None:
            ledger.close()
            with psycopg.connect(maintenance, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

        return ledger, drop

    return make


def test_every_interleaving_keeps_the_promises(fresh: Any) -> None:
    LedgerMachine.fresh = staticmethod(fresh)
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.parametrize("writers", [8, 16])
def test_racing_writers_stop_exactly_at_the_cap(ledger: Ledger, writers: int) -> None:
    """One-share orders at 100 USD against a cap of 12,000 a name: 120 fit, whoever comes first."""
    book = StandingBook(ledger)
    accepted: list[str] = []
    lock = threading.Lock()

    def write(number: int) -> None:
        with psycopg.connect(
            libpq_url(ledger.url), autocommit=True, options="-c search_path=ledger"
        ) as connection:
            for n in range(160 // writers):
                order = book.order(qty="1", leg=1000 * number + n, market_time=NOON.isoformat())
                row = connection.execute(
                    "SELECT place(%s, %s::jsonb)", (book.epoch, json.dumps(order))
                ).fetchone()
                assert row is not None
                if row[0]["ok"]:
                    with lock:
                        accepted.append(order["client_order_id"])

    threads = [threading.Thread(target=write, args=(n + 1,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == len(set(accepted)) == 120
    with ledger.session() as session:
        worst = session.execute(
            text("SELECT worst_notional FROM ledger.exposure WHERE symbol = 'AAA'")
        ).scalar_one()
        assert worst == 12_000
        assert session.execute(text("SELECT count(*) FROM ledger.orders")).scalar_one() == 120
        assert session.execute(text("SELECT count(*) FROM ledger.decision")).scalar_one() == 160
        assert audit.verify(session).ok
