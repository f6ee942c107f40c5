"""Reading for a story: plain rows of one transaction, and what was looked for and is not recorded."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text
from sqlmodel import Session

Row = dict[str, Any]


class Reader:
    """Reads rows of one transaction, and remembers what was looked for and not found."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.missing: list[str] = []

    def rows(self, query: str, **values: Any) -> list[Row]:
        """Every row of a query."""
        return [dict(row) for row in self.session.execute(text(query), values).mappings()]

    def row(self, query: str, **values: Any) -> Row | None:
        """The one row of a query, or None."""
        found = self.rows(query, **values)
        return found[0] if found else None

    def lacks(self, what: str) -> None:
        """Note that something is not recorded."""
        if what not in self.missing:
            self.missing.append(what)
