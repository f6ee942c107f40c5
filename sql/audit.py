"""The audit chain: append to it, and verify it.

Every link hashes its predecessor's hash and exactly the stored bytes of its own fields, each
prefixed with its length (``ledger.audit_hash`` in the migrations). Verification here recomputes the
hash in Python, so that it does not trust the function that wrote it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from sql.tables import AuditHead, AuditLog

GENESIS = hashlib.sha256(b"sallyport:genesis").digest()
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class ChainReport:
    """What a verification found: links checked, whether all hold, the first bad one, the head."""

    rows: int
    ok: bool
    first_bad: int | None
    head: str
    reason: str


def append(session: Session, kind: str, ref: str, body: dict[str, Any]) -> int:
    """Append one entry in the session's transaction and return its sequence number."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)
    statement = text("SELECT ledger.append_audit(:kind, :ref, :body)")
    return int(session.execute(statement, {"kind": kind, "ref": ref, "body": canonical}).scalar_one())


def link_hash(row: AuditLog) -> bytes:
    """The hash a row must carry, from its own fields and its predecessor's hash."""
    micros = (row.at - _EPOCH) // dt.timedelta(microseconds=1)
    parts = [str(row.seq), str(micros)]
    for field in (row.actor, row.kind, row.ref, row.body):
        parts += [str(len(field.encode())), field]
    return hashlib.sha256(row.prev_hash + "|".join(parts).encode()).digest()


def verify(session: Session) -> ChainReport:
    """Walk the whole chain: gapless sequence, each link on its predecessor, head equal to the last."""
    previous, rows = GENESIS, 0
    for row in session.exec(select(AuditLog).order_by(col(AuditLog.seq))).yield_per(5_000):
        rows += 1
        if row.seq != rows:
            return ChainReport(rows - 1, False, rows, previous.hex(), f"entry {rows} is missing")
        if row.prev_hash != previous:
            return ChainReport(rows - 1, False, rows, previous.hex(), "does not follow its predecessor")
        if row.hash != link_hash(row):
            return ChainReport(rows - 1, False, rows, previous.hex(), "content does not match its hash")
        previous = row.hash
    head = session.exec(select(AuditHead)).one()
    if head.seq != rows or head.hash != previous:
        return ChainReport(rows, False, rows + 1, previous.hex(), "the head is not the last entry")
    return ChainReport(rows, True, None, previous.hex(), "")
