"""How a batch wants to be executed: over what time, at what price, in what shape.

It arrives with the batch, as approved; the defaults are: at once, by limit orders just through the
far side, whole shares, regular hours.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum

import msgspec


class Schedule(StrEnum):
    """When the shares may be sent."""

    IMMEDIATE = "immediate"
    TWAP = "twap"
    """Evenly over the window, in ``slices`` steps."""
    VWAP = "vwap"
    """Along the cumulative volume curve of the day."""
    PARTICIPATION = "participation"
    """No more than ``participation`` of the volume printed since the start."""
    OPEN = "open"
    """Limit-on-open, into the opening auction."""
    CLOSE = "close"
    """Limit-on-close, into the closing auction."""


class Price(StrEnum):
    """At what limit price."""

    COLLAR = "collar"
    """Just through the far side: marketable, yet bounded. Priced anew by cancel and a new order."""
    PEG_NEAR = "peg_near"
    """At our own side of the quote, replaced as it moves, a bounded number of times; then the collar."""
    PEG_MID = "peg_mid"
    """At the midpoint, rounded away from crossing; otherwise as PEG_NEAR."""


class ExecutionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """See the module's text. ``start`` and ``end`` None mean arrival and the batch's end of validity."""

    schedule: Schedule = Schedule.IMMEDIATE
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    slices: int = 12
    curve: tuple[float, ...] = ()
    """Cumulative fraction of the day's volume at equal steps from open to close, ending at 1."""
    participation: Decimal = Decimal("0.05")
    price: Price = Price.COLLAR
    replaces_max: int = 5
    """Replaces of one pegged order before it crosses the spread."""
    fractional: bool = False
    """Fractions of a share where the name allows them: DAY orders, simple class, long only."""
    extended_hours: bool = False
    order_notional_min_usd: Decimal = Decimal(100)
    no_trade_band: Decimal = Decimal("0.002")
    """Differences below this fraction of equity are left alone: they cost more than they correct."""


IMMEDIATE = ExecutionPolicy()
