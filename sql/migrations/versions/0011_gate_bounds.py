"""The bounds of the gate's new limits: which way each tightens."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

LOWER = (
    "order_qty", "spread", "displayed_size", "buying_power", "intraday_margin", "duplicate_orders", "repeated_orders",
    "messages_per_minute", "notional_per_day_usd", "turnover", "short_name", "cluster", "net", "leverage",
    "concentration", "beta", "factor_risk", "value_at_risk_99", "expected_shortfall_99", "stage_capital",
)  # fmt: skip
HIGHER = ("duplicate_window_s", "repeat_window_s", "messages_reserved", "leverage_shock")


def upgrade() -> None:
    rows = [f"('{name}', 'lower')" for name in LOWER] + [f"('{name}', 'higher')" for name in HIGHER]
    op.execute(f"INSERT INTO ledger.limit_direction (name, tighter) VALUES {', '.join(rows)}")  # noqa: S608
