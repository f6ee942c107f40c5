"""Run one flow now, as a real flow run on a real server."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from executor.settings import Settings, load_settings
from flows.errors import FlowError, ServerError
from flows.server import PrefectServer, answers, running_server, settle, use_server

FLOWS: dict[str, str] = {
    "nightly": "flows.chain",
    "weekly": "flows.chain",
    "quarterly": "flows.chain",
    "ingest": "flows.ingest",
    "validate": "flows.validate",
    "retrain": "flows.retrain",
    "walk_forward": "flows.walk_forward",
    "propose": "flows.propose",
    "nightly_report": "flows.nightly_report",
    "compliance": "flows.compliance",
}
"""Every flow and the module it is in."""


def run_flow(
    name: str,
    *,
    as_of: date | None = None,
    clock: datetime | None = None,
    parameters: dict[str, Any] | None = None,
) -> Any:
    """Run flow `name` and return what it returns.

    The server is the one of ``prefect_api_url``, else the one `sallyport up` runs on this state
    directory, else one started for this run. What the flow refuses is raised as it is.
    """
    if name not in FLOWS:
        raise FlowError(f"no flow {name!r}; there are {', '.join(FLOWS)}")
    with on_server(load_settings()):
        return call(name, as_of=as_of, clock=clock, parameters=parameters)


def call(
    name: str,
    *,
    as_of: date | None = None,
    clock: datetime | None = None,
    parameters: dict[str, Any] | None = None,
) -> Any:
    """Call a flow in this process, whose Prefect already points at a server."""
    chosen = getattr(importlib.import_module(FLOWS[name]), name)
    known = list(inspect.signature(chosen.fn).parameters)
    unknown = sorted(set(parameters or {}) - set(known))
    if unknown:
        raise FlowError(f"flow {name!r} has no parameter {unknown[0]!r}; it takes {', '.join(known)}")
    from prefect.exceptions import ParameterTypeError

    try:
        return chosen(**(parameters or {}), as_of=as_of, clock=clock)
    except ParameterTypeError as error:
        raise FlowError(f"flow {name!r}: {error}") from None


@contextmanager
def on_server(settings: Settings) -> Iterator[str]:
    """Point this process at a Prefect server for the block, starting one if none runs; yields its API address."""
    given = settings.prefect_api_url
    if given:
        if not answers(given):
            raise ServerError(
                f"no Prefect server answers at {given} (prefect_api_url); start it, "
                "or unset prefect_api_url to use a local one"
            )
        os.environ["PREFECT_API_URL"] = given  # the user's own server: their keys and settings stay
        os.environ["DO_NOT_TRACK"] = "1"
        yield given
        return
    found = running_server(settings.state_dir)
    if found:
        use_server((settings.state_dir / "prefect").resolve(), found)
        try:
            yield found
        finally:
            settle()
        return
    with PrefectServer(settings.state_dir, services=False) as server:
        use_server(server.home, server.api_url)
        sys.stderr.write(f"starting a Prefect server for this run at {server.url}\n")
        server.wait_ready()
        try:
            yield server.api_url
        finally:
            settle()
