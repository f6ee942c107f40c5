"""The vendor's minute bars checked against its own prints: a lost print shows as missing volume.

Which prints count towards volume and which towards the price is the tapes' rule (UTP and CTA
specifications, "sale conditions"): corrected and official prints do not add volume.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

NO_VOLUME = frozenset({"M", "Q", "9"})
"""Market center official close and open, corrected consolidated close: prices, not trades."""
TOLERANCE = 0.001


@dataclass(frozen=True)
class Discrepancy:
    """A bar that its prints do not add up to."""

    symbol: str
    minute: dt.datetime
    bar_volume: float
    print_volume: float

    @property
    def missing(self) -> float:
        """Fraction of the bar's volume that no print accounts for (negative: more prints than bar)."""
        return (self.bar_volume - self.print_volume) / max(self.bar_volume, 1.0)


class BarAudit:
    """Adds prints up by minute and compares when the bar comes. Minutes before the first print are not judged."""

    def __init__(self) -> None:
        self._volumes: dict[str, dict[dt.datetime, float]] = defaultdict(dict)
        self._since: dict[str, dt.datetime] = {}
        self.bars = 0

    def trade(self, trade: Any) -> None:
        """A print."""
        self._since.setdefault(trade.symbol, trade.at)
        if NO_VOLUME.isdisjoint(trade.conditions):
            self._add(trade.symbol, trade.at, trade.size)

    def cancelled(self, symbol: str, at: dt.datetime, size: float) -> None:
        """A print taken back."""
        self._add(symbol, at, -size)

    def gap(self, symbol: str, now: dt.datetime) -> None:
        """Prints may have been lost up to now and were not filled in: judge from the next minute on."""
        self._volumes.pop(symbol, None)
        self._since[symbol] = now

    def bar(self, bar: Any) -> Discrepancy | None:
        """The vendor's bar for a minute that is over; None if it adds up or cannot be judged."""
        since = self._since.get(bar.symbol)
        minutes = self._volumes[bar.symbol]
        counted = minutes.pop(bar.at, 0.0)
        for old in [m for m in minutes if m < bar.at]:
            del minutes[old]
        if since is None or since > bar.at:
            return None
        self.bars += 1
        if abs(bar.volume - counted) <= TOLERANCE * max(bar.volume, 1.0):
            return None
        return Discrepancy(bar.symbol, bar.at, bar.volume, counted)

    def _add(self, symbol: str, at: dt.datetime, size: float) -> None:
        minute = at.replace(second=0, microsecond=0)
        minutes = self._volumes[symbol]
        minutes[minute] = minutes.get(minute, 0.0) + size
