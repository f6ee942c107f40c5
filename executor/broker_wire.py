"""The SDK's two wires to the broker, held to our terms: one send, an end to waiting, and every byte kept.

alpaca-py retries POST on 429 and 504 by itself and sets no timeout; both are switched off here and
checked before anything is sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import requests
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream
from requests.adapters import HTTPAdapter

from executor.errors import ExecutorError
from executor.messages import BrokerMessage, News, kept_headers
from executor.settings import BrokerSettings

Keep = Callable[..., None]
"""Takes :class:`executor.messages.BrokerMessage`s; returns once they are durable, from any thread."""

log = logging.getLogger(__name__)


class Calls:
    """The calls of the last minute: how many failed, and the slowest answer."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, float, bool]] = deque()

    def add(self, at_s: float, took_ms: float, *, failed: bool) -> None:
        """One call, ended at ``at_s`` (monotonic seconds)."""
        self._calls.append((at_s, took_ms, failed))

    def last_minute(self, now_s: float) -> tuple[int, float]:
        """``(failed calls, slowest answer in ms)``."""
        while self._calls and self._calls[0][0] < now_s - 60:
            self._calls.popleft()
        answered = [took for _, took, failed in self._calls if not failed]
        return sum(failed for _, _, failed in self._calls), max(answered, default=0.0)


class KeepingAdapter(HTTPAdapter):
    """Gives every request a connect and a read timeout, retries nothing, and keeps both sides' bytes."""

    def __init__(self, connect_s: float, read_s: float, keep: Keep, news: News) -> None:
        self.timeout = (connect_s, read_s)
        self._keep, self._news = keep, news
        super().__init__(max_retries=0)

    def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        kwargs["timeout"] = self.timeout
        address = f"{request.method} {request.path_url}"
        sent = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        asked = self._news.of_answer(address, sent, b"")
        said = [] if request.method == "GET" else [BrokerMessage("rest", "out", sent, asked, address)]
        try:
            answer = super().send(request, **kwargs)
            body = answer.content  # the whole body, read here: a reset in its middle is a failure too
        except requests.RequestException as error:
            failed = BrokerMessage("rest", "in", b"", asked, address, failure=type(error).__name__)
            self._keep(*said, failed)
            raise
        refs = self._news.of_answer(address, sent, body)
        got = BrokerMessage(
            "rest", "in", body, refs, address, answer.status_code, kept_headers(answer.headers)
        )
        self._keep(*said, got)
        return answer


class UpdateStream(TradingStream):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's stream, with every frame kept before it is parsed; one that cannot be parsed becomes ``{}``."""

    def __init__(
        self, *args: Any, keep: Keep, news: News, fail: Callable[[BaseException], None], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._keep, self._news, self._fail = keep, news, fail

    async def _consume(self) -> None:
        while self._stop_stream_queue.empty():
            try:
                # Not wait_for: before Python 3.12 it swallows a cancel that comes together with a frame.
                async with asyncio.timeout(5):
                    frame = await self._ws.recv()
            except TimeoutError:
                continue
            body = frame if isinstance(frame, bytes) else frame.encode()
            message = BrokerMessage("trade_updates", "in", body, self._news.of_frame(body))
            try:
                await asyncio.to_thread(self._keep, message)
            except ExecutorError as error:
                self._fail(error)  # raised here it would drown in the SDK
                return
            await self._take(body)
        self._stop_stream_queue.get(timeout=1)
        await self.close()

    async def _take(self, body: bytes) -> None:
        try:
            said = json.loads(body)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            log.error(
                "a frame of the trade updates is no JSON object; it is kept, and a sweep looks up what it said"
            )
            said = {"stream": "trade_updates"}
        if said.get("stream") == "trade_updates":
            self._data_received = True
        await self._dispatch(said)


def trading_client(settings: BrokerSettings, key: str, secret: str, keep: Keep, news: News) -> TradingClient:
    """The SDK's client, answering raw, that sends once, gives up in time and keeps both sides' bytes."""
    client = TradingClient(key, secret, url_override=settings.url, raw_data=True)
    client._retry = 0
    adapter = KeepingAdapter(settings.connect_timeout_s, settings.read_timeout_s, keep, news)
    client._session.mount("http://", adapter)
    client._session.mount("https://", adapter)
    client._session.trust_env = False
    assert_safe(client)
    return client


def assert_safe(client: TradingClient) -> None:
    """Check that the SDK sends once, gives up in time and hides no bytes; a renamed private must not go unseen."""
    adapter = client._session.get_adapter("https://any")
    sends_once = client._retry == 0 and isinstance(adapter, KeepingAdapter) and adapter.max_retries.total == 0
    if not sends_once or not hasattr(TradingStream, "_consume"):
        raise ExecutorError(
            "alpaca-py would retry, hang or parse what was not kept; its internals changed, pin the tested version"
        )
