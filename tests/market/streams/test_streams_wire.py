"""The stream against a real server: the same records as the SDK decodes, and what becomes of a bad peer."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import msgspec
import pytest
from alpaca.data.live import StockDataStream
from picows import WSListener, WSMsgType, WSTransport, ws_create_server

from market.streams import alpaca, polygon
from market.streams.connection import Connection, Phase
from market.streams.conversation import Refused
from market.venue.command import Options
from market.venue.rehearsal import RehearsalVenue

DEADLINE_S = 30.0
NAMES = ("AAPL", "KO", "GE")


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for the condition; fails with its name."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:.0f} s: {what}"
        await asyncio.sleep(0.01)


async def play_until(venue: RehearsalVenue, condition: Callable[[], Any], what: str) -> None:
    """Move the stepped venue on until the condition holds: a subscription is obeyed some time after it is sent."""
    for _ in range(200):
        if condition():
            return
        await asyncio.to_thread(venue.advance, 5)
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within a thousand seconds of the venue: {what}")


class Taken:
    """What a connection told, with the task it runs in."""

    def __init__(self, url: str, dialect: Any, **options: Any) -> None:
        self.records: list[Any] = []
        self.phases: list[tuple[Phase, str]] = []
        kinds = ("trade", "quote", "bar", "status", "band", "correction", "cancel")
        self.connection = Connection(
            url,
            dialect,
            dict.fromkeys(kinds, self.records.append),
            on_phase=lambda phase, reason: self.phases.append((phase, reason)),
            jitter=lambda: 0.0,
            **options,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.connection.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def of(self, kind: str) -> list[Any]:
        return [r for r in self.records if r.kind == kind]


@pytest.fixture
def venue() -> Any:
    options = Options(speed=0, start="10:00", rate_limit=0, symbols=list(NAMES), conflate=False)
    with RehearsalVenue(options) as running:
        yield running


class SdkListener:
    """alpaca-py's own client on a thread, for comparison."""

    def __init__(self, address: dict[str, Any]) -> None:
        self.quotes: list[dict[str, Any]] = []
        self.trades: list[dict[str, Any]] = []
        self.stream = StockDataStream(
            address["key_id"], address["secret_key"], raw_data=True, url_override=address["data_stream_url"]
        )

        async def quote(raw: dict[str, Any]) -> None:
            self.quotes.append(raw)

        async def trade(raw: dict[str, Any]) -> None:
            self.trades.append(raw)

        self.stream.subscribe_quotes(quote, *NAMES)
        self.stream.subscribe_trades(trade, *NAMES)
        self.thread = threading.Thread(target=self.stream.run, daemon=True)
        self.thread.start()


def moment(stamp: Any) -> dt.datetime:
    return dt.datetime.fromtimestamp(round((stamp.seconds * 10**9 + stamp.nanoseconds) / 1000) / 1e6, dt.UTC)


async def test_alpacas_records_are_what_the_sdk_decodes(venue: RehearsalVenue) -> None:
    sdk = SdkListener(venue.address)
    ours = Taken(
        venue.address["data_stream_url"],
        alpaca.Alpaca(venue.address["key_id"], venue.address["secret_key"], channels=("trades", "quotes")),
    )
    ours.connection.want(NAMES)
    async with ours.running():
        await until(lambda: ours.connection.phase is Phase.READY, "ready")
        await until(lambda: sdk.stream._running, "the SDK is ready")
        await play_until(venue, lambda: sdk.quotes and ours.of("quote"), "both are subscribed")
        since = max(q.at for q in ours.of("quote")) + dt.timedelta(seconds=5)
        await asyncio.to_thread(venue.advance, 90)
        await until(
            lambda: sdk.quotes and moment(sdk.quotes[-1]["t"]) >= since + dt.timedelta(seconds=60),
            "the SDK is told",
        )
        await until(
            lambda: max(q.at for q in ours.of("quote")) >= since + dt.timedelta(seconds=60), "we are told"
        )
    await asyncio.to_thread(sdk.stream.stop)
    end = since + dt.timedelta(seconds=60)

    def within(rows: list[Any]) -> list[Any]:
        return sorted(row for row in rows if since < row[-1] < end)

    theirs = [(q["S"], q["bp"], q["bs"], q["ap"], q["as"], moment(q["t"])) for q in sdk.quotes]
    mine = [(q.symbol, q.bid, q.bid_size, q.ask, q.ask_size, q.at) for q in ours.of("quote")]
    assert len(within(mine)) > 20
    assert within(mine) == within(theirs)
    prints = [
        (t["S"], t["i"], t["x"], t["p"], t["s"], list(t["c"]), t["z"], moment(t["t"])) for t in sdk.trades
    ]
    told = [
        (t.symbol, t.trade_id, t.exchange, t.price, t.size, list(t.conditions), t.tape, t.at)
        for t in ours.of("trade")
    ]
    assert len(within(told)) > 5
    assert within(told) == within(prints)


