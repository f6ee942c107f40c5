"""What every flow has in common: its guard at the door, and steps that are retried when that can help."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, ParamSpec, TypeVar

from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.tasks import Task
from sqlalchemy.exc import OperationalError

from flows.window import Window, WindowEnd, flow_clock, require_window
from flows.workspace import Workspace
from sql.errors import LedgerUnreachable

P = ParamSpec("P")
R = TypeVar("R")

_PASSING = (OperationalError, LedgerUnreachable, ConnectionError, TimeoutError)


def step(name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """A Prefect task tried three times over half a minute, but only for trouble that passes by itself.

    Bad data and refusals are answers, not trouble: they fail at once. Nothing is cached: what a step
    has done is known from the ledger, by content.
    """
    return task(
        name=name,
        retries=2,
        retry_delay_seconds=[5, 25],
        retry_condition_fn=_may_pass,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def admit(
    flow: str,
    work: Workspace,
    as_of: date | None,
    clock: datetime | None,
    *,
    until: WindowEnd = "next open",
) -> Window:
    """The guard: the flow's window if it may work now, else :class:`flows.errors.WindowRefused`."""
    now = flow_clock(clock, work.environment)
    scheduled = None if clock is not None else runtime.flow_run.scheduled_start_time
    window = require_window(flow, as_of, clock=now, scheduled=scheduled, until=until)
    get_run_logger().info("%s works for %s, window %s", flow, window.as_of, window)
    return window


def _may_pass(task: Task[..., Any], run: Any, state: State[Any]) -> bool:
    try:
        state.result()
    except _PASSING:
        return True
    except Exception:
        return False
    return False
