"""What the model saw: the value of every feature at the signal, so that a story need not compute it again."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE ledger.signal ADD COLUMN features jsonb NOT NULL DEFAULT '{}'")
    op.execute("""
        CREATE OR REPLACE VIEW ledger.v_signals AS
        SELECT g.id AS signal_id, g.batch_id, b.strategy, b.session, b.as_of, g.symbol, g.target_weight, g.score,
               g.contributions, b.state AS batch_state, b.proposer, b.proposed_at, b.valid_from, b.valid_until,
               a.verdict, a.approver, a.decided_at, b.model_version_id, b.data_set_id, b.validation_run_id,
               b.risk_snapshot_id, b.content_hash, a.key_id, a.signature, g.features
        FROM ledger.signal g JOIN ledger.signal_batch b ON b.id = g.batch_id
        LEFT JOIN ledger.approval a ON a.batch_id = b.id
    """)
