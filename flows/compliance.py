"""Compliance: the day's decisions and denials, order audit trail, limit use and chain check, as files."""

from __future__ import annotations

from datetime import date, datetime

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.step import admit, step
from flows.workspace import Workspace, open_workspace


@flow(name="compliance")
def compliance(as_of: date | None = None, clock: datetime | None = None) -> str:
    """Write the pack of session `as_of` and return its folder; may be made until the next close.

    A session the ledger holds nothing of has no pack: the flow says so and returns an empty name.
    """
    with open_workspace() as work:
        window = admit("compliance", work, as_of, clock, until="next close")
        folder, files = pack(work, window.as_of)
    if not files:
        get_run_logger().info("nothing to report: the ledger holds nothing of %s", window.as_of)
        return ""
    get_run_logger().info("%d files in %s", len(files), folder)
    listed = "\n".join(f"- `{name}`" for name in files)
    create_markdown_artifact(
        key="compliance-pack",
        markdown=f"# {window.as_of}\n\n{listed}",
        description=f"Compliance pack: {folder}",
    )
    return folder


@step("write pack")
def pack(work: Workspace, day: date) -> tuple[str, list[str]]:
    from reports.compliance import write_compliance_pack
    from reports.errors import NothingToReport

    folder = work.reports / "compliance" / f"{day}"
    with work.ledger.session() as session:
        try:
            write_compliance_pack(session, day=day, out=folder)
        except NothingToReport:
            return "", []
    return str(folder), sorted(str(path) for path in folder.rglob("*") if path.is_file())
