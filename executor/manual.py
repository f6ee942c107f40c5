"""What an operator does by hand while an executor may or may not be running."""

from __future__ import annotations

from executor.broker import connect
from executor.journal import Journal
from executor.reconcile import Reconciliation, reconcile
from executor.settings import Settings


async def reconcile_now(settings: Settings, url: str) -> Reconciliation:
    """Compare ledger and broker once, under the present epoch, and record the run."""
    broker, _ = await connect(settings.broker)
    try:
        journal = await Journal.open(url)
        try:
            journal.epoch = await journal.value("SELECT epoch FROM book")
            market_time, _ = await broker.clock()
            result = await reconcile(broker, journal, "manual", market_time)
            await journal.record_reconciliation(result.as_json())
            return result
        finally:
            await journal.close()
    finally:
        broker.close()
