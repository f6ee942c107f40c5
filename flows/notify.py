"""The step that sends what is in the ledger's alert table and has not been sent."""

from __future__ import annotations

from flows.step import step
from flows.workspace import Workspace


@step("deliver alerts")
def deliver_alerts(work: Workspace) -> int:
    """Deliver by Apprise and return how many; without addresses everything waits in the ledger."""
    from reports.notifier import deliver_pending

    urls = work.notify_urls()
    if not urls:
        return 0
    with work.ledger.session() as session:
        return deliver_pending(session, urls)
