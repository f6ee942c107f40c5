"""The evidence of one day as files: what was decided and refused, every order event, limit use, the chain.

A pack is a pure function of the ledger up to one audit number: run again over the same range it gives the
same bytes. It says which control a requirement is *mapped to* and where the evidence lies; whether that is
enough is for a lawyer to say, not for a program.

Times are UTC to the microsecond, numbers as the ledger holds them, JSON canonical (sorted, no spaces).
``cat_event`` names the CAT event an order event resembles. Orders reach the market through a broker, who
reports; these are the customer's own books of the same facts.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from reports import page
from reports.day_report import TradingDay, limit_use, read_day
from reports.errors import NothingToReport
from sql.tables import Approval, AuditLog, Decision, LimitVersion, ModelVersion, Order, SignalBatch

STATEMENT = (
    "Each requirement is mapped to a control and to the evidence of it in this folder. "
    "This is a record of facts, not a statement that any rule is met."
)

CONTROLS = Path(__file__).parent / "templates" / "controls.csv"
"""Requirement, control mapped to, evidence file, and the kinds of audit entries that are the evidence."""

_ORIGIN_COLUMNS = (
    "strategy proposer data_set_id model_id model_hash approved_by approved_at_utc batch_id signal_id"
)
DECISION_COLUMNS = f"""
audit_seq decided_at_utc market_time_utc verdict reason client_order_id symbol side qty order_type limit_price
time_in_force purpose leg arrival_price {_ORIGIN_COLUMNS} epoch limit_version limits_checked limits_not_passed
inputs checks cost_estimate audit_hash
"""
ORDER_COLUMNS = f"""
audit_seq event cat_event event_timestamp_utc market_time_utc account client_order_id broker_order_id symbol
side qty order_type limit_price time_in_force state_before state_after broker_status execution_id event_qty
event_price event_source cumulative_qty leaves_qty reason manual initiator nbb_price nbo_price nbbo_time_utc nbbo_age_ms
{_ORIGIN_COLUMNS} decision_seq audit_hash
"""
LIMIT_COLUMNS = """
limit version set_by allowed most_used fraction_of_limit market_time_utc symbol checks refusals
"""
EVENT_COLUMNS = "audit_seq written_at_utc database_role kind ref body audit_hash"

_ORDER_KINDS = ("DECISION", "STATE", "FILL")
_CAT_STATES = {
    "SENDING": "MEOR",
    "LIVE": "MEOA",
    "CANCELING": "MEOCR",
    "REJECTED": "MEOR-rejected",
}
_CAT_ENDS = {"canceled": "MEOC", "expired": "MEOC", "replaced": "MEOM", "done_for_day": "MEOC"}


@dataclass(frozen=True)
class CompliancePack:
    """Where the files are, the audit range they cover, and whether the chain held up to its end."""

    folder: Path
    decisions: Path
    order_audit_trail: Path
    limit_use: Path
    control_events: Path
    controls: Path
    chain: Path
    manifest: Path
    first_seq: int
    last_seq: int
    chain_ok: bool

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of the pack, the manifest last."""
        return (
            self.decisions,
            self.order_audit_trail,
            self.limit_use,
            self.control_events,
            self.controls,
            self.chain,
            self.manifest,
        )


@dataclass(frozen=True)
class _Origin:
    """Who answers for a batch: its model, its data and its approval."""

    batch: SignalBatch
    model: ModelVersion | None
    approval: Approval | None


