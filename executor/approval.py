"""The command line's side of the first door: see batches, decide on them, bring one's own."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from sqlmodel import Session, col, select

from executor.errors import InputError
from executor.settings import Settings
from executor.signals import read_weights, submit
from sql.approvals import PAPER_POLICY, approve, reject
from sql.ledger import Ledger
from sql.signatures import load_key
from sql.tables import Approval, Book, ModelVersion, Signal, SignalBatch, ValidationRun

STATE_STYLE = {
    "PROPOSED": "yellow",
    "APPROVED": "green",
    "CLAIMED": "cyan",
    "REJECTED": "red",
    "EXPIRED": "red",
}


def find_batch(session: Session, given: str) -> SignalBatch:
    """The batch an id or its first characters name.

    Raises :class:`InputError` if none or several match.
    """
    batches = session.exec(select(SignalBatch)).all()
    found = [b for b in batches if str(b.id).startswith(given.lower())] if given else []
    if len(found) != 1:
        what = "no batch starts" if not found else f"{len(found)} batches start"
        raise InputError(f"{what} with {given!r}; executor signals list shows their ids")
    return found[0]


def show_batches(ledger: Ledger) -> None:
    """Print every batch, newest first."""
    table = Table(header_style="bold", box=None)
    for name in (
        "Batch",
        "Strategy",
        "Session",
        "Signals",
        "Gross",
        "State",
        "Valid until (UTC)",
        "Proposed by",
    ):
        table.add_column(name, justify="right" if name in ("Signals", "Gross") else "left")
    with ledger.session() as session:
        rows = session.exec(select(SignalBatch).order_by(col(SignalBatch.proposed_at).desc())).all()
        for b in rows:
            table.add_row(
                str(b.id)[:8], b.strategy, f"{b.session}", f"{b.signals}", f"{b.gross_weight:.1%}",
                f"[{STATE_STYLE.get(b.state, 'white')}]{b.state}[/]", f"{b.valid_until:%Y-%m-%d %H:%M}", b.proposer,
            )  # fmt: skip
    Console().print(
        table if rows else "no batches yet; the propose flow writes them, or executor signals submit FILE"
    )


def show_batch(ledger: Ledger, given: str) -> None:
    """Print one batch with its chain and weights."""
    console = Console()
    with ledger.session() as session:
        batch = find_batch(session, given)
        chain = Table.grid(padding=(0, 2))
        for name, value in _chain(session, batch):
            chain.add_row(name, value)
        weights = Table(header_style="bold", box=None)
        weights.add_column("Symbol")
        weights.add_column("Weight", justify="right")
        weights.add_column("Score", justify="right")
        weights.add_column("Main reasons")
        signals = session.exec(
            select(Signal).where(Signal.batch_id == batch.id).order_by(col(Signal.target_weight).desc())
        ).all()
        for s in signals:
            reasons = ", ".join(f"{k} {v:+.3f}" for k, v in list(s.contributions.items())[:3])
            weights.add_row(
                s.symbol, f"{s.target_weight:.2%}", "" if s.score is None else f"{s.score:+.4f}", reasons
            )
    console.print(chain)
    console.print(weights)


def _chain(session: Session, batch: SignalBatch) -> list[tuple[str, str]]:
    rows = [
        ("Batch", f"{batch.id} ({batch.state})"),
        ("Strategy", f"{batch.strategy}, for session {batch.session}, knows prices to {batch.as_of}"),
        (
            "Valid",
            f"{batch.valid_from:%Y-%m-%d %H:%M} to {batch.valid_until:%Y-%m-%d %H:%M} UTC, {batch.environment}",
        ),
        ("Content hash", batch.content_hash),
        ("Data set", batch.data_set_id),
    ]
    run = session.get(ValidationRun, batch.validation_run_id) if batch.validation_run_id else None
    rows.append(
        (
            "Validation",
            f"{run.verdict} ({run.suite} {run.suite_version})" if run else "none: weights from outside",
        )
    )
    model = session.get(ModelVersion, batch.model_version_id) if batch.model_version_id else None
    if model:
        sharpe = model.metrics.get("sharpe_net")
        shown = f", walk-forward Sharpe {sharpe:.2f} net of costs" if isinstance(sharpe, (int, float)) else ""
        rows.append(("Model", f"{model.id}, trained {model.trained_from} to {model.trained_to}{shown}"))
    approval = session.exec(select(Approval).where(Approval.batch_id == batch.id)).first()
    if approval:
        rows.append(("Decision", f"{approval.verdict} by {approval.approver}: {approval.reason}"))
    return rows


def decide(
    ledger: Ledger, given: str, *, accept: bool, who: str, reason: str, policy: str, keys: Path | None = None
) -> None:
    """Approve or reject, and say so; signed where the approver has a key under ``keys``."""
    if policy and policy != "paper":
        raise InputError(f"no policy {policy!r}; the only one is 'paper'")
    with ledger.session() as session:
        batch = find_batch(session, given)
        if accept:
            _approve(session, batch, who, reason, policy, keys)
        else:
            reject(session, batch.id, approver=who, reason=reason)
        typer.echo(
            f"batch {str(batch.id)[:8]} {'approved' if accept else 'rejected'}: {batch.signals} signals for {batch.session}"
        )


def _approve(
    session: Session, batch: SignalBatch, who: str, reason: str, policy: str, keys: Path | None
) -> None:
    now = _market_now(session, batch)
    if policy:
        approve(
            session, batch.id, approver=PAPER_POLICY, reason=reason or "paper account: approved by policy",
            now=now, policy=True,
        )  # fmt: skip
    else:
        key = load_key(keys, who) if keys is not None and keys.exists() else None
        approve(session, batch.id, approver=who, reason=reason, now=now, key=key)


def _market_now(session: Session, batch: SignalBatch) -> dt.datetime | None:
    """In a replay, the session that is about to be replayed has not begun."""
    book = session.exec(select(Book)).one()
    if book.environment != "replay":
        return None
    return book.market_time or batch.valid_from


def submit_file(
    ledger: Ledger, settings: Settings, file: Path, session_day: dt.date | None, who: str
) -> None:
    """Propose a file of weights for a session and say what comes next."""
    from market.calendar import is_session, next_session, session_close, session_open

    weights = read_weights(file)
    today = dt.datetime.now(dt.UTC)
    day = session_day
    if day is None:
        day = (
            today.date()
            if is_session(today.date()) and session_close(today.date()) > today
            else next_session(today.date())
        )
    if not is_session(day):
        raise InputError(f"{day} is no session of the exchange; the next one is {next_session(day)}")
    if settings.environment != "replay" and session_close(day) <= today:
        raise InputError(
            f"the session of {day} closed at {session_close(day):%Y-%m-%d %H:%M} UTC; the next is {next_session(day)}"
        )
    with ledger.session() as session:
        batch = submit(
            session, weights, environment=settings.environment, proposer=who, trading_day=day,
            valid_from=session_open(day), valid_until=session_close(day), source=file.name,
        )  # fmt: skip
        gross: Any = Decimal(batch.gross_weight)
        typer.echo(
            f"proposed batch {str(batch.id)[:8]}: {batch.signals} weights, {gross:.1%} gross, for {day}"
        )
    typer.echo(
        "someone else must approve it: executor signals approve ID --reason '...' "
        "(on a paper account a policy may: --policy paper)"
    )
