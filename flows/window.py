"""The as-of guard: a flow works for the last closed session, inside its window, or not at all.

A scheduler may start a flow late (after an outage even in bulk: lessons.md item 40), early or twice. So
no flow trusts the moment it is started: it asks its *clock* which session closed last and refuses any
other as-of date, and it refuses once its window has ended (for the flows that prepare a session: at the
next open, because signals that arrive during the session would trade on a plan nobody had time to see).

The clock is the machine's. Only a ledger of the ``replay`` environment may give another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from flows.errors import WindowRefused
from market.calendar import (
    NEW_YORK,
    is_session,
    next_session,
    previous_session,
    session_close,
    session_open,
)

WindowEnd = Literal["next open", "next close"]


@dataclass(frozen=True)
class Window:
    """When a flow may work for one as-of session: ``opens <= clock < closes`` (aware UTC)."""

    as_of: date
    """Last session whose prices may be used."""
    session: date
    """The session after it: the one that is being prepared."""
    opens: datetime
    closes: datetime
    clock: datetime
    """The flow's clock when it was let in."""

    def __str__(self) -> str:
        return f"{new_york(self.opens)} to {new_york(self.closes)}"


def new_york(moment: datetime) -> str:
    """A moment as people at the exchange say it: ``2026-11-20 16:00 EST``."""
    return f"{moment.astimezone(NEW_YORK):%Y-%m-%d %H:%M %Z}"


def last_closed_session(clock: datetime) -> date:
    """The newest session whose close is at or before `clock` (aware)."""
    _require_aware(clock)
    today = clock.astimezone(NEW_YORK).date()
    if is_session(today) and session_close(today) <= clock:
        return today
    return previous_session(today)


def window_of(as_of: date, clock: datetime, until: WindowEnd = "next open") -> Window:
    """The window of session `as_of`: from its close until the next session's open (or close)."""
    following = next_session(as_of)
    end = session_open(following) if until == "next open" else session_close(following)
    return Window(as_of, following, session_close(as_of), end, clock)


def flow_clock(clock: datetime | None, environment: str) -> datetime:
    """The time a flow goes by: the machine's, or on a replay environment the one it is given.

    Raises :class:`WindowRefused` for an explicit clock on a paper or live environment, for a missing one
    on a replay environment (whose prices belong to another time) and for a time without a zone.
    """
    if clock is None:
        if environment == "replay":
            raise WindowRefused(
                "this is a replay environment and no clock was given; "
                "say which moment is replayed, e.g. --replay 2022-12-27T18:15"
            )
        return datetime.now(UTC)
    if environment != "replay":
        raise WindowRefused(
            f"a clock of its own ({clock:%Y-%m-%d %H:%M}) is only for replay environments and this one is "
            f"{environment!r}; run without --replay, or set SALLYPORT_ENVIRONMENT=replay with its own state_dir"
        )
    _require_aware(clock)
    return clock.astimezone(UTC)


def require_window(
    flow: str,
    as_of: date | None,
    *,
    clock: datetime,
    scheduled: datetime | None = None,
    until: WindowEnd = "next open",
) -> Window:
    """Let `flow` in for `as_of`, or refuse it with :class:`WindowRefused`.

    Parameters
    ----------
    flow : str
        Name for the message.
    as_of : date | None
        The session asked for. None: the one that had closed when the run was `scheduled` to start, or
        without that the last closed one.
    clock : datetime
        The flow's clock (see :func:`flow_clock`).
    scheduled : datetime | None
        When the scheduler meant the run to start; a run so late that another session has closed since
        is refused instead of quietly doing another session's work.
    until : "next open" | "next close"
        Where the window ends.
    """
    newest = last_closed_session(clock)
    asked = as_of
    if asked is None:
        asked = last_closed_session(scheduled) if scheduled is not None and scheduled < clock else newest
    here = f"{flow} refuses as-of {asked}"
    now = f"its clock says {new_york(clock)}"
    if not is_session(asked):
        raise WindowRefused(
            f"{here}: {asked:%A} {asked} is not a session of the exchange; "
            f"the last closed session is {newest}: use --as-of {newest} or leave it out"
        )
    window = window_of(asked, clock, until)
    if clock < window.opens:
        raise WindowRefused(
            f"{here}: too early, that session closes at {new_york(window.opens)} and {now}; its window is "
            f"{window}. The last closed session is {newest}; run again after the close"
        )
    if clock >= window.closes:
        moment = (window.opens + timedelta(hours=2, minutes=15)).astimezone(NEW_YORK)
        raise WindowRefused(
            f"{here}: too late, its window was {window} and {now}. "
            f"{_next_chance(newest, clock, until)}; to fill in the past, use a replay environment: "
            f"SALLYPORT_ENVIRONMENT=replay sallyport flows run {flow} --as-of {asked} "
            f"--replay {moment:%Y-%m-%dT%H:%M}"
        )
    return window


def _next_chance(newest: date, clock: datetime, until: WindowEnd) -> str:
    window = window_of(newest, clock, until)
    if clock < window.closes:
        return f"Now it may work for {newest} only (until {new_york(window.closes)})"
    again = new_york(session_close(window.session))
    return f"It may work again after the close of {window.session} ({again})"


def _require_aware(clock: datetime) -> None:
    if clock.tzinfo is None:
        shown = clock.isoformat()
        raise WindowRefused(f"the clock {shown} has no time zone; give one, e.g. {shown}-05:00")
