"""What of a story can be checked again now: files by their bytes, an approval by its signature, the
rows' entries by their hashes, and the tables by what the chain says."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, select

from sql import signatures
from sql.audit import GENESIS, Link, chain_hash
from sql.evidence import ApproverKey, Identity
from sql.lineage import batch_hash
from sql.rebuild import BuiltOrder, Rebuilt
from sql.tables import Approval, Book, Signal, SignalBatch

LINK = (
    "SELECT seq, (extract(epoch FROM at) * 1000000)::bigint AS at_us, actor::text, kind::text, ref::text, body, prev_hash, hash "
    "FROM ledger.audit_log WHERE "
)


def file_by_hash(path: str, recorded: str) -> dict[str, Any]:
    """Whether the file on disk still has the SHA-256 that was recorded: ``matches``, ``differs`` or ``missing``."""
    try:
        with Path(path).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return {"path": path, "recorded_sha256": recorded, "found_sha256": None, "state": "missing"}
    state = "matches" if found == recorded else "differs"
    return {"path": path, "recorded_sha256": recorded, "found_sha256": found, "state": state}


def approval_now(session: Session, batch_id: uuid.UUID) -> dict[str, Any]:
    """The batch's content hashed again and its approval's signature checked, now.

    ``content_hash_now`` is over the rows as they are; ``holds`` is false with the reason in ``says``.
    An approval that needs no signature here (a replay or paper policy) holds with ``signed`` false.
    """
    batch = session.get(SignalBatch, batch_id)
    assert batch is not None
    signals = session.exec(select(Signal).where(Signal.batch_id == batch_id)).all()
    now = batch_hash(batch, signals)
    approval = session.exec(select(Approval).where(Approval.batch_id == batch_id)).first()
    if approval is None:
        return {
            "content_hash_now": now,
            "holds": None,
            "says": "nobody has decided on this batch",
            "signed": False,
        }
    key = session.get(ApproverKey, approval.key_id) if approval.key_id else None
    identity, book = session.exec(select(Identity)).one(), session.exec(select(Book)).one()
    problem = signatures.check(approval, batch, signals, key, identity.ledger_id, book.environment)
    return {
        "content_hash_now": now,
        "holds": not problem,
        "says": problem,
        "signed": approval.signature is not None,
        "key_registered_by": key.registered_by if key else None,
        "key_revoked_at": key.revoked_at if key else None,
    }


def entries_of(
    session: Session, named: Mapping[str, Collection[str]], seqs: Collection[int]
) -> tuple[list[Link], dict[str, Any]]:
    """Entries of the chain by kind and ref, or by number, and whether the chain is whole at each.

    Of every entry the hash is computed again, and it must follow the entry before it and be followed by
    the one after it. Nothing is said of the rest of the chain: ``executor audit verify`` does that.
    """
    wanted = set(seqs)
    for kind, refs in named.items():
        found = session.execute(
            text("SELECT seq FROM ledger.audit_log WHERE kind = :kind AND ref = ANY(:refs)"),
            {"kind": kind, "refs": list(refs)},
        )
        wanted |= set(found.scalars())
    around = sorted({n for s in wanted for n in (s - 1, s, s + 1)})
    rows = session.execute(text(LINK + "seq = ANY(:seqs) ORDER BY seq"), {"seqs": around})
    links = {r.seq: Link(*r) for r in rows}
    broken = [(s, reason) for s in sorted(wanted) if (reason := _broken(links, s, session))]
    first_bad, reason = broken[0] if broken else (None, "")
    verdict = {"checked": len(wanted), "whole": not broken, "first_bad": first_bad, "reason": reason}
    return [links[s] for s in sorted(wanted) if s in links], verdict


def _broken(links: Mapping[int, Link], seq: int, session: Session) -> str:
    link = links.get(seq)
    if link is None:
        return f"entry {seq} is missing"
    before = GENESIS if seq == 1 else links[seq - 1].hash if seq - 1 in links else None
    if before is None:
        return f"entry {seq - 1} is missing"
    if link.prev_hash != before:
        return "does not follow its predecessor"
    if link.hash != chain_hash(link, before):
        return "content does not match its hash"
    after = links.get(seq + 1)
    if after is not None:
        return "" if after.prev_hash == link.hash else f"entry {seq + 1} does not follow it"
    head = session.execute(text("SELECT seq, hash FROM ledger.audit_head")).one()
    return "" if (head.seq, head.hash) == (seq, link.hash) else f"entry {seq + 1} is missing"


def drift(
    order: Mapping[str, Any], notional: Any, links: Sequence[Link], fills: Collection[str]
) -> list[str]:
    """Where an order's tables say something else than its entries of the chain; empty if they agree."""
    ref = order["client_order_id"]
    built = Rebuilt()
    for link in links:
        if link.ref == ref and link.kind in ("DECISION", "STATE", "FILL", "REVERSAL"):
            try:
                built.take(link)
            except (ValueError, KeyError, TypeError, ArithmeticError):
                return [f"entry {link.seq} ({link.kind}) is not what this build writes"]
    mine = built.orders.get(ref)
    if mine is None:
        return ["no decision of this order is in the chain"]
    table = BuiltOrder(
        order["symbol"], order["side"], order["qty"], order["worst_price"], order["state"], order["filled_qty"], notional
    )  # fmt: skip
    found = [
        f"{name}: chain {getattr(mine, name)}, table {getattr(table, name)}"
        for name in BuiltOrder.__dataclass_fields__
        if getattr(mine, name) != getattr(table, name)
    ]
    standing = set(built.fills) - set(built.reversals.values())
    if standing != set(fills):
        found.append(f"fills: chain {len(standing)}, table {len(fills)}")
    return found
