"""Nightly report: tear sheet, the day's report, and one summary message to whoever must know."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from sqlmodel import col, select

from flows import links
from flows.step import admit, step
from flows.workspace import Workspace, open_workspace
from sql.lineage import raise_alert
from sql.tables import Alert, EquityMark, ModelVersion, SignalBatch


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
        pages: dict[str, str] = {}
        if model is not None and model.walk_forward_path:
            pages["tear sheet"] = str(tear_sheet(work, strategy, model))
        if _was_traded(work, window.as_of):
            pages["day"] = str(day_page(work, window.as_of))
        summary = summarise(work, window.as_of, pages)
        deliver(work)
    create_markdown_artifact(key="nightly", markdown=summary, description=f"Nightly report of {window.as_of}")
    return pages


@step("tear sheet")
def tear_sheet(work: Workspace, strategy: str | None, model: ModelVersion) -> Path:
    raise NotImplementedError


@step("day report")
def day_page(work: Workspace, day: date) -> Path:
    from reports.day_report import write_day_report

    with work.ledger.session() as session:
        return write_day_report(session, day=day, out=work.reports / "day" / f"{day}.html")


@step("summarise")
def summarise(work: Workspace, as_of: date, pages: dict[str, str]) -> str:
    """One ``nightly`` alert a session and text; a re-run with the same figures adds none."""
    with work.ledger.session() as session:
        text = _summary(session, as_of, pages)
        ref = f"nightly {as_of}"
        told = session.exec(select(Alert).where(Alert.kind == "nightly", Alert.ref == ref)).all()
        if text not in {alert.body for alert in told}:
            raise_alert(session, "info", "nightly", f"Sallyport nightly summary of {as_of}", text, ref=ref)
    return text


@step("deliver alerts")
def deliver(work: Workspace) -> int:
    """Send what has not been sent; without addresses everything stays in the ledger, undelivered."""
    from reports.notifier import deliver_pending

    urls = work.notify_urls()
    if not urls:
        return 0
    with work.ledger.session() as session:
        return deliver_pending(session, urls)


def _was_traded(work: Workspace, day: date) -> bool:
    with work.ledger.session() as session:
        return session.exec(select(EquityMark.id).where(EquityMark.session == day)).first() is not None


def _summary(session: Any, as_of: date, pages: dict[str, str]) -> str:
    lines = [f"Session {as_of}"]
    mark = session.exec(
        select(EquityMark).where(EquityMark.session == as_of).order_by(col(EquityMark.id).desc())
    ).first()
    if mark is not None:
        change = mark.equity - mark.day_open_equity
        lines.append(f"Equity {mark.equity:,.2f} USD, {change:+,.2f} on the day; cash {mark.cash:,.2f}")
    batch = session.exec(
        select(SignalBatch).where(SignalBatch.as_of == as_of).order_by(col(SignalBatch.proposed_at).desc())
    ).first()
    if batch is not None:
        lines.append(
            f"Batch {batch.id} for {batch.session}: {batch.signals} signals, gross {batch.gross_weight:.3f}, {batch.state}"
        )
        model = session.get(ModelVersion, batch.model_version_id)
        if model is not None:
            sharpe = model.metrics.get("sharpe_net")
            shown = f", walk-forward Sharpe {sharpe:.2f} net of costs" if sharpe is not None else ""
            lines.append(f"Model {model.id}, trained to {model.trained_to}{shown}")
    lines += [f"{name}: {path}" for name, path in pages.items()]
    return "\n".join(lines)
