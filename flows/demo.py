"""`sallyport demo`: the whole chain through one replayed session, from prices to paper fills to reports.

The last session in the data is the tape of the local venue. The flows work as of the session before it
and are given no row of the last one: a replay environment's ingest cuts the file at the as-of date, and
the demo checks that the stored data set ends there.

Each demo starts in a fresh folder with a fresh ledger; the folder of the run before it is kept beside it
as ``<folder>.previous``. Everything that is started belongs to this process and is stopped however it ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows import replay
from flows.errors import DemoError
from flows.progress import Stages
from flows.server import PrefectServer, settle, use_server

if TYPE_CHECKING:
    from flows.workspace import Workspace

_MARK = ".sallyport-demo"
_IMPORTED_MEANWHILE = (
    "flows.chain",
    "flows.compliance",
    "great_expectations",
    "models.alpha.training",
    "models.portfolio.optimiser",
    "models.validation.walk_forward",
    "models.validation.monte_carlo",
    "models.validation.stress",
    "reports.tear_sheet",
    "reports.notifier",
)
_PREFECTS_OWN = ("View at", "Finished in", "Beginning", "Created")
_COMPLIANCE_AFTER = timedelta(minutes=45)
_CHAIN_AFTER = timedelta(hours=2, minutes=15)


@dataclass(frozen=True)
class Plan:
    """What is replayed."""

    prices: str
    """``sample`` or the path of the price file."""
    sectors: str | None
    as_of: date
    """Last session the flows may know."""
    session: date
    """The session after it, which the venue replays."""
    speed: float


def run(*, data: Path | None, sectors: Path | None, state: Path, speed: float) -> None:
    """Run the demonstration; raises what stopped it, after everything it started is gone."""
    console = Console(highlight=False)
    began = time.monotonic()
    console.print(
        "[bold]Sallyport[/bold] from prices to paper fills, one session replayed. Ctrl-C stops everything."
    )
    with InterruptOnce() as interrupts, Stages(console) as stages:
        stages.begin("prices")
        plan = read_plan(data, sectors, speed)
        stages.end(
            f"{plan.prices}: flows work as of {plan.as_of} and see nothing later; "
            f"the venue replays {plan.session} at {plan.speed:g}x"
        )
        stages.begin("folder")
        kept = fresh_folder(state)
        stages.end(f"{state}" + (f", the run before is kept in {kept}" if kept else ""))
        with ExitStack() as stack:
            try:
                _run_chain(plan, state.resolve(), stack, stages, console, began)
            finally:
                interrupts.ignore()  # what was started is stopped now, whoever is impatient
                stages.end(failed=sys.exc_info()[0] is not None)
                stages.begin("stopping")
        stages.end("nothing is left running")
        console.print(f"\nDone in {time.monotonic() - began:.0f} s.")


def _run_chain(
    plan: Plan, state: Path, stack: ExitStack, stages: Stages, console: Console, began: float
) -> None:
    """Everything that is started hangs on `stack`; each part says on `stages` what it does."""
    from flows import summary
    from sql.server import stop_embedded

    stack.callback(stop_embedded, state)
    server = stack.enter_context(PrefectServer(state, services=False))  # gets ready while we go on
    mailbox = _mailbox(stack, state)
    use_settings(state, [mailbox.url(), _messages_url(state)])
    stages.begin("ledger")
    from flows.workspace import open_workspace

    work = stack.enter_context(open_workspace())
    stages.end("embedded Postgres, environment replay")
    stages.begin("loading")
    use_server(server.home, server.api_url)
    preload(stages)
    stages.end("flows, validation, models and reports")
    stages.begin("Prefect server")
    server.wait_ready(lambda waited: stages.say(f"{server.url}, starting"))
    stages.end(server.url)
    stack.callback(settle)

    links = _night(plan, work, stages)
    _day(plan, links["batch"], work, state, stack, stages)
    pages = _evening(plan, stages)

    stages.begin("summary")
    figures = summary.collect(work, plan.session, plan.as_of, links)
    seen = {"validation": figures["validation"]["page"]} | pages
    seen |= {"messages": str(state / "messages.txt"), "mail": str(mailbox.folder)}
    figures["paths"] = {name: os.path.relpath(path) for name, path in seen.items()}
    figures["messages"] = len(mailbox.messages())
    figures["seconds"] = round(time.monotonic() - began, 1)
    path = summary.write(figures, state / "summary.json")
    stages.end(os.path.relpath(path))
    summary.show(figures, console, state)


def _night(plan: Plan, work: Workspace, stages: Stages) -> dict[str, Any]:
    """The nightly chain as of the session before the tape; proves that it saw nothing later."""
    from flows.links import data_set
    from flows.run import call
    from market.calendar import session_close

    with narrated(stages):
        parameters = {"prices": plan.prices, "sectors": plan.sectors}
        clock = session_close(plan.as_of) + _CHAIN_AFTER
        links: dict[str, Any] = call("nightly", as_of=plan.as_of, clock=clock, parameters=parameters)
    stages.end()
    with work.ledger.session() as session:
        known = data_set(session, plan.as_of)
    if known.id != links["data_set"] or known.last_session != plan.as_of:
        raise DemoError(
            f"data set {known.id} ends {known.last_session}, not {plan.as_of}: the flows saw the tape"
        )
    return links


def _day(plan: Plan, batch: str, work: Workspace, state: Path, stack: ExitStack, stages: Stages) -> None:
    """Approval, venue and executor: the session itself."""
    tape = None if plan.prices == "sample" else plan.prices
    venue = replay.launch_venue(plan.session, tape, plan.speed, state, stack)  # reads its tape meanwhile
    stages.begin("approval")
    stages.end(replay.approve(batch))
    stages.begin("venue")
    said = replay.addresses(venue)
    stages.end(f"{said['rest_url']}, account {said['account_number']}, {plan.session}")
    stages.begin("session")
    stages.end(replay.trade(said, plan.session, plan.speed, work, state, stack, stages))


def _evening(plan: Plan, stages: Stages) -> dict[str, str]:
    """Compliance and reports of the traded session; returns what was written by name."""
    from flows.run import call
    from market.calendar import session_close

    with narrated(stages):
        clock = session_close(plan.session) + _COMPLIANCE_AFTER
        pack = call("compliance", as_of=plan.session, clock=clock)
        pages = call("nightly_report", as_of=plan.session, clock=clock)
    stages.end()
    return {**pages, "compliance pack": pack}


def preload(stages: Stages) -> None:
    """Import what the flows will need, while the Prefect server gets ready on the other core."""
    import importlib

    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at its import
    for name in _IMPORTED_MEANWHILE:
        stages.say(name)
        importlib.import_module(name)


def read_plan(data: Path | None, sectors: Path | None, speed: float) -> Plan:
    """Settle what is replayed from the last two sessions in the prices; refuses what cannot be replayed."""
    from flows.intake import SAMPLE, read_source
    from market.calendar import is_session, previous_session

    if sectors is not None and data is None:
        raise DemoError("--sectors goes with --data; the built-in sample brings its own sectors")
    source = str(data) if data else SAMPLE
    given = str(sectors) if sectors else None
    prices = read_source(source, given).prices
    last: date = prices["date"].max()  # type: ignore[assignment]
    as_of = previous_session(last) if is_session(last) else None
    if as_of is None or not (prices["date"] == as_of).any():
        raise DemoError(
            f"{data} ends {last}, and that and the session before it are not both in it; "
            "a demo needs the last two sessions complete: cut the file at a good session"
        )
    return Plan(source, given, as_of, last, speed)


def fresh_folder(state: Path) -> Path | None:
    """Make `state` anew, moving a finished or broken run's folder aside; returns where that went."""
    from sql.server import stop_embedded

    previous = state.with_name(f"{state.name}.previous")
    kept = None
    if state.exists() and any(state.iterdir()):
        if not (state / _MARK).exists():
            raise DemoError(f"{state} is not empty and not a demo's folder; choose another with --state")
        owner = (state / _MARK).read_text().strip()
        if owner.isdigit() and int(owner) != os.getpid() and _is_demo(int(owner)):
            raise DemoError(
                f"another demo (process {owner}) runs in {state}; stop it, or choose another with --state"
            )
        stop_embedded(state)
        if previous.exists():
            if not (previous / _MARK).exists():
                raise DemoError(
                    f"{previous} is in the way and not a demo's folder; move it, or choose another --state"
                )
            shutil.rmtree(previous)
        state.rename(previous)
        kept = previous
    state.mkdir(parents=True, exist_ok=True)
    (state / _MARK).write_text(f"{os.getpid()}\n")
    return kept


