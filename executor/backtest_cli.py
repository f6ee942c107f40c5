"""``executor backtest``: the live core on historical bars."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from executor.backtest.history import History
    from executor.backtest.run import Result
    from executor.backtest.signals import Signals
    from models.strategy import Strategy

DAY = "%Y-%m-%d"


def backtest(
    strategy: Annotated[
        Path, typer.Argument(help="Strategy file (.toml): names held, caps, costs, capital.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Daily prices: Parquet or CSV file, or a stored data set (ds-...); default: the latest."
        ),
    ] = "",
    signals: Annotated[
        Path | None, typer.Option(help="CSV date,symbol,weight: the book wanted after that close.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Walk-forward scores, Parquet or CSV: symbol,date,score.")
    ] = None,
    cross: Annotated[str, typer.Option(help="FAST,SLOW sessions: the built-in moving-average cross.")] = "",
    sectors: Annotated[
        Path | None, typer.Option(help="CSV symbol,sector; without it each name is its own sector.")
    ] = None,
    start: Annotated[dt.datetime | None, typer.Option("--from", formats=[DAY], help="First session.")] = None,
    end: Annotated[dt.datetime | None, typer.Option("--to", formats=[DAY], help="Last session.")] = None,
    fill: Annotated[str, typer.Option(help="Fill at the next session's 'close' or 'open'.")] = "close",
    rearm: Annotated[
        bool, typer.Option("--rearm", help="Re-arm each morning what a breaker has tightened.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for summary, equity, trades and returns.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON on stdout.")] = False,
) -> None:
    """Trade a strategy's signals through the live engine: its sizes, limits, breakers and modes."""
    from rich.console import Console

    from executor.backtest.outcome import figures, returns_of, write
    from executor.backtest.run import Backtest, Terms
    from executor.errors import InputError
    from executor.settings import load_settings
    from models.strategy import load_strategy

    if fill not in ("close", "open"):
        raise InputError(f"--fill {fill!r}: give close or open")
    settings, plan = load_settings(), load_strategy(strategy)
    history = _history(data, settings.state_dir / "history")
    source = _source(signals, scores, cross, plan)
    first, last = _span(history, start, end)
    limits = {name: str(value) for name, value in settings.limits.model_dump().items()}
    terms = Terms(
        capital_usd=_decimal(plan.costs.capital_usd), fill=fill, rearm=rearm, impact_y=plan.costs.impact_y,
        policy=_policy(plan, history), identity={"build": "backtest", "strategy": plan.name},
    )  # fmt: skip
    run = Backtest(history, source, limits, _sectors(sectors, history), terms)
    console = Console(stderr=True)
    with console.status("trading ...") as status:
        result = run.run(
            first, last, progress=lambda done, total: status.update(f"{done} of {total} sessions")
        )
    returns = returns_of(result, history, first)
    summary = {"strategy": plan.name, "strategy_hash": plan.hash, "fill": fill} | figures(result, returns)
    files = write(out, result, returns, summary) if out is not None else []
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        _print(summary, result, files)


def _history(data: str, store: Path) -> History:
    from executor.backtest.history import load
    from executor.errors import InputError

    if not data:
        latest = store / "latest"
        if not latest.is_file():
            raise InputError("no prices: give --data FILE, or ingest a history first")
        data = latest.read_text().strip()
    return load(data, store)


def _source(signals: Path | None, scores: Path | None, cross: str, plan: Strategy) -> Signals:
    from executor.backtest.signals import MovingAverageCross, Scores, WeightsFile
    from executor.errors import InputError

    if sum(x is not None for x in (signals, scores, cross or None)) != 1:
        raise InputError("give one source of signals: --signals FILE, --scores FILE or --cross FAST,SLOW")
    book = plan.portfolio
    if signals is not None:
        return WeightsFile(signals)
    if scores is not None:
        return Scores(
            scores, names=book.names, keep=book.keep, gross=book.gross, single_name=book.single_name,
            every=book.rebalance_sessions,
        )  # fmt: skip
    try:
        fast, slow = (int(part) for part in cross.split(","))
    except ValueError:
        raise InputError(f"--cross {cross!r}: give two whole numbers of sessions, such as 20,100") from None
    return MovingAverageCross(fast, slow, book.gross)


