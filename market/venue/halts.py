"""Trading halts, LULD pauses and market-wide breakers: matching stops, the tape tells, trading resumes.

Codes by tape: CTA (A, B) and UTP (C) speak differently. Section 3.1 of the specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from market.venue.decimals import PRICE_SCALE, to_ticks
from market.venue.luld import ANY_PRICE
from market.venue.market_feed import Special
from market.venue.restrictions import RESUMED, SHORTS_RESTRICTED, StatusEvent
from market.venue.timestamps import SECOND

if TYPE_CHECKING:
    from market.venue.exchange import Exchange
    from market.venue.market_feed import MarketFeed

_UTP_REASONS = {
    "T1": "Halt News Pending", "T2": "Halt News Dissemination", "T5": "Single Stock Trading Pause In Affect",
    "T6": "Regulatory Halt Extraordinary Market Activity", "T8": "Halt ETF",
    "T12": "Trading Halted; For information requested by NASDAQ", "H4": "Halt Non Compliance",
    "H9": "Halt Filings Not Current", "H10": "Halt SEC Trading Suspension", "H11": "Halt Regulatory Concern",
    "LUDP": "Volatility Trading Pause", "MWC1": "Market Wide Circuit Breaker Halt Level 1",
    "MWC2": "Market Wide Circuit Breaker Halt Level 2", "MWC3": "Market Wide Circuit Breaker Halt Level 3",
}  # fmt: skip
_CTA_OF = {"T1": ("P", "News Pending"), "T2": ("D", "News Released (formerly News Dissemination)"),
           "LUDP": ("M", "Limit Up-Limit Down (LULD) Trading Pause"),
           "MWC1": ("1", "Market-Wide Circuit Breaker Level 1 Breached"),
           "MWC2": ("2", "Market-Wide Circuit Breaker Level 2 Breached"),
           "MWC3": ("3", "Market-Wide Circuit Breaker Level 3 Breached")}  # fmt: skip


def status_message(exchange: Exchange, symbol: str, t: int, code: str, *, resume: bool) -> dict[str, Any]:
    """Alpaca's `s` message in the words of the symbol's tape."""
    letter = exchange.assets[symbol].tape_letter
    if code == SHORTS_RESTRICTED:
        sc, sm, rc, rm = "E", "Short Sale Restriction", "", ""
    elif letter == "C":
        if resume:
            sc, sm, rc, rm = "T", "Trading Resumption", "T3", "News and Resumption Times"
        else:
            pause = code == "LUDP"
            sc, sm = ("P", "Volatility Trading Pause") if pause else ("H", "Trading Halt")
            rc, rm = code, _UTP_REASONS.get(code, code)
    elif resume:
        sc, sm, rc, rm = "3", "Resume", "", ""
    else:
        sc, sm = "2", "Trading Halt"
        rc, rm = _CTA_OF.get(code, ("X", "Operational"))
    return {"T": "s", "S": symbol, "sc": sc, "sm": sm, "rc": rc, "rm": rm, "t": t, "z": letter}


def polygon_status(exchange: Exchange, symbol: str, t: int, *, resume: bool) -> dict[str, Any]:
    """Polygon's `LULD` event of a halt (17) or a resumption (18), with the last bands or 5 % about the price."""
    lower, upper = exchange.restrictions.of(symbol).limits.at(t)
    if (lower, upper) == ANY_PRICE:
        ticks = to_ticks(exchange.mark(symbol))
        lower, upper = ticks * 95 // 100, ticks * 105 // 100
    letter = exchange.assets[symbol].tape_letter
    return {"ev": "LULD", "T": symbol, "h": round(upper / PRICE_SCALE, 2), "l": round(lower / PRICE_SCALE, 2),
            "i": [18 if resume else 17], "z": "ABC".index(letter) + 1, "t": t // 1_000_000,
            "q": t // 1000 % 10**9}  # fmt: skip


def special_of(exchange: Exchange, event: StatusEvent) -> Special:
    """The messages that tell of a pause, its end, or a short sale restriction (Polygon has no word for that)."""
    resume = event.kind == RESUMED
    code = SHORTS_RESTRICTED if event.kind == SHORTS_RESTRICTED else "LUDP"
    message = status_message(exchange, event.symbol, event.t, code, resume=resume)
    told = event.kind != SHORTS_RESTRICTED
    polygon = polygon_status(exchange, event.symbol, event.t, resume=resume) if told else None
    return Special("statuses", event.symbol, message, polygon)


class Halts:
    """Stops and starts trading in a symbol."""

    def __init__(self, exchange: Exchange, feed: MarketFeed) -> None:
        self._exchange = exchange
        self._feed = feed

    def halt(self, symbol: str, seconds: float, code: str, t: int) -> None:
        """Halt `symbol` for so many venue seconds (0: until `resume`)."""
        exchange = self._exchange
        exchange.halted.add(symbol)
        book = exchange.books.get(symbol)
        if book is not None:
            book.halt()
        self._announce(symbol, t, code, resume=False)
        if seconds:
            exchange.at(t + int(seconds * SECOND), lambda when: self.resume(symbol, when))

    def resume(self, symbol: str, t: int) -> None:
        """Trade again."""
        exchange = self._exchange
        if symbol not in exchange.halted:
            return
        exchange.halted.discard(symbol)
        exchange.restrictions.resume(symbol, t)
        self._announce(symbol, t, "", resume=True)

    def _announce(self, symbol: str, t: int, code: str, *, resume: bool) -> None:
        message = status_message(self._exchange, symbol, t, code, resume=resume)
        polygon = polygon_status(self._exchange, symbol, t, resume=resume)
        self._feed.announce(Special("statuses", symbol, message, polygon))
