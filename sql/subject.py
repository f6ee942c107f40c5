"""What a person means by an id: an order, a fill, a signal, or an order that was refused.

Every look-up goes through an index, so it takes the same time in a ledger of millions.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

PREFIX_CHARS_MIN = 4
CANDIDATES_MAX = 6
_SAYS = ("side", "qty", "symbol", "session", "strategy", "state")


@dataclass(frozen=True)
class Subject:
    """One thing to explain.

    ``kind`` is ``order``, ``fill``, ``signal`` or ``refusal``; ``id`` is the client order id, the
    execution id or the signal's uuid. ``says`` is what a person tells it from its neighbours by.
    """

    kind: str
    id: str
    says: str = ""
    signal: str | None = None


_BY_ID = (
    ("order", "SELECT o.*, client_order_id AS id FROM ledger.orders o WHERE client_order_id = :id"),
    ("order", "SELECT o.*, client_order_id AS id FROM ledger.orders o WHERE broker_order_id = :id"),
    ("fill", "SELECT f.*, execution_id AS id FROM ledger.fill f WHERE execution_id = :id"),
    ("fill", "SELECT f.*, execution_id AS id FROM ledger.fill f WHERE broker_execution_id = :id"),
    (
        "refusal",
        "SELECT d.*, client_order_id AS id FROM ledger.decision d WHERE client_order_id = :id AND verdict = 'refused' LIMIT 1",
    ),
)
_BY_PREFIX = (
    (
        "order",
        "SELECT o.*, client_order_id AS id FROM ledger.orders o WHERE client_order_id LIKE :like LIMIT :n",
    ),
    (
        "order",
        "SELECT o.*, client_order_id AS id FROM ledger.orders o WHERE broker_order_id LIKE :like LIMIT :n",
    ),
    ("fill", "SELECT f.*, execution_id AS id FROM ledger.fill f WHERE execution_id LIKE :like LIMIT :n"),
)
_SIGNALS = (
    "SELECT g.id, g.id AS signal_id, g.symbol, b.session, b.strategy "
    "FROM ledger.signal g JOIN ledger.signal_batch b ON b.id = g.batch_id WHERE "
)


def find(session: Session, asked: str) -> list[Subject]:
    """What an id, or the beginning of one, can mean; empty if nothing, several if it is not unique."""
    for kind, query in _BY_ID:
        if found := _subjects(session, kind, query, id=asked):
            return found
    whole = _whole_uuid(asked)
    if whole is not None:
        return _subjects(session, "signal", _SIGNALS + "g.id = :id", id=whole)
    if len(asked) < PREFIX_CHARS_MIN:
        return []
    like = asked.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    for kind, query in _BY_PREFIX:
        if found := _subjects(session, kind, query, like=like, n=CANDIDATES_MAX):
            return _one_signal(found)
    span = _uuid_span(asked)
    if span is None:
        return []
    query = _SIGNALS + "g.id BETWEEN :low AND :high LIMIT :n"
    return _subjects(session, "signal", query, low=span[0], high=span[1], n=CANDIDATES_MAX)


def find_by_day(session: Session, symbol: str, day: dt.date) -> list[Subject]:
    """Signals of a symbol for a session, or, where there are none, its orders of that (UTC) day."""
    query = _SIGNALS + "b.session = :day AND g.symbol = :symbol LIMIT :n"
    found = _subjects(session, "signal", query, day=day, symbol=symbol, n=CANDIDATES_MAX)
    return found or _subjects(
        session,
        "order",
        "SELECT o.*, client_order_id AS id FROM ledger.orders o WHERE symbol = :symbol "
        "AND market_time >= CAST(:day AS date) AND market_time < CAST(:day AS date) + 1 ORDER BY market_time LIMIT :n",
        symbol=symbol,
        day=day,
        n=CANDIDATES_MAX,
    )


def _subjects(session: Session, kind: str, query: str, **values: object) -> list[Subject]:
    found = []
    for row in session.execute(text(query), values).mappings():
        signal = row.get("signal_id")
        shown = [
            f"{row[k]:f}".rstrip("0").rstrip(".") if k == "qty" else str(row[k])
            for k in _SAYS
            if row.get(k) is not None
        ]
        found.append(Subject(kind, str(row["id"]), " ".join(shown), str(signal) if signal else None))
    return found


def _one_signal(found: Sequence[Subject]) -> list[Subject]:
    """Several orders of one signal are that signal's story."""
    signals = {s.signal for s in found}
    if len(found) > 1 and len(signals) == 1 and (signal := signals.pop()) is not None:
        return [Subject("signal", signal, signal=signal)]
    return list(found)


def _whole_uuid(asked: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(asked)
    except ValueError:
        return None


def _uuid_span(asked: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """First and last uuid that begin so."""
    digits = asked.replace("-", "").lower()
    if not digits or len(digits) > 32 or any(c not in "0123456789abcdef" for c in digits):
        return None
    return uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
