"""Bracket, oco and oto orders, and replacing: what one member's fate does to the others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from venue_clients import Listener, Wire, wait_until

from market.venue.command import Options
from market.venue.exchange import Rules
from market.venue.rehearsal import RehearsalVenue


def statuses(wire: Wire, order_id: str) -> dict[str, str]:
    """Status of an order and of its legs by type."""
    order = wire.get(f"/v2/orders/{order_id}", nested="true")
    return {order["type"]: order["status"]} | {leg["type"]: leg["status"] for leg in order["legs"] or []}


def bracket(wire: Wire, *, target: str = "190", stop: str = "100", **changes: Any) -> dict[str, Any]:
    answer = wire.order(
        qty="10", time_in_force="gtc", order_class="bracket", take_profit={"limit_price": target},
        stop_loss={"stop_price": stop}, **changes,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_legs_are_held_until_the_entry_is_whole_and_then_wait_for_the_price(
    wire: Wire, listener: Listener
) -> None:
    order = bracket(wire, type="limit", limit_price="110")
    assert [leg["status"] for leg in order["legs"]] == ["held", "held"]
    assert [leg["type"] for leg in order["legs"]] == ["limit", "stop"]
    assert statuses(wire, order["id"]) == {"limit": "held", "stop": "held"} | {}
    assert wire("PATCH", f"/v2/orders/{order['id']}", {"limit_price": "199"}).status_code == 200
    wait_until(lambda: "fill" in listener.events(), "the entry's fill")
    new_id = wire.get(f"/v2/orders/{order['id']}")["replaced_by"]
    legs = wire.get(f"/v2/orders/{new_id}", nested="true")["legs"]
    assert {leg["type"]: leg["status"] for leg in legs} == {"limit": "new", "stop": "held"}
    # The shares are held once, by the live exit.
    assert wire.get("/v2/positions/AAPL")["qty_available"] == "0"


def test_flat_listing_shows_legs_as_rows_and_nested_rolls_them_up(wire: Wire) -> None:
    order = bracket(wire, type="limit", limit_price="110")
    flat = wire.get("/v2/orders", status="all")
    assert len(flat) == 3
    assert all(row["legs"] is None for row in flat)
    nested = wire.get("/v2/orders", status="all", nested="True")
    assert [row["id"] for row in nested] == [order["id"]]
    assert len(nested[0]["legs"]) == 2


def test_a_filled_take_profit_cancels_the_stop_loss(
    venue: RehearsalVenue, wire: Wire, listener: Listener
) -> None:
    target = str(wire.price() + Decimal("0.05"))
    order = bracket(wire, target=target)
    venue.advance(3600)
    wait_until(lambda: listener.events().count("fill") >= 2, "the exit's fill")
    assert statuses(wire, order["id"]) == {"market": "filled", "limit": "filled", "stop": "canceled"}
    assert wire("GET", "/v2/positions/AAPL").status_code == 404


def test_an_elected_stop_loss_cancels_the_take_profit(
    venue: RehearsalVenue, wire: Wire, listener: Listener
) -> None:
    stop = str(wire.bid() - Decimal("0.03"))
    order = bracket(wire, stop=stop)
    venue.advance(7200)
    wait_until(lambda: listener.events().count("fill") >= 2, "the exit's fill")
    assert statuses(wire, order["id"]) == {"market": "filled", "limit": "canceled", "stop": "filled"}
    leg = next(leg for leg in wire.get(f"/v2/orders/{order['id']}")["legs"] if leg["type"] == "stop")
    assert listener.events(leg["id"]) == ["held", "new", "fill"]


def test_cancelling_a_leg_cancels_its_sibling_and_leaves_the_position(wire: Wire, listener: Listener) -> None:
    order = bracket(wire)
    wait_until(lambda: "fill" in listener.events(), "the entry's fill")
    leg = order["legs"][0]["id"]
    assert wire("DELETE", f"/v2/orders/{leg}").status_code == 204
    assert statuses(wire, order["id"]) == {"market": "filled", "limit": "canceled", "stop": "canceled"}
    assert wire.get("/v2/positions/AAPL")["qty_available"] == "10"


def test_cancelling_an_unfilled_entry_cancels_its_legs(wire: Wire) -> None:
    order = bracket(wire, type="limit", limit_price="90", target="95", stop="80")
    assert wire("DELETE", f"/v2/orders/{order['id']}").status_code == 204
    shown = wire.get(f"/v2/orders/{order['id']}", nested="true")
    assert {shown["status"], *(leg["status"] for leg in shown["legs"])} == {"canceled"}
    assert wire.get("/v2/orders") == []


def test_an_oco_is_a_take_profit_with_one_leg_and_holds_the_shares_once(
    venue: RehearsalVenue, wire: Wire, listener: Listener
) -> None:
    wire.order(qty="10")
    wait_until(lambda: "fill" in listener.events(), "the fill")
    stop = str(wire.bid() - Decimal("0.03"))
    order = wire.order(
        side="sell", qty="10", type="limit", order_class="oco", take_profit={"limit_price": "190"},
        stop_loss={"stop_price": stop, "limit_price": "90"},
    ).json()  # fmt: skip
    assert (order["limit_price"], order["order_class"], len(order["legs"])) == ("190", "oco", 1)
    assert order["legs"][0]["type"] == "stop_limit"
    assert wire.get("/v2/positions/AAPL")["qty_available"] == "0"
    venue.advance(7200)
    wait_until(lambda: listener.events().count("fill") >= 2, "the exit")
    assert statuses(wire, order["id"]) == {"limit": "canceled", "stop_limit": "filled"}
    assert wire.get("/v2/positions") == []


def test_an_oto_leg_comes_alive_with_the_entry(wire: Wire, listener: Listener) -> None:
    order = wire.order(qty="4", order_class="oto", stop_loss={"stop_price": "100"}).json()
    assert [leg["status"] for leg in order["legs"]] == ["held"]
    wait_until(lambda: "fill" in listener.events(), "the entry's fill")
    assert statuses(wire, order["id"]) == {"market": "filled", "stop": "new"}
    refused = wire("PATCH", f"/v2/orders/{order['legs'][0]['id']}", {"stop_price": "101"})
    assert refused.status_code == 422


def test_a_partial_take_profit_shrinks_the_stop_loss(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    venue = start_venue(cash=Decimal(2_000_000))
    wire = Wire(venue)
    order = wire.order(
        symbol="RRC", qty="3000", time_in_force="gtc", order_class="bracket",
        take_profit={"limit_price": str(wire.price("RRC") + Decimal("0.02"))}, stop_loss={"stop_price": "10"},
    ).json()  # fmt: skip
    legs: dict[str, Any] = {}

    def part_filled() -> bool:
        venue.advance(5)
        legs.update({leg["type"]: leg for leg in wire.get(f"/v2/orders/{order['id']}")["legs"]})
        return 0 < Decimal(legs["limit"]["filled_qty"]) < 3000

    wait_until(part_filled, "a part of the take-profit")
    assert Decimal(legs["stop"]["qty"]) == 3000 - Decimal(legs["limit"]["filled_qty"])


# --- replacing --------------------------------------------------------------------------------------------------


def test_replacing_makes_a_new_order_and_ends_the_old_one(wire: Wire, listener: Listener) -> None:
    old = wire.order(type="limit", limit_price="90", qty="5", client_order_id="first").json()
    answer = wire("PATCH", f"/v2/orders/{old['id']}", {"limit_price": "91", "qty": 6})
    new = answer.json()
    assert answer.status_code == 200
    assert new["id"] != old["id"]
    assert (new["status"], new["replaces"], new["limit_price"], new["qty"]) == (
        "pending_new",
        old["id"],
        "91",
        "6",
    )
    assert new["client_order_id"] != "first"
    shown = wire.get(f"/v2/orders/{old['id']}")
    assert (shown["status"], shown["replaced_by"]) == ("replaced", new["id"])
    assert shown["replaced_at"] is not None
    wait_until(lambda: "new" in listener.events(new["id"]), "the new order")
    assert listener.events(old["id"]) == ["pending_new", "new", "pending_replace", "replaced"]
    assert wire.get(f"/v2/orders/{new['id']}")["status"] == "new"


def test_a_replacement_without_change_is_refused(wire: Wire) -> None:
    old = wire.order(type="limit", limit_price="90").json()["id"]
    answer = wire("PATCH", f"/v2/orders/{old}", {"limit_price": 90.0})
    assert (answer.status_code, answer.json()) == (
        403,
        {"code": 40310000, "message": "order parameters are not changed"},
    )


def test_what_is_not_at_the_exchange_cannot_be_replaced(start_venue: Callable[..., RehearsalVenue]) -> None:
    wire = Wire(start_venue(start="08:00"))
    old = wire.order(type="limit", limit_price="90").json()
    assert old["status"] == "accepted"
    answer = wire("PATCH", f"/v2/orders/{old['id']}", {"limit_price": "91"})
    assert (answer.status_code, answer.json()) == (
        422,
        {"code": 42210000, "message": "unable to replace order, order isn't sent to exchange yet"},
    )


@pytest.mark.parametrize("ending", ["filled", "canceled"])
def test_what_is_over_cannot_be_replaced(wire: Wire, listener: Listener, ending: str) -> None:
    if ending == "filled":
        old = wire.order().json()["id"]
        wait_until(lambda: "fill" in listener.events(old), "the fill")
        message = 'order is already in "filled" state'
    else:
        old = wire.order(type="limit", limit_price="90").json()["id"]
        wire("DELETE", f"/v2/orders/{old}")
        message = "order is not open"
    answer = wire("PATCH", f"/v2/orders/{old}", {"qty": 3})
    assert (answer.status_code, answer.json()) == (422, {"code": 42210000, "message": message})


def test_a_replacement_may_not_exceed_the_buying_power_of_both(wire: Wire) -> None:
    old = wire.order(type="limit", limit_price="100", qty="1900").json()["id"]
    refused = wire("PATCH", f"/v2/orders/{old}", {"qty": 2100})
    assert refused.json()["message"] == "insufficient buying power"
    assert wire("PATCH", f"/v2/orders/{old}", {"qty": 2000}).status_code == 200
    assert wire.get("/v2/account")["buying_power"] == "0"


def test_a_fill_that_wins_the_race_rejects_the_replacement(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    """With a minute of latency the old order still works while its replacement is on the way."""
    venue = start_venue(rules=Rules(latency_ms=60_000))
    wire, listener = Wire(venue), Listener(venue)
    exchange = venue.server.exchange
    tape = exchange.tape.on("AAPL", exchange.session.day)
    assert tape is not None

    def lows(start: int, end: int) -> int:
        return int(tape.price[tape.trades_until(start) : tape.trades_until(end)].min())

    # A minute (1) in which the order travels, then a second (2) to ask for a replacement, then a lower minute (3).
    minute, now = 60 * 10**9, exchange.now
    wait = next(w for w in range(0, 200) if lows(now + w * minute, now + (w + 1) * minute + 2 * 10**9)
                >= lows(now + (w + 1) * minute + 2 * 10**9, now + (w + 2) * minute) + 500)  # fmt: skip
    price = Decimal(
        lows(now + (wait + 1) * minute + 2 * 10**9, now + (wait + 2) * minute)
    ) / 10_000 + Decimal("0.03")
    try:
        venue.advance(wait * 60)
        old = wire.order(type="limit", limit_price=str(price.quantize(Decimal("0.01"))), qty="1").json()["id"]
        venue.advance(61)
        new = wire("PATCH", f"/v2/orders/{old}", {"limit_price": "60"}).json()
        venue.advance(59)
        assert wire.get(f"/v2/orders/{old}")["status"] == "filled"
        venue.advance(2)
        assert wire.get(f"/v2/orders/{new['id']}")["status"] == "rejected"
        wait_until(lambda: "order_replace_rejected" in listener.events(old), "the notice")
    finally:
        listener.close()


@pytest.mark.parametrize(("rule", "qty", "left"), [("total", 3000, 3000), ("remainder", 3000, 3000)])
def test_what_patching_a_part_filled_order_means_can_be_chosen(
    start_venue: Callable[..., RehearsalVenue], rule: str, qty: int, left: int
) -> None:
    venue = start_venue(cash=Decimal(2_000_000), rules=Rules(replace_qty=rule))
    wire = Wire(venue)
    shown = wire.get("/v2/stocks/RRC/quotes/latest")["quote"]["as"]
    old = wire.order(
        symbol="RRC", type="limit", limit_price=str(wire.price("RRC")), qty=str(shown + 1000)
    ).json()
    done = Decimal(wire.get(f"/v2/orders/{old['id']}")["filled_qty"])
    assert 0 < done < shown + 1000
    new = wire("PATCH", f"/v2/orders/{old['id']}", {"qty": qty, "limit_price": "1.00"}).json()
    assert new["filled_qty"] == (str(done) if rule == "total" else "0")
    assert new["qty"] == str(left)


def test_options_default_to_the_total_rule() -> None:
    assert Options().rules.replace_qty == "total"


def test_an_oto_leg_sleeps_over_night_with_its_entry(start_venue: Callable[..., RehearsalVenue]) -> None:
    venue = start_venue(date=dt.date(2022, 12, 27), start="15:00")
    wire = Wire(venue)
    order = wire.order(symbol="KO", qty="5", type="limit", limit_price="20", time_in_force="gtc", order_class="oto",
                       stop_loss={"stop_price": "19"}).json()  # fmt: skip
    venue.move_to("2022-12-28T15:00:00Z")
    leg = venue.server.exchange.accounts[0].orders[order["legs"][0]["id"]]
    assert (leg.status, leg.in_book) == ("held", False)
    assert wire.get(f"/v2/orders/{order['id']}")["status"] == "new"
