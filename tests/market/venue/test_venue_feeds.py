"""What each feed shows and when: the night, the delay, imbalances before the crosses, news."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polygon
import pytest
from alpaca.data.enums import DataFeed
from alpaca.data.historical import NewsClient, StockHistoricalDataClient
from alpaca.data.live import NewsDataStream
from alpaca.data.requests import NewsRequest, StockBarsRequest, StockLatestQuoteRequest
from alpaca.data.timeframe import TimeFrame
from venue_clients import Feed, Listener, Wire, wait_until

from market.venue.rehearsal import RehearsalVenue
from market.venue.timestamps import parse_moment

NIGHT, MORNING = "2022-12-27T22:00:00-05:00", "2022-12-28T04:00:00-05:00"


@pytest.fixture
def night(start_venue: Callable[..., RehearsalVenue]) -> RehearsalVenue:
    """A stepped venue at 22:00 of the evening before 2022-12-28."""
    venue = start_venue(date=dt.date(2022, 12, 27), start="15:59")
    venue.move_to(NIGHT)
    return venue


# --- the night --------------------------------------------------------------------------------------------------


def test_the_night_has_quotes_and_prints_of_its_own_that_the_consolidated_tape_never_shows(
    night: RehearsalVenue,
) -> None:
    wire = Wire(night)
    boats = wire.get("/v2/stocks/AAPL/quotes/latest", feed="boats")["quote"]
    consolidated = wire.get("/v2/stocks/AAPL/quotes/latest", feed="sip")["quote"]
    assert (boats["z"], consolidated["z"]) == ("N", "C")
    assert parse_moment(boats["t"]) > parse_moment("2022-12-27T21:58:00-05:00")
    assert parse_moment(consolidated["t"]) < parse_moment("2022-12-27T20:01:00-05:00")
    span = {"start": "2022-12-27T20:00:00-05:00", "end": MORNING}
    nightly = wire.get("/v2/stocks/AAPL/trades", feed="boats", **span)["trades"]
    assert 20 < len(nightly) < 30
    assert all(parse_moment(trade["t"]) <= parse_moment(NIGHT) for trade in nightly)
    assert wire.get("/v2/stocks/AAPL/trades", feed="sip", **span)["trades"] is None
    minutes = wire.get("/v2/stocks/AAPL/bars", feed="boats", timeframe="1Min", **span)["bars"]
    assert sum(bar["v"] for bar in minutes) == sum(trade["s"] for trade in nightly)
    key = {"apiKey": night.address["polygon_key"]}
    assert (
        parse_moment(str(wire.get("/v2/last/trade/AAPL", **key)["results"]["t"]))
        < parse_moment(NIGHT) - 10**12
    )


def test_the_derived_night_feed_has_its_prints_a_quarter_of_an_hour_late_and_no_history(
    night: RehearsalVenue,
) -> None:
    wire = Wire(night)
    late = wire.get("/v2/stocks/AAPL/trades/latest", feed="overnight")["trade"]
    prompt = wire.get("/v2/stocks/AAPL/trades/latest", feed="boats")["trade"]
    assert parse_moment(late["t"]) <= parse_moment(NIGHT) - 15 * 60 * 10**9 < parse_moment(prompt["t"])
    refused = wire("GET", "/v2/stocks/AAPL/trades", params={"feed": "overnight"})
    assert (refused.status_code, refused.json()) == (400, {"message": "invalid feed: overnight"})
    address = night.address
    client = StockHistoricalDataClient(
        address["key_id"], address["secret_key"], url_override=address["data_rest_url"]
    )
    asked = StockLatestQuoteRequest(symbol_or_symbols=["AAPL", "KO"], feed=DataFeed.OVERNIGHT)
    assert {quote.tape for quote in client.get_stock_latest_quote(asked).values()} == {"N"}
    nights = StockBarsRequest(
        symbol_or_symbols="KO",
        timeframe=TimeFrame.Day,
        feed=DataFeed.BOATS,
        start=dt.datetime(2022, 12, 27, tzinfo=dt.UTC),
    )
    # A night is labelled with the day it belongs to, and shown from that day's midnight on.
    assert [bar.timestamp.date() for bar in client.get_stock_bars(nights)["KO"]] == [dt.date(2022, 12, 27)]
    night.move_to("2022-12-28T00:30:00-05:00")
    assert len(client.get_stock_bars(nights)["KO"]) == 2


def test_an_extended_hours_limit_order_trades_at_night_and_any_other_order_waits(
    night: RehearsalVenue,
) -> None:
    wire = Wire(night)
    listener = Listener(night)
    try:
        ask = Decimal(str(wire.get("/v2/stocks/AAPL/quotes/latest", feed="boats")["quote"]["ap"]))
        plain = wire.order(type="limit", limit_price=str(ask)).json()
        nightly = wire.order(type="limit", limit_price=str(ask), extended_hours=True).json()
        assert (plain["status"], nightly["status"]) == ("accepted", "pending_new")
        wait_until(lambda: "fill" in listener.events(nightly["id"]), "the fill")
        assert wire.get("/v2/positions/AAPL")["qty"] == "1"
        # Until the morning the position is worth the official close.
        assert (
            wire.get("/v2/positions/AAPL")["current_price"] == wire.get("/v2/positions/AAPL")["lastday_price"]
        )
        wire("PATCH", "/v2/account/configurations", {"disable_overnight_trading": True})
        assert (
            wire.order(type="limit", limit_price=str(ask), extended_hours=True).json()["status"] == "accepted"
        )
    finally:
        listener.close()


def test_an_order_that_waited_at_the_weekend_is_worked_on_sunday_evening(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    venue = start_venue(date=dt.date(2022, 12, 16), start="15:59")
    wire = Wire(venue)
    venue.move_to("2022-12-17T12:00:00-05:00")
    order = wire.order(type="limit", limit_price="500", extended_hours=True).json()
    assert order["status"] == "accepted"
    venue.move_to("2022-12-18T19:59:00-05:00")
    assert wire.get(f"/v2/orders/{order['id']}")["status"] == "accepted"
    venue.move_to("2022-12-18T20:05:00-05:00")
    filled = wire.get(f"/v2/orders/{order['id']}")
    # It was there before anybody quoted, and takes the first quote all the same: not its own limit.
    assert filled["status"] == "filled"
    assert float(filled["filled_avg_price"]) < 200


def test_the_rule_turns_the_night_off(start_venue: Callable[..., RehearsalVenue]) -> None:
    from market.venue.exchange import Rules

    venue = start_venue(date=dt.date(2022, 12, 27), start="15:59", rules=Rules(overnight=False))
    venue.move_to(NIGHT)
    wire = Wire(venue)
    assert wire("GET", "/v2/stocks/AAPL/quotes/latest", params={"feed": "boats"}).status_code == 404
    assert wire.order(type="limit", limit_price="500", extended_hours=True).json()["status"] == "accepted"


def test_each_socket_sends_its_own_hours(night: RehearsalVenue) -> None:
    async def talk(feed: str) -> list[dict[str, Any]]:
        async with Feed(night, packed=True, feed=feed) as socket:
            await socket.login()
            await socket.say(action="subscribe", trades=["AAPL"], quotes=["AAPL"], bars=["AAPL"])
            await socket.next()
            return await socket.messages(600)

    boats, derived, consolidated = (asyncio.run(talk(f)) for f in ("v2/boats", "v1beta1/overnight", "v2/sip"))
    assert {m["T"] for m in boats} == {"t", "q", "b"}
    assert {m["z"] for m in boats if m["T"] != "b"} == {"N"}
    assert consolidated == []
    quote = next(m for m in derived if m["T"] == "q")
    for trade in (m for m in derived if m["T"] == "t"):
        assert quote["bp"] <= trade["p"] <= quote["ap"]
        assert quote["t"].seconds - trade["t"].seconds >= 14 * 60


def test_the_delayed_feed_is_a_quarter_of_an_hour_behind(venue: RehearsalVenue, wire: Wire) -> None:
    prompt = wire.get("/v2/stocks/AAPL/trades/latest")["trade"]
    late = wire.get("/v2/stocks/AAPL/trades/latest", feed="delayed_sip")["trade"]
    assert 899 * 10**9 <= parse_moment(prompt["t"]) - parse_moment(late["t"]) <= 911 * 10**9

    async def talk() -> list[dict[str, Any]]:
        async with Feed(venue, packed=False, feed="v2/delayed_sip") as socket:
            await socket.login()
            await socket.say(action="subscribe", trades=["AAPL"], bars=["AAPL"], statuses=["*"])
            await socket.next()
            return await socket.messages(60)

    messages = asyncio.run(talk())
    assert {m["T"] for m in messages} == {"t", "b"}
    assert all(m["t"] <= "2022-12-28T14:46:00Z" for m in messages)


# --- imbalances -------------------------------------------------------------------------------------------------


def test_imbalances_are_told_before_the_crosses_and_named_only_to_those_who_ask(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    venue = start_venue(start="09:24")

    async def talk() -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
        async with Feed(venue, packed=True, feed="v2/sip") as socket:
            await socket.login()
            await socket.say(action="subscribe", bars=["AAPL"])
            plain = (await socket.next())[0]
            assert "imbalances" not in plain
            await socket.say(action="subscribe", imbalances=["AAPL", "KO"])
            asked = (await socket.next())[0]
            early = await socket.messages(30)
            await socket.messages(60)
            return asked, early, await socket.messages(6)

    asked, early, messages = asyncio.run(talk())
    assert asked["imbalances"] == ["AAPL", "KO"]
    assert early == []
    assert {m["S"] for m in messages} == {"AAPL", "KO"}
    assert all(list(m) == ["T", "S", "p", "z", "t"] and m["T"] == "i" and m["p"] > 0 for m in messages)


def test_polygon_tells_net_order_imbalance_and_fair_value_through_its_client(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    venue = start_venue(start="15:49")
    seen: list[Any] = []
    client = polygon.WebSocketClient(
        venue.address["polygon_key"], feed=venue.address["polygon_ws_url"].split("/")[2], market="stocks", secure=False,
        subscriptions=["NOI.*", "FMV.AAPL"],
    )  # fmt: skip

    async def keep(messages: list[Any]) -> None:
        seen.extend(messages)

    async def run() -> None:
        task = asyncio.create_task(client.connect(keep, proxy=None))
        await asyncio.to_thread(
            wait_until, lambda: any(t.topics["NOI"] and t.topics["FMV"] for t in list(venue.server.polygon_clients)), "topics"
        )  # fmt: skip
        await asyncio.to_thread(venue.advance, 125)
        kinds = {"Imbalance", "FairMarketValue"}
        await asyncio.to_thread(wait_until, lambda: {type(m).__name__ for m in seen} >= kinds, "both kinds")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    told = next(m for m in seen if type(m).__name__ == "Imbalance")
    assert (told.auction_type, told.auction_time) == ("C", 1559)
    assert told.paired_quantity > 0
    assert told.book_clearing_price > 0


# --- news -------------------------------------------------------------------------------------------------------

NEWS_KEYS = {"id", "headline", "author", "created_at", "updated_at", "summary", "content", "url", "images", "symbols",
             "source"}  # fmt: skip


def test_news_is_paged_newest_first_and_never_from_after_the_clock(wire: Wire) -> None:
    first = wire.get("/v1beta1/news")
    assert len(first["news"]) == 10
    assert all(set(row) == NEWS_KEYS for row in first["news"])
    assert all(row["updated_at"] <= "2022-12-28T15:00:00Z" for row in first["news"])
    query = {"start": "2022-12-20", "end": "2030-01-01", "limit": 3}
    rows: list[Any] = []
    token: dict[str, str] = {}
    while True:
        page = wire.get("/v1beta1/news", **query, **token)
        rows += page["news"]
        if page["next_page_token"] is None:
            break
        token = {"page_token": page["next_page_token"]}
    stamps = [row["updated_at"] for row in rows]
    assert stamps == sorted(stamps, reverse=True)
    assert len({row["id"] for row in rows}) == len(rows) > 6
    upwards = wire.get("/v1beta1/news", **{**query, "limit": 50}, sort="asc")["news"]
    assert [row["id"] for row in upwards] == [row["id"] for row in rows][::-1]
    named = wire.get("/v1beta1/news", start="2022-12-01", symbols="AAPL,NOPE", include_content="true",
                     exclude_contentless="true")["news"]  # fmt: skip
    assert named
    assert all(row["symbols"] == ["AAPL"] and row["content"] for row in named)
    for bad in ({"limit": "51"}, {"sort": "up"}, {"start": "x"}, {"page_token": "%"}):
        assert wire("GET", "/v1beta1/news", params=bad).status_code == 400


def test_news_reaches_alpaca_py_over_rest_and_over_its_socket(venue: RehearsalVenue) -> None:
    address = venue.address
    client = NewsClient(address["key_id"], address["secret_key"], url_override=address["data_rest_url"])
    found = client.get_news(NewsRequest(start=dt.datetime(2022, 12, 20, tzinfo=dt.UTC), limit=5)).data["news"]
    assert found[0].updated_at >= found[-1].updated_at
    seen: list[Any] = []

    async def keep(article: Any) -> None:
        seen.append(article)

    async def run() -> None:
        url = address["data_stream_url"].replace("/v2/iex", "/v1beta1/news")
        stream = NewsDataStream(address["key_id"], address["secret_key"], url_override=url)
        stream.subscribe_news(keep, "*")
        task = asyncio.create_task(stream._run_forever())
        clients = venue.server.data_clients
        await asyncio.to_thread(
            wait_until, lambda: any(t.subscriptions.get("news") for t in list(clients)), "the subscription"
        )
        await asyncio.to_thread(venue.move_to, "2022-12-29T00:00:00Z")
        await asyncio.to_thread(wait_until, lambda: seen, "an article")
        while not task.done():  # alpaca-py's wait_for may swallow a cancellation under Python 3.11
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        await stream.close()

    asyncio.run(run())
    assert seen[0].symbols
    assert seen[0].created_at <= seen[0].updated_at


def test_a_channel_of_another_socket_is_refused_and_the_subscription_stays(venue: RehearsalVenue) -> None:
    async def talk(feed: str, **asked: list[str]) -> tuple[Any, Any]:
        async with Feed(venue, packed=False, feed=feed) as socket:
            await socket.login()
            await socket.say(action="subscribe", **asked)
            refused = (await socket.next())[0]
            await socket.say(action="unsubscribe")
            return refused, (await socket.next())[0]

    refused, after = asyncio.run(talk("v1beta1/news", trades=["AAPL"]))
    assert refused == {"T": "error", "code": 410, "msg": "invalid subscribe action for this feed"}
    assert after == {"T": "subscription", "news": []}
    assert asyncio.run(talk("v2/iex", news=["*"]))[0]["code"] == 410


def test_the_free_plan_has_one_session_a_feed_and_no_paid_feed(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    venue = start_venue(recent_sip=False)

    async def talk() -> list[Any]:
        async with Feed(venue, packed=False) as first, Feed(venue, packed=False) as second:
            codes = [(await first.login())[0].get("code"), (await second.login())[0].get("code")]
            async with Feed(venue, packed=False, feed="v2/sip") as paid:
                return [*codes, (await paid.login())[0]["code"]]

    assert asyncio.run(talk()) == [None, 406, 409]


# --- the test stream --------------------------------------------------------------------------------------------


def test_the_test_stream_trades_one_symbol_at_any_hour(start_venue: Callable[..., RehearsalVenue]) -> None:
    venue = start_venue(start="15:59")
    venue.move_to("2022-12-31T12:00:00Z")

    async def talk() -> tuple[Any, list[dict[str, Any]]]:
        async with Feed(venue, packed=True, feed="v2/test") as socket:
            await socket.login()
            await socket.say(action="subscribe", trades=["FAKEPACA", "AAPL"], quotes=["FAKEPACA"], bars=["*"])
            return (await socket.next())[0], await socket.messages(61)

    subscribed, messages = asyncio.run(talk())
    assert subscribed["trades"] == ["FAKEPACA"]
    assert {(m["T"], m["S"]) for m in messages} == {("t", "FAKEPACA"), ("q", "FAKEPACA"), ("b", "FAKEPACA")}
    trades = [m["p"] for m in messages if m["T"] == "t"]
    bar = next(m for m in messages if m["T"] == "b")
    assert min(trades) == bar["l"]
    assert max(trades) == bar["h"]
