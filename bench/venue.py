"""How fast the local exchange is, each figure beside what the same bytes cost with no exchange behind them.

    python bench/venue.py

The venue runs in its own process on one core, the load in this one (and a second client process) on the other.
Floors, in the same run: an aiohttp handler that answers a fixed order body (HTTP), and an aiohttp socket that sends
one ready-made frame over and over (streams). Read the ratios; a shared machine moves by 30 % from run to run.
"""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl

ROOT = Path(__file__).parents[1]
NAMES = 200
SECONDS = 4.0
ORDER = b'{"symbol":"S000","qty":1.0,"side":"buy","type":"limit","time_in_force":"day","limit_price":1.0}'
MARKET = b'{"symbol":"S001","qty":1.0,"side":"buy","type":"market","time_in_force":"day"}'

FLOOR = """
import asyncio, sys
from aiohttp import web, WSMsgType
BODY = b"{" + b'"k":"vvvvvvvvvvvvvvvvvvvvv",' * 40 + b'"e":1}'
FRAME = open(sys.argv[1], "rb").read()
async def serve(request):
    if request.headers.get("Upgrade"):
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        try:
            while not ws.closed:
                await ws.send_bytes(FRAME)
        except ConnectionError:
            pass
        return ws
    await request.read()
    return web.Response(body=BODY, headers={"Content-Type": "application/json"})
async def main():
    runner = web.ServerRunner(web.Server(serve, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def prices(path: Path) -> None:
    """Two days of `NAMES` liquid names."""
    rng = np.random.default_rng(1)
    rows = []
    for n in range(NAMES):
        price = float(rng.uniform(20, 200))
        for day in (dt.date(2022, 12, 27), dt.date(2022, 12, 28)):
            rows.append((f"S{n:03d}", day, price, price * 1.02, price * 0.98, price * 1.01, 5e6))
    columns = ["symbol", "date", "open", "high", "low", "close", "volume"]
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(path)


def start_venue(data: Path, *words: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A venue in its own process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "market.venue", "--data", str(data), "--rate-limit", "0", "--cash", "1000000000", *words],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Keepalive:
    """One keep-alive connection that posts the same bytes; as little client as possible."""

    def __init__(self, url: str, path: str, headers: dict[str, str], body: bytes) -> None:
        where = urlsplit(url)
        assert where.hostname is not None
        self.socket = socket.create_connection((where.hostname, where.port or 80))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body
        self._buffer = b""

    def send(self) -> None:
        """One request."""
        self.socket.sendall(self.request)

    def receive(self) -> bool:
        """Read what is there; whether an answer is complete."""
        self._buffer += self.socket.recv(65536)
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        assert head.startswith(b"HTTP/1.1 200"), self._buffer[:400]
        low = head.lower()
        at = low.index(b"content-length:") + 15
        length = int(low[at : at + 8].split(b"\r\n")[0])
        if len(rest) < length:
            return False
        self._buffer = rest[length:]
        return True


def posts_a_second(url: str, headers: dict[str, str], body: bytes, clients: int) -> float:
    """Answered posts a second over `clients` connections, each with one request in flight."""
    connections = [Keepalive(url, "/v2/orders", headers, body) for _ in range(clients)]
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        for key, _ in selector.select(1):
            if key.data.receive():
                done += 1
                key.data.send()
    for connection in connections:
        connection.socket.close()
    return done / elapsed


def upgrade(url: str, headers: str = "") -> socket.socket:
    """A WebSocket handshake by hand."""
    where = urlsplit(url)
    assert where.hostname is not None
    connection = socket.create_connection((where.hostname, where.port or 80))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    connection.sendall(
        (
            f"GET {where.path or '/'} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        ).encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(1)
    return connection


def say(connection: socket.socket, message: bytes, opcode: int = 1) -> None:
    """A masked frame."""
    size = len(message)
    head = bytes([0x80 | opcode]) + (
        bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    )
    connection.sendall(head + b"\0\0\0\0" + message)


class Frames:
    """Counts frames, bytes and array elements without decoding them."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = bytearray()

    def read(self) -> tuple[int, int]:
        """(frames, array elements) of one read."""
        self._buffer += self.connection.recv(1 << 20)
        frames = elements = 0
        at = 0
        buffer = self._buffer
        while len(buffer) - at >= 2:
            size, head = buffer[at + 1] & 0x7F, 2
            if size == 126:
                head = 4
                size = int.from_bytes(buffer[at + 2 : at + 4], "big")
            elif size == 127:
                head = 10
                size = int.from_bytes(buffer[at + 2 : at + 10], "big")
            if len(buffer) - at < head + size:
                break
            first = buffer[at + head] if size else 0
            if first & 0xF0 == 0x90:
                elements += first & 0x0F
            elif first == 0xDC:
                elements += int.from_bytes(buffer[at + head + 1 : at + head + 3], "big")
            frames += 1
            at += head + size
        del buffer[:at]
        return frames, elements


