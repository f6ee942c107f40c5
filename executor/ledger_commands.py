"""The bodies of ``executor ledger ...``: make, upgrade, look at, back up, restore, examine."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from executor.errors import InputError, RefusedError
from executor.settings import Settings
from executor.spool import Spool
from sql import doctor as doctor_room
from sql.anchors import anchor_now, places
from sql.backup import backup, restore
from sql.ledger import Ledger
from sql.roles import apply_grants, in_force
from sql.server import ledger_url, redacted

STYLE = {"ok": "green", "warning": "yellow", "bad": "bold red"}


def say_ready(ledger: Ledger) -> None:
    """Say where the ledger is, and set its roles up if that was not possible before."""
    with ledger.engine.begin() as connection:
        problem = "" if in_force(connection) else apply_grants(connection)
        schema = connection.execute(text("SELECT version_num FROM ledger.alembic_version")).scalar_one()
    typer.echo(f"ledger ready at {redacted(ledger.url)}, schema {schema}")
    if problem:
        typer.echo(
            f"note: roles are not set up ({problem}); executor ledger doctor says what that means", err=True
        )


def show_status(ledger: Ledger) -> None:
    """Rows of every table, chain, schema and server."""
    from sql import evidence  # noqa: F401  (its tables join the metadata)
    from sql.tables import metadata

    with ledger.session() as session:
        version = session.execute(text("SHOW server_version")).scalar_one()
        schema = session.execute(text("SELECT version_num FROM ledger.alembic_version")).scalar_one()
        mode = session.execute(text("SELECT * FROM ledger.v_mode")).mappings().one()
        anchored = session.execute(text("SELECT max(at) FROM ledger.anchor WHERE error = ''")).scalar_one()
        last = f"last anchor {anchored:%Y-%m-%d %H:%M:%S} UTC" if anchored else "no anchor yet"
        table = Table(
            title=f"{redacted(ledger.url)}\nPostgres {version}, schema {schema}, environment {mode['environment']}\n"
            f"ledger {mode['ledger_id']}, chain at entry {mode['audit_seq']:,}, {last}"
        )
        table.add_column("Table")
        table.add_column("Rows", justify="right")
        for name in sorted(t.name for t in metadata.sorted_tables):
            count = session.execute(text(f'SELECT count(*) FROM ledger."{name}"')).scalar_one()  # noqa: S608
            table.add_row(name, f"{count:,}")
        Console().print(table)


def make_backup(ledger: Ledger, settings: Settings, file: Path | None) -> None:
    """Dump the ledger, anchor its head, and say what the dump holds."""
    if file is None:
        file = settings.state_dir / "backups" / f"ledger-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}.dump"
    if file.exists():
        raise InputError(f"{file} exists; a backup never overwrites one, name another file")
    made = backup(ledger, file)
    with ledger.session() as session:
        problems = anchor_now(session, places(settings.anchors, settings.state_dir), "backup")
    size = file.stat().st_size / 1e6
    typer.echo(
        f"backup {file} ({size:.1f} MB): {made.environment} ledger up to entry {made.seq:,}, with {file.name}.json beside it"
    )
    for problem in problems:
        typer.echo(f"note: no anchor of it: {problem}", err=True)


def bring_back(settings: Settings, file: Path, who: str) -> None:
    """Restore into an empty ledger and explain what the backup does not know."""
    secret = settings.database_url
    url = ledger_url(settings.state_dir, secret.get_secret_value() if secret else None)
    found = restore(
        url,
        file,
        environment=settings.environment,
        where=places(settings.anchors, settings.state_dir),
        who=who,
    )
    made = found.backup
    typer.echo(
        f"restored: {made.seq:,} entries up to {made.at:%Y-%m-%d %H:%M:%S} UTC, the chain holds, {found.chain.anchors} anchors agree"
    )
    if found.entries_lost and found.last_anchor:
        typer.echo(
            f"this backup is older than the ledger it is from: the last anchor ({found.last_anchor.at:%Y-%m-%d %H:%M:%S} UTC) "
            f"saw entry {found.last_anchor.seq:,}, so at least {found.entries_lost:,} entries are lost here. The broker knows "
            "more than this ledger does: orders it lists and we do not will stop the executor as foreign ones."
        )
    elif found.last_anchor is None:
        typer.echo(
            "no anchor of this ledger was found, so nobody can say from here whether the backup is the newest state"
        )
    typer.echo(
        "mode HALTED until a person has looked: executor reconcile shows what the broker has, executor audit verify the chain, "
        "then executor rearm --reason '...'"
    )


def examine(settings: Settings) -> None:
    """Print every finding, changing nothing; a bad one ends with exit code 3."""
    secret = settings.database_url
    ledger = Ledger(ledger_url(settings.state_dir, secret.get_secret_value() if secret else None))
    where = places(settings.anchors, settings.state_dir)
    try:
        with ledger.session() as session:
            if session.execute(text("SELECT to_regclass('ledger.alembic_version')")).scalar_one() is None:
                raise RefusedError(f"no ledger at {redacted(ledger.url)} yet; run: executor ledger init")
            found = doctor_room.examine(session, where, settings.state_dir)
            if Spool(settings.state_dir).waiting:
                waits = (
                    "wait in state_dir/spool; the next executor run or reconcile brings them into the ledger"
                )
                found = [*found, doctor_room.Finding("messages of the broker", "warning", waits)]
    finally:
        ledger.close()
    table = Table(box=None, header_style="bold")
    for name in ("Check", "Verdict", "What was seen"):
        table.add_column(name, overflow="fold")
    for finding in found:
        table.add_row(finding.check, f"[{STYLE[finding.verdict]}]{finding.verdict}[/]", finding.detail)
    Console().print(table)
    bad = [f.check for f in found if f.verdict == "bad"]
    if bad:
        raise RefusedError(f"the ledger is not fit to trade on: {', '.join(bad)}; see the table above")
