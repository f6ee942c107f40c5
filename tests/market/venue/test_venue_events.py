"""Server-sent events: trade updates and activities, live and from the past."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
import requests
from venue_clients import Wire, wait_until

from market.venue.event_stream import WAITING_MAX, Event, Listener, Span, ulid
from market.venue.rehearsal import RehearsalVenue

TRADES, ACTIVITIES = "/v2/events/trades", "/v2beta1/events/activities"


def events(wire: Wire, path: str, **query: str) -> list[dict[str, Any]]:
    """The events of a stream that ends by itself."""
    answer = wire("GET", path, params=query)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


class Stream:
    """An open stream on a thread."""

    def __init__(self, wire: Wire, path: str) -> None:
        self.seen: list[dict[str, Any]] = []
        self.ready = threading.Event()
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(wire, path), daemon=True)
        self._thread.start()
        assert self.ready.wait(5)

    def _run(self, wire: Wire, path: str) -> None:
        with requests.get(wire.base + path, headers=wire.headers, stream=True, timeout=20) as answer:
            for raw in answer.iter_lines():
                line = raw.decode()
                if line.startswith(":"):
                    self.ready.set()
                elif line.startswith("data: "):
                    self.seen.append(json.loads(line[6:]))
        self.ended.set()


def test_trade_updates_and_activities_arrive_as_they_happen(venue: RehearsalVenue, wire: Wire) -> None:
    trades, activities = Stream(wire, TRADES), Stream(wire, ACTIVITIES)
    order = wire.order(qty="2").json()
    venue.advance(1)
    wait_until(lambda: [e["event"] for e in trades.seen] == ["pending_new", "new", "fill"], "three updates")
    wait_until(lambda: activities.seen, "the fill as an activity")
    assert {e["order"]["id"] for e in trades.seen} == {order["id"]}
    ids = [e["event_id"] for e in trades.seen]
    assert ids == sorted(ids)
    assert len(set(ids)) == 3
    fill = activities.seen[0]
    assert set(fill) == {"activity_type", "at", "currency", "details", "event_id", "executed_at", "net_amount", "price",
                         "qty", "ref_id", "settle_date", "status"}  # fmt: skip
    assert (fill["activity_type"], fill["qty"], fill["settle_date"]) == ("FILL", "2", "2022-12-30")
    assert fill["net_amount"].startswith("-")
    assert (fill["details"]["order_id"], fill["details"]["leaves_qty"]) == (order["id"], "0")


def test_the_past_can_be_asked_for_by_time_and_by_id(venue: RehearsalVenue, wire: Wire) -> None:
    for qty in ("1", "2"):
        wire.order(qty=qty)
        venue.advance(60)
    everything = events(wire, TRADES, since="2022-12-28", until="2022-12-28T15:01:30Z")
    assert [e["event"] for e in everything] == ["pending_new", "new", "fill"] * 2
    first = events(wire, TRADES, since="2022-12-28", until="2022-12-28T15:00:30Z")
    assert first == everything[:3]
    ids = [e["event_id"] for e in everything]
    assert events(wire, TRADES, since_id=ids[2], until_id=ids[4]) == everything[2:5]
    other_account = {"APCA-API-KEY-ID": "x", "APCA-API-SECRET-KEY": "y"}
    assert wire("GET", TRADES, headers=other_account).status_code == 401


def test_a_stream_with_an_end_in_the_future_ends_when_the_clock_has_passed_it(
    venue: RehearsalVenue, wire: Wire
) -> None:
    stream = Stream(wire, f"{TRADES}?since=2022-12-28&until=2022-12-28T15:30:00Z")
    wire.order()
    venue.advance(60)
    wait_until(lambda: len(stream.seen) == 3, "the updates")
    assert not stream.ended.is_set()
    venue.advance(1800)
    assert stream.ended.wait(5)


@pytest.mark.parametrize(
    "query",
    [
        {"until": "2022-12-28"},
        {"until_id": "01GNCKYMC00000000000000001"},
        {"since": "2022-12-28", "since_id": "01GNCKYMC00000000000000001"},
        {"since": "yesterday"},
        {"since_id": "short"},
    ],
)
def test_contradictions_are_refused(shared_wire: Wire, query: dict[str, str]) -> None:
    answer = shared_wire("GET", TRADES, params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_ids_sort_as_time_and_number_do() -> None:
    stamps = [(t, n) for t in (0, 10**15, 1_672_239_600 * 10**9) for n in (0, 1, 31, 32, 10**9)]
    ids = [ulid(t, n) for t, n in stamps]
    assert ids == sorted(ids)
    assert {len(text) for text in ids} == {26}


def test_a_client_that_does_not_read_loses_messages_and_is_told_how_many() -> None:
    span = Span(since=0)
    listener = Listener("trades", 0, span)
    for number in range(WAITING_MAX + 7):
        listener.hear(Event(number, 0, number, {"n": number}))
    frames = asyncio.run(listener.frames())
    assert frames is not None
    assert frames.count(b"data: ") == WAITING_MAX
    assert frames.endswith(b": you are reading too slowly, dropped 7 messages\n\n")
