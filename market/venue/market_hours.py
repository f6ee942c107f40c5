"""Clock and calendar endpoints: /v2/clock, /v2/calendar, and /v3/clock and /v3/calendar with their markets and phases.

Shapes: Alpaca's Trading API description 2.0.1 (legacy_clock, legacy_calendar_day, clock, calendar_day). The venue knows
the New York markets; the other markets of the enumeration are refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from market import calendar
from market.errors import CalendarError
from market.venue import sessions
from market.venue.refusals import Refusal, invalid
from market.venue.timestamps import new_york_date, parse_moment, rfc3339, rfc3339_new_york, to_datetime

_EARLIEST, _LATEST = date(1970, 1, 1), date(2029, 12, 31)
_DAYS_AHEAD = 370
"""How far the calendar is served past the venue's day: the exchange publishes about a year."""


@dataclass(frozen=True)
class Market:
    """One market of /v3. `overnight` trades while the others are shut; a market without a MIC has none in ISO 10383."""

    acronym: str
    mic: str
    name: str
    extended: bool = True
    overnight: bool = False

    def view(self) -> dict[str, str]:
        """The `market` object."""
        return {"acronym": self.acronym, "mic": self.mic, "name": self.name, "timezone": "America/New_York"}


NYSE = Market("NYSE", "XNYS", "New York Stock Exchange")
_MARKETS = (
    NYSE,
    Market("NASDAQ", "XNAS", "NASDAQ"),
    Market("IEX", "IEXG", "Investors Exchange"),
    Market("OTC", "OTCM", "OTC Markets"),
    Market("BOATS", "OCEA", "Blue Ocean Alternative Trading System", extended=False, overnight=True),
    Market("OPRA", "OPRA", "Options Price Reporting Authority", extended=False),
)
_BY_NAME = {name: market for market in _MARKETS for name in (market.acronym, market.mic)}


def _market(name: str) -> Market:
    market = _BY_NAME.get(name.strip().upper())
    if market is None:
        raise Refusal(400, 40010000, f"invalid market: {name[:40]}")
    return market


def clock(now: int) -> dict[str, Any]:
    """GET /v2/clock: New York time with its offset."""
    return {
        "timestamp": rfc3339_new_york(now),
        "is_open": sessions.is_open(now),
        "next_open": rfc3339_new_york(sessions.next_open(now)),
        "next_close": rfc3339_new_york(sessions.next_close(now)),
    }


def clocks(now: int, query: dict[str, str]) -> dict[str, Any]:
    """GET /v3/clock: a row a market, at `time` when it is given; every market known here without `markets`."""
    if query.get("time"):
        try:
            now = parse_moment(query["time"])
            sessions.next_close(now)
        except (ValueError, OverflowError, CalendarError):
            raise Refusal(400, 40010000, f"invalid time: {query['time'][:40]}") from None
    names = [name for name in (query.get("markets") or "").split(",") if name.strip()]
    chosen = list(dict.fromkeys(map(_market, names))) or list(_MARKETS)
    return {"clocks": [_clock_row(market, now) for market in chosen]}


def _clock_row(market: Market, now: int) -> dict[str, Any]:
    windows = _windows(market, new_york_date(now))
    phase = next((name for name, start, end in windows if start <= now < end), "closed")
    until = (
        next(end for name, _, end in windows if name == phase and end > now)
        if phase != "closed"
        else min(start for _, start, _ in windows if start > now)
    )
    return {
        "market": market.view(),
        "timestamp": rfc3339_new_york(now),
        "is_market_day": calendar.is_session(new_york_date(now)),
        "next_market_open": rfc3339_new_york(min(s for name, s, _ in windows if name == "core" and s > now)),
        "next_market_close": rfc3339_new_york(min(e for name, _, e in windows if name == "core" and e > now)),
        "phase": phase,
        "phase_until": rfc3339_new_york(until),
    }


