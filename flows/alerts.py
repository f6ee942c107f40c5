"""Delivers the ledger's alerts all day long, without Prefect.

A kill at ten in the morning must not wait for the evening's flows. The executor only writes alerts
(it carries no mail library); this loop, in `sallyport up` or by itself in `sallyport notify`, delivers
them within seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from flows.errors import FlowError
from flows.workspace import Workspace

EVERY_S = 5.0


def deliver_forever(
    work: Workspace,
    say: Callable[[str], None],
    *,
    pause: Callable[[float], None] = time.sleep,
    keep_going: Callable[[], bool] = lambda: True,
) -> None:
    """Deliver every few seconds until `keep_going` says no.

    Raises:
        FlowError: no address is set, so nothing could ever be delivered.
    """
    if not work.notify_urls():
        raise FlowError(
            "no address to notify: set SALLYPORT_NOTIFY__URLS to a JSON list of Apprise addresses, "
            "or notify.urls in sallyport.toml"
        )
    while keep_going():
        delivered = deliver_now(work)
        if delivered:
            say(f"{delivered} alerts delivered")
        pause(EVERY_S)


def deliver_now(work: Workspace) -> int:
    """Deliver what waits, outside any flow run; how many went out. What fails stays in the ledger."""
    from reports.notifier import deliver_pending

    urls = work.notify_urls()
    if not urls:
        return 0
    with work.ledger.session() as session:
        return deliver_pending(session, urls)
