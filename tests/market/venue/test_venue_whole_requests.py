"""The short way for requests that arrive whole answers as the long one does, and takes nothing that is not plain."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from venue_clients import SYMBOLS

from market.venue.command import Options
from market.venue.rehearsal import RehearsalVenue
from market.venue.whole_requests import BODY_WAIT_S, parse_head

BODY = b'{"symbol":"AAPL","qty":"1","side":"buy","type":"limit","limit_price":"50","time_in_force":"day"}'


@pytest.fixture(scope="module")
def venue_here() -> Iterator[RehearsalVenue]:
    with RehearsalVenue(Options(speed=0, start="10:00", rate_limit=100_000, symbols=SYMBOLS)) as venue:
        yield venue


def head(
    venue: RehearsalVenue, line: str = "POST /v2/orders HTTP/1.1", length: int = len(BODY), *more: str
) -> bytes:
    pair = venue.address
    lines = [
        line,
        "Host: x",
        f"apca-api-key-id: {pair['key_id']}",
        f"APCA-API-SECRET-KEY: {pair['secret_key']}",
        *more,
    ]
    if length >= 0:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def answers(
    venue: RehearsalVenue, *pieces: bytes, wait_s: float = 0.0, count: int = 1
) -> list[tuple[int, dict[str, str], bytes]]:
    """Send the pieces, read so many answers: (status, headers, body)."""
    where = urlsplit(venue.address["rest_url"])
    found: list[tuple[int, dict[str, str], bytes]] = []
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, piece in enumerate(pieces):
            if number and wait_s:
                time.sleep(wait_s)  # the venue is to see two pieces: there is nothing to wait on
            connection.sendall(piece)
        stream = connection.makefile("rb")
        for _ in range(count):
            status = int(stream.readline().split()[1])
            headers: dict[str, str] = {}
            while line := stream.readline().strip():
                name, _, value = line.decode().partition(": ")
                headers[name] = value
            found.append((status, headers, stream.read(int(headers.get("Content-Length", 0)))))
    return found


def test_in_one_piece_or_in_many_the_answer_is_the_same(venue_here: RehearsalVenue) -> None:
    whole = head(venue_here) + BODY
    slowly = 2 * BODY_WAIT_S
    chunked = head(venue_here, "POST /v2/orders HTTP/1.1", -1, "Transfer-Encoding: chunked")
    ways = [
        answers(venue_here, whole),
        answers(venue_here, head(venue_here), BODY, wait_s=0.005),
        answers(venue_here, head(venue_here), BODY, wait_s=slowly),
        answers(venue_here, whole[:40], whole[40:], wait_s=0.005),
        answers(venue_here, whole[:-30], whole[-30:], wait_s=0.005),
        answers(venue_here, chunked, b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
        answers(venue_here, whole + whole, count=2)[1:],
        answers(venue_here, whole, whole, count=2, wait_s=0.005)[1:],
    ]
    shapes = set()
    for ((status, headers, body),) in ways:
        order = json.loads(body)
        assert (status, order["symbol"], order["status"]) == (200, "AAPL", "pending_new")
        assert headers["Content-Type"] == "application/json"
        shapes.add((tuple(sorted(headers)), tuple(order)))
    assert len(shapes) == 1
    assert len({json.loads(way[0][2])["id"] for way in ways}) == len(ways)


def test_answers_without_a_body_and_refusals_come_the_same_way(venue_here: RehearsalVenue) -> None:
    order = json.loads(answers(venue_here, head(venue_here) + BODY)[0][2])["id"]
    ((status, headers, body),) = answers(
        venue_here, head(venue_here, f"DELETE /v2/orders/{order} HTTP/1.1", 0)
    )
    assert (status, body) == (204, b"")
    assert "Content-Type" not in headers
    ((status, _, body),) = answers(venue_here, head(venue_here, "GET /v2/nothing?a=1&b=%2C HTTP/1.1", 0))
    assert (status, json.loads(body)["code"]) == (404, 40410000)
    wrong = head(venue_here, "GET /v2/account HTTP/1.1", 0).replace(
        b"apca-api-key-id: ", b"apca-api-key-id: X"
    )
    assert answers(venue_here, wrong)[0][0] == 401


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /v2/clock HTTP/1.0\r\nHost: x", b"BREW /v2/clock HTTP/1.1\r\nHost: x", b"GET /v2/cl%6Fck HTTP/1.1\r\nHost: x",
        b"GET http://x/v2/clock HTTP/1.1\r\nHost: x", b"GET /v2/clock HTTP/1.1", b"GET /v2/clock HTTP/1.1\r\nHost: x\r\n folded: y",
        b"GET /v2/clock HTTP/1.1\r\nHost: x\r\nHost: y", b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket",
        b"GET /v2/clock HTTP/1.1\r\nHost: x\r\nConnection: close", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2", b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue",
        b"GET /v2/clock HTTP/1.1\r\nHost: \xff", b"GET  /v2/clock HTTP/1.1\r\nHost: x", b"",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_long_way(raw: bytes) -> None:
    assert parse_head(raw) is None


def test_a_plain_head_is_read() -> None:
    found = parse_head(
        b"GET /v2/orders?status=all&symbols=A%2CB HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nX-Y: z "
    )
    assert found is not None
    assert (found.method, found.path, found.query) == (
        "GET",
        "/v2/orders",
        {"status": "all", "symbols": "A,B"},
    )
    assert (found.headers.get("x-y"), found.headers.get("X-Y"), found.length) == ("z", "z", 0)
