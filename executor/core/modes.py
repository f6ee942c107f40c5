"""The modes, loosest first. By itself the executor only tightens; a person loosens."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What the executor may do."""

    READY = "READY"
    """Everything the gate lets through."""
    REDUCING = "REDUCING"
    """Drawdown: targets and gross are scaled down and stay so."""
    CLOSE_ONLY = "CLOSE_ONLY"
    """Only orders that reduce a position."""
    FLATTENING = "FLATTENING"
    """Cancel everything, then close every position."""
    HALTED = "HALTED"
    """No orders at all; cancels only."""


ORDER = tuple(Mode)


def tighter(first: Mode, second: Mode) -> Mode:
    """The stricter of two modes."""
    return max(first, second, key=ORDER.index)
