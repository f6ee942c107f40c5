"""Daily features of each name, from adjusted bars, in Polars.

Every formula is free of the price level, so a later split or dividend, which rescales a whole adjusted
history, leaves past features as they were. Every feature of a session uses bars up to and including
that session only: computing them on a history cut anywhere gives the same values. Volume enters as
traded value (close x volume), which no split changes; adjusting for dividends distorts it by nothing,
since the two factors cancel.

Notation: c close, o open, h high, l low, r = c/c[-1] - 1, v = c x volume (USD), x[-k] k bars of the name
back, m the mean r of all names that session, sd_n / mean_n / max_n over the last n bars. Ranks are
across the names of a session, from -0.5 to 0.5. A feature whose window is not full is null.

Sources: momentum, Jegadeesh and Titman 1993; the last month skipped, Jegadeesh 1990; 52-week high,
George and Hwang 2004; residual momentum, Blitz, Huij and Martens 2011; MAX, Bali, Cakici and Whitelaw
2011; illiquidity, Amihud 2002; overnight and intraday, Lou, Polk and Skouras 2019; range volatility,
Parkinson 1980; betting against beta, Frazzini and Pedersen 2014.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import polars as pl

from models.errors import FeatureError

ROWS_AT_A_TIME = 50_000
BAR_COLUMNS = ("symbol", "date", "open", "high", "low", "close", "volume")

FORMULAS: dict[str, str] = {
    "momentum_12_1": "c[-21] / c[-252] - 1",
    "momentum_9_1": "c[-21] / c[-189] - 1",
    "momentum_6_1": "c[-21] / c[-126] - 1",
    "momentum_3_1": "c[-21] / c[-63] - 1",
    "return_1": "r",
    "reversal_5": "c / c[-5] - 1",
    "reversal_10": "c / c[-10] - 1",
    "reversal_21": "c / c[-21] - 1",
    "overnight_21": "21 mean_21(ln(o / c[-1]))",
    "intraday_21": "21 mean_21(ln(c / o))",
    "trend_63": "(c - c[-63]) / (63 mean_63(|c - c[-1]|))",
    "volatility_21": "sd_21(r)",
    "volatility_63": "sd_63(r)",
    "volatility_252": "sd_252(r)",
    "volatility_ratio": "sd_21(r) / sd_252(r)",
    "downside_63": "sqrt(mean_63(min(r, 0)^2)) / sd_63(r)",
    "skewness_63": "skewness over 63 of r",
    "max_return_21": "max_21(r)",
    "range_21": "sqrt(mean_21(ln(h / l)^2) / (4 ln 2))",
    "close_location_5": "mean_5((2c - h - l) / (h - l)), 0 where h = l",
    "range_position_21": "(c - min_21(l)) / (max_21(h) - min_21(l))",
    "high_252": "c / max_252(h) - 1",
    "low_252": "c / min_252(l) - 1",
    "volume_surprise": "ln(v / mean_21(v))",
    "volume_ratio_5_63": "ln(mean_5(v) / mean_63(v))",
    "volume_ratio_21_252": "ln(mean_21(v) / mean_252(v))",
    "illiquidity_21": "ln(1e-15 + mean_21(|r| / v))",
    "volume_return_21": "correlation over 21 of r and ln(v / v[-1])",
    "beta_252": "covariance / variance over 252 of r and m",
    "residual_volatility_63": "sd_63(r - m)",
    "residual_momentum_12_1": "(sum of r - m from -252 to -21) / (sqrt(231) sd_252(r - m))",
    "relative_21": "21 mean_21(r - m)",
    "rank_momentum_12_1": "rank of momentum_12_1",
    "rank_reversal_5": "rank of reversal_5",
    "rank_volatility_63": "rank of volatility_63",
    "rank_volume_21": "rank of mean_21(v)",
}
FEATURE_NAMES: tuple[str, ...] = tuple(FORMULAS)
FEATURE_HASH: str = hashlib.sha256(
    "\n".join(f"{name}={formula}" for name, formula in FORMULAS.items()).encode()
).hexdigest()
"""Changes when a feature is added, dropped, moved or redefined: an old model then no longer fits."""


def compute_features(bars: pl.DataFrame) -> pl.DataFrame:
    """All features of adjusted bars: ``symbol, date, *FEATURE_NAMES`` (Float32), one row a bar.

    Sorted by (symbol, date). A value that cannot be computed (short history, no volume, flat prices)
    is null, never NaN or infinite.

    Raises:
        FeatureError: a column is missing.
    """
    missing = [name for name in BAR_COLUMNS if name not in bars.columns]
    if missing:
        raise FeatureError(f"bars lack {', '.join(missing)}; found {', '.join(bars.columns)}")
    frame = (
        bars.select(BAR_COLUMNS)
        .sort("symbol", "date")
        .with_columns(r=(pl.col("close") / pl.col("close").shift(1) - 1.0).over("symbol"))
        .with_columns(m=pl.col("r").mean().over("date"))
    )
    # Some names at a time: the sixty working columns of a few names stay in the cache, those of five
    # hundred names would be gigabytes.
    parts = [_of_names(part) for part in _by_whole_names(frame, ROWS_AT_A_TIME)]
    whole = pl.concat(parts) if parts else _of_names(frame)
    return whole.with_columns(
        rank_momentum_12_1=_rank("momentum_12_1"),
        rank_reversal_5=_rank("reversal_5"),
        rank_volatility_63=_rank("volatility_63"),
        rank_volume_21=_rank("v21"),
    ).select("symbol", "date", *(pl.col(name).cast(pl.Float32) for name in FEATURE_NAMES))


def _by_whole_names(frame: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Slices of about ``rows`` rows of a frame sorted by symbol, none of which cuts a name."""
    ends = frame.select(pl.col("symbol").rle()).unnest("symbol")["len"].cum_sum().to_list()
    start = 0
    for end, after in zip(ends, [*ends[1:], None], strict=True):
        if after is None or after - start > rows:
            yield frame.slice(start, end - start)
            start = end


