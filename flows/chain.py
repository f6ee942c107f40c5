"""The chains: parent flows that run the others in order. The first that fails ends the chain."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from prefect import flow

from flows.ingest import ingest
from flows.intake import SAMPLE
from flows.nightly_report import nightly_report
from flows.propose import propose
from flows.retrain import retrain
from flows.step import admit
from flows.validate import validate
from flows.walk_forward import walk_forward
from flows.workspace import open_workspace


@flow(name="nightly")
def nightly(
    prices: str = SAMPLE,
    sectors: str | None = None,
    strategy: str | None = None,
    as_of: date | None = None,
    clock: datetime | None = None,
) -> dict[str, Any]:
    """From the session's prices to a batch that waits for approval; returns the id of every link.

    The as-of date is settled once, at the door, so that a chain that runs past midnight or past the next
    close does not change its mind half-way: the later links refuse instead.
    """
    with open_workspace() as work:
        window = admit("nightly", work, as_of, clock)
    when: dict[str, Any] = {"as_of": window.as_of, "clock": clock}
    data_set = ingest(prices=prices, sectors=sectors, **when)
    validation = validate(**when)
    model = retrain(strategy=strategy, only_when_due=True, **when)
    metrics = walk_forward(strategy=strategy, **when)
    batch = propose(strategy=strategy, **when)
    reports = nightly_report(strategy=strategy, **when)
    return {
        "as_of": window.as_of.isoformat(),
        "session": window.session.isoformat(),
        "data_set": data_set,
        "validation": validation,
        "model": model,
        "metrics": metrics,
        "batch": batch,
        "reports": reports,
    }


@flow(name="weekly")
def weekly(
    strategy: str | None = None, as_of: date | None = None, clock: datetime | None = None
) -> dict[str, Any]:
    """A fresh model on the newest validated data, due or not, and its walk-forward result."""
    with open_workspace() as work:
        window = admit("weekly", work, as_of, clock)
    when: dict[str, Any] = {"as_of": window.as_of, "clock": clock}
    model = retrain(strategy=strategy, **when)
    return {"model": model, "metrics": walk_forward(strategy=strategy, **when)}


@flow(name="quarterly")
def quarterly(
    strategy: str | None = None, as_of: date | None = None, clock: datetime | None = None
) -> dict[str, Any]:
    """The strategy judged anew: walk-forward from the stored prices again, and the reports on it."""
    with open_workspace() as work:
        window = admit("quarterly", work, as_of, clock)
    when: dict[str, Any] = {"as_of": window.as_of, "clock": clock}
    metrics = walk_forward(strategy=strategy, again=True, **when)
    return {"metrics": metrics, "reports": nightly_report(strategy=strategy, **when)}
