"""The New York Stock Exchange's sessions (XNYS), from exchange_calendars.

The calendar is built once, on first use (about half a second), into plain tuples: every later question is a
dictionary look-up or a bisection, and no pandas type leaves this file. It reaches from 1962 to about a year
after today; a question outside that is refused and never answered by clipping.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from market.errors import CalendarError

NEW_YORK = ZoneInfo("America/New_York")
"""The exchange's time zone; schedules are written in it, stored times are UTC."""

_FIRST_YEAR = "1962-01-01"


@dataclass(frozen=True)
class _Calendar:
    days: tuple[date, ...]
    position: dict[date, int]
    opens: tuple[datetime, ...]
    closes: tuple[datetime, ...]


@functools.cache
def _calendar() -> _Calendar:
    import exchange_calendars  # type: ignore[import-untyped]  # pulls in pandas: pay for it only when a date is really asked about

    schedule = exchange_calendars.get_calendar("XNYS", start=_FIRST_YEAR).schedule
    days = tuple(stamp.date() for stamp in schedule.index)
    opens = tuple(stamp.to_pydatetime().astimezone(UTC) for stamp in schedule["open"])
    closes = tuple(stamp.to_pydatetime().astimezone(UTC) for stamp in schedule["close"])
    return _Calendar(days, {day: i for i, day in enumerate(days)}, opens, closes)


def _require_covered(day: date) -> _Calendar:
    calendar = _calendar()
    if not calendar.days[0] <= day <= calendar.days[-1]:
        raise CalendarError(
            f"{day} is outside the exchange calendar ({calendar.days[0]} to {calendar.days[-1]}); "
            "use a date inside it (a newer exchange-calendars release reaches further)"
        )
    return calendar


def _require_session(day: date) -> tuple[_Calendar, int]:
    calendar = _require_covered(day)
    found = calendar.position.get(day)
    if found is None:
        after = bisect_right(calendar.days, day)
        raise CalendarError(
            f"{day} ({day:%A}) is not a session of the New York Stock Exchange; "
            f"the nearest sessions are {calendar.days[after - 1]} and {calendar.days[min(after, len(calendar.days) - 1)]}"
        )
    return calendar, found


def sessions(start: date, end: date) -> list[date]:
    """Every session from `start` to `end`, both included, in order; empty when there is none between them."""
    if end < start:
        return []
    calendar = _require_covered(start)
    _require_covered(end)
    return list(calendar.days[bisect_left(calendar.days, start) : bisect_right(calendar.days, end)])


def is_session(day: date) -> bool:
    """Whether the exchange opens on `day` (early closes count as open)."""
    return day in _require_covered(day).position


def next_session(day: date) -> date:
    """The first session strictly after `day`, which need not be a session itself."""
    calendar = _require_covered(day)
    after = bisect_right(calendar.days, day)
    if after == len(calendar.days):
        raise CalendarError(f"the exchange calendar ends on {day}; no session after it is known yet")
    return calendar.days[after]


def previous_session(day: date) -> date:
    """The last session strictly before `day`, which need not be a session itself."""
    calendar = _require_covered(day)
    before = bisect_left(calendar.days, day) - 1
    if before < 0:
        raise CalendarError(f"the exchange calendar begins on {day}; no session before it is known")
    return calendar.days[before]


def session_offset(day: date, n: int) -> date:
    """The session `n` sessions after session `day` (before it when `n` is negative; itself when 0)."""
    calendar, found = _require_session(day)
    if not 0 <= found + n < len(calendar.days):
        raise CalendarError(
            f"{n} sessions from {day} is outside the exchange calendar "
            f"({calendar.days[0]} to {calendar.days[-1]}); use a smaller offset"
        )
    return calendar.days[found + n]


def session_open(day: date) -> datetime:
    """When regular trading opens on session `day`, aware UTC."""
    calendar, found = _require_session(day)
    return calendar.opens[found]


def session_close(day: date) -> datetime:
    """When regular trading closes on session `day`, aware UTC; early closes (13:00 New York) are honoured."""
    calendar, found = _require_session(day)
    return calendar.closes[found]
