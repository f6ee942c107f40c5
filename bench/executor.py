"""Decision speed: a quote, a gate verdict and a whole plan, against a floor in the same run.

``python bench/executor.py``. The floor is fifteen bare comparisons on floats: what any gate must cost.
Single thread, medians of five rounds; compare ratios, not microseconds, between machines.
"""

from __future__ import annotations

import datetime as dt
import statistics
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from executor.core import gate, planner
from executor.core.book import Book
from executor.core.engine import Engine
from executor.core.events import Batch, Quote, Target, Timer
from executor.core.modes import Mode
from executor.settings import LimitSettings
from models.risk.snapshot import RiskSnapshot

OPEN = dt.datetime(2022, 12, 28, 14, 30, tzinfo=dt.UTC)
NOON = dt.datetime(2022, 12, 28, 17, 0, tzinfo=dt.UTC)
CLOSE = dt.datetime(2022, 12, 28, 21, 0, tzinfo=dt.UTC)
ROUNDS = 5


def world(names: int, held: int) -> Engine:
    """An engine with quotes for ``names`` symbols, ``held`` of them in the book, and a batch for all."""
    symbols = tuple(f"S{i:03d}" for i in range(names))
    rng = np.random.default_rng(1)
    snapshot = RiskSnapshot(
        as_of=dt.date(2022, 12, 27), symbols=symbols, close=np.full(names, 100.0),
        daily_volatility=np.full(names, 0.02), average_volume=np.full(names, 1e6), spread=np.full(names, 5e-4),
        returns=rng.normal(0, 0.01, (500, names)),
    )  # fmt: skip
    limits = {name: str(value) for name, value in LimitSettings().model_dump().items()}
    book = Book(Decimal(500_000), {s: Decimal(50) for s in symbols[:held]})
    sectors = {s: f"sector {i % 11}" for i, s in enumerate(symbols)}
    engine = Engine(book, Mode.READY, 1, limits, sectors, reprice_ns=10**12, identity={"build": "bench"})
    for symbol in symbols:
        engine.decide(quote(symbol))
    weight = Decimal("0.9") / names
    targets = tuple(Target(f"{i:032x}", s, weight) for i, s in enumerate(symbols))
    engine.decide(
        Batch(
            market_time=NOON,
            now_ns=0,
            batch_id="b",
            valid_until=CLOSE,
            targets=targets,
            snapshot=snapshot,
            legs={},
        )
    )
    engine._mark(timer())
    return engine


def quote(symbol: str) -> Quote:
    return Quote(
        market_time=NOON,
        now_ns=0,
        symbol=symbol,
        bid=Decimal("99.99"),
        ask=Decimal("100.01"),
        bid_size=1,
        ask_size=1,
    )


def timer() -> Timer:
    return Timer(market_time=NOON, now_ns=1, session_open=OPEN, session_close=CLOSE)


def floor() -> bool:
    a, b = 1.0, 2.0
    return a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b  # fmt: skip


def median_us(call: Callable[[], object], times: int) -> float:
    """Median over the rounds of the mean of ``times`` calls."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        for _ in range(times):
            call()
        rounds.append((time.perf_counter_ns() - started) / times / 1e3)
    return statistics.median(rounds)


def plan_us(names: int, held: int) -> float:
    """Median of one timer that plans and judges an order for every name; the world is built outside."""
    rounds = []
    for _ in range(ROUNDS):
        engine, tick = world(names, held), timer()
        started = time.perf_counter_ns()
        engine.decide(tick)
        rounds.append((time.perf_counter_ns() - started) / 1e3)
    return statistics.median(rounds)


def main() -> None:
    base = median_us(floor, 100_000)
    print(f"{'job':58}{'µs':>12}{'× floor':>12}")
    print(f"{'floor: fifteen comparisons':58}{base:12.2f}{1:12.1f}")
    for names, held in ((20, 10), (500, 35)):
        engine = world(names, held)
        one = quote("S000")
        draft = planner.Draft("S001", "buy", Decimal(10), Decimal("100.06"))
        rows = [
            (f"a quote taken in ({names} names)", median_us(lambda e=engine, q=one: e.decide(q), 20_000)),
            (f"all limits on one order ({names} names, {held} held)", median_us(lambda e=engine, d=draft: gate.judge(e._proposal(d, 1), e.limits), 200)),
            (f"a plan of {names} orders, limits checked and written", plan_us(names, held)),
        ]  # fmt: skip
        for name, value in rows:
            print(f"{name:58}{value:12.2f}{value / base:12.1f}")


if __name__ == "__main__":
    main()
