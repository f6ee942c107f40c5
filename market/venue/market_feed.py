"""What the market did since the last look, encoded once for everybody who asked for it.

The feed walks the tape from one flush to the next. A `Window` is one such step: it builds the messages of a
symbol only when some connection wants them, once per encoding. Between two flushes only the newest quote of a
symbol is sent when `conflate` is on; prints and bars are never dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from typing import Any

from market.venue.decimals import PRICE_SCALE
from market.venue.exchange import Exchange
from market.venue.frames import Codec, bar_message, polygon_bar
from market.venue.luld import ANY_PRICE
from market.venue.path import seed_of
from market.venue.restrictions import StatusEvent
from market.venue.tape import Bar, Print, Quote, SymbolTape
from market.venue.timestamps import MILLISECOND, MINUTE, SECOND, new_york

DAY = 24 * 60 * MINUTE


@dataclass(slots=True)
class Special:
    """A message that is not on the tape: halt, LULD band, correction, cancel, a bad quote.

    `channel` is Alpaca's channel name; `polygon` is the same event in Polygon's words, if it has one.
    """

    channel: str
    symbol: str
    alpaca: dict[str, Any]
    polygon: dict[str, Any] | None = None


class Window:
    """The tape between two instants: start < time <= end."""

    def __init__(self, feed: MarketFeed, start: int, end: int, specials: list[Special]) -> None:
        self.start, self.end = start, end
        self.specials = specials
        self._feed = feed
        self.exchange = feed.exchange
        self._encoded: dict[tuple[str, str, str], list[bytes]] = {}
        self._bars: dict[tuple[str, int], list[Bar]] = {}

    def tape(self, symbol: str) -> SymbolTape | None:
        """The current session of `symbol`."""
        return self.exchange.tape.on(symbol, self.exchange.session.day)

    def quotes(self, symbol: str) -> list[Quote]:
        """Quotes of the window, only the newest when the feed conflates."""
        tape = self.tape(symbol)
        if tape is None or symbol in self._feed.muted_quotes:
            return []
        low, high = tape.quotes_until(self.start), tape.quotes_until(self.end)
        if high <= low:
            return []
        if self._feed.conflate:
            low = high - 1
        if symbol in self.exchange.halted:
            return []
        limits = self.exchange.restrictions.of(symbol).limits
        if not limits.pauses:
            return [tape.quote(i) for i in range(low, high)]
        return [tape.quote(i) for i in range(low, high) if not limits.paused(tape.quote_time(i))]

    def trades(self, symbol: str) -> list[Print]:
        """Prints of the window."""
        tape = self.tape(symbol)
        if tape is None or symbol in self.exchange.halted:
            return []
        low, high = tape.trades_until(self.start), tape.trades_until(self.end)
        limits = self.exchange.restrictions.of(symbol).limits
        if not limits.pauses:
            return [tape.trade(i) for i in range(low, high)]
        return [tape.trade(i) for i in range(low, high) if not limits.paused(tape.trade_time(i))]

    def statuses(self, symbols: Collection[str]) -> list[StatusEvent]:
        """Pauses, resumptions and short sale restrictions of the window."""
        return self.exchange.restrictions.events(self.start, self.end, symbols)

    def bars(self, symbol: str, width: int) -> list[Bar]:
        """Bars of `width` that ended inside the window."""
        key = (symbol, width)
        if key not in self._bars:
            first, last = self.start - self.start % width, self.end - self.end % width
            tape = self.tape(symbol)
            bars = tape.bars(first, last, width) if tape is not None and last > first else []
            share = self._feed.skipped_share
            if share:
                seed = self.exchange.seed
                bars = [bar for bar in bars if seed_of(seed, "gap", symbol, bar.t) % 1000 >= share * 1000]
            self._bars[key] = bars
        return self._bars[key]

    def day_bar(self, symbol: str) -> Bar | None:
        """The day so far."""
        tape = self.tape(symbol)
        if tape is None:
            return None
        bars = tape.bars(tape.session.pre_open, self.end + 1, DAY)
        if not bars:
            return None
        bar = bars[0]
        midnight = new_york(tape.session.day, time())
        return Bar(midnight, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades, bar.vwap)

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
        letter = self.exchange.assets[symbol].tape_letter
        if channel in ("quotes", "Q"):
            quotes = self.quotes(symbol)
            if self._feed.iex_gap and codec.letter == "V":
                quotes = [_shifted(quote, self._feed.iex_gap) for quote in quotes]
            return [codec.quote(symbol, letter, quote) for quote in quotes]
        if channel in ("trades", "T"):
            return [codec.trade(symbol, letter, trade) for trade in self.trades(symbol)]
        if channel == "bars":
            return [codec.message(bar_message("b", symbol, bar)) for bar in self.bars(symbol, MINUTE)]
        if channel == "dailyBars":
            day = self.day_bar(symbol) if self.minute_passed() else None
            return [codec.message(bar_message("d", symbol, day))] if day else []
        if channel in ("lulds", "LULD"):
            return [
                codec.message(message) for message in self._bands(symbol, letter, polygon=channel == "LULD")
            ]
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
        if polygon:
            return [{"ev": "LULD", "T": symbol, "h": up, "l": down, "i": [2], "z": "ABC".index(letter) + 1,
                     "t": self.end // MILLISECOND, "q": self.end // 1000 % 10**9}]  # fmt: skip
        return [{"T": "l", "S": symbol, "u": up, "d": down, "i": "B", "z": letter, "t": self.end}]


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
        self._last = exchange.now
        self._specials: list[Special] = []

    def announce(self, special: Special) -> None:
        """Send something that is not on the tape with the next flush."""
        self._specials.append(special)

    def step(self) -> Window:
        """The window since the last step."""
        now = self.exchange.now
        specials, self._specials = self._specials, []
        window = Window(self, self._last, now, specials)
        self._last = now
        return window
