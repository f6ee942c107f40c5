"""The trading day in venue time: pre-market, regular session, after-hours, and what comes next."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date, time, timedelta

from market import calendar
from market.venue.timestamps import from_datetime, new_york, new_york_date

PRE_OPEN = time(4, 0)
POST_CLOSE = time(20, 0)


@dataclass(frozen=True)
class Session:
    """One XNYS session; all times are nanoseconds since the epoch."""

    day: date
    pre_open: int
    open: int
    close: int
    post_close: int

    @property
    def overnight_open(self) -> int:
        """20:00 of the evening before: the overnight session of this trade date lasts until the pre-market.

        A Monday's begins on Sunday; the evening before a holiday has none.
        """
        return new_york(self.day - timedelta(days=1), POST_CLOSE)

    def is_overnight(self, t: int) -> bool:
        """Whether the overnight session of this trade date is on at `t`."""
        return t < self.pre_open and t >= self.overnight_open

    def is_regular(self, t: int) -> bool:
        """Whether the regular session is on at `t` (the close itself is outside)."""
        return self.open <= t < self.close

    def is_extended(self, t: int) -> bool:
        """Pre-market or after-hours."""
        return self.pre_open <= t < self.open or self.close <= t < self.post_close


@functools.lru_cache(maxsize=512)
def session_on(day: date) -> Session:
    """The session of `day`; CalendarError when the exchange is shut all day."""
    return Session(
        day=day,
        pre_open=new_york(day, PRE_OPEN),
        open=from_datetime(calendar.session_open(day)),
        close=from_datetime(calendar.session_close(day)),
        post_close=new_york(day, POST_CLOSE),
    )


def session_at_or_after(t: int) -> Session:
    """The first session whose after-hours have not ended at `t`."""
    day = new_york_date(t)
    if calendar.is_session(day):
        session = session_on(day)
        if t < session.post_close:
            return session
    return session_on(calendar.next_session(day))


def is_open(t: int) -> bool:
    """Whether the regular session is on at `t`."""
    day = new_york_date(t)
    return calendar.is_session(day) and session_on(day).is_regular(t)


def next_open(t: int) -> int:
    """The next regular open strictly after `t`."""
    day = new_york_date(t)
    if calendar.is_session(day) and t < session_on(day).open:
        return session_on(day).open
    return session_on(calendar.next_session(day)).open


def next_close(t: int) -> int:
    """The next regular close strictly after `t`."""
    day = new_york_date(t)
    if calendar.is_session(day) and t < session_on(day).close:
        return session_on(day).close
    return session_on(calendar.next_session(day)).close


def settlement_date(day: date) -> date:
    """One session later since 2024-05-28 (T+1), two between 2017-09-05 and then, three before (SEC 15c6-1)."""
    if day >= date(2024, 5, 28):
        sessions = 1
    elif day >= date(2017, 9, 5):
        sessions = 2
    else:
        sessions = 3
    for _ in range(sessions):
        day = calendar.next_session(day)
    return day


def minute_start(t: int) -> int:
    """The start of the minute that `t` is in."""
    return t - t % 60_000_000_000