def _of_names(frame: pl.DataFrame) -> pl.DataFrame:
    """The features that need one name's bars and the market's return only, as Float32, and ``v21``."""
    found = (
        frame.with_columns(_by_name(_bar_terms()))
        .with_columns(e=pl.col("r") - pl.col("m"), rm=pl.col("r") * pl.col("m"), mm=pl.col("m") ** 2)
        .with_columns(_by_name(_windows()))
        .with_columns(_from_windows())
    )
    names = (*(name for name in FEATURE_NAMES if not name.startswith("rank_")), "v21")
    finite = (
        pl.when(pl.col(name).is_finite()).then(pl.col(name)).cast(pl.Float32).alias(name) for name in names
    )
    return found.select("symbol", "date", *finite)


def _by_name(terms: dict[str, pl.Expr]) -> list[pl.Expr]:
    return [term.over("symbol").alias(name) for name, term in terms.items()]


def _bar_terms() -> dict[str, pl.Expr]:
    c, o, h, low = (pl.col(name) for name in ("close", "open", "high", "low"))
    # A session without volume has no traded value: null, so that a mean over it is not dragged to zero.
    v = pl.when(pl.col("volume") > 0).then(c * pl.col("volume"))
    return {
        "v": v,
        "dv": (v / v.shift(1)).log(),
        "night": (o / c.shift(1)).log(),
        "day": (c / o).log(),
        "step": (c - c.shift(1)).abs(),
        "hl2": (h / low).log() ** 2,
        "location": pl.when(h > low).then((2 * c - h - low) / (h - low)).otherwise(0.0),
    }


