"""Orders beyond the plain limit: each type carries its prices, exposure sees the worst, legs undo and no more."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from standing_book import StandingBook

from sql.ledger import Ledger
from sql.rebuild import compare

EXIT: dict[str, Any] = {"purpose": "flatten", "side": "sell", "signal_id": None, "batch_id": None}


@pytest.fixture
def book(ledger: Ledger) -> StandingBook:
    return StandingBook(ledger)


def read(book: StandingBook, query: str) -> Any:
    with book.ledger.session() as session:
        return session.execute(text(query)).scalar_one()


def worst(book: StandingBook, symbol: str = "AAA") -> Decimal:
    return Decimal(read(book, f"SELECT worst_notional FROM ledger.exposure WHERE symbol = '{symbol}'"))


def differences(book: StandingBook) -> list[Any]:
    with book.ledger.session() as session:
        return list(compare(session)[1])


def hold(book: StandingBook, qty: str, **changed: Any) -> str:
    """Buy and fill; the order's id."""
    cid = str(book.place(qty=qty, **changed)["cid"])
    for state in ("SENDING", "LIVE"):
        book.state(cid, state)
    book.fill(cid, qty)
    book.state(cid, "DONE")
    return cid


def leg_of(parent: str, cid: str, qty: str, **changed: Any) -> str:
    return json.dumps({
        "client_order_id": cid, "parent_client_order_id": parent, "symbol": "AAA", "side": "sell", "qty": qty, "leg": 0,
        "purpose": "stop", "order_type": "stop", "stop_price": "90", "time_in_force": "gtc", "market_time": "2022-12-28T17:00:00Z",
        "broker_order_id": f"broker-{cid}", "broker_status": "held",
    } | changed)  # fmt: skip


FITTING: list[dict[str, Any]] = [
    {"order_type": "market", "limit_price": None, "worst_price": "105"},
    {"order_type": "stop", "limit_price": None, "stop_price": "101", "worst_price": "105"},
    {"order_type": "stop_limit", "stop_price": "101", "limit_price": "105"},
    {"order_type": "trailing_stop", "limit_price": None, "trail_percent": "1.5", "worst_price": "105"},
    {"order_type": "trailing_stop", "limit_price": None, "trail_price": "2", "worst_price": "105"},
    {"order_type": "limit", "limit_price": "100", "worst_price": "105"},
]


@pytest.mark.parametrize("terms", FITTING)
def test_every_type_is_placed_with_its_prices_and_counted_at_its_worst(
    book: StandingBook, terms: dict[str, Any]
) -> None:
    answer = book.place(qty="10", **terms)
    assert answer["ok"], answer
    assert worst(book) == 1_050
    with book.ledger.session() as session:
        row = session.execute(text("SELECT * FROM ledger.v_orders")).mappings().one()
        assert row["worst_price"] == 105
        for name in ("limit_price", "stop_price", "trail_percent", "trail_price"):
            wanted = terms.get(name)
            assert row[name] == (None if wanted is None else Decimal(wanted)), name
    assert differences(book) == []


UNFITTING: list[tuple[dict[str, Any], str]] = [
    ({"order_type": "market", "limit_price": "100"}, "do not fit"),
    ({"order_type": "market", "limit_price": None}, "no worst_price bounds"),
    ({"order_type": "stop", "limit_price": None, "stop_price": "101"}, "no worst_price bounds"),
    ({"order_type": "limit", "stop_price": "101"}, "do not fit"),
    ({"order_type": "stop_limit", "limit_price": "101"}, "do not fit"),
    (
        {
            "order_type": "trailing_stop", "limit_price": None, "trail_price": "1", "trail_percent": "1", "worst_price": "9",
        },
        "do not fit",
    ),
    ({"order_type": "trailing_stop", "limit_price": None, "worst_price": "105"}, "do not fit"),
    ({"order_type": "iceberg"}, "do not fit the order type iceberg"),
    ({"purpose": "hope"}, "purpose hope is unknown"),
    ({"order_class": "ladder"}, "order class ladder is unknown"),
    ({"purpose": "stop"}, "a stop order must reduce"),
    ({"parent_client_order_id": "nobody", "purpose": "stop"}, "no leg of nobody"),
    ({"replaces_client_order_id": "nobody"}, "nobody is no order"),
    ({"strategy": "another"}, "is of strategy test, not another"),
]  # fmt: skip


