"""Orders, positions and bookings through the unmodified alpaca-py."""

from __future__ import annotations

from decimal import Decimal

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import GetOrdersRequest, LimitOrderRequest, MarketOrderRequest
from venue_clients import Listener, Wire, wait_until

from market.venue.rehearsal import RehearsalVenue


def market(symbol: str, qty: float, side: OrderSide = OrderSide.BUY, **more: object) -> MarketOrderRequest:
    return MarketOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=TimeInForce.DAY, **more)


def limit(
    symbol: str, qty: float, price: Decimal, side: OrderSide = OrderSide.BUY, **more: object
) -> LimitOrderRequest:
    return LimitOrderRequest(
        symbol=symbol, qty=qty, side=side, time_in_force=TimeInForce.DAY, limit_price=float(price), **more
    )


def test_a_new_account_has_its_cash_and_twice_that_to_spend(trading: TradingClient) -> None:
    account = trading.get_account()
    assert account.cash == account.equity == account.portfolio_value == "100000"
    assert account.buying_power == "200000"
    assert account.multiplier == "2"


def test_a_market_order_is_answered_pending_and_then_told_as_new_and_filled(
    trading: TradingClient, listener: Listener, wire: Wire
) -> None:
    ask = wire.price()
    order = trading.submit_order(market("AAPL", 10))
    assert order.status == OrderStatus.PENDING_NEW
    wait_until(lambda: "fill" in listener.events(order.id), "the fill")
    assert listener.events(order.id) == ["pending_new", "new", "fill"]
    fill = listener.updates[-1]
    assert (Decimal(str(fill.qty)), Decimal(str(fill.price)), Decimal(str(fill.position_qty))) == (
        10,
        ask,
        10,
    )
    assert fill.order.filled_avg_price == str(ask)
    position = trading.get_open_position("AAPL")
    assert (position.qty, Decimal(position.cost_basis)) == ("10", ask * 10)
    assert Decimal(trading.get_account().cash) == 100_000 - ask * 10


def test_an_order_beyond_the_displayed_size_fills_in_parts(
    trading: TradingClient, listener: Listener, venue: RehearsalVenue, wire: Wire
) -> None:
    shown = wire.get("/v2/stocks/RRC/quotes/latest")["quote"]["as"]
    order = trading.submit_order(market("RRC", shown + 150))
    wait_until(lambda: "partial_fill" in listener.events(order.id), "the first part")
    first = next(u for u in listener.updates if u.event == "partial_fill")
    assert first.qty <= shown
    venue.advance(120)
    wait_until(lambda: "fill" in listener.events(order.id), "the last part")
    parts = [u for u in listener.updates if u.event in ("partial_fill", "fill")]
    assert sum(Decimal(str(u.qty)) for u in parts) == shown + 150
    assert [Decimal(u.order.filled_qty) for u in parts] == sorted(Decimal(u.order.filled_qty) for u in parts)


def test_a_resting_limit_order_waits_and_is_cancelled(
    trading: TradingClient, listener: Listener, wire: Wire
) -> None:
    order = trading.submit_order(limit("AAPL", 5, (wire.price() / 2).quantize(Decimal("0.01"))))
    wait_until(lambda: "new" in listener.events(order.id), "the acknowledgement")
    assert [o.id for o in trading.get_orders()] == [order.id]
    trading.cancel_order_by_id(order.id)
    wait_until(lambda: "canceled" in listener.events(order.id), "the cancel")
    assert trading.get_order_by_id(order.id).status == OrderStatus.CANCELED
    assert trading.get_orders() == []
    closed = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED))
    assert [o.id for o in closed] == [order.id]


def test_cancelling_all_answers_one_row_an_order(trading: TradingClient, wire: Wire) -> None:
    half = (wire.price() / 2).quantize(Decimal("0.01"))
    ids = {trading.submit_order(limit("AAPL", n, half)).id for n in (1, 2, 3)}
    answers = trading.cancel_orders()
    assert {answer.id for answer in answers} == ids
    assert {answer.status for answer in answers} == {200}


def test_the_same_client_order_id_is_refused_for_ever(trading: TradingClient, wire: Wire) -> None:
    half = (wire.price() / 2).quantize(Decimal("0.01"))
    order = trading.submit_order(limit("AAPL", 1, half, client_order_id="a b/é"))
    trading.cancel_order_by_id(order.id)
    with pytest.raises(APIError) as refused:
        trading.submit_order(limit("AAPL", 1, half, client_order_id="a b/é"))
    assert (refused.value.status_code, refused.value.code) == (422, 40010001)
    assert refused.value.message == "client_order_id must be unique"
    assert trading.get_order_by_client_id("a b/é").id == order.id


def test_more_than_the_buying_power_is_refused_with_both_figures(trading: TradingClient, wire: Wire) -> None:
    price = wire.price()
    with pytest.raises(APIError) as refused:
        trading.submit_order(limit("AAPL", int(200_000 / price) + 1, price))
    assert (refused.value.status_code, refused.value.code) == (403, 40310000)
    assert refused.value.message == "insufficient buying power"


def test_positions_close_one_by_one_and_all_together(
    trading: TradingClient, listener: Listener, venue: RehearsalVenue
) -> None:
    for symbol in ("AAPL", "KO"):
        trading.submit_order(market(symbol, 4))
    wait_until(lambda: listener.events().count("fill") == 2, "both fills")
    trading.close_position("KO")
    wait_until(lambda: listener.events().count("fill") == 3, "the close")
    assert [p.symbol for p in trading.get_all_positions()] == ["AAPL"]
    answers = trading.close_all_positions(cancel_orders=True)
    assert [a.status for a in answers] == [200]
    wait_until(lambda: trading.get_all_positions() == [], "no position")


def test_day_orders_expire_at_the_bell_and_fees_follow_within_a_minute(
    trading: TradingClient, listener: Listener, venue: RehearsalVenue, wire: Wire
) -> None:
    trading.submit_order(market("AAPL", 20))
    wait_until(lambda: "fill" in listener.events(), "the buy")
    trading.submit_order(market("AAPL", 20, OrderSide.SELL))
    resting = trading.submit_order(limit("KO", 1, Decimal("1.00")))
    wait_until(lambda: listener.events().count("fill") == 2, "both fills")
    before = Decimal(trading.get_account().cash)
    venue.move_to("2022-12-28T21:00:00Z")
    assert trading.get_order_by_id(resting.id).status == OrderStatus.EXPIRED
    assert not trading.get_clock().is_open
    venue.advance(60)
    rows = trading.get("/account/activities", {"activity_types": "FEE"})
    # 2022-12-28: SEC 22.90 USD a million, TAF 0.000130 a share sold, each rounded up to the cent; no CAT yet.
    assert {row["activity_sub_type"]: row["net_amount"] for row in rows} == {"REG": "-0.06", "TAF": "-0.01"}
    assert Decimal(trading.get_account().cash) == before - Decimal("0.07")
    fills = trading.get("/account/activities/FILL")
    assert sorted(row["side"] for row in fills) == ["buy", "sell"]
