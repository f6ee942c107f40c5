"""Bars, quotes and prints of any day up to the venue clock: what both data dialects answer from.

The clock is the limit: today's daily bar is the part that has happened, and a split or dividend counts in an
adjustment only from its own day on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta

import numpy as np

from market import calendar
from market.errors import CalendarError
from market.venue.daily import DailyBar
from market.venue.exchange import Exchange
from market.venue.feeds import SIP, Feed
from market.venue.tape import CLOSING, OPENING, Bar, Print, Quote, SymbolTape
from market.venue.timestamps import MINUTE, new_york, new_york_date

DAY_NS = 24 * 60 * MINUTE
_EVENING = 4 * 60 * MINUTE
SESSIONS_A_PAGE = 100
"""Sessions one answer may open: every one has to be modelled, and the exchange stands still meanwhile."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A bar width: `intraday` nanoseconds, or whole `days`, `weeks` or `months`."""

    unit: str
    count: int

    @property
    def intraday_ns(self) -> int:
        """Width in nanoseconds, 0 for a day and longer."""
        return {"second": 1_000_000_000, "minute": MINUTE, "hour": 60 * MINUTE}.get(self.unit, 0) * self.count


class PriceHistory:
    """Everything already known at the venue clock, as one feed shows it (the consolidated tape unless told)."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.looked_at = 0
        "Sessions opened since a reader set it to 0: a page ends when it has cost enough of them."
        self._actions_day: date | None = None
        self._known_actions: dict[str, list[tuple[date, float, float]]] = {}

    def _now(self, feed: Feed) -> int:
        return self.exchange.now - feed.delay

    # --- newest ------------------------------------------------------------------------------------------

    def latest_quote(self, symbol: str, feed: Feed = SIP) -> Quote | None:
        """The quote shown now, or the last of an earlier session."""
        for tape, until in self._newest(symbol, feed):
            at = tape.quotes_until(until) - 1
            if at >= 0 and tape.quote_time(at) >= feed.hours(tape.session)[0]:
                return tape.quote(at)
        return None

    def latest_trade(self, symbol: str, feed: Feed = SIP) -> Print | None:
        """The last print."""
        for tape, until in self._newest(symbol, feed):
            at = tape.trades_until(until - feed.prints_late) - 1
            if at >= 0 and tape.trade_time(at) >= feed.hours(tape.session)[0]:
                return tape.trade(at)
        return None

    def _newest(self, symbol: str, feed: Feed) -> Iterator[tuple[SymbolTape, int]]:
        """The session now and the one before it, each with the instant up to which the feed shows it."""
        if symbol not in self.exchange.tape or not feed.listed:
            return
        now = self._now(feed)
        for tape in (self.exchange.tape.on(symbol, self.exchange.session.day), self._previous_tape(symbol)):
            if tape is not None:
                yield tape, min(now, feed.hours(tape.session)[1] - 1)

    def _previous_tape(self, symbol: str) -> SymbolTape | None:
        bar = self.exchange.tape.previous(symbol, self.exchange.session.day)
        return self.exchange.tape.past(symbol, bar.day) if bar else None

    def minute_bar(self, symbol: str, feed: Feed = SIP) -> Bar | None:
        """The newest minute that has ended and had prints."""
        for tape, until in self._newest(symbol, feed):
            end = until + 1 - feed.prints_late
            bars = tape.bars(feed.hours(tape.session)[0], end - end % MINUTE, MINUTE)
            if bars:
                return bars[-1]
        return None

    def today(self, symbol: str, feed: Feed = SIP) -> Bar | None:
        """The daily bar so far, None before the first print."""
        tape = self.exchange.tape.on(symbol, self.exchange.session.day) if feed.listed else None
        return None if tape is None else self._day_bar(tape, feed)

    def _day_bar(self, tape: SymbolTape, feed: Feed) -> Bar | None:
        start, end = feed.hours(tape.session)
        bars = tape.bars(start, min(end, self._now(feed) - feed.prints_late + 1), DAY_NS)
        if not bars:
            return None
        return dataclasses.replace(bars[0], t=_midnight(tape.session.day))

    def previous_day(self, symbol: str, feed: Feed = SIP) -> Bar | None:
        """The daily bar before this session's."""
        bar = self.exchange.tape.previous(symbol, self.exchange.session.day)
        if bar is None or not feed.listed:
            return None
        if not feed.overnight:
            return _daily_bar(bar)
        tape = self.exchange.tape.past(symbol, bar.day)
        return None if tape is None else self._day_bar(tape, feed)

    def daily_or_previous(self, symbol: str, feed: Feed = SIP) -> tuple[Bar | None, Bar | None]:
        """(dailyBar, prevDailyBar) as a snapshot shows them: before the open the day is the last one."""
        today, previous = self.today(symbol, feed), self.previous_day(symbol, feed)
        if today is not None or previous is None:
            return today, previous
        if feed.overnight:
            return previous, None
        before = self.exchange.tape.history.before(symbol, new_york_date(previous.t))
        return previous, _daily_bar(before) if before else None

    # --- ranges ------------------------------------------------------------------------------------------

    def bars(
        self, symbol: str, frame: Frame, start: int, end: int, adjustment: str = "raw", feed: Feed = SIP,
        *, newest_first: bool = False,
    ) -> Iterator[Bar]:  # fmt: skip
        """Bars whose left edge is in start..end (both included), nothing after the clock."""
        end = min(end, self._now(feed))
        if end < start or symbol not in self.exchange.tape or not feed.listed:
            return
        width = frame.intraday_ns
        if width:
            for tape in self._tapes(symbol, start, end, feed, newest_first=newest_first):
                factor = self._factor(symbol, tape.session.day, adjustment)
                left, right = feed.hours(tape.session)
                found = tape.bars(left, min(right, self._limit(frame, feed)), width)
                for bar in reversed(found) if newest_first else found:
                    if start <= bar.t <= end:
                        yield _scaled(bar, factor)
            return
        longer = self._long_bars(symbol, frame, start, end, adjustment, feed)
        yield from reversed(list(longer)) if newest_first else longer

    def _limit(self, frame: Frame, feed: Feed) -> int:
        """Exclusive end of the prints to use: bars are made of minutes, and the one that is still running is not shown."""
        now = self._now(feed)
        return now - now % MINUTE if frame.unit in ("minute", "hour") else now + 1

    def _long_bars(
        self, symbol: str, frame: Frame, start: int, end: int, adjustment: str, feed: Feed
    ) -> Iterator[Bar]:
        first, last = new_york_date(start), new_york_date(end)
        if _midnight(first) < start:
            first += timedelta(days=1)
        if frame.unit != "day":
            first = _group_start(first, frame)
        daily = list(self._daily(symbol, first, last, adjustment, feed))
        if frame.unit == "day" and frame.count == 1:
            yield from daily
            return
        groups: dict[date, list[Bar]] = {}
        for bar in daily:
            groups.setdefault(_group_start(new_york_date(bar.t), frame), []).append(bar)
        for day, members in groups.items():
            volume = sum(bar.volume for bar in members)
            turnover = sum(bar.vwap * bar.volume for bar in members)
            yield Bar(
                _midnight(day),
                members[0].open,
                max(b.high for b in members),
                min(b.low for b in members),
                members[-1].close,
                volume,
                sum(b.trades for b in members),
                round(turnover / volume, 6) if volume else members[-1].close,
            )

    def _daily(self, symbol: str, first: date, last: date, adjustment: str, feed: Feed) -> Iterator[Bar]:
        exchange = self.exchange
        today = exchange.session.day
        if feed.overnight:
            # A night belongs to the day that follows it, and is over before that day's midnight in no time zone.
            for tape in self._tapes(symbol, _midnight(first), _midnight(min(last, today)), feed):
                night = self._day_bar(tape, feed)
                if night is not None and first <= tape.session.day:
                    yield _scaled(night, self._factor(symbol, tape.session.day, adjustment))
            return
        for stored in exchange.tape.history.between(symbol, first, min(last, today - timedelta(days=1))):
            yield _scaled(_daily_bar(stored), self._factor(symbol, stored.day, adjustment))
        if first <= today <= last:
            bar = self.today(symbol, feed)
            if bar is not None:
                yield bar

    def quotes(
        self, symbol: str, start: int, end: int, feed: Feed = SIP, *, newest_first: bool = False
    ) -> Iterator[Quote]:
        """Quotes in start..end, nothing after the clock."""
        end = min(end, self._now(feed))
        for tape in self._tapes(symbol, start, end, feed, newest_first=newest_first):
            left, right = feed.hours(tape.session)
            found = range(tape.quotes_until(max(start, left) - 1), tape.quotes_until(min(end, right - 1)))
            for i in reversed(found) if newest_first else found:
                yield tape.quote(i)

    def trades(
        self, symbol: str, start: int, end: int, feed: Feed = SIP, *, newest_first: bool = False
    ) -> Iterator[Print]:
        """Prints in start..end, nothing after the clock."""
        end = min(end, self._now(feed) - feed.prints_late)
        for tape in self._tapes(symbol, start, end, feed, newest_first=newest_first):
            left, right = feed.hours(tape.session)
            found = range(tape.trades_until(max(start, left) - 1), tape.trades_until(min(end, right - 1)))
            for i in reversed(found) if newest_first else found:
                yield tape.trade(i)

    def crosses(
        self, symbol: str, start: int, end: int, *, newest_first: bool = False
    ) -> Iterator[list[Print]]:
        """Opening and closing prints in start..end, a list a session, nothing after the clock."""
        end = min(end, self.exchange.now)
        for tape in self._tapes(symbol, start, end, SIP, newest_first=newest_first):
            at = np.flatnonzero((tape.kind == OPENING) | (tape.kind == CLOSING))
            found = [tape.trade(int(i)) for i in at if start <= tape.trade_time(int(i)) <= end]
            if found:
                yield found

    def _tapes(
        self, symbol: str, start: int, end: int, feed: Feed, *, newest_first: bool = False
    ) -> Iterator[SymbolTape]:
        """The sessions whose hours can reach into start..end; each is counted as looked at."""
        if end < start or symbol not in self.exchange.tape or not feed.listed:
            return
        if feed.overnight:
            start, end = start + _EVENING, end + _EVENING  # 20:00 belongs to the next day
        tape, today = self.exchange.tape, self.exchange.session.day
        first, last = max(new_york_date(start), tape.history.first_day), min(new_york_date(end), today)
        if last < first:
            return
        try:
            days = calendar.sessions(first, last)
        except CalendarError:
            return
        for day in reversed(days) if newest_first else days:
            self.looked_at += day != today  # the session of today is there already
            found = tape.on(symbol, day) if day == today else tape.past(symbol, day)
            if found is not None:
                yield found

    def _factor(self, symbol: str, day: date, adjustment: str) -> tuple[float, float]:
        """(price factor, volume factor) from the corporate actions after `day` up to today."""
        if adjustment == "raw":
            return 1.0, 1.0
        price = volume = 1.0
        for when, split, paid in reversed(self._actions(symbol)):
            if when <= day:
                break
            if adjustment in ("split", "all"):
                price /= split
                volume *= split
            if adjustment in ("dividend", "all"):
                price *= paid
        return price, volume

    def _actions(self, symbol: str) -> list[tuple[date, float, float]]:
        """(ex-date, new shares for an old one, price after a dividend over the price before it) up to today."""
        today = self.exchange.session.day
        if today != self._actions_day:
            self._actions_day, self._known_actions = today, {}
        known = self._known_actions.get(symbol)
        if known is None:
            known = self._known_actions[symbol] = []
            history = self.exchange.tape.history
            for bar in history.between(symbol, history.first_day, today):
                split = bar.split if bar.split not in (0.0, 1.0) else 1.0
                before = history.before(symbol, bar.day) if bar.dividend else None
                paid = 1.0
                if before is not None and before.close > bar.dividend:
                    paid = 1 - bar.dividend / before.close
                if (split, paid) != (1.0, 1.0):
                    known.append((bar.day, split, paid))
        return known


