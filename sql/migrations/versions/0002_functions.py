"""Functions, triggers and views of the ledger."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script = (Path(__file__).parent / "0002_functions.sql").read_text(encoding="utf-8")
    # exec_driver_sql without parameters: '%' and ':' in function bodies are left alone
    op.get_bind().exec_driver_sql(script.replace("%", "%%"))
