"""GET /v2/account/portfolio/history: equity through time, from the samples the exchange takes each venue minute."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from market import calendar
from market.venue import sessions
from market.venue.account import Account
from market.venue.exchange import Exchange
from market.venue.messages import truth
from market.venue.refusals import invalid
from market.venue.timestamps import MINUTE, SECOND, new_york_date, parse_moment

_FRAMES = {"1Min": MINUTE, "5Min": 5 * MINUTE, "15Min": 15 * MINUTE, "1H": 60 * MINUTE, "1D": 0}
_PERIOD = re.compile(r"(\d{1,4})([DWMA])\Z")
_PERIOD_DAYS = {"D": 1, "W": 7, "M": 30, "A": 365}


@dataclass(frozen=True)
class _Asked:
    """A query, read: venue nanoseconds, and which frame and hours."""

    start: int
    end: int
    frame: str
    reporting: str
    per_day: bool
    cashflow: frozenset[str] | None
    "Activity types to report, None for every one."


def _read(exchange: Exchange, query: dict[str, str]) -> _Asked:
    start_text = query.get("start") or query.get("date_start")
    end_text, period = query.get("end") or query.get("date_end"), query.get("period")
    if start_text and end_text and period:
        raise invalid("only two of start, end and period are accepted")
    span = _span_days(period or "1M")
    try:
        start = parse_moment(start_text) if start_text else None
        end = parse_moment(end_text, end_of_day=True) if end_text else None
    except (ValueError, OverflowError):
        raise invalid("invalid date format") from None
    if start is not None and end is None and period:
        end = start + span * 86_400 * SECOND
    end = exchange.now if end is None else min(end, exchange.now)
    if start is None:
        last = new_york_date(end)
        first = last if period == "1D" else last - timedelta(days=min(span, 36_500))
        start = sessions.session_at_or_after(parse_moment(first.isoformat())).pre_open
        if start > end:  # at night and at the weekend a day's history is the last session's
            start = sessions.session_on(calendar.previous_session(last)).pre_open
    if start > end:
        raise invalid("start must not be after end")
    days = max(1, (end - start) // (86_400 * SECOND))
    frame = query.get("timeframe") or ("1Min" if days < 7 else "15Min" if days < 30 else "1D")
    if frame not in _FRAMES:
        raise invalid("invalid timeframe")
    if days > 31 and frame != "1D":
        raise invalid("timeframe must be 1D for periods longer than 30 days")
    reset = query.get("pnl_reset") or "per_day"
    if reset not in ("per_day", "no_reset"):
        raise invalid("pnl_reset must be one of per_day, no_reset")
    reporting = query.get("intraday_reporting")
    if not reporting:
        reporting = "extended_hours" if truth(query.get("extended_hours")) else "market_hours"
    if reporting not in ("market_hours", "extended_hours", "continuous"):
        raise invalid("intraday_reporting must be one of market_hours, extended_hours, continuous")
    types = query.get("cashflow_types") or "NONE"
    cashflow = None if types == "ALL" else frozenset() if types == "NONE" else frozenset(types.split(","))
    return _Asked(start, end, frame, reporting, reset == "per_day", cashflow)


def portfolio_history(exchange: Exchange, account: Account, query: dict[str, str]) -> dict[str, Any]:
    """Numbers, never null (alpaca-py refuses null). Refusal 422 for contradicting or unknown parameters."""
    asked = _read(exchange, query)
    points = _daily(exchange, account, asked) if asked.frame == "1D" else _intraday(exchange, account, asked)
    base, base_day = _close_before(exchange, account, new_york_date(points[0][0]))
    gains: list[float] = []
    shares: list[float] = []
    for t, value in points:
        from_value = base
        if asked.frame != "1D" and asked.per_day:
            from_value, _ = _close_before(exchange, account, new_york_date(t))
        gains.append(float(value - from_value))
        shares.append(float((value - from_value) / from_value) if from_value else 0.0)
    return {
        "timestamp": [t // SECOND for t, _ in points],
        "equity": [float(value) for _, value in points],
        "profit_loss": gains,
        "profit_loss_pct": shares,
        "base_value": float(base),
        "base_value_asof": base_day.isoformat() if base_day else None,
        "timeframe": asked.frame,
        "cashflow": _cashflow(account, asked, [t for t, _ in points]),
    }


def _span_days(period: str) -> int:
    match = _PERIOD.match(period)
    if not match or not int(match[1]):
        raise invalid("invalid period")
    return int(match[1]) * _PERIOD_DAYS[match[2]]


def _close_before(exchange: Exchange, account: Account, day: date) -> tuple[Decimal, date | None]:
    """(equity at the end of the last session before `day`, that session); what the account began with before that."""
    history = account.equity_history
    midnight = parse_moment(day.isoformat())
    at = bisect_left(history, midnight, key=lambda point: point[0]) - 1
    if at >= 0:
        return history[at][1], new_york_date(history[at][0])
    return history[0][1], exchange.tape.history.last_day_before(day)


def _daily(exchange: Exchange, account: Account, asked: _Asked) -> list[tuple[int, Decimal]]:
    """The last sample of each day; the equity now for the day the account was opened."""
    by_day: dict[date, tuple[int, Decimal]] = {}
    for t, value in account.equity_history:
        if asked.start <= t <= asked.end:
            by_day[new_york_date(t)] = (t, value)
    return list(by_day.values()) or [(asked.end, account.equity(exchange.mark))]


def _intraday(exchange: Exchange, account: Account, asked: _Asked) -> list[tuple[int, Decimal]]:
    history = account.equity_history
    width = _FRAMES[asked.frame]
    points: list[tuple[int, Decimal]] = []
    for left, right in _hours(exchange, account, asked):
        t = left
        while t <= min(right, asked.end):
            if t >= asked.start:
                at = bisect_right(history, t, key=lambda point: point[0]) - 1
                points.append((t, history[max(at, 0)][1]))
            t += width
    return points or [(asked.end, account.equity(exchange.mark))]


def _hours(exchange: Exchange, account: Account, asked: _Asked) -> list[tuple[int, int]]:
    """What is reported: sessions, sessions with extended hours, or the whole span since the account began."""
    if asked.reporting == "continuous":
        first = account.equity_history[0][0]
        left = max(asked.start, first - first % MINUTE)
        return [(left - left % _FRAMES[asked.frame], asked.end)]
    known = {new_york_date(t) for t, _ in account.equity_history if asked.start <= t <= asked.end}
    found: list[tuple[int, int]] = []
    for day in sorted(known | {exchange.session.day}):
        session = sessions.session_on(day)  # a sample can only fall on a session
        if asked.reporting == "market_hours":
            found.append((session.open, session.close))
        else:
            found.append((session.pre_open, session.post_close))
    return found


def _cashflow(account: Account, asked: _Asked, times: list[int]) -> dict[str, list[float]]:
    """Dollars booked in each window, by activity type; only types that were asked for and occurred."""
    if asked.cashflow is not None and not asked.cashflow:
        return {}
    flows: dict[str, list[float]] = {}
    for row in account.activities:
        kind = row["activity_type"]
        if kind == "FILL" or (asked.cashflow is not None and kind not in asked.cashflow):
            continue
        at = bisect_left(times, parse_moment(row["created_at"]))
        if at < len(times) and parse_moment(row["created_at"]) >= asked.start:
            flows.setdefault(kind, [0.0] * len(times))[at] += float(row["net_amount"])
    return flows
