"""``executor``: everything live. Subcommands import what they need when they run, so help is fast."""

from __future__ import annotations

import datetime as dt
import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from executor.backtest_cli import backtest
from executor.book_cli import book_app
from executor.record_cli import approvers_app, audit_app, ledger_app, limits_app
from executor.replay_cli import replay
from executor.simulate_cli import simulate
from executor.venue_cli import venue_app

if TYPE_CHECKING:
    from executor.settings import Settings
    from sql.ledger import Ledger

app = typer.Typer(
    name="executor",
    help="Trade approved signals under limits, with a ledger. Settings: environment and sallyport.toml.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
EXIT_UNREACHABLE = 4


def main() -> None:
    """Console entry: expected errors are one line on stderr and an exit code, never a traceback."""
    sys.exit(run_command(app))


def run_command(command: Callable[..., object]) -> int:
    """Run a Typer app, turning the error classes of every floor into exit codes."""
    from executor.errors import ExecutorError

    try:
        command(standalone_mode=True)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    except ExecutorError as error:
        return _complain(error, error.exit_code)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        return _complain(error, code)
    return 0


def _exit_code(error: Exception) -> int | None:
    """Exit code of the other floors' errors; None for one nobody expects."""
    from sql.errors import LedgerError, LedgerUnreachable, LineageError

    if isinstance(error, LedgerUnreachable):
        return EXIT_UNREACHABLE
    if isinstance(error, LineageError):
        return 2
    if isinstance(error, LedgerError):
        return 3
    own = getattr(error, "exit_code", None)
    return own if isinstance(own, int) else _exit_code_of_postgres(error)


def _exit_code_of_postgres(error: Exception) -> int | None:
    """A Postgres or a broker that went away in the middle is no riddle; the rest is a defect of ours."""
    import psycopg
    from sqlalchemy.exc import OperationalError

    # By name: importing the SDK to ask would cost every command a second.
    gone = {"RequestException", "APIError"} & {kind.__name__ for kind in type(error).__mro__}
    unreachable = isinstance(error, (psycopg.OperationalError, OperationalError)) or bool(gone)
    return EXIT_UNREACHABLE if unreachable else None


def _complain(error: Exception, code: int) -> int:
    typer.echo(f"error: {error}", err=True)
    return code


@contextmanager
def ledger_of(settings: Settings) -> Iterator[Ledger]:
    """The ledger the settings name, open and migrated, with its first limits set."""
    from sql.ledger import open_ledger

    secret = settings.database_url
    ledger = open_ledger(
        settings.state_dir, secret.get_secret_value() if secret else None, settings.environment
    )
    try:
        ensure_limits(ledger, settings)
        yield ledger
    finally:
        ledger.close()


def ensure_limits(ledger: Ledger, settings: Settings) -> None:
    """Give a new ledger its first limit version; later changes are a person's act."""
    from sqlmodel import select

    from sql.lineage import set_limits
    from sql.tables import LimitVersion

    with ledger.session() as session:
        if session.exec(select(LimitVersion)).first() is None:
            limits = {name: str(value) for name, value in settings.limits.model_dump().items()}
            set_limits(session, limits, author="settings", reason="first limits of a new ledger")


def person() -> str:
    """Who sits at the terminal."""
    return getpass.getuser()


# ---------------------------------------------------------------- live


@app.command()
def run(
    until_close: Annotated[
        bool, typer.Option("--until-close", help="End when the session has closed and is reconciled.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log to stderr.")] = False,
) -> None:
    """Trade: consume approved batches until stopped, or until the close."""
    import asyncio
    import logging

    from executor.errors import SettingsError
    from executor.settings import load_settings

    settings = load_settings()
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, stream=sys.stderr)
    if not verbose:
        logging.getLogger("alpaca").setLevel(logging.CRITICAL)
    _require_key(settings)
    _require_environment(settings)
    if settings.clock_rate != 1 and settings.environment != "replay":
        raise SettingsError(
            f"clock_rate {settings.clock_rate} is for replays; environment is {settings.environment}, set it to 1"
        )
    from executor.shell import Executor

    with ledger_of(settings) as ledger:
        executor = Executor(settings, ledger.url, typer.echo)
        result = asyncio.run(executor.run(until_close=until_close))
    typer.echo(f"reconciled: ledger and broker hold {result.ledger_cash:,.2f} USD cash, "
               f"{result.compared['positions']} positions, no difference")  # fmt: skip


def _require_key(settings: Settings) -> None:
    from executor.errors import SettingsError

    if not settings.broker.key_id.get_secret_value() or not settings.broker.secret_key.get_secret_value():
        raise SettingsError(
            "no broker key: set APCA_API_KEY_ID and APCA_API_SECRET_KEY (a paper key from Alpaca's "
            "dashboard, or the one executor venue prints)"
        )


