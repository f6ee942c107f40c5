"""GET /v2/account/portfolio/history: equity through time, from the samples the exchange takes each venue minute."""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from market.venue import sessions
from market.venue.account import Account
from market.venue.exchange import Exchange
from market.venue.refusals import invalid
from market.venue.timestamps import MINUTE, SECOND, new_york_date, parse_moment

_FRAMES = {"1Min": MINUTE, "5Min": 5 * MINUTE, "15Min": 15 * MINUTE, "1H": 60 * MINUTE, "1D": 0}
_PERIOD = re.compile(r"(\d{1,4})([DWMA])\Z")
_PERIOD_DAYS = {"D": 1, "W": 7, "M": 30, "A": 365}


def portfolio_history(exchange: Exchange, account: Account, query: dict[str, str]) -> dict[str, Any]:
    """Numbers, never null (alpaca-py refuses null). Refusal 422 for contradicting or unknown parameters."""
    start_text, end_text, period = (
        query.get("start") or query.get("date_start"),
        query.get("end"),
        query.get("period"),
    )
    end_text = end_text or query.get("date_end")
    if start_text and end_text and period:
        raise invalid("only two of start, end and period are accepted")
    try:
        end = min(parse_moment(end_text, end_of_day=True) if end_text else exchange.now, exchange.now)
        start = parse_moment(start_text) if start_text else None
    except (ValueError, OverflowError):
        raise invalid("invalid date format") from None
    span_days = _span_days(period or "1M")
    if start is None:
        first = _first_day(new_york_date(end), span_days, period or "1M")
        start = sessions.session_at_or_after(parse_moment(first.isoformat())).pre_open
    span_days = max(1, (end - start) // (86_400 * SECOND))
    frame = query.get("timeframe") or ("1Min" if span_days < 7 else "15Min" if span_days < 30 else "1D")
    if frame not in _FRAMES:
        raise invalid("invalid timeframe")
    if span_days > 31 and frame != "1D":
        raise invalid("timeframe must be 1D for periods longer than 30 days")
    reset = query.get("pnl_reset") or "per_day"
    if reset not in ("per_day", "no_reset"):
        raise invalid("pnl_reset must be one of per_day, no_reset")
    reporting = query.get("intraday_reporting") or "market_hours"
    if reporting not in ("market_hours", "extended_hours", "continuous"):
        raise invalid("intraday_reporting must be one of market_hours, extended_hours, continuous")
    points = (
        _daily(exchange, account, start, end)
        if frame == "1D"
        else _intraday(exchange, account, start, end, _FRAMES[frame], extended=reporting != "market_hours")
    )
    base = account.last_equity
    base_day = exchange.tape.history.last_day_before(exchange.session.day)
    equity = [float(value) for _, value in points]
    gains = [float(value - base) for _, value in points]
    return {
        "timestamp": [t // SECOND for t, _ in points],
        "equity": equity,
        "profit_loss": gains,
        "profit_loss_pct": [gain / float(base) if base else 0.0 for gain in gains],
        "base_value": float(base),
        "base_value_asof": base_day.isoformat() if base_day else None,
        "timeframe": frame,
        "cashflow": {},
    }


def _span_days(period: str) -> int:
    match = _PERIOD.match(period)
    if not match or not int(match[1]):
        raise invalid("invalid period")
    return int(match[1]) * _PERIOD_DAYS[match[2]]


def _first_day(last: date, span_days: int, period: str) -> date:
    if period == "1D":
        return last
    return last - timedelta(days=min(span_days, 36_500))


def _daily(exchange: Exchange, account: Account, start: int, end: int) -> list[tuple[int, Decimal]]:
    """The last sample of each day; the equity at the start for the day the account was opened."""
    by_day: dict[date, tuple[int, Decimal]] = {}
    for t, value in account.equity_history:
        if start <= t <= end:
            by_day[new_york_date(t)] = (t, value)
    if not by_day:
        return [(end, account.equity(exchange.mark))]
    return list(by_day.values())


def _intraday(
    exchange: Exchange, account: Account, start: int, end: int, width: int, *, extended: bool
) -> list[tuple[int, Decimal]]:
    history = account.equity_history
    times = [t for t, _ in history]
    points: list[tuple[int, Decimal]] = []
    for day in sorted({new_york_date(t) for t in times if start <= t <= end} | {exchange.session.day}):
        try:
            session = sessions.session_on(day)
        except Exception:  # noqa: S112 - a sample can only fall on a session; anything else has no points
            continue
        left, right = (session.pre_open, session.post_close) if extended else (session.open, session.close)
        t = left
        while t <= min(right, end):
            at = bisect_right(times, t) - 1
            if t >= start:
                points.append((t, history[at][1] if at >= 0 else account.last_equity))
            t += width
    return points or [(end, account.equity(exchange.mark))]
