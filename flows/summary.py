"""What a demo came to: the figures from the ledger, as a table for the eyes and as JSON for programs."""

from __future__ import annotations

import json
import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, col, func, select

from sql import audit
from sql.tables import (
    Alert,
    Approval,
    DataSet,
    Decision,
    EquityMark,
    Fill,
    ModelVersion,
    Order,
    Posting,
    ReconciliationBreak,
    ReconciliationRun,
    Signal,
    SignalBatch,
    ValidationRun,
)

if TYPE_CHECKING:
    from rich.console import Console

    from flows.workspace import Workspace

_SCORES = (
    "sharpe_net",
    "sharpe_gross",
    "sharpe_benchmark",
    "cagr_net",
    "max_drawdown",
    "information_coefficient",
    "cost_bps_per_day",
)


def collect(work: Workspace, session_day: date, as_of: date, links: dict[str, Any]) -> dict[str, Any]:
    """Every figure of the summary, from the ledger alone; money as text with its cents."""
    with work.ledger.session() as session:
        return {
            "session": session_day.isoformat(),
            "as_of": as_of.isoformat(),
            "environment": work.environment,
            "data": _data(session, links),
            "validation": _validation(session, links),
            "model": _model(session, links),
            "batch": _batch(session, links),
            "orders": _orders(session),
            "fills": _fills(session),
            "costs": _costs(session, session_day),
            "equity": _equity(session, session_day),
            "limits": _limits(session, session_day),
            "reconciliation": _reconciliation(session),
            "audit": _audit(session),
            "alerts": _alerts(session),
        }


def write(figures: dict[str, Any], path: Path) -> Path:
    """Write the figures as JSON, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(figures, indent=2, default=_text) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def show(figures: dict[str, Any], console: Console, state: Path) -> None:
    """Print the table, then what can be looked at and how."""
    from rich.table import Table

    table = Table(
        title=f"Session {figures['session']}, replayed", box=None, title_justify="left", show_header=False
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(figures):
        table.add_row(name, text)
    console.print()
    console.print(table)
    console.print()
    seen = Table(title="To look at", box=None, title_justify="left", show_header=False)
    seen.add_column(style="bold", no_wrap=True)
    seen.add_column(overflow="fold")
    for name, path in figures["paths"].items():
        seen.add_row(name, path)
    folder = os.path.relpath(state)
    here = f"SALLYPORT_STATE_DIR={folder} SALLYPORT_ENVIRONMENT=replay"
    seen.add_row("summary", f"{folder}/summary.json")
    seen.add_row("logs", f"{folder}/executor.log, venue.log, prefect/server.log")
    seen.add_row("ledger", f"{here} executor status | signals list | audit verify")
    seen.add_row("flow runs", f"{here} sallyport up --port 0")
    console.print(seen)
    console.print()


def _lines(figures: dict[str, Any]) -> list[tuple[str, str]]:
    data, model, batch, orders = (figures[name] for name in ("data", "model", "batch", "orders"))
    costs, equity, matched = figures["costs"], figures["equity"], figures["reconciliation"]
    validation, chain = figures["validation"], figures["audit"]
    scores = _scores(model["walk_forward"])
    modelled = f"; modelled: {', '.join(data['modelled'])}" if data["modelled"] else ""
    nearest = ", ".join(f"{row['name']} {row['used']:.0%}" for row in figures["limits"]["nearest"])
    tightest = f"; nearest: {nearest}" if nearest else ""
    return [
        ("data", f"{data['id']}: {data['rows']:,} rows, {data['symbols']} symbols, {data['first']} to {data['last']}{modelled}"),
        ("validation", f"{validation['verdict']}: {validation['expectations']} expectations, {validation['failed']} failed, "
                       f"{validation['findings']} findings, {validation['quarantined']} symbols quarantined"),
        ("model", f"{model['id']}, trained {model['trained_from']} to {model['trained_to']}"),
        ("walk-forward", scores),
        ("batch", f"{batch['id'][:8]} {batch['state']}: {batch['signals']} signals, gross {batch['gross']}, "
                  f"approved by {batch['approver']}"),
        ("best scores", ", ".join(f"{row['symbol']} {row['score']:.3f} ({row['weight']})" for row in batch["top"])),
        ("orders", f"{orders['sent']} sent: {orders['filled']} filled, {orders['partly_filled']} in part, "
                   f"{orders['unfilled']} unfilled; {orders['refused']} refused by limits"),
        ("fills", f"{figures['fills']['count']} executions, {figures['fills']['notional']} USD"),
        ("costs expected", f"{costs['expected_usd']} USD ({costs['expected_bps']} bps): fees {costs['expected']['fees']}, "
                           f"spread {costs['expected']['spread']}, impact {costs['expected']['impact']}"),
        ("costs paid", f"{costs['paid_usd']} USD ({costs['paid_bps']} bps): fees {costs['paid']['fees']}, "
                       f"shortfall to arrival {costs['paid']['shortfall']}"),
        ("equity", f"{equity['close']} USD after the close and fees, {equity['change']} on the day; cash {equity['cash']}"),
        ("risk", f"VaR {equity['value_at_risk']}, expected shortfall {equity['expected_shortfall']} USD"),
        ("limits", f"version {figures['limits']['version']}, {figures['limits']['checks']} checks{tightest}"),
        ("reconciliation", f"{'equal' if matched['matched'] else 'DIFFERENT'}: ledger {matched['ledger_cash']}, "
                           f"broker {matched['broker_cash']} USD cash, {matched['breaks']} breaks in {matched['runs']} runs"),
        ("audit chain", f"{'holds' if chain['ok'] else 'BROKEN'}: {chain['entries']} entries, head {chain['head'][:16]}"),
        ("messages", f"{figures['alerts']['delivered']} of {figures['alerts']['raised']} alerts delivered, "
                     f"{figures['messages']} mails"),
    ]  # fmt: skip


def _scores(metrics: dict[str, float | None]) -> str:
    """The walk-forward in a person's words; what is unknown is left out."""
    words = {
        "sharpe_net": "Sharpe {:.2f} net of costs",
        "sharpe_gross": "{:.2f} gross",
        "sharpe_benchmark": "{:.2f} for the universe equally weighted",
        "cagr_net": "CAGR {:.1%}",
        "max_drawdown": "drawdown {:.1%}",
        "information_coefficient": "IC {:.3f}",
        "cost_bps_per_day": "costs {:.2f} bps a day",
    }
    return ", ".join(
        text.format(value) for name, text in words.items() if (value := metrics.get(name)) is not None
    )


