"""Two vendors, one in use: over to the backup when the primary is not live, back when it has held for a while.

While both are live their quotes are compared: two feeds that disagree about a price by more than their
spreads, for longer than a moment, mean that one of them is wrong, and nobody here can know which.
"""

from __future__ import annotations

from dataclasses import dataclass

HOLD_S = 30.0
"""The primary must have been live for so long before it is used again: no flapping."""
DISAGREE_S = 5.0
"""Vendors are milliseconds apart; a difference that lasts is none of speed."""
DISAGREE_BP = 20.0
"""Basis points between the two mids beyond both half spreads."""


class Failover:
    """Which of two feeds to use. Times are seconds of one monotonic clock, given by the caller."""

    def __init__(self) -> None:
        self.active: str | None = None
        """``primary``, ``backup``, or None while neither is live."""
        self.switches = 0
        self._primary_since: float | None = None

    def judge(self, *, primary_live: bool, backup_live: bool, now_s: float) -> str | None:
        """The feed to use now."""
        if not primary_live:
            self._primary_since = None
        elif self._primary_since is None:
            self._primary_since = now_s
        if primary_live and (self.active != "backup" or not backup_live or self._held(now_s)):
            chosen: str | None = "primary"
        else:
            chosen = "backup" if backup_live else None
        if chosen != self.active:
            self.switches += self.active is not None
            self.active = chosen
        return chosen

    def _held(self, now_s: float) -> bool:
        return self._primary_since is not None and now_s - self._primary_since >= HOLD_S


@dataclass
class _Pair:
    primary: tuple[float, float] | None = None
    backup: tuple[float, float] | None = None
    apart_since: float | None = None


class CrossCheck:
    """Compares the two vendors' quotes name by name."""

    def __init__(self) -> None:
        self._pairs: dict[str, _Pair] = {}

    def quote(self, feed: str, symbol: str, bid: float, ask: float, now_s: float) -> None:
        """A two-sided quote of ``primary`` or ``backup``; others are no opinion."""
        if not 0 < bid <= ask:
            return
        pair = self._pairs.setdefault(symbol, _Pair())
        setattr(pair, feed, (bid, ask))
        apart = self._apart(pair)
        if not apart:
            pair.apart_since = None
        elif pair.apart_since is None:
            pair.apart_since = now_s

    def disagreeing(self, now_s: float) -> list[str]:
        """Names whose vendors have disagreed for longer than a moment."""
        return sorted(
            s
            for s, p in self._pairs.items()
            if p.apart_since is not None and now_s - p.apart_since > DISAGREE_S
        )

    @staticmethod
    def _apart(pair: _Pair) -> bool:
        if pair.primary is None or pair.backup is None:
            return False
        (bid, ask), (other_bid, other_ask) = pair.primary, pair.backup
        mid, other = (bid + ask) / 2, (other_bid + other_ask) / 2
        half_spreads = (ask - bid + other_ask - other_bid) / 2
        return abs(mid - other) - half_spreads > DISAGREE_BP / 1e4 * min(mid, other)
