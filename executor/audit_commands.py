"""The bodies of ``executor audit ...``: verify, export, rebuild, anchor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from executor.errors import InputError, NotReconciled
from executor.settings import Settings
from sql import audit, witnesses
from sql.anchors import Anchor, AnchorError, AnchorFile, Place, anchor_now, places, read_anchors, read_head
from sql.ledger import Ledger
from sql.rebuild import compare

DIFFERENCES_SHOWN = 50


def verify(
    ledger: Ledger, settings: Settings, *, first: int = 1, last: int | None = None, files: Sequence[Path] = ()
) -> None:
    """Walk the chain, compare it with its anchors; exit 5 if anything does not hold."""
    if first < 1 or (last is not None and last < first):
        raise InputError(
            f"entries {first} to {last} are no range; --from counts from 1 and --to is not below it"
        )
    with ledger.session() as session:
        anchors = _anchors(read_head(session).ledger, settings, files)
        report = audit.verify(session, first=first, last=last, anchors=anchors)
    if not report.ok:
        raise NotReconciled(
            f"audit chain broken at entry {report.first_bad}: {report.reason}; keep a copy, then ask who had access"
        )
    said = f"{report.anchors:,} of its anchors agree" if report.anchors else "no anchor to compare with"
    if report.abandoned:
        said += f", {report.abandoned:,} lie past a declared restore"
    typer.echo(f"audit chain holds: {report.rows:,} entries, head {report.head[:16]}, {said}")


def _anchors(ledger: str, settings: Settings, files: Sequence[Path]) -> list[Anchor]:
    where: Sequence[Place] = [AnchorFile(f) for f in files] or places(settings.anchors, settings.state_dir)
    missing = [f for f in files if not f.exists()]
    if missing:
        raise InputError(f"no anchor file {missing[0]}; executor settings shows where anchors go (anchors)")
    try:
        return read_anchors(where, ledger)
    except AnchorError as problem:
        raise NotReconciled(str(problem)) from None


def export(ledger: Ledger, out: Path, *, first: int = 1, last: int | None = None) -> None:
    """Write the chain as JSON lines and say how to verify it elsewhere."""
    if out.exists():
        raise InputError(f"{out} exists; name another file")
    with ledger.session() as session:
        count = audit.export(session, out, first=first, last=last)
    program = Path(audit.__file__).with_name("offline_verifier.py")
    typer.echo(f"{count:,} entries in {out}")
    typer.echo(
        f"verify it on another machine: python -I {program.name} {out.name} --anchors ANCHORS.jsonl  (the program: {program})"
    )


def rebuild(ledger: Ledger) -> None:
    """Compute the book again from the chain and compare; exit 5 on a difference."""
    with ledger.session() as session:
        built, found = compare(session)
        told, doubts = witnesses.compare(session)
    held = sum(1 for h in built.holdings.values() if h.qty)
    found += doubts
    if not found:
        typer.echo(
            f"equal: {built.entries:,} entries give {len(built.orders):,} orders, {len(built.fills):,} fills, {held} positions, "
            f"{built.cash:,.2f} USD cash and {len(built.raw):,} raw messages, as the tables say; the broker's own bytes tell of {told:,} of the fills"
        )
        return
    table = Table(header_style="bold")
    for name in ("What", "Of", "Chain", "Table"):
        table.add_column(name, overflow="fold")
    for d in found[:DIFFERENCES_SHOWN]:
        table.add_row(d.what, d.ref, d.chain, d.table)
    Console().print(table)
    raise NotReconciled(
        f"{len(found)} differences between chain and tables; the chain is the witness (executor audit verify), find out who wrote "
        "the tables"
    )


def anchor(ledger: Ledger, settings: Settings, occasion: str = "manual") -> list[str]:
    """Anchor the head now at every place; returns what went wrong."""
    with ledger.session() as session:
        problems = anchor_now(session, places(settings.anchors, settings.state_dir), occasion)
    return problems
