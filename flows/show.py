"""What `sallyport data status`, `model list` and `report ...` show."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from rich.table import Table
from sqlmodel import col, select

from executor.settings import load_settings
from flows.errors import FlowError, LinkMissing
from flows.workspace import Workspace, open_workspace
from sql.tables import DataSet, EquityMark, ModelVersion, ValidationRun

_REPORTS = {
    "day": "reports/day/*.html",
    "tear-sheet": "reports/tear_sheet/*.html",
    "data": "reports/validation/*.html",
    "compliance": "reports/compliance/*/*.csv",
}


def data_table(work: Workspace) -> Table:
    """Data sets, newest first, with the verdict of their last validation."""
    shown = Table("data set", "sessions", "rows", "symbols", "source", "modelled", "validation", box=None)
    with work.ledger.session() as session:
        for row in session.exec(select(DataSet).order_by(col(DataSet.created_at).desc())):
            run = session.exec(
                select(ValidationRun)
                .where(ValidationRun.data_set_id == row.id)
                .order_by(col(ValidationRun.finished_at).desc())
            ).first()
            shown.add_row(
                row.id,
                f"{row.first_session} to {row.last_session}",
                f"{row.rows:,}",
                str(row.symbols),
                row.source,
                ", ".join(row.modelled.get("columns", [])) or "-",
                f"{run.verdict} for {run.as_of}" if run else "not yet",
            )
    return shown


def model_table(work: Workspace) -> Table:
    """Models, newest first, with the walk-forward figures that decide."""
    shown = Table("model", "data set", "trained", "expires (UTC)", "Sharpe net", "drawdown", "IC", box=None)
    with work.ledger.session() as session:
        for row in session.exec(select(ModelVersion).order_by(col(ModelVersion.created_at).desc())):
            shown.add_row(
                row.id,
                row.data_set_id,
                f"{row.trained_from} to {row.trained_to}",
                f"{row.expires_at:%Y-%m-%d %H:%M}",
                *(
                    _figure(row.metrics.get(name))
                    for name in ("sharpe_net", "max_drawdown", "information_coefficient")
                ),
            )
    return shown


def write_day(day: date | None) -> Path:
    """Write the report of `day` (None: the newest traded one) and return its path."""
    from reports.day_report import write_day_report

    with open_workspace() as work, work.ledger.session() as session:
        if day is None:
            last = session.exec(select(EquityMark).order_by(col(EquityMark.session).desc())).first()
            day = last.session if last else None
        if day is None:
            raise LinkMissing("the ledger has no traded day yet; trade one with: executor run")
        return write_day_report(session, day=day, out=work.reports / "day" / f"{day}.html")


def newest_report(which: str) -> Path:
    """Path of the newest report of a kind; raises FlowError for an unknown kind or none written yet."""
    if which not in _REPORTS:
        raise FlowError(f"no report {which!r}; there are {', '.join(_REPORTS)}")
    state_dir = load_settings().state_dir
    found = sorted(state_dir.glob(_REPORTS[which]), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FlowError(f"no {which} report under {state_dir.resolve()} yet; it comes with the nightly flow")
    return found[-1]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
