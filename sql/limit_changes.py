"""Changing limits: one person may tighten, loosening takes a second one.

Which way a limit tightens is data (``ledger.limit_direction``); a limit the ledger does not know
counts as loosened by any change. Versions are append-only and the newest is in force.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from sql.errors import LimitsError


def tighten(session: Session, limits: dict[str, str], *, author: str, reason: str) -> int:
    """Put limits in force that loosen nothing; returns the version. Raises :class:`LimitsError` if one is loosened."""
    return int(
        _call(
            session,
            "set_limits(:author, :reason, CAST(:limits AS jsonb))",
            author=author, reason=reason, limits=json.dumps(limits),
        )
    )  # fmt: skip


def propose(session: Session, limits: dict[str, str], *, author: str, reason: str) -> uuid.UUID:
    """Ask for limits that a second person must confirm; returns the proposal's id."""
    return uuid.UUID(
        str(
            _call(
                session,
                "propose_limits(:author, :reason, CAST(:limits AS jsonb))",
                author=author, reason=reason, limits=json.dumps(limits),
            )
        )
    )  # fmt: skip


def confirm(session: Session, proposal: uuid.UUID, *, who: str, reason: str) -> int:
    """Put a proposal in force; ``who`` must not be its author. Returns the version."""
    return int(
        _call(session, "confirm_limits(:proposal, :who, :reason)", proposal=proposal, who=who, reason=reason)
    )


def _call(session: Session, function: str, **values: Any) -> Any:
    try:
        return session.execute(text(f"SELECT ledger.{function}"), values).scalar_one()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in ("LF002", "LF004"):
            raise LimitsError(str(error.orig).splitlines()[0]) from error
        raise
