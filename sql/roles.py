"""Who may do what in the ledger: Postgres roles, and a connection that puts one on.

The roles (``sallyport_owner``, ``..._executor``, ``_flow_writer``, ``_approver``, ``_risk_admin``,
``_sentinel``, ``_auditor``) cannot log in. A login that is a member may put one on; putting one on
gives rights up for the session, it is no wall against whoever holds the login. A real wall is a
login of its own for each process (docs/ledger.md).
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

ROLES = ("owner", "executor", "flow_writer", "approver", "risk_admin", "sentinel", "auditor")
PREFIX = "sallyport_"
SCRIPTS = (Path(__file__).parent / "hardening.sql", Path(__file__).parent / "grants.sql")

ADOPT = (
    "SELECT set_config('role', r.rolname, false) FROM pg_roles r JOIN pg_namespace n ON n.nspname = 'ledger' "
    "WHERE r.rolname = '{role}' AND pg_get_userbyid(n.nspowner) = 'sallyport_owner' "
    "AND pg_has_role(session_user, r.oid, 'MEMBER')"
)
"""Puts a role on where roles are set up and the login is a member of it; else changes nothing."""


def adopt(role: str) -> str:
    """The statement with which a connection becomes ``role`` (one of :data:`ROLES`)."""
    if role not in ROLES:
        raise ValueError(f"unknown role {role!r}; one of {', '.join(ROLES)}")
    return ADOPT.format(role=PREFIX + role)


def apply_grants(connection: Connection) -> str:
    """Close everything to the public, create roles, hand all to the owner, grant what each needs; idempotent.

    Returns "" or, where the login may not make roles, the reason: the ledger then works with the
    rights of the login alone, and ``executor ledger doctor`` says so.
    """
    for script in SCRIPTS:
        nested = connection.begin_nested()
        try:
            connection.exec_driver_sql(script.read_text(encoding="utf-8").replace("%", "%%"))
        except DBAPIError as error:
            nested.rollback()
            return str(error.orig).splitlines()[0]
        nested.commit()
    return ""


def in_force(connection: Connection) -> bool:
    """Whether the ledger's objects belong to the owner role, so that the grants mean something."""
    found = connection.exec_driver_sql(
        "SELECT pg_get_userbyid(nspowner) = 'sallyport_owner' FROM pg_namespace WHERE nspname = 'ledger'"
    ).scalar()
    return bool(found)
