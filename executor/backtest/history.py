"""Daily bars as arrays, sessions × names, and the past of them that a decision may see.

Prices are adjusted for splits and dividends (total return), as the walk-forward uses them: a share here
is an adjusted share, and no corporate action moves the book. A name without a bar in a session is NaN.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from executor.errors import InputError
from models.risk.snapshot import Floats

COLUMNS = ("open", "high", "low", "close", "volume")


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
    import polars as pl

    path = Path(source)
    if source.startswith("ds-"):
        path = store / f"{source}.parquet"
    try:
        frame = pl.read_csv(path, try_parse_dates=True) if path.suffix == ".csv" else pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"cannot read prices from {path} ({str(error).splitlines()[0]}); give a Parquet or CSV file, or the id "
            "of a stored data set (ds-...)"
        ) from None
    missing = [name for name in ("symbol", "date", *COLUMNS) if name not in frame.columns]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(frame.columns)}")
    frame = frame.with_columns(pl.col("symbol").cast(pl.String), pl.col("date").cast(pl.Date))
    if "adj_close" in frame.columns:
        factor = pl.col("adj_close") / pl.col("close")
        frame = frame.with_columns(
            *(pl.col(n) * factor for n in ("open", "high", "low")),
            pl.col("adj_close").alias("close"),
            pl.col("volume") / factor,
        )
    frame = frame.unique(["symbol", "date"], keep="last").sort("date", "symbol")
    return _matrix(
        frame["date"].to_numpy(), frame["symbol"].to_numpy().astype(str),
        {n: frame[n].cast(pl.Float64).to_numpy() for n in COLUMNS},
    )  # fmt: skip


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
