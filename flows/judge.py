"""What `sallyport data validate FILE`, `data findings` and `data overrule` do."""

from __future__ import annotations

import getpass
import json
from datetime import date
from pathlib import Path

from rich.table import Table

from flows.errors import FlowError
from flows.workspace import Workspace, open_workspace
from sql.findings import findings_of, newest_run, overrule, overrules, reduce_only


def judge(
    path: Path, as_of: date | None, reference: Path | None, out: Path | None
) -> tuple[Table, str, bool]:
    """Judge a file where it lies; the findings as a table, a closing sentence, and whether one blocks.

    The file may hold daily or intraday bars, trades, quotes or a drop. `reference` is a second vendor's
    daily bars; `out` takes all findings as JSON or CSV.
    """
    from market.file_quality import judge_file
    from market.findings import finding_key
    from market.ingest import read_delivery

    second = read_delivery(reference) if reference is not None else None
    judged = judge_file(path, as_of=as_of, reference=second)
    rows = [{**row, "key": finding_key(row)} for row in judged.findings.to_dicts()]
    if out is not None:
        if out.suffix == ".csv":
            judged.findings.write_csv(out)
        else:
            out.write_text(json.dumps(rows, indent=1, default=str), encoding="utf-8")
    table = _table()
    for row in rows[:60]:
        _add(
            table, row["key"], row["severity"], row["symbol"], row["check"], (row["first"], row["last"]),
            row["confidence"], row["detail"],
        )  # fmt: skip
    counts = {name: sum(row["severity"] == name for row in rows) for name in ("block", "quarantine", "note")}
    hurt = len({row["symbol"] for row in rows if row["severity"] == "quarantine"})
    said = (
        f"{path.name} ({judged.kind}): {judged.rows:,} rows, {judged.symbols} symbols; {counts['block']} block, "
        f"{counts['quarantine']} quarantine ({hurt} symbols), {counts['note']} notes"
        + (f"; {len(rows) - 60} more than shown" if len(rows) > 60 else "")
    )
    return table, said, bool(counts["block"])


def findings_table(
    work: Workspace, as_of: date | None, severity: str | None, symbol: str | None, most: int
) -> tuple[Table, str]:
    """The findings of the newest validation (or of `as_of`'s), worst first."""
    if severity not in (None, "block", "quarantine", "note"):
        raise FlowError(f"no severity {severity!r}; there are block, quarantine, note")
    table = _table()
    with work.ledger.session() as session:
        run = newest_run(session, as_of)
        words = overrules(session)
        held = reduce_only(session)
        rows = [
            row
            for row in findings_of(session, run.id)
            if (severity is None or row.severity == severity) and (symbol is None or row.symbol == symbol)
        ]
    for row in rows[:most]:
        word = words.get(row.key, row.overruled)
        detail = f"{row.detail}; overruled by {word}" if word else row.detail
        _add(
            table, row.key, row.severity, row.symbol, row.fault, (row.first_session, row.last_session), row.confidence, detail
        )  # fmt: skip
    said = f"{run.verdict} for {run.as_of}: {len(rows)} findings, {min(most, len(rows))} shown; reduce-only: {', '.join(sorted(held)) or 'nobody'}"
    return table, said


def say_overrule(key: str, reason: str, person: str | None, withdraw: bool) -> str:
    """Record a person's word on one finding, and say what follows from it."""
    who = person or getpass.getuser()
    with open_workspace() as work, work.ledger.session() as session:
        seq = overrule(session, key, person=who, reason=reason, standing=not withdraw)
    done = "stands again" if withdraw else "is overruled"
    return (
        f"finding {key} {done} by {who} (audit entry {seq}); the reduce-only list has changed already, the verdict "
        "follows with: sallyport flows run validate"
    )


def _table() -> Table:
    table = Table(box=None)
    for name in ("key", "severity", "symbol"):
        table.add_column(name, no_wrap=True)
    table.add_column("what")
    return table


def _add(
    table: Table,
    key: str,
    severity: str,
    symbol: str | None,
    check: str,
    span: tuple[object, object],
    confidence: float,
    said: str,
) -> None:
    first, last = (str(end).replace("+00:00", " UTC") if end is not None else "" for end in span)
    when = f", {first}" + (f" to {last}" if last != first else "") if first else ""
    table.add_row(
        key, severity, symbol or "all", f"{check.replace('_', ' ')}{when} ({confidence:.0%} sure): {said}"
    )
