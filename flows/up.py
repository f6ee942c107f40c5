"""`sallyport up`: server, deployments and worker, until Ctrl-C."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from rich.console import Console

from executor.settings import load_settings
from flows.alerts import EVERY_S, deliver_now
from flows.errors import FlowError, ServerError
from flows.process import ChildProcess
from flows.schedule import table
from flows.server import PrefectServer, deploy, running_server, start_worker
from flows.workspace import Workspace, open_workspace

PREFECT_FILE = Path("prefect.yaml")


def run(*, port: int) -> None:
    """Start everything, say where to look, and wait; what was started is stopped however this ends."""
    console = Console()
    settings = load_settings()
    if not PREFECT_FILE.exists():
        raise FlowError(f"no {PREFECT_FILE} in {Path.cwd()}; run `sallyport up` in the project's folder")
    known = running_server(settings.state_dir)
    if known:
        raise ServerError(
            f"`sallyport up` is already running on {settings.state_dir} ({known}); stop that one first"
        )
    prefect = PrefectServer(settings.state_dir, port=port)  # refuses a port in use before anything runs
    with open_workspace(settings) as work, prefect as server:
        with console.status("starting the Prefect server") as status:
            server.wait_ready(lambda waited: status.update(f"starting the Prefect server, {waited:.0f} s"))
            status.update("deploying prefect.yaml")
            deploy(server, PREFECT_FILE.resolve(), log=server.home / "deploy.log")
        worker = start_worker(server, log=server.home / "worker.log")
        try:
            console.print(table(PREFECT_FILE))
            console.print(f"Prefect UI    {server.url}")
            console.print(f"ledger        {work.environment}, state in {work.state_dir.resolve()}")
            console.print(f"logs          {server.log.parent}/server.log, worker.log")
            sends = len(work.notify_urls())
            console.print(
                f"alerts        {f'delivered to {sends} addresses' if sends else 'no address set (notify.urls)'}"
            )
            console.print("Ctrl-C stops everything.")
            _wait_for_interrupt(server, worker, work)
        finally:
            worker.stop()
    console.print("stopped; nothing is left running")


def _wait_for_interrupt(server: PrefectServer, worker: ChildProcess, work: Workspace) -> None:
    """Deliver alerts until Ctrl-C, which is how this command is meant to end; raise if a part dies."""
    try:
        for second in itertools.count():
            time.sleep(1)
            if second % EVERY_S == 0:
                deliver_now(work)
            server.require_running()
            if worker.exit_code is not None:
                raise ServerError(
                    f"the Prefect worker stopped with exit code {worker.exit_code}: {worker.last_words()}; "
                    f"see {worker.log}"
                )
    except KeyboardInterrupt:
        return
