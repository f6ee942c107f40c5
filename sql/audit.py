"""The audit chain: append to it, verify it, export it.

Every link hashes its predecessor's hash and exactly the stored bytes of its own fields, each
prefixed with its length (``ledger.audit_hash`` in the migrations). Verification here recomputes the
hash in Python, so that it does not trust the function that wrote it; ``sql/offline_verifier.py``
does the same from an export, with no code of ours.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import psycopg
from sqlalchemy import text
from sqlmodel import Session

from sql.anchors import Anchor
from sql.errors import LedgerError

GENESIS = hashlib.sha256(b"sallyport:genesis").digest()
EXPORT_VERSION = 1
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_BATCH = 5_000


class Link(NamedTuple):
    """One entry as stored; ``at_us`` is microseconds since 1970 UTC."""

    seq: int
    at_us: int
    actor: str
    kind: str
    ref: str
    body: str
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True)
class ChainReport:
    """What a verification found: links checked, whether all hold, the first bad one, the head.

    ``anchors`` were compared and agree; ``abandoned`` lie past the point where a declared restore
    cut the chain. Zero anchors means that a rewritten chain would pass.
    """

    rows: int
    ok: bool
    first_bad: int | None
    head: str
    reason: str
    anchors: int = 0
    abandoned: int = 0


def append(session: Session, kind: str, ref: str, body: dict[str, Any]) -> int:
    """Append one entry in the session's transaction and return its sequence number."""
    statement = text("SELECT ledger.append_audit(:kind, :ref, :body)")
    return int(session.execute(statement, {"kind": kind, "ref": ref, "body": _canonical(body)}).scalar_one())


def append_many(session: Session, kind: str, entries: Iterable[tuple[str, dict[str, Any]]]) -> int:
    """Append ``(ref, body)`` entries of one kind at once; the last one's number. Linear, whatever their count."""
    refs, bodies = [], []
    for ref, body in entries:
        refs.append(ref)
        bodies.append(_canonical(body))
    # as JSON, not as arrays: escaping an array's quotes costs more than all the rest
    statement = text(
        "SELECT ledger.append_audit_many(:kind, ARRAY(SELECT jsonb_array_elements_text(CAST(:refs AS jsonb))), "
        "ARRAY(SELECT jsonb_array_elements_text(CAST(:bodies AS jsonb))))"
    )
    return int(
        session.execute(
            statement, {"kind": kind, "refs": json.dumps(refs), "bodies": json.dumps(bodies)}
        ).scalar_one()
    )


def _canonical(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)


def chain_hash(link: Link, previous: bytes) -> bytes:
    """SHA-256 over the predecessor's hash and the length-prefixed fields."""
    seq, micros, actor, kind, ref, body, _, _ = link
    packed = (
        f"{seq}|{micros}|{len(actor) if actor.isascii() else len(actor.encode())}|{actor}"
        f"|{len(kind) if kind.isascii() else len(kind.encode())}|{kind}"
        f"|{len(ref) if ref.isascii() else len(ref.encode())}|{ref}"
        f"|{len(body) if body.isascii() else len(body.encode())}|{body}"
    )
    return hashlib.sha256(previous + packed.encode()).digest()


def links(session: Session, first: int = 1, last: int | None = None) -> Iterator[Link]:
    """Entries ``first`` to ``last`` (inclusive) in order, streamed.

    ``date_part`` is in doubles: exact to the microsecond up to the year 2100, and four times as fast as
    ``extract``, which is in decimals.
    """
    driver = session.connection().connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise LedgerError("the chain is read through psycopg; open the ledger with postgresql+psycopg://")
    with driver.cursor(name="audit_links", binary=True) as cursor:
        cursor.itersize = _BATCH
        cursor.execute(
            "SELECT seq, (date_part('epoch', at) * 1000000)::bigint, actor::text, kind::text, ref::text, body, "
            "prev_hash, hash FROM ledger.audit_log WHERE seq >= %s AND (%s::bigint IS NULL OR seq <= %s::bigint) "
            "ORDER BY seq",
            (first, last, last),
        )
        while rows := cursor.fetchmany(_BATCH):
            for row in rows:
                yield Link(*row)


