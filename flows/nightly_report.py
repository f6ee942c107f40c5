"""Nightly report: tear sheet, the day's report, and one summary message to whoever must know."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from sqlmodel import select

from flows import links
from flows.notify import deliver_alerts
from flows.step import admit, step
from flows.workspace import Workspace, open_workspace
from sql.tables import DataSet, EquityMark, ModelVersion


@flow(name="nightly_report")
def nightly_report(
    strategy: str | None = None, as_of: date | None = None, clock: datetime | None = None
) -> dict[str, str]:
    """Write the reports of session `as_of`, send the summary once, and return the pages by name."""
    with open_workspace() as work:
        window = admit("nightly_report", work, as_of, clock, until="next close")
        plan = work.strategy(strategy)
        with work.ledger.session() as session:
            model = links.newest_model(session, plan.name, plan.hash, window.as_of)
            query = select(EquityMark.id).where(EquityMark.session == window.as_of)
            was_traded = session.exec(query).first() is not None
        pages: dict[str, str] = {}
        if model is not None and model.walk_forward_path:
            pages["tear sheet"] = str(tear_sheet(work, model))
        if was_traded:
            pages["day report"] = str(day_page(work, window.as_of))
        summarise(work, window.as_of, pages)
        deliver_alerts(work)
    get_run_logger().info("written: %s", ", ".join(pages) or "nothing new")
    listed = "\n".join(f"- {name}: `{path}`" for name, path in pages.items())
    create_markdown_artifact(key="nightly", markdown=listed, description=f"Nightly report of {window.as_of}")
    return pages


@step("tear sheet")
def tear_sheet(work: Workspace, model: ModelVersion) -> Path:
    """The walk-forward of `model` as a page: QuantStats, Monte Carlo of its returns, crises it lived through."""
    import polars as pl

    from models.validation.monte_carlo import block_bootstrap
    from models.validation.stress import crisis_replay
    from reports.tear_sheet import write_tear_sheet

    source = Path(str(model.walk_forward_path))
    page = work.reports / "tear_sheet" / f"{model.id}.html"
    if page.exists() and page.stat().st_mtime >= source.stat().st_mtime:
        return page  # nothing has been learned since it was written
    returns = pl.read_parquet(source)
    with work.ledger.session() as session:
        prices = session.get_one(DataSet, model.data_set_id)
    return write_tear_sheet(
        returns,
        monte_carlo=block_bootstrap(returns["net"].to_numpy(), benchmark=returns["benchmark"].to_numpy()),
        stress=crisis_replay(returns),
        model={
            "id": model.id,
            "strategy": f"{model.strategy} {model.strategy_hash[:12]}",
            "data set": f"{prices.id}, {prices.source}",
            "trained": f"{model.trained_from} to {model.trained_to}",
            "artifact": model.artifact_hash[:16],
        },
        out=page,
        metrics=model.metrics,
        folds=json.loads(source.with_suffix(".folds.json").read_text(encoding="utf-8")),
        ic=pl.read_parquet(source.with_suffix(".ic.parquet")),
        modelled=prices.modelled or None,
    )


@step("day report")
def day_page(work: Workspace, day: date) -> Path:
    from reports.day_report import write_day_report

    with work.ledger.session() as session:
        return write_day_report(session, day=day, out=work.reports / "day" / f"{day}.html")


@step("send summary")
def summarise(work: Workspace, as_of: date, pages: dict[str, str]) -> bool:
    """Send the summary of the session; the notifier sees to it that it goes out once."""
    from reports.errors import NothingToReport
    from reports.notifier import send_summary

    with work.ledger.session() as session:
        try:
            return send_summary(session, work.notify_urls(), day=as_of, links=pages)
        except NothingToReport:
            return False
