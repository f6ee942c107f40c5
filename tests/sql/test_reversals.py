"""Executions taken back or corrected leave the book as if the truth had been booked at once; nothing is edited."""

from __future__ import annotations

from decimal import Decimal

import pytest
from forgery import disarm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from standing_book import StandingBook

from sql import audit
from sql.ledger import Ledger
from sql.rebuild import Holding, compare


@pytest.fixture
def book(ledger: Ledger) -> StandingBook:
    return StandingBook(ledger, {"AAA": "0.05", "BBB": "0.05"})


def trade(book: StandingBook, key: str, shares: int, price: str, leg: int, done: bool = True) -> str:
    """An order of its own, filled whole by execution ``key`` (the broker calls it ``b-<key>``)."""
    side = "buy" if shares > 0 else "sell"
    cid = str(book.place(qty=str(abs(shares)), side=side, leg=leg, limit_price="100")["cid"])
    for state in ("SENDING", "LIVE"):
        book.state(cid, state)
    assert book.call(
        "record_fill(:e, :k, :c, :q, :p, now(), 'stream', :b)", k=key, c=cid, q=abs(shares), p=price, b=f"b-{key}"
    )  # fmt: skip
    if done:
        book.state(cid, "DONE")
    return cid


def bust(book: StandingBook, key: str, execution: str) -> bool:
    return bool(book.call("reverse_fill(:e, :k, :x, 'test')", k=key, x=execution))


def correct(book: StandingBook, key: str, execution: str, qty: int, price: str) -> bool:
    return bool(book.call("correct_fill(:e, :k, :x, :q, :p, 'test')", k=key, x=execution, q=qty, p=price))


def held(book: StandingBook) -> tuple[Decimal, Decimal, Decimal, Decimal, list[tuple[Decimal, Decimal]]]:
    """Shares, average price, realised by average, realised by lots, open lots; nothing differs from the chain."""
    with book.ledger.session() as session:
        assert compare(session)[1] == []
    with book.ledger.session() as session:
        assert audit.verify(session).ok
        row = session.execute(text("SELECT * FROM ledger.v_positions WHERE symbol = 'AAA'")).one()
        lots = session.execute(
            text(
                "SELECT remaining, price FROM ledger.lot WHERE symbol = 'AAA' AND remaining <> 0 ORDER BY id"
            )
        )
        return (
            row.qty, row.average_price, row.realised_average_usd, row.realised_fifo_usd,
            [(r.remaining, r.price) for r in lots],
        )  # fmt: skip


def cash(book: StandingBook) -> Decimal:
    with book.ledger.session() as session:
        return Decimal(
            session.execute(
                text("SELECT sum(amount) FROM ledger.posting WHERE account = 'cash'")
            ).scalar_one()
        )


def test_a_busted_execution_leaves_the_book_as_if_it_had_never_been(book: StandingBook) -> None:
    first = trade(book, "k1", 10, "90", 1)
    trade(book, "k2", 10, "100", 2)
    trade(book, "k3", -5, "99", 3)
    assert held(book)[3] == 45
    assert bust(book, "r1", "b-k1")  # by the broker's id
    assert not bust(book, "r1", "b-k1")
    assert not bust(book, "r2", "k1")  # and told again under another
    assert held(book) == (5, 100, -5, -5, [(5, 100)])
    assert cash(book) == 100_000 - 1_000 + 495
    with book.ledger.session() as session:
        row = session.execute(
            text("SELECT * FROM ledger.v_orders WHERE client_order_id = :c"), {"c": first}
        ).one()
        assert (row.filled_qty, row.average_fill_price, row.state) == (0, None, "DONE")
        assert session.execute(text("SELECT execution_id FROM ledger.v_fills")).scalars().all() == [
            "k2",
            "k3",
        ]
        gone = session.execute(text("SELECT * FROM ledger.v_reversals")).one()
        assert (gone.reversal_id, gone.kind, gone.execution_id, gone.replaced_by) == (
            "r1",
            "bust",
            "k1",
            None,
        )
        assert (
            session.execute(text("SELECT kind FROM ledger.alert ORDER BY at DESC")).scalars().first()
            == "fill_reversed"
        )


def test_a_correction_stands_where_the_corrected_stood_and_can_be_corrected_again(book: StandingBook) -> None:
    trade(book, "k1", 10, "90", 1)
    trade(book, "k2", 10, "100", 2)
    trade(book, "k3", -10, "99", 3)
    assert correct(book, "c1", "b-k1", 10, "95")
    assert not correct(book, "c1", "b-k1", 10, "95")
    assert not correct(book, "c1-again", "b-k1", 10, "95")  # it says what stands already
    assert held(book)[3:] == (40, [(10, 100)])  # the first bought is still the first sold
    assert correct(book, "c2", "b-k1", 8, "96")
    assert held(book)[3:] == (8 * 3 + 2 * -1, [(8, 100)])
    assert bust(book, "c3", "b-k1")
    assert held(book)[3:] == (-10, [])
    assert cash(book) == 100_000 - 1_000 + 990


