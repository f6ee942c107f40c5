"""Any interleaving of placing, filling, cancelling, killing and taking over keeps the ledger's promises.

Every rule goes through the real functions on a real Postgres, one of them by several writers at once
on connections of their own; after each one the invariants are read back: worst-case exposure under its
caps, no order overfilled, postings that balance and equal the positions, one decision an order,
reservations that equal the open orders, UNKNOWN left by evidence only, final states final, everything
acknowledged there, a gapless chain.
"""

from __future__ import annotations

import itertools
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

from executor.core.orders import TRANSITIONS
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
    "UNKNOWN was left without evidence": (
        "SELECT 1 FROM ledger.audit_log, LATERAL (SELECT body::jsonb AS b) x WHERE kind = 'STATE' AND b ->> 'from' = 'UNKNOWN' "
        "AND b ->> 'to' <> 'UNKNOWN' AND coalesce(b ->> 'broker_id', b ->> 'broker_status', nullif(b ->> 'reason', '')) IS NULL"
    ),
    "a final state changed": (
        "SELECT 1 FROM ledger.audit_log, LATERAL (SELECT body::jsonb AS b) x WHERE kind = 'STATE' AND b ->> 'from' <> b ->> 'to' "
        "AND b ->> 'from' IN ('DONE','REJECTED','VOID','EXPIRED_UNSENT')"
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
        self.races = 0
        self.placed: dict[str, dict[str, Any]] = {}
        self.killed = False
        self.keys = 0
        self.moved = False
        """Whether a fill moved a mark past what place() had counted: then the caps say nothing of the view."""

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
            room = session.execute(
                text("SELECT qty - filled_qty FROM ledger.orders WHERE client_order_id = :c"), {"c": cid}
            ).scalar_one()
            held = session.execute(
                text("SELECT coalesce(sum(qty), 0) FROM ledger.position WHERE symbol = :s"),
                {"s": order["symbol"]},
            ).scalar_one()
        closes = held < 0 if order["side"] == "buy" else held > 0
        self.moved |= closes or order["side"] == "sell"
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

    @rule(
        writers=st.lists(
            st.lists(
                st.one_of(
                    st.tuples(st.just("place"), st.sampled_from(["AAA", "BBB"]), st.integers(1, 60), st.integers(80, 140)),
                    st.tuples(st.just("fill"), st.integers(0, 30), st.integers(1, 60)),
                    st.tuples(st.just("state"), st.integers(0, 30), st.sampled_from(STATES)),
                    st.tuples(st.sampled_from(["kill", "tighten", "take_over"])),
                ),
                min_size=1, max_size=4,
            ),
            min_size=2, max_size=8,
        )
    )  # fmt: skip
    def race(self, writers: list[list[tuple[Any, ...]]]) -> None:
        """Several writers at once; each may be refused, none may break a promise or wait for ever."""
        known = sorted(self.placed.values(), key=lambda order: order["leg"])
        acknowledged: list[tuple[str, str]] = []
        broken: list[BaseException] = []
        start = threading.Barrier(len(writers))

        def write(number: int, acts: list[tuple[Any, ...]]) -> None:
            try:
                with psycopg.connect(
                    libpq_url(self.ledger.url), autocommit=True, options="-c search_path=ledger"
                ) as connection:
                    start.wait(20)
                    for turn, act in enumerate(acts):
                        self._one(connection, 100 * number + turn, act, known, acknowledged)
            except BaseException as error:
                broken.append(error)

        self.races += 1
        threads = [threading.Thread(target=write, args=(n + 1, acts)) for n, acts in enumerate(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not broken, broken
        with self.ledger.session() as session:
            there = {
                ("orders", c)
                for c in session.execute(text("SELECT client_order_id FROM ledger.orders")).scalars()
            }
            there |= {
                ("fill", k) for k in session.execute(text("SELECT execution_id FROM ledger.fill")).scalars()
            }
            self.book.epoch, self.killed = session.execute(
                text("SELECT epoch, killed FROM ledger.book")
            ).one()
        assert set(acknowledged) <= there, "an acknowledged write is gone"

    def _one(
        self, connection: Any, number: int, act: tuple[Any, ...], known: list[dict[str, Any]],
        acknowledged: list[tuple[str, str]],
    ) -> None:  # fmt: skip
        epoch, unique = self.book.epoch, f"{self.races}-{number}"
        try:
            match act:
                case ("place", symbol, qty, price):
                    leg = 100_000 + 1_000 * self.races + number
                    order = self.book.order(symbol, str(qty), limit_price=str(price), leg=leg)
                    row = connection.execute(
                        "SELECT place(%s, %s::jsonb)", (epoch, json.dumps(order))
                    ).fetchone()
                    if row[0]["ok"]:
                        acknowledged.append(("orders", order["client_order_id"]))
                case ("fill", index, qty) if known:
                    order = known[index % len(known)]
                    if order["side"] == "buy":  # at its limit: the mark stays within what place() counted
                        self.moved |= self._short(connection, order["symbol"])
                        connection.execute(
                            "SELECT record_fill(%s, %s, %s, %s, %s, now(), 'stream')",
                            (epoch, f"race-{unique}", order["client_order_id"], qty, order["limit_price"]),
                        )
                        acknowledged.append(("fill", f"race-{unique}"))
                case ("state", index, state) if known:
                    cid = known[index % len(known)]["client_order_id"]
                    connection.execute(
                        "SELECT set_state(%s, %s, %s, NULL, NULL, 'seen')", (epoch, cid, state)
                    )
                case ("kill",):
                    connection.execute("SELECT kill('racer', 'test', false)")
                case ("tighten",):
                    connection.execute("SELECT tighten(%s, 'REDUCING', 'test')", (epoch,))
                case ("take_over",):
                    connection.execute("SELECT take_over('ACC', %s)", (unique,))
        except psycopg.Error as error:
            if error.sqlstate in ("LF001", "LF002") or error.diag.constraint_name == "never_overfilled":
                return  # refused by a rule: that is what it is for
            raise

    def _short(self, connection: Any, symbol: str) -> bool:
        row = connection.execute("SELECT 1 FROM position WHERE symbol = %s AND qty < 0", (symbol,)).fetchone()
        return row is not None

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
            if not self.moved:
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


WAYS = {
    "INTENT": [], "SENDING": ["SENDING"], "LIVE": ["SENDING", "LIVE"], "CANCELING": ["SENDING", "LIVE", "CANCELING"],
    "UNKNOWN": ["SENDING", "UNKNOWN"], "DONE": ["SENDING", "DONE"], "REJECTED": ["SENDING", "REJECTED"], "VOID": ["VOID"],
    "EXPIRED_UNSENT": ["SENDING", "UNKNOWN", "EXPIRED_UNSENT"],
}  # fmt: skip


def test_every_transition_that_is_not_in_the_table_is_refused(ledger: Ledger) -> None:
    """All 81 pairs, through the function and by hand: the core's table, to the last row."""
    book = StandingBook(ledger)
    allowed = {(str(before), str(after)) for (before, _), after in TRANSITIONS.items() if before is not after}
    taken = set()
    for leg, (before, after) in enumerate(itertools.product(STATES, STATES)):
        cid = book.place(qty="1", limit_price="1", leg=leg)["cid"]
        for state in WAYS[before]:
            book.state(cid, state, "on the way")
        if before == after:
            assert book.state(cid, after, "again") == after
            continue
        by_hand = text("UPDATE ledger.orders SET state = :s WHERE client_order_id = :c")
        if (before, after) in allowed:
            assert book.state(cid, after, "test") == after
            taken.add((before, after))
            continue
        with pytest.raises(DBAPIError, match="is not allowed"):
            book.state(cid, after, "test")
        with pytest.raises(DBAPIError, match="is not allowed"), ledger.session() as session:
            session.execute(by_hand, {"s": after, "c": cid})
    assert taken == allowed


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
