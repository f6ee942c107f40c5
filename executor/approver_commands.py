"""The bodies of ``executor approvers ...``: keys of the people who may approve."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table
from sqlmodel import col, select

from executor.errors import InputError
from executor.settings import Settings
from sql.evidence import ApproverKey
from sql.ledger import Ledger
from sql.signatures import key_file, new_key, register, revoke


def new(ledger: Ledger, settings: Settings, approver: str, by: str) -> None:
    """Make a key for an approver and register its public half."""
    keys = settings.state_dir / "keys"
    key = new_key(keys, approver)
    with ledger.session() as session:
        register(session, key, by=by)
    typer.echo(
        f"key {key.key_id} of {approver} is registered; its private half is {key_file(keys, approver)}, for {approver} only"
    )


def show(ledger: Ledger) -> None:
    """Print every registered key."""
    table = Table(header_style="bold", box=None)
    for name in ("Key", "Approver", "Registered (UTC)", "By", "State"):
        table.add_column(name)
    with ledger.session() as session:
        rows = session.exec(select(ApproverKey).order_by(col(ApproverKey.registered_at))).all()
        for k in rows:
            state = f"revoked {k.revoked_at:%Y-%m-%d %H:%M} by {k.revoked_by}" if k.revoked_at else "in force"
            table.add_row(k.key_id, k.approver, f"{k.registered_at:%Y-%m-%d %H:%M}", k.registered_by, state)
    Console().print(table if rows else "no approver has a key; executor approvers new NAME makes one")


def revoke_key(ledger: Ledger, key_id: str, *, by: str, reason: str) -> None:
    """Take a key out of force."""
    if not reason.strip():
        raise InputError("revoking a key needs a reason; say why with --reason")
    with ledger.session() as session:
        row = session.get(ApproverKey, key_id)
        if row is None or row.revoked_at is not None:
            raise InputError(f"no key {key_id!r} in force; executor approvers list shows them")
        revoke(session, key_id, by=by, reason=reason)
    typer.echo(f"key {key_id} of {row.approver} counts no more")
