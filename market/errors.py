"""Errors of the market package: one tree, each message names the thing, the value and the way out."""

from __future__ import annotations


class MarketError(Exception):
    """Anything the market package refuses; its text is fit to be shown to a person as one line."""


class CalendarError(MarketError):
    """A date that is not a session where one is needed, or that the calendar does not reach."""


class IngestError(MarketError):
    """A price or sector file that cannot be taken as it is."""


class HistoryError(MarketError):
    """A data set that is not in the store, or whose file is not what was written."""


class InstrumentError(MarketError):
    """A sector file that cannot be read or that contradicts itself."""
