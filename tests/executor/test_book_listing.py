"""``executor orders|fills|decisions|positions|pnl``: what the views hold, filtered, for people and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text
from standing_book import StandingBook
from terminal import Terminal

from sql.ledger import Ledger


@pytest.fixture
def book(ledger: Ledger) -> StandingBook:
    book = StandingBook(ledger)
    for leg, (side, qty, price) in enumerate([("buy", "10", "100"), ("sell", "4", "101")], start=1):
        cid = book.place(qty=qty, side=side, leg=leg)["cid"]
        book.state(cid, "SENDING")
        book.fill(cid, qty, price, key=f"k{leg}")
        book.state(cid, "DONE")
    book.place("BBB", qty="5")
    book.place("BBB", qty="100000", leg=2)  # refused by the ledger
    book.call("record_cash(:e, '20221228::1', 'fees', -0.31, 'TAF')")
    return book


def listed(terminal: Terminal, *words: str) -> Any:
    shown = terminal.run(*words, "--json")
    assert shown.code == 0, shown.err
    return json.loads(shown.out)


def test_json_has_every_column_of_the_view_and_decimals_as_strings(
    book: StandingBook, terminal: Terminal
) -> None:
    for command, view in (
        ("orders", "v_orders"),
        ("fills", "v_fills"),
        ("decisions", "v_decisions"),
        ("positions", "v_positions"),
    ):
        with book.ledger.session() as session:
            columns = list(session.execute(text(f"SELECT * FROM ledger.{view} LIMIT 0")).keys())
        rows = listed(terminal, command)
        assert rows
        assert [*rows[0]] == columns
    assert [r["qty"] for r in listed(terminal, "fills")] == ["4", "10"], "newest first"


def test_filters_leave_what_was_asked_for(book: StandingBook, terminal: Terminal) -> None:
    assert [o["symbol"] for o in listed(terminal, "orders", "--open")] == ["BBB"]
    assert [o["side"] for o in listed(terminal, "orders", "--symbol", "aaa")] == ["sell", "buy"]
    assert [o["side"] for o in listed(terminal, "orders", "--symbol", "aaa", "--last", "1")] == ["sell"]
    assert len(listed(terminal, "orders", "--day", "2022-12-28", "--last", "0")) == 3
    assert listed(terminal, "orders", "--day", "2022-12-29") == []
    [refused] = listed(terminal, "decisions", "--refused")
    assert refused["symbol"] == "BBB"
    assert "over" in refused["reason"]
    assert [p["symbol"] for p in listed(terminal, "positions")] == ["AAA"]


def test_profit_by_symbol_adds_up_and_fees_stand_beside_it(book: StandingBook, terminal: Terminal) -> None:
    told = listed(terminal, "pnl")
    assert told["symbols"][0] | {"qty": "6"} == {
        "symbol": "AAA", "qty": "6", "realised_fifo_usd": "4", "unrealised_usd": "6", "total_usd": "10",
    }  # fmt: skip
    assert told["total"]["total_usd"] == "10"
    assert told["cash"] == [{"account": "fees", "usd": "-0.31", "movements": 1}]
    assert told["sessions"][0]["day_usd"] == "0"


def test_a_person_reads_tables_and_is_told_that_there_is_more(book: StandingBook, terminal: Terminal) -> None:
    shown = terminal.run("orders", "--last", "1").out
    assert "market time" in shown
    assert "the newest 1; --last 0 shows all" in shown
    assert terminal.run("fills", "--symbol", "ZZZ").out.strip() == "no fills match"
    assert "unrealised" in terminal.run("positions").out
    assert "to cash" in terminal.run("pnl").out


def test_an_empty_ledger_says_so(ledger: Ledger, terminal: Terminal) -> None:
    assert [terminal.run(c).out.strip() for c in ("orders", "fills", "decisions", "positions")] == [
        "no orders yet", "no fills yet", "no decisions yet", "no positions yet",
    ]  # fmt: skip


def test_a_ledger_of_an_older_build_is_not_migrated_by_looking(ledger: Ledger, terminal: Terminal) -> None:
    with ledger.session() as session:
        session.execute(text("DROP VIEW ledger.v_messages"))
    shown = terminal.run("orders")
    assert shown.code == 3
    assert "executor ledger upgrade" in shown.err
