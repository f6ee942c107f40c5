"""Garbage on every port: the protocol's error or a close, bounded memory, and the venue lives on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

import msgpack
import pytest
import requests
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from venue_clients import Wire

from market.venue.data_stream import DataConnection
from market.venue.event_stream import read_span
from market.venue.feeds import FEEDS
from market.venue.order_entry import parse_order, parse_replace
from market.venue.polygon_stream import PolygonConnection
from market.venue.refusals import Refusal
from market.venue.rehearsal import RehearsalVenue
from market.venue.trading_stream import TradingConnection


def alive(wire: Wire) -> None:
    assert wire.get("/v2/clock")["is_open"] is True


def raw(wire: Wire, data: bytes, port: int | None = None, *, timeout: float = 5.0) -> bytes:
    """Send bytes, read until the other side closes or is silent."""
    where = urlsplit(wire.base)
    with socket.create_connection((where.hostname, port or where.port), timeout=timeout) as connection:
        connection.sendall(data)
        connection.settimeout(0.5)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
        return received


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 4096,
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        b"GET /v2/clock HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: no\r\n\r\n",
        b"GET /%ff%fe%00?a=%zz&&&=== HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=range(10),
)
def test_bytes_that_are_no_request_get_an_error_or_a_close_on_both_ports(
    shared_wire: Wire, data: bytes
) -> None:
    control_port = int(shared_wire.venue.address["control_url"].rsplit(":", 1)[1])
    for port in (None, control_port):
        answer = raw(shared_wire, data, port)
        assert answer == b"" or answer.startswith(b"HTTP/1.")
        if answer:
            assert not answer.startswith(b"HTTP/1.1 2")
    alive(shared_wire)


def test_ten_megabytes_of_body_are_refused_without_being_kept(shared_wire: Wire) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    body = b'{"symbol":"' + b"A" * 10_000_000 + b'"}'
    try:
        answer = requests.post(
            shared_wire.base + "/v2/orders", data=body, headers=shared_wire.headers, timeout=10
        )
        assert answer.status_code == 413
    except requests.ConnectionError:
        pass  # refused while the body was still on its way
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 60_000
    alive(shared_wire)


def test_a_slow_request_holds_nobody_up(shared_wire: Wire) -> None:
    where = urlsplit(shared_wire.base)
    slow = []
    for _ in range(50):
        connection = socket.create_connection((where.hostname, where.port), timeout=5)
        connection.sendall(b"POST /v2/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        slow.append(connection)
    for _ in range(5):
        alive(shared_wire)
    for connection in slow:
        connection.close()
    alive(shared_wire)


def test_a_head_that_never_ends_is_cut(venue: RehearsalVenue, wire: Wire) -> None:
    venue.server.head_timeout_s = 0.2
    where = urlsplit(wire.base)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(b"GET /v2/clock HTTP/1.1\r\nX-Slow: ")
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100) == b""
    alive(wire)


def _frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    head = bytes([(0x80 if fin else 0) | reserved | opcode])
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    head += bytes([mask_bit | size]) if size < 126 else bytes([mask_bit | 126]) + struct.pack(">H", size)
    return head + (b"\x00\x00\x00\x00" if masked else b"") + payload


@pytest.mark.parametrize("path", ["/stream", "/v2/iex", "/stocks", "/v1beta1/news"])
@pytest.mark.parametrize(
    "frame",
    [
        _frame(0x3, b"reserved opcode"),
        _frame(0xF, b"reserved control"),
        _frame(0x9, b"x" * 200),  # a ping too long
        _frame(0x1, b"\xff\xfe\xfd"),  # text that is not UTF-8
        _frame(0x0, b"continuation of nothing"),
        _frame(0x1, b"no mask", masked=False),
        _frame(0x1, b"reserved bits", reserved=0x70),
        b"\x81\xff" + struct.pack(">Q", 1 << 62),  # 4 EiB announced
        b"\x88\x81\x00\x00\x00\x00\x01",  # a close frame of one byte
    ],
    ids=range(9),
)
def test_wrong_frames_close_the_socket_and_nothing_else(shared_wire: Wire, path: str, frame: bytes) -> None:
    hello = (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    answer = raw(shared_wire, hello + frame)
    assert answer.startswith(b"HTTP/1.1 101")
    alive(shared_wire)


def test_a_huge_subscription_is_refused_and_the_connection_stays(venue: RehearsalVenue, wire: Wire) -> None:
    pair = venue.address

    async def talk() -> list[Any]:
        async with websockets.connect(
            pair["data_stream_url"], additional_headers={"Content-Type": "application/msgpack"}, proxy=None
        ) as stream:
            await stream.recv()
            await stream.send(
                msgpack.packb({"action": "auth", "key": pair["key_id"], "secret": pair["secret_key"]})
            )
            await stream.recv()
            await stream.send(
                msgpack.packb({"action": "subscribe", "trades": [f"S{n}" for n in range(200_000)]})
            )
            first = msgpack.unpackb(await stream.recv())
            await stream.send(
                msgpack.packb({"action": "subscribe", "trades": [f"S{n}" for n in range(6000)] + ["AAPL"]})
            )
            return [first, msgpack.unpackb(await stream.recv())]

    refused, accepted = asyncio.run(talk())
    assert refused[0]["code"] == 405
    assert accepted[0]["trades"] == ["AAPL"]
    alive(wire)


def test_a_message_over_the_limit_ends_the_connection(venue: RehearsalVenue, wire: Wire) -> None:
    async def talk() -> int:
        async with websockets.connect(venue.address["polygon_ws_url"], proxy=None) as stream:
            await stream.recv()
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await stream.send("x" * (5 * 1024 * 1024))
                await stream.recv()
            return closed.value.rcvd.code if closed.value.rcvd else 1006

    assert asyncio.run(talk()) in (1009, 1006)
    alive(wire)


def test_a_client_that_never_reads_is_cut_off(venue: RehearsalVenue, wire: Wire) -> None:
    """Its queue is bounded: the 407 is the last thing it is told."""
    from market.venue import sockets

    async def connect() -> Any:
        stream = await websockets.connect(venue.address["data_stream_url"], proxy=None)
        await stream.recv()
        pair = venue.address
        await stream.send(json.dumps({"action": "auth", "key": pair["key_id"], "secret": pair["secret_key"]}))
        await stream.recv()
        return stream

    async def talk() -> bool:
        stream = await connect()
        client = next(iter(venue.server.data_clients.values()))
        venue.call(lambda: client.send([b"x" * 1000] * (sockets.QUEUE_BYTES_MAX // 1000 + 1)))
        last = await asyncio.wait_for(stream.recv(), 5)
        assert json.loads(last)[0]["code"] == 407
        with pytest.raises(websockets.ConnectionClosed):
            await stream.recv()
        return True

    assert asyncio.run(talk())
    alive(wire)


# --- fuzz: the protocol objects take any bytes and any JSON -------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
order_keys = st.sampled_from(
    ["symbol", "qty", "notional", "side", "type", "time_in_force", "limit_price", "stop_price", "trail_price",
     "trail_percent", "extended_hours", "client_order_id", "order_class", "take_profit", "stop_loss",
     "position_intent"]
)  # fmt: skip
order_values = json_values | st.sampled_from(
    [
        "AAPL",
        "buy",
        "sell",
        "market",
        "limit",
        "stop",
        "day",
        "gtc",
        "bracket",
        "1",
        "0.1",
        "-1",
        "1e400",
        "NaN",
        "",
    ]
)


@settings(max_examples=400, deadline=None)
@given(fields=st.dictionaries(order_keys, order_values, max_size=10))
def test_any_order_body_is_parsed_or_refused(fields: dict[str, Any]) -> None:
    for parse in (parse_order, parse_replace):
        try:
            parse(fields)
        except Refusal as refusal:
            assert refusal.status in (400, 422)  # noqa: PT017


@settings(max_examples=300, deadline=None)
@given(
    messages=st.lists(st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()), max_size=5)
)
@pytest.mark.parametrize("kind", ["data", "packed", "polygon", "trading"])
def test_any_message_gets_frames_back_and_never_an_exception(kind: str, messages: list[bytes]) -> None:
    talker: Any
    if kind == "polygon":
        talker = PolygonConnection(authenticate=lambda key: True, known=lambda symbol: True)
    elif kind == "trading":
        talker = TradingConnection(lambda key, secret: 0)
    else:
        talker = DataConnection(
            msgpack=kind == "packed",
            feed=FEEDS["iex"],
            authenticate=lambda key, secret: True,
            known=lambda symbol: True,
        )
    for message in messages:
        frames = talker.receive(message)
        assert all(isinstance(frame, bytes) for frame in frames)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"]),
    path=st.sampled_from(
        ["/v2/orders", "/v2/orders/x", "/v2/positions", "/v2/positions/AAPL", "/v2/account/activities",
         "/v2/account/portfolio/history", "/v2/calendar", "/v2/assets", "/v2/stocks/bars", "/v2/stocks/AAPL/trades",
         "/v2/stocks/snapshots", "/v1/corporate-actions", "/v1beta1/screener/stocks/movers", "/v3/trades/AAPL",
         "/v2/aggs/ticker/AAPL/range/1/day/2022-01-01/2022-02-01", "/v3/reference/splits", "/v3/reference/tickers",
         "/v2/aggs/grouped/locale/us/market/stocks/2022-12-27", "/v2/clock", "/", "//", "/v2", "/v2//orders",
         "/v3/clock", "/v3/calendar/NYSE", "/v3/calendar/x", "/v1beta1/news", "/v1beta1/logos/A", "/v2/stocks/auctions",
         "/v2/stocks/meta/conditions/trade", "/v1beta1/screener/stocks/most-actives", "/v2/corporate_actions/announcements",
         "/v1/indicators/sma/AAPL", "/v1/indicators/macd/AAPL", "/v3/snapshot", "/v2/reference/news", "/v3/quotes/KO",
         "/v3/reference/conditions", "/vX/reference/tickers/AAPL/events", "/v2/watchlists", "/v2/watchlists:by_name"]
    ),
    query=st.dictionaries(
        st.sampled_from(["limit", "page_token", "start", "end", "after", "until", "status", "symbols", "timeframe",
                         "sort", "cursor", "timestamp", "timestamp.gte", "order", "page_size", "qty", "percentage",
                         "period", "date", "top", "types", "ticker", "execution_date.gte", "feed", "client_order_id",
                         "nested", "markets", "time", "timezone", "date_type", "ids", "region", "cashflow_types",
                         "pnl_reset", "asof", "adjustment", "currency", "by", "since", "until", "ca_types", "window",
                         "timespan", "series_type", "ticker.any_of", "published_utc.gte", "name", "tape", "id",
                         "intraday_reporting"]),
        st.text(max_size=12) | st.sampled_from(["1", "-1", "999999999999999999999", "2022-12-28", "AAPL", "1Min", "desc",
                                                "0001-01-01", "9999-12-31", "1e9", "1D"]),
        max_size=4,
    ),
    body=st.binary(max_size=30),
)  # fmt: skip
def test_any_request_gets_an_answer_below_500(
    shared_wire: Wire, method: str, path: str, query: dict[str, str], body: bytes
) -> None:
    headers = {**shared_wire.headers, "Authorization": f"Bearer {shared_wire.venue.address['polygon_key']}"}
    answer = shared_wire.session.request(
        method, shared_wire.base + path, params=query, data=body, headers=headers, timeout=10
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and method != "HEAD":
        assert answer.json()


@settings(max_examples=200, deadline=None)
@given(
    query=st.dictionaries(
        st.sampled_from(["since", "until", "since_id", "until_id"]),
        st.text(max_size=30) | st.sampled_from(["2022-12-28", "0" * 26, "9999-12-31", "1", "-1"]),
    )
)
def test_any_span_of_events_is_read_or_refused(query: dict[str, str]) -> None:
    try:
        span = read_span(query)
    except Refusal:
        return
    assert span.live == (not query.get("since") and not query.get("since_id"))


def test_the_venue_has_not_leaked_files(shared_wire: Wire) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(30):
        raw(shared_wire, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after - before < 10