def _windows(market: Market, day: date) -> list[tuple[str, int, int]]:
    """(phase, start, end) of the sessions about `day`: enough to see where it stands and what comes next."""
    found: list[tuple[str, int, int]] = []
    first = day if calendar.is_session(day) else calendar.next_session(day)
    second = calendar.next_session(first)
    for at in (first, second, calendar.next_session(second)):
        session = sessions.session_on(at)
        if market.overnight:
            found.append(("core", session.overnight_open, session.pre_open))
            continue
        found.append(("core", session.open, session.close))
        if market.extended:
            found += [
                ("pre", session.pre_open, session.open),
                ("post", session.close, session.post_close),
            ]
    return found


def legacy_calendar(today: date, query: dict[str, str]) -> list[dict[str, str]]:
    """GET /v2/calendar: trading days of start..end by trade date, or by settlement date when `date_type` says so."""
    by = query.get("date_type") or "TRADING"
    if by not in ("TRADING", "SETTLEMENT"):
        raise invalid("date_type must be one of TRADING, SETTLEMENT")
    start, end = _day(query, "start", _EARLIEST), _day(query, "end", _LATEST)
    if by == "TRADING":
        return [_legacy_day(day) for day in _sessions(start, end, today)]
    # Three sessions and a long weekend reach back ten days at most.
    rows = [_legacy_day(day) for day in _sessions(start - timedelta(days=10), end, today)]
    return [row for row in rows if start.isoformat() <= row["settlement_date"] <= end.isoformat()]


def _day(query: dict[str, str], name: str, default: date) -> date:
    text = query.get(name)
    if not text:
        return default
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        return new_york_date(parse_moment(text))
    except (ValueError, OverflowError):
        raise invalid("invalid date format") from None


def _sessions(start: date, end: date, today: date) -> list[date]:
    first = max(start, _EARLIEST)
    try:
        return calendar.sessions(first, min(end, today + timedelta(days=_DAYS_AHEAD)))
    except CalendarError:
        return calendar.sessions(first, min(end, calendar.next_session(today)))


def _settles(day: date) -> str:
    try:
        return sessions.settlement_date(day).isoformat()
    except CalendarError:
        return (day + timedelta(days=1)).isoformat()


def _legacy_day(day: date) -> dict[str, str]:
    session = sessions.session_on(day)
    opens = to_datetime(session.open).astimezone(calendar.NEW_YORK)
    closes = to_datetime(session.close).astimezone(calendar.NEW_YORK)
    return {
        "date": day.isoformat(),
        "open": opens.strftime("%H:%M"),
        "close": closes.strftime("%H:%M"),
        "session_open": "0400",
        "session_close": "2000",
        "settlement_date": _settles(day),
    }


def market_calendar(name: str, now: int, today: date, query: dict[str, str]) -> dict[str, Any]:
    """GET /v3/calendar/{market}: from `start` (today) to `end` (a week later), in the market's time or in UTC."""
    market = _market(name)
    if query.get("timezone") not in (None, "", "UTC"):
        raise Refusal(400, 40010000, "invalid timezone: only UTC is supported")
    written = rfc3339 if query.get("timezone") == "UTC" else rfc3339_new_york
    start = _day(query, "start", new_york_date(now))
    end = _day(query, "end", start + timedelta(days=7))
    rows: list[dict[str, str]] = []
    for day in _sessions(start, end, today):
        session = sessions.session_on(day)
        core = (
            (session.overnight_open, session.pre_open) if market.overnight else (session.open, session.close)
        )
        row = {"date": day.isoformat(), "core_start": written(core[0]), "core_end": written(core[1])}
        if market.extended:
            row |= {
                "pre_start": written(session.pre_open),
                "pre_end": written(session.open),
                "post_start": written(session.close),
                "post_end": written(session.post_close),
            }
        rows.append({**row, "settlement_date": _settles(day)})
    return {"market": market.view(), "calendar": rows}
