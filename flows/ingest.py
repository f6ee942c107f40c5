"""Ingest: the prices of the last closed session into the history, as one immutable data set."""

from __future__ import annotations

from datetime import date, datetime

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from flows.intake import SAMPLE, read_source, take_in
from flows.step import admit, step
from flows.workspace import Workspace, open_workspace
from sql.tables import DataSet


@flow(name="ingest")
def ingest(
    prices: str = SAMPLE,
    sectors: str | None = None,
    as_of: date | None = None,
    clock: datetime | None = None,
) -> str:
    """Take in `prices` (``sample``, or a Parquet or CSV file) and return the data set's id.

    A replay takes only rows up to its as-of date. On paper and live everything is taken, so that a row
    from the future is seen and blocked by the validation instead of quietly cut off.
    """
    with open_workspace() as work:
        window = admit("ingest", work, as_of, clock)
        through = window.as_of if work.environment == "replay" else None
        stored = store(work, prices, sectors, through)
    get_run_logger().info(
        "%s: %s rows, %d symbols, %s to %s",
        stored.id, f"{stored.rows:,}", stored.symbols, stored.first_session, stored.last_session,
    )  # fmt: skip
    create_table_artifact(
        key="data-set",
        table=[
            {
                "data set": stored.id,
                "source": stored.source,
                "rows": stored.rows,
                "symbols": stored.symbols,
                "sessions": f"{stored.first_session} to {stored.last_session}",
                "modelled": ", ".join(stored.modelled.get("columns", [])) or "none",
            }
        ],
        description=f"Prices taken in for {window.as_of}",
    )
    return stored.id


@step("store prices")
def store(work: Workspace, prices: str, sectors: str | None, through: date | None) -> DataSet:
    return take_in(work, read_source(prices, sectors), through=through)