def _data(session: Session, links: dict[str, Any]) -> dict[str, Any]:
    row = session.get_one(DataSet, links["data_set"])
    return {
        "id": row.id,
        "source": row.source,
        "rows": row.rows,
        "symbols": row.symbols,
        "first": row.first_session,
        "last": row.last_session,
        "modelled": row.modelled.get("columns", []),
    }


def _validation(session: Session, links: dict[str, Any]) -> dict[str, Any]:
    import uuid

    run = session.get_one(ValidationRun, uuid.UUID(links["validation"]))
    return {
        "id": run.id,
        "verdict": run.verdict,
        "expectations": run.checks["expectations"],
        "failed": run.checks["failed"],
        "findings": len(run.checks["findings"]),
        "quarantined": len(run.checks["quarantined"]),
        "page": run.report_path,
    }


def _model(session: Session, links: dict[str, Any]) -> dict[str, Any]:
    row = session.get_one(ModelVersion, links["model"])
    return {
        "id": row.id,
        "artifact_hash": row.artifact_hash,
        "trained_from": row.trained_from,
        "trained_to": row.trained_to,
        "walk_forward": {name: row.metrics.get(name) for name in _SCORES},
    }


def _batch(session: Session, links: dict[str, Any]) -> dict[str, Any]:
    import uuid

    row = session.get_one(SignalBatch, uuid.UUID(links["batch"]))
    approval = session.exec(select(Approval).where(Approval.batch_id == row.id)).first()
    signals = session.exec(select(Signal).where(Signal.batch_id == row.id)).all()
    scored = sorted((s for s in signals if s.score is not None), key=lambda s: -float(s.score or 0))
    return {
        "id": str(row.id),
        "state": row.state,
        "signals": row.signals,
        "gross": f"{row.gross_weight:.4f}",
        "approver": approval.approver if approval else None,
        "top": [
            {
                "symbol": s.symbol,
                "score": s.score,
                "weight": f"{s.target_weight:.2%}",
                "because": s.contributions,
            }
            for s in scored[:5]
        ],
    }


def _orders(session: Session) -> dict[str, Any]:
    orders = session.exec(select(Order)).all()
    states = [order.state for order in orders]
    refused = len(session.exec(select(Decision.seq).where(Decision.verdict == "refused")).all())
    return {
        "sent": len(orders),
        "filled": sum(order.filled_qty == order.qty for order in orders),
        "partly_filled": sum(0 < order.filled_qty < order.qty for order in orders),
        "unfilled": sum(order.filled_qty == 0 for order in orders),
        "refused": refused,
        "states": {state: states.count(state) for state in sorted(set(states))},
    }


