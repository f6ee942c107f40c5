"""The second door in Postgres: what ``place`` lets through, and what it refuses whoever asks."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from chain import CLOSE, DAY, NOON, OPEN, whole_chain
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from sql.approvals import PAPER_POLICY, approve
from sql.ledger import Ledger
from sql.tables import Decision, Order, Posting, Signal


class Book:
    """An open book with an approved, claimed batch, driven through the ledger's functions."""

    def __init__(self, ledger: Ledger, *, claim: bool = True, equity: str = "100000") -> None:
        self.ledger = ledger
        with ledger.session() as session:
            batch = whole_chain(session)
            self.batch_id = batch.id
            self.signals = {s.symbol: s.id for s in session.exec(select(Signal)).all()}
        with ledger.session() as session:
            approve(session, self.batch_id, approver=PAPER_POLICY, reason="test", now=NOON, policy=True)
        self.epoch = self.call("take_over('ACC', 'test')")
        self.call("open_book(:e, 100000, '[]')")
        if equity:
            self.mark(equity)
        if claim:
            assert self.call("claim_batch(:e, :t)", t=NOON) == self.batch_id

    def call(self, function: str, **values: Any) -> Any:
        with self.ledger.session() as session:
            values = {"e": getattr(self, "epoch", None)} | values
            return session.execute(text(f"SELECT ledger.{function}"), values).scalar_one()

    def mark(self, equity: str) -> None:
        mark = {
            "market_time": NOON.isoformat(), "session": DAY.isoformat(), "cash": equity, "long_value": "0",
            "short_value": "0", "equity": equity, "day_open_equity": equity, "high_water_mark": equity, "marks": {},
        }  # fmt: skip
        self.call("mark_equity(:e, CAST(:m AS jsonb))", m=json.dumps(mark))

    def place(self, symbol: str = "AAA", qty: str = "10", **changed: Any) -> dict[str, Any]:
        order = {
            "client_order_id": f"sp-{uuid.uuid4().hex}-1", "signal_id": str(self.signals[symbol]), "leg": 1,
            "batch_id": str(self.batch_id), "purpose": "target", "symbol": symbol, "side": "buy", "qty": qty,
            "order_type": "limit", "limit_price": "100", "time_in_force": "day", "arrival_price": "99.9",
            "market_time": NOON.isoformat(), "limit_version": 1, "inputs": {}, "checks": {"limits": []},
            "cost_estimate": {},
        } | changed  # fmt: skip
        answer: dict[str, Any] = self.call("place(:e, CAST(:p AS jsonb))", p=json.dumps(order))
        return answer | {"cid": order["client_order_id"]}

    def fill(self, cid: str, qty: str, price: str = "100", key: str | None = None) -> bool:
        return bool(
            self.call(
                "record_fill(:e, :k, :c, :q, :p, now(), 'stream')",
                k=key or uuid.uuid4().hex,
                c=cid,
                q=qty,
                p=price,
            )
        )

    def state(self, cid: str, state: str) -> str:
        return str(self.call("set_state(:e, :c, :s, NULL, NULL, '')", c=cid, s=state))


@pytest.fixture
def book(ledger: Ledger) -> Book:
    return Book(ledger)


def test_an_order_has_its_decision_and_its_intent_in_one_step(book: Book) -> None:
    answer = book.place()
    assert answer["ok"]
    with book.ledger.session() as session:
        order = session.get(Order, answer["cid"])
        assert order is not None
        assert order.state == "INTENT"
        decision = session.get(Decision, order.decision_seq)
        assert decision is not None
        assert decision.verdict == "accepted"


def test_the_same_order_twice_is_placed_once(book: Book) -> None:
    first = book.place()
    again = book.place(client_order_id=first["cid"])
    assert again["ok"]
    assert again["seq"] == first["seq"]


def test_another_id_for_the_same_leg_is_impossible(book: Book) -> None:
    book.place()
    with pytest.raises(DBAPIError, match="one_order_per_leg"):
        book.place()


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"qty": "1501"}, "order notional"),
    ({"qty": "121"}, "worst-case AAA"),
    ({"market_time": CLOSE.isoformat()}, "valid from"),
    ({"market_time": (OPEN - dt.timedelta(seconds=1)).isoformat()}, "valid from"),
    ({"signal_id": str(uuid.uuid4())}, "no such signal"),
    ({"purpose": "flatten", "signal_id": None, "batch_id": None}, "must reduce"),
]


