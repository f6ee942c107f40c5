"""Errors of the venue as a program. What it answers to its clients is in refusals.py."""

from __future__ import annotations

from market.errors import MarketError


class VenueError(MarketError):
    """The venue cannot start or go on; the text is one line for a person.

    `exit_code` is what the command exits with: 2 bad input, 3 refused by state, 4 an address that
    cannot be had.
    """

    exit_code = 2


class AddressInUse(VenueError):
    """The host and port asked for are taken."""

    exit_code = 4


class TapeError(VenueError):
    """A price file the venue cannot make a tape of, or a day it has no prices for."""


class FaultPlanError(VenueError):
    """A fault plan with an unknown fault, key or value."""
