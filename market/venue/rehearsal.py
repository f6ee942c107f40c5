"""A venue inside the current process, for tests and notebooks: `with RehearsalVenue(speed=0) as venue: ...`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from market.venue.command import Options, build_server, ready_line
from market.venue.server import Server

T = TypeVar("T")


class RehearsalVenue:
    """The same server as the command's, on its own thread. `address` is the command's JSON line as a dict."""

    def __init__(self, options: Options | None = None, **changes: Any) -> None:
        self.options = options or Options(**changes)
        self.address: dict[str, Any] = {}
        self.server: Server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="venue", daemon=True)

    def __enter__(self) -> RehearsalVenue:
        self._thread.start()
        try:
            self.server = self.call(lambda: build_server(self.options))
            self._await(self.server.start(self.options.port, self.options.control_port))
        except BaseException:
            self._halt()
            raise
        self.address = ready_line(self.server)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._await(self.server.stop())
        self._halt()

    def _halt(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _await(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def call(self, action: Callable[[], T]) -> T:
        """Run `action` on the venue's own thread, where the exchange may be touched."""

        async def run() -> T:
            return action()

        result: T = self._await(run())
        return result

    def advance(self, seconds: float) -> None:
        """Move a stepped clock and play what happens."""
        self.call(lambda: self.server.control.perform("POST", "/clock", {"advance_s": seconds}))

    def move_to(self, moment: str) -> None:
        """Move a stepped clock to an RFC 3339 time."""
        self.call(lambda: self.server.control.perform("POST", "/clock", {"to": moment}))
