"""Propose: scores of the last closed session become target weights for the next one, waiting for approval."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from sqlmodel import Session, col, select

from flows import links
from flows.step import admit, step
from flows.window import Window, new_york
from flows.workspace import Workspace, open_workspace
from market.calendar import session_close, session_open
from sql.lineage import propose_batch, raise_alert, record_risk_snapshot
from sql.tables import DataSet, EquityMark, Position, RiskSnapshot, Signal, SignalBatch

if TYPE_CHECKING:
    from models.risk.snapshot import RiskSnapshot as Snapshot

PROPOSER = "flow:propose"


@flow(name="propose")
def propose(strategy: str | None = None, as_of: date | None = None, clock: datetime | None = None) -> str:
    """Propose one batch for the session after `as_of`, valid from its open to its close; returns its id.

    The same content for the same session is the same batch, however often the flow runs.
    """
    with open_workspace() as work:
        window = admit("propose", work, as_of, clock)
        batch, signals = put_forward(work, strategy, window)
    get_run_logger().info(
        "batch %s for %s: %d signals, gross %.3f",
        str(batch.id)[:8],
        batch.session,
        batch.signals,
        batch.gross_weight,
    )
    create_table_artifact(
        key="signals",
        table=[
            {
                "symbol": signal.symbol,
                "weight": f"{signal.target_weight:.4f}",
                "score": "" if signal.score is None else f"{signal.score:.5f}",
                "because": ", ".join(f"{name} {value:+.4f}" for name, value in signal.contributions.items()),
            }
            for signal in sorted(signals, key=lambda signal: -signal.target_weight)
        ],
        description=f"Batch {batch.id} for {batch.session}: {batch.state}, gross {batch.gross_weight:.3f}",
    )
    return str(batch.id)


@step("propose batch")
def put_forward(work: Workspace, strategy: str | None, window: Window) -> tuple[SignalBatch, list[Signal]]:
    import polars as pl

    from market.history import adjusted
    from models.alpha.artifact import load
    from models.alpha.features import compute_features
    from models.alpha.scoring import score
    from models.portfolio.optimiser import target_weights
    from models.risk.snapshot import build_snapshot

    plan = work.strategy(strategy)
    with work.ledger.session() as session:
        data_set = links.data_set(session, window.as_of)
        validation = links.passed_validation(session, data_set, window.as_of)
        model = links.tested_model(session, plan.name, plan.hash, window.as_of)
        sectors = links.sectors(session)
    prices = work.history.scan(data_set.id).collect()
    left_out = set(links.quarantined(validation))
    features = compute_features(adjusted(prices.filter(~pl.col("symbol").is_in(left_out))))
    newest = features.filter(pl.col("date") == window.as_of)
    scores = score(load(Path(model.artifact_path), model.artifact_hash), newest)
    snapshot = build_snapshot(prices, as_of=window.as_of)
    with work.ledger.session() as session:
        held = held_weights(session, snapshot)
        weights = target_weights(scores, snapshot, sectors, plan, held or None)
        # A name that is held and no longer wanted is said so: its target is zero. One whose prices are
        # in quarantine is left as it is: a sale would rest on numbers we do not believe.
        weights |= {symbol: Decimal(0) for symbol in held if symbol not in weights and symbol not in left_out}
        stored = record_risk_snapshot(session, _stored(work, data_set, snapshot))
        batch = SignalBatch(
            strategy=plan.name,
            environment=work.environment,
            as_of=window.as_of,
            session=window.session,
            proposer=PROPOSER,
            proposed_at=window.clock,
            valid_from=session_open(window.session),
            valid_until=session_close(window.session),
            data_set_id=data_set.id,
            validation_run_id=validation.id,
            model_version_id=model.id,
            risk_snapshot_id=stored.id,
            signals=0,  # this and the hash are filled in by propose_batch
            content_hash="",
        )
        proposed = propose_batch(session, batch, _signals(batch.id, weights, scores, newest))
        if proposed is batch:
            raise_alert(
                session,
                "info",
                "batch_proposed",
                f"{batch.signals} signals wait for approval for {batch.session}",
                f"Batch {batch.id}, gross {batch.gross_weight:.3f}, model {model.id}. It expires "
                f"{new_york(batch.valid_until)}. To read and decide: executor signals show {batch.id}",
                ref=str(batch.id),
            )
        return proposed, list(session.exec(select(Signal).where(Signal.batch_id == proposed.id)))


def held_weights(session: Session, snapshot: Snapshot) -> dict[str, float]:
    """Present positions at the snapshot's closes, as fractions of the last marked equity."""
    mark = session.exec(select(EquityMark).order_by(col(EquityMark.id).desc())).first()
    if mark is None or mark.equity <= 0:
        return {}
    close = dict(zip(snapshot.symbols, snapshot.close, strict=True))
    return {
        position.symbol: float(position.qty) * float(close[position.symbol]) / float(mark.equity)
        for position in session.exec(select(Position).where(col(Position.qty) != 0))
        if position.symbol in close
    }


def _stored(work: Workspace, data_set: DataSet, snapshot: Snapshot) -> RiskSnapshot:
    from models.risk.snapshot import save_snapshot

    path, content_hash = save_snapshot(snapshot, work.risk)
    return RiskSnapshot(
        id=f"rs-{content_hash[:16]}",
        created_at=datetime.now(UTC),
        data_set_id=data_set.id,
        as_of=snapshot.as_of,
        path=str(path),
        content_hash=content_hash,
        symbols=len(snapshot.symbols),
        scenarios=int(snapshot.returns.shape[0]),
    )


def _signals(batch_id: uuid.UUID, weights: dict[str, Decimal], scores: Any, seen: Any) -> list[Signal]:
    reasons = {row["symbol"]: row for row in scores.iter_rows(named=True)}
    values = {row.pop("symbol"): row for row in seen.drop("date").iter_rows(named=True)}
    return [
        Signal(
            batch_id=batch_id,
            symbol=symbol,
            target_weight=weight,
            score=reasons[symbol]["score"] if symbol in reasons else None,
            contributions=_contributions(reasons[symbol]["contributions"]) if symbol in reasons else {},
            features=values.get(symbol, {}),
        )
        for symbol, weight in sorted(weights.items())
    ]


def _contributions(top: list[dict[str, Any]]) -> dict[str, float]:
    return {str(item["feature"]): float(item["contribution"]) for item in top}
