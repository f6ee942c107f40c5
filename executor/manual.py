"""What an operator does by hand while an executor may or may not be running."""

from __future__ import annotations

import asyncio

from executor.broker import connect
from executor.errors import RefusedError
from executor.journal import Journal
from executor.message_log import MessageLog
from executor.reconcile import Reconciliation, reconcile
from executor.settings import Settings


async def reconcile_now(settings: Settings, url: str) -> Reconciliation:
    """Compare ledger and broker under the present epoch, and record the run.

    Nothing is booked, so run it while no executor does only after one has started and swept. Raises
    :class:`RefusedError` if the key is another account's.
    """
    messages = MessageLog(url, settings.state_dir)
    broker, account = await connect(settings.broker, messages)
    try:
        journal = await Journal.open(url)
        try:
            row = (await journal.rows("SELECT epoch, account FROM book"))[0]
            if row["account"] not in (None, account["account_number"]):
                raise RefusedError(
                    f"the key is for account {account['account_number']}, the ledger for {row['account']}; "
                    "use that account's key"
                )
            journal.epoch = row["epoch"]
            market_time, _ = await broker.clock()
            result = await reconcile(broker, journal, "manual", market_time)
            for pause_s in (0.5, 1.0, 2.0):
                if result.matched:
                    break
                await asyncio.sleep(pause_s)  # a running executor may be booking what the broker shows
                result = await reconcile(broker, journal, "manual", market_time)
            await journal.record_reconciliation(result.as_json())
            return result
        finally:
            await journal.close()
    finally:
        broker.close()
        messages.close()