async def test_polygons_records_come_with_the_same_names(venue: RehearsalVenue) -> None:
    ours = Taken(f"{venue.address['polygon_ws_url']}", polygon.Polygon(venue.address["polygon_key"]))
    ours.connection.want(NAMES)
    async with ours.running():
        await until(lambda: ours.connection.phase is Phase.READY, "ready")
        await play_until(venue, lambda: ours.of("quote") and ours.of("trade"), "quotes and trades")
        quote, trade = ours.of("quote")[-1], ours.of("trade")[-1]
    assert {quote.symbol, trade.symbol} <= set(NAMES)
    assert 0 < quote.bid <= quote.ask
    assert quote.at.tzinfo is dt.UTC
    assert trade.size > 0
    assert ours.connection.not_understood == 0


async def test_names_asked_for_later_come_too_and_dropped_ones_stop(venue: RehearsalVenue) -> None:
    ours = Taken(
        venue.address["data_stream_url"],
        alpaca.Alpaca(venue.address["key_id"], venue.address["secret_key"], channels=("quotes",)),
    )
    ours.connection.want(["AAPL"])
    async with ours.running():
        await until(lambda: ours.connection.phase is Phase.READY, "ready")
        ours.connection.want(["KO"])
        ours.connection.drop(["AAPL"])
        await play_until(venue, lambda: any(q.symbol == "KO" for q in ours.records), "KO")
        ours.records.clear()
        await play_until(venue, lambda: len(ours.records) > 5, "more")
    assert {q.symbol for q in ours.records} == {"KO"}


async def test_a_wrong_key_ends_it_with_the_way_out(venue: RehearsalVenue) -> None:
    ours = Taken(venue.address["data_stream_url"], alpaca.Alpaca(venue.address["key_id"], "WRONG"))
    with pytest.raises(Refused, match="402 auth failed; check the key"):
        await asyncio.wait_for(ours.connection.run(), DEADLINE_S)
    assert ours.connection.connects == 1


async def test_a_cut_connection_comes_back_with_every_name(venue: RehearsalVenue) -> None:
    ours = Taken(
        venue.address["data_stream_url"],
        alpaca.Alpaca(venue.address["key_id"], venue.address["secret_key"], channels=("quotes",)),
    )
    ours.connection.want(NAMES)
    control = venue.server.control
    async with ours.running():
        await until(lambda: ours.connection.phase is Phase.READY, "ready")
        for kind in ("abort", "close"):
            connects = ours.connection.connects
            await asyncio.to_thread(
                venue.call,
                lambda kind=kind: control.perform("POST", "/faults", {"kind": kind, "socket": "data"}),
            )
            await until(lambda connects=connects: ours.connection.connects > connects, "a new connection")
            await until(lambda: ours.connection.phase is Phase.READY, "ready again")
        ours.records.clear()
        await play_until(venue, lambda: {q.symbol for q in ours.records} == set(NAMES), "every name")


async def test_a_mute_peer_is_left(venue: RehearsalVenue) -> None:
    ours = Taken(
        venue.address["data_stream_url"],
        alpaca.Alpaca(venue.address["key_id"], venue.address["secret_key"], channels=("quotes",)),
        mute_after_s=lambda: 0.5,
    )
    ours.connection.want(NAMES)
    async with ours.running():  # the stepped venue says nothing by itself
        await until(lambda: ours.connection.connects >= 2, "a second connection")
    assert any("no data for" in reason for _, reason in ours.phases)


async def test_a_vendor_that_has_had_us_before_is_asked_again_when_it_refuses() -> None:
    refusal = msgpack.packb([{"T": "error", "code": 402, "msg": "auth failed"}])
    async with scripted((WSMsgType.BINARY, refusal, True)) as url:  # welcome, and then refused
        ours = Taken(url, alpaca.Alpaca("k", "s"))
        async with ours.running() as task:
            await until(lambda: ours.connection.connects >= 2, "another try")
            assert not task.done()


