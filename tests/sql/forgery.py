"""What someone with full power over the server could do to it."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlmodel import Session


def disarm(session: Session) -> None:
    """Switch every trigger off for this transaction; skips where the login is no superuser."""
    if not session.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = session_user")).scalar_one():
        pytest.skip("only a superuser can switch the guards off, and this login is none")
    session.execute(text("SET LOCAL session_replication_role = replica"))
