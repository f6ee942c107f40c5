"""Playing a story: the opening, each step, and at the end the proof of life.

Liveness is the half without which "always HALTED" would pass: once the faults are over a person re-arms,
both sides must be equal, a fresh signal must trade to its target, and a flatten must end flat.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import cache, partial

import numpy as np

from executor.core import events as e
from executor.core.commands import Submit
from executor.core.modes import Mode
from executor.core.policy import ExecutionPolicy, Price
from executor.settings import LimitSettings
from executor.simulation.invariants import OPEN_STATES, Violation, require
from executor.simulation.ledger import ZERO, Ledger, LedgerRefused
from executor.simulation.shell import SECOND, Clock, Crash, Shell
from executor.simulation.story import AVERAGE_VOLUME, SECTORS, SYMBOLS, Step, Story
from executor.simulation.venue import FOREIGN, Market, Venue
from models.risk.snapshot import RiskSnapshot

CENT = Decimal("0.01")
OPEN = dt.datetime(2022, 12, 28, 14, 30, tzinfo=dt.UTC)
LENGTH = dt.timedelta(hours=6, minutes=30)
TARGET = Decimal("0.03")
WIDE = {
    "gross": "5", "net": "5", "leverage": "9", "sector": "5", "single_name": "2", "short_name": "2", "cluster": "5",
    "concentration": "5", "beta": "9", "factor_risk": "1", "value_at_risk": "1", "expected_shortfall": "1",
    "value_at_risk_99": "1", "expected_shortfall_99": "1", "buying_power": "4", "stage_capital": "5",
    "turnover": "100", "intraday_margin": "1", "notional_per_day_usd": "1000000000",
    "turns": "1000",
}  # fmt: skip
"""Limits of the last act: whether a signal trades at all, not how much of it."""


@dataclass
class Outcome:
    """What one story came to."""

    seed: int
    counts: Counter[str]
    digest: str
    """SHA-256 of every command given, in order."""
    violation: Violation | None = None
    step: int = 0
    told: list[str] = field(default_factory=list)


class Play:
    """One story being played."""

    def __init__(self, story: Story) -> None:
        self.story = story
        prices = {s: Decimal(p) for s, p in zip(SYMBOLS, story.prices, strict=True)}
        self.mids = dict(prices)
        positions = {s: Decimal(q) for s, q in story.positions.items()}
        defaults = {name: str(value) for name, value in LimitSettings().model_dump().items()}
        cash = Decimal(story.cash) - sum((q * prices[s] for s, q in positions.items()), ZERO)
        clock = Clock(OPEN + dt.timedelta(minutes=5), 10_000 * SECOND, OPEN, OPEN + LENGTH)
        venue = Venue(cash, dict(positions), {s: Market(ZERO, ZERO) for s in SYMBOLS})
        ledger = Ledger(cash, dict(positions), defaults | story.limits)
        volumes = {s: Decimal(v) for s, v in AVERAGE_VOLUME.items()}
        self.shell = Shell(clock, venue, ledger, SECTORS, volumes)
        self.snapshot = _snapshot(story.seed % 4)
        self.silent: set[str] = set()
        """Names whose quotes do not come."""
        self.batches = 0
        self.at_step = 0

    # ------------------------------------------------------------------ the story

    def run(self) -> None:
        """The opening, the steps, and the proof of life; raises :class:`Violation`."""
        self._alive(self._start)
        for step in self.story.steps:
            self.at_step += 1
            self._alive(partial(self._take, step))
        self.at_step += 1
        self._faults_over()
        self._trades_again()
        self._ends_flat()

    def _start(self) -> None:
        """Start the process and tell it what the broker says of the account and the names."""
        self.shell.start()
        self._quotes()
        stamp, venue = self.shell.clock.stamp(), self.shell.venue
        for symbol in SYMBOLS:
            self.shell.tell(
                e.InstrumentSeen(
                    **stamp, symbol=symbol, tradable=True, shortable=True, borrow="easy", marginable=True
                )
            )
        self.shell.tell(
            e.AccountSeen(
                **stamp, equity=None, cash=venue.cash, buying_power=Decimal(1_000_000), shorting_enabled=True
            )
        )

    def _alive(self, act: Callable[[], None]) -> None:
        """Do something; a crash in it is followed by a restart, and a crash in that by another."""
        try:
            act()
        except Crash:
            self.shell.counts["crashes"] += 1
            while True:
                self.shell.clock.advance(3.0)
                try:
                    self._start()
                except Crash:
                    self.shell.counts["crashes in recovery"] += 1
                    continue
                return

    def _take(self, step: Step) -> None:
        shell = self.shell
        shell.clock.advance(step.wait_s)
        if shell.clock.at >= shell.clock.session_close:
            self._next_session()
        shell.counts[f"step {step.kind}"] += 1
        getattr(self, "_" + step.kind.replace(" ", "_").replace("-", "_"), self._fault)(step)
        self._pulse()

    def _pulse(self) -> None:
        self.shell.venue.trade(self.shell.clock.now_ns)
        self.shell.timer()

    def _wait(self, seconds: float, pulse_s: float = 1.0) -> None:
        """Calm time: quotes, matching and timers."""
        passed = 0.0
        while passed < seconds:
            self.shell.clock.advance(pulse_s)
            passed += pulse_s
            self._quotes()
            self._pulse()

    # ------------------------------------------------------------------ the market

    def _quotes(self) -> None:
        for symbol in SYMBOLS:
            self._quote(symbol)

    def _quote(self, symbol: str, bid: Decimal | None = None, ask: Decimal | None = None) -> None:
        """The venue's market follows the mid; the feed shows it, or what a fault makes of it."""
        mid = self.mids[symbol]
        half = max(CENT, (mid * Decimal("0.0003")).quantize(CENT, ROUND_HALF_UP))
        market = self.shell.venue.markets[symbol]
        market.bid, market.ask = max(CENT, mid - half), mid + half
        if symbol in self.silent:
            return
        self.shell.quote(
            e.Quote(
                **self.shell.clock.stamp(), symbol=symbol, bid=market.bid if bid is None else bid,
                ask=market.ask if ask is None else ask, bid_size=500, ask_size=500,
            )
        )  # fmt: skip

    def _move(self, symbol: str, by: float) -> None:
        mid = self.mids[symbol] * Decimal(str(1 + by))
        self.mids[symbol] = max(Decimal("0.50"), mid.quantize(CENT, ROUND_HALF_UP))

    def _drift(self, step: Step) -> None:
        for symbol, by in zip(SYMBOLS, step.moves, strict=True):
            self._move(symbol, by)
        self._quotes()

    def _gap(self, step: Step) -> None:
        self._move(step.symbol, step.number)
        self._quotes()

    def _crossed(self, step: Step) -> None:
        mid = self.mids[step.symbol]
        self._quote(step.symbol, mid + 1, mid)

    def _one_sided(self, step: Step) -> None:
        self._quote(step.symbol, ask=ZERO)

    def _stub(self, step: Step) -> None:
        self._quote(step.symbol, bid=CENT, ask=self.mids[step.symbol] * 100)

    def _stale(self, step: Step) -> None:
        (self.silent.discard if step.symbol in self.silent else self.silent.add)(step.symbol)

    def _halt(self, step: Step) -> None:
        self._status(step.symbol, "H", "T1")

    def _pause(self, step: Step) -> None:
        self._status(step.symbol, "P", "LUDP")

    def _resume(self, step: Step) -> None:
        self._status(step.symbol, "T", "")

    def _status(self, symbol: str, code: str, reason: str) -> None:
        self.shell.venue.markets[symbol].halted = code != "T"
        self.shell.tell(e.TradingStatus(**self.shell.clock.stamp(), symbol=symbol, code=code, reason=reason))

    def _band(self, step: Step) -> None:
        mid = self.mids[step.symbol]
        low, high = (mid * Decimal("0.95")).quantize(CENT), (mid * Decimal("1.05")).quantize(CENT)
        self.shell.tell(e.PriceBand(**self.shell.clock.stamp(), symbol=step.symbol, low=low, high=high))

    def _short_restriction(self, step: Step) -> None:
        self.shell.tell(e.ShortRestriction(**self.shell.clock.stamp(), symbol=step.symbol, active=True))

    def _liquidity(self, step: Step) -> None:
        self.shell.venue.markets[step.symbol].liquidity = Decimal(int(step.number))

    def _split(self, step: Step) -> None:
        """Overnight truth: shares multiply, the ledger books it, the engine is told."""
        shell, symbol, factor = self.shell, step.symbol, int(step.number)
        shell.sweep()  # bookings first: a split is applied to what is known to be held
        if shell.unanswered or shell.ledger.positions.get(symbol, ZERO) != shell.venue.positions.get(
            symbol, ZERO
        ):
            return
        for order in [o for o in shell.venue.orders.values() if o.open and o.symbol == symbol]:
            shell.venue.cancel(order.id, shell.clock.now_ns)
        if shell.venue.positions.get(symbol, ZERO) != shell.ledger.positions.get(symbol, ZERO):
            return
        added = shell.venue.split(symbol, factor)
        self.mids[symbol] = max(Decimal("0.50"), (self.mids[symbol] / factor).quantize(CENT))
        shell.ledger.move(symbol, added, ZERO)
        shell.tell(e.CorporateAction(**shell.clock.stamp(), symbol=symbol, kind="split", shares=added))

    def _fee(self, step: Step) -> None:
        self.shell.venue.charge(Decimal("-0.37"))

    def _dividend(self, step: Step) -> None:
        self.shell.venue.charge(Decimal("12.50"))

    def _foreign_order(self, step: Step) -> None:
        order = Submit(
            client_order_id=f"{FOREIGN}-{self.at_step}", symbol=step.symbol, side="buy", qty=Decimal(10),
            limit_price=CENT,
        )  # fmt: skip
        self.shell.venue.submit(order, self.shell.clock.now_ns)

    def _next_session(self, step: Step | None = None) -> None:
        """To the close, past it, and to the next morning."""
        shell, clock = self.shell, self.shell.clock
        left = (clock.session_close - clock.at).total_seconds()
        clock.advance(max(0.0, left) + 1.0)
        shell.counts["sessions closed"] += 1
        shell.venue.expire(clock.now_ns)
        for _ in range(4):
            self._quotes()
            clock.advance(30.0)
            shell.timer()
        clock.session_open += dt.timedelta(days=1)
        clock.session_close += dt.timedelta(days=1)
        clock.advance((clock.session_open - clock.at).total_seconds() + 1.0)
        self._quotes()

    # ------------------------------------------------------------------ people

    def _batch(self, step: Step) -> None:
        self._adopt(step.symbol, step.weights, step.number, step.word)

    def _adopt(
        self, strategy: str, weights: dict[str, str], valid_s: float, price: str = "collar"
    ) -> e.Batch:
        self.batches += 1
        shell, batch_id = self.shell, f"batch-{self.batches}"
        targets = tuple(
            e.Target(f"{self.batches:08x}{i:024x}", s, Decimal(w))
            for i, (s, w) in enumerate(weights.items(), 1)
        )
        batch = e.Batch(
            **shell.clock.stamp(), batch_id=batch_id,
            valid_until=min(shell.clock.at + dt.timedelta(seconds=valid_s), shell.clock.session_close),
            targets=targets, snapshot=self.snapshot, legs={}, strategy=strategy,
            policy=ExecutionPolicy(price=Price(price)),
        )  # fmt: skip
        shell.ledger.batches[batch_id] = batch
        shell.ledger.newest[strategy] = batch_id
        shell.tell(batch)
        return batch

    def _kill(self, step: Step) -> None:
        self.shell.ledger.kill(flatten=False)

    def _kill_and_flatten(self, step: Step) -> None:
        self.shell.ledger.kill(flatten=True)

    def _re_arm(self, step: Step) -> None:
        self.shell.ledger.rearm()

    def _limits(self, step: Step) -> None:
        ledger = self.shell.ledger
        ledger.limits = ledger.limits | {"gross": step.word}
        ledger.limit_version += 1
        self.shell.tell(
            e.LimitsChanged(**self.shell.clock.stamp(), version=ledger.limit_version, limits=ledger.limits)
        )

    def _restart(self, step: Step) -> None:
        """An orderly end: drain for a moment, then start again."""
        self.shell.timer(draining=True)
        self._start()

    # ------------------------------------------------------------------ faults and health

    def _crash(self, step: Step) -> None:
        self.shell.crash_in = int(step.number)

    def _ledger_refuses(self, step: Step) -> None:
        self.shell.ledger.refuse_next.append(step.word)

    def _fault(self, step: Step) -> None:
        kind, _, rest = step.kind.rpartition(" ")
        if rest != "fault":
            raise ValueError(f"a story has no step {step.kind!r}")
        self.shell.faults.setdefault(kind, deque()).extend([step.word] * int(step.number or 1))

    def _feed_health(self, step: Step) -> None:
        self._feed_state(None, step.word)

    def _feed_of_health(self, step: Step) -> None:
        self._feed_state(step.symbol, step.word)

    def _feed_state(self, symbol: str | None, word: str) -> None:
        state = e.Feed.LIVE if word == "good" else e.Feed.STALE
        self.shell.tell(e.FeedState(**self.shell.clock.stamp(), feed="quotes", state=state, symbol=symbol))

    def _stream_health(self, step: Step) -> None:
        self.shell.stream_up = step.word == "good"
        self.shell.tell(e.OrderStreamState(**self.shell.clock.stamp(), up=self.shell.stream_up))

    def _broker_health(self, step: Step) -> None:
        bad = step.word == "bad"
        self.shell.tell(
            e.BrokerHealth(**self.shell.clock.stamp(), errors=50 if bad else 2, rejects=0, latency_ms=80.0)
        )

    def _clock_health(self, step: Step) -> None:
        self.shell.tell(
            e.ClockOffset(**self.shell.clock.stamp(), offset_ms=900.0 if step.word == "bad" else -30.0)
        )

    def _host_health(self, step: Step) -> None:
        used = 0.99 if step.word == "bad" else 0.5
        self.shell.tell(
            e.HostState(**self.shell.clock.stamp(), disk_used=used, memory_used=0.4, loop_lag_ms=2.0)
        )

    def _silent_heartbeat_health(self, step: Step) -> None:
        silent = 100.0 if step.word == "bad" else 1.0
        self.shell.tell(e.HeartbeatLost(**self.shell.clock.stamp(), source="sentinel", silent_s=silent))

    def _model_health(self, step: Step) -> None:
        at = self.shell.clock.at + dt.timedelta(days=20)
        self.shell.tell(
            e.ModelState(**self.shell.clock.stamp(), model_id="m", expires_at=at, degraded=step.word == "bad")
        )

    def _difference_health(self, step: Step) -> None:
        if step.word == "bad":
            self.shell.tell(e.PositionsDiffer(**self.shell.clock.stamp(), reason="simulated difference"))

    # ------------------------------------------------------------------ the proof of life

    def _faults_over(self) -> None:
        """No more faults; health is good; a person re-arms; everything settles and both sides are equal."""
        shell, stamp = self.shell, self.shell.clock.stamp()
        shell.faults.clear()
        shell.ledger.refuse_next.clear()
        shell.crash_in = None
        self.silent.clear()
        shell.hidden.clear()
        shell.clock.advance(6.0)
        for symbol in SYMBOLS:
            shell.venue.markets[symbol].liquidity = Decimal(100_000)
            self._status(symbol, "T", "")
            self._feed_state(symbol, "good")
            mid = self.mids[symbol]
            shell.tell(e.PriceBand(**stamp, symbol=symbol, low=CENT, high=mid * 10))
        self._feed_state(None, "good")
        shell.stream_up = True
        shell.tell(e.OrderStreamState(**stamp, up=True))
        shell.tell(e.BrokerHealth(**stamp, errors=0, rejects=0, latency_ms=20.0))
        shell.tell(e.ClockOffset(**stamp, offset_ms=0.0))
        shell.tell(e.HostState(**stamp, disk_used=0.3, memory_used=0.3, loop_lag_ms=1.0))
        shell.tell(e.HeartbeatLost(**stamp, source="sentinel", silent_s=0.0))
        shell.tell(e.ModelState(**stamp, model_id="m", expires_at=shell.clock.at + dt.timedelta(days=20)))
        room_s = (shell.clock.session_close - shell.clock.at).total_seconds()
        if room_s < 1500:
            self._next_session()
        self._wait(24.0, 3.0)  # what is in flight lands, a sweep has looked
        self._kill_ends_quiet()
        self._wait(30.0, 5.0)

    def _kill_ends_quiet(self) -> None:
        """A kill, with orders working if they can be: soon nothing works at the venue."""
        shell = self.shell
        if not shell.ledger.killed and shell.engine.mode is Mode.READY:
            for market in shell.venue.markets.values():
                market.liquidity = ZERO
            self._adopt("", {s: "0.01" if i % 2 else "0" for i, s in enumerate(SYMBOLS)}, 20_000)
            self._wait(3.0)
            shell.counts["orders working at the last kill"] += len(shell.venue.may_fill())
            shell.ledger.kill(flatten=False)
        self._wait(12.0, 2.0)
        working = [o.client_order_id for o in shell.venue.orders.values() if o.open]
        if shell.ledger.mode is Mode.HALTED:
            require(not working, "I9", f"killed, and the venue still works {working}")
        for market in shell.venue.markets.values():
            market.liquidity = Decimal(100_000)

    def _person_rearms(self) -> None:
        """Re-arm until READY holds: rebased, a breaker whose cause is gone stays quiet."""
        shell = self.shell
        for _ in range(4):
            if shell.engine.mode is Mode.READY and not shell.ledger.killed:
                return
            shell.ledger.rearm()
            self._wait(4.0)
        require(
            shell.engine.mode is Mode.READY,
            "liveness",
            f"re-armed, and {shell.engine.mode}: {shell.engine.tripped}",
        )

    def _trades_again(self) -> None:
        """All is quiet and equal on both sides; then fresh signals trade the whole book to its targets."""
        shell = self.shell
        self._flat_limits()
        self._person_rearms()
        self._wait(70.0, 5.0)
        for strategy in list(shell.ledger.newest):
            self._adopt(strategy, {}, 20_000)
        self._wait(3.0)
        shell.venue.trade(shell.clock.now_ns)
        unresolved = [cid for cid, r in shell.ledger.rows.items() if r.state == "UNKNOWN"]
        if unresolved:  # it takes the close to prove that an order never arrived
            shell.counts["unknown to the close"] += 1
            self._next_session()
            self._wait(30.0, 5.0)
        stuck = [f"{cid} {r.state}" for cid, r in shell.ledger.rows.items() if r.state in OPEN_STATES]
        require(not stuck, "liveness", f"faults are over, nothing is asked for, and still open: {stuck}")
        shell.watch.settled()
        self._person_rearms()
        symbol = SYMBOLS[self.story.seed % len(SYMBOLS)]
        nothing = dict.fromkeys(SYMBOLS, "0")
        for strategy in [s for s in shell.ledger.newest if s]:
            self._adopt(strategy, nothing, 20_000)
        self._adopt("", nothing | {symbol: str(TARGET)}, 20_000)
        for _ in range(12):
            self._wait(10.0)
            if shell.ledger.newest[""] in shell.ledger.finished:
                break
        equity, reached = shell.engine.equity, dict(shell.venue.positions)
        assert equity is not None
        for name in SYMBOLS:
            wanted = TARGET * equity / self.mids[name] if name == symbol else ZERO
            miss = abs(reached.get(name, ZERO) - wanted) * self.mids[name]
            refused = [r for r in shell.ledger.refusals[-6:] if r[0] == name]
            require(
                miss <= max(Decimal(200), Decimal("0.01") * equity), "liveness",
                f"a fresh signal ended at {reached.get(name, ZERO)} {name}, {wanted:.0f} wanted; mode {shell.engine.mode}, "
                f"refusals {refused}",
            )  # fmt: skip
        shell.counts["fresh signal traded"] += 1

    def _flat_limits(self) -> None:
        """Wide limits: a split, a fall or a person may have left the book outside the old ones."""
        ledger = self.shell.ledger
        ledger.limits = ledger.limits | WIDE
        ledger.limit_version += 1
        self.shell.tell(
            e.LimitsChanged(**self.shell.clock.stamp(), version=ledger.limit_version, limits=ledger.limits)
        )

    def _ends_flat(self) -> None:
        """Kill and flatten: nothing held, nothing working, said only then."""
        shell = self.shell
        shell.ledger.kill(flatten=True)
        for _ in range(40):
            self._wait(5.0)
            if shell.engine.mode is Mode.HALTED:
                break
        require(
            not shell.venue.positions and shell.engine.mode is Mode.HALTED, "liveness",
            f"told to flatten: mode {shell.engine.mode}, the venue holds {shell.venue.positions}",
        )  # fmt: skip
        require(("flat", "Flat") in shell.ledger.alerts, "liveness", "flat, and nobody was told")
        shell.watch.settled()
        shell.counts["flat at the end"] += 1


