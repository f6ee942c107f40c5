"""What happened in the market, symbol by symbol: quotes and prints of a session, and the days before it.

A `SymbolTape` is a few numpy columns; nothing is generated until somebody asks. Prices are integers of
1/10,000 dollar, sizes are shares, times are nanoseconds. Every look-up takes the venue time and answers only
with what is at or before it: that is the one place where the future is kept out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from market.errors import CalendarError
from market.venue.daily import DailyBar, DailyHistory
from market.venue.decimals import PRICE_SCALE
from market.venue.sessions import Session, session_on
from market.venue.timestamps import MINUTE, NEVER

REGULAR, OPENING, CLOSING, EXTENDED, REOPENING = 0, 1, 2, 3, 4
"""What kind of print a trade is: regular session, opening cross, closing cross, outside regular hours, the cross
that ends a halt."""

PAST_SESSIONS_MAX = 600
IntArray = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and offer; a price of 0 means that side is absent."""

    t: int
    bid: int
    ask: int
    bid_size: int
    ask_size: int


@dataclass(frozen=True, slots=True)
class Print:
    """One trade on the tape; `number` is its id within the symbol and session."""

    t: int
    price: int
    size: int
    kind: int
    number: int


@dataclass(frozen=True, slots=True)
class Bar:
    """An aggregate of prints; `t` is its left edge, prices in USD as float, volume in shares."""

    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int
    vwap: float


@dataclass(slots=True)
class SymbolTape:
    """Quotes and prints of one symbol in one session.

    `quote_times` and `trade_times` are shared grids; the symbol's own times are the grid plus `shift`, so five
    hundred modelled symbols hold one grid.
    """

    symbol: str
    session: Session
    shift: int
    quote_times: IntArray
    bid: IntArray
    ask: IntArray
    bid_size: IntArray
    ask_size: IntArray
    trade_times: IntArray
    price: IntArray
    size: IntArray
    kind: IntArray
    _minute_volume: dict[int, int] = field(default_factory=dict)
    _extremes: tuple[int, int, int, int] | None = None

    def extremes(self) -> tuple[int, int, int, int]:
        """(lowest ask, highest bid, lowest print, highest print) of the whole session: for the book only.

        An order beyond them cannot be reached all day, so the tape need not be searched for it.
        """
        if self._extremes is None:
            asks = self.ask[self.ask > 0]
            self._extremes = (
                int(asks.min()) if len(asks) else NEVER,
                int(self.bid.max()) if len(self.bid) else 0,
                int(self.price.min()) if len(self.price) else NEVER,
                int(self.price.max()) if len(self.price) else 0,
            )
        return self._extremes

    def quotes_until(self, t: int) -> int:
        """How many quotes are at or before `t`."""
        return int(self.quote_times.searchsorted(t - self.shift, "right"))

    def trades_until(self, t: int) -> int:
        """How many prints are at or before `t`."""
        return int(self.trade_times.searchsorted(t - self.shift, "right"))

    def quote_time(self, i: int) -> int:
        """The time of quote `i`."""
        return int(self.quote_times[i]) + self.shift

    def trade_time(self, i: int) -> int:
        """The time of print `i`."""
        return int(self.trade_times[i]) + self.shift

    def quote(self, i: int) -> Quote:
        """Quote `i`."""
        return Quote(
            self.quote_time(i),
            int(self.bid[i]),
            int(self.ask[i]),
            int(self.bid_size[i]),
            int(self.ask_size[i]),
        )

    def trade(self, i: int) -> Print:
        """Print `i`."""
        return Print(self.trade_time(i), int(self.price[i]), int(self.size[i]), int(self.kind[i]), i + 1)

    def print_of(self, kind: int) -> int:
        """The number of the first print of `kind`, -1 when there is none."""
        found = np.flatnonzero(self.kind == kind)
        return int(found[0]) if len(found) else -1

    def minute_volume(self, t: int) -> int:
        """Shares printed in the whole minute that `t` is in (for the participation cap only, never served)."""
        start = t - t % MINUTE
        known = self._minute_volume.get(start)
        if known is None:
            low, high = self.trades_until(start - 1), self.trades_until(start + MINUTE - 1)
            known = int(self.size[low:high].sum())
            self._minute_volume[start] = known
        return known

    def bars(self, start: int, end: int, width: int, *, extended: bool = True) -> list[Bar]:
        """Bars of `width` ns over prints with start <= time < end, left edges aligned to midnight New York time.

        Minutes without prints have no bar, as in the real feeds. Sessions open on the hour or half hour, so
        aligning to UTC multiples is the same for every width up to 30 minutes; wider bars start on the hour.
        """
        low, high = self.trades_until(start - 1), self.trades_until(end - 1)
        if high <= low:
            return []
        times = self.trade_times[low:high].astype(np.int64) + self.shift
        price, size = (
            self.price[low:high].astype(np.float64) / PRICE_SCALE,
            self.size[low:high].astype(np.float64),
        )
        if not extended:
            regular = self.kind[low:high] != EXTENDED
            times, price, size = times[regular], price[regular], size[regular]
            if not len(times):
                return []
        edges = times - times % width
        first = np.flatnonzero(np.concatenate([[True], edges[1:] != edges[:-1]]))
        last = np.concatenate([first[1:], [len(edges)]]) - 1
        volume = np.add.reduceat(size, first)
        turnover = np.add.reduceat(price * size, first)
        opens, closes = price[first], price[last]
        highs, lows = np.maximum.reduceat(price, first), np.minimum.reduceat(price, first)
        counts = last - first + 1
        return [
            Bar(
                int(edges[first[i]]),
                round(float(opens[i]), 4),
                round(float(highs[i]), 4),
                round(float(lows[i]), 4),
                round(float(closes[i]), 4),
                float(volume[i]),
                int(counts[i]),
                round(float(turnover[i] / volume[i]), 6) if volume[i] else round(float(closes[i]), 4),
            )
            for i in range(len(first))
        ]


