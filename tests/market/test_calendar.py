"""Dates checked against the exchange's published holiday and early-close schedules."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.calendar import (
    is_session,
    next_session,
    previous_session,
    session_close,
    session_offset,
    session_open,
    sessions,
)
from market.errors import CalendarError

days = st.dates(date(1970, 1, 1), date(2026, 6, 30))


def test_a_year_has_the_published_number_of_sessions() -> None:
    assert len(sessions(date(2024, 1, 1), date(2024, 12, 31))) == 252
    # 2025-01-09, the day of mourning for President Carter, was no session.
    assert len(sessions(date(2025, 1, 1), date(2025, 12, 31))) == 250
    assert not is_session(date(2025, 1, 9))


def test_the_closure_of_september_2001_is_known() -> None:
    assert next_session(date(2001, 9, 10)) == date(2001, 9, 17)


def test_an_early_close_is_at_one_in_new_york() -> None:
    assert session_close(date(2024, 7, 3)) == datetime(2024, 7, 3, 17, 0, tzinfo=UTC)
    assert session_close(date(2024, 7, 5)) == datetime(2024, 7, 5, 20, 0, tzinfo=UTC)


def test_opening_follows_new_york_through_daylight_saving() -> None:
    assert session_open(date(2024, 3, 8)) == datetime(2024, 3, 8, 14, 30, tzinfo=UTC)
    assert session_open(date(2024, 3, 11)) == datetime(2024, 3, 11, 13, 30, tzinfo=UTC)


def test_a_weekend_names_the_sessions_around_it() -> None:
    with pytest.raises(CalendarError, match=r"2024-07-06 \(Saturday\).*2024-07-05 and 2024-07-08"):
        session_open(date(2024, 7, 6))


def test_a_date_beyond_the_calendar_is_refused_and_not_clipped() -> None:
    with pytest.raises(CalendarError, match="outside the exchange calendar"):
        sessions(date(2020, 1, 1), date(2199, 1, 1))
    with pytest.raises(CalendarError, match="outside the exchange calendar"):
        is_session(date(1900, 1, 2))
    with pytest.raises(CalendarError, match="use a smaller offset"):
        session_offset(date(2024, 7, 3), 100_000)


def test_a_backward_range_is_empty() -> None:
    assert sessions(date(2024, 7, 5), date(2024, 7, 3)) == []


@given(days)
def test_next_and_previous_are_the_nearest_sessions_strictly_around_a_day(day: date) -> None:
    after, before = next_session(day), previous_session(day)
    assert before < day < after
    between = sessions(before, after)
    assert between == [before, *([day] if is_session(day) else []), after]


@given(days, st.integers(-500, 100))
def test_offsets_count_sessions_and_undo_themselves(day: date, n: int) -> None:
    start = next_session(day)
    there = session_offset(start, n)
    assert len(sessions(min(start, there), max(start, there))) == abs(n) + 1
    assert session_offset(there, -n) == start


@given(days)
def test_a_session_opens_before_it_closes_on_its_own_day(day: date) -> None:
    session = next_session(day)
    opened, closed = session_open(session), session_close(session)
    assert opened.date() == session
    assert timedelta(hours=3) <= closed - opened <= timedelta(hours=6, minutes=30)
