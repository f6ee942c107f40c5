"""The step of a flow that sends what is in the ledger's alert table and has not been sent."""

from __future__ import annotations

from flows.alerts import deliver_now
from flows.step import step
from flows.workspace import Workspace


@step("deliver alerts")
def deliver_alerts(work: Workspace) -> int:
    """Deliver by Apprise and return how many; without addresses everything waits in the ledger."""
    return deliver_now(work)
