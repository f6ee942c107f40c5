"""Errors of the ledger; every message names the thing, the value and the way out."""

from __future__ import annotations


class LedgerError(Exception):
    """Base of everything the ledger refuses or cannot do."""


class LedgerUnreachable(LedgerError):
    """No Postgres answers at the address in use."""


class LedgerRefused(LedgerError):
    """The ledger refused a write because it would break a rule."""


class LineageError(LedgerError):
    """A link of the chain (data set, validation, model, batch) is missing or wrong."""


class ApprovalError(LedgerError):
    """An approval or rejection that may not be given."""


class LimitsError(LedgerRefused):
    """A change of limits that one person may not make alone, or that is no change of limits."""