def _fills(session: Session) -> dict[str, Any]:
    fills = session.exec(select(Fill)).all()
    return {
        "count": len(fills),
        "notional": _money(sum((fill.qty * fill.price for fill in fills), Decimal(0))),
        "by_source": {
            source: sum(f.source == source for f in fills) for source in sorted({f.source for f in fills})
        },
    }


def _costs(session: Session, day: date) -> dict[str, Any]:
    """Expected before sending, against paid: fees booked, and shortfall of the fills to the arrival mid."""
    from reports.day_report import shortfall

    orders = list(session.exec(select(Order)))
    expected = {name: Decimal(0) for name in ("fees", "spread", "impact")}
    for order in orders:
        if not order.qty:
            continue
        part = order.filled_qty / order.qty  # what was not filled costs nothing
        for name in expected:
            expected[name] += Decimal(str(order.cost_estimate.get(name, 0))) * part
    paid_fees = sum(
        (
            row.amount
            for row in session.exec(select(Posting).where(Posting.account == "fees", Posting.asset == "USD"))
        ),
        Decimal(0),
    )
    slipped = sum((shortfall(order) for order in orders), Decimal(0))
    notional = sum((order.filled_notional for order in orders), Decimal(0))
    total_expected, total_paid = sum(expected.values(), Decimal(0)), abs(paid_fees) + slipped
    return {
        "expected_usd": _money(total_expected),
        "expected_bps": _bps(total_expected, notional),
        "expected": {name: _money(value) for name, value in expected.items()},
        "paid_usd": _money(total_paid),
        "paid_bps": _bps(total_paid, notional),
        "paid": {"fees": _money(abs(paid_fees)), "shortfall": _money(slipped)},
    }


def _equity(session: Session, day: date) -> dict[str, Any]:
    marks = session.exec(
        select(EquityMark).where(EquityMark.session == day).order_by(col(EquityMark.id))
    ).all()
    if not marks:
        return dict.fromkeys(
            ("open", "marked", "close", "change", "cash", "value_at_risk", "expected_shortfall"), "none"
        )
    last = marks[-1]
    # The day's regulatory fees are booked after the close, later than the last mark.
    cash = Decimal(
        session.exec(
            select(func.sum(Posting.amount)).where(Posting.account == "cash", Posting.asset == "USD")
        ).one()
        or 0
    )
    return {
        "open": _money(last.day_open_equity),
        "marked": _money(last.equity),
        "close": _money(last.equity - last.cash + cash),
        "change": f"{last.equity - last.cash + cash - last.day_open_equity:+,.2f}",
        "cash": _money(cash),
        "value_at_risk": _money(last.value_at_risk),
        "expected_shortfall": _money(last.expected_shortfall),
        "marks": len(marks),
    }


def _limits(session: Session, day: date) -> dict[str, Any]:
    from reports.day_report import limit_use, read_day

    decisions = session.exec(select(Decision)).all()
    uses = sorted(
        (use for use in limit_use(read_day(session, day)) if use.used is not None),
        key=lambda use: -float(use.used or 0),
    )
    return {
        "version": max((decision.limit_version for decision in decisions), default=None),
        "checks": sum(len(decision.checks.get("limits", [])) for decision in decisions),
        "refusals": sorted({decision.reason for decision in decisions if decision.verdict == "refused"}),
        "nearest": [{"name": use.name, "used": float(use.used or 0)} for use in uses[:3]],
    }


def _reconciliation(session: Session) -> dict[str, Any]:
    runs = session.exec(select(ReconciliationRun).order_by(col(ReconciliationRun.at))).all()
    if not runs:
        return {"matched": False, "runs": 0, "breaks": 0, "ledger_cash": "none", "broker_cash": "none"}
    breaks = len(session.exec(select(ReconciliationBreak.id)).all())
    last = runs[-1]
    return {
        "matched": last.matched,
        "occasion": last.occasion,
        "runs": len(runs),
        "breaks": breaks,
        "ledger_cash": _money(last.ledger_cash),
        "broker_cash": _money(last.broker_cash),
        "compared": last.compared,
    }


def _audit(session: Session) -> dict[str, Any]:
    report = audit.verify(session)
    return {"ok": report.ok, "entries": report.rows, "first_bad": report.first_bad, "head": report.head}


def _alerts(session: Session) -> dict[str, Any]:
    alerts = session.exec(select(Alert)).all()
    return {
        "raised": len(alerts),
        "delivered": sum(alert.delivered_at is not None for alert in alerts),
        "kinds": {kind: sum(a.kind == kind for a in alerts) for kind in sorted({a.kind for a in alerts})},
    }


def _money(value: Decimal | None) -> str:
    return "none" if value is None else f"{value:,.2f}"


def _bps(cost: Decimal, notional: Decimal) -> str:
    return f"{cost / notional * 10_000:.2f}" if notional else "0.00"


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
