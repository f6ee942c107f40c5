"""Order types and times in force through a day and over a night; statuses and bookings as they should follow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import CorporateActionsRequest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import CorporateActionType
from alpaca.trading.requests import (
    CreateWatchlistRequest,
    GetCorporateAnnouncementsRequest,
    UpdateWatchlistRequest,
)
from venue_clients import Listener, Wire, wait_until

from market.venue.exchange import Rules
from market.venue.orders import TERMINAL, TRANSITIONS, ForbiddenTransition, Order
from market.venue.rehearsal import RehearsalVenue
from market.venue.timestamps import parse_moment

OPEN, CLOSE = "2022-12-28T14:30:00Z", "2022-12-28T21:00:00Z"


def cents(value: Decimal) -> str:
    return str(value.quantize(Decimal("0.01")))


@pytest.mark.parametrize("before", sorted(TRANSITIONS))
@pytest.mark.parametrize("after", sorted(TRANSITIONS))
def test_the_state_table_is_the_only_way_from_status_to_status(before: str, after: str) -> None:
    order = Order("id", "cid", 0, 1, "asset", "X", "buy", "limit", "day", 1000)
    order.status = before
    if after in TRANSITIONS[before] or (after == before and before not in TERMINAL):
        order.move(after, 2000)
        assert (order.status, order.updated_at) == (after, 2000)
    else:
        with pytest.raises(ForbiddenTransition):
            order.move(after, 2000)


def test_a_stop_becomes_a_market_order_when_the_tape_touches_it(venue: RehearsalVenue, wire: Wire) -> None:
    wire.order(qty="10")
    stop = cents(wire.bid() - Decimal("0.05"))
    order = wire.order(side="sell", qty="10", type="stop", stop_price=stop).json()["id"]
    assert wire.get(f"/v2/orders/{order}")["status"] == "new"
    venue.advance(7200)
    shown = wire.get(f"/v2/orders/{order}")
    assert shown["status"] == "filled"
    assert Decimal(shown["filled_avg_price"]) <= Decimal(stop) + Decimal("0.02")


def test_a_trailing_stop_follows_the_high_and_shows_it(venue: RehearsalVenue, wire: Wire) -> None:
    wire.order(qty="10")
    placed = wire.order(side="sell", qty="10", type="trailing_stop", trail_price="0.60").json()
    assert Decimal(placed["hwm"]) - Decimal(placed["stop_price"]) == Decimal("0.60")
    venue.advance(60)
    seen = wire.get(f"/v2/orders/{placed['id']}")
    assert Decimal(seen["hwm"]) >= Decimal(placed["hwm"])
    assert Decimal(seen["hwm"]) - Decimal(seen["stop_price"]) == Decimal("0.60")
    patched = wire("PATCH", f"/v2/orders/{placed['id']}", {"trail": 0.5}).json()
    assert (patched["trail_price"], Decimal(patched["hwm"])) == ("0.5", Decimal(seen["hwm"]))
    venue.move_to("2022-12-28T20:59:00Z")
    assert wire.get(f"/v2/orders/{patched['id']}")["status"] == "filled"


def test_a_passive_order_waits_behind_the_shares_shown_before_it(venue: RehearsalVenue, wire: Wire) -> None:
    quote = wire.get("/v2/stocks/RRC/quotes/latest")["quote"]
    order = wire.order(symbol="RRC", qty="100", type="limit", limit_price=str(quote["bp"])).json()["id"]
    exchange = venue.server.exchange
    assert next(iter(exchange.books["RRC"].orders.values())).queue_ahead == quote["bs"]
    assert wire.get(f"/v2/orders/{order}")["filled_qty"] == "0"


def test_participation_caps_what_a_minute_gives(start_venue: Callable[..., RehearsalVenue]) -> None:
    venue = start_venue(cash=Decimal(10_000_000))
    wire = Wire(venue)
    exchange = venue.server.exchange
    order = wire.order(symbol="RRC", qty="200000").json()["id"]
    venue.advance(600)
    tape = exchange.tape.on("RRC", exchange.session.day)
    assert tape is not None
    by_minute: dict[str, Decimal] = {}
    rows: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while page := wire.get("/v2/account/activities/FILL", page_size=100, **token):
        rows += page
        token = {"page_token": page[-1]["id"]}
    for row in rows:
        key = row["transaction_time"][:16]
        by_minute[key] = by_minute.get(key, Decimal(0)) + Decimal(row["qty"])
    assert len(by_minute) >= 10
    for key, taken in by_minute.items():
        assert taken <= max(100, tape.minute_volume(parse_moment(key + ":00Z")) // 10)
    assert 0 < Decimal(wire.get(f"/v2/orders/{order}")["filled_qty"]) < 200_000


def test_the_paper_fill_model_takes_any_size_at_the_quote(start_venue: Callable[..., RehearsalVenue]) -> None:
    wire = Wire(start_venue(cash=Decimal(100_000_000), rules=Rules(fills="paper")))
    ask = wire.price("RRC")
    order = wire.order(symbol="RRC", qty="500000").json()["id"]
    shown = wire.get(f"/v2/orders/{order}")
    assert shown["filled_avg_price"] == str(ask)
    assert Decimal(shown["filled_qty"]) >= 50_000


def test_depth_can_be_walked_instead_of_waited_for(start_venue: Callable[..., RehearsalVenue]) -> None:
    wire = Wire(start_venue(cash=Decimal(10_000_000), rules=Rules(depth_levels=5, participation=1.0)))
    shown = wire.get("/v2/stocks/RRC/quotes/latest")["quote"]
    order = wire.order(symbol="RRC", qty=str(shown["as"] + 100)).json()["id"]
    filled = wire.get(f"/v2/orders/{order}")
    assert filled["status"] == "filled"
    assert Decimal(filled["filled_avg_price"]) > Decimal(str(shown["ap"]))


@pytest.mark.parametrize(("tif", "status"), [("ioc", "canceled"), ("fok", "canceled")])
def test_immediate_orders_do_not_wait(wire: Wire, tif: str, status: str) -> None:
    quote = wire.get("/v2/stocks/RRC/quotes/latest")["quote"]
    order = wire.order(symbol="RRC", qty=str(quote["as"] + 500), time_in_force=tif).json()["id"]
    shown = wire.get(f"/v2/orders/{order}")
    assert shown["status"] == status
    assert (shown["filled_qty"] == "0") == (tif == "fok")
    assert (shown["canceled_at"] is None) is False
    whole = wire.order(symbol="KO", qty="100", time_in_force=tif).json()["id"]
    assert wire.get(f"/v2/orders/{whole}")["status"] == "filled"


def test_opening_and_closing_orders_trade_at_the_crosses(start_venue: Callable[..., RehearsalVenue]) -> None:
    venue = start_venue(start="08:00")
    wire = Wire(venue)
    bar = venue.server.exchange.tape.history.on("AAPL", venue.server.exchange.session.day)
    assert bar is not None
    opg = wire.order(time_in_force="opg", qty="10").json()
    cls = wire.order(time_in_force="cls", qty="10").json()
    low = wire.order(time_in_force="opg", qty="1", type="limit", limit_price="50").json()
    assert {opg["status"], cls["status"]} == {"accepted"}
    venue.move_to("2022-12-28T14:31:00Z")
    shown = wire.get(f"/v2/orders/{opg['id']}")
    assert (shown["status"], Decimal(shown["filled_avg_price"])) == ("filled", Decimal(str(bar.open)))
    assert wire.get(f"/v2/orders/{low['id']}")["status"] == "canceled"
    assert wire.get(f"/v2/orders/{cls['id']}")["status"] == "new"
    venue.move_to("2022-12-28T20:55:00Z")
    late = wire.order(time_in_force="cls")
    assert (late.status_code, late.json()["message"]) == (
        403, "cls orders must be submitted after 7:00pm and before 3:55pm",
    )  # fmt: skip
    venue.move_to(CLOSE)
    shown = wire.get(f"/v2/orders/{cls['id']}")
    assert shown["status"] == "filled"
    assert Decimal(shown["filled_avg_price"]) == Decimal(str(bar.close)).quantize(Decimal("0.0001"))


def test_extended_hours_take_only_orders_that_ask_for_them(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    venue = start_venue(start="08:00")
    wire = Wire(venue)
    plain = wire.order(type="limit", limit_price="199").json()
    early = wire.order(type="limit", limit_price="199", extended_hours=True).json()
    assert (plain["status"], early["status"]) == ("accepted", "pending_new")
    assert wire.get(f"/v2/orders/{early['id']}")["status"] == "filled"
    assert wire.get(f"/v2/orders/{plain['id']}")["status"] == "accepted"
    venue.move_to("2022-12-28T14:30:05Z")
    assert wire.get(f"/v2/orders/{plain['id']}")["status"] == "filled"
    venue.move_to("2022-12-28T21:30:00Z")
    late = wire.order(type="limit", limit_price="1.00", extended_hours=True).json()["id"]
    venue.move_to("2022-12-29T01:00:00Z")
    assert wire.get(f"/v2/orders/{late}")["status"] == "expired"


def test_a_day_order_after_the_close_waits_for_the_next_session(
    tmp_path: Path, start_venue: Callable[..., RehearsalVenue]
) -> None:
    venue = start_venue(date=dt.date(2022, 12, 27), start="16:30")
    wire = Wire(venue)
    order = wire.order(qty="2").json()
    assert order["status"] == "accepted"
    venue.move_to("2022-12-28T14:31:00Z")
    assert wire.get(f"/v2/orders/{order['id']}")["status"] == "filled"
    assert venue.server.exchange.session.day.isoformat() == "2022-12-28"


def test_fractions_and_dollars_trade_to_nine_decimals(wire: Wire) -> None:
    part = wire.order(qty="0.123456789").json()["id"]
    assert wire.get(f"/v2/orders/{part}")["filled_qty"] == "0.123456789"
    dollars = wire.order(symbol="KO", qty=None, notional="100.55").json()
    assert (dollars["qty"], dollars["notional"]) == (None, "100.55")
    shown = wire.get(f"/v2/orders/{dollars['id']}")
    assert shown["status"] == "filled"
    spent = Decimal(shown["filled_qty"]) * Decimal(shown["filled_avg_price"])
    assert Decimal("100.54") < spent <= Decimal("100.55")
    assert shown["qty"] == shown["filled_qty"]


def test_a_short_sale_is_carried_with_negative_figures(wire: Wire, venue: RehearsalVenue) -> None:
    wire.order(side="sell", qty="10")
    row = wire.get("/v2/positions/AAPL")
    assert (row["qty"], row["side"]) == ("-10", "short")
    assert Decimal(row["market_value"]) < 0
    assert Decimal(row["cost_basis"]) < 0
    account = wire.get("/v2/account")
    assert Decimal(account["short_market_value"]) < 0
    equity = sum(Decimal(account[key]) for key in ("cash", "long_market_value", "short_market_value"))
    assert equity == Decimal(account["equity"])
    assert wire.get("/v2/account/activities/FILL")[0]["side"] == "sell_short"
    cover = wire("DELETE", "/v2/positions/AAPL", params={"percentage": "40"}).json()
    assert (cover["side"], cover["qty"], cover["type"]) == ("buy", "4", "market")
    assert wire("DELETE", "/v2/positions/AAPL", params={"qty": "1", "percentage": "1"}).status_code == 422


@pytest.fixture
def split_week(tmp_path: Path) -> Path:
    """Three sessions: a 4-for-1 split and a dividend on the second."""
    rows = [
        ("SPL", "2022-12-27", 100.0, 102.0, 99.0, 101.0, 5e6, 0.0, 1.0),
        ("SPL", "2022-12-28", 25.3, 26.0, 25.0, 25.5, 2e7, 0.0, 4.0),
        ("SPL", "2022-12-29", 25.5, 26.0, 25.0, 25.8, 2e7, 0.0, 1.0),
        ("DVD", "2022-12-27", 50.0, 51.0, 49.0, 50.5, 5e6, 0.0, 1.0),
        ("DVD", "2022-12-28", 50.0, 51.0, 49.0, 50.2, 5e6, 0.37, 1.0),
        ("DVD", "2022-12-29", 50.0, 51.0, 49.0, 50.2, 5e6, 0.0, 1.0),
    ]
    columns = ["symbol", "date", "open", "high", "low", "close", "volume", "dividend", "split"]
    path = tmp_path / "week.parquet"
    pl.DataFrame(rows, schema=columns, orient="row").with_columns(pl.col("date").str.to_date()).write_parquet(
        path
    )
    return path


def test_splits_and_dividends_are_booked_over_night(
    split_week: Path, start_venue: Callable[..., RehearsalVenue]
) -> None:
    venue = start_venue(data=split_week, date=dt.date(2022, 12, 27), start="15:00", symbols=None)
    wire = Wire(venue)
    wire.order(symbol="SPL", qty="10")
    wire.order(symbol="DVD", qty="100")
    resting = wire.order(symbol="SPL", qty="1", type="limit", limit_price="50", time_in_force="gtc").json()
    assert resting["expires_at"] is not None
    kept = wire.order(symbol="DVD", qty="1", type="limit", limit_price="10", time_in_force="gtc").json()["id"]
    venue.move_to("2022-12-27T21:05:00Z")
    evening = wire.get("/v2/account")
    venue.move_to("2022-12-28T14:00:00Z")
    morning = wire.get("/v2/account")
    assert morning["last_equity"] == evening["equity"]
    assert Decimal(morning["equity"]) == Decimal(evening["equity"]) + 37
    assert wire.get("/v2/positions/SPL")["qty"] == "40"
    assert wire.get("/v2/positions/SPL")["lastday_price"] == "25.25"
    rows = wire.get("/v2/account/activities", category="non_trade_activity")
    assert {row["activity_type"]: row["net_amount"] for row in rows}["DIV"] == "37"
    assert wire.get(f"/v2/orders/{resting['id']}")["status"] == "canceled"
    assert wire.get(f"/v2/orders/{kept}")["status"] == "done_for_day"
    venue.move_to("2022-12-28T15:00:00Z")
    assert wire.get(f"/v2/orders/{kept}")["status"] == "new"
    assert wire.get("/v2/stocks/SPL/bars", start="2022-12-27", end="2022-12-27", timeframe="1Day", adjustment="split")[
        "bars"
    ][0]["c"] == 25.25  # fmt: skip
    vendor = {"apiKey": venue.address["polygon_key"], "ticker": "SPL"}
    assert wire.get("/v3/reference/splits", **vendor)["results"][0]["split_to"] == 4
    actions = wire.get("/v1/corporate-actions", symbols="SPL,DVD", start="2022-12-20", end="2022-12-31")
    assert set(actions["corporate_actions"]) == {"forward_splits", "cash_dividends"}


def test_yesterday_knows_nothing_of_tomorrows_split(
    split_week: Path, start_venue: Callable[..., RehearsalVenue]
) -> None:
    wire = Wire(start_venue(data=split_week, date=dt.date(2022, 12, 27), start="15:00", symbols=None))
    bars = wire.get(
        "/v2/stocks/SPL/bars", start="2022-12-01", end="2023-01-31", timeframe="1Day", adjustment="all"
    )
    assert [(bar["o"], bar["t"][:10]) for bar in bars["bars"]] == [(100.0, "2022-12-27")]
    key = {"apiKey": wire.venue.address["polygon_key"], "ticker": "SPL"}
    assert wire.get("/v3/reference/splits", **key)["results"] == []


def test_corporate_actions_reach_alpaca_py_as_data_and_as_announcements(
    split_week: Path, start_venue: Callable[..., RehearsalVenue]
) -> None:
    venue = start_venue(data=split_week, date=dt.date(2022, 12, 28), start="15:00", symbols=None)
    pair, wire = venue.address, Wire(venue)
    client = CorporateActionsClient(pair["key_id"], pair["secret_key"], url_override=pair["data_rest_url"])
    found = client.get_corporate_actions(
        CorporateActionsRequest(symbols=["SPL", "DVD"], start=dt.date(2022, 12, 1), end=dt.date(2022, 12, 31))
    ).data
    assert (found["forward_splits"][0].new_rate, found["forward_splits"][0].old_rate) == (4, 1)
    assert (found["cash_dividends"][0].symbol, found["cash_dividends"][0].rate) == ("DVD", 0.37)
    trading = TradingClient(pair["key_id"], pair["secret_key"], url_override=pair["rest_url"])
    told = trading.get_corporate_announcements(
        GetCorporateAnnouncementsRequest(
            ca_types=[CorporateActionType.DIVIDEND, CorporateActionType.SPLIT],
            since=dt.date(2022, 12, 1),
            until=dt.date(2022, 12, 28),
        )
    )
    assert {(a.initiating_symbol, a.ca_sub_type.value, a.cash) for a in told} == {
        ("SPL", "stock_split", 0), ("DVD", "cash", 0.37),
    }  # fmt: skip
    assert trading.get_corporate_announcement_by_id(told[0].id).id == told[0].id
    # A page at a time, and by id; the two ways of asking exclude each other.
    first = wire.get("/v1/corporate-actions", start="2022-12-01", end="2022-12-31", limit=1)
    token = first["next_page_token"]
    second = wire.get(
        "/v1/corporate-actions", start="2022-12-01", end="2022-12-31", limit=1, page_token=token
    )
    assert second["next_page_token"] is None
    kinds = {*first["corporate_actions"], *second["corporate_actions"]}
    assert kinds == {"forward_splits", "cash_dividends"}
    name = str(found["cash_dividends"][0].id)
    assert wire.get("/v1/corporate-actions", ids=name)["corporate_actions"]["cash_dividends"][0]["id"] == name
    assert wire("GET", "/v1/corporate-actions", params={"ids": name, "symbols": "DVD"}).status_code == 400


def test_the_portfolio_history_is_numbers_and_grows_with_the_day(venue: RehearsalVenue, wire: Wire) -> None:
    wire.order(qty="100")
    venue.advance(1800)
    history = wire.get("/v2/account/portfolio/history", period="1D", timeframe="5Min")
    assert set(history) == {"timestamp", "equity", "profit_loss", "profit_loss_pct", "base_value", "base_value_asof",
                            "timeframe", "cashflow"}  # fmt: skip
    count = len(history["timestamp"])
    assert count == len(history["equity"]) == len(history["profit_loss"]) == 13
    assert all(isinstance(value, float) for value in history["equity"])
    assert history["equity"][-1] == pytest.approx(float(wire.get("/v2/account")["equity"]), abs=1)
    assert history["base_value"] == 100_000
    assert (
        wire(
            "GET",
            "/v2/account/portfolio/history",
            params={"period": "1M", "start": "2022-12-01", "end": "2022-12-02"},
        ).status_code
        == 422
    )
    assert wire("GET", "/v2/account/portfolio/history", params={"timeframe": "2Min"}).status_code == 422
    assert wire("GET", "/v2/account/portfolio/history", params={"period": "1Y"}).status_code == 422


def test_accounts_do_not_see_each_other(start_venue: Callable[..., RehearsalVenue]) -> None:
    venue = start_venue(accounts=3)
    one, two = Wire(venue, 0), Wire(venue, 1)
    listener = Listener(venue, 1)
    try:
        mine = one.order(client_order_id="same").json()["id"]
        theirs = two.order(client_order_id="same").json()["id"]
        assert one("GET", f"/v2/orders/{theirs}").status_code == 404
        assert [row["id"] for row in one.get("/v2/orders", status="all")] == [mine]
        wait_until(lambda: "fill" in listener.events(), "the second account's fill")
        assert {str(u.order.id) for u in listener.updates} == {theirs}
        assert one.get("/v2/account")["account_number"] != two.get("/v2/account")["account_number"]
    finally:
        listener.close()


def test_the_rate_limit_counts_down_in_its_headers_and_ends_in_429(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    wire = Wire(start_venue(rate_limit=3))
    answers = [wire("GET", "/v2/clock") for _ in range(4)]
    while len({a.headers["X-RateLimit-Reset"] for a in answers}) > 1:  # a minute has just turned
        answers = [wire("GET", "/v2/clock") for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0"]
    assert {a.headers["X-RateLimit-Limit"] for a in answers} == {"3"}
    assert answers[-1].json() == {"code": 42910000, "message": "rate limit exceeded"}


def test_orders_are_listed_by_every_filter(venue: RehearsalVenue, wire: Wire) -> None:
    ids = []
    for number in range(6):
        venue.advance(1)
        symbol, side = ("AAPL", "buy") if number % 2 else ("KO", "buy")
        ids.append(wire.order(symbol=symbol, side=side, type="limit", limit_price="10").json()["id"])
    wire("DELETE", f"/v2/orders/{ids[0]}")

    def listed(**query: Any) -> list[int]:
        return [ids.index(row["id"]) for row in wire.get("/v2/orders", **query)]

    assert listed() == [5, 4, 3, 2, 1]
    assert listed(status="all", direction="asc") == [0, 1, 2, 3, 4, 5]
    assert listed(status="closed") == [0]
    assert listed(limit=2) == [5, 4]
    assert listed(symbols="KO") == [4, 2]
    assert listed(side="sell") == []
    assert listed(status="all", before_order_id=ids[2]) == [1, 0]
    assert listed(after_order_id=ids[3]) == [5, 4]
    third = wire.get(f"/v2/orders/{ids[3]}")["submitted_at"]
    assert listed(until=third) == [2, 1]
    assert listed(after=third) == [5, 4]
    assert listed(asset_class="crypto") == []
    for bad in ({"status": "odd"}, {"limit": 501}, {"limit": "x"}, {"direction": "up"}, {"after": "then"}):
        assert wire("GET", "/v2/orders", params=bad).status_code == 422


def test_activities_page_both_ways_by_the_last_id(wire: Wire) -> None:
    for _ in range(7):
        wire.order()
    everything = [row["id"] for row in wire.get("/v2/account/activities")]
    assert len(everything) == 7
    for direction, expected in (("desc", everything), ("asc", everything[::-1])):
        seen: list[str] = []
        token: dict[str, str] = {}
        while page := wire.get("/v2/account/activities", page_size=3, direction=direction, **token):
            seen += [row["id"] for row in page]
            token = {"page_token": page[-1]["id"]}
        assert seen == expected
    assert wire("GET", "/v2/account/activities", params={"page_size": 101}).status_code == 422
    assert (
        wire(
            "GET", "/v2/account/activities", params={"category": "trade_activity", "activity_types": "FILL"}
        ).status_code
        == 422
    )
    assert len(wire.get("/v2/account/activities", date="2022-12-28")) == 7
    assert wire.get("/v2/account/activities", date="2022-12-27") == []


def test_the_calendar_has_early_closes_and_no_holidays(wire: Wire) -> None:
    days = {row["date"]: row for row in wire.get("/v2/calendar", start="2022-11-21", end="2022-11-28")}
    assert "2022-11-24" not in days
    assert days["2022-11-25"]["close"] == "13:00"
    assert days["2022-11-21"] == {"date": "2022-11-21", "open": "09:30", "close": "16:00", "session_open": "0400",
                                  "session_close": "2000", "settlement_date": "2022-11-23"}  # fmt: skip
    assert wire("GET", "/v2/calendar", params={"start": "tomorrow"}).status_code == 422


ORDER_KEYS = set(
    [
        "id",
        "client_order_id",
        "created_at",
        "updated_at",
        "submitted_at",
        "filled_at",
        "expired_at",
        "canceled_at",
        "failed_at",
        "replaced_at",
        "replaced_by",
        "replaces",
        "asset_id",
        "symbol",
        "asset_class",
        "notional",
        "qty",
        "filled_qty",
        "filled_avg_price",
        "order_class",
        "order_type",
        "type",
        "side",
        "time_in_force",
        "limit_price",
        "stop_price",
        "status",
        "extended_hours",
        "legs",
        "trail_percent",
        "trail_price",
        "hwm",
        "subtag",
        "source",
    ]
)
ACCOUNT_KEYS = set(
    [
        "id",
        "admin_configurations",
        "user_configurations",
        "account_number",
        "status",
        "crypto_status",
        "crypto_tier",
        "options_approved_level",
        "options_trading_level",
        "currency",
        "buying_power",
        "regt_buying_power",
        "effective_buying_power",
        "non_marginable_buying_power",
        "options_buying_power",
        "cash",
        "accrued_fees",
        "pending_transfer_in",
        "pending_transfer_out",
        "portfolio_value",
        "equity",
        "last_equity",
        "long_market_value",
        "short_market_value",
        "position_market_value",
        "initial_margin",
        "maintenance_margin",
        "last_maintenance_margin",
        "sma",
        "multiplier",
        "intraday_adjustments",
        "pending_reg_taf_fees",
        "balance_asof",
        "created_at",
        "trading_blocked",
        "transfers_blocked",
        "account_blocked",
        "trade_suspended_by_user",
        "shorting_enabled",
    ]
)
POSITION_KEYS = set(
    [
        "asset_id",
        "symbol",
        "exchange",
        "asset_class",
        "asset_marginable",
        "qty",
        "qty_available",
        "avg_entry_price",
        "side",
        "market_value",
        "cost_basis",
        "unrealized_pl",
        "unrealized_plpc",
        "unrealized_intraday_pl",
        "unrealized_intraday_plpc",
        "current_price",
        "lastday_price",
        "change_today",
    ]
)
ASSET_KEYS = set(
    [
        "id",
        "class",
        "exchange",
        "symbol",
        "name",
        "status",
        "tradable",
        "marginable",
        "shortable",
        "easy_to_borrow",
        "borrow_status",
        "fractionable",
        "maintenance_margin_requirement",
        "margin_requirement_long",
        "margin_requirement_short",
        "attributes",
        "cusip",
    ]
)


def test_every_object_has_exactly_its_keys_and_kinds(wire: Wire) -> None:
    order = wire.order(qty="1").json()
    assert set(order) == ORDER_KEYS
    assert order["order_class"] == ""
    assert order["legs"] is None
    assert order["notional"] is None
    assert order["type"] == order["order_type"] == "market"
    account = wire.get("/v2/account")
    assert set(account) == ACCOUNT_KEYS
    money = [k for k in ACCOUNT_KEYS if k.endswith(("power", "cash", "equity", "value", "margin", "fees"))]
    assert all(isinstance(account[key], str) for key in money)
    assert all(isinstance(account[key], bool) for key in account if key.endswith("blocked"))
    position = wire.get("/v2/positions/AAPL")
    assert set(position) == POSITION_KEYS
    assert all(isinstance(v, str) for k, v in position.items() if k != "asset_marginable")
    asset = wire.get("/v2/assets/AAPL")
    assert set(asset) == ASSET_KEYS
    assert wire.get(f"/v2/assets/{asset['id']}") == asset
    clock = wire.get("/v2/clock")
    assert set(clock) == {"timestamp", "is_open", "next_open", "next_close"}
    assert clock["timestamp"].endswith("-05:00")
    fill = wire.get("/v2/account/activities/FILL")[0]
    assert set(fill) == set(
        [
            "activity_type",
            "id",
            "cum_qty",
            "leaves_qty",
            "order_id",
            "order_status",
            "price",
            "qty",
            "side",
            "symbol",
            "transaction_time",
            "type",
        ]
    )
    # The id begins with New York time, though the row itself is in UTC.
    assert fill["id"].startswith("20221228100000")
    assert fill["transaction_time"].startswith("2022-12-28T15:00:00")
    assert set(wire.get("/v2/account/configurations")) == set(
        [
            "fractional_trading",
            "max_margin_multiplier",
            "max_options_trading_level",
            "no_shorting",
            "ptp_no_exception_entry",
            "suspend_trade",
            "trade_confirm_email",
            "disable_overnight_trading",
        ]
    )


def test_watchlists_through_alpaca_py(trading: TradingClient, wire: Wire) -> None:
    made = trading.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["AAPL", "KO"]))
    assert [asset.symbol for asset in made.assets] == ["AAPL", "KO"]
    assert [one.name for one in trading.get_watchlists()] == ["mine"]
    assert len(trading.add_asset_to_watchlist_by_id(made.id, "GE").assets) == 3
    assert len(trading.remove_asset_from_watchlist_by_id(made.id, "KO").assets) == 2
    assert trading.update_watchlist_by_id(made.id, UpdateWatchlistRequest(name="yours")).name == "yours"
    assert wire.get("/v2/watchlists:by_name", name="yours")["id"] == str(made.id)
    assert wire("POST", "/v2/watchlists", {"name": "yours"}).status_code == 422
    assert wire("POST", "/v2/watchlists", {"name": "odd", "symbols": ["NOPE"]}).status_code == 422
    trading.delete_watchlist_by_id(made.id)
    assert wire("GET", f"/v2/watchlists/{made.id}").status_code == 404


def test_the_newer_clock_names_the_phase(venue: RehearsalVenue, wire: Wire) -> None:
    assert wire.get("/v3/clock")["clocks"][0]["phase"] == "core"
    venue.move_to("2022-12-28T22:00:00Z")
    assert wire.get("/v3/clock")["clocks"][0]["phase"] == "post"


def test_after_the_last_day_of_the_data_orders_wait_and_nothing_breaks(
    venue: RehearsalVenue, wire: Wire
) -> None:
    """The tape has ended: the last close stands, orders are taken and expire."""
    wire.order(qty="2")
    venue.move_to("2022-12-29T15:00:00Z")
    assert wire.get("/v2/clock")["is_open"] is True
    close = venue.server.exchange.tape.history.on("AAPL", dt.date(2022, 12, 28)).close
    assert Decimal(wire.get("/v2/positions/AAPL")["current_price"]) == round(Decimal(str(close)), 4)
    kinds = [
        {"type": "market"}, {"type": "limit", "limit_price": "500"}, {"type": "stop", "stop_price": "500"},
        {"type": "trailing_stop", "trail_percent": "1", "side": "sell"}, {"time_in_force": "cls"},
        {"time_in_force": "ioc"}, {"symbol": "KO", "qty": None, "notional": "50"},
    ]  # fmt: skip
    ids = [wire.order(**kind).json()["id"] for kind in kinds]
    assert wire.get("/v2/stocks/AAPL/quotes/latest")["quote"]["t"] < "2022-12-29T01"
    assert wire.get("/v2/stocks/AAPL/snapshot")["dailyBar"]["t"].startswith("2022-12-28")
    venue.move_to("2022-12-30T15:00:00Z")
    assert {wire.get(f"/v2/orders/{one}")["status"] for one in ids} == {"expired", "canceled"}
    assert wire.get("/v2/account")["buying_power"] != "0"
