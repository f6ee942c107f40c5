"""Back-test speed: the live core on daily bars of 500 names, beside a bare Python loop over the same bars.

``python bench/backtest.py [--names 500] [--sessions 1500] [--peer PYTHON]``. The strategy is a moving-average
cross (50 over 200 sessions) that trades every crossing at the next close, equal weight. Counted are the
sessions in which it trades (after the warm-up); building risk snapshots is the nightly job's work and is
shown on its own line. The floor is a Python loop that walks the same bars, keeps the same two averages,
and books trades in a dictionary: no limits, no records, no states. ``--peer`` runs backtesting.py out of
another environment over the same bars, name by name, if it is installed there. One thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from executor.backtest.history import History
from executor.backtest.risk import SESSIONS_MIN, snapshot_of
from executor.backtest.run import Backtest, Terms
from executor.backtest.signals import MovingAverageCross
from executor.core.policy import ExecutionPolicy
from executor.settings import LimitSettings
from models.risk.snapshot import RiskSnapshot

FAST, SLOW = 50, 200
SNAPSHOT_EVERY = 250


def bars(names: int, sessions: int) -> History:
    """Seeded prices with a common factor; quiet enough that no breaker ends the run."""
    rng = np.random.default_rng(11)
    moves = rng.normal(0.0004, 0.004, (sessions, 1)) + rng.normal(0, 0.010, (sessions, names))
    close = np.round(60.0 * np.exp(np.cumsum(moves, axis=0)), 2)
    opens = np.round(close * np.exp(rng.normal(0, 0.002, close.shape)), 2)
    high, low = np.maximum(opens, close) * 1.003, np.minimum(opens, close) * 0.997
    days = np.busday_offset(np.datetime64("2005-01-03"), np.arange(sessions)).astype(object)
    symbols = tuple(f"S{i:03d}" for i in range(names))
    return History(tuple(days), symbols, opens, high, low, close, rng.uniform(5e6, 2e7, close.shape))


def floor(h: History, first: int) -> tuple[float, int]:
    """The bare loop: seconds, and trades."""
    close = [row.tolist() for row in h.close]
    n = len(h.symbols)
    fast = [sum(close[t][i] for t in range(first - FAST, first)) for i in range(n)]
    slow = [sum(close[t][i] for t in range(first - SLOW, first)) for i in range(n)]
    was, held, cash, trades = [False] * n, {}, 1e6, 0
    started = time.process_time()
    for t in range(first, len(close)):
        row, out_fast, out_slow = close[t], close[t - FAST], close[t - SLOW]
        equity = cash + sum(q * row[i] for i, q in held.items())
        for i in range(n):
            fast[i] += row[i] - out_fast[i]
            slow[i] += row[i] - out_slow[i]
            above = fast[i] / FAST > slow[i] / SLOW
            if above != was[i]:
                was[i], trades = above, trades + 1
                if above:
                    held[i] = int(0.9 / n * equity / row[i])
                    cash -= held[i] * row[i]
                else:
                    cash += held.pop(i, 0) * row[i]
    return time.process_time() - started, trades


PEER = """
import sys, time, numpy as np, pandas as pd
from backtesting import Backtest, Strategy
data = np.load(sys.argv[1]); first = int(sys.argv[2]); count = int(sys.argv[3])
class Cross(Strategy):
    def init(self):
        average = lambda x, n: pd.Series(x).rolling(n).mean()
        self.fast = self.I(average, self.data.Close, 50); self.slow = self.I(average, self.data.Close, 200)
    def next(self):
        above = self.fast[-1] > self.slow[-1]
        if above and not self.position: self.buy(size=0.9)
        elif not above and self.position: self.position.close()
seconds = bars = trades = 0
index = pd.bdate_range('2005-01-03', periods=data['close'].shape[0])
for i in range(count):
    frame = pd.DataFrame({n.title(): data[n][:, i] for n in ('open', 'high', 'low', 'close', 'volume')}, index=index)
    test = Backtest(frame, Cross, cash=1e6); started = time.process_time(); stats = test.run()
    seconds += time.process_time() - started; bars += len(frame) - 200; trades += int(stats['# Trades'])
