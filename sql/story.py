"""The whole story of one order, fill or signal, as the ledger and the files beside it tell it.

Backwards: decision, limits, approval, batch, signal, model, validation, data set. Forwards: states, every
message of the broker, fills, postings, lots, costs, reconciliation, and the entries of the audit chain
that hold it all. What is not recorded is named in ``missing``, never filled in. Keys are described in
docs/explain.md.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from sql import proof
from sql.order_story import order_story, quote_of
from sql.reader import Reader, Row
from sql.subject import Subject

FORMAT = 1


def tell(session: Session, subject: Subject) -> Row:
    """The story of a subject that :func:`sql.subject.find` found, as plain values.

    The transaction should see one state of the ledger (repeatable read), or a running executor may write
    between two looks.
    """
    session.execute(text("SET LOCAL search_path = ledger, pg_catalog"))
    read = Reader(session)
    signal_id, batch_id, orders, refused = _members(read, subject)
    batch = _batch(read, batch_id)
    story: Row = {
        "explain": FORMAT,
        "subject": {"kind": subject.kind, "id": subject.id},
        "ledger": read.row("SELECT ledger_id, environment, account FROM v_mode"),
        **_beliefs(read, batch),
        "signal": _signal(read, signal_id),
        "batch": batch,
        "approval": _approval(read, batch_id),
    }
    asked = subject.id if subject.kind == "fill" else None
    story["orders"] = [order_story(read, cid, asked) for cid in orders]
    story["refusals"] = [_refusal(read, seq) for seq in refused]
    symbol = next((o["order"]["symbol"] for o in story["orders"]), None) or next(
        (r["symbol"] for r in story["refusals"]), (story["signal"] or {}).get("symbol")
    )
    story["instrument"] = read.row("SELECT * FROM instrument WHERE symbol = :s", s=symbol)
    refs = [str(r) for r in (batch_id, signal_id) if r is not None]
    story["alerts"] = read.rows(
        "SELECT id, at, severity, kind, title, body, ref, delivered_at, attempts, last_error FROM alert "
        "WHERE ref = ANY(:refs) ORDER BY at", refs=[*refs, *orders, *{r["client_order_id"] for r in story["refusals"]} - {None}],
    )  # fmt: skip
    if signal_id is not None and not orders and not refused:
        state = batch["state"] if batch else "unknown"
        read.lacks(f"no decision was taken on this signal (its batch is {state})")
    story["audit"] = _audit(read, story)
    story["missing"] = read.missing
    return story


def _members(
    read: Reader, subject: Subject
) -> tuple[uuid.UUID | None, uuid.UUID | None, list[str], list[int]]:
    """Signal, batch, client order ids and refusals' numbers that belong to a subject."""
    if subject.kind == "fill":
        order = read.row("SELECT client_order_id FROM fill WHERE execution_id = :id", id=subject.id)
        assert order is not None
        return _members(read, Subject("order", order["client_order_id"]))
    if subject.kind == "signal":
        signal_id = uuid.UUID(subject.id)
        batch = read.row("SELECT batch_id FROM signal WHERE id = :id", id=signal_id)
        orders = read.rows(
            "SELECT client_order_id FROM orders WHERE signal_id = :id ORDER BY leg", id=signal_id
        )
        refused = read.rows(
            "SELECT seq FROM decision WHERE signal_id = :id AND verdict = 'refused' ORDER BY seq",
            id=signal_id,
        )
        assert batch is not None
        return (
            signal_id,
            batch["batch_id"],
            [o["client_order_id"] for o in orders],
            [r["seq"] for r in refused],
        )
    refused = read.rows(
        "SELECT seq, signal_id, batch_id FROM decision WHERE client_order_id = :id AND verdict = 'refused' ORDER BY seq",
        id=subject.id,
    )
    order = read.row("SELECT signal_id, batch_id FROM orders WHERE client_order_id = :id", id=subject.id)
    origin = order or refused[0]
    return origin["signal_id"], origin["batch_id"], [subject.id] if order else [], [r["seq"] for r in refused]


# ---------------------------------------------------------------- up to the batch


