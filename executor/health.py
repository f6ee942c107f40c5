"""What the breakers live on: the order stream, the broker's answers, the clock, the machine, the account.

Each second what has changed is told to the core; the core judges. Nothing here trips anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from executor.broker import UNANSWERED, Raw
from executor.core.events import (
    AccountSeen,
    BrokerHealth,
    ClockOffset,
    Event,
    HostState,
    OrderStreamState,
)
from executor.desk import Desk

EVERY_S = 1.0
LAGS = 9
"""Seconds over which the loop's lag is the median: one slow moment is no sick process."""
ACCOUNT_EVERY = 15
CLOCK_SAMPLE_EVERY = 60
"""Beats between two samples of the clock in the ledger."""
MEMINFO = Path("/proc/meminfo")


class HealthWatch:
    """Looks at everything trading stands on and tells the core.

    Parameters
    ----------
    stream_up : callable
        Whether order updates are connected.
    """

    def __init__(self, desk: Desk, stream_up: Callable[[], bool]) -> None:
        self.desk = desk
        self._stream_up = stream_up
        self._lags: deque[float] = deque(maxlen=LAGS)
        self._told: dict[type[Event], object] = {}

    async def loop(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        beats = 0
        while True:
            due = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self._lags.append((loop.time() - due) * 1e3)
            beats += 1
            await self._tell(OrderStreamState, up=self._stream_up())
            errors, slowest_ms = self.desk.broker.calls.last_minute(loop.time())
            # The core counts refused orders itself; here only calls are seen.
            await self._tell(BrokerHealth, errors=errors, rejects=0, latency_ms=round(slowest_ms))
            await self._tell(
                HostState,
                disk_used=disk_used(self.desk.settings.state_dir),
                memory_used=memory_used(),
                loop_lag_ms=round(statistics.median(self._lags)),
            )
            await self._clock(beats)
            if beats % ACCOUNT_EVERY == 0:
                with contextlib.suppress(*UNANSWERED):
                    await self.account(await self.desk.broker.account())

    async def account(self, raw: Raw) -> None:
        """The broker's account, as it was just read."""
        await self.desk.tell(account_event(raw, self.desk))

    async def _clock(self, beats: int) -> None:
        day = self.desk.day
        if day.clock.rate != 1.0:
            return  # a replayed market has no clock but the venue's
        await self._tell(ClockOffset, offset_ms=round(-day.offset_s * 1e3))
        if beats % CLOCK_SAMPLE_EVERY == 0:
            await self.desk.journal.record_clock_sample("broker", day.offset_s * 1e3, day.round_trip_s * 1e3)

    async def _tell(self, kind: type[Event], **values: Any) -> None:
        """Tell it if it differs from what was told last."""
        if self._told.get(kind) != values:
            self._told[kind] = values
            await self.desk.tell(kind(**self.desk.day.stamp(), **values))


def account_event(raw: Raw, desk: Desk) -> AccountSeen:
    """The account object as an event; a field that is not there is unknown, not zero."""

    def money(name: str) -> Decimal | None:
        value = raw.get(name)
        return None if value is None else Decimal(value)

    return AccountSeen(
        **desk.day.stamp(),
        equity=money("equity"),
        cash=money("cash"),
        buying_power=money("buying_power"),
        initial_margin=money("initial_margin"),
        maintenance_margin=money("maintenance_margin"),
        trading_blocked=bool(raw.get("trading_blocked")),
        account_blocked=bool(raw.get("account_blocked")),
        shorting_enabled=bool(raw.get("shorting_enabled", True)),
    )


def disk_used(folder: Path) -> float:
    """Fraction of the state folder's disk that is in use, to the thousandth."""
    usage = shutil.disk_usage(folder)
    return round(1 - usage.free / usage.total, 3)


def memory_used(meminfo: Path = MEMINFO) -> float | None:
    """Fraction of memory that is not available (Linux), to the hundredth; None where it cannot be read."""
    try:
        words = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        total, free = (int(words[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return None
    return round(1 - free / total, 2)
