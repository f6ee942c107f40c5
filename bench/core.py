"""Decision speed: a quote, the gate, an order made whole, against named baselines in the same run.

``python bench/core.py [--peer PYTHON]``. The floor is fifteen bare comparisons on floats: what any gate must
cost. ``--peer`` names a Python that has NautilusTrader: its RiskEngine (per-order notional and rate only) is
then measured by ``bench/peers/nautilus.py`` in the same run. Single thread; every call is timed by itself,
so the clock's own cost (about 0.05 µs) is in each figure; the quietest of eight rounds is shown. Compare ratios between machines, not microseconds.

The world: 500 names, all held, quotes moving between the orders, 1,000 scenarios, every limit on.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from executor.core import planner, proposal
from executor.core.book import Book
from executor.core.engine import Engine
from executor.core.events import Batch, Quote, Target, Timer
from executor.core.limits import LIMITS
from executor.core.modes import Mode
from executor.core.pace import Pace
from executor.settings import LimitSettings
from models.risk.snapshot import RiskSnapshot, with_factors

OPEN = dt.datetime(2022, 12, 28, 14, 30, tzinfo=dt.UTC)
NOON = dt.datetime(2022, 12, 28, 17, 0, tzinfo=dt.UTC)
CLOSE = dt.datetime(2022, 12, 28, 21, 0, tzinfo=dt.UTC)
SCENARIOS = 1000
ROUNDS = 8
WIDE = {"messages_per_minute": "1e9"}
"""Bounds that thousands of orders a second would reach: read and compared like the others, but wide."""


def world(names: int, held: int) -> Engine:
    """An engine with quotes for ``names`` symbols, ``held`` of them in the book."""
    symbols = tuple(f"S{i:03d}" for i in range(names))
    rng = np.random.default_rng(1)
    market = rng.normal(0, 0.01, (SCENARIOS, 1))
    snapshot = RiskSnapshot(
        as_of=dt.date(2022, 12, 27), symbols=symbols, close=np.full(names, 100.0),
        daily_volatility=np.full(names, 0.02), average_volume=np.full(names, 1e6), spread=np.full(names, 5e-4),
        returns=market + rng.normal(0, 0.015, (SCENARIOS, names)),
    )  # fmt: skip
    limits = {name: str(value) for name, value in LimitSettings().model_dump().items()} | WIDE
    book = Book(Decimal(500_000), {s: Decimal(10) for s in symbols[:held]})
    sectors = {s: f"sector {i % 11}" for i, s in enumerate(symbols)}
    engine = Engine(book, Mode.READY, 1, limits, sectors, reprice_ns=10**12, identity={"build": "bench"})
    for symbol in symbols:
        engine.decide(quote(symbol, 0))
    engine.decide(
        Batch(
            market_time=NOON, now_ns=0, batch_id="b", valid_until=CLOSE, targets=(), snapshot=with_factors(snapshot),
            legs={},
        )
    )  # fmt: skip
    engine.decide(timer())
    return engine


def quote(symbol: str, step: int) -> Quote:
    """A quote a few cents about 100 USD."""
    cents = Decimal(step % 7) / 100
    return Quote(
        market_time=NOON, now_ns=0, symbol=symbol, bid=Decimal("99.95") + cents, ask=Decimal("99.97") + cents,
        bid_size=100, ask_size=100,
    )  # fmt: skip


def timer(second: int = 0) -> Timer:
    """A timer so many seconds after noon."""
    at = NOON + dt.timedelta(seconds=second)
    return Timer(market_time=at, now_ns=1, session_open=OPEN, session_close=CLOSE)


def floor() -> bool:
    """Fifteen comparisons."""
    a, b = 1.0, 2.0
    return a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b and a < b  # fmt: skip


Timing = tuple[float, float]


def percentiles(
    call: Callable[[int], object], times: int, between: Callable[[int], object] | None = None
) -> Timing:
    """p50 and p99 of single calls in µs, of the quietest of several rounds; ``between`` runs untimed before each.

    Other work on the machine can only slow a round down, so the quietest says most about the code.
    """
    clock, best = time.perf_counter_ns, (float("inf"), float("inf"))
    for round_ in range(ROUNDS + 1):  # the first warms up
        spent = []
        for i in range(round_ * times, (round_ + 1) * times):
            if between is not None:
                between(i)
            started = clock()
            call(i)
            spent.append(clock() - started)
        spent.sort()
        if round_:
            best = min(best, (spent[len(spent) // 2] / 1e3, spent[int(len(spent) * 0.99)] / 1e3))
    return best


def rows(names: int, held: int) -> list[tuple[str, Timing]]:
    """Every timing of one world."""
    engine = world(names, held)
    symbols = [f"S{i:03d}" for i in range(names)]
    moving = [[quote(s, step) for step in range(7)] for s in symbols]
    flat = world(names, 0)

    def takes_quote(i: int) -> object:
        return engine.decide(moving[i % names][i // names % 7])

    def takes_idle_quote(i: int) -> object:
        return flat.decide(moving[i % names][i // names % 7])

    def three_quotes(i: int) -> None:
        for j in range(3):
            takes_quote(7 * i + j)

    drafts = [planner.Draft(s, "buy", Decimal(10), Decimal("100.06")) for s in symbols]
    ticks = [timer(second) for second in range(14_000)]

    def judged(i: int) -> object:
        ruling = engine.gate.judge(
            proposal.proposed(engine, drafts[i % names], ticks[i % 14_000]), engine.mode
        )
        assert ruling.accepted, ruling.reason
        return ruling

    target = [Target(f"{i:032x}", s, Decimal("0.002")) for i, s in enumerate(symbols)]
    work = next(iter(engine.works.values()))

    def make_room(i: int) -> None:
        """Every order stays open, as in a plan that is being worked; the next plan finds them gone."""
        if i % (names - 20) == 0:
            for intent in list(engine.intents.values()):
                engine.exposure.drop(intent.symbol, intent.client_order_id or "")
            engine.intents.clear()
            work.legs.clear()
            engine.pace = Pace()
            engine.exposure.tail()

    def make_room_and_quote(i: int) -> None:
        make_room(i)
        three_quotes(i)

    def ordered(i: int) -> object:
        (reserve,) = proposal.propose(engine, drafts[i % names], work, target[i % names], ticks[i % 14_000])
        return reserve

    return [
        (f"quote, {names} names, none held", percentiles(takes_idle_quote, 5_000)),
        (f"quote, {names} names, {held} held", percentiles(takes_quote, 5_000)),
        (f"gate: {len(LIMITS)} limits, {held} held", percentiles(judged, 2_000)),
        (f"gate + order made, {held} held", percentiles(ordered, 2_000, make_room)),
        (
            "  the same, three held names quoted since the last",
            percentiles(ordered, 2_000, make_room_and_quote),
        ),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", help="a Python interpreter with nautilus_trader")
    options = parser.parse_args()
    base = percentiles(lambda _: floor(), 20_000)
    print(f"{'job':52}{'p50 µs':>10}{'p99 µs':>10}{'× floor p50':>14}")

    def show(name: str, timing: Timing) -> None:
        print(f"{name:52}{timing[0]:10.2f}{timing[1]:10.2f}{timing[0] / base[0]:14.1f}")

    show("floor: fifteen comparisons", base)
    for name, timing in rows(500, 500):
        show(name, timing)
    if options.peer:
        answer = subprocess.run(
            [options.peer, str(Path(__file__).parent / "peers/nautilus.py")], capture_output=True, text=True, check=True
        )  # fmt: skip
        for name, p50, p99 in json.loads(answer.stdout.splitlines()[-1]):
            show(name, (p50, p99))


if __name__ == "__main__":
    main()