@pytest.mark.parametrize(("terms", "why"), UNFITTING)
def test_terms_that_do_not_fit_are_refused_and_recorded(
    book: StandingBook, terms: dict[str, Any], why: str
) -> None:
    answer = book.place(**terms)
    assert not answer["ok"]
    assert why in answer["reason"]
    assert read(book, f"SELECT verdict FROM ledger.decision WHERE seq = {int(answer['seq'])}") == "refused"


def test_the_worst_price_decides_at_the_caps(book: StandingBook) -> None:
    market: dict[str, Any] = {"order_type": "market", "limit_price": None}
    assert "worst-case AAA" in book.place(qty="100", worst_price="120.01", **market)["reason"]
    assert book.place(qty="100", worst_price="120", **market)["ok"]
    assert worst(book) == 12_000


def test_a_decision_under_other_limits_does_not_stand_but_the_way_out_does(book: StandingBook) -> None:
    hold(book, "10")
    limits = read(book, "SELECT limits FROM ledger.limit_version")
    book.call("set_limits('me', 'tighter', CAST(:l AS jsonb))", l=json.dumps(limits | {"gross": "0.5"}))
    late = book.place("BBB", qty="1")
    assert (
        late["reason"] == "limits changed: decided under version 1, version 2 is in force"
    )  # told apart from a refusal by a limit: it may be decided anew
    assert book.place(qty="10", **EXIT)["ok"]
    assert book.place("BBB", qty="1", limit_version=2)["ok"]


@pytest.mark.parametrize("mode", ["CLOSE_ONLY", "HALTED"])
def test_a_mode_that_forbids_an_order_withdraws_it_before_it_is_sent(book: StandingBook, mode: str) -> None:
    hold(book, "10")
    entry, leaving = book.place("BBB", qty="1")["cid"], book.place(qty="10", **EXIT)["cid"]
    resent = book.place(qty="1", leg=3)["cid"]
    book.state(resent, "SENDING")
    book.state(resent, "UNKNOWN")
    book.call("tighten(:e, :m, 'test')", m=mode)
    assert book.state(entry, "SENDING") == "VOID"
    assert mode in read(book, f"SELECT reason FROM ledger.orders WHERE client_order_id = '{entry}'")
    with pytest.raises(DBAPIError, match="is not sent again: mode"):
        book.state(resent, "SENDING", "not found")
    assert book.state(leaving, "SENDING") == ("SENDING" if mode == "CLOSE_ONLY" else "VOID")


def test_legs_of_a_bracket_undo_their_parent_and_reserve_no_more_than_that(book: StandingBook) -> None:
    parent = book.place(qty="100", order_class="bracket")["cid"]
    for state in ("SENDING", "LIVE"):
        book.state(parent, state)
    take_profit = {"purpose": "take_profit", "order_type": "limit", "limit_price": "130", "stop_price": None}
    assert book.call("record_leg(:e, CAST(:l AS jsonb))", l=leg_of(parent, "tp", "100", **take_profit))
    assert book.call("record_leg(:e, CAST(:l AS jsonb))", l=leg_of(parent, "sl", "100"))
    assert not book.call("record_leg(:e, CAST(:l AS jsonb))", l=leg_of(parent, "sl", "100"))
    assert worst(book) == 10_000
    book.fill(parent, "60")
    assert worst(book) == 10_000
    book.fill(parent, "40")
    book.state(parent, "DONE")
    book.fill("tp", "30", "130")
    reserved = dict.fromkeys(("tp", "sl"), Decimal(70))
    with book.ledger.session() as session:
        rows = session.execute(
            text("SELECT client_order_id, qty FROM ledger.reservation WHERE released_at IS NULL")
        )
        assert {r.client_order_id: r.qty for r in rows} == reserved
    assert differences(book) == []
    assert worst(book) == 70 * 130  # the last print is the mark
    # The legs together may sell what is held, so nothing else may, but through the caps.
    assert "must reduce" in book.place(qty="1", **EXIT)["reason"]
    assert book.state("sl", "DONE", "canceled by the broker") == "DONE"
    assert book.state("tp", "DONE", "canceled by the broker") == "DONE"
    assert book.place(qty="70", **EXIT)["ok"]


