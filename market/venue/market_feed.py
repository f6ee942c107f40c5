"""What the market did since the last look, encoded once for everybody who asked for it.

The feed walks the tape from one flush to the next. A `Window` is one such step: it builds the messages of a
symbol only when some connection wants them, once per encoding. Between two flushes only the newest quote of a
symbol is sent when `conflate` is on; prints and bars are never dropped.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from typing import Any, TypeVar

from market.venue import sessions
from market.venue.crosses import Imbalance
from market.venue.decimals import PRICE_SCALE
from market.venue.exchange import Exchange
from market.venue.feeds import DELAY, SIP, Feed
from market.venue.frames import Codec, bar_message, imbalance_message, polygon_bar, polygon_imbalance
from market.venue.luld import ANY_PRICE
from market.venue.news import Newsroom
from market.venue.path import seed_of
from market.venue.restrictions import StatusEvent
from market.venue.tape import Bar, Print, Quote, SymbolTape
from market.venue.timestamps import MILLISECOND, MINUTE, SECOND, new_york

DAY = 24 * 60 * MINUTE
IMBALANCE_EVERY = 5 * SECOND


Timed = TypeVar("Timed", Quote, Print, StatusEvent)
"""What happened at a time of its own."""


@dataclass(slots=True)
class Special:
    """A message that is not on the tape: halt, LULD band, correction, cancel, a bad quote.

    `channel` is Alpaca's channel name; `polygon` is the same event in Polygon's words, if it has one.
    """

    channel: str
    symbol: str
    alpaca: dict[str, Any]
    polygon: dict[str, Any] | None = None

    def ahead(self, ns: int) -> Special:
        """The same, told by a clock that is ahead."""
        polygon = self.polygon and {**self.polygon, "t": self.polygon["t"] + ns // MILLISECOND}
        return Special(self.channel, self.symbol, {**self.alpaca, "t": self.alpaca["t"] + ns}, polygon)


class Window:
    """The tape between two instants: start < time <= end."""

    def __init__(
        self, feed: MarketFeed, start: int, end: int, specials: list[Special], *, behind: int = 0
    ) -> None:
        self.start, self.end = start - behind, end - behind
        self.specials = specials
        self._feed = feed
        self._behind = behind
        self.exchange = feed.exchange
        self._encoded: dict[tuple[str, str, str], list[bytes]] = {}
        self._bars: dict[tuple[str, int, str], list[Bar]] = {}
        self._delayed: dict[int, Window] = {}

    def behind(self, delay: int) -> Window:
        """The same step as a delayed feed sees it; this window itself without a delay."""
        if not delay:
            return self
        if delay not in self._delayed:
            told = self._feed.told(self.start - delay, self.end - delay)
            self._delayed[delay] = Window(self._feed, self.start, self.end, told, behind=delay)
        return self._delayed[delay]

    def tape(self, symbol: str) -> SymbolTape | None:
        """The session of `symbol` that the window is in."""
        session = self.exchange.session
        if self._behind and self.end < session.overnight_open:
            earlier = sessions.session_at_or_after(self.end)
            if earlier.day != session.day:
                return self.exchange.tape.past(symbol, earlier.day)
        return self.exchange.tape.on(symbol, session.day)

    def _span(self, tape: SymbolTape, feed: Feed, late: int = 0) -> tuple[int, int]:
        """The part of the window inside the feed's hours: start < time <= end."""
        left, right = feed.hours(tape.session)
        return max(self.start - late, left - 1), min(self.end - late, right - 1)

    def quotes(self, symbol: str, feed: Feed = SIP) -> list[Quote]:
        """Quotes of the window, only the newest when the feed conflates."""
        tape = self.tape(symbol)
        if tape is None or symbol in self._feed.muted_quotes:
            return []
        start, end = self._span(tape, feed)
        low, high = tape.quotes_until(start), tape.quotes_until(end)
        if high <= low:
            return []
        if self._feed.conflate:
            low = high - 1
        return self._ahead([tape.quote(i) for i in range(low, high)])

    def trades(self, symbol: str, feed: Feed = SIP) -> list[Print]:
        """Prints of the window; late ones are brought inside the quote of the moment."""
        tape = self.tape(symbol)
        if tape is None:
            return []
        start, end = self._span(tape, feed, feed.prints_late)
        found = [tape.trade(i) for i in range(tape.trades_until(start), tape.trades_until(end))]
        if found and feed.prints_late:
            shown = tape.quote(tape.quotes_until(self.end) - 1)
            found = [dataclasses.replace(p, price=min(max(p.price, shown.bid), shown.ask)) for p in found]
        return self._ahead(found)

    def statuses(self, symbols: Collection[str]) -> list[StatusEvent]:
        """Pauses, breakers, resumptions and short sale restrictions of the window."""
        return self._ahead(self.exchange.restrictions.events(self.start, self.end, symbols))

    def bars(self, symbol: str, width: int, feed: Feed = SIP) -> list[Bar]:
        """Bars of `width` that ended inside the window."""
        key = (symbol, width, feed.name if feed.overnight else "")
        if key not in self._bars:
            start, end = self.start - feed.prints_late, self.end - feed.prints_late
            first, last = start - start % width, end - end % width
            tape = self.tape(symbol)
            bars: list[Bar] = []
            if tape is not None and last > first:
                left, right = feed.hours(tape.session)
                bars = tape.bars(max(first, left), min(last, right), width)
            share = self._feed.skipped_share
            if share:
                seed = self.exchange.seed
                bars = [bar for bar in bars if seed_of(seed, "gap", symbol, bar.t) % 1000 >= share * 1000]
            self._bars[key] = bars
        return self._bars[key]

    def _ahead(self, rows: list[Timed]) -> list[Timed]:
        """The rows with the times a clock ahead of the exchange's would give them (fault clock_ahead)."""
        ahead = self._feed.ahead_ns
        return [dataclasses.replace(row, t=row.t + ahead) for row in rows] if ahead else rows

    def day_bar(self, symbol: str, feed: Feed = SIP) -> Bar | None:
        """The day so far."""
        tape = self.tape(symbol)
        if tape is None:
            return None
        left, right = feed.hours(tape.session)
        bars = tape.bars(left, min(self.end - feed.prints_late + 1, right), DAY)
        return dataclasses.replace(bars[0], t=new_york(tape.session.day, time())) if bars else None

    def imbalances(self, symbol: str) -> list[Imbalance]:
        """What is known of the auction ahead, every five seconds while there is one."""
        if self._behind or self.end - self.end % IMBALANCE_EVERY <= self.start:
            return []
        found = self.exchange.imbalance(symbol)
        return [found] if found is not None else []

    def news(self) -> list[dict[str, Any]]:
        """Articles that appeared inside the window."""
        return [article.message() for article in self._feed.newsroom.since(self.start, self.end)]

    def minute_passed(self) -> bool:
        """Whether a minute ended inside the window."""
        return self.end - self.end % MINUTE > self.start

    def encoded(self, codec: Codec, channel: str, symbol: str) -> list[bytes]:
        """Messages of one channel and symbol in one encoding, made once."""
        key = (codec.name, channel, symbol)
        found = self._encoded.get(key)
        if found is None:
            found = self._encoded[key] = list(self._encode(codec, channel, symbol))
        return found

    def _encode(self, codec: Codec, channel: str, symbol: str) -> Iterable[bytes]:
        feed, told_at = codec.feed, self.end + self._feed.ahead_ns
        letter = feed.tape_letter(self.exchange.assets[symbol].tape_letter)
        if channel in ("quotes", "Q"):
            quotes = self.quotes(symbol, feed)
            if self._feed.iex_gap and feed.name == "iex":
                quotes = [_shifted(quote, self._feed.iex_gap) for quote in quotes]
            return [codec.quote(symbol, letter, quote) for quote in quotes]
        if channel in ("trades", "T"):
            return [codec.trade(symbol, letter, trade) for trade in self.trades(symbol, feed)]
        if channel == "bars":
            return [codec.message(bar_message("b", symbol, bar)) for bar in self.bars(symbol, MINUTE, feed)]
        if channel == "dailyBars":
            day = self.day_bar(symbol, feed) if self.minute_passed() else None
            return [codec.message(bar_message("d", symbol, day))] if day else []
        if channel in ("lulds", "LULD"):
            return [
                codec.message(message) for message in self._bands(symbol, letter, polygon=channel == "LULD")
            ]
        if channel == "imbalances":
            return [
                codec.message(imbalance_message(found, letter, told_at)) for found in self.imbalances(symbol)
            ]
        if channel == "NOI":
            return [codec.message(polygon_imbalance(found, told_at)) for found in self.imbalances(symbol)]
        if channel == "FMV":
            return [codec.message({"ev": "FMV", "sym": symbol, "fmv": trade.price / PRICE_SCALE, "t": trade.t})
                    for trade in self.trades(symbol)[-1:]]  # fmt: skip
        if channel in ("A", "AM"):
            width = SECOND if channel == "A" else MINUTE
            bars = self.bars(symbol, width)
            day = self.day_bar(symbol) if bars else None
            return [codec.message(polygon_bar(channel, symbol, bar, width, day)) for bar in bars]
        return []

    def _bands(self, symbol: str, letter: str, *, polygon: bool) -> list[dict[str, Any]]:
        """The price bands that trading is held to, once a minute."""
        if not self.minute_passed():
            return []
        lower, upper = self.exchange.restrictions.of(symbol).limits.at(self.end)
        if (lower, upper) == ANY_PRICE:
            return []
        up, down = round(upper / PRICE_SCALE, 2), round(lower / PRICE_SCALE, 2)
        told_at = self.end + self._feed.ahead_ns
        if polygon:
            return [{"ev": "LULD", "T": symbol, "h": up, "l": down, "i": [2], "z": "ABC".index(letter) + 1,
                     "t": told_at // MILLISECOND, "q": self.end // 1000 % 10**9}]  # fmt: skip
        return [{"T": "l", "S": symbol, "u": up, "d": down, "i": "B", "z": letter, "t": told_at}]


def _shifted(quote: Quote, gap: Decimal) -> Quote:
    """The quote a little off, on the cent: another venue's view."""
    bid = int(quote.bid * (1 + gap)) // 100 * 100
    return Quote(quote.t, bid, bid + max(quote.ask - quote.bid, 100), quote.bid_size, quote.ask_size)


class MarketFeed:
    """Steps through the tape; one for the whole venue."""

    def __init__(self, exchange: Exchange, *, conflate: bool) -> None:
        self.exchange = exchange
        self.conflate = conflate
        self.muted_quotes: set[str] = set()
        self.skipped_share = 0.0
        self.iex_gap = Decimal(0)
        self.ahead_ns = 0
        self.newsroom = Newsroom(exchange)
        self._last = exchange.now
        self._specials: list[Special] = []
        self._told: deque[tuple[int, Special]] = deque()

    def announce(self, special: Special) -> None:
        """Send something that is not on the tape with the next flush."""
        if self.ahead_ns:
            special = special.ahead(self.ahead_ns)
        self._specials.append(special)
        now = self.exchange.now
        while self._told and self._told[0][0] < now - 2 * DELAY:
            self._told.popleft()
        self._told.append((now, special))

    def told(self, start: int, end: int) -> list[Special]:
        """What was announced at start < time <= end: a delayed feed still has to say it."""
        return [special for t, special in self._told if start < t <= end]

    def step(self) -> Window:
        """The window since the last step."""
        now = self.exchange.now
        specials, self._specials = self._specials, []
        window = Window(self, self._last, now, specials)
        self._last = now
        return window
