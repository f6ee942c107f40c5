"""Daily bars as arrays, sessions × names, and the past of them that a decision may see.

Prices are adjusted for splits and dividends (total return), as the walk-forward uses them: a share here
is an adjusted share, and no corporate action moves the book. A name without a bar in a session is NaN.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from executor.backtest.tables import read_prices
from models.risk.snapshot import Floats


@dataclass(frozen=True)
class History:
    """Bars of many names. Arrays are (sessions × names), USD and shares, adjusted."""

    sessions: tuple[dt.date, ...]
    symbols: tuple[str, ...]
    """Ascending."""
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.sessions)

    def until(self, session: int) -> History:
        """What is known after the close of a session, as views: what comes later cannot be reached."""
        end = session + 1
        return History(
            self.sessions[:end], self.symbols, self.open[:end], self.high[:end], self.low[:end],
            self.close[:end], self.volume[:end],
        )  # fmt: skip


def load(source: str, store: Path) -> History:
    """Bars of a file (Parquet or CSV: symbol, date, OHLCV, adj_close if there is one) or of a stored data set.

    Raises :class:`InputError` naming the file, the column and the way out.
    """
    return _matrix(*read_prices(store / f"{source}.parquet" if source.startswith("ds-") else Path(source)))


def _matrix(dates: np.ndarray, symbols: np.ndarray, columns: dict[str, np.ndarray]) -> History:
    days, row = np.unique(dates, return_inverse=True)
    names, column = np.unique(symbols, return_inverse=True)
    arrays = {}
    for name, values in columns.items():
        array = np.full((len(days), len(names)), np.nan)
        array[row, column] = values
        arrays[name] = array
    bad = ~(arrays["close"] > 0)
    for name in ("open", "high", "low", "close"):
        arrays[name] = np.where(bad, np.nan, arrays[name])
    arrays["volume"] = np.where(bad, np.nan, arrays["volume"])
    sessions = tuple(d.item() for d in days.astype("datetime64[D]"))
    return History(sessions, tuple(str(n) for n in names), **arrays)