@pytest.mark.parametrize(("changed", "why"), REFUSALS)
def test_what_must_not_go_out_is_refused_and_recorded(book: Book, changed: dict[str, Any], why: str) -> None:
    if changed.get("signal_id") not in (None, *map(str, book.signals.values())):
        changed = changed | {"batch_id": None}
    unknown_signal = "signal_id" in changed and changed["signal_id"] is not None
    if unknown_signal:
        with pytest.raises(
            DBAPIError, match="signal"
        ):  # the decision may not name a signal that is not there
            book.place(**changed)
        return
    answer = book.place(**changed)
    assert not answer["ok"]
    assert why in answer["reason"]
    with book.ledger.session() as session:
        decision = session.get(Decision, answer["seq"])
        assert decision is not None
        assert decision.verdict == "refused"
        assert session.exec(select(Order)).all() == []


def test_an_unclaimed_batch_places_nothing(ledger: Ledger) -> None:
    answer = Book(ledger, claim=False).place()
    assert answer["reason"] == "batch is APPROVED, not CLAIMED"


def test_unknown_equity_places_nothing(ledger: Ledger) -> None:
    assert Book(ledger, equity="").place()["reason"] == "equity is unknown"


def test_a_kill_places_nothing_and_withdraws_what_was_not_sent(book: Book) -> None:
    waiting = book.place()
    book.call("kill('me', 'test', false)")
    assert book.place("BBB")["reason"] == "killed"
    assert book.state(waiting["cid"], "SENDING") == "VOID"


def test_a_kill_that_flattens_takes_reducing_orders_only(book: Book) -> None:
    first = book.place()
    for state in ("SENDING", "LIVE"):
        book.state(first["cid"], state)
    book.fill(first["cid"], "10")
    book.state(first["cid"], "DONE")
    book.call("kill('me', 'test', true)")
    exit_order = {"purpose": "flatten", "signal_id": None, "batch_id": None, "side": "sell", "leg": 1}
    assert not book.place("BBB")["ok"]
    assert not book.place(qty="11", **exit_order)["ok"]
    assert book.place(qty="10", **exit_order)["ok"]


def test_open_orders_count_towards_the_caps(book: Book) -> None:
    assert book.place(qty="80")["ok"]
    answer = book.place(qty="41", leg=2)
    assert "worst-case AAA 12100" in answer["reason"]
    assert book.place(qty="40", leg=2)["ok"]


def test_an_unknown_order_keeps_its_reservation(book: Book) -> None:
    first = book.place(qty="80")
    book.state(first["cid"], "SENDING")
    book.state(first["cid"], "UNKNOWN")
    assert not book.place(qty="41", leg=2)["ok"]


def test_an_older_epoch_can_write_nothing(book: Book) -> None:
    old = book.epoch
    book.call("take_over('ACC', 'successor')")
    with pytest.raises(DBAPIError, match="taken over"):
        book.place()
    book.epoch = old + 1
    assert book.place()["ok"]


def test_another_accounts_key_cannot_take_the_ledger(book: Book) -> None:
    with pytest.raises(DBAPIError, match="belongs to account ACC"):
        book.call("take_over('OTHER', 'x')")


def test_a_missing_limit_stops_all_orders(book: Book) -> None:
    book.call("set_limits('me', 'test', '{\"gross\": \"1\"}')")
    with pytest.raises(DBAPIError, match="order_notional_usd is not set"):
        book.place()


def test_states_follow_the_edges_only(book: Book) -> None:
    cid = book.place()["cid"]
    with pytest.raises(DBAPIError, match="INTENT -> LIVE is not allowed"):
        book.state(cid, "LIVE")


def test_a_fill_is_booked_once_by_its_id(book: Book) -> None:
    cid = book.place()["cid"]
    assert book.fill(cid, "4", key="k1")
    assert not book.fill(cid, "4", key="k1")
    with book.ledger.session() as session:
        assert session.get(Order, cid).filled_qty == 4  # type: ignore[union-attr]


def test_an_order_is_never_overfilled(book: Book) -> None:
    cid = book.place(qty="10")["cid"]
    book.fill(cid, "6")
    with pytest.raises(DBAPIError, match="never_overfilled"):
        book.fill(cid, "5")


