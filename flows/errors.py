"""Errors of the flows: one tree; each message names the thing, the value and the way out, and fits one line."""

from __future__ import annotations


class FlowError(Exception):
    """Base of everything the flows refuse. ``exit_code`` is what the `sallyport` command ends with."""

    exit_code = 2


class WindowRefused(FlowError):
    """A flow asked to work outside its as-of window: nothing was done."""

    exit_code = 3


class ValidationBlocked(FlowError):
    """The newest data failed validation: nothing after it may run."""

    exit_code = 3


class LinkMissing(FlowError):
    """A flow needs what an earlier flow of the chain makes, and it is not in the ledger."""

    exit_code = 3


class ServerError(FlowError):
    """A local server (Prefect's, the venue's) did not start or stopped answering."""

    exit_code = 4


class DemoError(FlowError):
    """The demonstration cannot go on."""

    exit_code = 3