def write_compliance_pack(
    session: Session, *, day: dt.date, out: Path, last_seq: int | None = None
) -> CompliancePack:
    """Write the pack of one session into the folder ``out``.

    ``last_seq`` ends the range earlier, to write again exactly what was written before (its number is in
    ``manifest.json``). Raises :class:`NothingToReport` for a session without audit entries.
    """
    facts = _up_to(session, read_day(session, day), last_seq)
    first, last = facts.audit[0], facts.audit[-1]
    decisions = session.exec(
        select(Decision).where(col(Decision.seq).between(first.seq, last.seq)).order_by(col(Decision.seq))
    ).all()
    origins = _origins(session)
    chain_ok = facts.chain.ok or (facts.chain.first_bad or 0) > last.seq
    kinds: dict[str, int] = {}
    for row in facts.audit:
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    files = {
        "decisions.csv": _csv(DECISION_COLUMNS, _decision_rows(decisions, facts.audit, origins)),
        "order_audit_trail.csv": _csv(ORDER_COLUMNS, _order_rows(session, facts, origins)),
        "limit_use.csv": _csv(LIMIT_COLUMNS, _limit_rows(facts)),
        "control_events.csv": _csv(EVENT_COLUMNS, _event_rows(facts.audit)),
        "controls.csv": _csv("requirement control_mapped_to evidence entries_in_range", _control_rows(kinds)),
        "chain.json": _json(
            {
                "checked_from": 1,
                "checked_to": last.seq,
                "holds": chain_ok,
                "first_bad": None if chain_ok else facts.chain.first_bad,
                "reason": "" if chain_ok else facts.chain.reason,
                "hash_before_range": first.prev_hash.hex(),
                "hash_at_end_of_range": last.hash.hex(),
                "shows": "an edit, a deletion or a gap inside the chain",
                "does_not_show": "a replacement of the whole chain; compare hash_at_end_of_range with a copy "
                "kept elsewhere",
            }
        ),
    }
    manifest = {
        "pack": 1,
        "session": day.isoformat(),
        "environment": facts.book.environment,
        "account": facts.book.account,
        "audit_seq": {"first": first.seq, "last": last.seq},
        "statement": STATEMENT,
        "files": {
            name: {"sha256": hashlib.sha256(text.encode()).hexdigest(), "bytes": len(text.encode())}
            for name, text in sorted(files.items())
        },
    }
    for name, text in files.items():
        page.write(out / name, text)
    page.write(out / "manifest.json", _json(manifest))
    return CompliancePack(
        folder=out,
        decisions=out / "decisions.csv",
        order_audit_trail=out / "order_audit_trail.csv",
        limit_use=out / "limit_use.csv",
        control_events=out / "control_events.csv",
        controls=out / "controls.csv",
        chain=out / "chain.json",
        manifest=out / "manifest.json",
        first_seq=first.seq,
        last_seq=last.seq,
        chain_ok=chain_ok,
    )


def _up_to(session: Session, facts: TradingDay, last_seq: int | None) -> TradingDay:
    """The day as it was when its last audit entry (or ``last_seq``) was written."""
    audit = [row for row in facts.audit if last_seq is None or row.seq <= last_seq]
    if not audit:
        raise NothingToReport(
            f"session {facts.session} has no audit entries"
            + (f" up to number {last_seq}" if last_seq is not None else "")
            + "; choose a session that was proposed or traded"
        )
    end = audit[-1]
    limits = session.exec(
        select(LimitVersion)
        .where(LimitVersion.effective_from <= end.at)
        .order_by(col(LimitVersion.version).desc())
        .limit(1)
    ).first()
    return replace(
        facts,
        audit=audit,
        decisions=[d for d in facts.decisions if d.seq <= end.seq],
        orders=[o for o in facts.orders if o.decision_seq <= end.seq],
        marks=[m for m in facts.marks if m.at <= end.at],
        limits=limits,
    )


def _origins(session: Session) -> dict[str, _Origin]:
    models = {m.id: m for m in session.exec(select(ModelVersion))}
    approvals = {a.batch_id: a for a in session.exec(select(Approval))}
    return {
        str(batch.id): _Origin(batch, models.get(batch.model_version_id or ""), approvals.get(batch.id))
        for batch in session.exec(select(SignalBatch))
    }


