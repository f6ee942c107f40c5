"""Daily prices from Polygon's REST service, through polygon-api-client, as the canonical frame.

Bars are asked for unadjusted, because raw prices are what was traded; splits and cash dividends come
from the reference endpoints, and the adjusted close is computed from them here (CRSP's convention:
a dividend D on the ex-date scales every earlier price by 1 - D / previous close).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from market.errors import IngestError
from market.ingest import SCHEMA

NEW_YORK = ZoneInfo("America/New_York")
CALLS_PER_SYMBOL = 3


def download_daily(
    symbols: Sequence[str],
    start: dt.date,
    end: dt.date,
    *,
    api_key: str,
    base: str,
    calls_per_minute: int = 5,
    progress: Callable[[str, int, int], None] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> pl.DataFrame:
    """Canonical daily prices of ``symbols`` from ``start`` to ``end``, both included.

    Parameters
    ----------
    calls_per_minute : int
        Polygon's free plan allows 5; 0 means no limit.
    progress : callable, optional
        Called with symbol, how many are done, how many there are.

    Raises
    ------
    IngestError
        No key, a key that is refused, an unreachable service, or a symbol without any bar.
    """
    if not api_key:
        raise IngestError(
            "no Polygon key: set POLYGON_API_KEY (from Polygon's dashboard, or executor venue's ready line)"
        )
    if start > end:
        raise IngestError(f"the range starts {start}, after its end {end}; swap them")
    from polygon import RESTClient

    client = RESTClient(api_key, base=base)
    wait_s = CALLS_PER_SYMBOL * 60 / calls_per_minute if calls_per_minute else 0.0
    frames: list[pl.DataFrame] = []
    empty: list[str] = []
    for done, symbol in enumerate(symbols):
        if done and wait_s:
            pause(wait_s)
        bars = _ask(base, client.list_aggs, symbol, 1, "day", start, end, adjusted=False, limit=50_000)
        if not bars:
            empty.append(symbol)
            continue
        splits = _ask(base, client.list_splits, ticker=symbol, limit=1000)
        dividends = _ask(base, client.list_dividends, ticker=symbol, limit=1000)
        frames.append(_canonical(symbol, bars, splits, dividends))
        if progress is not None:
            progress(symbol, done + 1, len(symbols))
    if empty:
        raise IngestError(
            f"Polygon has no daily bars for {', '.join(empty[:5])} from {start} to {end}; correct the symbol, or "
            "check that the plan reaches back that far"
        )
    return pl.concat(frames).sort("symbol", "date")


def adjusted_close(
    dates: Sequence[dt.date],
    close: Sequence[float],
    splits: dict[dt.date, float],
    dividends: dict[dt.date, float],
) -> list[float]:
    """Total-return adjusted closes: the last one equals the raw close, earlier ones are scaled.

    ``splits`` holds new shares for an old one by ex-date, ``dividends`` USD a share by ex-date.
    """
    factor, adjusted = 1.0, [0.0] * len(close)
    for i in range(len(close) - 1, -1, -1):
        adjusted[i] = close[i] * factor
        if i:
            previous = close[i - 1]
            factor /= splits.get(dates[i], 1.0)
            # the dividend is paid on shares after a split of the same day
            paid = dividends.get(dates[i], 0.0) * splits.get(dates[i], 1.0)
            factor *= 1 - paid / previous
    return adjusted


def _canonical(
    symbol: str, bars: Iterable[Any], splits: Iterable[Any], dividends: Iterable[Any]
) -> pl.DataFrame:
    bars = sorted(bars, key=lambda b: b.timestamp)
    dates = [dt.datetime.fromtimestamp(b.timestamp / 1000, NEW_YORK).date() for b in bars]
    split_on: dict[dt.date, float] = {}
    for s in splits:
        day = dt.date.fromisoformat(s.execution_date)
        split_on[day] = split_on.get(day, 1.0) * s.split_to / s.split_from
    paid_on: dict[dt.date, float] = {}
    for d in dividends:
        day = dt.date.fromisoformat(d.ex_dividend_date)
        paid_on[day] = paid_on.get(day, 0.0) + d.cash_amount
    close = [float(b.close) for b in bars]
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(bars),
            "date": dates,
            "open": [float(b.open) for b in bars],
            "high": [float(b.high) for b in bars],
            "low": [float(b.low) for b in bars],
            "close": close,
            "volume": [float(b.volume) for b in bars],
            "adj_close": adjusted_close(dates, close, split_on, paid_on),
            "dividend": [paid_on.get(day, 0.0) for day in dates],
            "split": [split_on.get(day, 1.0) for day in dates],
        },
        schema=SCHEMA,
    )


def _ask(base: str, call: Callable[..., Iterable[Any]], *args: Any, **query: Any) -> list[Any]:
    """One call of the client with all its pages, its several ways of failing turned into one."""
    from polygon.exceptions import BadResponse
    from urllib3.exceptions import HTTPError

    try:
        return list(call(*args, **query))
    except BadResponse as error:
        raise IngestError(
            f"Polygon at {base} refuses: {str(error)[:200]}; check POLYGON_API_KEY and the plan"
        ) from None
    except HTTPError as error:
        raise IngestError(
            f"no usable answer from Polygon at {base} ({type(error).__name__}); check the network, or ask for fewer "
            "calls a minute"
        ) from None