def test_a_leg_is_recorded_in_any_mode_but_only_under_its_parent(book: StandingBook) -> None:
    parent = book.place(qty="10", order_class="oto")["cid"]
    simple = book.place("BBB", qty="10")["cid"]
    book.call("kill('me', 'test', false)")
    wrong: list[dict[str, Any]] = [{"symbol": "BBB"}, {"side": "buy"}]
    for changed in wrong:
        with pytest.raises(DBAPIError, match="is no leg of"):
            book.call("record_leg(:e, CAST(:l AS jsonb))", l=leg_of(parent, "x", "10", **changed))
    for owner, qty in ((parent, "11"), (simple, "10")):
        with pytest.raises(DBAPIError, match="is no leg of"):
            book.call("record_leg(:e, CAST(:l AS jsonb))", l=leg_of(owner, "x", qty))
    assert book.call("record_leg(:e, CAST(:l AS jsonb))", l=leg_of(parent, "sl", "10"))
    assert read(book, "SELECT state || purpose FROM ledger.orders WHERE client_order_id = 'sl'") == "LIVEstop"


def test_stops_at_rest_exclude_each_other_as_legs_and_as_replacements(book: StandingBook) -> None:
    hold(book, "50")
    stop: dict[str, Any] = EXIT | {
        "purpose": "stop",
        "order_type": "stop",
        "limit_price": None,
        "worst_price": "100",
    }
    first = book.place(qty="50", stop_price="90", **stop)
    assert first["ok"]
    assert not book.place(qty="50", stop_price="91", **stop)["ok"]  # two could sell what is held once
    moved = book.place(qty="50", stop_price="91", replaces_client_order_id=first["cid"], **stop)
    assert moved["ok"], moved
    target = EXIT | {"purpose": "take_profit", "limit_price": "110", "order_class": "oco"}
    pair = book.place(qty="50", parent_client_order_id=moved["cid"], **target)
    assert pair["ok"], pair
    assert worst(book) == 5_000
    assert read(book, "SELECT open_sells FROM ledger.exposure") == 50


def test_a_replacement_of_an_entry_is_reserved_beside_what_it_replaces(book: StandingBook) -> None:
    """Whether the new quantity includes earlier fills is not documented, so both count until one has ended."""
    first = book.place(qty="60")
    again: dict[str, Any] = {"leg": 2, "replaces_client_order_id": first["cid"]}
    assert not book.place(qty="61", **again)["ok"]
    assert book.place(qty="60", **again)["ok"]
    assert worst(book) == 12_000


def test_the_capital_of_a_stage_caps_everything_and_is_loosened_by_two(book: StandingBook) -> None:
    limits = read(book, "SELECT limits FROM ledger.limit_version")
    staged = limits | {"capital_usd": "1500"}
    book.call("set_limits('me', 'first stage', CAST(:l AS jsonb))", l=json.dumps(staged))
    assert book.place(qty="10", limit_version=2)["ok"]
    over = book.place("BBB", qty="6", limit_version=2)
    assert "over the capital of this stage, 1500" in over["reason"]
    assert book.place("BBB", qty="5", limit_version=2)["ok"]
    for looser in (limits, limits | {"capital_usd": "1501"}):
        with pytest.raises(DBAPIError, match="loosens capital_usd"):
            book.call("set_limits('me', 'more', CAST(:l AS jsonb))", l=json.dumps(looser))


def test_an_order_carries_its_strategy(book: StandingBook) -> None:
    book.place(qty="1")
    book.place(qty="1", leg=2, strategy="test")
    assert read(book, "SELECT array_agg(DISTINCT strategy) FROM ledger.v_orders") == ["test"]
