"""The bodies of ``executor limits ...``: see them, tighten alone, loosen with a second person."""

from __future__ import annotations

import uuid
from decimal import Decimal, InvalidOperation

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import text
from sqlmodel import Session

from executor.audit_commands import anchor
from executor.errors import InputError
from executor.settings import Settings
from sql.ledger import Ledger
from sql.limit_changes import confirm, propose, tighten


def show(ledger: Ledger) -> None:
    """Print the limits in force and what waits for a second person."""
    table = Table(header_style="bold", box=None)
    for name in ("Limit", "Value", "Tighter", "Since (UTC)", "By"):
        table.add_column(name, justify="right" if name == "Value" else "left")
    with ledger.session() as session:
        for row in session.execute(text("SELECT * FROM ledger.v_limits WHERE in_force ORDER BY name")):
            table.add_row(
                row.name,
                f"{row.value.normalize():f}",
                row.tighter or "unknown",
                f"{row.effective_from:%Y-%m-%d %H:%M}",
                row.author,
            )
        waiting = session.execute(
            text("SELECT * FROM ledger.limit_proposal WHERE state = 'OPEN' ORDER BY at")
        ).all()
    Console().print(table)
    for p in waiting:
        typer.echo(f"waits for a second person: {p.id} by {p.author}: {p.reason}")


def change(
    ledger: Ledger, settings: Settings, changes: list[str], *, who: str, reason: str, second: bool
) -> None:
    """Change limits given as ``name=value``: at once if that only tightens, as a proposal if ``second``."""
    if not reason.strip():
        raise InputError("a change of limits needs a reason; say why with --reason")
    with ledger.session() as session:
        limits = _changed(session, settings, changes)
        if second:
            proposal = propose(session, limits, author=who, reason=reason)
            typer.echo(
                f"proposed as {proposal}; someone else must confirm: executor limits confirm {proposal} --reason '...'"
            )
        else:
            typer.echo(f"limits version {tighten(session, limits, author=who, reason=reason)} in force")
    _say(anchor(ledger, settings, "limits"))


def confirm_change(ledger: Ledger, settings: Settings, proposal: str, *, who: str, reason: str) -> None:
    """Put a proposal of someone else in force."""
    try:
        given = uuid.UUID(proposal)
    except ValueError:
        raise InputError(f"{proposal!r} is no proposal's id; executor limits show lists what waits") from None
    with ledger.session() as session:
        typer.echo(f"limits version {confirm(session, given, who=who, reason=reason)} in force")
    _say(anchor(ledger, settings, "limits"))


def _say(problems: list[str]) -> None:
    for problem in problems:
        typer.echo(f"note: no anchor of it: {problem}", err=True)


def _changed(session: Session, settings: Settings, changes: list[str]) -> dict[str, str]:
    """The newest version with the changes; ``missing`` adds what it lacks, as configured."""
    present = session.execute(
        text("SELECT limits FROM ledger.limit_version ORDER BY version DESC LIMIT 1")
    ).scalar_one()
    limits = {str(k): str(v) for k, v in present.items()}
    configured = {name: str(value) for name, value in settings.limits.model_dump().items()}
    for item in changes:
        if item == "missing":
            limits = configured | limits
            continue
        name, separator, value = item.partition("=")
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if not separator or not number.is_finite():
            raise InputError(
                f"{item!r} is no change of a limit; write name=value, for example single_name=0.10"
            )
        if name not in limits and name not in configured:
            raise InputError(f"no limit {name!r}; there are: {', '.join(sorted(limits | configured))}")
        limits[name] = value
    return limits
