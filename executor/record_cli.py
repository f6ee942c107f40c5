"""Registration of ``executor ledger|audit|limits|approvers``; the bodies import what they need when they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from executor.settings import Settings
    from sql.ledger import Ledger

ledger_app = typer.Typer(help="The Postgres ledger.", no_args_is_help=True)
audit_app = typer.Typer(help="The audit chain.", no_args_is_help=True)
limits_app = typer.Typer(help="Risk limits: one person tightens, two loosen.", no_args_is_help=True)
approvers_app = typer.Typer(help="Keys of the people who may approve.", no_args_is_help=True)
Reason = Annotated[str, typer.Option(help="Why; it is recorded.")]
First = Annotated[int, typer.Option("--from", help="First entry.")]
Last = Annotated[int | None, typer.Option("--to", help="Last entry; default: the newest.")]


@contextmanager
def _open() -> Iterator[tuple[Ledger, Settings]]:
    from executor.cli import ledger_of
    from executor.settings import load_settings

    settings = load_settings()
    with ledger_of(settings) as ledger:
        yield ledger, settings


def _person() -> str:
    from executor.cli import person

    return person()


# ---------------------------------------------------------------- ledger


@ledger_app.command("init")
def ledger_init() -> None:
    """Create or upgrade the ledger, set its first limits and its roles."""
    from executor.ledger_commands import say_ready

    with _open() as (ledger, _):
        say_ready(ledger)


@ledger_app.command("upgrade")
def ledger_upgrade() -> None:
    """Bring the ledger to this build's schema, and its roles and grants to what they should be."""
    from executor.ledger_commands import say_ready

    with _open() as (ledger, _):
        say_ready(ledger)


@ledger_app.command("status")
def ledger_status() -> None:
    """Rows of every table, chain, schema version, server version."""
    from executor.ledger_commands import show_status

    with _open() as (ledger, _):
        show_status(ledger)


@ledger_app.command("backup")
def ledger_backup(
    file: Annotated[Path | None, typer.Argument(help="Where to; default: state_dir/backups.")] = None,
) -> None:
    """Dump the ledger to one file, with a manifest beside it."""
    from executor.ledger_commands import make_backup

    with _open() as (ledger, settings):
        make_backup(ledger, settings, file)


@ledger_app.command("restore")
def ledger_restore(
    file: Annotated[Path, typer.Argument(help="A dump made by executor ledger backup.")],
) -> None:
    """Bring a backup back into an empty ledger; it stays HALTED until a person has looked."""
    from executor.ledger_commands import bring_back
    from executor.settings import load_settings

    bring_back(load_settings(), file, _person())


@ledger_app.command("doctor")
def ledger_doctor() -> None:
    """Is the ledger fit to trade on? Nothing is changed; exit 3 if something is bad."""
    from executor.ledger_commands import examine
    from executor.settings import load_settings

    examine(load_settings())