def _decision_rows(
    decisions: Sequence[Decision], audit: Sequence[AuditLog], origins: Mapping[str, _Origin]
) -> Iterable[dict[str, Any]]:
    entries = {row.seq: row for row in audit}
    for decision in decisions:
        entry = entries[decision.seq]
        asked = json.loads(entry.body)
        limits = decision.checks.get("limits", [])
        yield {
            "audit_seq": decision.seq,
            "decided_at_utc": _time(decision.at),
            "market_time_utc": _time(decision.market_time),
            "verdict": decision.verdict,
            "reason": decision.reason,
            "client_order_id": decision.client_order_id,
            "symbol": decision.symbol,
            **{
                name: asked.get(name)
                for name in ("side", "qty", "order_type", "limit_price", "time_in_force")
            },
            **{name: asked.get(name) for name in ("purpose", "leg", "arrival_price")},
            **_origin_columns(origins.get(str(decision.batch_id))),
            "batch_id": decision.batch_id,
            "signal_id": decision.signal_id,
            "epoch": decision.epoch,
            "limit_version": decision.limit_version,
            "limits_checked": len(limits),
            "limits_not_passed": " ".join(check["name"] for check in limits if not check["ok"]),
            "inputs": _canonical(decision.inputs),
            "checks": _canonical(decision.checks),
            "cost_estimate": _canonical(asked.get("cost_estimate")),
            "audit_hash": entry.hash.hex(),
        }


def _order_rows(
    session: Session, facts: TradingDay, origins: Mapping[str, _Origin]
) -> Iterable[dict[str, Any]]:
    """Every order event of the range, whatever day its order is of, so that no event is in no pack."""
    events = [row for row in facts.audit if row.kind in _ORDER_KINDS]
    ids = {row.ref for row in events}
    orders = {
        o.client_order_id: o for o in session.exec(select(Order).where(col(Order.client_order_id).in_(ids)))
    }
    seqs = {o.decision_seq for o in orders.values()}
    decided = {d.seq: d for d in session.exec(select(Decision).where(col(Decision.seq).in_(seqs)))}
    filled = _filled_before(session, ids, facts.audit[0].seq)
    broker_ids: dict[str, str | None] = {}
    for row in events:
        order = orders.get(row.ref)
        if order is None:
            continue
        body = json.loads(row.body)
        seen = decided[order.decision_seq].inputs
        if row.kind == "FILL":
            filled[row.ref] = filled.get(row.ref, Decimal(0)) + Decimal(str(body["qty"]))
        broker_ids[row.ref] = body.get("broker_id") or broker_ids.get(row.ref)
        done = filled.get(row.ref, Decimal(0))
        happened = dt.datetime.fromisoformat(body["filled_at"]) if row.kind == "FILL" else None
        if row.kind == "DECISION":
            happened = order.market_time
        yield {
            "audit_seq": row.seq,
            "event": {"DECISION": "INTENT", "FILL": "FILL"}.get(row.kind, str(body.get("to"))),
            "cat_event": _cat_event(row.kind, body),
            "event_timestamp_utc": _time(row.at),
            "market_time_utc": _time(happened),
            "account": facts.book.account,
            "client_order_id": row.ref,
            "broker_order_id": broker_ids[row.ref],
            "symbol": order.symbol,
            "side": order.side,
            "qty": _plain(order.qty),
            "order_type": order.order_type,
            "limit_price": _plain(order.limit_price),
            "time_in_force": order.time_in_force,
            "state_before": body.get("from"),
            "state_after": "INTENT" if row.kind == "DECISION" else body.get("to"),
            "broker_status": body.get("broker_status"),
            "execution_id": body.get("execution_id"),
            "event_qty": _plain(body.get("qty")) if row.kind == "FILL" else None,
            "event_price": _plain(body.get("price")) if row.kind == "FILL" else None,
            "event_source": body.get("source"),
            "cumulative_qty": _plain(done),
            "leaves_qty": _plain(order.qty - done),
            "reason": body.get("reason"),
            "manual": "false",
            "initiator": f"executor epoch {order.epoch}",
            "nbb_price": seen.get("bid"),
            "nbo_price": seen.get("ask"),
            "nbbo_time_utc": seen.get("quote_time"),
            "nbbo_age_ms": seen.get("quote_age_ms"),
            **_origin_columns(origins.get(str(order.batch_id))),
            "batch_id": order.batch_id,
            "signal_id": order.signal_id,
            "decision_seq": order.decision_seq,
            "audit_hash": row.hash.hex(),
        }


