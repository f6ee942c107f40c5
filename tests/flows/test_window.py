"""The as-of guard: last closed session, inside its window, or a refusal that says what to do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import WindowRefused
from flows.window import flow_clock, last_closed_session, require_window
from market.calendar import NEW_YORK, is_session, next_session, session_close, session_open


def at(text: str) -> datetime:
    """New York wall time as an aware moment."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


def test_an_evening_run_works_for_the_session_that_closed():
    window = require_window("ingest", None, clock=at("2026-11-20T18:15"))
    assert window.as_of == date(2026, 11, 20)
    assert window.session == date(2026, 11, 23)
    assert (window.opens, window.closes) == (at("2026-11-20T16:00"), at("2026-11-23T09:30"))


@pytest.mark.parametrize(
    "clock", ["2026-11-21T03:00", "2026-11-21T12:00", "2026-11-22T23:59", "2026-11-23T09:29"]
)
def test_a_weekend_run_works_for_friday(clock: str):
    assert require_window("ingest", None, clock=at(clock)).as_of == date(2026, 11, 20)


def test_a_holiday_evening_works_for_the_session_before():
    thanksgiving = require_window("ingest", None, clock=at("2026-11-26T18:15"))
    assert (thanksgiving.as_of, thanksgiving.session) == (date(2026, 11, 25), date(2026, 11, 27))


def test_an_early_close_opens_the_window_at_one_o_clock():
    black_friday = date(2026, 11, 27)
    assert last_closed_session(at("2026-11-27T12:59")) == date(2026, 11, 25)
    assert require_window("ingest", None, clock=at("2026-11-27T13:00")).as_of == black_friday
    with pytest.raises(WindowRefused, match=r"too early, that session closes at 2026-11-27 13:00 EST"):
        require_window("ingest", black_friday, clock=at("2026-11-27T12:59"))


@pytest.mark.parametrize(
    ("friday", "close_utc", "open_utc"),
    [
        # Clocks go forward on Sunday 2026-03-08 and back on Sunday 2026-11-01.
        (date(2026, 3, 6), datetime(2026, 3, 6, 21, tzinfo=UTC), datetime(2026, 3, 9, 13, 30, tzinfo=UTC)),
        (
            date(2026, 10, 30),
            datetime(2026, 10, 30, 20, tzinfo=UTC),
            datetime(2026, 11, 2, 14, 30, tzinfo=UTC),
        ),
    ],
)
def test_the_window_keeps_new_york_time_over_a_clock_change(
    friday: date, close_utc: datetime, open_utc: datetime
):
    window = require_window("ingest", friday, clock=close_utc)
    assert (window.opens, window.closes) == (close_utc, open_utc)
    assert require_window("ingest", None, clock=open_utc - timedelta(seconds=1)).as_of == friday
    with pytest.raises(WindowRefused):
        require_window("ingest", None, clock=open_utc)


def test_a_late_run_is_refused_and_told_what_to_do():
    with pytest.raises(WindowRefused) as refusal:
        require_window("propose", date(2026, 11, 18), clock=at("2026-11-20T18:15"))
    said = str(refusal.value)
    assert "propose refuses as-of 2026-11-18: too late" in said
    assert "2026-11-18 16:00 EST to 2026-11-19 09:30 EST" in said
    assert "may work for 2026-11-20 only" in said
    assert (
        "SALLYPORT_ENVIRONMENT=replay sallyport flows run propose --as-of 2026-11-18 --replay 2026-11-18T18:15"
        in said
    )
    assert "\n" not in said


def test_a_run_during_the_session_is_refused_until_the_close():
    with pytest.raises(
        WindowRefused, match=r"work again after the close of 2026-11-23 \(2026-11-23 16:00 EST\)"
    ):
        require_window("nightly", None, clock=at("2026-11-23T11:00"))


def test_an_as_of_that_has_not_closed_is_refused_as_too_early():
    with pytest.raises(WindowRefused, match=r"too early, .*The last closed session is 2026-11-20"):
        require_window("ingest", date(2026, 11, 23), clock=at("2026-11-22T17:00"))


def test_a_day_without_session_is_refused_with_the_nearest():
    with pytest.raises(WindowRefused, match=r"Sunday 2026-11-22 is not a session.*--as-of 2026-11-20"):
        require_window("ingest", date(2026, 11, 22), clock=at("2026-11-22T17:00"))


def test_a_run_that_was_scheduled_for_an_earlier_session_does_not_do_another_ones_work():
    """lessons.md item 40: after an outage a scheduler starts everything it missed, in bulk."""
    clock = at("2026-11-20T18:20")
    on_time = require_window("nightly", None, clock=clock, scheduled=at("2026-11-20T18:15"))
    assert on_time.as_of == date(2026, 11, 20)
    for missed in ("2026-10-26T18:15", "2026-11-18T18:15", "2026-11-19T18:15"):
        with pytest.raises(WindowRefused, match=f"as-of {missed[:10]}: too late"):
            require_window("nightly", None, clock=clock, scheduled=at(missed))


def test_records_may_be_made_until_the_next_close():
    during_the_next_session = at("2026-11-23T11:00")
    with pytest.raises(WindowRefused):
        require_window("propose", date(2026, 11, 20), clock=during_the_next_session)
    window = require_window(
        "compliance", date(2026, 11, 20), clock=during_the_next_session, until="next close"
    )
    assert window.closes == at("2026-11-23T16:00")


def test_only_a_replay_environment_takes_a_clock_of_its_own():
    past = at("2022-12-27T18:15")
    assert flow_clock(past, "replay") == past
    for environment in ("paper", "live"):
        with pytest.raises(WindowRefused, match="only for replay environments"):
            flow_clock(past, environment)
    with pytest.raises(WindowRefused, match="no clock was given"):
        flow_clock(None, "replay")
    with pytest.raises(WindowRefused, match="no time zone"):
        flow_clock(datetime(2022, 12, 27, 18, 15), "replay")  # noqa: DTZ001


moments = st.datetimes(datetime(1995, 1, 2), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments)
@settings(deadline=None)
def test_whoever_is_let_in_knows_a_closed_session_and_prepares_one_that_has_not_opened(clock: datetime):
    try:
        window = require_window("ingest", None, clock=clock)
    except WindowRefused:
        newest = last_closed_session(clock)
        assert session_open(next_session(newest)) <= clock < session_close(next_session(newest))
        return
    assert is_session(window.as_of)
    assert session_close(window.as_of) <= clock < session_open(window.session)
    assert window.session == next_session(window.as_of)


@given(moments, st.dates(date(1995, 1, 2), date(2026, 12, 31)))
@settings(deadline=None)
def test_no_other_as_of_than_the_last_closed_session_is_ever_let_in(clock: datetime, asked: date):
    if asked == last_closed_session(clock):
        return
    with pytest.raises(WindowRefused):
        require_window("ingest", asked, clock=clock)
