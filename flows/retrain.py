"""Retrain: a model on the validated data set, into the registry with the hashes of what it came from."""

from __future__ import annotations

from datetime import UTC, date, datetime

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows import links
from flows.step import admit, step
from flows.workspace import Workspace, open_workspace
from market.calendar import session_close, session_offset
from sql.lineage import record_model
from sql.tables import ModelVersion


@flow(name="retrain")
def retrain(
    strategy: str | None = None,
    only_when_due: bool = False,
    as_of: date | None = None,
    clock: datetime | None = None,
) -> str:
    """Train `strategy` (a TOML file; None: the one of the settings) and return the model's id.

    `only_when_due` keeps the newest model while it may still be traded with for the session that is
    being prepared. The same data, strategy and seed give the same model, which is recorded once.
    """
    with open_workspace() as work:
        window = admit("retrain", work, as_of, clock)
        plan = work.strategy(strategy)
        if only_when_due:
            with work.ledger.session() as session:
                known = links.newest_model(session, plan.name, plan.hash, window.as_of)
            if known is not None and known.expires_at > session_close(window.session):
                get_run_logger().info("%s is kept until %s", known.id, known.expires_at.date())
                return known.id
        model = fit(work, strategy, window.as_of)
    get_run_logger().info("%s trained on %s to %s", model.id, model.trained_from, model.trained_to)
    create_markdown_artifact(
        key="model",
        markdown=f"# Model `{model.id}`\n\nTrained on `{model.data_set_id}`, {model.trained_from} to "
        f"{model.trained_to}, {len(model.features['names'])} features, artifact `{model.artifact_hash[:16]}…`; "
        f"expires {model.expires_at:%Y-%m-%d %H:%M} UTC",
        description=model.id,
    )
    return model.id


@step("train")
def fit(work: Workspace, strategy: str | None, as_of: date) -> ModelVersion:
    import msgspec
    import polars as pl

    from market.history import adjusted
    from models.alpha.artifact import save
    from models.alpha.features import FEATURE_HASH, FEATURE_NAMES, compute_features
    from models.alpha.labels import forward_return
    from models.alpha.training import train

    plan = work.strategy(strategy)
    with work.ledger.session() as session:
        data_set = links.data_set(session, as_of)
        validation = links.passed_validation(session, data_set, as_of)
    bars = adjusted(
        work.history.scan(data_set.id)
        .filter(~pl.col("symbol").is_in(links.quarantined(validation)))
        .collect()
    )
    table = compute_features(bars).join(
        forward_return(bars, plan.label.horizon_sessions), on=["symbol", "date"], how="left"
    )
    trained = train(table, plan, as_of=as_of)
    path, artifact_hash = save(trained, work.models)
    with work.ledger.session() as session:
        return record_model(
            session,
            ModelVersion(
                id=f"{plan.name}-{artifact_hash[:12]}",
                created_at=datetime.now(UTC),
                strategy=plan.name,
                strategy_hash=plan.hash,
                data_set_id=data_set.id,
                validation_run_id=validation.id,
                artifact_path=str(path),
                artifact_hash=artifact_hash,
                feature_hash=FEATURE_HASH,
                features={"names": list(FEATURE_NAMES)},
                parameters=msgspec.to_builtins(plan.model),
                trained_from=trained.trained_from,
                trained_to=trained.trained_to,
                expires_at=session_close(session_offset(as_of, plan.training.valid_sessions)),
            ),
        )
