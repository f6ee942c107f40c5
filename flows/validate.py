"""Validate: Great Expectations over the newest data and the whole history; a failure blocks everything after it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from sqlmodel import Session, col, select

from flows import links
from flows.errors import ValidationBlocked
from flows.notify import deliver_alerts
from flows.step import admit, step
from flows.workspace import Workspace, open_workspace
from reports.price_suite import SUITE_VERSION
from sql.findings import overrules, record_findings
from sql.lineage import content_hash, raise_alert, record_validation
from sql.tables import ValidationRun

if TYPE_CHECKING:
    from reports.data_validation import ValidationOutcome

SUITE = "prices"
_SHOWN = 50


@flow(name="validate")
def validate(as_of: date | None = None, clock: datetime | None = None) -> str:
    """Validate the data set of `as_of` and return the validation run's id.

    What a person overruled counts as a note; a new word makes a new run. Raises
    :class:`flows.errors.ValidationBlocked` when it fails, after the run, its findings and a
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
    from reports.validation_report import validation_message, write_validation_report

    with work.ledger.session() as session:
        data_set = links.data_set(session, as_of)
        overruled = overrules(session)
        # One run a data set, date, suite and set of overruled findings: re-running the flow finds it again.
        named = (
            f"{data_set.id} {as_of} {SUITE} {SUITE_VERSION} {content_hash(overruled) if overruled else ''}"
        )
        run_id = uuid.uuid5(uuid.NAMESPACE_OID, named.strip())
        known = session.get(ValidationRun, run_id)
        before, earlier = _before(session, run_id, as_of)
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
        overruled=overruled,
    )
    page = write_validation_report(
        prices,
        outcome,
        out=work.reports / "validation" / f"{as_of}.html",
        data_set_id=data_set.id,
        source=data_set.source,
        modelled=data_set.modelled or None,
        previous=before,
        links=[("the page of the session before", Path(earlier).name)] if earlier else (),
    )
    findings = [_finding(finding) for finding in outcome.findings]
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
            "findings": findings,
        },
        report_path=str(page),
    )
    title, body = validation_message(outcome, before, str(page))
    with work.ledger.session() as session:
        run = record_validation(session, run)
        record_findings(session, run.id, [_row(finding) for finding in outcome.findings])
        raise_alert(session, *_alert(outcome, before), title, body, ref=str(run.id))
    return run


def _before(session: Session, run_id: uuid.UUID, as_of: date) -> tuple[list[dict[str, Any]] | None, str]:
    """The findings of the validation before this one (None for the first of all), and the page of the session
    before."""
    runs = select(ValidationRun).where(ValidationRun.suite == SUITE, ValidationRun.id != run_id)
    newest_first = runs.order_by(col(ValidationRun.finished_at).desc())
    newest = session.exec(newest_first).first()
    earlier = session.exec(newest_first.where(ValidationRun.as_of < as_of)).first()
    page = str(earlier.report_path or "") if earlier else ""
    if newest is None or newest.suite_version != SUITE_VERSION:
        return None, page
    return list(newest.checks.get("findings", [])), page


def _alert(outcome: ValidationOutcome, before: list[dict[str, Any]] | None) -> tuple[str, str]:
    """Severity and kind: a failure wakes somebody, a name that entered quarantine is for the morning."""
    from reports.validation_report import changes

    if not outcome.passed:
        return "critical", "validation_failed"
    entered = changes(outcome.findings, before)["entered"] if before is not None else outcome.quarantined
    return ("warning" if entered else "info"), "validation"


def _finding(finding: dict[str, Any]) -> dict[str, Any]:
    """A finding as JSON holds it."""
    return {key: value.isoformat() if isinstance(value, date) else value for key, value in finding.items()}


def _row(finding: dict[str, Any]) -> dict[str, Any]:
    return {**finding, "evidence": json.loads(finding["evidence"])}


def _page(run: ValidationRun, findings: list[dict[str, Any]]) -> str:
    quarantined = run.checks["quarantined"]
    lines = [
        f"# Validation of `{run.data_set_id}` for {run.as_of}: **{run.verdict}**",
        f"{run.checks['expectations']} expectations, {run.checks['failed']} failed, {len(findings)} findings, "
        f"{len(quarantined)} symbols quarantined. Site: `{run.report_path}`",
    ]
    lines += [f"- {failure}" for failure in run.checks.get("failures", [])]
    if quarantined:
        lines += ["", f"Reduce-only: {', '.join(quarantined[:_SHOWN])}"]
    if findings:
        lines += [
            "",
            "| severity | check | symbol | from | to | sure | detail | key |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for row in findings[:_SHOWN]:
            cells = (
                row.get(name)
                for name in ("severity", "check", "symbol", "first", "last", "confidence", "detail", "key")
            )
            lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines)