print(bars / seconds, trades)
"""


def peer(python: str, h: History, first: int) -> str:
    """backtesting.py in another environment: its bars a second, or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.npz"
        np.savez(path, **{n: getattr(h, n) for n in ("open", "high", "low", "close", "volume")})
        run = subprocess.run(
            [python, "-W", "ignore", "-c", PEER, str(path), str(first), "20"],
            capture_output=True,
            text=True,
            check=False,
        )
    return (
        run.stdout.strip().splitlines()[-1] if run.returncode == 0 else f"failed: {run.stderr.strip()[-200:]}"
    )


def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("--names", type=int, default=500)
    parse.add_argument("--sessions", type=int, default=1500)
    parse.add_argument("--peer", default="")
    given = parse.parse_args()
    first = SESSIONS_MIN + 1
    h = bars(given.names, given.sessions)
    counted = (len(h) - first) * len(h.symbols)

    snapshots: dict[int, RiskSnapshot | None] = {}
    started = time.process_time()
    for t in range(first, len(h), SNAPSHOT_EVERY):
        snapshots[t] = snapshot_of(h.until(t))
    snapshot_s = (time.process_time() - started) / len(snapshots)

    limits = {name: str(value) for name, value in LimitSettings().model_dump().items()}
    sectors = {s: f"sector {i % 11}" for i, s in enumerate(h.symbols)}
    terms = Terms(snapshot_every=SNAPSHOT_EVERY, policy=ExecutionPolicy(no_trade_band=Decimal("0.0002")))
    test = Backtest(
        h, MovingAverageCross(FAST, SLOW), limits, sectors, terms,
        risk=lambda known: snapshots[max(t for t in snapshots if t <= max(first, len(known) - 1))]
        if len(known) > first else None,
    )  # fmt: skip
    test.run(first - 2, first + 5)  # the first day buys half the names: not what a session costs
    marks: list[tuple[int, float]] = []
    sessions = iter(range(len(h)))

    def remember() -> None:
        if next(sessions) % 100 == 0:
            marks.append((len(test.broker.trades), rss_mb()))

    started = time.process_time()
    before = len(test.broker.trades)
    test.run(first + 6, None, each=remember)
    ours_s = time.process_time() - started
    ours_bars = (len(h) - first - 6) * len(h.symbols)
    trades = len(test.broker.trades) - before
    floor_s, floor_trades = floor(h, first)

    ours, bare = ours_bars / ours_s, counted / floor_s
    last = test.result.days[-1]
    print(
        f"{given.names} names, {len(h) - first:,} sessions counted; MA {FAST} over {SLOW}, traded at the next close"
    )
    print(f"{'':34}{'bars/s':>12}{'trades':>9}{'ratio':>9}")
    print(f"{'bare Python loop, nothing checked':34}{bare:12,.0f}{floor_trades:9,}{1:9.2f}")
    print(f"{'sallyport core, all limits on':34}{ours:12,.0f}{trades:9,}{ours / bare:9.3f}")
    if given.peer:
        found = peer(given.peer, h, first)
        rate, _, count = found.partition(" ")
        if count.isdigit():
            print(
                f"{'backtesting.py (20 names, no limits)':34}{float(rate):10,.0f}{int(count):9,}{float(rate) / bare:9.3f}"
            )
        else:
            print(f"backtesting.py: {found}")
    print(
        f"one session {1e3 * ours_s / (len(h) - first - 6):.2f} ms, {trades / (len(h) - first - 6):.1f} trades in it; ",
        end="",
    )
    print(f"{sum(test.result.refusals.values())} refusals, mode {last.mode}, {last.held} names held")
    print(
        f"a risk snapshot of {SESSIONS_MIN - 1}+ scenarios: {snapshot_s:.2f} s, each {SNAPSHOT_EVERY} sessions here, not counted above"
    )
    print("memory, MB at every 100th session: " + " ".join(f"{mb:.0f}" for _, mb in marks))
    print(
        f"peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, the bars themselves {5 * h.close.nbytes / 1e6:.0f} MB"
    )


def rss_mb() -> float:
    """Resident memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # read by the linear algebra when it is loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"OMP_NUM_THREADS": "1"})
    main()