def _filled_before(session: Session, ids: Iterable[str], first_seq: int) -> dict[str, Decimal]:
    """Shares filled before the range, for orders of an earlier range."""
    earlier = session.exec(
        select(AuditLog).where(
            AuditLog.kind == "FILL", AuditLog.seq < first_seq, col(AuditLog.ref).in_(list(ids))
        )
    )
    filled: dict[str, Decimal] = {}
    for row in earlier:
        filled[row.ref] = filled.get(row.ref, Decimal(0)) + Decimal(str(json.loads(row.body)["qty"]))
    return filled


def _cat_event(kind: str, body: Mapping[str, Any]) -> str:
    if kind == "DECISION":
        return "MENO"
    if kind == "FILL":
        return "MEOT"
    state = str(body.get("to"))
    return (
        _CAT_ENDS.get(str(body.get("broker_status")), "") if state == "DONE" else _CAT_STATES.get(state, "")
    )


def _origin_columns(origin: _Origin | None) -> dict[str, Any]:
    model = origin.model if origin else None
    approval = origin.approval if origin else None
    return {
        "strategy": origin.batch.strategy if origin else None,
        "proposer": origin.batch.proposer if origin else None,
        "data_set_id": origin.batch.data_set_id if origin else None,
        "model_id": model.id if model else None,
        "model_hash": model.artifact_hash if model else None,
        "approved_by": approval.approver if approval else None,
        "approved_at_utc": _time(approval.decided_at) if approval else None,
    }


def _limit_rows(facts: TradingDay) -> Iterable[dict[str, Any]]:
    for use in sorted(limit_use(facts), key=lambda use: use.name):
        yield {
            "limit": use.name,
            "version": use.version,
            "set_by": facts.limits.author if facts.limits else None,
            "allowed": _plain(use.limit),
            "most_used": _plain(use.peak),
            "fraction_of_limit": None if use.used is None else _plain(round(use.used, 9)),
            "market_time_utc": _time(use.at),
            "symbol": use.symbol,
            "checks": use.checks,
            "refusals": use.refusals,
        }


def _event_rows(audit: Sequence[AuditLog]) -> Iterable[dict[str, Any]]:
    """Everything of the range that is not an order event: approvals, kills, limits, reconciliations."""
    for row in audit:
        if row.kind not in (*_ORDER_KINDS, "REFUSAL"):
            yield {
                "audit_seq": row.seq,
                "written_at_utc": _time(row.at),
                "database_role": row.actor,
                "kind": row.kind,
                "ref": row.ref,
                "body": row.body,
                "audit_hash": row.hash.hex(),
            }


def _control_rows(kinds: Mapping[str, int]) -> Iterable[dict[str, Any]]:
    with CONTROLS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            wanted = row.pop("entry_kinds")
            count = sum(kinds.values() if wanted == "*" else (kinds.get(kind, 0) for kind in wanted.split()))
            yield {**row, "entries_in_range": count}


def _time(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _plain(value: Any) -> str | None:
    """A number without an exponent or trailing zeros, exactly."""
    if value is None:
        return None
    text = f"{Decimal(str(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _csv(columns: str, rows: Iterable[dict[str, Any]]) -> str:
    """Header and rows with LF line ends; a row with another column than the header's is a ``ValueError``."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns.split(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()
