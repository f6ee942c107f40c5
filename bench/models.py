"""How fast the models are, each against a named baseline in the same run.

    python bench/models.py [--data FILE] [--sectors FILE] [--skip-walk-forward]

Without a file it uses the built-in sample (20 names, 32 years). Figures move by 30 % from run to run on
a shared machine: read the ratios.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
import polars as pl

from market.history import adjusted
from market.ingest import read_prices
from market.instruments import read_sectors
from market.sample import sample_instruments, sample_prices
from models.alpha.features import FEATURE_NAMES, compute_features
from models.alpha.labels import forward_return
from models.alpha.scoring import predict, score
from models.alpha.training import THREADS, to_matrix, train
from models.cost.estimate import estimate
from models.portfolio import mean_variance
from models.portfolio.caps import caps_of
from models.portfolio.optimiser import shrunk_covariance, skfolio_weights, target_weights
from models.portfolio.selection import expected_returns
from models.risk.snapshot import RiskSnapshot, build_snapshot, load_snapshot, save_snapshot
from models.risk.value_at_risk import Scenarios, historical
from models.strategy import Strategy, load_strategy
from models.validation.monte_carlo import block_bootstrap
from models.validation.walk_forward import walk_forward

ROWS: list[tuple[str, str, str, str]] = []


def timed(work: Callable[[], object], repeat: int = 1) -> float:
    """Median seconds of one call, after one warm-up when repeated."""
    if repeat > 1:
        work()
    spent = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))


def row(job: str, figure: str, baseline: str = "", ratio: float | None = None) -> None:
    """Print and keep one line of the table."""
    ROWS.append((job, figure, baseline, "" if ratio is None else f"{ratio:.1f}x"))
    print(f"  {job:<44} {figure:<26} {baseline:<44} {ROWS[-1][3]}", flush=True)


def pandas_features(frame: pd.DataFrame) -> pd.DataFrame:
    """Eighteen of the features as a pandas groupby would have them: the baseline."""
    by = frame.groupby("symbol", sort=False)
    c = frame["close"]
    out = pd.DataFrame(index=frame.index)

    def back(n: int) -> pd.Series:
        return by["close"].shift(n)

    def rolling(x: pd.Series, n: int, how: str) -> pd.Series:
        window = x.groupby(frame["symbol"], sort=False).rolling(n)
        return getattr(window, how)().reset_index(level=0, drop=True)

    r = c / back(1) - 1
    v = (c * frame["volume"]).where(frame["volume"] > 0)
    for name, near, far in (("12_1", 21, 252), ("9_1", 21, 189), ("6_1", 21, 126), ("3_1", 21, 63)):
        out[f"momentum_{name}"] = back(near) / back(far) - 1
    for n in (5, 10, 21):
        out[f"reversal_{n}"] = c / back(n) - 1
    for n in (21, 63, 252):
        out[f"volatility_{n}"] = rolling(r, n, "std")
    out["skewness_63"] = rolling(r, 63, "skew")
    out["max_return_21"] = rolling(r, 21, "max")
    out["high_252"] = c / rolling(frame["high"], 252, "max") - 1
    out["low_252"] = c / rolling(frame["low"], 252, "min") - 1
    v21 = rolling(v, 21, "mean")
    out["volume_surprise"] = np.log(v / v21)
    out["volume_ratio_21_252"] = np.log(v21 / rolling(v, 252, "mean"))
    out["range_21"] = np.sqrt(
        rolling(np.log(frame["high"] / frame["low"]) ** 2, 21, "mean") / (4 * np.log(2))
    )
    out["rank_momentum_12_1"] = out["momentum_12_1"].groupby(frame["date"]).rank(pct=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sectors", type=Path)
    parser.add_argument("--skip-walk-forward", action="store_true")
    options = parser.parse_args()
    prices = read_prices(options.data) if options.data else sample_prices()
    table = read_sectors(options.sectors) if options.sectors else sample_instruments()
    sectors = dict(zip(table["symbol"], table["sector"], strict=True))
    strategy = load_strategy(Path(__file__).resolve().parents[1] / "strategies/momentum.toml")
    print(f"{prices.height:,} bars, {prices['symbol'].n_unique()} names, to {prices['date'].max()}\n")
    scores = bench_alpha(prices, strategy)
    snapshot = bench_risk(prices)
    bench_portfolio(scores, snapshot, sectors, strategy)
    if not options.skip_walk_forward:
        bench_validation(prices, strategy, sectors)


def bench_alpha(prices: pl.DataFrame, strategy: Strategy) -> pl.DataFrame:
    """Features, training and scoring; returns the scores of the last session."""
    as_of = prices["date"].max()
    bars = adjusted(prices)
    ours = timed(lambda: compute_features(bars), 3)
    frame = bars.to_pandas(use_pyarrow_extension_array=False)
    count = pandas_features(frame.head(5000)).shape[1]
    theirs = timed(lambda: pandas_features(frame))
    rate, base = bars.height * len(FEATURE_NAMES) / ours, bars.height * count / theirs
    row(
        f"features, {len(FEATURE_NAMES)} in Polars",
        f"{ours:.2f} s, {rate / 1e6:.1f} M values/s",
        f"pandas groupby, {count}: {theirs:.1f} s, {base / 1e6:.1f} M values/s",
        rate / base,
    )
    features = compute_features(bars)
    rows = features.join(forward_return(bars, strategy.label.horizon_sessions), on=["symbol", "date"])
    model = train(rows, strategy, as_of=as_of)
    spent = timed(lambda: train(rows, strategy, as_of=as_of))
    row("training, with row selection and checks", f"{spent:.2f} s, {model.rows:,} rows", f"{THREADS} thread")

    last = features.filter(pl.col("date") == as_of)
    n = last.height
    x = to_matrix(last, FEATURE_NAMES)
    as_pandas = last.select(FEATURE_NAMES).to_pandas()
    ours = timed(lambda: predict(model, last), 30)
    theirs = timed(lambda: model.booster.predict(as_pandas, num_threads=THREADS), 30)
    bare = timed(lambda: model.booster.predict(x, num_threads=THREADS), 30)
    baseline = f"Booster.predict(pandas) {1e6 * theirs / n:.1f} us"
    row(f"scoring {n} names, from Polars", f"{1e6 * ours / n:.1f} us a name", baseline, theirs / ours)
    row("  of that, LightGBM on numpy", f"{1e6 * bare / n:.1f} us a name")
    spent = timed(lambda: score(model, last), 10)
    row("  with the three main reasons each", f"{1e6 * spent / n:.1f} us a name", "TreeSHAP, exact")
    return score(model, last)


def bench_risk(prices: pl.DataFrame) -> RiskSnapshot:
    """Snapshot, VaR with one order more, expected cost: what the executor's core calls."""
    as_of = prices["date"].max()
    spent = timed(lambda: build_snapshot(prices, as_of=as_of), 3)
    snapshot = build_snapshot(prices, as_of=as_of)
    row("risk snapshot, 500 scenarios", f"{1e3 * spent:.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        path, digest = save_snapshot(snapshot, Path(folder))
        row("  load and verify", f"{1e3 * timed(lambda: load_snapshot(path, digest), 10):.1f} ms")
    book = Scenarios(snapshot.symbols, snapshot.returns)
    book.set_book(dict.fromkeys(snapshot.symbols, 1e4))
    usd = np.full(len(snapshot.symbols), 1e4)
    some = snapshot.symbols[0]
    ours = timed(lambda: book.measure_with(some, 5e3, 0.99), 2000)
    theirs = timed(lambda: np.quantile(snapshot.returns @ usd, 0.01), 500)
    baseline = f"full revaluation and np.quantile: {1e6 * theirs:.1f} us"
    row("VaR and ES with one order more", f"{1e6 * ours:.1f} us", baseline, theirs / ours)
    pnl = book.pnl
    row("  of that, the quantile and tail", f"{1e6 * timed(lambda: historical(pnl, 0.99), 2000):.1f} us")
    spent = timed(lambda: estimate("sell", 100.0, 50.0, 0.0005, 1e6, 0.02, as_of), 2000)
    row("expected cost of one order", f"{1e6 * spent:.2f} us")
    return snapshot


def bench_portfolio(
    scores: pl.DataFrame, snapshot: RiskSnapshot, sectors: dict[str, str], strategy: Strategy
) -> None:
    """A whole proposal, and its programme by skfolio and directly."""
    n = len(snapshot.symbols)
    held = strategy.names_held(n)
    names = list(snapshot.symbols[:held])
    caps = caps_of([sectors.get(symbol, "Unclassified") for symbol in names], strategy.portfolio)
    returns = snapshot.returns[-252:, :held]
    mu = expected_returns(np.linspace(-0.1, 0.1, held), snapshot.daily_volatility[:held], 5)
    spent = timed(lambda: target_weights(scores, snapshot, sectors, strategy), 5)
    row(f"target weights, {held} of {n} names", f"{1e3 * spent:.1f} ms", "whole proposal, skfolio MeanRisk")
    theirs = timed(lambda: skfolio_weights(names, mu, returns, caps, risk_aversion=4.0), 10)
    ours = timed(lambda: mean_variance.solve(mu, shrunk_covariance(returns), caps, risk_aversion=4.0), 10)
    baseline = f"skfolio {1e3 * theirs:.1f} ms"
    row("  same programme straight to Clarabel", f"{1e3 * ours:.2f} ms", baseline, theirs / ours)


def bench_validation(prices: pl.DataFrame, strategy: Strategy, sectors: dict[str, str]) -> None:
    """The walk-forward and its bootstrap."""
    start = time.perf_counter()
    found = walk_forward(prices, strategy, sectors, as_of=prices["date"].max())
    spent = time.perf_counter() - start
    row(
        "walk-forward, whole", f"{spent:.1f} s", f"{len(found.folds)} refits, {found.returns.height} sessions"
    )
    net = found.returns["net"].to_numpy()
    row("block bootstrap, 1000 paths", f"{timed(lambda: block_bootstrap(net)):.2f} s")


if __name__ == "__main__":
    main()