class Tape:
    """Sessions on demand plus the daily history behind them.

    `build(symbol, session)` makes one symbol's session, or returns None when there is none. Built sessions are
    kept for the current day only. What everybody reads is what `publish` makes of a built session (halts cut holes
    into it); `modelled` promises that every quote and print of regular hours lies at its daily bar.
    """

    def __init__(
        self,
        history: DailyHistory,
        build: Callable[[str, Session], SymbolTape | None],
        *,
        symbols: list[str] | None = None,
        modelled: bool = False,
    ) -> None:
        self.history = history
        self.modelled = modelled
        self.symbols: tuple[str, ...] = tuple(symbols if symbols is not None else history.symbols)
        self._known = frozenset(self.symbols)
        self._build = build
        self._publish: Callable[[SymbolTape], SymbolTape] = lambda raw: raw
        self._raw: dict[tuple[str, date], SymbolTape | None] = {}
        self._built: dict[tuple[str, date], SymbolTape | None] = {}
        self._past: dict[tuple[str, date], SymbolTape | None] = {}
        self._splits: dict[tuple[str, date], float] = {}
        self._previous: dict[tuple[str, date], DailyBar | None] = {}

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._known

    def on(self, symbol: str, day: date) -> SymbolTape | None:
        """The session `day` of `symbol`, or None when the tape has none."""
        key = (symbol, day)
        if key not in self._built:
            self._built[key] = self._published(self.raw(symbol, day))
        return self._built[key]

    def raw(self, symbol: str, day: date) -> SymbolTape | None:
        """The session as it was built, before any halt: for whoever decides on halts, for nobody else."""
        key = (symbol, day)
        if key not in self._raw:
            self._raw[key] = self._build(symbol, session_on(day)) if symbol in self._known else None
        return self._raw[key]

    def published_by(self, publish: Callable[[SymbolTape], SymbolTape]) -> None:
        """From now on everybody reads what `publish` makes of a session."""
        self._publish = publish
        self._built.clear()
        self._past.clear()

    def republish(self, symbol: str, day: date) -> None:
        """What `publish` makes of a session has changed."""
        self._built.pop((symbol, day), None)

    def _published(self, raw: SymbolTape | None) -> SymbolTape | None:
        return None if raw is None else self._publish(raw)

    def past(self, symbol: str, day: date) -> SymbolTape | None:
        """An earlier session, for history; only the newest few hundred are kept."""
        key = (symbol, day)
        if key in self._past:
            return self._past[key]
        if len(self._past) >= PAST_SESSIONS_MAX:
            del self._past[next(iter(self._past))]
        try:
            raw = self._build(symbol, session_on(day)) if symbol in self._known else None
            built = self._published(raw)
        except CalendarError:
            built = None  # a bar on a day the exchange was shut has no session
        self._past[key] = built
        return built

    def forget_before(self, day: date) -> None:
        """Free the built sessions before `day`."""
        for built in (self._built, self._raw):
            for key in [key for key in built if key[1] < day]:
                del built[key]

    def previous(self, symbol: str, day: date) -> DailyBar | None:
        """The newest daily bar strictly before `day`."""
        key = (symbol, day)
        if key not in self._previous:
            self._previous[key] = self.history.before(symbol, day)
        return self._previous[key]

    def quote_at(self, symbol: str, day: date, t: int) -> Quote | None:
        """The newest quote at or before `t` in session `day`."""
        tape = self.on(symbol, day)
        if tape is None:
            return None
        known = tape.quotes_until(t)
        return tape.quote(known - 1) if known else None

    def trade_at(self, symbol: str, day: date, t: int) -> Print | None:
        """The newest print at or before `t` in session `day`."""
        tape = self.on(symbol, day)
        if tape is None:
            return None
        known = tape.trades_until(t)
        return tape.trade(known - 1) if known else None

    def last_price(self, symbol: str, day: date, t: int) -> int:
        """Last print at or before `t`, else the previous session's close; 0 when neither is known."""
        tape = self.on(symbol, day)
        if tape is not None:
            known = tape.trades_until(t)
            # A print at night values nothing: until the morning the official close does.
            if known and tape.trade_time(known - 1) >= tape.session.pre_open:
                return int(tape.price[known - 1])
            quoted = tape.quotes_until(t)
            if quoted and not len(tape.price):  # a tape of quotes only: their middle is the price
                return (int(tape.bid[quoted - 1]) + int(tape.ask[quoted - 1])) // 2
        return self.last_close(symbol, day)

    def last_close(self, symbol: str, day: date) -> int:
        """The close before `day` in the shares of `day` (divided by a split of that morning); 0 when unknown."""
        previous = self.previous(symbol, day)
        if previous is None:
            return 0
        key = (symbol, day)
        if key not in self._splits:
            today = self.history.on(symbol, day)
            self._splits[key] = today.split if today is not None and today.split > 0 else 1.0
        return round(previous.close * PRICE_SCALE / self._splits[key])