def _midnight(day: date) -> int:
    return new_york(day, time())


def _daily_bar(bar: DailyBar) -> Bar:
    # A daily file has no trade count and no average price: the count is a round figure from the volume.
    middle = (bar.high + bar.low + bar.close) / 3
    return Bar(
        _midnight(bar.day),
        round(bar.open, 4),
        round(bar.high, 4),
        round(bar.low, 4),
        round(bar.close, 4),
        float(int(bar.volume)),
        max(int(bar.volume // 150), 1),
        round(middle, 6),
    )


def _scaled(bar: Bar, factor: tuple[float, float]) -> Bar:
    price, volume = factor
    if price == 1.0 and volume == 1.0:
        return bar
    return Bar(
        bar.t,
        round(bar.open * price, 4),
        round(bar.high * price, 4),
        round(bar.low * price, 4),
        round(bar.close * price, 4),
        round(bar.volume * volume),
        bar.trades,
        round(bar.vwap * price, 6),
    )


def _group_start(day: date, frame: Frame) -> date:
    if frame.unit == "week":
        monday = day - timedelta(days=day.weekday())
        return monday - timedelta(weeks=(monday.toordinal() // 7) % frame.count)
    if frame.unit == "month":
        month = day.year * 12 + day.month - 1
        month -= month % frame.count
        return date(month // 12, month % 12 + 1, 1)
    if frame.unit == "quarter":
        return date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    if frame.unit == "year":
        return date(day.year, 1, 1)
    return day - timedelta(days=day.toordinal() % frame.count)