def subscriber(url: str, line: dict[str, Any], answer: Any) -> tuple[int, float]:
    """Messages received in the measured time, in a process of its own."""
    connection = upgrade(url, "Content-Type: application/msgpack\r\n")
    import msgpack

    if line:
        say(
            connection,
            msgpack.packb({"action": "auth", "key": line["key_id"], "secret": line["secret_key"]}),
            2,
        )
        say(connection, msgpack.packb({"action": "subscribe", "quotes": ["*"]}), 2)
    frames = Frames(connection)
    warm = time.perf_counter() + 0.7
    while time.perf_counter() < warm:
        frames.read()
    total, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        total += frames.read()[1]
    connection.close()
    answer.put((total, elapsed))
    return total, elapsed


def fanned_out(url: str, line: dict[str, Any], subscribers: int) -> float:
    """Messages a second over all subscribers together."""
    answer: Any = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=subscriber, args=(url, line, answer)) for _ in range(subscribers)
    ]
    for worker in workers:
        worker.start()
    results = [answer.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    return sum(total / elapsed for total, elapsed in results)


def updates_a_second(line: dict[str, Any], headers: dict[str, str]) -> tuple[float, float]:
    """(trade updates, orders) a second while four connections send market orders."""
    stream = upgrade(line["trading_stream_url"])
    login = {"action": "authenticate", "data": {"key_id": line["key_id"], "secret_key": line["secret_key"]}}
    say(stream, json.dumps(login).encode())
    say(stream, json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}).encode())
    frames = Frames(stream)
    connections = [Keepalive(line["rest_url"], "/v2/orders", headers, MARKET) for _ in range(4)]
    selector = selectors.DefaultSelector()
    selector.register(stream, selectors.EVENT_READ, None)
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send()
    updates, orders, start = 0, 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        for key, _ in selector.select(1):
            if key.data is None:
                updates += frames.read()[0]
            elif key.data.receive():
                orders += 1
                key.data.send()
    for connection in connections:
        connection.socket.close()
    stream.close()
    return updates / elapsed, orders / elapsed


def row(name: str, value: float, floor: float, note: str = "") -> None:
    """One line of the table."""
    beside = f"{floor:>12,.0f} /s  {value / floor:6.1%}" if floor else f"{'-':>15}  {'':6}"
    print(f"{name:<48}{value:>12,.0f} /s {beside}  {note}")


def measured(process: subprocess.Popen[str], work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the share of a core the venue used meanwhile."""
    before, start = cpu_seconds(process.pid), time.perf_counter()
    result = work()
    return result, (cpu_seconds(process.pid) - before) / (time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    print(
        f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {SECONDS:.0f} s a figure, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':<48}{'venue':>15} {'floor':>15}  venue/floor")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "prices.parquet"
        prices(data)
        frame = Path(folder) / "frame"
        frame.write_bytes(b"\xdc\x01\x2c" + (b"\x8b" + b"q" * 99) * 300)
        code = [sys.executable, "-c", FLOOR, str(frame)]
        floor_process = subprocess.Popen(code, stdout=subprocess.PIPE, text=True)
        assert floor_process.stdout is not None
        floor_url = f"http://127.0.0.1:{floor_process.stdout.readline().strip()}"
        process, line = start_venue(data, "--speed", "1")
        headers = {"APCA-API-KEY-ID": line["key_id"], "APCA-API-SECRET-KEY": line["secret_key"],
                   "Content-Type": "application/json"}  # fmt: skip
        try:
            for clients in (1, 4):
                floor = posts_a_second(floor_url, headers, ORDER, clients)
                value, cpu = measured(
                    process, lambda n=clients: posts_a_second(line["rest_url"], headers, ORDER, n)
                )
                row(
                    f"orders accepted over HTTP, {clients} connection(s)",
                    value,
                    floor,
                    f"venue {cpu:.0%} of a core, {cpu / value * 1e6:.0f} us each",
                )
            (updates, orders), cpu = measured(process, lambda: updates_a_second(line, headers))
            row(
                "trade updates delivered (4 connections trade)",
                updates,
                0,
                f"at {orders:,.0f} market orders/s, venue {cpu:.0%} of a core",
            )
        finally:
            process.terminate()
            process.wait()
        for subscribers in (1, 10):
            floor = fanned_out(floor_url.replace("http", "ws") + "/v2/sip", {}, subscribers)
            speed = "1500" if subscribers == 1 else "400"
            process, line = start_venue(data, "--speed", speed, "--no-conflate", "--step", "1")
            try:
                due = NAMES * float(speed) * subscribers
                value, cpu = measured(
                    process, lambda n=subscribers, to=line: fanned_out(to["data_stream_url"], to, n)
                )
                row(f"quotes fanned out, {subscribers} subscriber(s) of {NAMES} names", value, floor,
                    f"{due:,.0f} due, venue {cpu:.0%}")  # fmt: skip
            finally:
                process.terminate()
                process.wait()
        floor_process.terminate()
        floor_process.wait()


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    main()
