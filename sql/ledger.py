"""An open ledger: engine, sessions, and the way to get one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine
from sqlmodel import Session

from sql.server import ledger_url


class Ledger:
    """A connection pool to one ledger.

    Parameters
    ----------
    url : str
        SQLAlchemy address, as :func:`sql.server.ledger_url` returns it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = create_engine(
            url, pool_pre_ping=True, connect_args={"options": "-c timezone=UTC -c search_path=ledger"}
        )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that commits when the block ends and rolls back when it raises."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Return all connections."""
        self.engine.dispose()


def open_ledger(state_dir: Path, database_url: str | None, environment: str) -> Ledger:
    """Start the server if it is embedded, migrate, and connect."""
    from sql.migrate import upgrade  # Alembic costs a third of a second, and who only reads does not migrate

    ledger = Ledger(ledger_url(state_dir, database_url))
    upgrade(ledger.engine, environment=environment)
    return ledger