class Scripted(WSListener):
    """A peer that greets like Alpaca and then sends the frames it was given."""

    frames: tuple[tuple[WSMsgType, bytes, bool], ...] = ()

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.BINARY, msgpack.packb([{"T": "success", "msg": "authenticated"}]))
        for kind, payload, fin in self.frames:
            transport.send(kind, payload, fin)


@asynccontextmanager
async def scripted(*frames: tuple[WSMsgType, bytes, bool]) -> AsyncIterator[str]:
    peer = type("Peer", (Scripted,), {"frames": frames})
    server = await ws_create_server(lambda request: peer(), "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2/sip"


AT = msgpack.Timestamp(1_790_000_000, 123_456_000)
GOOD = {"T": "q", "S": "AAPL", "bp": 1.5, "bs": 100, "ap": 1.6, "as": 200, "t": AT}


async def test_one_unknown_message_costs_only_itself() -> None:
    frame = msgpack.packb([GOOD, {"T": "new kind", "S": "AAPL"}, {"T": "t", "S": "AAPL"}, GOOD])
    async with scripted((WSMsgType.BINARY, frame, True)) as url:
        ours = Taken(url, alpaca.Alpaca("k", "s"))
        async with ours.running():
            await until(lambda: len(ours.records) == 2, "both quotes")
        assert ours.connection.not_understood == 2


async def test_a_handlers_error_costs_only_its_own_message() -> None:
    frame = msgpack.packb([{**GOOD, "S": "BAD"}, GOOD])
    async with scripted((WSMsgType.BINARY, frame, True)) as url:
        ours = Taken(url, alpaca.Alpaca("k", "s"))

        def refuse_bad(quote: Any) -> None:
            if quote.symbol == "BAD":
                raise ValueError("no such name here")
            ours.records.append(quote)

        ours.connection.handlers["quote"] = refuse_bad
        async with ours.running():
            await until(lambda: ours.records, "the good quote")
        assert [q.symbol for q in ours.records] == ["AAPL"]
        assert ours.connection.handler_errors == 1


async def test_fragments_are_put_together() -> None:
    whole = msgpack.packb([GOOD] * 3)
    pieces = (
        (WSMsgType.BINARY, whole[:10], False),
        (WSMsgType.CONTINUATION, whole[10:20], False),
        (WSMsgType.CONTINUATION, whole[20:], True),
    )
    async with scripted(*pieces) as url:
        ours = Taken(url, alpaca.Alpaca("k", "s"))
        async with ours.running():
            await until(lambda: len(ours.records) == 3, "three quotes")


@pytest.mark.parametrize("garbage", [b"\xc1", b"hello", msgpack.packb({"T": "q"}), b""])
async def test_garbage_ends_the_connection_and_not_the_stream(garbage: bytes) -> None:
    async with scripted((WSMsgType.BINARY, garbage, True)) as url:
        ours = Taken(url, alpaca.Alpaca("k", "s"))
        async with ours.running() as task:
            await until(lambda: ours.connection.connects >= 2, "another try")
            assert not task.done()
    assert ours.records == []


async def test_nobody_listening_is_tried_again_and_later_less_often() -> None:
    ours = Taken("ws://127.0.0.1:1/", alpaca.Alpaca("k", "s"))
    pauses = []
    for failures in range(12):
        ours.connection._failures = failures
        pauses.append(ours.connection.pause_s())
    assert pauses == sorted(pauses)
    assert pauses[-1] == 15.0  # half the cap, with the least jitter
    ours.connection._failures = 0
    async with ours.running() as task:
        await until(lambda: ours.connection.connects >= 2, "a second try")
        assert not task.done()


def test_polygons_luld_time_is_read_in_either_unit() -> None:
    at = dt.datetime(2026, 8, 5, 14, 0, tzinfo=dt.UTC)
    for stamp in (int(at.timestamp() * 1000), int(at.timestamp() * 10**9)):
        frame = msgspec.json.encode([{"ev": "LULD", "T": "AAPL", "h": 2.0, "l": 1.0, "i": [17], "t": stamp}])
        ((band,), _) = polygon.Polygon("k").decode(frame)
        assert band.at == at
        assert band.indicators == (polygon.HALT,)
