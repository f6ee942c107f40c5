"""The only file here that reads and writes tables: prices and scores in, returns out. Polars comes with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from executor.errors import InputError

COLUMNS = ("open", "high", "low", "close", "volume")


def read_prices(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """``(dates, symbols, columns)`` of daily bars, row by row, adjusted where the file says how.

    Raises :class:`InputError` naming the file, what it lacks and the way out.
    """
    import polars as pl

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
    adjusted = next((n for n in ("adj_close", "adjusted_close") if n in frame.columns), None)
    if adjusted is not None:
        factor = pl.col(adjusted) / pl.col("close")
        frame = frame.with_columns(
            *(pl.col(n) * factor for n in ("open", "high", "low")),
            pl.col(adjusted).alias("close"),
            pl.col("volume") / factor,
        )
    frame = frame.unique(["symbol", "date"], keep="last").sort("date", "symbol")
    columns = {n: frame[n].cast(pl.Float64).to_numpy() for n in COLUMNS}
    return frame["date"].to_numpy(), frame["symbol"].to_numpy().astype(str), columns


def read_scores(path: Path) -> list[tuple[dt.date, str, float]]:
    """``(date, symbol, score)`` of a walk-forward's scores."""
    import polars as pl

    try:
        frame = (
            pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, try_parse_dates=True)
        )
        rows = frame.select(
            pl.col("date").cast(pl.Date), pl.col("symbol").cast(pl.String), pl.col("score").cast(pl.Float64)
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"cannot use the scores {path} ({str(error).splitlines()[0]}); they need symbol, date, score"
        ) from None
    return list(rows.iter_rows())


def write_returns(path: Path, returns: Mapping[str, Any], names: Sequence[str]) -> None:
    """The returns as the tear sheet takes them."""
    import polars as pl

    pl.DataFrame({n: returns[n] for n in names}, schema_overrides={"date": pl.Date}).write_parquet(path)
