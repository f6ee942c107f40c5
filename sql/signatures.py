"""Approvals signed with Ed25519: a word that only the holder of a private key can have given.

A database role is not a person: whoever holds its password can write a row. A signature over the
batch's content hash, checked against a public key that a risk administrator registered, can not be
written by someone who holds the database alone. Private keys live in ``<state_dir>/keys`` with mode
0600 and never enter the ledger.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import text
from sqlmodel import Session, select

from sql.errors import ApprovalError
from sql.evidence import ApproverKey, Identity
from sql.lineage import batch_hash
from sql.tables import Approval, Book, Signal, SignalBatch

FORMAT = "sallyport-approval-v1"


@dataclass(frozen=True)
class SigningKey:
    """An approver's private key; ``key_id`` names its public half in the ledger."""

    approver: str
    private: Ed25519PrivateKey

    @property
    def public_hex(self) -> str:
        """The public key, 64 hex digits."""
        raw = self.private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return raw.hex()

    @property
    def key_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the public key."""
        return hashlib.sha256(bytes.fromhex(self.public_hex)).hexdigest()[:16]

    def sign(self, message: bytes) -> str:
        """The signature, 128 hex digits."""
        return self.private.sign(message).hex()


def key_file(keys: Path, approver: str) -> Path:
    """Where an approver's private key lies; refuses a name that is no file name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}", approver):
        raise ApprovalError(f"approver {approver!r} is no name for a key; use letters, digits and @ . _ -")
    return keys / f"{approver}.key"


def new_key(keys: Path, approver: str) -> SigningKey:
    """Make a private key readable by its owner only; refuses to overwrite one."""
    path = key_file(keys, approver)
    keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ApprovalError(
            f"{approver} has a key already ({path}); revoke it and move it away first"
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
    return SigningKey(approver, key)


def load_key(keys: Path, approver: str) -> SigningKey | None:
    """An approver's private key, or None if there is none here; refuses one that others can read."""
    path = key_file(keys, approver)
    if not path.exists():
        return None
    if path.stat().st_mode & 0o077:
        raise ApprovalError(
            f"key {path} can be read by others; chmod 600 it, and think whether it is still yours"
        )
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ApprovalError(
            f"key {path} is not an Ed25519 key; make one with: executor approvers new {approver}"
        )
    return SigningKey(approver, key)


def register(session: Session, key: SigningKey, *, by: str) -> str:
    """Make a key's public half known to the ledger; returns the key's id."""
    statement = text("SELECT ledger.register_approver(:by, :approver, :public)")
    values = {"by": by, "approver": key.approver, "public": key.public_hex}
    return str(session.execute(statement, values).scalar_one())


def revoke(session: Session, key_id: str, *, by: str, reason: str) -> None:
    """No approval signed with this key counts from now on; batches not yet claimed included."""
    session.execute(
        text("SELECT ledger.revoke_approver(:by, :key, :reason)"), {"by": by, "key": key_id, "reason": reason}
    )


def is_registered(session: Session, key: SigningKey) -> bool:
    """Whether the ledger knows the key for this approver and has not revoked it."""
    row = session.get(ApproverKey, key.key_id)
    return row is not None and row.approver == key.approver and row.revoked_at is None


def statement(
    ledger: uuid.UUID, batch: uuid.UUID, environment: str, verdict: str, approver: str, content_hash: str,
    reason: str, decided_at: dt.datetime,
) -> bytes:  # fmt: skip
    """Exactly what is signed: one line each, so that nothing of it can be read as something else."""
    reason_hash = hashlib.sha256(reason.encode()).hexdigest()
    at = decided_at.astimezone(dt.UTC).isoformat(timespec="microseconds")
    lines = (FORMAT, str(ledger), str(batch), environment, verdict, approver, content_hash, reason_hash, at)
    return "\n".join(lines).encode()


def check(
    approval: Approval, batch: SignalBatch, signals: Iterable[Signal], key: ApproverKey | None, ledger: uuid.UUID,
    environment: str,
) -> str:  # fmt: skip
    """Why an approval does not cover what would be traded; "" if it does.

    The batch must still hash to what was approved, a signature must be that of a registered key in
    force, and a live batch must have one.
    """
    if approval.verdict != "approved":
        return f"the verdict is {approval.verdict}"
    if batch_hash(batch, list(signals)) != approval.content_hash:
        return "the batch is not what was approved (its content hash differs)"
    if approval.signature is None:
        return "a live batch needs a signed approval" if environment == "live" else ""
    if key is None or key.key_id != approval.key_id or key.approver != approval.approver:
        return f"no key {approval.key_id} is registered for {approval.approver}"
    if key.revoked_at is not None:
        return f"key {key.key_id} of {key.approver} was revoked"
    message = statement(
        ledger, approval.batch_id, approval.environment, approval.verdict, approval.approver,
        approval.content_hash, approval.reason, approval.decided_at,
    )  # fmt: skip
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public_key)).verify(
            bytes.fromhex(approval.signature), message
        )
    except (InvalidSignature, ValueError):
        return f"the signature is not {approval.approver}'s over this batch"
    return ""


def check_batch(session: Session, batch_id: uuid.UUID) -> str:
    """:func:`check` on a batch of the ledger; "" if it may be traded, else the reason why not."""
    batch = session.get(SignalBatch, batch_id)
    approval = session.exec(select(Approval).where(Approval.batch_id == batch_id)).first()
    if batch is None or approval is None:
        return f"batch {batch_id} is not approved"
    signals = session.exec(select(Signal).where(Signal.batch_id == batch_id)).all()
    key = session.get(ApproverKey, approval.key_id) if approval.key_id else None
    identity, book = session.exec(select(Identity)).one(), session.exec(select(Book)).one()
    return check(approval, batch, signals, key, identity.ledger_id, book.environment)
