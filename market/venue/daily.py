"""Daily bars for the tape and for every historical answer: raw prices, one row a symbol and session.

Reads the canonical daily frame, or any Parquet or CSV with symbol, date and open/high/low/close/volume in
the usual spellings (o, h, l, c, v). Rows are held sorted by (symbol, date), so a symbol is one slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from market.venue.errors import TapeError

_SPELLINGS: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker"),
    "date": ("date",),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "v"),
    "dividend": ("dividend", "dividends", "dividend_amount"),
    "split": ("split", "splits", "split_coefficient"),
}
_OPTIONAL = {"dividend": 0.0, "split": 1.0, "volume": 0.0}


@dataclass(frozen=True)
class DailyBar:
    """One session of one symbol, raw, USD and shares; `dividend` per share and `split` ratio of that day."""

    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float
    dividend: float = 0.0
    split: float = 1.0


def read_daily(path: Path) -> pl.DataFrame:
    """The file as columns symbol, date, open, high, low, close, volume, dividend, split; TapeError if it cannot be."""
    if not path.is_file():
        raise TapeError(f"no price file at {path}; give --data a Parquet or CSV of daily bars")
    try:
        frame = (
            pl.read_csv(path, try_parse_dates=True)
            if path.suffix.lower() == ".csv"
            else pl.read_parquet(path)
        )
    except Exception as reason:  # polars raises many kinds; each means the same to the caller
        raise TapeError(f"{path} cannot be read as a price file: {reason}".splitlines()[0]) from reason
    return canonical(frame, str(path))


def canonical(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    """Rename, cast, drop rows without prices and sort; the venue replays what is there and invents no bar."""
    by_name = {name.lower(): name for name in frame.columns}
    chosen: list[pl.Expr] = []
    missing: list[str] = []
    for wanted, names in _SPELLINGS.items():
        found = next((by_name[name] for name in names if name in by_name), None)
        if found is None and wanted not in _OPTIONAL:
            missing.append(wanted)
        elif found is None:
            chosen.append(pl.lit(_OPTIONAL[wanted]).alias(wanted))
        else:
            kind = {"symbol": pl.String, "date": pl.Date}.get(wanted, pl.Float64)
            chosen.append(pl.col(found).cast(kind, strict=False).alias(wanted))
    if missing:
        raise TapeError(f"{source} has no column {', '.join(missing)}; it has {', '.join(frame.columns)}")
    prices = frame.select(chosen).drop_nulls(["symbol", "date", "open", "high", "low", "close"])
    prices = prices.filter((pl.col("low") > 0) & (pl.col("high") >= pl.col("low")))
    if prices.is_empty():
        raise TapeError(f"{source} has no usable price row")
    return prices.with_columns(
        pl.col("volume").fill_null(0.0), pl.col("dividend").fill_null(0.0), pl.col("split").fill_null(1.0)
    ).sort("symbol", "date")


class DailyHistory:
    """Every daily bar known to the venue. What may be shown is the caller's matter: see `Tape`."""

    def __init__(self, frame: pl.DataFrame, symbols: list[str] | None = None) -> None:
        if symbols:
            frame = frame.filter(pl.col("symbol").is_in(symbols))
            absent = sorted(set(symbols) - set(frame["symbol"].unique()))
            if absent:
                raise TapeError(f"the price file has no rows for {', '.join(absent[:10])}")
        frame = frame.unique(["symbol", "date"], keep="last", maintain_order=True)
        counts = frame.group_by("symbol", maintain_order=True).len()
        starts = np.concatenate([[0], np.cumsum(counts["len"].to_numpy())])
        self._slices = {
            symbol: (int(starts[i]), int(starts[i + 1]))
            for i, symbol in enumerate(counts["symbol"].to_list())
        }
        # Days since 1970 make a bisection of one symbol's slice a plain integer search.
        self._days = frame["date"].to_physical().to_numpy().astype(np.int32)
        self._columns = {
            name: frame[name].to_numpy()
            for name in ("open", "high", "low", "close", "volume", "dividend", "split")
        }
        self.last_day = _day(int(self._days.max()))
        self.first_day = _day(int(self._days.min()))

    @property
    def symbols(self) -> list[str]:
        """Every symbol with at least one row, sorted."""
        return list(self._slices)

    def has_day(self, day: date) -> bool:
        """Whether any symbol has a bar on `day`."""
        return bool((self._days == _number(day)).any())

    def last_day_before(self, day: date) -> date | None:
        """The newest day with bars before `day`."""
        earlier = self._days[self._days < _number(day)]
        return _day(int(earlier.max())) if len(earlier) else None

    def on(self, symbol: str, day: date) -> DailyBar | None:
        """The bar of `day`, or None."""
        found = self.between(symbol, day, day)
        return found[0] if found else None

    def before(self, symbol: str, day: date) -> DailyBar | None:
        """The newest bar strictly before `day`."""
        low, high = self._slices.get(symbol, (0, 0))
        at = low + int(np.searchsorted(self._days[low:high], _number(day), "left")) - 1
        return self._bar(at) if at >= low and high > low else None

    def between(self, symbol: str, start: date, end: date) -> list[DailyBar]:
        """Bars from `start` to `end`, both included, oldest first."""
        low, high = self._slices.get(symbol, (0, 0))
        days = self._days[low:high]
        first = low + int(np.searchsorted(days, _number(start), "left"))
        last = low + int(np.searchsorted(days, _number(end), "right"))
        return [self._bar(i) for i in range(first, last)]

    def _bar(self, at: int) -> DailyBar:
        values = {name: float(column[at]) for name, column in self._columns.items()}
        return DailyBar(_day(int(self._days[at])), **values)


_EPOCH_DAY = date(1970, 1, 1)


def _number(day: date) -> int:
    return (day - _EPOCH_DAY).days


def _day(number: int) -> date:
    return _EPOCH_DAY + timedelta(days=number)
