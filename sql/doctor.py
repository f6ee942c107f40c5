"""Is this ledger fit to trade on? Every check names what it saw and the way out."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlmodel import Session

from sql import evidence  # noqa: F401  (its tables join the metadata)
from sql.anchors import AnchorError, AnchorFile, Place, default_file, read_anchors, read_head
from sql.migrate import alembic_config
from sql.roles import PREFIX, ROLES
from sql.server import POSTGRES_VERSION_MIN
from sql.tables import SCHEMA, metadata

FREE_BYTES_MIN = 1 << 30
ANCHOR_AGE_MAX = dt.timedelta(minutes=3)
DURABLE = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "default_transaction_read_only": "off",
}


@dataclass(frozen=True)
class Finding:
    """One check: ``verdict`` is ``ok``, ``warning`` or ``bad``; ``detail`` is what was seen and what to do."""

    check: str
    verdict: str
    detail: str


def examine(session: Session, where: Sequence[Place], state_dir: Path) -> list[Finding]:
    """Run every check; one that cannot run is itself a finding."""
    checks: list[Callable[[], list[Finding]]] = [
        lambda: _server(session), lambda: _durability(session), lambda: _schema(session), lambda: _columns(session),
        lambda: _roles(session), lambda: _triggers(session), lambda: _limits(session),
        lambda: _anchors(session, where, state_dir), lambda: _partitions(session), lambda: _disk(state_dir),
    ]  # fmt: skip
    found: list[Finding] = []
    for check in checks:
        try:
            with session.begin_nested():
                found += check()
        except Exception as error:
            found.append(Finding("checks", "bad", f"a check failed: {str(error).splitlines()[0]}"))
    return found


def _server(session: Session) -> list[Finding]:
    number = int(session.execute(text("SHOW server_version_num")).scalar_one())
    good = number // 10000 >= POSTGRES_VERSION_MIN
    found = [
        Finding("server", "ok" if good else "bad", f"Postgres {number // 10000}.{number % 10000}"
                + ("" if good else f"; the ledger needs {POSTGRES_VERSION_MIN} or newer"))
    ]  # fmt: skip
    if session.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
        found.append(
            Finding("server", "bad", "this is a standby and takes no writes; connect to the primary")
        )
    return found


def _durability(session: Session) -> list[Finding]:
    wrong = [
        f"{name} is {value}"
        for name, wanted in DURABLE.items()
        if (value := session.execute(text(f"SHOW {name}")).scalar_one()) != wanted
    ]
    if wrong:
        return [
            Finding(
                "durability", "bad", f"{', '.join(wrong)}: an acknowledged write could be lost; set it back"
            )
        ]
    return [Finding("durability", "ok", "what is acknowledged has been flushed")]


def _schema(session: Session) -> list[Finding]:
    here = session.execute(text("SELECT version_num FROM ledger.alembic_version")).scalars().all()
    head = ScriptDirectory.from_config(alembic_config(session.connection())).get_current_head()
    if list(here) != [head]:
        return [
            Finding("schema", "bad", f"at {', '.join(here) or 'nothing'}, this build needs {head}; run: executor ledger upgrade "
                    "(or install the build that made it)")
        ]  # fmt: skip
    return [Finding("schema", "ok", f"version {head}")]


def _columns(session: Session) -> list[Finding]:
    found = inspect(session.connection())
    wrong = []
    for table in metadata.sorted_tables:
        if not found.has_table(table.name, schema=SCHEMA):
            wrong.append(table.name)
            continue
        present = {c["name"] for c in found.get_columns(table.name, schema=SCHEMA)}
        wrong += [f"{table.name}.{name}" for name in sorted({c.name for c in table.columns} ^ present)]
    if wrong:
        return [Finding("tables", "bad", f"differ from this build: {', '.join(wrong[:5])}; someone changed the schema by hand, "
                        "restore a backup or ask who")]  # fmt: skip
    return [Finding("tables", "ok", f"{len(metadata.sorted_tables)} as this build expects")]


def _roles(session: Session) -> list[Finding]:
    public = session.execute(
        text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace AND (NOT prosecdef OR "
             "has_function_privilege('public', oid, 'EXECUTE'))")
    ).scalar_one()  # fmt: skip
    if public:
        return [
            Finding("roles", "bad", f"{public} functions are open to everyone; run: executor ledger upgrade")
        ]
    owner = session.execute(
        text("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'ledger'")
    ).scalar_one()
    if owner != PREFIX + "owner":
        names = ", ".join(PREFIX + role for role in ROLES)
        return [
            Finding("roles", "warning", f"not set up: the ledger belongs to {owner}, which may write every table. A login with "
                    f"CREATEROLE can make {names} by running: executor ledger upgrade")
        ]  # fmt: skip
    superuser = session.execute(
        text("SELECT rolsuper FROM pg_roles WHERE rolname = session_user")
    ).scalar_one()
    if superuser:
        return [
            Finding("roles", "ok", "set up; this login is a superuser, so they bind the executor's connection but nobody who "
                    "holds this login. On a shared server give each process a login of its own")
        ]  # fmt: skip
    return [Finding("roles", "ok", "set up")]


def _triggers(session: Session) -> list[Finding]:
    off = session.execute(
        text("SELECT c.relname || '.' || t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
             "WHERE c.relnamespace = 'ledger'::regnamespace AND t.tgenabled <> 'O' ORDER BY 1")
    ).scalars().all()  # fmt: skip
    if off:
        return [Finding("guards", "bad", f"disarmed: {', '.join(off[:5])}; someone could rewrite rows. Run executor audit verify "
                        "and rebuild, then arm them again")]  # fmt: skip
    return [Finding("guards", "ok", "every guard trigger is armed")]


def _limits(session: Session) -> list[Finding]:
    present = session.execute(
        text("SELECT limits FROM ledger.limit_version ORDER BY version DESC LIMIT 1")
    ).scalar_one_or_none()
    known = set(session.execute(text("SELECT name FROM ledger.limit_direction WHERE NOT optional")).scalars())
    missing = sorted(known - set(present or {}))
    if missing:
        return [
            Finding(
                "limits",
                "bad",
                f"not set: {', '.join(missing)}; every order is refused until two persons set them",
            )
        ]
    return [Finding("limits", "ok", f"all {len(known)} are set")]


def _anchors(session: Session, where: Sequence[Place], state_dir: Path) -> list[Finding]:
    try:
        anchors = read_anchors(where, read_head(session).ledger)
    except AnchorError as problem:
        return [Finding("anchors", "bad", str(problem))]
    found: list[Finding] = []
    if anchors:
        last = anchors[-1]
        held = session.execute(
            text("SELECT encode(hash, 'hex') FROM ledger.audit_log WHERE seq = :seq"), {"seq": last.seq}
        ).scalar_one_or_none()
        if held != last.hash:
            cut = session.execute(
                text("SELECT max(at) FROM ledger.audit_log WHERE kind = 'RESTORE'")
            ).scalar_one()
            if cut is None or last.at > cut:
                found.append(
                    Finding("anchors", "bad", f"the ledger does not hold the anchor of {last.at:%Y-%m-%d %H:%M} UTC (entry {last.seq}): "
                            "it is an old copy or was rewritten; run: executor audit verify")
                )  # fmt: skip
        beat = session.execute(text("SELECT heartbeat_at FROM ledger.book")).scalar_one()
        if beat is not None and beat - last.at > ANCHOR_AGE_MAX:
            found.append(Finding("anchors", "warning", f"the newest is of {last.at:%Y-%m-%d %H:%M} UTC, the executor lived until "
                                 f"{beat:%H:%M}; its places did not take them"))  # fmt: skip
    if all(isinstance(p, AnchorFile) and p.path == default_file(state_dir) for p in where):
        found.append(
            Finding("anchors", "warning", f"only in {default_file(state_dir)}, beside the ledger: whoever rewrites one can rewrite the "
                    "other. Name a place elsewhere: SALLYPORT_ANCHORS='[\"/mnt/other/anchors.jsonl\"]'")
        )  # fmt: skip
    return found or [Finding("anchors", "ok", f"{len(anchors)} held elsewhere, the newest agrees")]


def _partitions(session: Session) -> list[Finding]:
    name = f"ledger.raw_message_{dt.datetime.now(dt.UTC):%Y%m}"
    if session.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar_one() is None:
        return [Finding("raw messages", "warning", "this month has no partition, the default one takes them; the next start of the "
                        "executor makes it")]  # fmt: skip
    return [Finding("raw messages", "ok", "this month has its partition")]


def _disk(state_dir: Path) -> list[Finding]:
    folder = state_dir if state_dir.exists() else Path()
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_MIN:
        return [
            Finding(
                "disk",
                "warning",
                f"{free / 1e9:.1f} GB free under {folder}; make room before it stops the ledger",
            )
        ]
    return [Finding("disk", "ok", f"{free / 1e9:.0f} GB free")]
