"""Halts by hand, and how the tape tells of every stop: halts, LULD pauses, market-wide breakers, rule 201.

Codes by tape: CTA (A, B) and UTP (C) speak differently. Section 3.1 of the specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from market.venue.decimals import PRICE_SCALE, to_ticks
from market.venue.luld import ANY_PRICE
from market.venue.market_feed import Special
from market.venue.restrictions import RESUMED, SHORTS_RESTRICTED, StatusEvent
from market.venue.timestamps import NEVER, SECOND

if TYPE_CHECKING:
    from market.venue.exchange import Exchange
    from market.venue.market_feed import MarketFeed

_UTP_REASONS = {
    "T1": "Halt News Pending", "T2": "Halt News Dissemination", "T5": "Single Stock Trading Pause In Affect",
    "T6": "Regulatory Halt Extraordinary Market Activity", "T8": "Halt ETF",
    "T12": "Trading Halted; For information requested by NASDAQ", "H4": "Halt Non Compliance",
    "H9": "Halt Filings Not Current", "H10": "Halt SEC Trading Suspension", "H11": "Halt Regulatory Concern",
    "LUDP": "Volatility Trading Pause", "LUDS": "Volatility Trading Pause - Straddle Condition", "MWC1": "Market Wide Circuit Breaker Halt Level 1",
    "MWC2": "Market Wide Circuit Breaker Halt Level 2", "MWC3": "Market Wide Circuit Breaker Halt Level 3",
}  # fmt: skip
_CTA_OF = {"T1": ("P", "News Pending"), "T2": ("D", "News Released (formerly News Dissemination)"),
           "LUDP": ("M", "Limit Up-Limit Down (LULD) Trading Pause"),
           "LUDS": ("M", "Limit Up-Limit Down (LULD) Trading Pause"),
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
            if code.startswith("MWC"):
                rc, rm = "MWCQ", "Market Wide Circuit Breaker Resumption"
        else:
            pause = code in ("LUDP", "LUDS")
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
    code = SHORTS_RESTRICTED if event.kind == SHORTS_RESTRICTED else event.code
    message = status_message(exchange, event.symbol, event.t, code, resume=resume)
    told = event.kind != SHORTS_RESTRICTED
    polygon = polygon_status(exchange, event.symbol, event.t, resume=resume) if told else None
    return Special("statuses", event.symbol, message, polygon)


class Halts:
    """Stops and starts trading in a symbol at the wish of whoever runs the rehearsal."""

    def __init__(self, exchange: Exchange, feed: MarketFeed) -> None:
        self._exchange = exchange
        self._feed = feed

    def halt(self, symbol: str, seconds: float, code: str, t: int) -> None:
        """Halt `symbol` for so many venue seconds (0: for good)."""
        exchange = self._exchange
        end = t + int(seconds * SECOND) if seconds else NEVER
        exchange.halted.add(symbol)
        exchange.restrictions.halt(symbol, code, t, end)
        self._announce(symbol, t, code, resume=False)
        if seconds:
            exchange.at(end, lambda when: self._resume(symbol, code, when))

    def _resume(self, symbol: str, code: str, t: int) -> None:
        """This halt is over; unless another one lasts, trading goes on (the book was told by its own timer)."""
        exchange = self._exchange
        if not exchange.restrictions.stopped(symbol):
            exchange.halted.discard(symbol)
            self._announce(symbol, t, code, resume=True)

    def _announce(self, symbol: str, t: int, code: str, *, resume: bool) -> None:
        exchange = self._exchange
        if symbol not in exchange.books:
            exchange.note("status", t, {"symbol": symbol, "code": "" if resume else code, "trading": resume})
        message = status_message(exchange, symbol, t, code, resume=resume)
        polygon = polygon_status(exchange, symbol, t, resume=resume)
        self._feed.announce(Special("statuses", symbol, message, polygon))
