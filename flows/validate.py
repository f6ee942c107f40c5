"""Validate: Great Expectations over the newest data; a failure blocks everything after it."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows import links
from flows.errors import ValidationBlocked
from flows.notify import deliver_alerts
from flows.step import admit, step
from flows.workspace import Workspace, open_workspace
from reports.data_validation import SUITE_VERSION
from sql.lineage import raise_alert, record_validation
from sql.tables import ValidationRun

SUITE = "prices"


@flow(name="validate")
def validate(as_of: date | None = None, clock: datetime | None = None) -> str:
    """Validate the data set of `as_of` and return the validation run's id.

    Raises :class:`flows.errors.ValidationBlocked` when it fails, after the run and a
    ``validation_failed`` alert are in the ledger.
    """
    with open_workspace() as work:
        window = admit("validate", work, as_of, clock)
        run = check(work, window.as_of)
        if run.verdict != "passed":
            deliver_alerts(work)  # now: the flow that delivers at night is one of those that will not run
    findings = run.checks.get("findings", [])
    get_run_logger().info(
        "%s: %d expectations, %d failed, %d findings, %d symbols quarantined",
        run.verdict, run.checks["expectations"], run.checks["failed"], len(findings), len(run.checks["quarantined"]),
    )  # fmt: skip
    blocking = [finding for finding in findings if finding.get("severity") == "block"]
    create_markdown_artifact(
        key="validation", markdown=_page(run, findings), description=f"Verdict: {run.verdict}"
    )
    if run.verdict != "passed":
        why = (
            run.checks.get("failures")
            or [finding["detail"] for finding in blocking]
            or ["no reason recorded"]
        )
        raise ValidationBlocked(
            f"data set {run.data_set_id} failed validation for {run.as_of}: {run.checks['failed']} of "
            f"{run.checks['expectations']} expectations, {len(blocking)} blocking findings; first: {why[0]}. "
            f"Nothing after it runs; see {run.report_path}, mend the prices and ingest again"
        )
    return str(run.id)


@step("check prices")
def check(work: Workspace, as_of: date) -> ValidationRun:
    from reports.data_validation import validate as run_suite
    from reports.validation_report import write_validation_report

    with work.ledger.session() as session:
        data_set = links.data_set(session, as_of)
        # One run a data set, date and suite: re-running the flow finds it again.
        run_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{data_set.id} {as_of} {SUITE} {SUITE_VERSION}")
        known = session.get(ValidationRun, run_id)
    if known is not None:
        return known
    started = datetime.now(UTC)
    prices = work.history.scan(data_set.id).collect()
    outcome = run_suite(
        prices,
        as_of=as_of,
        out=work.data_docs / f"{as_of}-{data_set.id}",
        source=data_set.source,
        modelled=data_set.modelled or None,
    )
    page = write_validation_report(
        prices,
        outcome,
        out=work.reports / "validation" / f"{as_of}.html",
        data_set_id=data_set.id,
        source=data_set.source,
        modelled=data_set.modelled or None,
    )
    run = ValidationRun(
        id=run_id,
        data_set_id=data_set.id,
        as_of=as_of,
        suite=SUITE,
        suite_version=SUITE_VERSION,
        started_at=started,
        finished_at=datetime.now(UTC),
        verdict=outcome.verdict,
        checks={
            "expectations": outcome.expectations,
            "failed": outcome.failed,
            "failures": outcome.failures,
            "quarantined": list(outcome.quarantined),
            "counts": outcome.counts,
            "findings": [_finding(finding) for finding in outcome.findings],
        },
        report_path=str(page),
    )
    with work.ledger.session() as session:
        run = record_validation(session, run)
        if run.verdict != "passed":
            raise_alert(
                session,
                "critical",
                "validation_failed",
                f"Prices of {as_of} failed validation",
                f"Data set {data_set.id}: {outcome.failed} of {outcome.expectations} expectations failed. "
                f"No model is trained and no signal proposed. {'; '.join(outcome.failures[:3])}. "
                f"Report: {page}",
                ref=str(run.id),
            )
    return run


def _finding(finding: dict[str, object]) -> dict[str, object]:
    """A finding as JSON holds it."""
    return {key: value.isoformat() if isinstance(value, date) else value for key, value in finding.items()}


def _page(run: ValidationRun, findings: list[dict[str, object]]) -> str:
    lines = [
        f"# Validation of `{run.data_set_id}` for {run.as_of}: **{run.verdict}**",
        f"{run.checks['expectations']} expectations, {run.checks['failed']} failed, {len(findings)} findings, "
        f"{len(run.checks['quarantined'])} symbols quarantined. Site: `{run.report_path}`",
    ]
    if findings:
        lines += ["", "| check | severity | symbol | from | to | detail |", "|---|---|---|---|---|---|"]
        for row in findings[:50]:
            cells = (row.get(name) for name in ("check", "severity", "symbol", "first", "last", "detail"))
            lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines)