def _require_environment(settings: Settings) -> None:
    """Paper keys on the live address, or the other way round, must not start."""
    from urllib.parse import urlsplit

    from executor.errors import SettingsError

    host = urlsplit(settings.broker.url).hostname or ""
    local = host in ("127.0.0.1", "localhost", "::1")
    fits = {
        "replay": local,
        "paper": local or host.startswith("paper"),
        "live": not local and "paper" not in host,
    }
    if not fits[settings.environment]:
        raise SettingsError(
            f"environment {settings.environment} does not go with broker address {settings.broker.url}; "
            "correct SALLYPORT_ENVIRONMENT or SALLYPORT_BROKER__URL"
        )


@app.command()
def status() -> None:
    """Show mode, money, positions, orders, limits and what happened last."""
    from rich.console import Console

    from executor.settings import load_settings
    from executor.status import read_status, render

    with ledger_of(load_settings()) as ledger, ledger.session() as session:
        Console().print(render(read_status(session)))


@app.command()
def watch(
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between readings.")] = 1.0,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long.")] = None,
) -> None:
    """The status page, refreshed until Ctrl-C."""
    import time

    from rich.console import Console
    from rich.live import Live

    from executor.settings import load_settings
    from executor.status import read_status, render

    def page() -> object:
        with ledger.session() as session:
            return render(read_status(session))

    console = Console()
    with ledger_of(load_settings()) as ledger:
        started = time.monotonic()
        with Live(page(), console=console, screen=console.is_terminal, auto_refresh=False) as live:  # type: ignore[arg-type]
            while seconds is None or time.monotonic() - started < seconds:
                time.sleep(interval)
                live.update(page(), refresh=True)  # type: ignore[arg-type]


@app.command()
def kill(
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    flatten: Annotated[bool, typer.Option("--flatten", help="Also close every position.")] = False,
) -> None:
    """Stop: no new orders, every open order cancelled. Latched until executor rearm."""
    import asyncio

    import psycopg
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    from executor.audit_commands import anchor
    from executor.errors import InputError
    from executor.settings import load_settings
    from sql.errors import LedgerError, LedgerUnreachable

    if not reason.strip():
        raise InputError("a kill needs a reason: executor kill --reason 'what you saw'")
    settings = load_settings()
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    kill_file = settings.state_dir / "KILL"
    # The file works even if the ledger does not; the executor looks at it before every send.
    if not flatten:
        kill_file.write_text(f"{reason}\n")
    ledger_problem: Exception | None = None
    try:
        with ledger_of(settings) as ledger:
            with ledger.session() as session:
                session.execute(
                    text("SELECT ledger.kill(:who, :reason, :flatten)"),
                    {"who": person(), "reason": reason, "flatten": flatten},
                )
            problems = anchor(ledger, settings, "kill")  # a kill is anchored even where no executor runs
        for problem in problems:
            typer.echo(f"note: no anchor of it: {problem}", err=True)
        typer.echo("killed: no new orders" + (", flattening every position" if flatten else ""))
    except (LedgerError, SQLAlchemyError, psycopg.Error) as error:
        # What the kill is for must not depend on the ledger: the file stops sending, the broker cancels.
        ledger_problem = error
        kill_file.write_text(f"{reason}\n")
        typer.echo(f"the ledger did not take the kill; the file {kill_file} stops the executor", err=True)
    typer.echo(asyncio.run(_cancel_everything(settings)))
    if ledger_problem is not None:
        raise LedgerUnreachable(
            f"not recorded in the ledger: {ledger_problem}; repeat the kill when it is back"
        )
    typer.echo("to trade again: executor rearm --reason '...'")


async def _cancel_everything(settings: Settings) -> str:
    """Cancel at the broker too, in case no executor is there to do it."""
    from executor.broker import connect
    from executor.errors import BrokerUnreachable
    from executor.message_log import MessageLog

    if not settings.broker.key_id.get_secret_value():
        return "no broker key here: a running executor cancels the open orders"
    try:
        # Answers go to the spool, which the next executor imports: a kill waits for no ledger.
        broker, _ = await connect(settings.broker, MessageLog(None, settings.state_dir))
    except BrokerUnreachable as error:
        return f"could not cancel from here ({error}); a running executor does, or use the broker's own page"
    try:
        return f"asked the broker to cancel {await broker.cancel_all()} open orders"
    except BrokerUnreachable as error:
        return f"could not cancel from here ({error}); a running executor does, or use the broker's own page"
    finally:
        broker.close()


