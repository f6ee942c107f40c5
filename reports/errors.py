"""What can go wrong while something is being shown; one tree, each message with the way out."""

from __future__ import annotations


class ReportError(Exception):
    """Base of all errors of this package; ``str(error)`` is one line a person can act on."""


class NothingToReport(ReportError):
    """The ledger, or the frame given, holds nothing for what was asked."""


class BadReportInput(ReportError):
    """A frame or table given to a report lacks a column, or holds values no report can show."""


class MailboxError(ReportError):
    """The local mailbox could not be opened."""