def _batch(read: Reader, batch_id: uuid.UUID | None) -> Row | None:
    if batch_id is None:
        read.lacks("no batch and no approval: an exit needs none")
        return None
    batch = read.row("SELECT * FROM signal_batch WHERE id = :id", id=batch_id)
    assert batch is not None
    snapshot = read.row("SELECT * FROM risk_snapshot WHERE id = :id", id=batch["risk_snapshot_id"])
    if snapshot is not None:
        snapshot["file"] = proof.file_by_hash(snapshot["path"], snapshot["content_hash"])
    return batch | {"risk_snapshot": snapshot}


def _beliefs(read: Reader, batch: Row | None) -> Row:
    """Data set, validation, model and walk-forward that a batch names."""
    none: Row = dict.fromkeys(("data_set", "validation", "model", "walk_forward"))
    if batch is None:
        return none
    data = read.row("SELECT * FROM data_set WHERE id = :id", id=batch["data_set_id"])
    if data is not None:
        data["file_state"] = "there" if data["path"] and Path(data["path"]).is_file() else "missing"
    model = None
    if batch["model_version_id"] is None:
        read.lacks(
            "no model: the weights were brought from elsewhere, the approval says who answers for them"
        )
    else:
        model = read.row("SELECT * FROM model_version WHERE id = :id", id=batch["model_version_id"])
    walk = _walk_forward(read, model)
    if model is not None:
        model["file"] = proof.file_by_hash(model["artifact_path"], model["artifact_hash"])
        model["features"] = model["features"].get("names", [])
        model["data_set"] = None
        if model["data_set_id"] != batch["data_set_id"]:
            model["data_set"] = read.row(
                "SELECT id, content_hash, source, last_session FROM data_set WHERE id = :id",
                id=model["data_set_id"],
            )
    return none | {
        "data_set": data, "validation": _validation(read, batch["validation_run_id"]), "model": model, "walk_forward": walk,
    }  # fmt: skip


def _validation(read: Reader, run_id: uuid.UUID | None) -> Row | None:
    run = read.row("SELECT * FROM validation_run WHERE id = :id", id=run_id) if run_id is not None else None
    if run is None:
        read.lacks("no validation run is named by the batch")
        return None
    checks = run.pop("checks")
    findings = checks.get("findings", [])
    return run | {
        "expectations": checks.get("expectations"), "failed": checks.get("failed"), "findings": len(findings),
        "counts": checks.get("counts", {}),
    }  # fmt: skip


def _walk_forward(read: Reader, model: Row | None) -> Row | None:
    """Takes metrics and path out of the model's row."""
    if model is None:
        return None
    metrics, path = model.pop("metrics"), model.pop("walk_forward_path")
    if not metrics:
        read.lacks("no walk-forward recorded for this model")
        return None
    state = "there" if path and Path(path).is_file() else "missing"
    return {"metrics": metrics, "path": path, "file_state": state}


def _signal(read: Reader, signal_id: uuid.UUID | None) -> Row | None:
    if signal_id is None:
        return None
    signal = read.row(
        "SELECT signal_id, symbol, target_weight, score, contributions, features FROM v_signals WHERE signal_id = :id",
        id=signal_id,
    )
    assert signal is not None
    if signal["score"] is None:
        read.lacks("no score recorded for this signal")
    if not signal["contributions"]:
        read.lacks("no features' contributions recorded for this signal")
    if not signal["features"]:
        read.lacks("the features' values at the signal are not recorded")
    return signal


def _approval(read: Reader, batch_id: uuid.UUID | None) -> Row | None:
    if batch_id is None:
        return None
    approval = read.row(
        "SELECT verdict, approver, reason, decided_at, environment, content_hash, key_id, signature FROM approval "
        "WHERE batch_id = :id", id=batch_id,
    )  # fmt: skip
    if approval is None:
        read.lacks("no approval: nobody has decided on the batch")
    elif approval["signature"] is None:
        read.lacks(
            f"no signature: {approval['approver']} approved without a key ({approval['environment']} allows it)"
        )
    return (approval or {}) | {"now": proof.approval_now(read.session, batch_id)}