@app.command()
def rearm(reason: Annotated[str, typer.Option(help="Why it is safe again; it is recorded.")] = "") -> None:
    """Loosen after a kill, a halt or a breaker: a person's act."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    from executor.errors import InputError, RefusedError
    from executor.settings import load_settings

    if not reason.strip():
        raise InputError("a re-arm needs a reason: executor rearm --reason 'what was found and mended'")
    settings = load_settings()
    kill_file = settings.state_dir / "KILL"
    set_aside = kill_file.with_name("KILL.rearming")
    with ledger_of(settings) as ledger:
        # The file goes first: an executor that saw it after the re-arm would kill again.
        if kill_file.exists():
            kill_file.replace(set_aside)
            with ledger.session() as session:
                row = session.execute(text("SELECT killed, mode FROM ledger.book")).one()
            if not row.killed and row.mode == "READY":
                set_aside.unlink()
                typer.echo(f"removed {kill_file}; the ledger was not killed")
                return
        try:
            with ledger.session() as session:
                session.execute(
                    text("SELECT ledger.rearm(:who, :reason)"), {"who": person(), "reason": reason}
                )
        except DBAPIError as error:
            if set_aside.exists():
                set_aside.replace(kill_file)
            raise RefusedError(str(error.orig).splitlines()[0]) from None
    set_aside.unlink(missing_ok=True)
    typer.echo("re-armed: mode READY")


@app.command(name="reconcile")
def reconcile_command() -> None:
    """Compare ledger and broker now; exit 5 if they differ."""
    import asyncio

    from rich.console import Console
    from rich.table import Table

    from executor.errors import NotReconciled
    from executor.settings import load_settings

    settings = load_settings()
    _require_key(settings)
    with ledger_of(settings) as ledger:
        from executor.manual import reconcile_now

        result = asyncio.run(reconcile_now(settings, ledger.url))
    table = Table(title=f"Reconciliation at {result.market_time:%Y-%m-%d %H:%M:%S} UTC market time")
    for name in ("What", "Ledger", "Broker"):
        table.add_column(name, justify="left" if name == "What" else "right")
    table.add_row("cash USD", f"{result.ledger_cash:,.2f}", f"{result.broker_cash:,.2f}")
    for b in result.breaks:
        table.add_row(f"{b.kind} {b.ref}", b.ledger_value, b.broker_value, style="bold red")
    Console().print(table)
    if not result.matched:
        raise NotReconciled(
            f"{len(result.breaks)} differences; find out what the broker did (executor status, the broker's own "
            "page) before re-arming"
        )
    typer.echo(
        f"equal: cash, {result.compared['positions']} positions and {result.compared['orders']} orders"
    )


@app.command()
def settings() -> None:
    """Print what is in force and where each value comes from; secrets are hidden."""
    from rich.console import Console
    from rich.table import Table

    from executor.settings import listing, load_settings

    table = Table(box=None, header_style="bold")
    for name in ("Setting", "Value", "From"):
        table.add_column(name, overflow="fold")
    for row in listing(load_settings()):
        table.add_row(*row)
    Console().print(table)


# ---------------------------------------------------------------- signals

signals_app = typer.Typer(help="Signal batches: the first door.", no_args_is_help=True)
app.add_typer(signals_app, name="signals")
BatchArgument = Annotated[str, typer.Argument(help="Batch id, or its first characters.")]


@signals_app.command("list")
def signals_list() -> None:
    """Every batch, newest first."""
    from executor.approval import show_batches
    from executor.settings import load_settings

    with ledger_of(load_settings()) as ledger:
        show_batches(ledger)


@signals_app.command("show")
def signals_show(batch: BatchArgument) -> None:
    """One batch: its chain, its weights and their main reasons."""
    from executor.approval import show_batch
    from executor.settings import load_settings

    with ledger_of(load_settings()) as ledger:
        show_batch(ledger, batch)


@signals_app.command("approve")
def signals_approve(
    batch: BatchArgument,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    policy: Annotated[str, typer.Option(help="Approve by a policy instead of a person: 'paper'.")] = "",
) -> None:
    """Approve a batch, so that the executor may trade it."""
    from executor.approval import decide
    from executor.settings import load_settings

    settings = load_settings()
    with ledger_of(settings) as ledger:
        decide(
            ledger,
            batch,
            accept=True,
            who=person(),
            reason=reason,
            policy=policy,
            keys=settings.state_dir / "keys",
        )


@signals_app.command("reject")
def signals_reject(
    batch: BatchArgument, reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = ""
) -> None:
    """Reject a batch for good."""
    from executor.approval import decide
    from executor.settings import load_settings

    with ledger_of(load_settings()) as ledger:
        decide(ledger, batch, accept=False, who=person(), reason=reason, policy="")


@signals_app.command("submit")
def signals_submit(
    file: Annotated[Path, typer.Argument(help="CSV symbol,weight or JSON object.")],
    session: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Session to trade in; default: this or the next."),
    ] = None,
) -> None:
    """Propose weights from elsewhere; they need an approval like any other batch."""
    from executor.approval import submit_file
    from executor.settings import load_settings

    settings = load_settings()
    with ledger_of(settings) as ledger:
        submit_file(ledger, settings, file, session.date() if session else None, person())


# ---------------------------------------------------------------- ledger, audit, limits, approvers

app.command()(backtest)
app.command()(replay)
app.command()(simulate)
app.add_typer(book_app)
app.add_typer(venue_app, name="venue")
app.add_typer(ledger_app, name="ledger")
app.add_typer(audit_app, name="audit")
app.add_typer(limits_app, name="limits")
app.add_typer(approvers_app, name="approvers")
