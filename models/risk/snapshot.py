"""What the executor needs to know about each name to check an order, fixed at one close.

A snapshot is built on the slow side from the price history and stored as an ``.npz`` whose SHA-256
is recorded in the ledger. Loading it takes numpy only, so the executor's core stays light.

Missing returns. The scenario matrix has no gaps. Where a listed name did not trade its close stands
still, so its return is 0 and the next one covers both sessions. Before a name was listed its return
is the mean of the names that did trade that session (a beta of one): zero would make every young
company look safe. A session without any return gives 0.

Formats. 1 had prices, volatilities, volumes, spreads and returns. 2 adds what the portfolio limits read:
market beta, factor loadings, clusters, and who fell by a tenth. A file of format 1 still loads; the missing
parts are ``None``, which the limits that need them take as unknown and so refuse new risk.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import os
import zipfile
from bisect import bisect_left
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactError, RiskError
from models.risk.factors import correlation_clusters, market_beta, statistical_factors

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
VOLATILITY_SESSIONS = 63
VOLUME_SESSIONS = 21
SPREAD_SESSIONS = 252
OBSERVATIONS_MIN = 21
BETA_SESSIONS = 252
SCENARIOS = 1000
"""Sessions kept as scenarios where there are so many: the 99 % tail is then ten of them."""
RESTRICTING_FALL = 0.10
"""Fall from the prior close that restricts short sales for the rest of the day and the next (Rule 201)."""
FORMAT = 2
_ARRAYS = ("close", "daily_volatility", "average_volume", "spread", "returns")
_SINCE_2 = ("beta", "loadings", "cluster", "restricted")


@dataclass(frozen=True)
class RiskSnapshot:
    """Figures of each name known at the close of ``as_of``; arrays follow ``symbols``."""

    as_of: dt.date
    symbols: tuple[str, ...]
    """Names that traded on ``as_of``, ascending. Another name cannot be risk-checked, so not bought."""
    close: Floats
    """Raw close, USD."""
    daily_volatility: Floats
    """Standard deviation of daily total returns over 63 sessions."""
    average_volume: Floats
    """Mean shares a session over 21 sessions, in today's shares (mean traded USD over today's close)."""
    spread: Floats
    """Estimated bid-ask spread as a fraction of price."""
    returns: Floats
    """(scenarios x names) daily total returns, oldest first, no gaps (see the module's text)."""
    beta: Floats | None = None
    """Slope on the equal-weighted market over 252 sessions (``models.risk.factors.market_beta``)."""
    loadings: Floats | None = None
    """(names x factors) return at one standard deviation of each statistical factor."""
    cluster: Floats | None = None
    """Number of the cluster of correlated names, whole numbers."""
    restricted: Floats | None = None
    """1 where the low of ``as_of`` was a tenth under the close before: no short sale at the bid next session."""

    def __contains__(self, symbol: str) -> bool:
        at = bisect_left(self.symbols, symbol)
        return at < len(self.symbols) and self.symbols[at] == symbol

    def index(self, symbol: str) -> int:
        """Column of a symbol.

        Raises:
            RiskError: the snapshot does not know the symbol.
        """
        at = bisect_left(self.symbols, symbol)
        if at == len(self.symbols) or self.symbols[at] != symbol:
            raise RiskError(f"{symbol} is not in the risk snapshot of {self.as_of}: no trade that session")
        return at


def build_snapshot(prices: pl.DataFrame, *, as_of: dt.date, scenarios: int = SCENARIOS) -> RiskSnapshot:
    """A snapshot from canonical daily prices; rows after ``as_of`` are not looked at.

    Raises:
        RiskError: no prices on ``as_of``, or too few sessions before it for a risk figure.
    """
    import polars as pl

    from models.cost.spread import pooled_spread
    from models.panel import fill_forward, to_panel

    if scenarios < OBSERVATIONS_MIN:
        raise RiskError(f"a snapshot needs at least {OBSERVATIONS_MIN} scenarios, got {scenarios}")
    known = prices.select("date").unique().filter(pl.col("date") <= as_of).sort("date")["date"]
    if known.is_empty() or known[-1] != as_of:
        last = known[-1] if len(known) else "none"
        raise RiskError(f"no prices on {as_of} (newest known session: {last}): ingest that session first")
    kept = known.tail(scenarios + 1)
    if len(kept) <= OBSERVATIONS_MIN:
        raise RiskError(f"only {len(kept)} sessions up to {as_of}: a snapshot needs over {OBSERVATIONS_MIN}")
    window = prices.filter(pl.col("date").is_between(kept[0], as_of))
    trading = window.filter(pl.col("date") == as_of)["symbol"]
    window = window.filter(pl.col("symbol").is_in(trading.implode()))
    panel = to_panel(window, ("open", "high", "low", "close", "volume", "adj_close"))

    adjusted = fill_forward(panel["adj_close"])
    returns = adjusted[1:] / adjusted[:-1] - 1.0
    if np.isinf(returns).any():
        raise RiskError(f"a price of zero before {as_of} makes a return infinite: run the price checks")
    volatility = _volatility(returns[-VOLATILITY_SESSIONS:])
    close = panel["close"][-1]
    traded = np.nan_to_num(panel["close"] * panel["volume"])[-VOLUME_SESSIONS:].mean(axis=0)
    o, h, low, c = (panel[name][-SPREAD_SESSIONS:] for name in ("open", "high", "low", "close"))
    spread = pooled_spread(o, h, low, c, traded, as_of)

    observed = np.isfinite(returns)
    count = observed.sum(axis=1)
    market = np.where(count > 0, np.where(observed, returns, 0.0).sum(axis=1) / np.maximum(count, 1), 0.0)
    scenario = np.where(observed, returns, market[:, None])
    # The low of the day against the close before, both in today's shares.
    prior = adjusted[-2] * close / adjusted[-1]
    fell = np.nan_to_num(panel["low"][-1] <= (1.0 - RESTRICTING_FALL) * prior, nan=0.0)
    return with_factors(
        RiskSnapshot(
            as_of,
            panel.symbols,
            close.copy(),
            volatility,
            traded / close,
            spread,
            np.ascontiguousarray(scenario),
            restricted=fell.astype(np.float64),
        )
    )


def with_factors(snapshot: RiskSnapshot) -> RiskSnapshot:
    """The snapshot with beta, loadings and clusters measured from its own scenarios."""
    recent = snapshot.returns[-BETA_SESSIONS:]
    nobody = np.zeros(len(snapshot.symbols))
    return replace(
        snapshot,
        beta=market_beta(recent, recent.mean(axis=1)),
        loadings=statistical_factors(snapshot.returns),
        cluster=correlation_clusters(snapshot.returns).astype(np.float64),
        restricted=nobody if snapshot.restricted is None else snapshot.restricted,
    )


def _volatility(returns: Floats) -> Floats:
    """Standard deviation of each column; a name too young for one gets the ninth decile of the others."""
    observed = np.isfinite(returns)
    count = observed.sum(axis=0)
    filled = np.where(observed, returns, 0.0)
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    squares = np.where(observed, (returns - mean) ** 2, 0.0).sum(axis=0)
    volatility = np.sqrt(squares / np.maximum(count - 1, 1))
    known = count >= OBSERVATIONS_MIN
    if not known.any():
        raise RiskError(f"no name has {OBSERVATIONS_MIN} returns: the history is too short for a volatility")
    return np.asarray(np.where(known, volatility, np.quantile(volatility[known], 0.9)))


def save_snapshot(snapshot: RiskSnapshot, folder: Path) -> tuple[Path, str]:
    """Write ``risk-<as_of>-<16 hex>.npz`` atomically; returns the path and the SHA-256 of its bytes.

    The same snapshot always gives the same bytes.
    """
    buffer = io.BytesIO()
    present = [name for name in (*_ARRAYS, *_SINCE_2) if getattr(snapshot, name) is not None]
    arrays = {name: np.ascontiguousarray(getattr(snapshot, name), dtype=np.float64) for name in present}
    head = {"format": np.array(FORMAT), "as_of": np.array(snapshot.as_of.isoformat())}
    np.savez(buffer, allow_pickle=False, **head, symbols=np.array(snapshot.symbols), **arrays)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    path = Path(folder) / f"risk-{snapshot.as_of}-{digest[:16]}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)
    return path, digest


def load_snapshot(path: Path, expected_hash: str) -> RiskSnapshot:
    """Read a snapshot back, if and only if its bytes have the expected SHA-256.

    Raises:
        ArtifactError: no such file, another content, or not a snapshot.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"cannot read the risk snapshot {path}: {error.strerror}; propose again"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected_hash:
        raise ArtifactError(
            f"the risk snapshot {path} has SHA-256 {digest[:16]}..., the ledger recorded "
            f"{expected_hash[:16]}...: it was changed or replaced; propose the batch again"
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            written = int(stored["format"]) if "format" in stored else 1
            if written > FORMAT:
                raise ArtifactError(
                    f"the risk snapshot {path} has format {written}, this version reads up to {FORMAT}: "
                    "update Sallyport, or propose the batch again with this version"
                )
            as_of = dt.date.fromisoformat(str(stored["as_of"]))
            symbols = tuple(str(symbol) for symbol in stored["symbols"])
            arrays = {name: stored[name] for name in _ARRAYS}
            arrays |= {name: stored[name] for name in _SINCE_2 if name in stored}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path} is not a risk snapshot: {error}") from None
    n = len(symbols)
    for name, array in arrays.items():
        along = array.shape[0] if name == "loadings" else array.shape[-1]
        if along != n or array.ndim != (2 if name in ("returns", "loadings") else 1):
            raise ArtifactError(
                f"the risk snapshot {path} is damaged: {name} is {array.shape} for {n} symbols"
            )
    return RiskSnapshot(as_of, symbols, **arrays)
