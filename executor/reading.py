"""A ledger for looking only: not migrated, not written, refused with the way out where it is not of this build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlmodel import Session

from executor.errors import RefusedError
from executor.settings import Settings
from sql.ledger import Ledger
from sql.server import ledger_url


@contextmanager
def reading(settings: Settings) -> Iterator[Session]:
    """One read-only transaction that sees one state of the ledger."""
    secret = settings.database_url
    ledger = Ledger(ledger_url(settings.state_dir, secret.get_secret_value() if secret else None))
    try:
        with ledger.session() as session:
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            if session.execute(text("SELECT to_regclass('ledger.v_messages')")).scalar_one() is None:
                raise RefusedError(
                    "this ledger is empty or older than this build; run: executor ledger upgrade"
                )
            yield session
    finally:
        ledger.close()
