"""The test stream: one symbol that trades once a second at every hour, so that a connection can be tried at any time."""

from __future__ import annotations

from typing import Any

from market.venue.timestamps import MINUTE, SECOND

SYMBOL = "FAKEPACA"
SECONDS_MAX = 120
"""A step of the clock further than this sends its newest part only."""


def price(second: int) -> float:
    """USD, a saw about 133.20 that depends on the second alone."""
    return round(133 + (second * 7919 % 41) / 100, 2)


def messages(start: int, end: int) -> dict[str, list[dict[str, Any]]]:
    """Channel to Alpaca messages at start < time <= end, `t` in nanoseconds."""
    first, last = start // SECOND + 1, end // SECOND
    found: dict[str, list[dict[str, Any]]] = {"trades": [], "quotes": [], "bars": []}
    for second in range(max(first, last - SECONDS_MAX + 1), last + 1):
        t, at = second * SECOND, price(second)
        found["quotes"].append({"T": "q", "S": SYMBOL, "bx": "O", "bp": round(at - 0.05, 2), "bs": 100, "ax": "O",
                                "ap": round(at + 0.05, 2), "as": 100, "c": ["R"], "z": "A", "t": t})  # fmt: skip
        found["trades"].append({"T": "t", "S": SYMBOL, "i": second % 10**9, "x": "N", "p": at, "s": 10, "c": [" "],
                                "z": "A", "t": t})  # fmt: skip
        if not second % 60:
            found["bars"].append(_bar(second - 60))
    return found


def _bar(first: int) -> dict[str, Any]:
    prices = [price(second) for second in range(first, first + 60)]
    return {"T": "b", "S": SYMBOL, "o": prices[0], "h": max(prices), "l": min(prices), "c": prices[-1], "v": 600,
            "t": first * SECOND // MINUTE * MINUTE, "n": 60, "vw": round(sum(prices) / 60, 6)}  # fmt: skip
