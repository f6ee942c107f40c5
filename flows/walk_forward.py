"""Walk-forward: the strategy out of sample, net of costs, attached to the model it judges."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from flows import links
from flows.step import admit, step
from flows.workspace import Workspace, open_workspace
from sql.lineage import record_metrics
from sql.tables import ModelVersion, ValidationRun


@flow(name="walk_forward")
def walk_forward(
    strategy: str | None = None,
    again: bool = False,
    as_of: date | None = None,
    clock: datetime | None = None,
) -> dict[str, Any]:
    """Test the newest model's strategy walk-forward and return the metrics.

    A model that has its result keeps it (the test is deterministic) unless `again` is set.
    """
    with open_workspace() as work:
        window = admit("walk_forward", work, as_of, clock)
        plan = work.strategy(strategy)
        with work.ledger.session() as session:
            model = links.model(session, plan.name, plan.hash, window.as_of)
        if again or not model.metrics or not Path(str(model.walk_forward_path)).exists():
            metrics = judge(work, strategy, model)
        else:
            metrics = model.metrics
    get_run_logger().info(
        "Sharpe %s net of costs, drawdown %s, %s sessions out of sample",
        *(_figure(metrics.get(name)) for name in ("sharpe_net", "max_drawdown", "sessions")),
    )
    create_table_artifact(
        key="walk-forward",
        table=[{"metric": name, "value": value} for name, value in metrics.items()],
        description=f"Out of sample, net of costs: {model.id}",
    )
    return metrics


@step("walk forward")
def judge(work: Workspace, strategy: str | None, model: ModelVersion) -> dict[str, Any]:
    import polars as pl

    from models.validation.walk_forward import daily_ic
    from models.validation.walk_forward import walk_forward as run

    log = get_run_logger()
    with work.ledger.session() as session:
        sectors = links.sectors(session)
        validation = session.get_one(ValidationRun, model.validation_run_id)
    left_out = links.quarantined(validation)
    prices = work.history.scan(model.data_set_id).filter(~pl.col("symbol").is_in(left_out)).collect()
    result = run(
        prices,
        work.strategy(strategy),
        sectors,
        as_of=validation.as_of,
        progress=lambda what, done, of: log.info("%s %d of %d", what, done, of),
    )
    path = work.walk_forward / f"{model.id}.parquet"
    result.returns.write_parquet(path)
    daily_ic(result.scores).write_parquet(path.with_suffix(".ic.parquet"))
    path.with_suffix(".folds.json").write_text(json.dumps(_plain(result.folds)), encoding="utf-8")
    metrics: dict[str, Any] = _plain(result.metrics)
    with work.ledger.session() as session:
        known = session.get(ModelVersion, model.id)
        if known is None or known.metrics != metrics or known.walk_forward_path != str(path):
            record_metrics(session, model.id, metrics, str(path))
    return metrics


def _figure(value: Any) -> str:
    return "unknown" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _plain(value: Any) -> Any:
    """As JSON can hold it: dates as ISO text, numpy numbers as Python's, what is not a finite number as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