def play(story: Story) -> Outcome:
    """Play a story to its end or to the first violation."""
    stage = Play(story)
    violation: Violation | None = None
    try:
        stage.run()
    except Violation as found:
        violation = found
    except LedgerRefused as refused:
        violation = Violation("I12", str(refused))
    except (
        AssertionError,
        KeyError,
        ValueError,
        TypeError,
        ArithmeticError,
        AttributeError,
        IndexError,
    ) as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        violation = Violation(
            "I17", f"{type(error).__name__} {error} at {where.filename.rsplit('/', 1)[-1]}:{where.lineno}"
        )
    counts = stage.shell.counts
    counts["checks"] = stage.shell.watch.checks
    counts["scenarios"] = 1
    return Outcome(story.seed, counts, stage.shell.digest.hexdigest(), violation, stage.at_step)


@cache
def _snapshot(which: int) -> RiskSnapshot:
    """Six names with seeded scenarios, two of them clustered; the same few serve all stories."""
    n = len(SYMBOLS)
    rng = np.random.default_rng(which)
    returns = rng.normal(0, 0.01, (500, n)) + 0.5 * rng.normal(0, 0.01, (500, 1))
    return RiskSnapshot(
        as_of=dt.date(2022, 12, 27),
        symbols=SYMBOLS,
        close=np.full(n, 100.0),
        daily_volatility=np.full(n, 0.02),
        average_volume=np.array([float(AVERAGE_VOLUME[s]) for s in SYMBOLS]),
        spread=np.full(n, 0.0005),
        returns=returns,
        beta=np.ones(n),
        loadings=np.column_stack([np.full(n, 0.01), rng.normal(0, 0.004, n)]),
        cluster=np.array([0.0, 0.0, 1.0, 2.0, 3.0, 4.0]),
        restricted=np.zeros(n),
    )
