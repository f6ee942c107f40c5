"""Bring a ledger to the newest schema with Alembic; safe when several processes try at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

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

    A ledger that is up to date is only read, so that a login with an executor's rights can open it. All
    steps are one transaction: an upgrade that fails has changed nothing.

    Raises :class:`LedgerError` if the ledger already belongs to another environment (paper facts must
    never be mixed with live ones), if it was made by a newer build, or if the login may not upgrade it.
    """
    with engine.connect() as connection:
        before = _version(connection)
        script = ScriptDirectory.from_config(alembic_config(connection))
    newest = script.get_current_head()
    if before != newest:
        if before is not None and before not in {s.revision for s in script.walk_revisions()}:
            raise LedgerError(
                f"the ledger has schema {before}, which this build (schema {newest}) does not know: a newer build "
                "made it; use that one"
            )
        try:
            _migrate(engine, environment)
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            raise LedgerError(
                f"the ledger was not brought from schema {before or 'none'} to {newest}: {reason}. Nothing was changed; "
                "upgrade with a login that owns it (executor ledger upgrade), and see executor ledger doctor"
            ) from error
    with engine.connect() as connection:
        found = connection.execute(text("SELECT environment FROM ledger.book")).scalar_one()
    if found != environment:
        raise LedgerError(
            f"this ledger is for environment {found!r}, but {environment!r} is asked for; "
            f"set SALLYPORT_ENVIRONMENT={found}, or use another state_dir or DATABASE_URL"
        )


def _migrate(engine: Engine, environment: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        if connection.execute(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}).scalar() is None:
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        command.upgrade(alembic_config(connection), "head")
        apply_grants(connection)  # refused without CREATEROLE; executor ledger doctor says so
        connection.execute(
            text(
                "INSERT INTO ledger.book (one, environment, epoch, holder, mode, mode_reason, "
                "mode_since, killed, flatten) VALUES (true, :environment, 0, '', 'READY', "
                "'new ledger', clock_timestamp(), false, false) ON CONFLICT (one) DO NOTHING"
            ),
            {"environment": environment},
        )


def _version(connection: Connection) -> str | None:
    found = connection.execute(text("SELECT to_regclass('ledger.alembic_version')")).scalar()
    if found is None:
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM ledger.alembic_version")).scalar()
    return version
