"""``executor venue``: start the local exchange, or read what one recorded."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

venue_app = typer.Typer(
    help="A local exchange on loopback that speaks Alpaca's and Polygon's protocols.",
    invoke_without_command=True,
)


@venue_app.callback()
def venue(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="Prices or ticks to replay; default: the built-in sample.")
    ] = None,
    date: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Session; default: the last.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; loopback unless you mean otherwise.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 picks a free one.")] = 0,
    speed: Annotated[float, typer.Option(help="Market seconds a second; 0: stepped by control.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Same tape, seed and orders: same executions.")] = 7,
    faults: Annotated[Path | None, typer.Option(help="TOML fault plan; see docs/venue.md.")] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Where to record every request, answer and match.")
    ] = None,
    accounts: Annotated[int, typer.Option(help="How many accounts.")] = 1,
    cash: Annotated[str, typer.Option(help="USD of each account.")] = "100000",
    start: Annotated[str | None, typer.Option(help="HH:MM New York to start the clock at.")] = None,
    rate_limit: Annotated[int, typer.Option(help="Requests a minute and account.")] = 200,
    key_id: Annotated[str | None, typer.Option(help="Key of the first account; default: made up.")] = None,
    secret_key: Annotated[str | None, typer.Option(help="Its secret.")] = None,
    polygon_key: Annotated[str | None, typer.Option(help="Key of the Polygon side.")] = None,
    control_port: Annotated[int, typer.Option(help="Port of the control address; 0 picks one.")] = 0,
    rule: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Switch a behaviour; see docs/venue.md.")
    ] = None,
) -> None:
    """Start it; one JSON line with every address and key is printed when it is ready."""
    if context.invoked_subcommand is not None:
        return
    from executor.errors import InputError
    from market.venue.command import read_rules, run

    try:
        usd = Decimal(cash)
    except InvalidOperation:
        raise InputError(f"--cash {cash!r} is no amount; write it as 100000") from None
    run(
        host=host, port=port, data=data, date=date.date() if date else None, speed=speed, seed=seed, faults=faults,
        journal=journal, accounts=accounts, cash=usd, start=start, rate_limit=rate_limit, key_id=key_id,
        secret_key=secret_key, polygon_key=polygon_key, control_port=control_port, rules=read_rules(rule or []),
    )  # fmt: skip


@venue_app.command("journal")
def journal(
    path: Annotated[Path, typer.Argument(help="Journal that `executor venue --journal` wrote.")],
    kind: Annotated[list[str] | None, typer.Option(help="Only lines of this kind; may be repeated.")] = None,
    account: Annotated[int | None, typer.Option(help="Only lines of this account, counted from 0.")] = None,
    after: Annotated[int, typer.Option(help="Only lines after this number.")] = 0,
    wire: Annotated[bool, typer.Option("--wire", help="With wall times in nanoseconds.")] = False,
    replay_to: Annotated[Path | None, typer.Option(help="Replay it into this file and compare.")] = None,
) -> None:
    """Print a journal as JSON lines, or replay it and say whether the bytes are the same."""
    from market.venue.command import read_journal

    raise typer.Exit(
        read_journal(path, kinds=kind, account=account, after=after, wire=wire, replay_to=replay_to)
    )
