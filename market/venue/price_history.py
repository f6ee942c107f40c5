"""Bars, quotes and prints of any day up to the venue clock: what both data dialects answer from.

The clock is the limit: today's daily bar is the part that has happened, and a split or dividend counts in an
adjustment only from its own day on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time, timedelta

from market import calendar
from market.errors import CalendarError
from market.venue.daily import DailyBar
from market.venue.exchange import Exchange
from market.venue.tape import Bar, Print, Quote, SymbolTape
from market.venue.timestamps import MINUTE, new_york, new_york_date

DAY_NS = 24 * 60 * MINUTE


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
    """Everything already known at the venue clock."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    # --- newest ------------------------------------------------------------------------------------------

    def latest_quote(self, symbol: str) -> Quote | None:
        """The quote shown now, or the last of an earlier session."""
        day = self.exchange.session.day
        quote = self.exchange.tape.quote_at(symbol, day, self.exchange.now)
        if quote is None:
            earlier = self._previous_tape(symbol)
            if earlier is not None and len(earlier.ask):
                quote = earlier.quote(len(earlier.ask) - 1)
        return quote

    def latest_trade(self, symbol: str) -> Print | None:
        """The last print."""
        day = self.exchange.session.day
        trade = self.exchange.tape.trade_at(symbol, day, self.exchange.now)
        if trade is None:
            earlier = self._previous_tape(symbol)
            if earlier is not None and len(earlier.price):
                trade = earlier.trade(len(earlier.price) - 1)
        return trade

    def _previous_tape(self, symbol: str) -> SymbolTape | None:
        bar = self.exchange.tape.previous(symbol, self.exchange.session.day)
        return self.exchange.tape.past(symbol, bar.day) if bar else None

    def minute_bar(self, symbol: str) -> Bar | None:
        """The newest minute that has ended and had prints."""
        now = self.exchange.now
        tape = self.exchange.tape.on(symbol, self.exchange.session.day)
        bars = tape.bars(tape.session.pre_open, now - now % MINUTE, MINUTE) if tape else []
        if bars:
            return bars[-1]
        earlier = self._previous_tape(symbol)
        bars = earlier.bars(earlier.session.pre_open, earlier.session.post_close, MINUTE) if earlier else []
        return bars[-1] if bars else None

    def today(self, symbol: str) -> Bar | None:
        """The daily bar so far, None before the first print."""
        exchange = self.exchange
        tape = exchange.tape.on(symbol, exchange.session.day)
        if tape is None:
            return None
        bars = tape.bars(tape.session.pre_open, exchange.now + 1, DAY_NS)
        if not bars:
            return None
        bar = bars[0]
        return Bar(
            _midnight(exchange.session.day),
            bar.open,
            bar.high,
            bar.low,
            bar.close,
            bar.volume,
            bar.trades,
            bar.vwap,
        )

    def previous_day(self, symbol: str) -> Bar | None:
        """The daily bar before this session's."""
        bar = self.exchange.tape.previous(symbol, self.exchange.session.day)
        return _daily_bar(bar) if bar else None

    def daily_or_previous(self, symbol: str) -> tuple[Bar | None, Bar | None]:
        """(dailyBar, prevDailyBar) as a snapshot shows them: before the open the day is the last one."""
        today, previous = self.today(symbol), self.previous_day(symbol)
        if today is not None:
            return today, previous
        if previous is None:
            return None, None
        before = self.exchange.tape.history.before(symbol, new_york_date(previous.t))
        return previous, _daily_bar(before) if before else None

    # --- ranges ------------------------------------------------------------------------------------------

    def bars(self, symbol: str, frame: Frame, start: int, end: int, adjustment: str = "raw") -> Iterator[Bar]:
        """Bars whose left edge is in start..end (both included), oldest first, nothing after the clock."""
        end = min(end, self.exchange.now)
        if end < start or symbol not in self.exchange.tape:
            return
        width = frame.intraday_ns
        if width:
            for day in self._days(symbol, start, end):
                tape = self._tape(symbol, day)
                if tape is None:
                    continue
                factor = self._factor(symbol, day, adjustment)
                left = tape.session.pre_open
                for bar in tape.bars(left, self._limit(tape, frame), width):
                    if start <= bar.t <= end:
                        yield _scaled(bar, factor)
            return
        yield from self._long_bars(symbol, frame, start, end, adjustment)

    def _limit(self, tape: SymbolTape, frame: Frame) -> int:
        """Exclusive end of the prints to use; the minute that is still running is not shown."""
        now = self.exchange.now
        if tape.session.day != self.exchange.session.day:
            return tape.session.post_close
        if frame.unit == "minute" and frame.count == 1:
            return now - now % MINUTE
        return now + 1

    def _long_bars(self, symbol: str, frame: Frame, start: int, end: int, adjustment: str) -> Iterator[Bar]:
        first, last = new_york_date(start), new_york_date(end)
        if _midnight(first) < start:
            first += timedelta(days=1)
        if frame.unit != "day":
            first = _group_start(first, frame)
        daily = list(self._daily(symbol, first, last, adjustment))
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

    def _daily(self, symbol: str, first: date, last: date, adjustment: str) -> Iterator[Bar]:
        exchange = self.exchange
        today = exchange.session.day
        for stored in exchange.tape.history.between(symbol, first, min(last, today - timedelta(days=1))):
            yield _scaled(_daily_bar(stored), self._factor(symbol, stored.day, adjustment))
        if first <= today <= last:
            bar = self.today(symbol)
            if bar is not None:
                yield bar

    def quotes(self, symbol: str, start: int, end: int) -> Iterator[Quote]:
        """Quotes in start..end, nothing after the clock."""
        end = min(end, self.exchange.now)
        for day in self._days(symbol, start, end):
            tape = self._tape(symbol, day)
            if tape is not None:
                for i in range(tape.quotes_until(start - 1), tape.quotes_until(end)):
                    yield tape.quote(i)

    def trades(self, symbol: str, start: int, end: int) -> Iterator[Print]:
        """Prints in start..end, nothing after the clock."""
        end = min(end, self.exchange.now)
        for day in self._days(symbol, start, end):
            tape = self._tape(symbol, day)
            if tape is not None:
                for i in range(tape.trades_until(start - 1), tape.trades_until(end)):
                    yield tape.trade(i)

    def _days(self, symbol: str, start: int, end: int) -> list[date]:
        if end < start:
            return []
        history = self.exchange.tape.history
        first, last = (
            max(new_york_date(start), history.first_day),
            min(new_york_date(end), self.exchange.session.day),
        )
        if last < first:
            return []
        try:
            return calendar.sessions(first, last)
        except CalendarError:
            return []

    def _tape(self, symbol: str, day: date) -> SymbolTape | None:
        tape = self.exchange.tape
        return tape.on(symbol, day) if day == self.exchange.session.day else tape.past(symbol, day)

    def _factor(self, symbol: str, day: date, adjustment: str) -> tuple[float, float]:
        """(price factor, volume factor) from the corporate actions after `day` up to today."""
        if adjustment == "raw":
            return 1.0, 1.0
        today = self.exchange.session.day
        price = volume = 1.0
        history = self.exchange.tape.history
        for bar in history.between(symbol, day + timedelta(days=1), today):
            if adjustment in ("split", "all") and bar.split not in (0.0, 1.0):
                price /= bar.split
                volume *= bar.split
            if adjustment in ("dividend", "all") and bar.dividend:
                before = history.before(symbol, bar.day)
                if before is not None and before.close > bar.dividend:
                    price *= 1 - bar.dividend / before.close
        return price, volume


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
