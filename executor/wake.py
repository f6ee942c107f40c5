"""Wakes the executor when the ledger has news: a batch approved, a kill or another mode, new limits.

Only a hint. A notification is lost to a listener that is not connected, and several may arrive as one; so
it sets one event and says nothing more, and polling stays the contract (design: signal hand-off).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import psycopg
from psycopg import sql

from sql.roles import adopt
from sql.server import libpq_url

CHANNELS = ("sallyport_batch", "sallyport_mode", "sallyport_limits")
RETRY_S = 1.0

log = logging.getLogger(__name__)


class Wake:
    """Listens on a connection of its own; ``event`` is set at every notification and every connect.

    Parameters
    ----------
    url : str
        As :func:`sql.server.ledger_url` returns it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.event = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Until there may be news, or the time is up; returns either way."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.event.wait(), timeout_s)
        self.event.clear()

    async def loop(self) -> None:
        """Listen for ever; a lost connection is made again, and what it may have missed counts as news."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    libpq_url(self.url), autocommit=True, connect_timeout=5
                ) as connection:
                    await connection.execute(adopt("executor"))
                    for channel in CHANNELS:
                        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    self.event.set()
                    async for _ in connection.notifies():
                        self.event.set()
            except psycopg.Error as error:
                log.info("not listening to the ledger (%s); polling goes on", str(error).strip())
            await asyncio.sleep(RETRY_S)
