"""Polygon's technical indicators over its own aggregates: sma, ema, rsi (Wilder's) and macd.

An exponential average begins with the simple mean of its first window; every bar that is known counts, so a value does
not depend on how many are asked for. Shapes: the vendor's client and its fixtures (`/v1/indicators`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from market.venue.messages import Answer, Request, truth
from market.venue.polygon_parameters import bad, cursor, parse_limit, timestamp_span
from market.venue.price_history import Frame, PriceHistory
from market.venue.tape import Bar
from market.venue.timestamps import MILLISECOND, MINUTE, parse_moment

KINDS = ("sma", "ema", "rsi", "macd")
_DEFAULT_WINDOW = {"sma": 50, "ema": 50, "rsi": 14}
_TIMESPANS = ("minute", "hour", "day", "week", "month", "quarter", "year")
_SERIES: dict[str, Callable[[Bar], float]] = {
    "open": lambda bar: bar.open,
    "high": lambda bar: bar.high,
    "low": lambda bar: bar.low,
    "close": lambda bar: bar.close,
}
VALUES_DEFAULT, VALUES_MAX = 10, 5000
_INTRADAY_REACH = 10 * 24 * 60 * MINUTE
"""How far back an intraday series begins: every session has to be modelled for it."""


def sma(prices: Sequence[float], window: int) -> list[float | None]:
    """Mean of the last `window` prices; None until there are as many."""
    total, found = 0.0, []
    for i, price in enumerate(prices):
        total += price - (prices[i - window] if i >= window else 0.0)
        found.append(total / window if i >= window - 1 else None)
    return found


def ema(prices: Sequence[float | None], window: int) -> list[float | None]:
    """Exponential average with weight 2 / (window + 1); Nones at the beginning are passed over."""
    found: list[float | None] = []
    seen: list[float] = []
    value: float | None = None
    for price in prices:
        if price is None:
            found.append(None)
            continue
        if value is None:
            seen.append(price)
            value = sum(seen) / window if len(seen) == window else None
        else:
            value += (price - value) * 2 / (window + 1)
        found.append(value)
    return found


def rsi(prices: Sequence[float], window: int) -> list[float | None]:
    """Relative strength, 0 to 100, with Wilder's averages."""
    found: list[float | None] = [None] * min(len(prices), window)
    if len(prices) <= window:
        return found
    changes = [b - a for a, b in itertools.pairwise(prices)]
    up = sum(max(c, 0.0) for c in changes[:window]) / window
    down = sum(max(-c, 0.0) for c in changes[:window]) / window
    found.append(_strength(up, down))
    for change in changes[window:]:
        up = (up * (window - 1) + max(change, 0.0)) / window
        down = (down * (window - 1) + max(-change, 0.0)) / window
        found.append(_strength(up, down))
    return found


def _strength(up: float, down: float) -> float:
    return 50.0 if not up + down else 100 * up / (up + down)


def _window(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:6]) <= 5000:
        raise bad(f"Could not parse the '{name}' parameter")
    return int(text)


def _values(kind: str, prices: list[float], query: dict[str, str]) -> list[dict[str, float] | None]:
    if kind == "macd":
        short, long = _window(query, "short_window", 12), _window(query, "long_window", 26)
        fast, slow = ema(prices, short), ema(prices, long)
        line = [None if a is None or b is None else a - b for a, b in zip(fast, slow, strict=True)]
        signal = ema(line, _window(query, "signal_window", 9))
        return [None if v is None or s is None else {"value": v, "signal": s, "histogram": v - s}
                for v, s in zip(line, signal, strict=True)]  # fmt: skip
    window = _window(query, "window", _DEFAULT_WINDOW[kind])
    series = (
        sma(prices, window)
        if kind == "sma"
        else ema(prices, window)
        if kind == "ema"
        else rsi(prices, window)
    )
    return [None if value is None else {"value": value} for value in series]


def indicator(
    request: Request,
    history: PriceHistory,
    kind: str,
    ticker: str,
    *,
    request_id: str,
    base_url: str,
    next_url: Callable[[Request, str], str],
) -> Answer:
    """GET /v1/indicators/{kind}/{ticker}; newest first unless `order` says asc. PolygonRefusal for a bad parameter."""
    query = request.query
    timespan = query.get("timespan") or "day"
    if timespan not in _TIMESPANS:
        raise bad(f"Could not parse the 'timespan' parameter: '{timespan[:40]}'")
    series = _SERIES.get(query.get("series_type") or "close")
    if series is None:
        raise bad("Could not parse the 'series_type' parameter")
    order = query.get("order") or "desc"
    if order not in ("asc", "desc"):
        raise bad("Could not parse the 'order' parameter")
    limit = parse_limit(query, VALUES_DEFAULT, VALUES_MAX)
    now = history.exchange.now
    frame = Frame(timespan, 1)
    start, end = timestamp_span(query, default_start=0, now=now)
    first = (
        now - _INTRADAY_REACH
        if frame.intraday_ns
        else parse_moment(history.exchange.tape.history.first_day.isoformat())
    )
    adjusted = truth(query.get("adjusted", "true"))
    bars = list(history.bars(ticker, frame, first, min(end, now), "split" if adjusted else "raw"))
    values = _values(kind, [series(bar) for bar in bars], query)
    rows = [{"timestamp": bar.t // MILLISECOND, **value} for bar, value in zip(bars, values, strict=True)
            if value is not None and start <= bar.t <= end]  # fmt: skip
    if order == "desc":
        rows.reverse()
    seen = cursor(query)
    if seen is not None:
        rows = [
            row for row in rows if (row["timestamp"] < seen if order == "desc" else row["timestamp"] > seen)
        ]
    page = rows[:limit]
    left, right = (bars[0].t // MILLISECOND, bars[-1].t // MILLISECOND) if bars else (0, 0)
    underlying: dict[str, Any] = {
        "url": f"{base_url}/v2/aggs/ticker/{ticker}/range/1/{timespan}/{left}/{right}"
        f"?adjusted={'true' if adjusted else 'false'}&limit=50000&sort=desc"
    }
    if truth(query.get("expand_underlying")):
        underlying["aggregates"] = [aggregate_view(bar) for bar in reversed(bars)]
    results: dict[str, Any] = {"underlying": underlying}
    if page:
        results["values"] = page
    body: dict[str, Any] = {"results": results, "status": "OK", "request_id": request_id}
    if len(rows) > limit:
        body["next_url"] = next_url(request, str(int(page[-1]["timestamp"])))
    return Answer(200, body)


def aggregate_view(bar: Bar) -> dict[str, Any]:
    """One aggregate as every Polygon endpoint writes it."""
    return {"v": bar.volume, "vw": bar.vwap, "o": bar.open, "c": bar.close, "h": bar.high, "l": bar.low,
            "t": bar.t // MILLISECOND, "n": bar.trades}  # fmt: skip
