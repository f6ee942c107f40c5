"""Orders, shares, cash and profit from the chain alone equal the tables; drift of any of them is named."""

from __future__ import annotations

from decimal import Decimal

import pytest
from forgery import disarm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from standing_book import StandingBook

from sql.ledger import Ledger
from sql.rebuild import Holding, compare


@pytest.fixture
def book(ledger: Ledger) -> StandingBook:
    book = StandingBook(ledger)
    first = book.place(qty="40")["cid"]
    for state in ("SENDING", "LIVE"):
        book.state(first, state)
    book.fill(first, "15", "99.5", key="k1")
    book.fill(first, "25", "100", key="k2")
    book.state(first, "DONE")
    sold = book.place(qty="20", side="sell", leg=2)["cid"]
    book.fill(sold, "20", "101.25", key="k3")
    book.place("BBB", qty="5")
    book.call("record_cash(:e, 'a1', 'fees', -0.07, 'TAF')")
    book.call("record_raw('trade_updates', 'in', '{x}', '{\"a\": 1}')")
    book.call("record_corporate_action(:e, 'split-1', 'AAA', 20, 0, '2 for 1')")
    book.call("record_adjustment('ann', 'rounding', -0.01)")
    return book


def differences(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.session() as session:
        return [(d.what, d.ref) for d in compare(session)[1]]


def test_an_honest_ledger_equals_its_chain(book: StandingBook) -> None:
    with book.ledger.session() as session:
        built, found = compare(session)
    assert found == []
    assert built.holdings["AAA"].qty == 40
    assert built.cash == Decimal("100000") - Decimal("15") * Decimal("99.5") - 2500 + 2025 - Decimal("0.08")
    # 15 at 99.5 and 5 at 100 were sold at 101.25
    assert built.holdings["AAA"].realised_fifo == Decimal("26.25") + Decimal("6.25")


DRIFTS = [
    ("UPDATE ledger.orders SET state = 'REJECTED' WHERE symbol = 'BBB'", "order"),
    ("UPDATE ledger.orders SET filled_qty = 39 WHERE filled_qty = 40", "order"),
    ("UPDATE ledger.position SET qty = 41 WHERE symbol = 'AAA'", "position"),
    ("UPDATE ledger.position SET realised_pnl = 0 WHERE symbol = 'AAA'", "realised profit"),
    ("UPDATE ledger.lot SET remaining = remaining - 1 WHERE remaining <> 0", "lots"),
    ("UPDATE ledger.lot_close SET pnl = pnl + 1", "realised profit (FIFO)"),
    ("UPDATE ledger.posting SET amount = amount + 1 WHERE account = 'cash' AND txn = 'fill:k1'", "cash"),
    ("DELETE FROM ledger.posting WHERE txn = 'fill:k2' AND account = 'inventory'", "inventory postings"),
    ("DELETE FROM ledger.fill WHERE execution_id = 'k1'", "fill"),
    ("UPDATE ledger.raw_message SET body = '{\"a\": 2}'", "raw message"),
    ("DELETE FROM ledger.raw_message", "raw message"),
]


@pytest.mark.parametrize(("drift", "what"), DRIFTS)
def test_drift_of_a_table_is_named(book: StandingBook, drift: str, what: str) -> None:
    with book.ledger.session() as session:
        disarm(session)
        session.execute(text(drift))
    assert what in {name for name, _ in differences(book.ledger)}


def test_retention_drops_whole_months_and_says_so(book: StandingBook) -> None:
    with book.ledger.session() as session:
        session.execute(text("SELECT ledger.open_raw_partitions('2020-01-01', 2)"))
        assert session.execute(text("SELECT ledger.drop_raw_before('ann', '2020-02-15')")).scalar_one() == 1
        assert session.execute(
            text("SELECT ref FROM ledger.audit_log WHERE kind = 'RETENTION'")
        ).scalars().all() == ["raw_message_202001"]
    assert differences(book.ledger) == []


trades = st.lists(
    st.tuples(st.integers(-30, 30).filter(bool), st.integers(9_000, 11_000)), min_size=1, max_size=15
)


@given(trades)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lots_in_postgres_equal_lots_in_python(ledger: Ledger, deals: list[tuple[int, int]]) -> None:
    mine = Holding()
    with ledger.session() as session:
        pnl = Decimal(0)
        for number, (shares, cents) in enumerate(deals):
            price = Decimal(cents) / 100
            mine.trade(Decimal(shares), price)
            pnl += session.execute(
                text("SELECT ledger.move_lots(:t, 'AAA', :d, :p, now())"),
                {"t": f"t{number}", "d": shares, "p": price},
            ).scalar_one()
        lots = session.execute(
            text("SELECT remaining, price FROM ledger.lot WHERE remaining <> 0 ORDER BY id")
        ).all()
        session.rollback()
    assert [(Decimal(q), Decimal(p)) for q, p in lots] == mine.lots
    assert abs(pnl - mine.realised_fifo) < Decimal("0.0001")
