"""Indexes for looking: the anchor that covers an entry, the newest fills."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX anchor_seq ON ledger.anchor (seq) WHERE error = ''")
    op.execute("CREATE INDEX fill_booked_at ON ledger.fill (booked_at)")
