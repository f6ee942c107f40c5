"""Registration of what looks into the book: ``executor explain|orders|fills|decisions|positions|pnl``."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

book_app = typer.Typer()
Last = Annotated[int, typer.Option("--last", min=0, help="How many, newest first; 0 for all.")]
Symbol = Annotated[str, typer.Option(help="Only this symbol.")]
Day = Annotated[
    dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only this day (market time, UTC).")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON: every column, decimals as strings.")]


@book_app.command()
def explain(
    thing: Annotated[
        str,
        typer.Argument(help="Order (our id or the broker's), fill or signal, or its beginning; or a symbol."),
    ],
    day: Annotated[
        dt.datetime | None, typer.Argument(formats=["%Y-%m-%d"], help="With a symbol: the session.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, keys as in docs/explain.md.")] = False,
) -> None:
    """The whole story of one order, fill or signal: why it was, what happened, what it cost, what proves it."""
    from executor.explain import explain as tell
    from executor.settings import load_settings

    tell(load_settings(), thing, day.date() if day else None, as_json=as_json)


def _list(what: str, last: int, symbol: str, day: dt.datetime | None, only: bool, as_json: bool) -> None:
    from executor.book_listing import LISTINGS, show
    from executor.settings import load_settings

    show(load_settings(), LISTINGS[what], last=last, symbol=symbol.upper(), day=day.date() if day else None,
         only=only, as_json=as_json)  # fmt: skip


@book_app.command()
def orders(
    last: Last = 20,
    symbol: Symbol = "",
    day: Day = None,
    working: Annotated[bool, typer.Option("--open", help="Only those not ended.")] = False,
    as_json: Json = False,
) -> None:
    """Orders, newest first."""
    _list("orders", last, symbol, day, working, as_json)


@book_app.command()
def fills(last: Last = 20, symbol: Symbol = "", day: Day = None, as_json: Json = False) -> None:
    """Executions, newest first, with what they cost against the mid at the decision."""
    _list("fills", last, symbol, day, False, as_json)


@book_app.command()
def decisions(
    last: Last = 20,
    symbol: Symbol = "",
    day: Day = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only refusals.")] = False,
    as_json: Json = False,
) -> None:
    """What the gate and the ledger decided, newest first, with the reason."""
    _list("decisions", last, symbol, day, refused, as_json)


@book_app.command()
def positions(symbol: Symbol = "", as_json: Json = False) -> None:
    """What is held, what it cost, what it is worth."""
    _list("positions", 0, symbol, None, False, as_json)


@book_app.command()
def pnl(last: Last = 20, as_json: Json = False) -> None:
    """Profit and loss: session by session from the marks, symbol by symbol from the lots, and cash that came and went."""
    from executor.book_listing import show_pnl
    from executor.settings import load_settings

    show_pnl(load_settings(), last=last, as_json=as_json)