def _span(history: History, start: dt.datetime | None, end: dt.datetime | None) -> tuple[int, int]:
    from bisect import bisect_left, bisect_right

    from executor.backtest.risk import SESSIONS_MIN
    from executor.errors import InputError

    if len(history) <= SESSIONS_MIN:
        raise InputError(
            f"{len(history)} sessions of prices are too few: the tail limits need {SESSIONS_MIN} before a first trade"
        )
    first = 0 if start is None else bisect_left(history.sessions, start.date())
    first = max(first, SESSIONS_MIN - 1)  # before that nothing can be traded, and idle years flatter nobody
    last = len(history) - 1 if end is None else bisect_right(history.sessions, end.date()) - 1
    if last - first < 1:
        raise InputError(
            f"fewer than two sessions from {start and start.date()} to {end and end.date()}; the prices hold "
            f"{history.sessions[0]} to {history.sessions[-1]}"
        )
    return first, last


def _sectors(path: Path | None, history: History) -> dict[str, str]:
    import csv

    from executor.errors import InputError

    if path is None:
        return {symbol: symbol for symbol in history.symbols}
    try:
        with path.open(newline="") as file:
            return {row["symbol"]: row["sector"] for row in csv.DictReader(file)}
    except (OSError, KeyError) as error:
        raise InputError(
            f"cannot use the sectors {path} ({error}); it needs the columns symbol,sector"
        ) from None


def _policy(plan: Strategy, history: History) -> Any:
    """The no-trade band of live, unless the names' own weight is too small for it."""
    from decimal import Decimal

    from executor.core.policy import IMMEDIATE, ExecutionPolicy

    smallest = plan.portfolio.gross / max(1, len(history.symbols))
    band = min(IMMEDIATE.no_trade_band, Decimal(f"{smallest / 4:.6f}"))
    return ExecutionPolicy(no_trade_band=band)


def _decimal(value: float) -> Any:
    from decimal import Decimal

    return Decimal(f"{value:.2f}")


def _print(summary: dict[str, Any], result: Result, files: list[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    from executor.backtest.outcome import chart

    console = Console(highlight=False)
    s = summary
    console.print(
        f"[bold]{s['strategy']}[/]  {s['first']} to {s['last']}, {s['sessions']:,} sessions, filled at the next {s['fill']}"
    )
    equity = [d.equity for d in result.days]
    console.print(f"{chart(equity)}  equity {min(equity):,.0f} to {max(equity):,.0f} USD")
    peak, fall = 0.0, []
    for value in equity:
        peak = max(peak, value)
        fall.append(value / peak - 1.0)
    console.print(f"{chart(fall)}  drawdown to {min(fall):.1%}")
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(4):
        table.add_column(justify="left")
    costs = s["costs_usd"]
    rows = (
        ("growth a year", f"{s['cagr']:+.2%}", "benchmark", f"{s['benchmark_cagr']:+.2%}"),
        ("Sharpe ratio", f"{s['sharpe']:.2f}", "volatility", f"{s['volatility']:.1%}"),
        (
            "turnover a year",
            f"{s['turnover_a_year']:.1f} x",
            "cost a year",
            f"{s['cost_a_year']:.2%} of equity",
        ),
        (
            "trades",
            f"{s['trades']:,} ({s['exits']:,} exits)",
            "costs",
            f"fees {costs['fees']:,.0f}, spread {costs['spread']:,.0f}, impact {costs['impact']:,.0f} USD",
        ),
        ("bars", f"{s['bars']:,}", "last mode", s["mode_last"]),
    )
    for row in rows:
        table.add_row(f"[dim]{row[0]}[/]", row[1], f"[dim]{row[2]}[/]", row[3])
    console.print(table)
    if s["refusals"]:
        refused = ", ".join(f"{name} {n:,}" for name, n in list(s["refusals"].items())[:8])
        console.print(f"[dim]refused by the gate[/]  {refused}")
    for trip in s["breaker_trips"][:8]:
        console.print(f"[bold red]{trip['session']}  {trip['title']}[/]  {trip['text']}")
    if len(s["breaker_trips"]) > 8:
        console.print(f"[dim]and {len(s['breaker_trips']) - 8} more[/]")
    for path in files:
        console.print(f"[dim]wrote[/] {path}")