def use_settings(state: Path, notify: list[str]) -> None:
    """Point this process and its children at the demo's own installation, whatever the user has set."""
    import json

    from flows.errors import DemoError

    ours = ("SALLYPORT_", "APCA_", "POLYGON_")
    for name in [name for name in os.environ if name.startswith(ours) or name == "DATABASE_URL"]:
        del os.environ[name]
    strategy = Path("strategies/momentum.toml")
    if not strategy.exists():
        strategy = Path(__file__).parent.parent / strategy
    if not strategy.exists():
        raise DemoError(f"no {strategy}; run the demo in the project's folder")
    os.environ["SALLYPORT_CONFIG"] = str(state / "sallyport.toml")  # does not exist: defaults only
    os.environ["SALLYPORT_STATE_DIR"] = str(state)
    os.environ["SALLYPORT_ENVIRONMENT"] = "replay"
    os.environ["SALLYPORT_STRATEGY"] = str(strategy.resolve())
    os.environ["SALLYPORT_NOTIFY__URLS"] = json.dumps(notify)


@contextmanager
def narrated(stages: Stages) -> Iterator[None]:
    """Show the flow runs' own log lines as stages while the block runs."""
    import logging

    import prefect.main  # noqa: F401  its import sets up logging and would drop handlers put on before

    class Narrator(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said = record.getMessage()
            flow, works, _ = said.partition(" works for ")
            if works:
                stages.begin(f"flow {flow}")
            elif record.levelno == logging.INFO and not said.startswith(_PREFECTS_OWN):
                stages.say(said.splitlines()[0][:120])

    narrator = Narrator()
    loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs")]
    for logger in loggers:
        logger.addHandler(narrator)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(narrator)


class InterruptOnce:
    """SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, the first one only and only until told to ignore them.

    A library may turn the interrupt into an error of its own on the way; what leaves here is the interrupt.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._heeds = True
        self._came = False
        self._before: dict[int, Any] = {}

    def ignore(self) -> None:
        self._heeds = False

    def _interrupt(self, number: int, frame: object) -> None:
        if self._heeds:
            self._heeds = False
            self._came = True
            raise KeyboardInterrupt

    def __enter__(self) -> InterruptOnce:
        self._before = {number: signal.signal(number, self._interrupt) for number in self._SIGNALS}
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._came and error is not None and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error


def _mailbox(stack: ExitStack, state: Path) -> Any:
    from reports.mailbox import Mailbox

    return stack.enter_context(Mailbox(state / "mail"))


def _messages_url(state: Path) -> str:
    from reports.notifier import file_url

    return file_url(state / "messages.txt")


def _is_demo(pid: int) -> bool:
    """Whether that process is alive and a Python of ours (a recycled pid is not)."""
    try:
        return "demo" in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return False
