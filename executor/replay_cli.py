"""``executor replay``: a recorded session again, the same commands byte for byte."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

if TYPE_CHECKING:
    from executor.replay.explain import Explained
    from executor.replay.frames import Recording
    from executor.replay.replay import Replayed


def replay(
    session: Annotated[
        str, typer.Argument(help="Session: YYYY-MM-DD, its file, or 'last'; none lists what there is.")
    ] = "",
    until: Annotated[
        str, typer.Option(help="Stop at this market time, HH:MM[:SS] New York, and show the state.")
    ] = "",
    explain: Annotated[str, typer.Option(help="Client order id (or how it begins): what led to it.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Tell a fresh engine everything a session's engine was told, and compare every command."""
    from executor.errors import NotReconciled
    from executor.replay.explain import explain as explained
    from executor.replay.frames import read
    from executor.replay.replay import replay as again
    from executor.settings import load_settings

    folder = load_settings().state_dir / "sessions"
    if not session:
        _list(folder)
        return
    recording = read(_find(folder, session))
    if explain:
        _explain(recording, explained(recording, explain), as_json)
        return
    moment = None
    if until:
        day = dt.date.fromisoformat(recording.header.session)
        moment = dt.datetime.combine(day, _time(until), ZoneInfo("America/New_York"))
    result = again(recording, until=moment)
    _print(recording, result, until, as_json)
    if result.difference is not None:
        raise NotReconciled(
            f"the replay differs from the record at event {result.difference.told.number}; if the code has "
            f"changed since build {recording.header.build}, replay with that build"
        )


def _find(folder: Path, session: str) -> Path:
    from executor.errors import InputError

    if Path(session).is_file():
        return Path(session)
    pattern = "*.session" if session == "last" else f"{session}*.session"
    found = sorted(folder.glob(pattern), key=lambda p: p.stat().st_mtime)
    if not found:
        raise InputError(f"no session {session} under {folder}; executor replay lists what there is")
    return found[-1]


def _time(text: str) -> dt.time:
    from executor.errors import InputError

    try:
        return dt.time.fromisoformat(text)
    except ValueError:
        raise InputError(f"--until {text!r} is not a time of day: give HH:MM or HH:MM:SS, New York") from None


def _list(folder: Path) -> None:
    files = sorted(folder.glob("*.session"))
    for path in files:
        typer.echo(f"{path.stem:24} {path.stat().st_size / 1e6:8.1f} MB")
    if not files:
        typer.echo(f"no recorded sessions under {folder}; executor run records each one")


def _print(recording: Recording, result: Replayed, until: str, as_json: bool) -> None:
    engine, header = result.engine, recording.header
    open_orders = [o.client_order_id for o in engine.orders.values() if o.is_open]
    shown: dict[str, Any] = {
        "session": header.session,
        "epoch": header.epoch,
        "build": header.build,
        "events": result.events,
        "commands": result.commands,
        "same": result.difference is None,
        "complete": recording.complete,
        "lost": recording.lost,
        "mode": str(engine.mode),
        "cash": str(engine.book.cash),
        "positions": {s: str(q) for s, q in sorted(engine.book.positions.items())},
        "open_orders": open_orders,
    }
    if result.difference is not None:
        d = result.difference
        shown["difference"] = {
            "event": d.told.number,
            "told": str(d.told.event),
            "recorded": d.recorded,
            "replayed": d.replayed,
        }
    if as_json:
        typer.echo(json.dumps(shown))
        return
    typer.echo(
        f"session {header.session}, epoch {header.epoch}, build {header.build}, account {header.account}"
    )
    if recording.lost:
        typer.echo(f"the record is not whole: {recording.lost}")
    if result.difference is None:
        stop = f" up to {until} New York" if until else ""
        typer.echo(
            f"{result.events:,} events{stop} led to the same {result.commands:,} commands, byte for byte"
        )
    else:
        d = result.difference
        typer.echo(f"event {d.told.number:,} led to other commands: {d.told.event}")
        for title, lines in (("recorded", d.recorded), ("replayed", d.replayed)):
            typer.echo(f"  {title}:")
            for line in lines or ("nothing",):
                typer.echo(f"    {line[:500]}")
    held = ", ".join(f"{q} {s}" for s, q in shown["positions"].items()) or "no positions"
    typer.echo(
        f"then: mode {engine.mode}, cash {engine.book.cash:,.2f} USD, {held}; open orders: {len(open_orders)}"
    )


def _explain(recording: Recording, story: Explained, as_json: bool) -> None:
    intent = story.intent
    if as_json:
        rows = {"before": story.before, "life": story.life}
        typer.echo(
            json.dumps(
                {
                    "client_order_id": intent.client_order_id,
                    "refused": story.refused,
                    "checks": intent.checks.as_json(),
                    "inputs": intent.inputs.as_json(),
                    **{k: [vars(line) for line in v] for k, v in rows.items()},
                },
                default=str,
            )
        )
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"[bold]{intent.client_order_id}[/]: {intent.side} {intent.qty} {intent.symbol} at {intent.limit_price}"
        + (f", refused: {story.refused}" if story.refused else ""),
        highlight=False,
    )
    for title, lines in (("What led to it", story.before), ("What became of it", story.life)):
        table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
        for name in ("Event", "Market UTC", ""):
            table.add_column(name, overflow="fold", justify="right" if name == "Event" else "left")
        for line in lines:
            table.add_row(f"{line.number:,}", line.at, line.text)
        console.print(table)
    table = Table(
        title="What was checked", title_justify="left", box=None, header_style="bold", pad_edge=False
    )
    for name in ("Limit", "", "Before", "After", "Bound", "Version"):
        table.add_column(name, justify="right" if name in ("Before", "After", "Bound") else "left")
    for check in intent.checks.as_json():
        word = "ok" if check["ok"] else check.get("unknown") or "would be passed"
        figures = [
            str(check.get(k) if check.get(k) is not None else "") for k in ("before", "after", "limit")
        ]
        table.add_row(check["name"], word, *figures, str(check["version"]))
    console.print(table)
