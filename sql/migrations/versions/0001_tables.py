"""Tables of the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=False),
        sa.CheckConstraint("severity IN ('info','warning','critical')", name="severity"),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_table(
        "audit_head",
        sa.Column("one", sa.Boolean(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("one"),
        schema="ledger",
    )
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("hash"),
        schema="ledger",
    )
    op.create_index(op.f("ix_ledger_audit_log_kind"), "audit_log", ["kind"], unique=False, schema="ledger")
    op.create_index(op.f("ix_ledger_audit_log_ref"), "audit_log", ["ref"], unique=False, schema="ledger")
    op.create_table(
        "book",
        sa.Column("one", sa.Boolean(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("market_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("feed_age_ms", sa.Integer(), nullable=True),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("mode_reason", sa.String(), nullable=False),
        sa.Column("mode_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("killed", sa.Boolean(), nullable=False),
        sa.Column("flatten", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "mode IN ('READY','REDUCING','CLOSE_ONLY','HALTED','FLATTENING')", name="mode_known"
        ),
        sa.CheckConstraint("one", name="one_row"),
        sa.PrimaryKeyConstraint("one"),
        schema="ledger",
    )
    op.create_table(
        "data_set",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("symbols", sa.Integer(), nullable=False),
        sa.Column("first_session", sa.Date(), nullable=False),
        sa.Column("last_session", sa.Date(), nullable=False),
        sa.Column("modelled", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_table(
        "equity_mark",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("market_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("cash", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("long_value", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("short_value", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("equity", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("day_open_equity", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("high_water_mark", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("value_at_risk", sa.Numeric(precision=24, scale=6), nullable=True),
        sa.Column("expected_shortfall", sa.Numeric(precision=24, scale=6), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_table(
        "instrument",
        sa.Column("symbol", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sector", sa.String(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("first_session", sa.Date(), nullable=True),
        sa.Column("last_session", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("symbol"),
        schema="ledger",
    )
    op.create_table(
        "limit_version",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("effective_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("limits", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("version"),
        schema="ledger",
    )
    op.create_table(
        "order_edge",
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("after", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("before", "after"),
        schema="ledger",
    )
    op.create_table(
        "position",
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("qty", sa.Numeric(precision=24, scale=9), nullable=False),
        sa.Column("average_price", sa.Numeric(precision=24, scale=9), nullable=False),
        sa.Column("realised_pnl", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("mark_price", sa.Numeric(precision=24, scale=6), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol"),
        schema="ledger",
    )
    op.create_table(
        "posting",
        sa.Column("txn", sa.String(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("asset", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(precision=24, scale=9), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("memo", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("txn", "line"),
        schema="ledger",
    )
    op.create_table(
        "reconciliation_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("market_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("occasion", sa.String(), nullable=False),
        sa.Column("matched", sa.Boolean(), nullable=False),
        sa.Column("ledger_cash", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("broker_cash", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("compared", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_table(
        "reconciliation_break",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("ledger_value", sa.String(), nullable=False),
        sa.Column("broker_value", sa.String(), nullable=False),
        sa.Column("explanation", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["ledger.reconciliation_run.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_index(
        op.f("ix_ledger_reconciliation_break_run_id"),
        "reconciliation_break",
        ["run_id"],
        unique=False,
        schema="ledger",
    )
    op.create_table(
        "risk_snapshot",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data_set_id", sa.String(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("symbols", sa.Integer(), nullable=False),
        sa.Column("scenarios", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["data_set_id"],
            ["ledger.data_set.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_table(
        "validation_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("data_set_id", sa.String(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("suite", sa.String(), nullable=False),
        sa.Column("suite_version", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("checks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("report_path", sa.String(), nullable=True),
        sa.CheckConstraint("verdict IN ('passed','failed')", name="verdict"),
        sa.ForeignKeyConstraint(
            ["data_set_id"],
            ["ledger.data_set.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_index(
        op.f("ix_ledger_validation_run_data_set_id"),
        "validation_run",
        ["data_set_id"],
        unique=False,
        schema="ledger",
    )
    op.create_table(
        "model_version",
        sa.Column("id", sa.String(length=96), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("strategy_hash", sa.String(length=64), nullable=False),
        sa.Column("data_set_id", sa.String(), nullable=False),
        sa.Column("validation_run_id", sa.Uuid(), nullable=False),
        sa.Column("artifact_path", sa.String(), nullable=False),
        sa.Column("artifact_hash", sa.String(length=64), nullable=False),
        sa.Column("feature_hash", sa.String(length=64), nullable=False),
        sa.Column("features", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("trained_from", sa.Date(), nullable=False),
        sa.Column("trained_to", sa.Date(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("walk_forward_path", sa.String(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["data_set_id"],
            ["ledger.data_set.id"],
        ),
        sa.ForeignKeyConstraint(
            ["validation_run_id"],
            ["ledger.validation_run.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        schema="ledger",
    )
    op.create_index(
        op.f("ix_ledger_model_version_strategy"), "model_version", ["strategy"], unique=False, schema="ledger"
    )
    op.create_table(
        "signal_batch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("proposer", sa.String(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data_set_id", sa.String(), nullable=False),
        sa.Column("validation_run_id", sa.Uuid(), nullable=True),
        sa.Column("model_version_id", sa.String(), nullable=True),
        sa.Column("risk_snapshot_id", sa.String(), nullable=False),
        sa.Column("signals", sa.Integer(), nullable=False),
        sa.Column("gross_weight", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.CheckConstraint("environment IN ('replay','paper','live')", name="environment"),
        sa.CheckConstraint(
            "state IN ('PROPOSED','APPROVED','REJECTED','CLAIMED','DONE','EXPIRED')", name="batch_state"
        ),
        sa.CheckConstraint("valid_until > valid_from", name="validity"),
        sa.ForeignKeyConstraint(
            ["data_set_id"],
            ["ledger.data_set.id"],
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["ledger.model_version.id"],
        ),
        sa.ForeignKeyConstraint(
            ["risk_snapshot_id"],
            ["ledger.risk_snapshot.id"],
        ),
        sa.ForeignKeyConstraint(
            ["validation_run_id"],
            ["ledger.validation_run.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("strategy", "session", "content_hash", name="one_batch_per_content"),
        schema="ledger",
    )
    op.create_table(
        "approval",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("approver", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("environment", sa.String(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('approved','rejected')", name="verdict"),
        sa.CheckConstraint("length(reason) > 0", name="reason_given"),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["ledger.signal_batch.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("batch_id"),
        schema="ledger",
    )
    op.create_table(
        "signal",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("target_weight", sa.Numeric(precision=24, scale=8), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("contributions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("target_weight BETWEEN -10 AND 10", name="weight_is_a_fraction"),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["ledger.signal_batch.id"],
        ),
        sa.ForeignKeyConstraint(
            ["symbol"],
            ["ledger.instrument.symbol"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("batch_id", "symbol", name="one_signal_per_symbol"),
        schema="ledger",
    )
    op.create_index(op.f("ix_ledger_signal_batch_id"), "signal", ["batch_id"], unique=False, schema="ledger")
    op.create_table(
        "decision",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("market_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("signal_id", sa.Uuid(), nullable=True),
        sa.Column("client_order_id", sa.String(length=48), nullable=True),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("limit_version", sa.Integer(), nullable=False),
        sa.Column("inputs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("checks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("verdict IN ('accepted','refused')", name="verdict"),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["ledger.signal_batch.id"],
        ),
        sa.ForeignKeyConstraint(
            ["signal_id"],
            ["ledger.signal.id"],
        ),
        sa.PrimaryKeyConstraint("seq"),
        schema="ledger",
    )
    op.create_index(
        op.f("ix_ledger_decision_batch_id"), "decision", ["batch_id"], unique=False, schema="ledger"
    )
    op.create_table(
        "orders",
        sa.Column("client_order_id", sa.String(length=48), nullable=False),
        sa.Column("signal_id", sa.Uuid(), nullable=True),
        sa.Column("leg", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("decision_seq", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("qty", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("order_type", sa.String(), nullable=False),
        sa.Column("limit_price", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("time_in_force", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("filled_qty", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("filled_notional", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("broker_order_id", sa.String(), nullable=True),
        sa.Column("broker_status", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("arrival_price", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("cost_estimate", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("market_time", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("purpose = 'flatten' OR signal_id IS NOT NULL", name="a_signal_or_an_exit"),
        sa.CheckConstraint("side IN ('buy','sell')", name="side"),
        sa.CheckConstraint("filled_qty >= 0 AND filled_qty <= qty", name="never_overfilled"),
        sa.CheckConstraint("qty > 0 AND limit_price > 0", name="positive_terms"),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["ledger.signal_batch.id"],
        ),
        sa.ForeignKeyConstraint(
            ["decision_seq"],
            ["ledger.decision.seq"],
        ),
        sa.ForeignKeyConstraint(
            ["signal_id"],
            ["ledger.signal.id"],
        ),
        sa.PrimaryKeyConstraint("client_order_id"),
        sa.UniqueConstraint("signal_id", "leg", name="one_order_per_leg"),
        schema="ledger",
    )
    op.create_index(op.f("ix_ledger_orders_batch_id"), "orders", ["batch_id"], unique=False, schema="ledger")
    op.create_index(
        op.f("ix_ledger_orders_signal_id"), "orders", ["signal_id"], unique=False, schema="ledger"
    )
    op.create_table(
        "fill",
        sa.Column("execution_id", sa.String(), nullable=False),
        sa.Column("client_order_id", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("qty", sa.Numeric(precision=24, scale=9), nullable=False),
        sa.Column("price", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("booked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.CheckConstraint("qty > 0 AND price > 0", name="positive_fill"),
        sa.ForeignKeyConstraint(
            ["client_order_id"],
            ["ledger.orders.client_order_id"],
        ),
        sa.PrimaryKeyConstraint("execution_id"),
        schema="ledger",
    )
    op.create_index(
        op.f("ix_ledger_fill_client_order_id"), "fill", ["client_order_id"], unique=False, schema="ledger"
    )
