"""The built-in sample: real closes of twenty S&P 500 companies, 1990 to 2022, with the rest of the bar
modelled.

The closes come from the dataset inside the skfolio wheel (`skfolio.datasets.load_sp500_dataset`, BSD-3),
need no network and are kept to the last bit. They are adjusted for splits and dividends, so they are not the
prices that were quoted on the day. The dataset has nothing else: open, high, low and volume are drawn around
the closes by a seeded model and must be marked as modelled wherever they are shown (`SAMPLE_MODELLED`).

The model, per company, with r the close-to-close log return and s its local volatility (exponentially
weighted standard deviation, half-life 20 sessions):

    overnight return  = 0.25 r + 0.45 s e1                    open  = previous close x exp(overnight)
    high above body   = 0.35 s |e2|,   low below body = 0.35 s |e3|
    dollar volume     = base x (close / last close)^0.6 x exp(0.28 e4 - 0.04 + 0.22 (|r|/s - 0.8))

A day's range so comes to about 1.3 s, the size that real large companies show, and volume is log-normal
around the name's dollar volume of 2022, which grows with the company (exponent 0.6 of its adjusted price).
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
import polars as pl

from market.errors import MarketError

SAMPLE_SOURCE = "skfolio sp500_dataset (real adjusted closes, 20 companies, 1990-01-02 to 2022-12-28)"

SAMPLE_MODELLED: dict[str, object] = {
    "columns": ["open", "high", "low", "volume"],
    "how": (
        "Only the closes are real; they are adjusted for splits and dividends. Open, high, low and volume are "
        "drawn by a seeded model around them (overnight gap and range scaled to local volatility, log-normal "
        "dollar volume)."
    ),
    "adjusted": "close is split- and dividend-adjusted, so adj_close = close, dividend = 0 and split = 1",
}
"""What the store, the venue and every report say of the sample's columns."""

# symbol: name, GICS sector (as of 2022), plausible 2022 dollar volume a day in millions of USD.
_COMPANIES: dict[str, tuple[str, str, float]] = {
    "AAPL": ("Apple Inc.", "Information Technology", 12_500.0),
    "AMD": ("Advanced Micro Devices", "Information Technology", 8_000.0),
    "BAC": ("Bank of America", "Financials", 1_700.0),
    "BBY": ("Best Buy", "Consumer Discretionary", 250.0),
    "CVX": ("Chevron Corporation", "Energy", 1_600.0),
    "GE": ("General Electric", "Industrials", 550.0),
    "HD": ("Home Depot", "Consumer Discretionary", 1_250.0),
    "JNJ": ("Johnson & Johnson", "Health Care", 1_200.0),
    "JPM": ("JPMorgan Chase", "Financials", 1_600.0),
    "KO": ("Coca-Cola Company", "Consumer Staples", 950.0),
    "LLY": ("Eli Lilly and Company", "Health Care", 950.0),
    "MRK": ("Merck & Co.", "Health Care", 950.0),
    "MSFT": ("Microsoft", "Information Technology", 8_000.0),
    "PEP": ("PepsiCo", "Consumer Staples", 900.0),
    "PFE": ("Pfizer", "Health Care", 1_300.0),
    "PG": ("Procter & Gamble", "Consumer Staples", 1_000.0),
    "RRC": ("Range Resources", "Energy", 130.0),
    "UNH": ("UnitedHealth Group", "Health Care", 1_600.0),
    "WMT": ("Walmart", "Consumer Staples", 1_000.0),
    "XOM": ("ExxonMobil", "Energy", 2_200.0),
}

_HALF_LIFE_SESSIONS = 20
_SIZE_EXPONENT = 0.6
_PRICE_DECIMALS = 4


@functools.lru_cache(maxsize=4)
def sample_prices(seed: int = 7) -> pl.DataFrame:
    """The sample as a canonical daily frame: 20 symbols x 8,313 sessions, sorted by (symbol, date).

    The same seed gives the same frame; another seed changes only the modelled columns, never the closes.
    """
    closes = _real_closes()
    dates = closes["date"]
    frames = [
        _modelled_bars(symbol, dates, closes[symbol].to_numpy(), usd_millions, seed + 1000 * position)
        for position, (symbol, (_, _, usd_millions)) in enumerate(sorted(_COMPANIES.items()))
    ]
    return pl.concat(frames)


