"""The bounds of the breakers are limits too: which way each tightens."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LOWER = (
    "extreme_loss", "drawdown_stop", "equity_confirm_s", "feed_silent_s", "order_stream_s", "broker_errors",
    "broker_rejects", "broker_latency_ms", "clock_offset_ms", "price_jump", "orders_per_minute", "turns",
    "disk_used", "memory_used", "loop_lag_ms", "heartbeat_s",
)  # fmt: skip
HIGHER = ("price_jump_rest_s",)


def upgrade() -> None:
    rows = [f"('{name}', 'lower')" for name in LOWER] + [f"('{name}', 'higher')" for name in HIGHER]
    op.execute(f"INSERT INTO ledger.limit_direction (name, tighter) VALUES {', '.join(rows)}")  # noqa: S608