def _refusal(read: Reader, seq: int) -> Row:
    """One refusal with the limits that refused and the terms that were asked for (from its entry of the chain)."""
    row = read.row("SELECT * FROM v_decisions WHERE seq = :seq", seq=seq)
    entry = read.row("SELECT body FROM audit_log WHERE seq = :seq", seq=seq)
    assert row is not None
    asked = json.loads(entry["body"]) if entry else {}
    limits = row["limits"] or []
    return {
        **{
            k: row[k]
            for k in ("seq", "at", "market_time", "symbol", "client_order_id", "reason", "limit_version")
        },
        **{k: asked.get(k) for k in ("side", "qty", "limit_price", "order_type", "arrival_price", "purpose")},
        "by": "ledger" if row["reason"].startswith("ledger: ") else "gate",
        "quote": quote_of(row["inputs"]),
        "inputs": row["inputs"],
        "checks": limits,
        "refused_by": [c["name"] for c in limits if not c["ok"]],
        "cost_estimate": asked.get("cost_estimate") or {},
    }


# ---------------------------------------------------------------- the chain around it


def _audit(read: Reader, story: Row) -> Row:
    """Every entry that tells of the subject, and whether the chain is whole around each."""
    orders: Sequence[Row] = story["orders"]
    ids = [o["order"]["client_order_id"] for o in orders]
    named: dict[str, set[str]] = {k: set(ids) for k in ("DECISION", "STATE", "FILL", "REVERSAL")}
    batch = story["batch"]
    if batch is not None:
        named |= {kind: {str(batch["id"])} for kind in ("PROPOSAL", "APPROVAL", "BATCH")}
        named |= {"DATA_SET": {batch["data_set_id"]}, "RISK_SNAPSHOT": {batch["risk_snapshot_id"]}}
    if story["validation"] is not None:
        named["VALIDATION"] = {str(story["validation"]["id"])}
    if story["model"] is not None:
        named |= {"MODEL": {story["model"]["id"]}, "WALK_FORWARD": {story["model"]["id"]}}
        named["DATA_SET"].add(story["model"]["data_set_id"])
    versions = {str(o["limits"]["version"]) for o in orders} | {
        str(r["limit_version"]) for r in story["refusals"]
    }
    named |= {"LIMITS": versions, "EPOCH": {str(o["order"]["epoch"]) for o in orders}}
    named["RAW"] = {str(m["message"]) for o in orders for m in o["messages"]}
    named["RECONCILIATION"] = {str(o["reconciliation"]["id"]) for o in orders if o["reconciliation"]}
    links, verdict = proof.entries_of(read.session, named, [r["seq"] for r in story["refusals"]])
    differences = []
    for told in orders:
        said = proof.drift(
            told["order"], told.pop("filled_notional"), links, [f["execution_id"] for f in told["fills"]]
        )
        differences += [f"{told['order']['client_order_id']}: {d}" for d in said]
    numbers = {(link.kind, link.ref): link.seq for link in links}
    for told in orders:
        for message in told["messages"]:
            message["seq"] = numbers.get(("RAW", str(message["message"])))
    last = max((link.seq for link in links), default=0)
    anchor = read.row(
        "SELECT at, seq, occasion, place FROM anchor WHERE seq >= :seq AND error = '' ORDER BY seq LIMIT 1",
        seq=last,
    )
    if anchor is None:
        read.lacks("no anchor covers these entries yet: a rewritten chain would not show")
    return {
        **verdict,
        "tables_agree": not differences,
        "differences": differences,
        "anchor": anchor,
        "entries": [
            {
                "seq": link.seq, "at_us": link.at_us, "actor": link.actor, "kind": link.kind, "ref": link.ref,
                "hash": link.hash.hex(),
            }
            for link in links
        ],
    }  # fmt: skip


def plain(value: Any) -> Any:
    """For JSON: decimals and ids as text, times in UTC with a Z, bytes as hex; floats (estimates) stay numbers."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    return str(value) if isinstance(value, uuid.UUID) else value
