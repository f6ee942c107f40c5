"""The live feed watched: which names, how old the last quote is, and who is told when none comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from executor.core.events import Quote
from executor.desk import Desk
from executor.feed import Feed


class FeedWatch:
    """Subscribes names as they are needed and says once that quotes have stopped.

    Parameters
    ----------
    guard : callable
        Runs a loop whose end ends the executor.
    """

    def __init__(self, desk: Desk, guard: Callable[[Awaitable[Any], str], Coroutine[Any, Any, None]]) -> None:
        self.desk = desk
        self.feed = Feed(desk.settings, desk.clock, self._on_quote)
        self._guard = guard
        self._task: asyncio.Task[None] | None = None
        self._since: int | None = None
        self._stale = False

    def _on_quote(self, quote: Quote) -> None:
        self.desk.engine.decide(quote)

    async def watch(self, symbols: set[str]) -> None:
        """Subscribe these names too; the first ones start the stream."""
        # The SDK waits on its own loop when it subscribes, so it must be called from another thread.
        first = not self.feed.symbols
        await asyncio.to_thread(self.feed.subscribe, symbols)
        if first and symbols:
            self._since = self.desk.clock.now_ns()
            self._task = asyncio.create_task(self._guard(self.feed.stream._run_forever(), "quotes"))

    async def look(self) -> None:
        """Say once that quotes stopped in the session; the quote-age limit itself refuses new risk."""
        age = self.age_ms()
        open_now = self.desk.day.is_open
        limit = self.desk.engine.limits["quote_age_s"]
        if age is None and self._since is not None:
            age = (self.desk.clock.now_ns() - self._since) // 1_000_000  # never a quote since we asked
        stale = bool(self.feed.symbols) and open_now and age is not None and age > 1000 * limit
        if stale and not self._stale:
            title = f"No quote for {age / 1000:.0f} s" if age is not None else "No quote"
            await self.desk.journal.alert(
                "critical",
                "feed_stale",
                title,
                f"{len(self.feed.symbols)} names are watched; no new risk is taken.",
            )
        self._stale = stale

    def age_ms(self) -> int | None:
        """Milliseconds since the last quote of any name; None before the first."""
        last = self.feed.last_ns
        return None if last is None else (self.desk.clock.now_ns() - last) // 1_000_000

    async def close(self) -> None:
        """Stop the stream."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.feed.stream.close(), 2)
