"""The live feeds watched: which is in use, which names are fit to be traded on, and who is told.

The primary feed is used while it lives, the backup while it does not. What changes is told to the core
as feed states: of the whole (no feed lives), and of a name (stale, its gap not filled yet, or the two
vendors disagree about its price).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from executor.core.events import Feed, FeedState
from executor.desk import Desk
from executor.feed import TRANSLATE
from executor.feed_link import FeedLink
from market.live_guard import BAD_PRINT, GOOD, OUT_OF_ORDER, LiveGuard
from market.streams.failover import CrossCheck, Failover
from market.streams.liveness import Life


class FeedWatch:
    """Subscribes names as they are needed, hands events to the core, and judges the feeds.

    Parameters
    ----------
    guard : callable
        Runs a loop whose end ends the executor.
    """

    def __init__(self, desk: Desk, guard: Callable[[Awaitable[Any], str], Coroutine[Any, Any, None]]) -> None:
        self.desk = desk
        settings = desk.settings
        self._replayed = settings.environment == "replay"
        vendors = {"primary": settings.feed.primary, "backup": settings.feed.backup}
        self.links = {
            role: FeedLink(settings, vendor, desk.day, self._sink(role))
            for role, vendor in vendors.items()
            if vendor
        }
        self.symbols: set[str] = set()
        self.failover = Failover()
        self.cross = CrossCheck()
        self.last_ns: int | None = None
        self.refused = 0
        """Prints and quotes of the feed in use that were not believed."""
        self._guards: dict[str, LiveGuard] = {}
        self._guard = guard
        self._tasks: list[asyncio.Task[None]] = []
        self._told: dict[str | None, tuple[Feed, str]] = {}
        self._alerted = False

    async def watch(self, symbols: set[str]) -> None:
        """Subscribe these names too; the first ones start the feeds."""
        self.symbols |= symbols
        for link in self.links.values():
            link.watch(symbols)
        if symbols and not self._tasks:
            self._tasks = [
                asyncio.create_task(self._guard(link.run(), f"{link.vendor} feed"))
                for link in self.links.values()
            ]

    async def look(self) -> None:
        """Judge the feeds, tell the core what has changed, and a person when nothing comes in the session."""
        if not self.symbols:
            return
        self._choose()
        for symbol, (state, detail) in self._states().items():
            if self._told.get(symbol, (Feed.LIVE, ""))[0] is not state:
                await self.desk.tell(
                    FeedState(
                        **self.desk.day.stamp(),
                        feed=self._vendor(),
                        state=state,
                        symbol=symbol,
                        detail=detail,
                    )
                )
                self._told[symbol] = (state, detail)
        await self._alert_silence()

    def age_ms(self) -> int | None:
        """Milliseconds since the last record that was used; None before the first."""
        return None if self.last_ns is None else (self.desk.clock.now_ns() - self.last_ns) // 1_000_000

    async def close(self) -> None:
        """Stop the feeds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in self.links.values():
            await link.close()

    # ------------------------------------------------------------------ inside

    def _sink(self, role: str) -> Callable[[Any], None]:
        def take(record: Any) -> None:
            if record.kind == "quote" and len(self.links) > 1:
                self.cross.quote(role, record.symbol, record.bid, record.ask, time.monotonic())
            if (self.failover.active or "primary") != role:
                return
            if self._bad(record):
                self.refused += 1
                return
            translate = TRANSLATE.get(record.kind)
            # Volume that is not the whole market's is no volume to take a share of.
            if translate is None or (record.kind == "trade" and not self.links[role].consolidated):
                return
            clock = self.desk.clock
            now_ns = clock.now_ns()
            event = translate(record, clock.now(), now_ns, self._replayed)
            if event is not None:
                self.last_ns = now_ns
                self.desk.observe(event)

        return take

    def _bad(self, record: Any) -> bool:
        """Whether a print or quote is no number, too old, or far from every other; a crossed or wide quote passes.

        The core knows what to do with those: the name is not to be traded on.
        """
        if record.kind not in ("quote", "trade"):
            return False
        guard = self._guards.get(record.symbol)
        if guard is None:
            guard = self._guards[record.symbol] = LiveGuard()
        at = record.at.timestamp()
        if record.kind == "quote":
            return guard.quote(record.bid, record.ask, at) in (BAD_PRINT, OUT_OF_ORDER)
        return guard.trade(record.price, record.size, at) != GOOD

    def _choose(self) -> None:
        backup = self.links.get("backup")
        self.failover.judge(
            primary_live=self.links["primary"].live,
            backup_live=backup is not None and backup.live,
            now_s=time.monotonic(),
        )

    def _vendor(self) -> str:
        return self.links[self.failover.active or "primary"].vendor

    def _states(self) -> dict[str | None, tuple[Feed, str]]:
        """State of the whole (None) and of each name on the feed in use."""
        role = self.failover.active
        if role is None:
            return {None: (Feed.DOWN, "; ".join(f"{x.vendor} {x.why}" for x in self.links.values()))}
        link = self.links[role]
        states: dict[str | None, tuple[Feed, str]] = {None: (Feed.LIVE, "")}
        apart = set(self.cross.disagreeing(time.monotonic())) if len(self.links) > 1 else set()
        for symbol in self.symbols:
            life = link.life(symbol)
            if symbol in apart:
                states[symbol] = (Feed.CROSSED, "the two vendors disagree about its price")
            elif life is Life.STALE:
                states[symbol] = (Feed.STALE, "silent for longer than it ever is")
            elif life is Life.HEALING:
                states[symbol] = (Feed.STALE, "the gap after a reconnect is not filled yet")
            else:
                states[symbol] = (Feed.LIVE, "")
        return states

    async def _alert_silence(self) -> None:
        ages = [link.age_s() for link in self.links.values()]
        age = min((a for a in ages if a is not None), default=None)
        limit = float(self.desk.engine.limits["quote_age_s"])
        silent = self.desk.day.is_open and age is not None and age > limit
        if silent and not self._alerted:
            await self.desk.journal.alert(
                "critical",
                "feed_stale",
                f"No quote for {age:.0f} s",
                f"{len(self.symbols)} names are watched; no new risk is taken.",
            )
        self._alerted = silent
