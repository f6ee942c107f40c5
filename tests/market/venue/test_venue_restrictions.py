"""Price bands, trading pauses and restricted short sales: on tapes whose every quote and print is planted."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from venue_clients import Wire, wait_until

from market.venue.command import read_rules
from market.venue.daily import DailyHistory, canonical
from market.venue.errors import VenueError
from market.venue.exchange import Exchange, Rules
from market.venue.halts import special_of
from market.venue.luld import ANY_PRICE, LIMIT_STATE, PAUSE, bands_around, price_limits
from market.venue.market_feed import MarketFeed
from market.venue.order_entry import parse_order
from market.venue.orders import Order
from market.venue.refusals import Refusal
from market.venue.rehearsal import RehearsalVenue
from market.venue.replay import read_lines, replay
from market.venue.sessions import Session, session_on
from market.venue.tape import OPENING, REGULAR, SymbolTape, Tape
from market.venue.timestamps import MINUTE, SECOND, rfc3339

DAY = dt.date(2022, 12, 28)
SESSION = session_on(DAY)
STEP = 5 * SECOND
POINTS = (SESSION.close - SESSION.open) // STEP


def at(minute: float, second: int = 0) -> int:
    """So many minutes and seconds after the open."""
    return SESSION.open + int(minute * MINUTE) + second * SECOND


def planted(*moves: tuple[int, float], start: float = 100.0, spread: float = 0.02) -> SymbolTape:
    """A tape that stands at `start` and jumps to each price at its time; prints at the middle, a point each 5 s."""
    times = SESSION.open + STEP * np.arange(POINTS, dtype=np.int64)
    price = np.full(POINTS, start)
    for when, level in moves:
        price[times >= when] = level
    ticks = np.rint(price * 10_000).astype(np.int64)
    half = round(spread * 5_000)
    size = np.full(POINTS, 5_000)
    kind = np.full(POINTS, REGULAR)
    kind[0] = OPENING
    return SymbolTape(
        "AAA", SESSION, 0, times, ticks - half, ticks + half, size, size, times, ticks, size, kind
    )


def exchange_on(
    tape: SymbolTape, rules: Rules | None = None, *, start: int | None = None, close: float = 100.0
) -> Exchange:
    """An exchange on one planted tape; the previous close is `close`."""
    rows = [("AAA", dt.date(2022, 12, 27), close, close, close, close, 1e6),
            ("AAA", DAY, 100.0, 200.0, 1.0, 100.0, 1e7)]  # fmt: skip
    columns = ["symbol", "date", "open", "high", "low", "close", "volume"]
    history = DailyHistory(canonical(pl.DataFrame(rows, schema=columns, orient="row"), "a test"))

    def build(symbol: str, session: Session) -> SymbolTape | None:
        return tape if session.day == DAY else None

    begins = at(1) if start is None else start
    return Exchange(Tape(history, build), start=begins, seed=3, cash=Decimal(1_000_000), rules=rules)


def place(exchange: Exchange, **fields: Any) -> Order:
    body = {"symbol": "AAA", "side": "buy", "type": "market", "time_in_force": "day", "qty": "10", **fields}
    order = exchange.submit(exchange.accounts[0], parse_order(body))
    exchange.advance(exchange.now)
    return order


# --- the bands and pauses themselves ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("close", "tier", "lower", "upper"),
    [(100.0, 1, 95.0, 105.0), (100.0, 2, 90.0, 110.0), (3.0, 1, 2.4, 3.6), (0.75, 1, 0.60, 0.90),
     (0.70, 1, 0.55, 0.85), (0.10, 1, 0.02, 0.18)],
)  # fmt: skip
def test_bands_follow_tier_and_price(close: float, tier: int, lower: float, upper: float) -> None:
    reference = np.array([close * 10_000])
    low, high = bands_around(reference, int(close * 10_000), tier, np.array([False]))
    assert low[0] / 10_000 == pytest.approx(lower, abs=0.006)
    assert high[0] / 10_000 == pytest.approx(upper, abs=0.006)
    assert low[0] % 100 == high[0] % 100 == 0


def test_the_reference_is_the_opening_price_and_then_the_mean_of_five_minutes() -> None:
    limits = price_limits(planted((at(2), 104.0)), 1_000_000, 1)
    assert limits.at(at(4, 59)) == (950_000, 1_050_000)
    prints = [100.0] * 23 + [104.0] * 37  # the sixty newest at 5:00: after 0:00, up to 5:00
    mean = sum(prints) / 60
    assert limits.at(at(5)) == (round(mean * 95) * 100, round(mean * 105) * 100)
    mean = (100.0 * 5 + 104.0 * 55) / 60  # at 6:30 it has moved by another hundredth
    assert limits.at(at(6, 30)) == limits.at(at(200)) == (round(mean * 95) * 100, round(mean * 105) * 100)


def test_the_reference_is_renewed_only_when_it_has_moved_by_a_hundredth() -> None:
    limits = price_limits(planted((at(2), 102.0)), 1_000_000, 1)
    mean = (
        100.0 * 23 + 102.0 * 37
    ) / 60  # 101.23: the first one a hundredth away; 102 is less than that from it
    assert limits.at(at(5)) == limits.at(at(200)) == (round(mean * 95) * 100, round(mean * 105) * 100)
    assert price_limits(planted((at(2), 100.99)), 1_000_000, 1).at(at(200)) == (950_000, 1_050_000)


def test_bands_are_doubled_in_the_last_twenty_five_minutes_and_end_with_the_session() -> None:
    limits = price_limits(planted(), 1_000_000, 1)
    assert limits.at(SESSION.close - 25 * MINUTE - 1) == (950_000, 1_050_000)
    assert limits.at(SESSION.close - 25 * MINUTE) == (900_000, 1_100_000)
    assert limits.at(SESSION.close) == limits.at(SESSION.open - 1) == ANY_PRICE


def test_the_best_quote_at_a_band_for_fifteen_seconds_pauses_for_five_minutes() -> None:
    for price in (104.99 + 0.02, 95.01 - 0.02):  # the near side stands exactly at the band
        limits = price_limits(planted((at(10, 5), price)), 1_000_000, 1)
        assert limits.pauses == ((at(10, 20), at(15, 20)),)


def test_just_inside_the_band_does_not_pause() -> None:
    for price in (105.0, 95.0):  # the near side is a cent inside, the print at the band
        assert price_limits(planted((at(10, 5), price)), 1_000_000, 1).pauses == ()


def test_less_than_fifteen_seconds_at_the_band_does_not_pause() -> None:
    assert price_limits(planted((at(10), 106.0), (at(10, 10), 100.0)), 1_000_000, 1).pauses == ()
    assert price_limits(planted((at(10), 106.0), (at(10, 15), 100.0)), 1_000_000, 1).pauses


def test_what_pauses_at_noon_does_not_near_the_close() -> None:
    near = SESSION.close - 20 * MINUTE
    assert price_limits(planted((near, 106.0)), 1_000_000, 1).pauses == ()
    assert price_limits(planted((near, 111.0)), 1_000_000, 1).pauses == (
        (near + LIMIT_STATE, near + LIMIT_STATE + PAUSE),
    )


def test_a_pause_ends_with_the_session() -> None:
    late = SESSION.close - 2 * MINUTE
    assert price_limits(planted((late, 120.0)), 1_000_000, 1).pauses == ((late + LIMIT_STATE, SESSION.close),)


def test_after_a_pause_the_price_of_its_auction_is_the_new_opening_price() -> None:
    limits = price_limits(planted((at(10), 106.0), (at(13), 108.0)), 1_000_000, 1)
    assert limits.at(at(15, 14)) == (950_000, 1_050_000)
    assert limits.at(at(15, 15)) == (1_026_000, 1_134_000)
    assert [(stop.code, stop.price) for stop in limits.stops] == [("LUDP", 1_080_000)]


@pytest.mark.parametrize(
    ("price", "minutes"),
    [(110.25, 5), (110.30, 10), (115.50, 10), (120.75, 15), (95.0, 5), (94.99, 10), (89.0, 15)],
)
def test_a_pause_is_extended_until_its_auction_price_lies_within_the_collar(
    price: float, minutes: int
) -> None:
    """Limit up at 105: the collar is 95 to 110.25, and grows by 5.25 above or 4.75 below with each five minutes."""
    limits = price_limits(planted((at(10), 106.0), (at(11), price)), 1_000_000, 1)
    assert limits.pauses[0] == (at(10, 15), at(10 + minutes, 15))
    assert limits.stops[0].price == round(price * 10_000)


def test_a_limit_down_widens_its_collar_below() -> None:
    for price, minutes in ((90.26, 5), (90.24, 10), (104.9, 5), (105.1, 10)):
        limits = price_limits(planted((at(10), 94.0), (at(11), price)), 1_000_000, 1)
        assert limits.pauses[0] == (at(10, 15), at(10 + minutes, 15)), price


def test_a_pause_that_would_end_in_the_last_ten_minutes_ends_with_the_closing_cross() -> None:
    late = SESSION.close - 16 * MINUTE
    limits = price_limits(planted((late, 120.0)), 1_000_000, 1)
    assert limits.stops[0].closing
    assert limits.pauses == ((late + LIMIT_STATE, SESSION.close),)
    earlier = price_limits(planted((late - MINUTE, 111.0)), 1_000_000, 1)
    assert earlier.pauses[0][1] == late - MINUTE + LIMIT_STATE + PAUSE


def test_a_straddle_state_is_seen_and_pauses_only_where_the_listing_exchange_would() -> None:
    tape = planted()
    tape.ask[(at(10) - SESSION.open) // STEP : (at(12) - SESSION.open) // STEP] = 1_050_100
    limits = price_limits(tape, 1_000_000, 1)
    assert (limits.pauses, limits.straddles) == ((), ((at(10), at(12)),))
    assert limits.straddling(at(11))
    assert not limits.straddling(at(12))
    pausing = price_limits(tape, 1_000_000, 1, straddle_pause=30 * SECOND)
    assert [(stop.start, stop.end, stop.code) for stop in pausing.stops] == [(at(10, 30), at(15, 30), "LUDS")]
    assert price_limits(tape, 1_000_000, 1, straddle_pause=121 * SECOND).stops == ()


def test_tier_two_names_keep_their_bands_at_the_close_since_2020() -> None:
    assert price_limits(planted(), 1_000_000, 2).at(SESSION.close - 1) == (900_000, 1_100_000)
    assert price_limits(planted(start=2.0), 20_000, 2).at(SESSION.close - 1) == (12_000, 28_000)


@given(
    moves=st.lists(st.tuples(st.integers(1, 380), st.floats(60, 160)), max_size=6),
    minute=st.integers(0, 389),
)
@settings(max_examples=60, deadline=None)
def test_bands_and_pauses_know_nothing_of_what_comes_later(
    moves: list[tuple[int, float]], minute: int
) -> None:
    """Whatever happens after an instant, the bands at it and the pause it lies in are the same."""
    steps = sorted((at(m), round(price, 2)) for m, price in moves)
    now = at(minute, 3)
    whole = price_limits(planted(*steps), 1_000_000, 1)
    so_far = price_limits(planted(*(move for move in steps if move[0] <= now)), 1_000_000, 1)
    assert whole.at(now) == so_far.at(now)
    assert whole.paused(now) == so_far.paused(now)


# --- what they do to orders --------------------------------------------------------------------------------


def test_orders_wait_through_a_pause_and_trade_when_it_ends() -> None:
    exchange = exchange_on(planted((at(10), 106.0)))
    exchange.advance(at(10, 20))
    order = place(exchange)
    stop = place(exchange, type="stop", stop_price="107", time_in_force="gtc")
    exchange.advance(at(15, 14))
    assert (order.status, stop.status, order.filled_qty) == ("new", "new", 0)
    assert exchange.restrictions.paused() == ["AAA"]
    exchange.advance(at(15, 15))
    assert order.status == "filled"
    assert order.filled_avg_price == Decimal("106")  # the auction's price: nobody pays the offer there
    assert exchange.restrictions.paused() == []


def test_a_pause_elects_no_stop() -> None:
    exchange = exchange_on(planted((at(10), 106.0), (at(12), 109.0), (at(14), 106.0)))
    stop = place(exchange, type="stop", stop_price="108")
    exchange.advance(at(20))
    assert not stop.triggered


def test_nothing_executes_outside_the_bands_before_the_pause() -> None:
    exchange = exchange_on(planted((at(10), 106.0)))
    exchange.advance(at(10))
    buy, limit = place(exchange), place(exchange, type="limit", limit_price="107")
    fok = place(exchange, type="limit", limit_price="107", time_in_force="fok")
    exchange.advance(at(10, 14))
    assert (buy.status, limit.status, fok.status) == ("new", "new", "canceled")


def test_an_order_beyond_a_band_trades_once_the_market_is_back_inside() -> None:
    exchange = exchange_on(planted((at(10), 106.0), (at(10, 10), 104.0)))
    exchange.advance(at(10))
    order = place(exchange, type="limit", limit_price="107")
    exchange.advance(at(10, 10))
    assert (order.status, order.filled_avg_price) == ("filled", Decimal("104.01"))


def test_a_print_outside_the_bands_fills_nobody() -> None:
    tape = planted((at(10), 107.0), (at(10, 10), 100.0))
    tape.price[(at(10, 5) - SESSION.open) // STEP] = 1_060_000
    exchange = exchange_on(tape)
    exchange.advance(at(10))
    order = place(exchange, type="limit", limit_price="106")
    exchange.advance(at(10, 5))
    assert (order.resting, order.filled_qty) == (True, 0)


def test_without_the_rule_the_same_path_trades_on() -> None:
    exchange = exchange_on(planted((at(10), 106.0)), Rules(luld=False))
    exchange.advance(at(10, 20))
    assert place(exchange).status == "filled"


def test_an_injected_halt_outlasts_the_pause_it_meets() -> None:
    from market.venue.halts import Halts

    exchange = exchange_on(planted((at(10), 106.0)))
    order = place(exchange, type="limit", limit_price="90")
    halts = Halts(exchange, MarketFeed(exchange, conflate=False))
    exchange.advance(at(12))
    halts.halt("AAA", 600.0, "T1", exchange.now)
    waiting = place(exchange)
    exchange.advance(at(21))
    assert (order.status, waiting.status) == ("new", "new")
    exchange.advance(at(22))
    assert waiting.status == "filled"


@given(
    moves=st.lists(st.tuples(st.integers(2, 380), st.floats(80, 125)), min_size=1, max_size=6),
    orders=st.lists(
        st.tuples(st.integers(2, 389), st.sampled_from(["buy", "sell"]), st.sampled_from(["market", "limit"]),
                  st.integers(85, 120)),
        min_size=1, max_size=8,
    ),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_no_execution_is_outside_the_bands_or_inside_a_pause(
    moves: list[tuple[int, float]], orders: list[tuple[int, str, str, int]]
) -> None:
    tape = planted(*sorted((at(m), round(price, 2)) for m, price in moves))
    limits = price_limits(tape, 1_000_000, 1)
    seen: list[tuple[int, dict[str, Any]]] = []
    exchange = exchange_on(tape, Rules(wash_trade_status=403))
    exchange.note = lambda kind, t, body: seen.append((t, body)) if kind == "match" else None
    for minute, side, kind, price in sorted(orders):
        exchange.advance(at(minute))
        body: dict[str, Any] = {"side": side, "type": kind}
        if kind == "limit":
            body["limit_price"] = str(price)
        with suppress(Refusal):  # what entry refuses is not what this is about
            place(exchange, **body)
    exchange.advance(SESSION.close - 1)
    for t, match in seen:
        lower, upper = limits.at(t)
        assert lower <= Decimal(match["price"]) * 10_000 <= upper
        assert not limits.paused(t)


# --- short sales -------------------------------------------------------------------------------------------

SLOW_FALL = tuple((at(10 * n), 100.0 - 2 * n) for n in range(1, 6))  # 90.00 at 50:00, ever inside the bands


def test_a_fall_of_a_tenth_restricts_short_sales_for_the_rest_of_the_session() -> None:
    exchange = exchange_on(planted(*SLOW_FALL, (at(70), 92.0)))
    assert exchange.restrictions.of("AAA").limits.pauses == ()
    exchange.advance(at(49, 59))
    assert place(exchange, side="sell").status == "filled"
    exchange.advance(at(50))
    market = place(exchange, side="sell")
    at_bid = place(exchange, side="sell", type="limit", limit_price="89.99")
    ioc = place(exchange, side="sell", type="limit", limit_price="89", time_in_force="ioc")
    exchange.advance(SESSION.close - 1)
    assert (market.status, at_bid.status, ioc.status) == ("new", "new", "canceled")


def test_a_restricted_short_sale_above_the_bid_rests_and_fills() -> None:
    exchange = exchange_on(planted(*SLOW_FALL, (at(70), 91.0)))
    exchange.advance(at(51))
    order = place(exchange, side="sell", type="limit", limit_price="90.50")
    assert order.status == "new"
    exchange.advance(at(71))
    assert (order.status, order.filled_avg_price) == ("filled", Decimal("90.50"))


def test_a_resting_short_sale_may_meet_a_bid_that_comes_to_it() -> None:
    tape = planted(*SLOW_FALL, (at(70), 91.0))
    tape.price[(at(70) - SESSION.open) // STEP :] = 900_000  # the quote comes through, no print does
    exchange = exchange_on(tape)
    exchange.advance(at(51))
    order = place(exchange, side="sell", type="limit", limit_price="90.50")
    exchange.advance(at(71))
    assert (order.status, order.filled_avg_price) == ("filled", Decimal("90.50"))


def test_a_restricted_short_sale_at_the_bid_waits_until_the_bid_is_lower() -> None:
    exchange = exchange_on(planted(*SLOW_FALL, (at(60), 89.0), (at(70), 91.0)))
    exchange.advance(at(51))
    order = place(exchange, side="sell", type="limit", limit_price="89.50")
    exchange.advance(at(59))
    assert order.filled_qty == 0
    exchange.advance(at(71))
    assert (order.status, order.filled_avg_price) == ("filled", Decimal("89.50"))


def test_closing_a_long_position_is_never_restricted() -> None:
    exchange = exchange_on(planted(*SLOW_FALL))
    place(exchange, qty="10")
    exchange.advance(at(51))
    assert place(exchange, side="sell", qty="10").status == "filled"


def test_a_cent_less_than_a_tenth_restricts_nothing() -> None:
    exchange = exchange_on(planted(*SLOW_FALL[:-1], (at(50), 90.01)))
    exchange.advance(at(51))
    assert place(exchange, side="sell").status == "filled"


def test_without_the_rule_short_sales_go_on() -> None:
    exchange = exchange_on(planted(*SLOW_FALL), Rules(short_sale_restriction=False))
    exchange.advance(at(51))
    assert place(exchange, side="sell").status == "filled"


# --- what the streams say ------------------------------------------------------------------------------------


def test_the_feed_tells_pause_resumption_and_restriction_in_both_dialects() -> None:
    exchange = exchange_on(planted((at(10), 89.0)))
    feed = MarketFeed(exchange, conflate=False)
    exchange.advance(at(21))
    window = feed.step()
    told = [special_of(exchange, event) for event in window.statuses(("AAA",))]
    letter = exchange.assets["AAA"].tape_letter
    pause, resume = (("P", "LUDP"), ("T", "T3")) if letter == "C" else (("2", "M"), ("3", ""))
    assert [(s.alpaca["sc"], s.alpaca["rc"], s.alpaca["t"]) for s in told] == [
        ("E", "", at(10)), (*pause, at(10, 15)), (*resume, at(20, 15)),
    ]  # fmt: skip
    assert [s.polygon and s.polygon["i"] for s in told] == [None, [17], [18]]
    assert feed.step().statuses(("AAA",)) == []


def test_the_feed_is_silent_during_a_pause() -> None:
    exchange = exchange_on(planted((at(10), 106.0)))
    feed = MarketFeed(exchange, conflate=False)
    exchange.advance(at(20))
    window = feed.step()
    for times in ([q.t for q in window.quotes("AAA")], [trade.t for trade in window.trades("AAA")]):
        assert times
        assert not [t for t in times if at(10, 15) <= t < at(15, 15)]
        assert at(15, 15) in times


@pytest.fixture
def wild_day(tmp_path: Path) -> Path:
    """Prices under which AAPL must pause on its modelled path: from 100 to 150, to 60, and back in one day."""
    from market.sample import sample_prices

    wild = (pl.col("symbol") == "AAPL") & (pl.col("date") == DAY)
    before = (pl.col("symbol") == "AAPL") & (pl.col("date") < DAY)
    prices = sample_prices().filter(pl.col("date") >= pl.date(2022, 12, 20))
    shape = {"open": 100.0, "high": 150.0, "low": 60.0, "close": 100.0}
    path = tmp_path / "wild.parquet"
    prices.with_columns(
        pl.when(wild).then(value).when(before).then(100.0).otherwise(pl.col(name)).alias(name)
        for name, value in shape.items()
    ).write_parquet(path)
    return path


def test_a_session_with_pauses_replays_from_its_journal(
    start_venue: Callable[..., RehearsalVenue], wild_day: Path, tmp_path: Path
) -> None:
    path = tmp_path / "journal.jsonl"
    venue = start_venue(journal=path, data=wild_day, date=DAY, start="09:31")
    pauses = venue.server.exchange.restrictions.of("AAPL").limits.pauses
    wire = Wire(venue)
    for start, end in pauses:
        if end == SESSION.close:
            continue
        venue.move_to(rfc3339(start + 60 * SECOND))
        answer = wire.order(qty="5", type="limit", limit_price="149")
        assert answer.status_code == 200
        assert wire.get(f"/v2/orders/{answer.json()['id']}")["status"] == "new"
        venue.move_to(rfc3339(end + 60 * SECOND))
        assert wire.get(f"/v2/orders/{answer.json()['id']}")["status"] == "filled"
    venue.call(venue.server.close_journal)
    matches = [line["t"] for line in read_lines(path) if line["kind"] == "match"]
    assert pauses
    assert matches
    assert not [t for t in matches for start, end in pauses if start <= t < end]
    assert replay(path, tmp_path / "again.jsonl")


def test_pauses_and_the_restriction_go_out_on_both_sockets(
    start_venue: Callable[..., RehearsalVenue], wild_day: Path
) -> None:
    venue = start_venue(data=wild_day, date=DAY, start="09:30", symbols=["AAPL", "KO"])
    pair, restriction = venue.address, venue.server.exchange.restrictions.of("AAPL")

    async def collect(
        url: str, first: list[dict[str, Any]], enough: Callable[[list[Any]], bool]
    ) -> list[Any]:
        seen: list[Any] = []
        async with websockets.connect(url, proxy=None) as socket:
            for message in first:
                await socket.send(json.dumps(message))
            while not any("subscri" in json.dumps(m) for m in seen):
                seen += json.loads(await asyncio.wait_for(socket.recv(), 10))
            ready.append(url)
            while not enough(seen):
                seen += json.loads(await asyncio.wait_for(socket.recv(), 10))
        return seen

    ready: list[str] = []
    events = 2 * len(restriction.limits.pauses) + 1

    def statuses(seen: list[Any]) -> list[Any]:
        return [m for m in seen if m.get("T") == "s"]

    def indicated(seen: list[Any]) -> list[Any]:
        return [i for m in seen if m.get("ev") == "LULD" for i in m["i"] if i in (17, 18)]

    async def both() -> tuple[list[Any], list[Any]]:
        alpaca = asyncio.create_task(collect(
            pair["data_stream_url"],
            [{"action": "auth", "key": pair["key_id"], "secret": pair["secret_key"]},
             {"action": "subscribe", "statuses": ["*"]}],
            lambda seen: len(statuses(seen)) >= events,
        ))  # fmt: skip
        vendor = asyncio.create_task(collect(
            pair["polygon_ws_url"],
            [{"action": "auth", "params": pair["polygon_key"]}, {"action": "subscribe", "params": "LULD.AAPL"}],
            lambda seen: len(indicated(seen)) >= events - 1,
        ))  # fmt: skip
        await asyncio.to_thread(wait_until, lambda: len(ready) == 2, "both subscriptions")
        await asyncio.to_thread(venue.move_to, rfc3339(SESSION.close))
        return await alpaca, await vendor

    alpaca, vendor = asyncio.run(both())
    told = statuses(alpaca)
    assert [m["sc"] for m in told].count("E") == 1
    assert [m["rc"] for m in told].count("LUDP") == len(restriction.limits.pauses)
    assert [m["t"] for m in told] == sorted(m["t"] for m in told)
    assert indicated(vendor) == [17, 18] * len(restriction.limits.pauses)


def test_an_unknown_tier_is_refused_by_name() -> None:
    assert read_rules(["luld=false", "luld_tier=2"]) == Rules(luld=False, luld_tier=2)
    with pytest.raises(VenueError, match="luld_tier"):
        read_rules(["luld_tier=3"])
