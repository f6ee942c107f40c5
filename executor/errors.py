"""Errors a user of the executor can meet, with the exit code each leads to."""

from __future__ import annotations


class ExecutorError(Exception):
    """Base; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class SettingsError(ExecutorError):
    """A setting is missing, unknown or out of range."""

    exit_code = 2


class InputError(ExecutorError):
    """What the user gave cannot be used."""

    exit_code = 2


class RefusedError(ExecutorError):
    """The present state does not allow it."""

    exit_code = 3


class Stopped(ExecutorError):
    """A person stopped it before it was done."""

    exit_code = 130


class BrokerUnreachable(ExecutorError):
    """The broker does not answer, or not with our key."""

    exit_code = 4


class NotReconciled(ExecutorError):
    """The session ended with a difference between ledger and broker."""

    exit_code = 5