def test_a_transaction_that_does_not_balance_cannot_commit(book: Book) -> None:
    with pytest.raises(DBAPIError, match="does not balance"), book.ledger.session() as session:
        session.execute(
            text(
                "INSERT INTO ledger.posting (txn, line, account, asset, amount, at, memo) VALUES ('x', 1, 'cash', 'USD', 1, now(), '')"
            )
        )


@pytest.mark.parametrize("table", ["fill", "posting", "decision", "audit_log", "equity_mark"])
@pytest.mark.parametrize(
    "act", ["DELETE FROM ledger.{}", "UPDATE ledger.{} SET at = now()", "TRUNCATE ledger.{} CASCADE"]
)
def test_what_is_recorded_cannot_be_changed(book: Book, table: str, act: str) -> None:
    book.fill(book.place()["cid"], "1")
    act = act.replace("SET at", "SET booked_at") if table == "fill" else act
    with pytest.raises(DBAPIError, match="append-only"), book.ledger.session() as session:
        session.execute(text(act.format(table)))


def test_a_cash_activity_is_booked_once_and_balances(book: Book) -> None:
    assert book.call("record_cash(:e, 'a1', 'fees', -0.07, 'TAF')")
    assert not book.call("record_cash(:e, 'a1', 'fees', -0.07, 'TAF')")
    with book.ledger.session() as session:
        lines = session.exec(select(Posting).where(Posting.txn == "activity:a1")).all()
        assert sorted(line.amount for line in lines) == [Decimal("-0.07"), Decimal("0.07")]


def test_modes_tighten_by_themselves_and_loosen_by_a_person_only(book: Book) -> None:
    assert book.call("tighten(:e, 'CLOSE_ONLY', 'loss')") == "CLOSE_ONLY"
    assert book.call("tighten(:e, 'REDUCING', 'drawdown')") == "CLOSE_ONLY"
    with pytest.raises(DBAPIError, match="needs a reason"):
        book.call("rearm('me', '')")
    book.call("rearm('me', 'looked at it')")
    assert book.call("tighten(:e, 'REDUCING', 'drawdown')") == "REDUCING"


def test_breaks_keep_the_latch(book: Book) -> None:
    book.call("kill('me', 'test', false)")
    run = {
        "occasion": "manual", "market_time": NOON.isoformat(), "matched": False, "ledger_cash": "1", "broker_cash": "2",
        "compared": {}, "breaks": [{"kind": "cash", "ref": "USD", "ledger_value": "1", "broker_value": "2"}],
    }  # fmt: skip
    book.call("record_reconciliation(:e, CAST(:r AS jsonb))", r=json.dumps(run))
    with pytest.raises(DBAPIError, match="open breaks"):
        book.call("rearm('me', 'hope')")


trades = st.lists(
    st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 40), st.integers(9_000, 11_000)),
    min_size=1,
    max_size=12,
)


@given(trades)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_positions_cash_and_realised_pnl_follow_from_the_fills(
    book: Book, deals: list[tuple[str, int, int]]
) -> None:
    """Positions by postings = positions by fills; cash + cost of what is held = opening + realised."""
    with book.ledger.session() as session:
        before_cash = session.execute(
            text("SELECT sum(amount) FROM ledger.posting WHERE account = 'cash'")
        ).scalar_one()
        held = session.execute(
            text("SELECT coalesce(sum(qty), 0), coalesce(sum(qty * average_price), 0), coalesce(sum(realised_pnl), 0) FROM ledger.position WHERE symbol = 'AAA'")
        ).one()  # fmt: skip
    qty, cash = Decimal(held[0]), Decimal(before_cash)
    with book.ledger.session() as session:
        for side, shares, cents in deals:
            delta = Decimal(shares if side == "buy" else -shares)
            price = Decimal(cents) / 100
            session.execute(text("SELECT ledger.move_position('AAA', :d, :p)"), {"d": delta, "p": price})
            qty, cash = qty + delta, cash - delta * price
        after = session.execute(
            text("SELECT qty, average_price, realised_pnl FROM ledger.position WHERE symbol = 'AAA'")
        ).one()
    assert after.qty == qty
    moved = (after.qty * after.average_price - held[1]) - (cash - before_cash) * -1
    assert abs(moved - (after.realised_pnl - held[2])) < Decimal("0.0001")
