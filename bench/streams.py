"""Market data off the wire: messages a second through our connection, beside both SDKs' own clients.

One server process floods one client with quotes, in frames of one and of twenty; the client only counts.
Run: ``python bench/streams.py [--messages N]``. Baseline: alpaca-py's StockDataStream and polygon's
WebSocketClient with raw records, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import msgpack
from alpaca.data.live import StockDataStream
from picows import WSListener, WSMsgType, WSTransport, ws_create_server
from polygon import WebSocketClient

from market.streams.alpaca import Alpaca
from market.streams.connection import Connection
from market.streams.polygon import Polygon

AT = msgpack.Timestamp(1_790_000_000, 123_456_000)
ALPACA_QUOTE = {"T": "q", "S": "AAPL", "bx": "V", "bp": 150.01, "bs": 300, "ax": "V", "ap": 150.02, "as": 200,
                "c": ["R"], "z": "C", "t": AT}  # fmt: skip
POLYGON_QUOTE = {"ev": "Q", "sym": "AAPL", "bx": 4, "bp": 150.01, "bs": 3, "ax": 7, "ap": 150.02, "as": 2,
                 "c": 1, "i": [604], "t": 1_790_000_000_123, "q": 123, "z": 3}  # fmt: skip


def serve(vendor: str, messages: int, batch: int, port: Any) -> None:
    """Greet as the vendor does, and after the subscription send everything as fast as it is taken."""

    class Peer(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            hello = (
                msgpack.packb([{"T": "success", "msg": "connected"}])
                if vendor == "alpaca"
                else json.dumps([{"ev": "status", "status": "connected", "message": "hello"}]).encode()
            )
            transport.send(self.kind, hello)

        kind = WSMsgType.BINARY if vendor == "alpaca" else WSMsgType.TEXT
        flooding = False

        def on_ws_frame(self, transport: WSTransport, frame: Any) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()
                return
            said = frame.get_payload_as_bytes()
            if b"auth" in said[:40] and b"subscribe" not in said[:40]:
                done = (
                    msgpack.packb([{"T": "success", "msg": "authenticated"}])
                    if vendor == "alpaca"
                    else json.dumps([{"ev": "status", "status": "auth_success", "message": "ok"}]).encode()
                )
                transport.send(self.kind, done)
            elif not self.flooding and (b"AAPL" in said):
                self.flooding = True
                self.task = asyncio.get_running_loop().create_task(self.flood(transport))

        async def flood(self, transport: WSTransport) -> None:
            frame = (
                msgpack.packb([ALPACA_QUOTE] * batch)
                if vendor == "alpaca"
                else json.dumps([POLYGON_QUOTE] * batch).encode()
            )
            for i in range(messages // batch):
                transport.send(self.kind, frame)
                if i % 50 == 0:
                    await asyncio.sleep(0)
                    while transport.underlying_transport.get_write_buffer_size() > 1 << 20:  # noqa: ASYNC110
                        await asyncio.sleep(0)

    async def main() -> None:
        server = await ws_create_server(lambda request: Peer(), "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        async with server:
            await asyncio.sleep(600)

    asyncio.run(main())


class Counter:
    """Counts to the end; the first message starts the clock."""

    def __init__(self, messages: int, done: Callable[[], None]) -> None:
        self.messages, self.done = messages, done
        self.count = 0
        self.began = self.ended = 0.0

    def take(self, _: Any) -> None:
        """One record."""
        if self.count == 0:
            self.began = time.perf_counter()
        self.count += 1
        if self.count == self.messages:
            self.ended = time.perf_counter()
            self.done()

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / (self.ended - self.began)


async def ours(vendor: str, port: int, messages: int) -> float:
    """Our connection."""
    ended = asyncio.Event()
    counter = Counter(messages, ended.set)
    dialect = (
        Alpaca("k", "s", channels=("quotes",)) if vendor == "alpaca" else Polygon("k", channels=("quotes",))
    )
    connection = Connection(
        f"ws://127.0.0.1:{port}/v2/sip", dialect, {"quote": counter.take}, on_phase=lambda *_: None
    )
    connection.want(["AAPL"])
    task = asyncio.create_task(connection.run())
    await ended.wait()
    task.cancel()
    return counter.rate


async def alpaca_sdk(port: int, messages: int) -> float:
    """alpaca-py's client, raw records."""
    stream = StockDataStream("k", "s", raw_data=True, url_override=f"ws://127.0.0.1:{port}/v2/sip")
    ended = asyncio.Event()
    counter = Counter(messages, ended.set)

    async def handler(record: Any) -> None:
        counter.take(record)

    stream.subscribe_quotes(handler, "AAPL")
    task = asyncio.create_task(stream._run_forever())
    await ended.wait()
    task.cancel()
    await stream.close()
    return counter.rate


async def polygon_sdk(port: int, messages: int) -> float:
    """Polygon's client, raw records."""
    client = WebSocketClient("k", feed=f"127.0.0.1:{port}", market="stocks", secure=False, raw=True)
    client.subscribe("Q.AAPL")
    ended = asyncio.Event()
    counter = Counter(messages, ended.set)

    async def handler(frame: Any) -> None:
        for record in json.loads(frame):
            if record["ev"] == "Q":
                counter.take(record)

    task = asyncio.create_task(client.connect(handler, proxy=None))
    await ended.wait()
    task.cancel()
    return counter.rate


def measure(vendor: str, batch: int, messages: int, client: Callable[[int, int], Any]) -> float:
    """One client against one server process."""
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(vendor, messages, batch, theirs), daemon=True)
    server.start()
    try:
        return float(asyncio.run(client(mine.recv(), messages)))
    finally:
        server.kill()
        server.join()


def main() -> None:
    """Print the table."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=200_000)
    messages = parser.parse_args().messages
    sdks = {"alpaca": alpaca_sdk, "polygon": polygon_sdk}
    print(f"{'vendor':<8} {'frame of':>8} {'ours msg/s':>12} {'SDK msg/s':>12} {'ratio':>7}")
    for vendor, sdk in sdks.items():
        for batch in (1, 20):
            fast = measure(vendor, batch, messages, lambda port, n, v=vendor: ours(v, port, n))
            slow = measure(vendor, batch, messages // 4, sdk)
            print(f"{vendor:<8} {batch:>8} {fast:>12,.0f} {slow:>12,.0f} {fast / slow:>6.1f}x")


if __name__ == "__main__":
    main()
