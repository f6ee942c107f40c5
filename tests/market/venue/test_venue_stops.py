"""Halts, their auctions, the crosses of the day, and breakers: what stops a market and how it starts again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from venue_clients import Wire

from market.venue.breakers import HALT, market_stops
from market.venue.daily import DailyHistory, canonical
from market.venue.exchange import Exchange, Rules
from market.venue.halts import Halts
from market.venue.luld import price_limits
from market.venue.market_feed import MarketFeed
from market.venue.order_entry import parse_order
from market.venue.orders import Order
from market.venue.path import build_from_daily
from market.venue.rehearsal import RehearsalVenue
from market.venue.sessions import Session, session_on
from market.venue.set_aside import stop_orders, suspend_orders
from market.venue.stops import Stop, with_holes
from market.venue.tape import CLOSING, OPENING, REGULAR, REOPENING, SymbolTape, Tape
from market.venue.timestamps import MINUTE, SECOND

DAY = dt.date(2022, 12, 28)
BEFORE = dt.date(2022, 12, 27)
SESSION = session_on(DAY)
STEP = 5 * SECOND
POINTS = (SESSION.close - SESSION.open) // STEP


def at(minute: float, second: int = 0) -> int:
    return SESSION.open + int(minute * MINUTE) + second * SECOND


def planted(*moves: tuple[int, float], symbol: str = "AAA", start: float = 100.0) -> SymbolTape:
    """Stands at `start`, jumps to each price at its time; a quote a cent to each side and a print of 1,000 each 5 s."""
    times = SESSION.open + STEP * np.arange(POINTS, dtype=np.int64)
    price = np.full(POINTS, start)
    for when, level in moves:
        price[times >= when] = level
    ticks = np.rint(price * 10_000).astype(np.int64)
    shown, size, kind = np.full(POINTS, 5_000), np.full(POINTS, 1_000), np.full(POINTS, REGULAR)
    kind[0], kind[-1] = OPENING, CLOSING
    return SymbolTape(
        symbol, SESSION, 0, times, ticks - 100, ticks + 100, shown, shown, times, ticks, size, kind
    )


def exchange_on(
    *tapes: SymbolTape, rules: Rules | None = None, start: int | None = None, days: Any = ()
) -> Exchange:
    rows = [(tape.symbol, day, 100.0, 100.0, 100.0, 100.0, 1e6) for tape in tapes for day in (BEFORE,)]
    rows += [(tape.symbol, DAY, 100.0, 200.0, 1.0, 100.0, 1e7) for tape in tapes]
    rows += list(days)
    columns = ["symbol", "date", "open", "high", "low", "close", "volume"]
    frame = pl.DataFrame(rows, schema=columns, orient="row").unique(["symbol", "date"], keep="last")
    history = DailyHistory(canonical(frame, "a test"))
    by_name = {tape.symbol: tape for tape in tapes}

    def build(symbol: str, session: Session) -> SymbolTape | None:
        return by_name.get(symbol) if session.day == DAY else None

    return Exchange(Tape(history, build), start=at(1) if start is None else start, seed=3, cash=Decimal(10**8),
                    accounts=2, rules=rules)  # fmt: skip


def place(exchange: Exchange, account: int = 0, **fields: Any) -> Order:
    body = {"symbol": "AAA", "side": "buy", "type": "market", "time_in_force": "day", "qty": "10", **fields}
    order = exchange.submit(exchange.accounts[account], parse_order(body))
    exchange.advance(exchange.now)
    return order


def halt(exchange: Exchange, seconds: float, symbol: str = "AAA") -> None:
    Halts(exchange, MarketFeed(exchange, conflate=False)).halt(symbol, seconds, "T1", exchange.now)


# --- the hole in the tape ----------------------------------------------------------------------------------


@given(
    start=st.integers(1, POINTS - 200), length=st.integers(1, 150), moves=st.lists(
        st.tuples(st.integers(1, 380), st.integers(90, 110)), max_size=5)
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_a_hole_is_empty_and_its_volume_trades_when_it_ends(
    start: int, length: int, moves: list[tuple[int, int]]
) -> None:
    raw = planted(*((at(m), float(price)) for m, price in sorted(moves)))
    stop = Stop(SESSION.open + start * STEP, SESSION.open + (start + length) * STEP, "T1", price=1_000_000)
    tape = with_holes(raw, [stop])
    for times in (tape.quote_times, tape.trade_times):
        assert not ((times >= stop.start) & (times < stop.end)).any()
        assert (np.diff(times) >= 0).all()
    assert tape.size.sum() == raw.size.sum()
    number = tape.trades_until(stop.end - 1)
    trade = tape.trade(number)
    assert (trade.t, trade.kind, trade.price, trade.size) == (stop.end, REOPENING, 1_000_000, 1_000 * length)
    assert tape.quote(tape.quotes_until(stop.end) - 1).bid == raw.quote(raw.quotes_until(stop.end) - 1).bid
    outside = (raw.trade_times < stop.start) | (raw.trade_times >= stop.end)
    assert tape.price[tape.kind != REOPENING].tolist() == raw.price[outside].tolist()


def test_everybody_reads_the_same_hole(venue: RehearsalVenue, wire: Wire) -> None:
    venue.call(
        lambda: venue.server.control.perform(
            "POST", "/faults", {"kind": "halt", "symbol": "KO", "seconds": 180.0}
        )
    )
    venue.advance(600)
    query = {"start": "2022-12-28T15:00:01Z", "end": "2022-12-28T15:09:59Z", "limit": 10_000}
    trades = wire.get("/v2/stocks/KO/trades", **query)["trades"]
    during = [trade for trade in trades if trade["t"] < "2022-12-28T15:03:00"]
    assert during == []
    first = trades[0]
    assert first["t"] == "2022-12-28T15:03:00Z"
    bars = wire.get(
        "/v2/stocks/KO/bars", timeframe="1Min", start="2022-12-28T15:01:00Z", end="2022-12-28T15:05:00Z"
    )["bars"]
    assert [bar["t"][11:16] for bar in bars] == ["15:03", "15:04", "15:05"]
    assert bars[0]["v"] >= first["s"]
    assert bars[0]["o"] == first["p"]


# --- the auction that ends a halt ------------------------------------------------------------------------------


def test_resting_orders_take_part_in_the_reopening_auction_at_its_one_price() -> None:
    exchange = exchange_on(planted((at(12), 103.0)))
    exchange.advance(at(10))
    bid = place(exchange, type="limit", limit_price="99")
    halt(exchange, 300.0)
    exchange.advance(at(11))
    eager = place(exchange, 1, type="limit", limit_price="104", qty="50")
    market = place(exchange, qty="5")
    exchange.advance(at(14, 59))
    assert {bid.filled_qty, eager.filled_qty, market.filled_qty} == {0}
    assert (eager.status, market.status) == ("new", "new")
    exchange.advance(at(15))
    assert (eager.filled_avg_price, market.status) == (
        Decimal(103),
        "new",
    )  # beyond its collar of 2.5 % over the ask
    assert bid.status == "new"


def test_the_auction_gives_by_price_and_then_time_and_no_more_than_its_share() -> None:
    exchange = exchange_on(planted(), rules=Rules(participation=0.01))
    exchange.advance(at(10))
    halt(exchange, 60.0)  # eleven prints of 1,000 are withheld: 110 shares for us
    last = place(exchange, type="limit", limit_price="100", qty="60")
    first = place(exchange, 1, type="limit", limit_price="100.50", qty="70")
    second = place(exchange, type="limit", limit_price="100.20", qty="30")
    exchange.advance(at(11))
    assert (first.filled_qty, second.filled_qty, last.filled_qty) == (70, 30, 10)
    assert {o.filled_avg_price for o in (first, second, last)} == {Decimal(100)}


def test_orders_can_be_canceled_and_replaced_during_a_halt() -> None:
    from market.venue.order_entry import ReplaceSpec

    exchange = exchange_on(planted())
    order = place(exchange, type="limit", limit_price="99")
    halt(exchange, 600.0)
    new = exchange.replace(exchange.accounts[0], order, ReplaceSpec(limit_price=Decimal(98)))
    exchange.advance(exchange.now)
    assert (order.status, new.status) == ("replaced", "new")
    exchange.cancel(exchange.accounts[0], new)
    exchange.advance(exchange.now)
    assert new.status == "canceled"


def test_a_stop_order_is_elected_by_the_auction_and_not_by_what_the_halt_hid() -> None:
    exchange = exchange_on(planted((at(11), 104.0), (at(12), 100.0), (at(14), 101.0)))
    exchange.advance(at(10))
    hidden = place(exchange, type="stop", stop_price="103")
    reached = place(exchange, 1, type="stop", stop_price="101")
    halt(exchange, 300.0)
    exchange.advance(at(15))
    assert (hidden.triggered, reached.status) == (False, "filled")


def test_a_suspended_order_does_not_trade_until_it_is_taken_up() -> None:
    exchange = exchange_on(planted((at(12), 99.0), (at(20), 98.0)))
    exchange.advance(at(10))
    order = place(exchange, type="limit", limit_price="99.50")
    suspend_orders(exchange, 0, "AAA", at(15), exchange.now)
    exchange.advance(at(14, 59))
    assert (order.status, order.filled_qty) == ("suspended", 0)
    exchange.advance(at(15))
    assert (order.status, order.filled_avg_price) == ("filled", Decimal("99.01"))


def test_a_stopped_order_trades_at_its_price_or_better() -> None:
    exchange = exchange_on(planted((at(12), 101.0)))
    exchange.advance(at(10))
    dear = place(exchange, type="limit", limit_price="99.50")
    stop_orders(exchange, 0, "AAA", at(15), exchange.now)
    assert dear.status == "stopped"
    exchange.advance(at(15))
    assert (dear.status, dear.filled_avg_price) == ("filled", Decimal("99.50"))


def test_a_halt_that_outlasts_the_close_has_no_closing_cross() -> None:
    exchange = exchange_on(planted())
    order = place(exchange, time_in_force="cls")
    exchange.advance(at(380))
    halt(exchange, 3600.0)
    exchange.advance(SESSION.close)
    assert (order.status, order.filled_qty) == ("canceled", 0)


def test_a_pause_into_the_close_ends_with_the_closing_cross() -> None:
    raw = planted((at(384), 112.0))
    limits = price_limits(raw, 1_000_000, 1)
    tape = with_holes(raw, limits.stops)
    number = tape.print_of(CLOSING)
    assert tape.size[number] == raw.size[raw.trade_times >= limits.pauses[0][0]].sum()
    exchange = exchange_on(raw)
    order = place(exchange, time_in_force="cls")
    resting = place(exchange, 1, type="limit", limit_price="120", time_in_force="gtc", qty="1")
    assert resting.status == "filled"
    exchange.advance(SESSION.close)
    assert (order.status, order.filled_avg_price) == ("filled", Decimal(112))


def test_a_symbol_halted_at_the_open_opens_with_the_auction_that_ends_the_halt() -> None:
    exchange = exchange_on(planted((at(3), 102.0)), start=SESSION.open - 30 * MINUTE)
    order = place(exchange, time_in_force="opg")
    exchange.advance(SESSION.open - MINUTE)
    halt(exchange, 360.0)
    exchange.advance(at(4))
    assert order.status == "accepted_for_bidding"
    exchange.advance(at(5))
    assert (order.status, order.filled_avg_price) == ("filled", Decimal(102))


def test_a_second_halt_keeps_what_the_first_one_would_have_freed() -> None:
    exchange = exchange_on(planted())
    exchange.advance(at(10))
    halt(exchange, 120.0)
    exchange.advance(at(11))
    halt(exchange, 300.0)
    order = place(exchange)
    exchange.advance(at(13))
    assert (order.status, exchange.restrictions.stopped("AAA")) == ("new", True)
    exchange.advance(at(16))
    assert order.status == "filled"


# --- opening and closing ---------------------------------------------------------------------------------------


def test_the_crosses_share_their_volume_by_price_and_time_on_each_side() -> None:
    exchange = exchange_on(planted(), start=SESSION.open - 30 * MINUTE, rules=Rules(participation=0.1))
    late = place(exchange, type="limit", limit_price="100", time_in_force="opg", qty="60")
    first = place(exchange, 1, time_in_force="opg", qty="80")
    exchange.advance(at(0, 1))
    assert (first.status, late.status, late.filled_qty) == ("filled", "canceled", 20)
    closing = [place(exchange, n, time_in_force="cls", qty="80") for n in (0, 1)]
    exchange.advance(SESSION.close)
    assert [order.filled_qty for order in closing] == [80, 20]


def test_the_imbalance_is_told_before_each_auction_and_only_then() -> None:
    exchange = exchange_on(planted(), start=SESSION.open - 6 * MINUTE)
    assert exchange.imbalance("AAA") is None
    exchange.advance(SESSION.open - 4 * MINUTE)
    early = exchange.imbalance("AAA")
    exchange.advance(SESSION.open - SECOND)
    late = exchange.imbalance("AAA")
    assert early is not None
    assert late is not None
    assert (early.auction, early.t, early.reference) == ("opening", SESSION.open, 1_000_000)
    assert early.paired < late.paired <= 1_000
    assert abs(late.imbalance) <= abs(early.imbalance)
    exchange.advance(at(30))
    assert exchange.imbalance("AAA") is None
    halt(exchange, 300.0)
    exchange.advance(at(33))
    reopening = exchange.imbalance("AAA")
    assert reopening is not None
    assert (reopening.auction, reopening.t) == ("reopening", at(35))
    exchange.advance(SESSION.close - 11 * MINUTE)
    base = place(exchange, time_in_force="cls", qty="5000")
    assert exchange.imbalance("AAA") is None
    exchange.advance(SESSION.close - 1)
    closing = exchange.imbalance("AAA")
    assert closing is not None
    assert (closing.auction, closing.imbalance, closing.side) == ("closing", base.left, "B")
    exchange.advance(SESSION.close)
    assert exchange.imbalance("AAA") is None


# --- short sales -------------------------------------------------------------------------------------------------


def fallen_before(low: float) -> list[tuple[Any, ...]]:
    """A session before this one that touched `low`, after one that closed at 100."""
    return [("AAA", dt.date(2022, 12, 23), 100.0, 100.0, 100.0, 100.0, 1e6),
            ("AAA", BEFORE, 100.0, 100.0, low, 100.0, 1e6)]  # fmt: skip


@pytest.mark.parametrize(("low", "status"), [(90.0, "new"), (90.01, "filled")])
def test_a_fall_of_a_tenth_restricts_short_sales_through_the_next_session(low: float, status: str) -> None:
    exchange = exchange_on(planted(), days=fallen_before(low))
    assert place(exchange, side="sell").status == status


def test_a_restricted_short_sale_joins_an_auction_only_above_the_bid() -> None:
    exchange = exchange_on(planted((at(12), 101.0)), days=fallen_before(80.0))
    exchange.advance(at(10))
    halt(exchange, 300.0)
    order = place(exchange, side="sell", type="limit", limit_price="100.50")
    exchange.advance(at(15))
    assert (order.status, order.filled_avg_price) == ("filled", Decimal(101))  # the bid is 100.99
    closing = exchange_on(planted(), days=fallen_before(80.0))
    closing.tape.on("AAA", DAY).bid[-1] = 1_000_000  # type: ignore[union-attr]
    refused = place(closing, side="sell", time_in_force="cls")
    closing.advance(SESSION.close)
    assert refused.status == "canceled"


# --- the whole market --------------------------------------------------------------------------------------------


def market(*moves: tuple[int, float], names: int = 20) -> list[SymbolTape]:
    return [planted(*moves, symbol=f"S{n:02d}") for n in range(names)]


def stops_of(*moves: tuple[int, float]) -> list[tuple[str, int, int]]:
    return [(s.code, s.start, s.end) for s in market_stops([(planted(*moves), 1_000_000)], SESSION)]


def test_the_breakers_stop_the_market_at_seven_thirteen_and_twenty_percent() -> None:
    assert stops_of((at(30), 93.01)) == []
    assert stops_of((at(30), 93.0)) == [("MWC1", at(30), at(45))]
    assert stops_of((at(30), 93.0), (at(60), 87.0), (at(90), 80.0)) == [
        ("MWC1", at(30), at(45)), ("MWC2", at(60), at(75)), ("MWC3", at(90), SESSION.post_close),
    ]  # fmt: skip
    assert stops_of((at(30), 86.0)) == [("MWC2", at(30), at(45))]
    assert stops_of((at(30), 93.0), (at(40), 79.0)) == [
        ("MWC1", at(30), at(45)), ("MWC3", at(45), SESSION.post_close),
    ]  # fmt: skip
    assert stops_of((at(30), 93.0), (at(50), 99.0), (at(70), 92.0)) == [("MWC1", at(30), at(45))]


def test_the_first_two_levels_stop_nothing_in_the_last_thirty_five_minutes() -> None:
    late = SESSION.close - 35 * MINUTE
    assert stops_of((late, 86.0)) == []
    assert stops_of((late - STEP, 86.0)) == [("MWC2", late - STEP, late - STEP + HALT)]
    assert stops_of((late, 86.0), (late + MINUTE, 80.0)) == [("MWC3", late + MINUTE, SESSION.post_close)]


def test_a_falling_market_stops_every_name_and_each_reopens_in_its_own_auction() -> None:
    slow = tuple((at(10 * n), 100.0 - n) for n in range(1, 8))  # 7 % under at 70:00
    exchange = exchange_on(*market(*slow, names=19), planted(symbol="ODD"), rules=Rules(luld=False))
    assert exchange.restrictions.market_wide(DAY) == ()  # 19 of 20 names fell 7 %: the mean did not
    exchange = exchange_on(*market(*slow), rules=Rules(luld=False))
    exchange.advance(at(70))
    orders = [place(exchange, symbol=name, type="limit", limit_price="95") for name in ("S00", "S19")]
    told = exchange.restrictions.events(at(1), at(100), ["S00", "S19"])
    assert [(e.symbol, e.t, e.kind, e.code) for e in told] == [
        ("S00", at(70), "stopped", "MWC1"), ("S19", at(70), "stopped", "MWC1"),
        ("S00", at(85), "resumed", "MWC1"), ("S19", at(85), "resumed", "MWC1"),
    ]  # fmt: skip
    exchange.advance(at(84, 59))
    assert {order.status for order in orders} == {"new"}
    exchange.advance(at(85))
    assert {order.filled_avg_price for order in orders} == {Decimal(93)}


def test_a_market_of_few_names_has_breakers_only_by_its_index() -> None:
    fall = (at(30), 92.0)
    assert exchange_on(*market(fall, names=19)).restrictions.market_wide(DAY) == ()
    assert exchange_on(*market(fall, names=20)).restrictions.market_wide(DAY)
    assert exchange_on(planted(fall, symbol="SPY"), planted()).restrictions.market_wide(DAY)
    assert (
        exchange_on(planted(fall, symbol="SPY"), rules=Rules(breakers=False)).restrictions.market_wide(DAY)
        == ()
    )


# --- how little has to be looked at --------------------------------------------------------------------------------


@given(
    width=st.floats(0.01, 0.09), price=st.sampled_from([0.5, 2.0, 40.0, 300.0]), seed=st.integers(0, 50),
    tier=st.sampled_from([1, 2]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_what_the_daily_bar_calls_quiet_is_quiet(width: float, price: float, seed: int, tier: int) -> None:
    low, high = round(price * (1 - width / 2), 2), round(price * (1 + width / 2), 2)
    rows = [("AAA", BEFORE, price, price, price, price, 1e6), ("AAA", DAY, price, high, low, price, 1e6)]
    columns = ["symbol", "date", "open", "high", "low", "close", "volume"]
    history = DailyHistory(canonical(pl.DataFrame(rows, schema=columns, orient="row"), "a test"))
    tape = Tape(history, lambda s, session: build_from_daily(history, s, session, seed=seed), modelled=True)
    exchange = Exchange(tape, start=at(1), seed=seed, rules=Rules(luld_tier=tier))
    if exchange.restrictions._is_quiet("AAA", DAY):
        assert exchange.restrictions.of("AAA").limits.stops == ()


def test_asking_for_every_status_looks_at_no_quiet_tape(
    start_venue: Callable[..., RehearsalVenue], monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = start_venue(symbols=None)
    exchange = venue.server.exchange
    asked: list[str] = []
    find = exchange.restrictions.of
    monkeypatch.setattr(exchange.restrictions, "of", lambda symbol: asked.append(symbol) or find(symbol))
    told = venue.call(lambda: exchange.restrictions.events(0, SESSION.post_close, exchange.tape.symbols))
    assert len(asked) < len(exchange.tape.symbols) / 2
    assert {event.symbol for event in told} <= set(asked)