def sample_instruments() -> pl.DataFrame:
    """The sample's companies: symbol, name, sector (GICS sector names as of 2022)."""
    rows = [(symbol, name, sector) for symbol, (name, sector, _) in sorted(_COMPANIES.items())]
    return pl.DataFrame(
        rows, schema={"symbol": pl.String, "name": pl.String, "sector": pl.String}, orient="row"
    )


def _real_closes() -> pl.DataFrame:
    """date plus one Float64 column a symbol, exactly the numbers of the wheel.

    The file is read where the wheel put it: importing skfolio for it would load scikit-learn and cvxpy first.
    """
    package = importlib.util.find_spec("skfolio")
    if package is None or package.origin is None:
        raise MarketError(
            "the built-in sample needs the skfolio package, which is not installed; "
            "install sallyport[slow], or ingest a price file of your own"
        )
    file = Path(package.origin).parent / "datasets" / "data" / "sp500_dataset.csv.gz"
    if not file.is_file():
        raise MarketError(
            f"the installed skfolio has no {file.name} at {file.parent}; reinstall skfolio 1.12 or newer"
        )
    wide = pl.read_csv(file, schema_overrides=dict.fromkeys(_COMPANIES, pl.Float64))
    return wide.select(pl.col(wide.columns[0]).str.to_date("%Y-%m-%d").alias("date"), *sorted(_COMPANIES))


def _local_volatility(returns: np.ndarray) -> np.ndarray:
    """Exponentially weighted standard deviation of daily log returns, shape (n,), floored at 0.4 % a day."""
    decay = 0.5 ** (1 / _HALF_LIFE_SESSIONS)
    variance = np.empty_like(returns)
    # Seeded with the company's first year, so that the first bars are not flat.
    current = float(np.mean(np.square(returns[1:253])))
    for i, value in enumerate(returns):
        current = decay * current + (1 - decay) * value * value
        variance[i] = current
    floored: np.ndarray = np.maximum(np.sqrt(variance), 0.004)
    return floored


def _modelled_bars(
    symbol: str, dates: pl.Series, close: np.ndarray, usd_millions: float, seed: int
) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    count = len(close)
    returns = np.diff(np.log(close), prepend=np.log(close[0]))
    volatility = _local_volatility(returns)
    e1, e2, e3, e4 = rng.standard_normal((4, count))

    previous = np.concatenate([close[:1], close[:-1]])
    # Clipped at three standard deviations: a modelled bar must never look like a bad print.
    overnight = 0.25 * returns + 0.45 * volatility * np.clip(e1, -3, 3)
    opened = np.round(previous * np.exp(overnight), _PRICE_DECIMALS)
    top = np.maximum(opened, close)
    bottom = np.minimum(opened, close)
    high = np.round(top * np.exp(0.35 * volatility * np.abs(np.clip(e2, -3, 3))), _PRICE_DECIMALS)
    low = np.round(bottom * np.exp(-0.35 * volatility * np.abs(np.clip(e3, -3, 3))), _PRICE_DECIMALS)
    # Rounding may cross the real close by half a tick; the close is never moved, so the range is.
    high = np.maximum(high, top)
    low = np.minimum(low, bottom)

    size = (close / close[-1]) ** _SIZE_EXPONENT
    surprise = np.clip(np.abs(returns) / volatility - 0.8, -0.8, 4.0)
    dollars = 1e6 * usd_millions * size * np.exp(0.28 * np.clip(e4, -3, 3) - 0.04 + 0.22 * surprise)
    volume = np.maximum(np.rint(dollars / close / 100) * 100, 100.0)

    return pl.DataFrame(
        {
            "symbol": pl.repeat(symbol, count, eager=True, dtype=pl.String),
            "date": dates,
            "open": opened,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "adj_close": close,
            "dividend": np.zeros(count),
            "split": np.ones(count),
        }
    )
