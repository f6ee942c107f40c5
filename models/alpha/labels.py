"""What is predicted: the return from the next session's close to the close ``horizon`` bars later.

A score made after the close of t cannot be traded at that close. So the label enters at t+1 and leaves
at t+1+horizon, and ``label_end`` says when it became known: a model may learn from a row only if its
``label_end`` lies before the first session it is tested on (purging, Lopez de Prado 2018, chapter 7).
"""

from __future__ import annotations

import polars as pl

from models.errors import FeatureError


def forward_return(bars: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """``symbol, date, label`` (Float64) and ``label_end`` (Date) for each adjusted bar.

    The last ``horizon + 1`` bars of a name have null in both: their outcome is not known yet.

    Raises:
        FeatureError: a column is missing or the horizon is not positive.
    """
    missing = [name for name in ("symbol", "date", "close") if name not in bars.columns]
    if missing:
        raise FeatureError(f"bars lack {', '.join(missing)}; found {', '.join(bars.columns)}")
    if horizon < 1:
        raise FeatureError(f"a label needs a horizon of at least one session, got {horizon}")
    close = pl.col("close")
    return (
        bars.lazy()
        .select("symbol", "date", "close")
        .sort("symbol", "date")
        .with_columns(
            label=(close.shift(-1 - horizon) / close.shift(-1) - 1.0).over("symbol"),
            label_end=pl.col("date").shift(-1 - horizon).over("symbol"),
        )
        .with_columns(label=pl.when(pl.col("label").is_finite()).then(pl.col("label")))
        .select("symbol", "date", "label", "label_end")
        .collect()
    )
