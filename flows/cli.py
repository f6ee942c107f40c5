"""The `sallyport` command: data, models, reports and flows. What it needs is imported when a command runs.

Exit codes: 0 done, 2 bad input, 3 refused (window, validation, state), 4 a service does not answer,
130 interrupted. An expected error is one line on standard error.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="sallyport",
    help="The slow side of Sallyport: prices, models, reports and the flows that make them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data = typer.Typer(help="Prices: take in, and what is there.", no_args_is_help=True)
model = typer.Typer(help="Models: the registry, and training.", no_args_is_help=True)
report = typer.Typer(help="Reports: write and open them.", no_args_is_help=True)
flows = typer.Typer(help="Flows: run one now.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(model, name="model")
app.add_typer(report, name="report")
app.add_typer(flows, name="flows")

INTERRUPTED = 130
OURS = ("flows", "reports", "executor", "models", "market", "sql")
Day = Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Session; default: the newest.")]


@data.command("ingest")
def data_ingest(
    prices: Annotated[str, typer.Argument(help="Parquet or CSV file of daily bars, or `sample`.")],
    sectors: Annotated[Path | None, typer.Option(help="GICS sector file (CSV with Symbol, Sector).")] = None,
) -> None:
    """Take a price file into the history as one immutable data set."""
    from flows.intake import read_source, take_in
    from flows.workspace import open_workspace

    delivery = read_source(prices, str(sectors) if sectors else None)  # a bad file starts no ledger
    with open_workspace() as work:
        stored = take_in(work, delivery)
    typer.echo(
        f"{stored.id}: {stored.rows:,} rows, {stored.symbols} symbols, {stored.first_session} to "
        f"{stored.last_session}, from {stored.source}"
    )
    if stored.modelled:
        typer.echo(
            f"modelled, not observed: {', '.join(stored.modelled['columns'])}. {stored.modelled['how']}"
        )


@data.command("download")
def data_download(
    symbols: Annotated[list[str], typer.Argument(help="Tickers, for example AAPL MSFT KO.")],
    start: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First day.")],
    end: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")] = Path("prices.parquet"),
    calls_per_minute: Annotated[int, typer.Option(min=0, help="Your plan's limit; 0 for none.")] = 5,
) -> None:
    """Fetch daily bars, splits and dividends from Polygon into a file that `data ingest` takes."""
    from executor.settings import load_settings
    from market.polygon import download_daily

    feed = load_settings().feed
    prices = download_daily(
        symbols, _date(start), _date(end), api_key=feed.polygon_key.get_secret_value(), base=feed.polygon_url,
        calls_per_minute=calls_per_minute, progress=lambda name, done, all_: typer.echo(f"{done} of {all_}: {name}"),
    )  # fmt: skip
    prices.write_parquet(out)
    typer.echo(f"{out}: {prices.height:,} rows of {len(symbols)} symbols; next: sallyport data ingest {out}")


@data.command("status")
def data_status() -> None:
    """List the data sets with the verdict of their validation."""
    from flows.show import data_table

    _show(data_table)


@data.command("validate")
def data_validate(
    file: Annotated[
        Path | None,
        typer.Argument(help="A file or drop to judge where it lies; without one, the ledger's newest data."),
    ] = None,
    as_of: Day = None,
    reference: Annotated[
        Path | None, typer.Option(help="Daily bars of a second vendor to compare with.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all findings to this .json or .csv file.")] = None,
    replay: Annotated[str | None, typer.Option(metavar="TIME", help="Clock of a replay environment.")] = None,
) -> None:
    """Judge a file of bars, trades, quotes or a drop; or run the flow `validate` on the newest data set."""
    if file is None:
        _run("validate", as_of, replay, {})
        return
    from flows.judge import judge

    table, said, blocked = judge(file, _date(as_of), reference, out)
    _print(table)
    typer.echo(said)
    if blocked:
        raise typer.Exit(3)


@data.command("findings")
def data_findings(
    as_of: Day = None,
    severity: Annotated[str | None, typer.Option(help="block, quarantine or note.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Of one symbol.")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many to show.")] = 60,
) -> None:
    """List what the newest validation found, with the key to overrule each by, and who is reduce-only."""
    from flows.judge import findings_table
    from flows.workspace import open_workspace

    with open_workspace() as work:
        table, said = findings_table(work, _date(as_of), severity, symbol, most)
    _print(table)
    typer.echo(said)


@data.command("overrule")
def data_overrule(
    key: Annotated[str, typer.Argument(help="Key of the finding, from `data findings` or the nightly page.")],
    reason: Annotated[str, typer.Option(help="Why the data is right.")],
    by: Annotated[str | None, typer.Option(help="Who says so; default: the login's name.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the word back.")] = False,
) -> None:
    """Overrule one finding with a reason; it goes into the audit chain and holds until its numbers change."""
    from flows.judge import say_overrule

    typer.echo(say_overrule(key, reason, by, withdraw))


@model.command("list")
def model_list() -> None:
    """List the registered models with their walk-forward metrics."""
    from flows.show import model_table

    _show(model_table)


@model.command("train")
def model_train(
    strategy: Annotated[Path | None, typer.Option(help="Strategy file; default: the settings' one.")] = None,
    as_of: Day = None,
    replay: Annotated[str | None, typer.Option(metavar="TIME", help="Clock of a replay environment.")] = None,
) -> None:
    """Train a model on the newest validated data and test it walk-forward (the flow `weekly`)."""
    _run("weekly", as_of, replay, {"strategy": str(strategy) if strategy else None})


@report.command("day")
def report_day(day: Day = None) -> None:
    """Write the report of a traded day and print its path."""
    from flows.show import write_day

    typer.echo(write_day(_date(day)))


@report.command("nightly")
def report_nightly(
    as_of: Day = None,
    replay: Annotated[str | None, typer.Option(metavar="TIME", help="Clock of a replay environment.")] = None,
) -> None:
    """Write the nightly reports and send the summary (the flow `nightly_report`)."""
    _run("nightly_report", as_of, replay, {})


@report.command("open")
def report_open(
    which: Annotated[str, typer.Argument(help="day, tear-sheet, data or compliance.")] = "day",
) -> None:
    """Open the newest report of a kind in the browser, and print its path."""
    from flows.show import newest_report

    path = newest_report(which)
    typer.echo(path)
    typer.launch(str(path))


@flows.command("list")
def flows_list() -> None:
    """List the flows and when each is scheduled."""
    from flows.schedule import table

    _print(table(Path("prefect.yaml")))


@flows.command("run")
def flows_run(
    name: Annotated[str, typer.Argument(help="Name of the flow; see `sallyport flows list`.")],
    as_of: Day = None,
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Clock to go by (New York unless it has a zone); replay environments only."
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Parameter of the flow."),
    ] = None,
) -> None:
    """Run one flow now, as a real flow run on the server of `sallyport up` or on one of its own."""
    from flows.errors import FlowError

    parameters: dict[str, Any] = {}
    for item in parameter or []:
        key, separator, value = item.partition("=")
        if not separator:
            raise FlowError(f"--parameter {item!r} has no value; write it as NAME=VALUE")
        parameters[key] = value
    _run(name, as_of, replay, parameters)


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Port of the Prefect server; 0 takes a free one.")] = 4200,
) -> None:
    """Run the Prefect server, every deployment and a worker until Ctrl-C."""
    from flows.up import run

    run(port=port)


@app.command()
def notify() -> None:
    """Deliver alerts from the ledger as they come, until Ctrl-C; `up` does so too."""
    from flows.alerts import deliver_forever
    from flows.workspace import open_workspace

    with open_workspace() as work:
        deliver_forever(work, typer.echo)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="Price file; default: the built-in sample.")] = None,
    sectors: Annotated[Path | None, typer.Option(help="GICS sector file for --data.")] = None,
    state: Annotated[Path, typer.Option(help="Folder of the demo; made anew.")] = Path(".sallyport/demo"),
    speed: Annotated[float, typer.Option(help="How fast the session is replayed.", min=1, max=3600)] = 390,
) -> None:
    """Run the whole chain through one replayed session: prices to paper fills to reports."""
    from flows.demo import run

    run(data=data, sectors=sectors, state=state, speed=speed)


def _run(name: str, as_of: str | None, replay: str | None, parameters: dict[str, Any]) -> None:
    from flows.run import run_flow

    given = {key: value for key, value in parameters.items() if value is not None}
    typer.echo(run_flow(name, as_of=_date(as_of), clock=_clock(replay), parameters=given))


def _date(text: str | None) -> Any:
    from datetime import date

    from flows.errors import FlowError

    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise FlowError(f"{text!r} is not a date; write it as YYYY-MM-DD") from None


def _clock(text: str | None) -> Any:
    from datetime import datetime

    from flows.errors import FlowError

    if text is None:
        return None
    from market.calendar import NEW_YORK

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FlowError(
            f"{text!r} is not a time; write it as YYYY-MM-DDTHH:MM (New York) or with a zone"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=NEW_YORK)


def _show(make: Any) -> None:
    from flows.workspace import open_workspace

    with open_workspace() as work:
        _print(make(work))


def _print(renderable: Any) -> None:
    from rich.console import Console

    Console().print(renderable)


def exit_code(error: Exception) -> int | None:
    """Exit code of an error we expect, None for one we do not (that one keeps its traceback)."""
    own = getattr(error, "exit_code", None)
    if isinstance(own, int):
        return own
    tree = {kind.__name__ for kind in type(error).__mro__}
    if tree & {"LedgerUnreachable"}:
        return 4
    if tree & {"LedgerError"}:
        return 3
    # By name: importing every package to ask would cost each command seconds.
    if tree & {"MarketError", "ModelsError", "ReportError", "SettingsError"}:
        return 2
    return None


def main() -> None:
    """Entry point of the console command."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        code = app(standalone_mode=False)
    except KeyboardInterrupt:
        _fail("interrupted; nothing is left running", INTERRUPTED)
    except typer.Abort:
        _fail("aborted", INTERRUPTED)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        _fail(f"{error.name} is not installed; the slow side needs: pip install 'sallyport[slow]'", 2)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            sys.exit(2)
        expected = exit_code(error)
        if expected is None:
            raise
        format_message = getattr(error, "format_message", error.__str__)
        _fail(" ".join(format_message().split()), expected)
    if code == INTERRUPTED:  # Typer turns the interrupt into this
        _fail("interrupted; nothing is left running", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
