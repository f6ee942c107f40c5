"""Keeps every message of the broker: in the ledger, or on the disk until the ledger can take it.

``keep`` returns once the message is durable, before anything has parsed it. It may be called from any
thread. The ledger is written by a thread with a connection of its own; where that does not answer in
time the message goes to the spool file, and from there into the ledger when it is back. Where neither
takes it, :class:`executor.errors.ExecutorError` ends the executor: what cannot be kept is not acted on.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from executor.errors import ExecutorError
from executor.messages import BrokerMessage, News
from executor.spool import Spool
from sql.roles import adopt
from sql.server import libpq_url

KEEP_S = 1.0
"""How long a message waits for the ledger before it goes to the spool."""
RETRY_S = 2.0
"""How long an unreachable ledger is left alone."""
BATCH_MAX = 64
RECORD = "SELECT record_raw(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"

log = logging.getLogger(__name__)


@dataclass
class _Parcel:
    messages: list[BrokerMessage]
    done: threading.Event = field(default_factory=threading.Event)
    stored: bool = False


class MessageLog:
    """The broker's messages of one ledger.

    Parameters
    ----------
    url : str or None
        The ledger's address; None keeps everything in the spool (``executor kill``, which must not
        wait for a ledger).
    state_dir : Path
        Where the spool lies.
    """

    def __init__(self, url: str | None, state_dir: Path) -> None:
        self.news = News()
        self._spool = Spool(state_dir)
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None
        self._queue: queue.SimpleQueue[_Parcel | None] = queue.SimpleQueue()
        self._down_until = 0.0
        self._last: dict[str, bytes] = {}
        self._thread = threading.Thread(target=self._write, name="messages", daemon=True)
        if url is not None:
            self._thread.start()

    def keep(self, *messages: BrokerMessage) -> None:
        """Make messages durable; an answer that is byte for byte the one before to the same question is not kept again."""
        fresh = [m for m in messages if not self._is_repeat(m)]
        if not fresh or self._stored(fresh):
            return
        try:
            self._spool.append(fresh)
        except OSError as error:
            raise ExecutorError(
                f"a message of the broker can be kept neither in the ledger nor in {self._spool.folder} "
                f"({error.strerror}); nothing is done with it: see to the disk, then start again"
            ) from error

    def close(self) -> None:
        """Write what waits, and end; a message that still comes goes to the spool."""
        self._down_until = float("inf")
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(KEEP_S * 5)

    def _is_repeat(self, message: BrokerMessage) -> bool:
        if not message.request.startswith("GET ") or message.status != 200:
            return False
        digest = hashlib.sha256(message.body).digest()
        repeat = self._last.get(message.request) == digest
        self._last[message.request] = digest
        return repeat

    def _stored(self, messages: list[BrokerMessage]) -> bool:
        if self._url is None or time.monotonic() < self._down_until:
            return False
        parcel = _Parcel(messages)
        self._queue.put(parcel)
        if not parcel.done.wait(KEEP_S):
            # It may still get there; the ledger then knows it by its id when the spool is read.
            self._down_until = time.monotonic() + RETRY_S
        return parcel.stored

    # ------------------------------------------------------------------ the writing thread

    def _write(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._ledger()  # what an earlier process left in the spool is brought home first
        while True:
            try:
                parcels = [self._queue.get(timeout=RETRY_S)]
            except queue.Empty:
                parcels = []
            while len(parcels) < BATCH_MAX and not self._queue.empty():
                parcels.append(self._queue.get())
            wanted = [p for p in parcels if p is not None]
            try:
                if wanted or self._spool.waiting:
                    self._record(self._ledger(), [m for p in wanted for m in p.messages])
                for parcel in wanted:
                    parcel.stored = True
            except (psycopg.Error, OSError) as error:
                log.warning("messages of the broker go to the spool: %s", str(error).strip().splitlines()[0])
                self._down_until = time.monotonic() + RETRY_S
                self._drop()
            for parcel in wanted:
                parcel.done.set()
            if None in parcels:
                self._drop()
                return

    def _ledger(self) -> psycopg.Connection[Any]:
        """The connection, made anew if it was lost; what the spool holds is imported first."""
        if self._connection is None:
            assert self._url is not None
            self._connection = psycopg.connect(
                libpq_url(self._url),
                connect_timeout=2,
                options="-c timezone=UTC -c search_path=ledger -c statement_timeout=5000",
            )
            self._connection.execute(adopt("executor"))
            self._connection.commit()
        if self._spool.waiting:
            with self._spool.taken() as spooled:
                self._record(self._connection, spooled)
        return self._connection

    @staticmethod
    def _record(connection: psycopg.Connection[Any], messages: list[BrokerMessage]) -> None:
        with connection.transaction(), connection.cursor() as cursor:
            for m in messages:
                cursor.execute(
                    RECORD,
                    (
                        m.channel, m.direction, list(m.refs), m.body, m.request, m.status, Jsonb(dict(m.headers)), m.failure,
                        m.received_at, m.message_id,
                    ),
                )  # fmt: skip

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = None
