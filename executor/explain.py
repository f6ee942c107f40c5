"""``executor explain``: find what an id means, read its story, show it."""

from __future__ import annotations

import datetime as dt
import json

import typer
from rich.console import Console
from sqlmodel import Session

from executor.errors import InputError
from executor.reading import reading
from executor.settings import Settings
from sql.story import plain, tell
from sql.subject import CANDIDATES_MAX, PREFIX_CHARS_MIN, Subject, find, find_by_day

WIDTH_MAX = 140
"""Wider lines are harder to read, however wide the terminal is."""


def explain(settings: Settings, asked: str, day: dt.date | None, *, as_json: bool) -> None:
    """Print the story of an order, a fill or a signal; nothing is written, the ledger is not migrated."""
    with reading(settings) as session:
        story = tell(session, _the_one(session, asked.strip(), day))
    if as_json:
        typer.echo(json.dumps(plain({"asked": asked} | story), indent=2))
        return
    from executor.explain_page import render
    from executor.explain_words import printable

    console = Console(markup=False, emoji=False, highlight=False)
    console.print(render(printable(story)), width=min(console.width, WIDTH_MAX))


def _the_one(session: Session, asked: str, day: dt.date | None) -> Subject:
    if day is not None:
        found = find_by_day(session, asked.upper(), day)
        if not found:
            raise InputError(
                f"{asked.upper()} has no signal and no order on {day}; executor orders lists what there is"
            )
    else:
        found = find(session, asked)
        if not found:
            short = f" (at least {PREFIX_CHARS_MIN} characters)" if len(asked) < PREFIX_CHARS_MIN else ""
            raise InputError(
                f"no order, fill or signal begins with {asked!r}{short}; executor orders and executor decisions list "
                "them, or name symbol and day: executor explain AAPL 2022-12-28"
            )
    if len(found) > 1:
        listed = "; ".join(f"{s.id} ({s.says})" for s in found[: CANDIDATES_MAX - 1])
        more = " ..." if len(found) >= CANDIDATES_MAX else ""
        raise InputError(f"{asked!r} can mean several: {listed}{more}; name one")
    return found[0]
