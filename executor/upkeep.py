"""The bodies of ``executor ledger drill`` and ``executor ledger retention``."""

from __future__ import annotations

import json

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from executor.errors import InputError, RefusedError
from sql.ledger import Ledger

KINDS = ("kill", "restore", "failover", "disconnect", "reconcile", "rearm", "backup", "other")
RAW = "raw_message"


def record_drill(ledger: Ledger, kind: str, *, who: str, passed: bool, detail: str) -> None:
    """Record an exercise of a control and how it went."""
    if kind not in KINDS:
        raise InputError(f"no drill {kind!r}; one of {', '.join(KINDS)}")
    if not detail.strip():
        raise InputError("a drill without a word on it proves nothing; say what was done with --detail")
    with ledger.session() as session:
        session.execute(
            text("SELECT ledger.record_drill(:kind, :who, :passed, CAST(:detail AS jsonb))"),
            {"kind": kind, "who": who, "passed": passed, "detail": json.dumps({"text": detail})},
        )
    typer.echo(f"recorded: {kind} drill by {who}, {'passed' if passed else 'failed'}")


def show_drills(ledger: Ledger) -> None:
    """When each control was last exercised."""
    table = Table(box=None, header_style="bold")
    for name in ("Drill", "Last (UTC)", "By", "Passed", "Times"):
        table.add_column(name, justify="right" if name == "Times" else "left")
    with ledger.session() as session:
        last = {
            r.kind: r
            for r in session.execute(
                text(
                    "SELECT DISTINCT ON (kind) kind, at, who, passed, count(*) OVER (PARTITION BY kind) AS times "
                    "FROM ledger.drill ORDER BY kind, at DESC"
                )
            )
        }
    for kind in KINDS:
        row = last.get(kind)
        if row is None:
            table.add_row(kind, "never", "", "", "0")
        else:
            table.add_row(
                kind,
                f"{row.at:%Y-%m-%d %H:%M}",
                row.who,
                "yes" if row.passed else "[red]no[/]",
                f"{row.times}",
            )
    Console().print(table)


def keep_messages(
    ledger: Ledger, table: str, *, keep_months: int | None, forever: bool, dry_run: bool, who: str
) -> None:
    """Say, or set and apply, how many whole months of raw messages are kept; nothing else is ever dropped."""
    if table != RAW:
        raise RefusedError(
            f"{table} is kept for ever: what was decided and booked is never dropped; only {RAW} has a retention"
        )
    if keep_months is not None and (keep_months < 1 or forever):
        raise InputError(
            f"--keep-months {keep_months} is not a number of months from 1 up, or stands beside --forever"
        )
    with ledger.session() as session:
        present = session.execute(text("SELECT keep_months FROM ledger.retention")).scalar_one()
        wanted = None if forever else keep_months if keep_months is not None else present
        going = (
            session.execute(text("SELECT * FROM ledger.raw_to_drop(:n)"), {"n": wanted}).all()
            if wanted
            else []
        )
        if not dry_run:
            if wanted != present or forever:
                session.execute(
                    text("SELECT ledger.set_retention(:who, :months)"), {"who": who, "months": wanted}
                )
            session.execute(text("SELECT ledger.keep_raw(:who)"), {"who": who})
    policy = "for ever" if wanted is None else f"{wanted} months beside the present one"
    typer.echo(f"raw messages are kept {policy}" + (" (nothing was changed)" if dry_run else ""))
    for row in going:
        typer.echo(
            f"{'would drop' if dry_run else 'dropped'} {row.partition} ({row.bytes / 1e6:.1f} MB); its hashes stay in the chain"
        )
