"""The trade_updates socket, raw: what it says to whom, in which frames, and what each update carries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import websockets
from alpaca.trading.models import TradeUpdate
from venue_clients import Wire

from market.venue.exchange import Rules
from market.venue.rehearsal import RehearsalVenue


class Stream:
    """One raw connection; binary frames holding JSON, as the paper service sends them."""

    def __init__(self, venue: RehearsalVenue) -> None:
        self.venue = venue

    async def __aenter__(self) -> Stream:
        self.socket = await websockets.connect(self.venue.address["trading_stream_url"], proxy=None)
        return self

    async def __aexit__(self, *ignored: object) -> None:
        await self.socket.close()

    async def ask(self, message: Any) -> dict[str, Any]:
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
        return await self.next()

    async def next(self) -> dict[str, Any]:
        frame = await asyncio.wait_for(self.socket.recv(), 5)
        assert isinstance(frame, bytes)
        return json.loads(frame)

    async def login(self, **changes: str) -> dict[str, Any]:
        pair = {
            "key_id": self.venue.address["key_id"],
            "secret_key": self.venue.address["secret_key"],
            **changes,
        }
        return await self.ask({"action": "authenticate", "data": pair})

    async def listen(self, *streams: str) -> dict[str, Any]:
        return await self.ask({"action": "listen", "data": {"streams": list(streams)}})


def test_the_handshake_word_by_word(venue: RehearsalVenue) -> None:
    async def talk() -> list[dict[str, Any]]:
        async with Stream(venue) as stream:
            return [
                await stream.listen("trade_updates"),
                await stream.login(secret_key="wrong"),
                await stream.login(),
                await stream.listen("trade_updates", "gossip"),
                await stream.listen(),
            ]

    assert asyncio.run(talk()) == [
        {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}},
        {"stream": "authorization", "data": {"status": "unauthorized", "action": "authenticate"}},
        {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}},
        {"stream": "listening", "data": {"streams": ["trade_updates"]}},
        {"stream": "listening", "data": {"streams": []}},
    ]


def test_the_newer_form_of_authentication_works_too(venue: RehearsalVenue) -> None:
    async def talk() -> dict[str, Any]:
        async with Stream(venue) as stream:
            pair = venue.address
            return await stream.ask({"action": "auth", "key": pair["key_id"], "secret": pair["secret_key"]})

    assert asyncio.run(talk())["data"]["status"] == "authorized"


def test_an_empty_listen_stops_the_updates_and_nothing_is_replayed(venue: RehearsalVenue, wire: Wire) -> None:
    async def talk() -> list[str]:
        async with Stream(venue) as stream:
            await stream.login()
            await stream.listen("trade_updates")
            await stream.listen()
            await asyncio.to_thread(wire.order)
            await stream.listen("trade_updates")
            seen = (await asyncio.to_thread(wire.order, symbol="KO")).json()["id"]
            frames = [await stream.next() for _ in range(3)]
            assert {frame["data"]["order"]["id"] for frame in frames} == {seen}
            return [frame["data"]["event"] for frame in frames]

    assert asyncio.run(talk()) == ["pending_new", "new", "fill"]


def test_what_an_update_carries(venue: RehearsalVenue, wire: Wire) -> None:
    async def talk() -> list[dict[str, Any]]:
        async with Stream(venue) as stream:
            await stream.login()
            await stream.listen("trade_updates")
            placed = (await asyncio.to_thread(wire.order, side="sell", qty="4")).json()
            frames = [await stream.next() for _ in range(3)]
            resting = (await asyncio.to_thread(wire.order, type="limit", limit_price="90", side="buy")).json()
            frames += [await stream.next() for _ in range(2)]
            await asyncio.to_thread(wire, "DELETE", f"/v2/orders/{resting['id']}")
            frames += [await stream.next() for _ in range(2)]
            assert set(placed) == set(frames[0]["data"]["order"])
            return frames

    frames = asyncio.run(talk())
    assert all(frame["stream"] == "trade_updates" for frame in frames)
    data = [frame["data"] for frame in frames]
    assert [d["event"] for d in data] == [
        "pending_new",
        "new",
        "fill",
        "pending_new",
        "new",
        "pending_cancel",
        "canceled",
    ]
    for d in data:
        extra = {"price", "qty", "position_qty"} if d["event"] == "fill" else set()
        assert set(d) == {"event", "execution_id", "order", "timestamp"} | extra
        assert TradeUpdate(**d)
    fill = data[2]
    assert (fill["qty"], fill["position_qty"]) == ("4", "-4")
    assert isinstance(fill["price"], str)
    assert Decimal(fill["price"]) == Decimal(fill["order"]["filled_avg_price"])
    assert [d["order"]["status"] for d in data] == [
        "pending_new", "new", "filled", "pending_new", "new", "pending_cancel", "canceled",
    ]  # fmt: skip
    assert len({d["execution_id"] for d in data}) == len(data)


def test_words_that_mean_nothing_are_answered_and_end_badly(venue: RehearsalVenue) -> None:
    async def talk() -> tuple[dict[str, Any], dict[str, Any]]:
        async with Stream(venue) as stream:
            odd = await stream.ask({"action": "sing"})
            nonsense = await stream.ask("{")
            return odd, nonsense

    odd, nonsense = asyncio.run(talk())
    assert odd["stream"] == nonsense["stream"] == "error"


def test_the_rule_sends_the_updates_in_text_frames(start_venue: Callable[..., RehearsalVenue]) -> None:
    venue = start_venue(rules=Rules(update_frames="text"))
    address = venue.address

    async def talk() -> Any:
        async with websockets.connect(address["trading_stream_url"], proxy=None) as socket:
            keys = {"key_id": address["key_id"], "secret_key": address["secret_key"]}
            await socket.send(json.dumps({"action": "authenticate", "data": keys}))
            return await asyncio.wait_for(socket.recv(), 5)

    frame = asyncio.run(talk())
    assert isinstance(frame, str)
    assert json.loads(frame)["data"]["status"] == "authorized"
