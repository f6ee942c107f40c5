"""Bring a ledger to the newest schema with Alembic; safe when several processes try at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, text

from sql.errors import LedgerError
from sql.roles import apply_grants
from sql.tables import SCHEMA

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 7_214_501  # any constant; taken so that two starting processes do not both migrate


def alembic_config(connection: Connection) -> Config:
    """Alembic configuration bound to an open connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, *, environment: str) -> None:
    """Migrate to head and fix the ledger's environment (``replay``, ``paper`` or ``live``) for good.

    Raises :class:`LedgerError` if the ledger already belongs to another environment: paper facts
    must never be mixed with live ones.
    """
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        if connection.execute(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}).scalar() is None:
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        before = _version(connection)
        command.upgrade(alembic_config(connection), "head")
        if _version(connection) != before:
            apply_grants(connection)  # refused without CREATEROLE; executor ledger doctor says so
        connection.execute(
            text(
                "INSERT INTO ledger.book (one, environment, epoch, holder, mode, mode_reason, "
                "mode_since, killed, flatten) VALUES (true, :environment, 0, '', 'READY', "
                "'new ledger', clock_timestamp(), false, false) ON CONFLICT (one) DO NOTHING"
            ),
            {"environment": environment},
        )
        found = connection.execute(text("SELECT environment FROM ledger.book")).scalar_one()
    if found != environment:
        raise LedgerError(
            f"this ledger is for environment {found!r}, but {environment!r} is asked for; "
            f"set SALLYPORT_ENVIRONMENT={found}, or use another state_dir or DATABASE_URL"
        )


def _version(connection: Connection) -> str | None:
    found = connection.execute(text("SELECT to_regclass('ledger.alembic_version')")).scalar()
    if found is None:
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM ledger.alembic_version")).scalar()
    return version
