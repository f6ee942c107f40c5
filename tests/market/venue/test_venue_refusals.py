"""Every refusal row of section 2.5: status, code, message, extra keys. Raw HTTP, because the SDKs refuse to send most."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from venue_clients import Listener, Wire, wait_until

from market.venue.rehearsal import RehearsalVenue

INVALID, RULE, DENIED, MISSING = (422, 40010001), (422, 42210000), (403, 40310000), (404, 40410000)

# body changes -> (status, code), message. The price of AAPL at 10:00 is near 128.
BODIES: list[tuple[dict[str, Any], tuple[int, int], str]] = [
    ({"qty": None}, INVALID, "qty or notional is required"),
    ({"notional": "10"}, INVALID, "only one of qty or notional is accepted"),
    ({"qty": "0"}, INVALID, "qty must be > 0"),
    ({"qty": "-1"}, INVALID, "qty must be > 0"),
    ({"qty": None, "notional": "0.99"}, RULE, "notional must be >= 1.00"),
    ({"type": "limit", "limit_price": "0"}, INVALID, "limit price must be > 0"),
    ({"type": "limit"}, INVALID, "limit orders require a limit price"),
    ({"type": "stop"}, INVALID, "stop orders require a stop price"),
    ({"type": "stop_limit", "stop_price": "150"}, INVALID, "stop limit orders require both stop and limit price"),
    ({"type": "stop_limit", "limit_price": "150"}, INVALID, "stop limit orders require both stop and limit price"),
    ({"limit_price": "100"}, INVALID, "market orders require no stop or limit price"),
    ({"stop_price": "100"}, INVALID, "market orders require no stop or limit price"),
    ({"type": "trailing_stop"}, INVALID, "trailing stop orders must specify one of trail_price or trail_percent"),
    (
        {"type": "trailing_stop", "trail_price": "1", "trail_percent": "1"},
        INVALID,
        "trailing stop orders must specify one of trail_price or trail_percent",
    ),
    ({"type": "trailing_stop", "trail_percent": "0.05"}, INVALID, "trail_percent must be >= 0.1"),
    ({"client_order_id": "x" * 129}, INVALID, "client_order_id must be no more than 128 characters"),
    ({"time_in_force": "gtd"}, INVALID, "invalid time_in_force"),
    ({"type": "iceberg"}, INVALID, "invalid order type"),
    (
        {"type": "stop", "stop_price": "150", "order_class": "bracket",
         "take_profit": {"limit_price": "160"}, "stop_loss": {"stop_price": "120"}},
        INVALID,
        "bracket orders must be market or limit orders",
    ),
    ({"symbol": "NOPE"}, RULE, 'asset "NOPE" not found'),
    ({"qty": "1.5", "time_in_force": "gtc"}, RULE, "fractional orders must be DAY orders"),
    ({"qty": "1.5", "order_class": "bracket", "take_profit": {"limit_price": "160"},
      "stop_loss": {"stop_price": "100"}}, RULE, "fractional orders must be simple orders"),
    ({"qty": "1.5", "side": "sell"}, RULE, "fractional orders cannot be sold short"),
    ({"extended_hours": True}, RULE, "extended hours order must be DAY or GTC limit orders"),
    (
        {"type": "limit", "limit_price": "100.123"},
        RULE,
        "invalid limit_price 100.123. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    (
        {"type": "stop", "stop_price": "150.001"},
        RULE,
        "invalid stop_price 150.001. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    (
        {"type": "limit", "limit_price": "0.12345"},
        RULE,
        "invalid limit_price 0.12345. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    (
        {"order_class": "bracket", "take_profit": {"limit_price": "160.001"}, "stop_loss": {"stop_price": "100"}},
        RULE,
        "invalid take_profit.limit_price 160.001. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    ({"type": "stop", "stop_price": "1"}, RULE, "stop price must be greater than current price"),
    ({"type": "stop", "side": "sell", "stop_price": "1000"}, RULE, "stop price must be less than current price"),
    (
        {"order_class": "bracket", "take_profit": {"limit_price": "90"}, "stop_loss": {"stop_price": "80"}},
        RULE,
        "take_profit.limit_price must be >= base_price + 0.01",
    ),
    (
        {"order_class": "bracket", "take_profit": {"limit_price": "160"}, "stop_loss": {"stop_price": "150"}},
        RULE,
        "stop_loss.stop_price must be <= base_price - 0.01",
    ),
    (
        {"type": "limit", "side": "sell", "order_class": "oco", "take_profit": {"limit_price": "160"},
         "stop_loss": {"stop_price": "100"}},
        RULE,
        "oco orders must be exit orders",
    ),
    ({"position_intent": "buy_to_close"}, RULE, "position intent mismatch, inferred: buy_to_open, specified: buy_to_close"),
    ({"time_in_force": "opg"}, DENIED, "opg orders must be submitted after 7:00pm and before 9:28am"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "kind", "message"), BODIES, ids=[f"{i}-{b[2][:40]}" for i, b in enumerate(BODIES)]
)
def test_an_order_against_a_rule_is_refused_with_its_row(
    shared_wire: Wire, changes: dict[str, Any], kind: tuple[int, int], message: str
) -> None:
    answer = shared_wire.order(**changes)
    assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (*kind, message)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"symbol": 1, "qty": 1, "side":"buy"}',
        b"\xff\xfe",
        b'{"qty": {}}',
    ],
)
def test_a_body_that_is_no_order_is_a_400(shared_wire: Wire, body: bytes) -> None:
    answer = shared_wire.session.post(shared_wire.base + "/v2/orders", data=body, headers=shared_wire.headers)
    if body == b'{"qty": {}}':
        assert answer.json() == {"code": 40010001, "message": "symbol is required"}
    else:
        assert (answer.status_code, answer.json()) == (
            400,
            {"code": 40010000, "message": "request body format is invalid"},
        )


def test_stop_refusals_say_where_the_market_is(shared_wire: Wire) -> None:
    body = shared_wire.order(type="stop", stop_price="1").json()
    assert body["stop_price"] == "1"
    assert Decimal(body["market_price"]) > 100


def test_leg_refusals_say_the_base_price(shared_wire: Wire) -> None:
    body = shared_wire.order(
        type="limit", limit_price="100", order_class="bracket", take_profit={"limit_price": "100"},
        stop_loss={"stop_price": "90"},
    ).json()  # fmt: skip
    assert body["base_price"] == "100"


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/v2/orders/00000000-0000-4000-8000-000000000000",
         "order not found for 00000000-0000-4000-8000-000000000000"),
        ("DELETE", "/v2/orders/00000000-0000-4000-8000-000000000000",
         "order not found for 00000000-0000-4000-8000-000000000000"),
        ("GET", "/v2/positions/AAPL", "position does not exist"),
        ("DELETE", "/v2/positions/AAPL", "position does not exist"),
        ("GET", "/v2/positions/NOPE", "symbol not found: NOPE"),
        ("GET", "/v2/assets/NOPE", "asset not found for NOPE"),
        ("GET", "/v2/nothing/here", "endpoint not found."),
        ("GET", "/v3/nothing", "endpoint not found."),
        ("PUT", "/v2/orders", "endpoint not found."),
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_404_with_its_code(
    shared_wire: Wire, method: str, path: str, message: str
) -> None:
    answer = shared_wire(method, path)
    assert (answer.status_code, answer.json()) == (404, {"code": 40410000, "message": message})


def test_a_malformed_order_id_is_called_missing(shared_wire: Wire) -> None:
    answer = shared_wire("GET", "/v2/orders/not-a-uuid")
    assert (answer.status_code, answer.json()) == (422, {"code": 40010001, "message": "order_id is missing"})


@pytest.mark.parametrize("headers", [{}, {"APCA-API-KEY-ID": "PKWRONG", "APCA-API-SECRET-KEY": "no"}])
def test_a_wrong_key_gets_a_401_without_a_code(shared_wire: Wire, headers: dict[str, str]) -> None:
    answer = shared_wire("GET", "/v2/account", headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"message": "unauthorized."})


def test_the_oauth_header_of_alpaca_py_is_understood(shared_wire: Wire) -> None:
    secret = shared_wire.headers["APCA-API-SECRET-KEY"]
    assert shared_wire("GET", "/v2/account", headers={"Authorization": f"Bearer {secret}"}).status_code == 200


def test_inactive_untradable_and_unborrowable_assets_are_refused(venue: RehearsalVenue, wire: Wire) -> None:
    assets = venue.server.exchange.assets
    assets["AMD"].active = False
    assets["BAC"].tradable = False
    assets["GE"].shortable = False
    for symbol, side, message in (
        ("AMD", "buy", "asset AMD is not active"),
        ("BAC", "buy", 'asset "BAC" is not tradable'),
        ("GE", "sell", 'asset "GE" cannot be sold short'),
    ):
        answer = wire.order(symbol=symbol, side=side)
        assert (answer.status_code, answer.json()) == (422, {"code": 42210000, "message": message})


def test_an_account_may_forbid_shorts_fractions_and_trading(wire: Wire) -> None:
    def configure(**changes: Any) -> None:
        assert wire("PATCH", "/v2/account/configurations", changes).json() | changes == wire.get(
            "/v2/account/configurations"
        )

    configure(no_shorting=True)
    answer = wire.order(side="sell")
    assert (answer.status_code, answer.json()["message"]) == (403, "account is not allowed to short")
    configure(fractional_trading=False)
    answer = wire.order(qty="0.5")
    assert (answer.status_code, answer.json()["message"]) == (403, "fractional trading is disabled")
    configure(suspend_trade=True)
    assert wire.order().status_code == 403
    assert wire.get("/v2/account")["trade_suspended_by_user"] is True
    configure(suspend_trade=False)
    assert wire.order().status_code == 200


def test_a_bad_configuration_value_changes_nothing(wire: Wire) -> None:
    before = wire.get("/v2/account/configurations")
    assert wire("PATCH", "/v2/account/configurations", {"suspend_trade": "yes"}).status_code == 422
    assert wire.get("/v2/account/configurations") == before


def test_buying_power_refusal_carries_both_figures(wire: Wire) -> None:
    answer = wire.order(type="limit", qty="2000", limit_price="120")
    body = answer.json()
    assert (answer.status_code, body["code"], body["message"]) == (*DENIED, "insufficient buying power")
    assert (body["buying_power"], body["cost_basis"]) == ("200000", "240000")


def test_a_market_buy_is_charged_the_collar(wire: Wire) -> None:
    ask = wire.price()
    qty = int(200_000 / (ask * Decimal("1.025"))) + 1
    assert ask * qty < 200_000
    assert wire.order(qty=str(qty)).json()["message"] == "insufficient buying power"
    assert wire.order(qty=str(qty - 1)).status_code == 200


def test_selling_more_than_is_free_names_what_holds_it(
    venue: RehearsalVenue, wire: Wire, listener: Listener
) -> None:
    wire.order(qty="5")
    wait_until(lambda: "fill" in listener.events(), "the fill")
    holding = wire.order(side="sell", qty="3", type="limit", limit_price="190").json()["id"]
    answer = wire.order(side="sell", qty="5")
    body = answer.json()
    assert (answer.status_code, body["code"]) == DENIED
    assert body["message"] == "insufficient qty available for order (requested: 5, available: 2)"
    assert (body["available"], body["existing_qty"], body["held_for_orders"], body["symbol"], body["related_orders"]) == (
        "2", "5", "3", "AAPL", [holding],
    )  # fmt: skip
    assert wire.get("/v2/positions/AAPL")["qty_available"] == "2"
    refused = wire("DELETE", "/v2/positions/AAPL")
    assert (refused.status_code, refused.json()["code"]) == DENIED


def test_an_entry_bracket_cannot_close_a_position(wire: Wire, listener: Listener) -> None:
    wire.order(qty="5")
    wait_until(lambda: "fill" in listener.events(), "the fill")
    answer = wire.order(side="sell", qty="5", order_class="bracket", take_profit={"limit_price": "90"},
                        stop_loss={"stop_price": "190"})  # fmt: skip
    assert answer.json() == {"code": 42210000, "message": "bracket orders must be entry orders"}


def test_cancelling_what_is_over_says_how_it_ended(wire: Wire, listener: Listener) -> None:
    filled = wire.order().json()["id"]
    wait_until(lambda: "fill" in listener.events(filled), "the fill")
    for _ in range(2):
        answer = wire("DELETE", f"/v2/orders/{filled}")
        assert (answer.status_code, answer.json()) == (
            422,
            {"code": 42210000, "message": 'order is already in "filled" state'},
        )
    resting = wire.order(type="limit", limit_price="50").json()["id"]
    assert wire("DELETE", f"/v2/orders/{resting}").status_code == 204
    answer = wire("DELETE", f"/v2/orders/{resting}")
    assert (answer.status_code, answer.json()["message"]) == (422, 'order is already in "canceled" state')


# --- the wash-trade matrix: existing order (rows) against a new one on the other side (columns) ----------------

LIMITLESS = "opposite side market/stop order exists"
LIMITED = "opposite side limit order exists. use complex/limit/stop_limit orders"
EXISTING = {
    "stop": {"type": "stop", "stop_price": "150"},
    "limit": {"type": "limit", "limit_price": "100"},
    "stop_limit": {"type": "stop_limit", "stop_price": "150", "limit_price": "151"},
}
NEW = {
    "market": {"type": "market"},
    "stop": {"type": "stop", "stop_price": "90"},
    "limit above": {"type": "limit", "limit_price": "199"},
    "limit below": {"type": "limit", "limit_price": "95"},
    "stop_limit above": {"type": "stop_limit", "stop_price": "110", "limit_price": "199"},
    "trailing_stop": {"type": "trailing_stop", "trail_price": "5"},
    "bracket": {"type": "market", "order_class": "bracket", "take_profit": {"limit_price": "90"},
                "stop_loss": {"stop_price": "190"}},
}  # fmt: skip
MATRIX = {
    ("stop", "market"): LIMITLESS, ("stop", "stop"): LIMITLESS, ("stop", "limit above"): LIMITLESS,
    ("stop", "limit below"): LIMITLESS, ("stop", "stop_limit above"): LIMITLESS, ("stop", "trailing_stop"): None,
    ("stop", "bracket"): None,
    ("limit", "market"): LIMITED, ("limit", "stop"): LIMITED, ("limit", "limit above"): None,
    ("limit", "limit below"): LIMITED, ("limit", "stop_limit above"): None, ("limit", "trailing_stop"): None,
    ("limit", "bracket"): None,
    ("stop_limit", "market"): LIMITED, ("stop_limit", "stop"): LIMITED, ("stop_limit", "limit above"): None,
    ("stop_limit", "limit below"): LIMITED, ("stop_limit", "stop_limit above"): None,
    ("stop_limit", "trailing_stop"): None, ("stop_limit", "bracket"): None,
}  # fmt: skip


@pytest.mark.parametrize(("existing", "new"), list(MATRIX))
def test_the_wash_trade_matrix(shared_wire: Wire, existing: str, new: str) -> None:
    shared_wire("DELETE", "/v2/orders")
    held = shared_wire.order(**EXISTING[existing])
    assert held.status_code == 200, held.text
    answer = shared_wire.order(side="sell", **NEW[new])
    reason = MATRIX[existing, new]
    if reason is None:
        assert answer.status_code == 200, answer.text
        return
    assert answer.status_code == 403
    assert answer.json() == {
        "code": 40310000,
        "message": "potential wash trade detected. use complex orders",
        "reject_reason": reason,
        "existing_order_id": held.json()["id"],
    }


def test_an_open_market_order_blocks_everything_simple_on_the_other_side(start_venue: Any) -> None:
    """While the market is shut a market order waits, and is there to collide with."""
    wire = Wire(start_venue(start="08:00"))
    held = wire.order()
    assert held.json()["status"] == "accepted"
    for changes in (
        {"type": "market"},
        {"type": "stop", "stop_price": "90"},
        {"type": "limit", "limit_price": "199"},
    ):
        assert wire.order(side="sell", **changes).json()["reject_reason"] == LIMITLESS
