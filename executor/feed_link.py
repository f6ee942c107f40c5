"""One vendor's live feed: its connection, the life of each of its names, and its gaps healed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from executor.market_day import MarketDay
from executor.settings import Settings
from market.streams import backfill
from market.streams.alpaca import Alpaca
from market.streams.connection import Connection, Phase
from market.streams.conversation import Dialect
from market.streams.healing import Fetch, Healing
from market.streams.liveness import Life, Liveness
from market.streams.polygon import Polygon

log = logging.getLogger(__name__)

HEAL_AGAIN_S = 5.0


class FeedLink:
    """A vendor's feed. Records go to ``sink`` as they are; prints in order, with none lost or doubled.

    Attributes
    ----------
    consolidated : bool
        Whether its prints are the whole market's. IEX is a few percent of the volume, so that
        participation must not be measured by it.
    why : str
        Why it is not connected, for people.
    """

    def __init__(self, settings: Settings, vendor: str, day: MarketDay, sink: Callable[[Any], None]) -> None:
        url, dialect, fetch = _of_vendor(settings, vendor)
        self.vendor = vendor
        self.consolidated = "iex" not in PurePosixPath(urlsplit(url).path).parts
        self.liveness = Liveness()
        self.why = "not connected yet"
        self._day = day
        self._sink = sink
        self._healing = Healing(fetch, sink)
        self._since: float | None = None
        self._lost = False
        self._tasks: set[asyncio.Task[None]] = set()
        passed = dict.fromkeys(("quote", "status", "band", "bar"), self._take)
        self.connection = Connection(
            url,
            dialect,
            {**passed, "trade": self._take_trade},
            on_phase=self._on_phase,
            mute_after_s=lambda: self.liveness.silence_allowed_s(in_session=day.is_open),
        )

    async def run(self) -> None:
        """Keep it up for ever. Raises ``Refused`` when the vendor will not have us."""
        await self.connection.run()

    def watch(self, symbols: set[str]) -> None:
        """Ask for names too."""
        if self._since is None:
            self._since = time.monotonic()
        for symbol in symbols:
            self.liveness.watch(symbol)
        self.connection.want(symbols)

    @property
    def live(self) -> bool:
        """Connected, and not silent for longer than chance allows (a silent one is left by its connection)."""
        return self.connection.phase is Phase.READY

    def life(self, symbol: str) -> Life:
        """The name's state now."""
        return self.liveness.life(symbol, time.monotonic(), in_session=self._day.is_open)

    def age_s(self) -> float | None:
        """Seconds since the last record, or since names were first asked for; None before that."""
        last = self.connection.last_data or self._since
        return None if last is None else time.monotonic() - last

    async def close(self) -> None:
        """Stop healing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------------ inside

    def _take(self, record: Any) -> None:
        self.liveness.saw(record.symbol, time.monotonic())
        self._sink(record)

    def _take_trade(self, record: Any) -> None:
        self.liveness.saw(record.symbol, time.monotonic())
        self._healing.take(record)

    def _on_phase(self, phase: Phase, reason: str) -> None:
        self.why = f"{phase}: {reason}"
        if phase is Phase.DOWN:
            log.warning("%s feed is down: %s", self.vendor, reason)
            self.liveness.cut()
            self._healing.open_gap(self.connection.symbols)
            self._lost = True
        elif phase is Phase.READY and self._lost:
            self._lost = False
            task = asyncio.get_running_loop().create_task(self._heal(sorted(self.connection.symbols)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _heal(self, symbols: list[str]) -> None:
        while True:
            try:
                await self._healing.heal(symbols, self._day.clock.now())
            except Exception as error:
                # Whatever the vendor's client raises: the names stay unusable until it is filled.
                log.warning("%s: the gap is not filled yet: %s", self.vendor, type(error).__name__)
                await asyncio.sleep(HEAL_AGAIN_S)
            else:
                break
            if self._lost:
                return  # cut again; the next connection heals from the same last print
        for symbol in symbols:
            self.liveness.healed(symbol)


def _of_vendor(settings: Settings, vendor: str) -> tuple[str, Dialect, Fetch]:
    feed = settings.feed
    if vendor == "alpaca":
        key, secret = (
            settings.broker.key_id.get_secret_value(),
            settings.broker.secret_key.get_secret_value(),
        )
        path = PurePosixPath(urlsplit(feed.stream_url).path)
        dialect: Dialect = Alpaca(key, secret, channels=("trades", "quotes", "statuses", "lulds"))
        return feed.stream_url, dialect, backfill.alpaca_trades(key, secret, feed.data_url, path.name)
    key = feed.polygon_key.get_secret_value()
    return feed.polygon_stream_url, Polygon(key), backfill.polygon_trades(key, feed.polygon_url)