def _windows() -> dict[str, pl.Expr]:
    c, r, v, e = (pl.col(name) for name in ("close", "r", "v", "e"))

    def mean(x: pl.Expr, n: int, share: float = 0.8) -> pl.Expr:
        return x.rolling_mean(n, min_samples=math.ceil(share * n))

    return {
        "momentum_12_1": c.shift(21) / c.shift(252) - 1.0,
        "momentum_9_1": c.shift(21) / c.shift(189) - 1.0,
        "momentum_6_1": c.shift(21) / c.shift(126) - 1.0,
        "momentum_3_1": c.shift(21) / c.shift(63) - 1.0,
        "reversal_5": c / c.shift(5) - 1.0,
        "reversal_10": c / c.shift(10) - 1.0,
        "reversal_21": c / c.shift(21) - 1.0,
        "overnight_21": 21.0 * mean(pl.col("night"), 21),
        "intraday_21": 21.0 * mean(pl.col("day"), 21),
        "trend_63": (c - c.shift(63)) / (63.0 * pl.col("step").rolling_mean(63)),
        "volatility_21": r.rolling_std(21),
        "volatility_63": r.rolling_std(63),
        "volatility_252": r.rolling_std(252, min_samples=240),
        "down2": (pl.min_horizontal(r, 0.0) ** 2).rolling_mean(63),
        "skewness_63": r.rolling_skew(63),
        "max_return_21": r.rolling_max(21),
        "range2": mean(pl.col("hl2"), 21),
        "close_location_5": mean(pl.col("location"), 5),
        "h21": pl.col("high").rolling_max(21),
        "l21": pl.col("low").rolling_min(21),
        "h252": pl.col("high").rolling_max(252, min_samples=240),
        "l252": pl.col("low").rolling_min(252, min_samples=240),
        "v5": mean(v, 5),
        "v21": mean(v, 21),
        "v63": mean(v, 63),
        "v252": mean(v, 252),
        "illiquid": mean(r.abs() / v, 21),
        "volume_return_21": pl.rolling_corr(r, pl.col("dv"), window_size=21),
        "r252": mean(r, 252),
        "m252": mean(pl.col("m"), 252),
        "rm252": mean(pl.col("rm"), 252),
        "mm252": mean(pl.col("mm"), 252),
        "residual_volatility_63": e.rolling_std(63),
        "e231": e.rolling_mean(231).shift(21),
        "esd252": e.rolling_std(252, min_samples=240),
        "relative_21": 21.0 * e.rolling_mean(21),
    }


def _from_windows() -> list[pl.Expr]:
    c = pl.col("close")
    col = pl.col
    terms = {
        "return_1": col("r"),
        "volatility_ratio": col("volatility_21") / col("volatility_252"),
        "downside_63": col("down2").sqrt() / col("volatility_63"),
        "range_21": (col("range2") / (4.0 * math.log(2.0))).sqrt(),
        "range_position_21": (c - col("l21")) / (col("h21") - col("l21")),
        "high_252": c / col("h252") - 1.0,
        "low_252": c / col("l252") - 1.0,
        "volume_surprise": (col("v") / col("v21")).log(),
        "volume_ratio_5_63": (col("v5") / col("v63")).log(),
        "volume_ratio_21_252": (col("v21") / col("v252")).log(),
        "illiquidity_21": (1e-15 + col("illiquid")).log(),
        "beta_252": (col("rm252") - col("r252") * col("m252")) / (col("mm252") - col("m252") ** 2),
        "residual_momentum_12_1": math.sqrt(231.0) * col("e231") / col("esd252"),
    }
    return [term.alias(name) for name, term in terms.items()]


def _rank(name: str) -> pl.Expr:
    """Position among the names of a session, -0.5 to 0.5, ties shared; 0 for a name alone."""
    value = pl.col(name)
    count = value.count().over("date")
    place = (value.rank("average").over("date") - 1.0) / (count - 1)
    return pl.when(count > 1).then(place - 0.5).otherwise(pl.when(value.is_not_null()).then(0.0))
