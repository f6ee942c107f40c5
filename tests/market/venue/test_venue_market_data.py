"""Market data in every dialect: shapes, paging, halts, and nothing from after the venue clock."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgpack
import polygon
import pytest
import websockets
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.live import StockDataStream
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from venue_clients import Feed, Listener, Wire, wait_until

from market.venue.rehearsal import RehearsalVenue
from market.venue.timestamps import parse_moment

DAY = "2022-12-28"


@pytest.fixture
def vendor(venue: RehearsalVenue) -> polygon.RESTClient:
    """The unmodified Polygon REST client on `venue`."""
    return polygon.RESTClient(venue.address["polygon_key"], base=venue.address["polygon_rest_url"])


def fault(venue: RehearsalVenue, kind: str, **fields: Any) -> None:
    venue.call(lambda: venue.server.control.perform("POST", "/faults", {"kind": kind, **fields}))


# --- Alpaca's data socket ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_the_handshake_header_chooses_the_encoding_and_every_message_has_its_keys(
    venue: RehearsalVenue, packed: bool
) -> None:
    async def talk() -> tuple[list[Any], list[Any]]:
        async with Feed(venue, packed=packed) as feed:
            assert await feed.login() == [{"T": "success", "msg": "authenticated"}]
            await feed.say(action="subscribe", trades=["AAPL"], quotes=["AAPL", "NOPE"], bars=["*"], dailyBars=["AAPL"],
                           lulds=["AAPL"], statuses=["*"], updatedBars=["AAPL"])  # fmt: skip
            return await feed.next(), await feed.messages(125)

    subscription, messages = asyncio.run(talk())
    assert subscription == [
        {"T": "subscription", "trades": ["AAPL"], "quotes": ["AAPL"], "bars": ["*"], "updatedBars": ["AAPL"],
         "dailyBars": ["AAPL"], "statuses": ["*"], "lulds": ["AAPL"], "corrections": ["AAPL"],
         "cancelErrors": ["AAPL"]}
    ]  # fmt: skip
    keys = {
        "t": {"T", "S", "i", "x", "p", "s", "c", "z", "t"},
        "q": {"T", "S", "bx", "bp", "bs", "ax", "ap", "as", "c", "z", "t"},
        "b": {"T", "S", "o", "h", "l", "c", "v", "n", "vw", "t"},
        "d": {"T", "S", "o", "h", "l", "c", "v", "n", "vw", "t"},
        "l": {"T", "S", "u", "d", "i", "z", "t"},
    }
    assert {message["T"] for message in messages} == set(keys)
    for message in messages:
        assert set(message) == keys[message["T"]]
        assert next(iter(message)) == "T"
        if packed:
            assert isinstance(message["t"], msgpack.Timestamp)
        else:
            assert message["t"].endswith("Z")
    assert {m["S"] for m in messages if m["T"] == "b"} >= {"AAPL", "KO", "MSFT"}


def test_the_socket_answers_each_misstep_with_its_code(venue: RehearsalVenue) -> None:
    async def talk() -> list[Any]:
        answers: list[Any] = []
        async with Feed(venue, packed=False) as feed:
            await feed.say(action="subscribe", trades=["AAPL"])
            answers.append(await feed.next())
            await feed.socket.send("{")
            answers.append(await feed.next())
            await feed.say(action="dance")
            answers.append(await feed.next())
            await feed.login()
            await feed.say(action="auth", key="a", secret="b")
            answers.append(await feed.next())
            await feed.say(action="subscribe", trades="AAPL")
            answers.append(await feed.next())
        async with Feed(venue, packed=False) as feed:
            await feed.say(action="auth", key="a", secret="b")
            answers.append(await feed.next())
            with pytest.raises(websockets.ConnectionClosed):
                await feed.socket.recv()
        return [answer[0]["code"] for answer in answers]

    assert asyncio.run(talk()) == [401, 400, 400, 403, 400, 402]


def test_a_free_plan_has_a_symbol_limit_that_leaves_the_subscription_as_it_was(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    venue = start_venue(symbol_limit=3)

    async def talk() -> tuple[Any, Any]:
        async with Feed(venue, packed=False) as feed:
            await feed.login()
            await feed.say(action="subscribe", trades=["AAPL", "KO"], quotes=["AAPL"])
            await feed.next()
            await feed.say(action="subscribe", quotes=["KO"])
            refused = await feed.next()
            await feed.say(action="subscribe", bars=["KO", "GE", "MSFT"])
            return refused, await feed.next()

    refused, after = asyncio.run(talk())
    assert refused == [{"T": "error", "code": 405, "msg": "symbol limit exceeded"}]
    assert (after[0]["quotes"], after[0]["bars"]) == (["AAPL"], ["KO", "GE", "MSFT"])


def test_halts_corrections_and_late_prints_reach_alpaca_py(venue: RehearsalVenue, listener: Listener) -> None:
    seen: dict[str, list[Any]] = {}

    async def keep(message: Any) -> None:
        seen.setdefault(type(message).__name__, []).append(message)

    async def run() -> None:
        pair = venue.address
        stream = StockDataStream(pair["key_id"], pair["secret_key"], url_override=pair["data_stream_url"])
        stream.subscribe_trades(keep, "AAPL")
        stream.subscribe_trading_statuses(keep, "*")
        stream.subscribe_updated_bars(keep, "AAPL")
        stream.register_trade_corrections(keep)
        stream.register_trade_cancels(keep)
        task = asyncio.create_task(stream._run_forever())

        def ready() -> bool:
            return any(t.subscriptions["statuses"] for t in list(venue.server.data_clients))

        await asyncio.to_thread(wait_until, ready, "the subscription")

        def strike() -> None:
            fault(venue, "halt", symbol="AAPL", seconds=30.0)
            fault(venue, "halt", symbol="KO", seconds=30.0, luld=True)
            fault(venue, "bust_print", symbol="AAPL")
            fault(venue, "correct_print", symbol="AAPL", price="127.5")
            fault(venue, "late_print", symbol="AAPL")
            venue.advance(31)
            venue.advance(30)

        await asyncio.to_thread(strike)
        kinds = {"TradingStatus", "TradeCorrection", "TradeCancel", "Bar"}
        await asyncio.to_thread(
            wait_until, lambda: set(seen) >= kinds and len(seen["TradingStatus"]) == 4, "all kinds"
        )
        while not task.done():  # alpaca-py's wait_for may swallow a cancellation under Python 3.11
            task.cancel()
            await asyncio.wait([task], timeout=0.2)
        await stream.close()

    asyncio.run(run())
    codes = [(s.symbol, s.status_code, s.reason_code) for s in seen["TradingStatus"]]
    assert codes == [("AAPL", "H", "T1"), ("KO", "2", "M"), ("AAPL", "T", "T3"), ("KO", "3", "")]
    assert seen["TradeCorrection"][0].corrected_price == 127.5
    assert seen["TradeCancel"][0].action == "C"


def test_nothing_trades_in_a_halt_and_everything_after_it(
    venue: RehearsalVenue, wire: Wire, listener: Listener
) -> None:
    fault(venue, "halt", symbol="AAPL", seconds=120.0)
    order = wire.order().json()["id"]
    stop = wire.order(type="stop", stop_price=str(wire.price() + Decimal("0.01"))).json()["id"]
    venue.advance(110)
    assert wire.get(f"/v2/orders/{order}")["status"] == "new"
    assert wire.get(f"/v2/orders/{stop}")["status"] == "new"
    venue.advance(11)
    assert wire.get(f"/v2/orders/{order}")["status"] == "filled"


@pytest.mark.parametrize(
    "style", ["crossed", "locked", "zero", "negative", "spike", "wide", "future", "stale"]
)
def test_bad_quotes_are_sent_on_request_only(venue: RehearsalVenue, style: str) -> None:
    async def talk() -> list[Any]:
        async with Feed(venue, packed=True) as feed:
            await feed.login()
            await feed.say(action="subscribe", quotes=["AAPL"])
            await feed.next()
            await asyncio.to_thread(fault, venue, "bad_quote", symbol="AAPL", style=style)
            return await feed.next()

    quote = asyncio.run(talk())[0]
    now = venue.server.exchange.now
    bad = {
        "crossed": quote["bp"] > quote["ap"], "locked": quote["bp"] == quote["ap"] > 0, "zero": quote["bp"] == 0,
        "negative": quote["bp"] < 0, "spike": quote["ap"] > 1000, "wide": quote["ap"] > 1.2 * quote["bp"],
        "future": quote["t"].to_unix_nano() > now, "stale": quote["t"].to_unix_nano() < now - 200 * 10**9,
    }  # fmt: skip
    assert bad[style]


def test_iex_may_disagree_with_sip(venue: RehearsalVenue) -> None:
    fault(venue, "sip_gap", bps=200.0)

    async def last(feed_name: str) -> float:
        async with Feed(venue, packed=False, feed=feed_name) as feed:
            await feed.login()
            await feed.say(action="subscribe", quotes=["AAPL"])
            await feed.next()
            return (await feed.messages(10))[-1]["bp"]

    iex, sip = asyncio.run(last("v2/iex")), asyncio.run(last("v2/sip"))
    assert 1.015 < iex / sip < 1.025


def test_minute_bars_may_be_missing(venue: RehearsalVenue) -> None:
    fault(venue, "skip_bars", share=0.5)

    async def talk() -> list[Any]:
        async with Feed(venue, packed=False) as feed:
            await feed.login()
            await feed.say(action="subscribe", bars=["AAPL"])
            await feed.next()
            return await feed.messages(60 * 40)

    assert 5 < len(asyncio.run(talk())) < 35


# --- Alpaca's data REST -----------------------------------------------------------------------------------------


def test_no_dialect_serves_anything_from_after_the_clock(
    venue: RehearsalVenue, wire: Wire, vendor: polygon.RESTClient
) -> None:
    now = venue.server.exchange.now
    far = "2023-12-31"

    def newest(rows: list[dict[str, Any]]) -> int:
        return max(parse_moment(row["t"]) for row in rows)

    for kind in ("bars", "quotes", "trades"):
        rows = wire.get(f"/v2/stocks/AAPL/{kind}", start=DAY, end=far, timeframe="1Min", limit=10000)[kind]
        assert rows
        assert newest(rows) <= now
    day = wire.get("/v2/stocks/AAPL/bars", start=DAY, end=far, timeframe="1Day")["bars"]
    assert len(day) == 1
    full = venue.server.exchange.tape.history.on("AAPL", dt.date(2022, 12, 28))
    assert full is not None
    assert day[0]["v"] < full.volume
    assert day[0]["c"] == wire.get("/v2/stocks/AAPL/trades/latest")["trade"]["p"]
    assert all(agg.timestamp * 10**6 <= now for agg in vendor.list_aggs("AAPL", 1, "minute", DAY, far))
    assert [agg.volume for agg in vendor.list_aggs("AAPL", 1, "day", DAY, far)] == [day[0]["v"]]
    for row in (
        next(iter(vendor.list_trades("AAPL", limit=1))),
        next(iter(vendor.list_quotes("AAPL", limit=1))),
    ):
        assert row.sip_timestamp <= now
    assert vendor.get_snapshot_ticker("stocks", "AAPL").day.volume == day[0]["v"]
    assert wire.get("/v1/corporate-actions", start=DAY, end=far)["corporate_actions"] == {}


def test_a_snapshot_has_yesterday_beside_today(
    venue: RehearsalVenue, data: StockHistoricalDataClient
) -> None:
    shot = data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["AAPL", "KO"]))["AAPL"]
    before = venue.server.exchange.tape.history.before("AAPL", dt.date(2022, 12, 28))
    assert before is not None
    assert shot.previous_daily_bar.close == pytest.approx(before.close, abs=1e-4)
    assert shot.daily_bar.timestamp.date() == dt.date(2022, 12, 28)
    assert shot.latest_quote.bid_price < shot.latest_quote.ask_price


def test_alpaca_py_reads_bars_quotes_trades_and_latest(data: StockHistoricalDataClient) -> None:
    start = dt.datetime(2022, 12, 28, 14, 30, tzinfo=dt.UTC)
    bars = data.get_stock_bars(
        StockBarsRequest(symbol_or_symbols=["AAPL", "KO"], timeframe=TimeFrame.Minute, start=start)
    )
    assert [len(bars.data[symbol]) for symbol in ("AAPL", "KO")] == [30, 30]
    daily = data.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols="AAPL", timeframe=TimeFrame.Day, start=dt.datetime(2022, 12, 1, tzinfo=dt.UTC)
        )
    )
    assert len(daily.data["AAPL"]) == 19
    quotes = data.get_stock_quotes(StockQuotesRequest(symbol_or_symbols="AAPL", start=start, limit=50))
    trades = data.get_stock_trades(StockTradesRequest(symbol_or_symbols="AAPL", start=start, limit=50))
    assert len(quotes.data["AAPL"]) == len(trades.data["AAPL"]) == 50
    assert data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="KO"))["KO"].price > 0
    assert data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="KO"))["KO"].ask_size >= 100


def test_pages_count_points_over_all_symbols_and_meet_without_gap_or_overlap(wire: Wire) -> None:
    query = {"symbols": "KO,AAPL,NOPE", "timeframe": "1Min", "start": DAY, "limit": 7}
    rows: list[tuple[str, str]] = []
    token = None
    pages = 0
    while True:
        page = wire.get("/v2/stocks/bars", **query, **({"page_token": token} if token else {}))
        assert sum(map(len, page["bars"].values())) <= 7
        rows += [(symbol, bar["t"]) for symbol, bars in page["bars"].items() for bar in bars]
        pages += 1
        token = page["next_page_token"]
        if token is None:
            break
    assert pages > 5
    assert len(rows) == len(set(rows)) == 60
    assert "NOPE" not in {symbol for symbol, _ in rows}
    backwards = wire.get("/v2/stocks/bars", **{**query, "limit": 100, "sort": "desc"})["bars"]["AAPL"]
    assert [bar["t"] for bar in backwards] == sorted((t for s, t in rows if s == "AAPL"), reverse=True)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/v2/stocks/bars", {"timeframe": "1Day"}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "7Day"}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "60Min"}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL"}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "1Day", "start": "yesterday"}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "1Day", "limit": "0"}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "1Day", "limit": "10001"}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "1Day", "page_token": "%%%"}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "1Day", "start": DAY, "end": "2020-01-01"}, 400),
        ("/v2/stocks/quotes/latest", {"symbols": "AAPL", "feed": "gossip"}, 400),
        ("/v2/stocks/nowhere/at/all", {}, 404),
    ],
)
def test_data_refusals(shared_wire: Wire, path: str, query: dict[str, str], status: int) -> None:
    answer = shared_wire("GET", path, params=query)
    assert answer.status_code == status
    assert "message" in answer.json()


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("quotes", {"symbols": "KO,AAPL", "start": DAY, "limit": 97}),
        ("trades", {"symbols": "AAPL", "start": "2022-12-27T20:30:00Z", "limit": 300}),
        ("bars", {"symbols": "KO,AAPL", "start": "2022-12-26", "timeframe": "1Hour", "limit": 3}),
        ("bars", {"symbols": "KO,AAPL", "start": "2022-09-26", "timeframe": "1Week", "limit": 5}),
        ("auctions", {"symbols": "KO,AAPL", "start": "2022-12-15", "limit": 4}),
    ],
)
def test_pages_upwards_and_downwards_meet_the_whole(
    shared_wire: Wire, kind: str, query: dict[str, Any]
) -> None:
    def read(sort: str, **more: Any) -> list[tuple[str, str]]:
        rows: list[tuple[str, str]] = []
        token: dict[str, str] = {}
        while True:
            page = shared_wire.get(f"/v2/stocks/{kind}", **{**query, **more}, sort=sort, **token)
            rows += [(s, row.get("t") or row["d"]) for s, found in page[kind].items() for row in found]
            if page["next_page_token"] is None:
                return rows
            token = {"page_token": page["next_page_token"]}

    whole = read("asc", limit=10_000)
    assert read("asc") == whole
    backwards = read("desc")
    assert sorted(backwards) == sorted(whole)
    for symbol in query["symbols"].split(","):
        times = [t for s, t in backwards if s == symbol]
        assert times == sorted(times, reverse=True)


def test_one_answer_opens_so_many_sessions_and_no_more(shared_wire: Wire) -> None:
    page = shared_wire.get("/v2/stocks/AAPL/bars", timeframe="4Hour", start="2021-01-01", limit=10_000)
    days = {bar["t"][:10] for bar in page["bars"]}
    assert 95 <= len(days) <= 105
    assert page["next_page_token"]


def test_a_longer_bar_is_the_sum_of_its_finished_minutes(venue: RehearsalVenue, wire: Wire) -> None:
    venue.advance(150)
    span = {"start": "2022-12-28T15:00:00Z"}
    minutes = wire.get("/v2/stocks/AAPL/bars", timeframe="1Min", **span)["bars"]
    assert [bar["t"][14:16] for bar in minutes] == ["00", "01"]
    for timeframe in ("5Min", "1Hour"):
        (running,) = wire.get("/v2/stocks/AAPL/bars", timeframe=timeframe, **span)["bars"]
        assert running["v"] == sum(bar["v"] for bar in minutes)
        assert running["c"] == minutes[-1]["c"]


def test_a_free_plan_may_not_ask_for_recent_sip(start_venue: Callable[..., RehearsalVenue]) -> None:
    wire = Wire(start_venue(recent_sip=False))
    query = {"symbols": "AAPL", "timeframe": "1Min", "start": DAY}
    now = "2022-12-28T15:00:00Z"
    for path, more in (
        ("/v2/stocks/bars", {**query, "feed": "sip", "end": now}),
        ("/v2/stocks/AAPL/quotes/latest", {"feed": "sip"}),
    ):
        answer = wire("GET", path, params=more)
        assert (answer.status_code, answer.json()["message"]) == (
            403, "subscription does not permit querying recent SIP data",
        )  # fmt: skip
    # Without an end it is a quarter of an hour ago; without a feed it is the best one that the plan allows.
    last = wire.get("/v2/stocks/bars", **query, feed="sip")["bars"]["AAPL"][-1]
    assert last["t"] == "2022-12-28T14:45:00Z"
    assert wire.get("/v2/stocks/bars", **query, end=now)["bars"]["AAPL"][-1]["t"] == "2022-12-28T14:59:00Z"
    assert wire.get("/v2/stocks/AAPL/quotes/latest")["quote"]["ax"] == "V"
    assert wire("GET", "/v2/stocks/bars", params={**query, "feed": "boats"}).status_code == 403


# --- Polygon ----------------------------------------------------------------------------------------------------


def test_polygon_rest_through_its_client(vendor: polygon.RESTClient) -> None:
    minutes = list(vendor.list_aggs("AAPL", 5, "minute", DAY, DAY, limit=4))
    assert len(minutes) == 6
    assert [m.timestamp for m in minutes] == sorted(m.timestamp for m in minutes)
    assert vendor.get_previous_close_agg("AAPL")[0].close == pytest.approx(129.652, abs=1e-3)
    assert {row.ticker for row in vendor.get_grouped_daily_aggs(DAY)} >= {"AAPL", "KO"}
    assert vendor.get_daily_open_close_agg("AAPL", "2022-12-27").status == "OK"
    trades = [t for _, t in zip(range(120), vendor.list_trades("AAPL", limit=50, order="asc"), strict=False)]
    stamps = [t.sip_timestamp for t in trades]
    assert len(stamps) == len(set(stamps)) == 120
    assert stamps == sorted(stamps)
    assert vendor.get_last_trade("AAPL").price > 0
    assert vendor.get_last_quote("AAPL").ask_price > vendor.get_last_quote("AAPL").bid_price
    assert len(vendor.get_snapshot_all("stocks")) == 7
    assert [t.ticker for t in vendor.list_tickers(limit=3)] == [
        "AAPL",
        "AMD",
        "BAC",
        "GE",
        "KO",
        "MSFT",
        "RRC",
    ]
    assert vendor.get_ticker_details("AAPL").ticker == "AAPL"
    assert vendor.get_market_status().market == "open"
    assert {h.name for h in vendor.get_market_holidays()} >= {"New Years Day", "Good Friday"}
    assert list(vendor.list_splits("AAPL")) == list(vendor.list_dividends("AAPL")) == []


def test_polygon_answers_nothing_with_a_count_of_zero_and_refusals_in_its_own_words(
    wire: Wire, venue: RehearsalVenue
) -> None:
    key = {"apiKey": venue.address["polygon_key"]}
    empty = wire.get("/v2/aggs/ticker/NOPE/range/1/day/2022-01-01/2022-12-31", **key)
    assert (empty["resultsCount"], "results" in empty, empty["status"]) == (0, False, "OK")
    wrong = wire("GET", "/v2/aggs/ticker/AAPL/prev", headers={"Authorization": "Bearer nobody"})
    assert (wrong.status_code, wrong.json()["error"]) == (401, "Unknown API Key")
    missing = wire("GET", "/v2/last/trade/NOPE", params=key)
    assert (missing.status_code, missing.json()["status"]) == (404, "NOT_FOUND")
    for path in (
        "/v2/aggs/ticker/AAPL/range/x/day/2022-01-01/2022-12-31",
        "/v2/aggs/ticker/AAPL/range/1/fortnight/2022-01-01/2022-12-31",
        "/v2/aggs/ticker/AAPL/range/1/day/then/now",
        "/v1/open-close/AAPL/christmas",
    ):
        assert wire("GET", path, params=key).status_code == 400


def test_polygon_socket_through_its_client(venue: RehearsalVenue) -> None:
    seen: list[Any] = []
    client = polygon.WebSocketClient(
        venue.address["polygon_key"], feed=venue.address["polygon_ws_url"].split("/")[2], market="stocks", secure=False,
        subscriptions=["T.AAPL", "Q.AAPL", "A.AAPL", "AM.*", "LULD.*"],
    )  # fmt: skip

    async def keep(messages: list[Any]) -> None:
        seen.extend(messages)

    async def run() -> None:
        task = asyncio.create_task(client.connect(keep, proxy=None))
        server = venue.server
        await asyncio.to_thread(
            wait_until,
            lambda: any(t.topics["LULD"] and t.topics["AM"] for t in list(server.polygon_clients)),
            "topics",
        )
        await asyncio.to_thread(venue.advance, 61)
        await asyncio.to_thread(fault, venue, "halt", symbol="KO", seconds=30.0)
        kinds = {"EquityTrade", "EquityQuote", "EquityAgg", "LimitUpLimitDown"}
        await asyncio.to_thread(wait_until, lambda: {type(m).__name__ for m in seen} >= kinds, "every kind")
        await asyncio.to_thread(fault, venue, "close", socket="polygon", code=1000)
        # A clean close ends connect() without a word (F28).
        await asyncio.wait_for(task, 5)

    asyncio.run(run())
    assert 17 in [i for m in seen if type(m).__name__ == "LimitUpLimitDown" for i in m.indicators]


def test_polygon_refuses_a_wrong_key_and_too_many_connections(venue: RehearsalVenue) -> None:
    fault(venue, "connection_limit", sessions=0, socket="polygon")
    where = venue.address["polygon_ws_url"]

    async def talk(key: str) -> tuple[list[Any], int]:
        async with websockets.connect(where, proxy=None) as socket:
            frames = [json.loads(await socket.recv())]
            await socket.send(json.dumps({"action": "auth", "params": key}))
            frames.append(json.loads(await socket.recv()))
            try:
                await socket.send(json.dumps({"action": "subscribe", "params": "T.AAPL"}))
                while True:
                    frames.append(json.loads(await asyncio.wait_for(socket.recv(), 5)))
            except websockets.ConnectionClosed as closed:
                return [frame[0]["status"] for frame in frames], closed.rcvd.code

    assert asyncio.run(talk("nobody")) == (["connected", "auth_failed"], 1008)
    assert asyncio.run(talk(venue.address["polygon_key"])) == (
        ["connected", "auth_success", "success", "max_connections"], 1008,
    )  # fmt: skip