def verify(
    session: Session, *, first: int = 1, last: int | None = None, anchors: Iterable[Anchor] = ()
) -> ChainReport:
    """Walk the chain: gapless sequence, each link on its predecessor, head and anchors in it.

    Parameters
    ----------
    first, last : int
        Check only these entries; ``first`` is taken to follow the stored hash of the one before.
    anchors : iterable of Anchor
        Heads written down outside (:func:`sql.anchors.read_anchors`). Without any, a chain whose
        tail was cut or which was hashed anew from some entry on passes.
    """
    wanted: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        wanted.setdefault(anchor.seq, []).append(anchor)
    cuts: list[tuple[int, int]] = []  # (entries kept, microseconds) of every declared restore
    previous = GENESIS if first == 1 else _hash_before(session, first)
    expected, agreed, unmatched = first - 1, 0, list[Anchor]()
    if previous is None:
        return ChainReport(0, False, first - 1, "", f"entry {first - 1} is missing")
    for link in links(session, first, last):
        expected += 1
        if link.seq != expected:
            return ChainReport(
                expected - first, False, expected, previous.hex(), f"entry {expected} is missing", agreed
            )
        if link.prev_hash != previous:
            return ChainReport(
                expected - first, False, expected, previous.hex(), "does not follow its predecessor", agreed
            )
        if link.hash != chain_hash(link, previous):
            return ChainReport(
                expected - first, False, expected, previous.hex(), "content does not match its hash", agreed
            )
        previous = link.hash
        if link.kind == "RESTORE":
            cuts.append((int(json.loads(link.body)["kept_seq"]), link.at_us))
        if wanted and link.seq in wanted:
            here = wanted.pop(link.seq)
            wrong = [a for a in here if a.hash != link.hash.hex()]
            agreed += len(here) - len(wrong)
            unmatched += wrong
    rows = expected - first + 1
    if last is None:
        head = session.execute(text("SELECT seq, hash FROM ledger.audit_head")).one_or_none()
        if head is None or head.seq != expected or head.hash != previous:
            return ChainReport(
                rows, False, expected + 1, previous.hex(), "the head is not the last entry", agreed
            )
        unmatched += [a for seq, group in wanted.items() if seq > expected for a in group]
    elif expected < last:
        return ChainReport(
            rows, False, expected + 1, previous.hex(), f"entry {expected + 1} is missing", agreed
        )
    return _judge_anchors(rows, previous, agreed, unmatched, cuts)


def _judge_anchors(
    rows: int, head: bytes, agreed: int, unmatched: list[Anchor], cuts: list[tuple[int, int]]
) -> ChainReport:
    """Anchors that the chain does not hold are rewritten history, unless a declared restore cut it there."""
    lost = [
        a
        for a in unmatched
        if not any(a.seq > kept and (a.at - _EPOCH) // dt.timedelta(microseconds=1) < at for kept, at in cuts)
    ]
    if lost:
        worst = min(lost, key=lambda a: a.seq)
        return ChainReport(
            rows, False, worst.seq, head.hex(),
            f"the anchor of {worst.at:%Y-%m-%d %H:%M:%S} UTC in {worst.place} is not in the chain: "
            "history at or before it was rewritten or cut", agreed,
        )  # fmt: skip
    return ChainReport(rows, True, None, head.hex(), "", agreed, len(unmatched))


def export(session: Session, out: Path, *, first: int = 1, last: int | None = None) -> int:
    """Write entries as JSON lines for the offline verifier; returns how many. Atomic by rename."""
    head = session.execute(
        text(
            "SELECT h.seq, h.hash, i.ledger_id, b.environment FROM ledger.audit_head h, ledger.identity i, ledger.book b"
        )
    ).one()
    header = {
        "sallyport_audit_export": EXPORT_VERSION, "ledger": str(head.ledger_id), "environment": head.environment,
        "first": first, "last": head.seq if last is None else last, "head_seq": head.seq, "head_hash": head.hash.hex(),
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".part")
    with partial.open("w", encoding="utf-8") as file:
        count = _write_links(file, header, links(session, first, last))
    partial.replace(out)
    return count


def _write_links(file: IO[str], header: dict[str, Any], entries: Iterable[Link]) -> int:
    file.write(json.dumps(header, separators=(",", ":")) + "\n")
    count = 0
    for link in entries:
        row = link._asdict() | {"prev_hash": link.prev_hash.hex(), "hash": link.hash.hex()}
        file.write(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n")
        count += 1
    return count


def _hash_before(session: Session, first: int) -> bytes | None:
    statement = text("SELECT hash FROM ledger.audit_log WHERE seq = :seq")
    return cast("bytes | None", session.execute(statement, {"seq": first - 1}).scalar_one_or_none())
