"""GET /v2/stocks/auctions: the opening and closing crosses of each day, once they have happened."""

from __future__ import annotations

from typing import Any

from market.venue.decimals import PRICE_SCALE
from market.venue.exchange import Exchange
from market.venue.paging import Page
from market.venue.price_history import PriceHistory
from market.venue.tape import CLOSING, OPENING
from market.venue.timestamps import new_york_date, rfc3339

_PRIMARY = {"A": "N", "B": "P", "C": "Q"}
"""Tape to the exchange that holds the cross."""
_FLAGS = {OPENING: ("o", "O", "Q"), CLOSING: ("c", "6", "M")}
"""Cross to its list, and its two conditions: the cross itself and the market center's official price."""


def auctions(
    exchange: Exchange, history: PriceHistory, symbols: list[str], start: int, end: int, limit: int, sort: str,
    token: str | None,
) -> tuple[dict[str, list[dict[str, Any]]], str | None]:  # fmt: skip
    """(days by symbol, next token): the limit counts days over all symbols."""
    days: list[tuple[str, dict[str, Any]]] = []
    for symbol in sorted(symbols):
        if symbol not in exchange.tape:
            continue
        letter = _PRIMARY[exchange.assets[symbol].tape_letter]
        found: dict[str, dict[str, Any]] = {}
        for trade in history.trades(symbol, start, end):
            if trade.kind not in _FLAGS:
                continue
            which, *flags = _FLAGS[trade.kind]
            day = new_york_date(trade.t).isoformat()
            entry = found.setdefault(day, {"d": day, "o": [], "c": []})
            for flag in flags:
                entry[which].append({"t": rfc3339(trade.t), "x": letter, "p": trade.price / PRICE_SCALE,
                                     "s": trade.size, "c": flag})  # fmt: skip
        rows = list(found.values())
        days += [(symbol, row) for row in (rows[::-1] if sort == "desc" else rows)]
    page = Page.of(days, limit, token)
    shown: dict[str, list[dict[str, Any]]] = {}
    for symbol, row in page.rows:
        shown.setdefault(symbol, []).append(row)
    return shown, page.next_token
