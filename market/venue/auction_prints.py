"""GET /v2/stocks/auctions: the opening and closing crosses of each day, once they have happened."""

from __future__ import annotations

import base64
import binascii
from datetime import date
from typing import Any

from market.venue.decimals import PRICE_SCALE
from market.venue.exchange import Exchange
from market.venue.price_history import SESSIONS_A_PAGE, PriceHistory
from market.venue.refusals import Refusal
from market.venue.tape import CLOSING, OPENING
from market.venue.timestamps import new_york_date, parse_moment, rfc3339

_PRIMARY = {"A": "N", "B": "P", "C": "Q"}
"""Tape to the exchange that holds the cross."""
_FLAGS = {OPENING: ("o", "O", "Q"), CLOSING: ("c", "6", "M")}
"""Cross to its list, and its two conditions: the cross itself and the market center's official price."""


def auctions(
    exchange: Exchange, history: PriceHistory, symbols: list[str], start: int, end: int, limit: int, sort: str,
    token: str | None,
) -> tuple[dict[str, list[dict[str, Any]]], str | None]:  # fmt: skip
    """(days by symbol, next token): the limit counts days over all symbols."""
    after = _read(token)
    history.looked_at = 0
    shown: dict[str, list[dict[str, Any]]] = {}
    taken, last = 0, ""
    for symbol in sorted(symbols):
        if symbol not in exchange.tape or (after and symbol < after[0]):
            continue
        seen = after[1] if after and symbol == after[0] else ""
        first, until = start, end
        if seen and sort == "asc":
            first = max(start, parse_moment(seen))
        elif seen:
            until = min(end, parse_moment(seen, end_of_day=True))
        letter = _PRIMARY[exchange.assets[symbol].tape_letter]
        for crosses in history.crosses(symbol, first, until, newest_first=sort == "desc"):
            day = new_york_date(crosses[0].t).isoformat()
            if day == seen:
                continue
            if taken == limit or (taken and history.looked_at > SESSIONS_A_PAGE):
                return shown, base64.b64encode(last.encode()).decode()
            entry: dict[str, Any] = {"d": day, "o": [], "c": []}
            for trade in crosses:
                which, *flags = _FLAGS[trade.kind]
                entry[which] += [{"t": rfc3339(trade.t), "x": letter, "p": trade.price / PRICE_SCALE,
                                  "s": trade.size, "c": flag} for flag in flags]  # fmt: skip
            shown.setdefault(symbol, []).append(entry)
            taken, last = taken + 1, f"{symbol}|{day}"
    return shown, None


def _read(token: str | None) -> tuple[str, str] | None:
    if not token:
        return None
    try:
        symbol, _, day = base64.b64decode(token, validate=True).decode("ascii").partition("|")
        return symbol, date.fromisoformat(day).isoformat()
    except (ValueError, binascii.Error):
        raise Refusal(400, None, "invalid page token") from None
