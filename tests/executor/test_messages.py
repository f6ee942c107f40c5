"""What the broker said is kept as the bytes it was: whole, once, before it is parsed, and with no secret in it."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from alpaca.common.exceptions import APIError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import text
from terminal import Terminal
from websockets.asyncio.server import ServerConnection, serve

from executor import message_log
from executor.broker import Broker
from executor.errors import ExecutorError
from executor.message_log import MessageLog
from executor.messages import BrokerMessage, News
from executor.settings import BrokerSettings
from executor.spool import FILE, Spool
from sql import audit
from sql.ledger import Ledger
from sql.rebuild import compare

NO_LEDGER = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
KEY, SECRET = "KEYKEYKEYKEY", "SECRETSECRETSECRET"


def stored(ledger: Ledger) -> list[Any]:
    with ledger.session() as session:
        return list(session.execute(text("SELECT * FROM ledger.v_messages ORDER BY received_at, message")))


def frame(status: str = "new", **more: Any) -> bytes:
    order = {"id": "b-1", "client_order_id": "sp-1-1", "status": status, "filled_qty": "0"}
    return json.dumps({"stream": "trade_updates", "data": {"event": status, "order": order} | more}).encode()


# ---------------------------------------------------------------- in the ledger, or beside it


@given(st.binary(max_size=300))
def test_a_spooled_message_comes_back_as_it_was(folder_name: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        spool = Spool(Path(name))
        sent = BrokerMessage(
            "trade_updates", "in", folder_name, ("a", "b"), status=None, headers={"date": "x"}
        )
        spool.append([sent])
        with spool.taken() as back:
            assert back == [sent]
        assert not spool.waiting


def test_a_torn_line_is_kept_as_the_bytes_that_are_left(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([BrokerMessage("trade_updates", "in", b"whole")])
    with (spool.folder / FILE).open("ab") as file:
        file.write(b'{"id": "torn')
    with spool.taken() as back:
        assert [m.body for m in back] == [b"whole", b'{"id": "torn']
        assert back[1].failure == "a torn line of the spool file"


def test_an_import_that_fails_loses_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([BrokerMessage("rest", "in", b"1")])
    with pytest.raises(OSError, match="gone"), spool.taken():
        spool.append([BrokerMessage("rest", "in", b"2")])  # another process, in the middle
        raise OSError("gone")
    with spool.taken() as back:
        assert [m.body for m in back] == [b"1", b"2"]


def test_messages_are_in_the_ledger_byte_for_byte_and_in_its_chain(ledger: Ledger, tmp_path: Path) -> None:
    bodies = [b'{"a":  1}', b"<html>\xff\x00 no utf-8", b""]
    with closing(MessageLog(ledger.url, tmp_path)) as messages:
        messages.keep(*(BrokerMessage("rest", "in", body, ("x",), "POST /v2/orders", 500) for body in bodies))
    assert [row.body for row in stored(ledger)] == bodies
    with ledger.session() as session:
        assert audit.verify(session).ok
    with ledger.session() as session:
        built, found = compare(session)
        assert (len(built.raw), found) == (3, [])


def test_an_outage_of_the_ledger_loses_no_message_and_doubles_none(ledger: Ledger, tmp_path: Path) -> None:
    early, late = (
        BrokerMessage("trade_updates", "in", b"early"),
        BrokerMessage("trade_updates", "in", b"late"),
    )
    with closing(MessageLog(NO_LEDGER, tmp_path)) as messages:
        messages.keep(early)
    Spool(tmp_path).append([late])  # the ledger took this one too, but too late to say so
    with closing(MessageLog(ledger.url, tmp_path)) as messages:
        messages.keep(late)
        messages.keep(BrokerMessage("trade_updates", "in", b"after"))
    assert [row.body for row in stored(ledger)] == [b"early", b"late", b"after"]
    assert not Spool(tmp_path).waiting


def test_a_ledger_that_hangs_holds_nothing_up_and_has_each_message_once_in_the_end(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_log, "KEEP_S", 0.2)
    with closing(MessageLog(ledger.url, tmp_path)) as messages:
        messages.keep(BrokerMessage("trade_updates", "in", b"before"))
        with ledger.session() as session:
            session.execute(text("SELECT 1 FROM ledger.audit_head FOR UPDATE"))  # nobody can append now
            messages.keep(BrokerMessage("trade_updates", "in", b"meanwhile"))
            assert Spool(tmp_path).waiting, "on the disk, since the ledger does not answer"
            messages.keep(BrokerMessage("trade_updates", "in", b"and again"))
        monkeypatch.setattr(message_log, "KEEP_S", 30)
        messages._down_until = 0.0
        messages.keep(BrokerMessage("trade_updates", "in", b"after"))
    assert [row.body for row in stored(ledger)] == [b"before", b"meanwhile", b"and again", b"after"]
    assert not Spool(tmp_path).waiting


def test_the_doctor_says_that_messages_wait(terminal: Terminal) -> None:
    assert "messages of the broker" not in terminal.run("ledger", "doctor").out
    Spool(terminal.folder / "state").append([BrokerMessage("rest", "in", b"x")])
    assert "messages of the broker" in terminal.run("ledger", "doctor").out


def test_what_can_be_kept_nowhere_stops_the_executor(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    with pytest.raises(ExecutorError, match="neither in the ledger nor in"):
        MessageLog(None, tmp_path).keep(BrokerMessage("rest", "in", b"x"))


def test_the_same_answer_to_the_same_question_is_kept_once(ledger: Ledger, tmp_path: Path) -> None:
    def answer(body: bytes, status: int = 200) -> BrokerMessage:
        return BrokerMessage("rest", "in", body, (), "GET /v2/positions", status)

    with closing(MessageLog(ledger.url, tmp_path)) as messages:
        for shown in (
            answer(b"[]"),
            answer(b"[]"),
            answer(b"[1]"),
            answer(b"[]"),
            answer(b"no", 500),
            answer(b"no", 500),
        ):
            messages.keep(shown)
    assert [row.body for row in stored(ledger)] == [b"[]", b"[1]", b"[]", b"no", b"no"]


# ---------------------------------------------------------------- what a message tells of


def test_a_list_is_news_of_what_changed_in_it() -> None:
    news, one, two = News(), {"id": "b-1", "client_order_id": "c-1"}, {"id": "b-2", "client_order_id": "c-2"}
    ask = "GET /v2/orders?status=all"
    assert news.of_answer(ask, b"", json.dumps([one, two]).encode()) == ("c-1", "b-1", "c-2", "b-2")
    assert news.of_answer(ask, b"", json.dumps([one, two]).encode()) == ()
    assert news.of_answer(ask, b"", json.dumps([one, two | {"filled_qty": "1"}]).encode()) == ("c-2", "b-2")
    fill = {"id": "a-1", "activity_type": "FILL", "order_id": "b-1"}
    assert news.of_answer("GET /v2/account/activities", b"", json.dumps([fill]).encode()) == ("b-1", "a-1")


@pytest.mark.parametrize(
    ("request_line", "sent", "body", "refs"),
    [
        ("POST /v2/orders", b'{"client_order_id": "c-1"}', b'{"code": 40310000}', ("c-1",)),
        ("DELETE /v2/orders/b-1", b"", b"", ("b-1",)),
        ("GET /v2/orders:by_client_order_id?client_order_id=c-1", b"", b"<html>", ("c-1",)),
        ("POST /v2/orders", b"", b'{"client_order_id": "a\\u0000b", "id": "b"}', ("b",)),
        ("GET /v2/clock", b"", b"[" * 100_000, ()),
    ],
)
def test_an_answer_is_filed_under_what_it_shows_and_what_was_asked(
    request_line: str, sent: bytes, body: bytes, refs: tuple[str, ...]
) -> None:
    assert News().of_answer(request_line, sent, body) == refs


# ---------------------------------------------------------------- through the SDK


class Desk(http.server.BaseHTTPRequestHandler):
    """Answers what the test put on it."""

    answers: list[tuple[int, bytes]]

    def _say(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.answers.pop(0)
        self.send_response(status)
        self.send_header("X-Request-ID", "r-1")
        self.send_header("Set-Cookie", "session=private")
        self.send_header("Content-Length", str(len(body) + (7 if status == 299 else 0)))  # 299: cut short
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_GET = do_POST = do_DELETE = _say

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def desk(*answers: tuple[int, bytes]) -> Iterator[str]:
    handler = type("D", (Desk,), {"answers": list(answers)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def broker_at(url: str, kept: list[BrokerMessage], stream: str = "ws://127.0.0.1:1") -> Broker:
    settings = BrokerSettings(key_id=SecretStr(KEY), secret_key=SecretStr(SECRET), url=url, stream_url=stream)
    return Broker(settings, lambda *messages: kept.extend(messages), News())


def test_a_servers_html_error_is_kept_with_its_request_id_and_no_secret() -> None:
    kept: list[BrokerMessage] = []
    page = b"<html><h1>502 Bad Gateway</h1>\xa9</html>"
    with desk((502, page)) as url, closing(broker_at(url, kept)) as broker, pytest.raises(APIError):
        broker._urgent.post("/orders", {"client_order_id": "sp-9-1"})
    sent, got = kept
    assert (sent.direction, got.direction) == ("out", "in")
    assert json.loads(sent.body)["client_order_id"] == "sp-9-1"
    assert (got.status, got.body, got.refs) == (502, page, ("sp-9-1",))
    assert got.headers["x-request-id"] == "r-1"
    assert not [m for m in kept if KEY in repr(m) or SECRET in repr(m) or "private" in repr(m)]


def test_an_answer_that_breaks_off_is_kept_as_a_failure() -> None:
    kept: list[BrokerMessage] = []
    cut = pytest.raises(requests.RequestException)
    with desk((299, b"{")) as url, closing(broker_at(url, kept)) as broker, cut:
        broker._urgent.post("/orders", {"client_order_id": "sp-9-1"})
    assert [(m.direction, m.status, m.failure) for m in kept] == [
        ("out", None, ""),
        ("in", None, "ChunkedEncodingError"),
    ]


def test_an_answer_is_kept_before_it_is_parsed() -> None:
    kept: list[BrokerMessage] = []
    with desk((200, b"no json"), (404, b'{"code":1}')) as url, closing(broker_at(url, kept)) as broker:
        with pytest.raises(requests.exceptions.JSONDecodeError):
            asyncio.run(broker.account())
        assert kept[0].body == b"no json"
        with pytest.raises(APIError):
            asyncio.run(broker.account())
    assert kept[1].body == b'{"code":1}'


def test_every_frame_is_kept_and_one_nobody_understands_stops_nothing() -> None:
    frames = [frame(), b"\xff not json", b"[1]", frame("a_status_of_next_year"), frame("fill", price="1")]
    kept: list[BrokerMessage] = []
    seen: list[Any] = []

    async def speak(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(json.dumps({"stream": "authorization", "data": {"status": "authorized"}}))
        await connection.recv()
        for body in frames:
            await connection.send(body)
        await connection.wait_closed()

    async def listen() -> None:
        async with serve(speak, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            broker = broker_at("http://127.0.0.1:1", kept, f"ws://127.0.0.1:{port}")
            done = asyncio.Event()

            async def take(raw: Any) -> None:
                assert kept[-1].body == frames[len(seen)], "kept before it is handed on"
                seen.append(raw)
                if len(seen) == len(frames):
                    done.set()

            stream = broker.trade_updates(take, lambda error: pytest.fail(str(error)))
            task = asyncio.create_task(stream._run_forever())
            await asyncio.wait_for(done.wait(), 10)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await stream.close()
            broker.close()

    asyncio.run(listen())
    assert [m.body for m in kept] == frames
    assert seen[1] == seen[2] == {"stream": "trade_updates"}
    assert seen[3]["data"]["order"]["status"] == "a_status_of_next_year"
    assert [m.refs for m in kept] == [("sp-1-1", "b-1"), (), (), ("sp-1-1", "b-1"), ("sp-1-1", "b-1")]


def test_a_frame_that_cannot_be_kept_ends_the_executor_and_is_not_acted_on(tmp_path: Path) -> None:
    def nowhere(*_: BrokerMessage) -> None:
        raise ExecutorError("neither")

    failures: list[BaseException] = []
    broker = broker_at("http://127.0.0.1:1", [])
    broker._keep = nowhere

    async def take(raw: Any) -> None:
        pytest.fail("acted on")

    class Socket:
        async def recv(self) -> bytes:
            return frame()

    async def listen() -> None:
        stream = broker.trade_updates(take, failures.append)
        stream._ws = Socket()
        await stream._consume()

    asyncio.run(listen())
    broker.close()
    assert [str(f) for f in failures] == ["neither"]


@pytest.mark.parametrize("beats", range(4))
def test_a_cancel_that_comes_with_a_frame_still_ends_the_stream(beats: int) -> None:
    """Or the executor waits for this task for ever when it ends in the middle of a busy stream."""

    async def listen() -> bool:
        arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        class Socket:
            async def recv(self) -> bytes:
                return await arrived if not arrived.done() else await asyncio.Event().wait() or b""

        async def take(raw: Any) -> None:
            pass

        broker = broker_at("http://127.0.0.1:1", [])
        stream = broker.trade_updates(take, lambda error: None)
        stream._ws = Socket()
        task = asyncio.create_task(stream._consume())
        for _ in range(5):
            await asyncio.sleep(0)  # until it waits for a frame
        arrived.set_result(frame())
        for _ in range(beats):
            await asyncio.sleep(0)  # the frame is on its way
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=1)
        broker.close()
        return bool(done)

    assert asyncio.run(listen())


def test_a_message_has_its_id_from_its_arrival_on() -> None:
    one, two = BrokerMessage("rest", "in", b""), BrokerMessage("rest", "in", b"")
    assert one.message_id != two.message_id
    assert isinstance(one.message_id, uuid.UUID)
