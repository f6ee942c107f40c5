"""Fills and the broker's own bytes must say the same; whichever says more or something else is named."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text
from standing_book import StandingBook

from sql import witnesses
from sql.ledger import Ledger


def frame(order: str, cumulative: str, qty: str, price: str, event: str = "partial_fill") -> bytes:
    data = {"event": event, "qty": qty, "price": price, "order": {"id": order, "filled_qty": cumulative}}
    return json.dumps({"stream": "trade_updates", "data": data}).encode()


def activity(order: str, cumulative: str, qty: str, price: str) -> dict[str, str]:
    return {
        "activity_type": "FILL",
        "id": "a",
        "order_id": order,
        "cum_qty": cumulative,
        "qty": qty,
        "price": price,
    }


@pytest.fixture
def book(ledger: Ledger) -> StandingBook:
    """An order of ten, filled in two executions; nothing the broker said is kept yet."""
    book = StandingBook(ledger)
    cid = book.place()["cid"]
    book.state(cid, "SENDING")
    book.call("set_state(:e, :c, 'LIVE', 'b-1', 'new', '')", c=cid)
    say(book, b'{"stream": "listening"}')
    book.fill(cid, "4", "100", key="b-1:4")
    book.fill(cid, "6", "100.5", key="b-1:10")
    return book


def say(book: StandingBook, body: bytes, request: str = "", minutes_ago: int = 5) -> None:
    channel, status = ("rest", 200) if request else ("trade_updates", None)
    book.call(
        "record_raw(:ch, 'in', '{}', :b, :r, :s, '{}', '', now() - :m * interval '1 minute')",
        ch=channel, b=body, r=request, s=status, m=minutes_ago,
    )  # fmt: skip


def doubts(book: StandingBook) -> list[tuple[str, str, str]]:
    with book.ledger.session() as session:
        return [(d.what, d.ref, d.chain) for d in witnesses.compare(session)[1]]


ACTIVITIES = "GET /v2/account/activities?after=2022-12-24"


def test_fills_that_frames_and_activities_tell_of_are_beyond_doubt(book: StandingBook) -> None:
    say(book, frame("b-1", "4", "4", "100"))
    say(
        book,
        json.dumps([activity("b-1", "4.000", "4", "100.00"), activity("b-1", "10", "6", "100.5")]).encode(),
        ACTIVITIES,
    )
    with book.ledger.session() as session:
        assert witnesses.compare(session) == (2, [])


def test_a_fill_that_no_message_tells_of_is_named(book: StandingBook) -> None:
    say(book, frame("b-1", "4", "4", "100"))
    assert doubts(book) == [("fill", "b-1:10", "no message of the broker tells of it")]


def test_an_execution_told_and_not_booked_is_named_once_it_has_had_its_time(book: StandingBook) -> None:
    say(
        book,
        json.dumps([activity("b-1", "4", "4", "100"), activity("b-1", "10", "6", "100.5")]).encode(),
        ACTIVITIES,
    )
    say(book, frame("b-1", "11", "1", "100"), minutes_ago=0)
    assert doubts(book) == []
    say(book, frame("b-1", "12", "1", "100"))
    [(what, ref, said)] = doubts(book)
    assert (what, ref) == ("execution told", "b-1:12")
    assert said.startswith("1 at 100 (message ")


def test_a_message_with_another_price_than_the_fill_is_named(book: StandingBook) -> None:
    say(book, frame("b-1", "4", "4", "100"))
    say(book, frame("b-1", "10", "6", "100.4", event="fill"))
    [(what, ref, said)] = doubts(book)
    assert (what, ref) == ("fill and message", "b-1:10")
    assert said.startswith("6 at 100.4")


def test_other_peoples_executions_and_bytes_nobody_understands_raise_no_doubt(book: StandingBook) -> None:
    say(
        book,
        json.dumps([activity("b-1", "4", "4", "100"), activity("b-1", "10", "6", "100.5")]).encode(),
        ACTIVITIES,
    )
    say(book, frame("somebody-elses", "1", "1", "1"))
    for body in (
        b"\xff",
        b"[1, null]",
        b'{"data": {"event": "fill"}}',
        frame("b-1", "many", "1", "1"),
        b"[" * 50_000,
    ):
        say(book, body)
    assert doubts(book) == []


def test_fills_older_than_every_kept_message_are_passed_over(book: StandingBook) -> None:
    with book.ledger.session() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text("UPDATE ledger.fill SET booked_at = now() - interval '3 months'"))
    assert doubts(book) == []