@ledger_app.command("drill")
def ledger_drill(
    kind: Annotated[
        str, typer.Argument(help="kill, restore, failover, disconnect, ...; default: list them")
    ] = "",
    detail: Annotated[str, typer.Option(help="What was done and seen; it is recorded.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="It did not go as it should.")] = False,
) -> None:
    """Record an exercise of a control, or show when each was last exercised."""
    from executor.upkeep import record_drill, show_drills

    with _open() as (ledger, _):
        if kind:
            record_drill(ledger, kind, who=_person(), passed=not failed, detail=detail)
        else:
            show_drills(ledger)


@ledger_app.command("retention")
def ledger_retention(
    keep_months: Annotated[
        int | None, typer.Option(help="Whole months kept beside the present one; default: as it is.")
    ] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Drop nothing.")] = False,
    table: Annotated[str, typer.Option(help="Only raw_message has a retention.")] = "raw_message",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be dropped.")] = False,
) -> None:
    """How long the broker's raw messages are kept; older whole months are dropped, their hashes stay."""
    from executor.upkeep import keep_messages

    with _open() as (ledger, _):
        keep_messages(ledger, table, keep_months=keep_months, forever=forever, dry_run=dry_run, who=_person())


@ledger_app.command("stop")
def ledger_stop() -> None:
    """Stop the embedded server, whoever uses it."""
    from executor.settings import load_settings
    from sql.server import stop_embedded

    stopped = stop_embedded(load_settings().state_dir)
    typer.echo("stopped" if stopped else "no embedded server is running")


# ---------------------------------------------------------------- audit


@audit_app.command("verify")
def audit_verify(
    first: First = 1,
    last: Last = None,
    anchors: Annotated[
        list[Path] | None, typer.Option("--anchors", help="Anchor file; may stand several times.")
    ] = None,
) -> None:
    """Walk the chain and compare it with its anchors; exit 5 if something does not hold."""
    from executor.audit_commands import verify

    with _open() as (ledger, settings):
        verify(ledger, settings, first=first, last=last, files=anchors or ())


@audit_app.command("export")
def audit_export(
    out: Annotated[Path, typer.Argument(help="File to write (JSON lines).")],
    first: First = 1,
    last: Last = None,
) -> None:
    """Write the chain to a file that the offline verifier reads."""
    from executor.audit_commands import export

    with _open() as (ledger, _):
        export(ledger, out, first=first, last=last)


@audit_app.command("rebuild")
def audit_rebuild() -> None:
    """Compute orders, positions, cash and profit again from the chain and compare; exit 5 on a difference."""
    from executor.audit_commands import rebuild

    with _open() as (ledger, _):
        rebuild(ledger)


@audit_app.command("anchor")
def audit_anchor() -> None:
    """Write the chain's head to every anchor place now."""
    from executor.audit_commands import anchor
    from executor.errors import RefusedError

    with _open() as (ledger, settings):
        problems = anchor(ledger, settings)
    if problems:
        raise RefusedError("; ".join(problems))
    typer.echo("anchored")


# ---------------------------------------------------------------- limits and approvers


@limits_app.command("show")
def limits_show() -> None:
    """The limits in force, and what waits for a second person."""
    from executor.limit_commands import show

    with _open() as (ledger, _):
        show(ledger)


@limits_app.command("tighten")
def limits_tighten(
    changes: Annotated[list[str], typer.Argument(help="name=value ...")], reason: Reason = ""
) -> None:
    """Tighten limits at once."""
    from executor.limit_commands import change

    with _open() as (ledger, settings):
        change(ledger, settings, changes, who=_person(), reason=reason, second=False)


@limits_app.command("propose")
def limits_propose(
    changes: Annotated[
        list[str], typer.Argument(help="name=value ..., or: missing (all that the version in force lacks)")
    ],
    reason: Reason = "",
) -> None:
    """Propose limits that someone else must confirm."""
    from executor.limit_commands import change

    with _open() as (ledger, settings):
        change(ledger, settings, changes, who=_person(), reason=reason, second=True)


@limits_app.command("confirm")
def limits_confirm(
    proposal: Annotated[str, typer.Argument(help="The proposal's id.")], reason: Reason = ""
) -> None:
    """Put someone else's proposal in force."""
    from executor.limit_commands import confirm_change

    with _open() as (ledger, settings):
        confirm_change(ledger, settings, proposal, who=_person(), reason=reason)


@approvers_app.command("new")
def approvers_new(name: Annotated[str, typer.Argument(help="The approver's login name.")]) -> None:
    """Make a signing key for an approver and register its public half."""
    from executor.approver_commands import new

    with _open() as (ledger, settings):
        new(ledger, settings, name, _person())


@approvers_app.command("list")
def approvers_list() -> None:
    """Every registered key."""
    from executor.approver_commands import show

    with _open() as (ledger, _):
        show(ledger)


@approvers_app.command("revoke")
def approvers_revoke(key: Annotated[str, typer.Argument(help="The key's id.")], reason: Reason = "") -> None:
    """Take a key out of force."""
    from executor.approver_commands import revoke_key

    with _open() as (ledger, _):
        revoke_key(ledger, key, by=_person(), reason=reason)
