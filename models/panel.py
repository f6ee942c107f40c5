"""A long frame as dense arrays: one row a session, one column a name, NaN where there is no bar.

Portfolio simulation and risk are matrix work; this is the one place where the long Polars frame
becomes matrices.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """Sessions ascending, symbols ascending; every array of ``values`` is (sessions x symbols) float64."""

    sessions: tuple[dt.date, ...]
    symbols: tuple[str, ...]
    values: dict[str, Floats]

    def __getitem__(self, column: str) -> Floats:
        return self.values[column]


def to_panel(frame: pl.DataFrame, columns: Sequence[str]) -> Panel:
    """Dense arrays of some columns of a frame keyed by (symbol, date), which must be unique."""
    sessions, row = np.unique(frame["date"].to_numpy(), return_inverse=True)
    symbols, column = np.unique(frame["symbol"].to_numpy().astype(str), return_inverse=True)
    values = {}
    for name in columns:
        dense = np.full((len(sessions), len(symbols)), np.nan)
        dense[row, column] = frame[name].to_numpy()
        values[name] = dense
    return Panel(tuple(sessions.astype("datetime64[D]").tolist()), tuple(symbols.tolist()), values)


def fill_forward(x: Floats) -> Floats:
    """Each column with its last known value carried over gaps; NaN before the first one stays."""
    rows = np.where(np.isnan(x), 0, np.arange(len(x))[:, None])
    np.maximum.accumulate(rows, axis=0, out=rows)
    return np.take_along_axis(x, rows, axis=0)