def test_the_true_execution_takes_the_place_of_the_inferred_one_as_far_as_it_reaches(
    book: StandingBook,
) -> None:
    cid = trade(book, "k1", 10, "90", 1, done=False)  # stands for another order: 10 known shares
    other = str(book.place(qty="30", leg=2)["cid"])
    for state in ("SENDING", "LIVE"):
        book.state(other, state)
    book.fill(other, "30", "99", key=f"inf:{other}:30")
    assert book.fill(other, "12", "98", key="broker:12")
    assert held(book)[:1] + held(book)[4:] == (40, [(10, 90), (18, 99), (12, 98)])
    assert book.fill(other, "18", "97", key="broker:30")
    assert not book.fill(other, "18", "97", key="broker:30")
    qty, _, _, _, lots = held(book)
    assert qty == 40
    assert sorted(lots) == [(10, 90), (12, 98), (18, 97)]
    with book.ledger.session() as session:
        assert session.execute(
            text("SELECT count(*) FROM ledger.v_fills WHERE execution_id LIKE 'inf:%'")
        ).scalar_one() == 0  # fmt: skip
        row = session.execute(
            text("SELECT filled_qty FROM ledger.orders WHERE client_order_id = :c"), {"c": other}
        )
        assert row.scalar_one() == 30
    assert cid != other


def test_an_execution_after_the_inferred_one_is_not_taken_for_it(book: StandingBook) -> None:
    cid = str(book.place(qty="30")["cid"])
    for state in ("SENDING", "LIVE"):
        book.state(cid, state)
    book.fill(cid, "10", "99", key=f"inf:{cid}:10")
    assert book.fill(cid, "5", "98", key="broker:15")
    assert held(book)[0] == 15


def test_an_open_order_reserves_again_what_was_taken_back(book: StandingBook) -> None:
    trade(book, "k1", 40, "100", 1, done=False)
    bust(book, "r1", "k1")
    with book.ledger.session() as session:
        assert (
            session.execute(text("SELECT qty FROM ledger.reservation WHERE released_at IS NULL")).scalar_one()
            == 40
        )


def test_what_is_not_booked_cannot_be_taken_back(book: StandingBook) -> None:
    for act in ("reverse_fill(:e, 'r', 'nothing', 'x')", "correct_fill(:e, 'r', 'nothing', 1, 1, 'x')"):
        with pytest.raises(DBAPIError, match="no execution nothing is booked"):
            book.call(act)


def test_one_execution_of_the_broker_is_booked_once_under_whatever_key(book: StandingBook) -> None:
    cid = trade(book, "k1", 10, "100", 1, done=False)
    assert not book.call("record_fill(:e, 'other', :c, 1, 100, now(), 'activities', 'b-k1')", c=cid)


def test_an_orders_fills_fall_only_with_a_reversal(book: StandingBook) -> None:
    cid = trade(book, "k1", 10, "100", 1)
    with pytest.raises(DBAPIError, match="fall with a reversal"), book.ledger.session() as session:
        session.execute(
            text("UPDATE ledger.orders SET filled_qty = 9 WHERE client_order_id = :c"), {"c": cid}
        )


def test_a_reversal_that_vanished_is_named(book: StandingBook) -> None:
    trade(book, "k1", 10, "100", 1)
    bust(book, "r1", "k1")
    with book.ledger.session() as session:
        disarm(session)
        session.execute(text("DELETE FROM ledger.fill_reversal"))
    with book.ledger.session() as session:
        assert {d.what for d in compare(session)[1]} == {"reversal"}


deals = st.lists(
    st.tuples(st.integers(-30, 30).filter(bool), st.integers(9_000, 11_000)), min_size=2, max_size=8
)
changes = st.lists(
    st.tuples(
        st.integers(0, 7), st.sampled_from(["bust", "correct"]), st.integers(1, 30), st.integers(9_000, 11_000)
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def test_any_changes_leave_the_book_of_what_stands(book: StandingBook) -> None:
    book.mark("1000000000")  # room for every example's trades: they pile up in one book
    stands: dict[int, tuple[Decimal, Decimal]] = {}
    counter = iter(range(1, 1_000_000))

    @given(deals, changes)
    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    def run(deals: list[tuple[int, int]], changes: list[tuple[int, str, int, int]]) -> None:
        own = []
        for shares, cents in deals:
            n = next(counter)
            trade(book, f"k{n}", shares, str(Decimal(cents) / 100), n, done=False)
            stands[n] = (Decimal(shares), Decimal(cents) / 100)
            own.append(n)
        for index, how, qty, cents in changes:
            n = own[index % len(own)]
            if n not in stands:
                assert not bust(book, f"r{next(counter)}", f"k{n}")
                continue
            now = (
                Decimal(min(qty, abs(stands[n][0])) * (1 if stands[n][0] > 0 else -1)),
                Decimal(cents) / 100,
            )
            if how == "bust":
                assert bust(book, f"r{next(counter)}", f"k{n}")
                del stands[n]
            else:
                changed = correct(book, f"c{next(counter)}", f"k{n}", int(abs(now[0])), str(now[1]))
                assert changed == (now != stands[n])
                stands[n] = now
        mine = Holding()
        for n in sorted(stands):
            mine.trade(*stands[n])
        qty, _, average, fifo, lots = held(book)
        assert qty == mine.qty
        assert lots == mine.lots
        assert abs(fifo - mine.realised_fifo) < Decimal("0.001")
        assert abs(average - mine.realised) < Decimal("0.001")

    run()
