"""One back-test: the engine told of session after session, as live would be.

    after the close of t    signals are asked, with the bars up to t and no later ones
    session t + 1           opens (a timer: the day's opening equity, at yesterday's closes)
                            bars of t + 1 are told at its close, or its opens at the open (``fill="open"``)
                            timers: the breakers look, the batch is worked, orders fill
                            the session's fees and impact are charged

The engine makes every decision: sizes, limit prices, refusals, breakers, modes. What a session shows it
is over when it is shown; what fills is decided by ``broker.py``. A mode that has tightened stays so (a
person re-arms in life); ``rearm`` plays that person each morning.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from executor.backtest.broker import BacktestBroker, Trade
from executor.backtest.history import History
from executor.backtest.risk import snapshot_of
from executor.backtest.signals import Signals
from executor.core import commands as c
from executor.core import events as e
from executor.core.book import Book
from executor.core.engine import Engine
from executor.core.modes import Mode
from executor.core.orders import TERMINAL, Evidence
from executor.core.policy import IMMEDIATE, ExecutionPolicy
from models.risk.snapshot import Floats, RiskSnapshot

SECOND = 1_000_000_000
STEP_S = 1.5
"""Between two timers: four orders each keeps within the message rate of live."""
QUOTES_EVERY_S = 9.0
"""The market stands while orders are worked; its quotes are told again before they are old."""
TIMERS_MAX = 600
LENGTH = dt.timedelta(hours=6, minutes=30)
GONE_AFTER = 10
"""Sessions without a bar after which a holding is taken off the book at its last close."""
SPREAD_BEFORE = 0.001
"""Spread of a name that no snapshot has estimated yet, as a fraction of price."""


@dataclass(frozen=True)
class Terms:
    """What a back-test is run with."""

    capital_usd: Decimal = Decimal(1_000_000)
    fill: str = "close"
    """``close`` of the next session (as the walk-forward's book), or its ``open``."""
    snapshot_every: int = 21
    """Sessions between two risk snapshots; live builds one each night."""
    rearm: bool = False
    policy: ExecutionPolicy = IMMEDIATE
    impact_y: float = 1.0
    identity: Mapping[str, str] = field(default_factory=lambda: {"build": "backtest"})


@dataclass
class Day:
    """One session of the result, USD and fractions of equity."""

    session: dt.date
    equity: float
    turnover: float
    cost: float
    held: int
    mode: str


@dataclass
class Result:
    """What came of it."""

    days: list[Day]
    trades: list[Trade]
    refusals: Counter[str]
    """Reason's limits → times."""
    trips: list[tuple[dt.date, str, str]]
    """Session, kind and text of every alert of the breakers."""
    bars: int
    commands: int


class Backtest:
    """Drives one engine over a history.

    Parameters
    ----------
    history : History
    signals : Signals
    limits : mapping
        Limits in force, as live has them.
    sectors : mapping
        Symbol → sector; a name without one is refused by the gate.
    note : callable, optional
        Is given every event and the commands it led to.
    risk : callable, optional
        Makes the risk snapshot of the past it is shown.
    """

    def __init__(
        self,
        history: History,
        signals: Signals,
        limits: Mapping[str, str],
        sectors: Mapping[str, str],
        terms: Terms | None = None,
        *,
        note: Callable[[e.Event, list[c.Command]], None] | None = None,
        risk: Callable[[History], RiskSnapshot | None] = snapshot_of,
    ) -> None:
        self.history, self.signals, self.terms = history, signals, terms or Terms()
        self.note, self.risk = note, risk
        self.engine = Engine(
            Book(self.terms.capital_usd), Mode.READY, 1, limits, sectors, reprice_ns=30 * SECOND,
            identity=self.terms.identity,
        )  # fmt: skip
        self.broker = BacktestBroker(self.terms.impact_y)
        self.snapshot: RiskSnapshot | None = None
        self.snapshot_at = -(10**9)
        self.spread = np.full(len(history.symbols), SPREAD_BEFORE)
        self.columns = {s: i for i, s in enumerate(history.symbols)}
        self.wanted: dict[str, float] = {}
        self.working: dict[str, c.Submit] = {}
        self.purposes: dict[str, str] = {}
        self.result = Result([], [], Counter(), [], 0, 0)
        self.missing: dict[str, int] = {}
        self.at = dt.datetime.min.replace(tzinfo=dt.UTC)
        self.now_ns = SECOND
        self.bounds = (self.at, self.at)
        self.executions = 0
        self.batches = 0
        self.reserved = 0
        self.session = dt.date.min

    # ------------------------------------------------------------------ sessions

    def run(
        self,
        first: int = 0,
        last: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        each: Callable[[], None] | None = None,
    ) -> Result:
        """Run the sessions from ``first`` to ``last`` (positions in the history, both included)."""
        end = len(self.history) if last is None else last + 1
        wanted: dict[str, float] | None = None
        for t in range(first, end):
            self._session(t, wanted)
            known = self.history.until(t)
            wanted = self._decide(known, t)
            if progress is not None and t % 64 == 0:
                progress(t - first, end - first)
            if each is not None:
                each()
        self.result.trades = self.broker.trades
        return self.result

    def _decide(self, known: History, t: int) -> dict[str, float] | None:
        """After the close: what is wanted from tomorrow on, and the night's risk snapshot."""
        wanted = self.signals.targets(known, self.engine.book.positions)
        if wanted is not None:
            self.wanted |= wanted
        if self.wanted and t - self.snapshot_at >= self.terms.snapshot_every:
            found = self.risk(known)
            if found is not None:
                self.snapshot, self.snapshot_at = found, t
                self.spread[[self.columns[s] for s in found.symbols]] = found.spread
        if self.snapshot is None:
            return None  # kept until the past is long enough for a risk figure
        wanted, self.wanted = self.wanted, {}
        return wanted

    def _session(self, t: int, wanted: dict[str, float] | None) -> None:
        self.session = self.history.sessions[t]
        opens = dt.datetime.combine(self.session, dt.time(14, 30), dt.UTC)
        self.bounds = (opens, opens + LENGTH)
        self._move_to(opens)
        traded = len(self.broker.trades)
        before = self._equity()
        self._timer()
        if self.terms.rearm and self.engine.mode is not Mode.READY:
            self._tell(
                e.Rearm(
                    **self._stamp(), mode=Mode.READY, reason="every morning", who="back-test", rebase=True
                )
            )
        if self.terms.fill == "open":
            self._bars(t, self.history.open)
            self._work(t, wanted, self.history.open)
            self._move_to(self.bounds[1] - dt.timedelta(minutes=15))
            self._bars(t, self.history.close)
            self._timer()
        else:
            self._move_to(self.bounds[1] - dt.timedelta(minutes=15))
            self._bars(t, self.history.close)
            self._work(t, wanted, self.history.close)
        self._end(t)
        self._move_to(self.bounds[1] + dt.timedelta(minutes=1))
        self._timer()
        self._note_day(before, traded)

    def _work(self, t: int, wanted: dict[str, float] | None, prices: Floats) -> None:
        if wanted:
            self._batch(wanted)
        told_s = waited_s = 0.0
        for _ in range(TIMERS_MAX):
            before = self.reserved
            self._timer()
            if self.reserved == before and not self._busy():
                return
            waited_s += STEP_S
            self._move_to(self.at + dt.timedelta(seconds=STEP_S))
            if waited_s - told_s >= QUOTES_EVERY_S:
                told_s = waited_s
                self._bars(t, prices, again=True)

    def _busy(self) -> bool:
        """Whether something may still come of waiting: a breaker asks, or a way out is being taken."""
        flattening = self.engine.mode is Mode.FLATTENING and bool(self.engine.book.positions)
        return flattening or self.engine.doubt is not None

    def _end(self, t: int) -> None:
        """The close: what did not fill is over, the session's costs are charged, the lost are written off."""
        for cid in list(self.working):
            self._evidence(cid, Evidence.ENDED, "canceled")
            self.working.pop(cid, None)
        charge = self.broker.charge()
        if charge:
            self._tell(e.CashMoved(**self._stamp(), amount=charge))
        traded = np.isfinite(self.history.close[t]).tolist()
        for symbol in list(self.engine.book.positions):
            if traded[self.columns[symbol]]:
                self.missing.pop(symbol, None)
                continue
            self.missing[symbol] = self.missing.get(symbol, 0) + 1
            if self.missing[symbol] >= GONE_AFTER:
                self._write_off(symbol)
        # A process of live lasts a session: what has ended is not carried along.
        for cid in [cid for cid, o in self.engine.orders.items() if o.state in TERMINAL]:
            del self.engine.orders[cid]
        self.engine.executions.clear()
        self.purposes.clear()

    def _write_off(self, symbol: str) -> None:
        held, quote = self.engine.book.positions[symbol], self.engine.quotes.get(symbol)
        value = held * quote.mid if quote is not None else Decimal(0)
        self._tell(
            e.CorporateAction(
                **self._stamp(), symbol=symbol, kind="no longer traded", shares=-held, cash=value
            )
        )

    # ------------------------------------------------------------------ telling

    def _stamp(self) -> dict[str, Any]:
        return {"market_time": self.at, "now_ns": self.now_ns}

    def _move_to(self, at: dt.datetime) -> None:
        self.now_ns += max(1, round((at - self.at).total_seconds())) * SECOND if self.at.year > 1 else SECOND
        self.at = at

    def _bars(self, t: int, prices: Floats, *, again: bool = False) -> None:
        """The market at these prices. At the open nothing of the session is known but its open, and the
        size on offer is taken from the volume of the session before."""
        h = self.history
        closing = prices is h.close
        row = prices[t]
        self._tell(
            e.Bars(
                market_time=self.at, now_ns=self.now_ns, symbols=h.symbols, open=h.open[t],
                high=h.high[t] if closing else row, low=h.low[t] if closing else row, close=row,
                volume=h.volume[t if closing else max(t - 1, 0)], spread=self.spread,
            )
        )  # fmt: skip
        if closing and not again:
            self.result.bars += int(np.count_nonzero(np.isfinite(row)))

    def _timer(self) -> None:
        self._tell(
            e.Timer(
                market_time=self.at,
                now_ns=self.now_ns,
                session_open=self.bounds[0],
                session_close=self.bounds[1],
            )
        )

    def _batch(self, wanted: dict[str, float]) -> None:
        assert self.snapshot is not None
        self.batches += 1
        number = f"{self.batches:016x}"
        targets = tuple(
            e.Target(f"{number}{i:016x}", symbol, Decimal(f"{weight:.6f}"))
            for i, (symbol, weight) in enumerate(wanted.items())
        )
        self._tell(
            e.Batch(
                market_time=self.at, now_ns=self.now_ns, batch_id=number, valid_until=self.bounds[1], targets=targets,
                snapshot=self.snapshot, legs={}, policy=self.terms.policy,
            )
        )  # fmt: skip

    def _tell(self, event: e.Event) -> None:
        pending = self._engine(event)
        while pending:
            command, *pending = pending
            answer = self._carry_out(command)
            if answer is not None:
                pending = self._engine(answer) + pending

    def _engine(self, event: e.Event) -> list[c.Command]:
        commands = self.engine.decide(event)
        self.result.commands += len(commands)
        if self.note is not None:
            self.note(event, commands)
        return commands

    def _carry_out(self, command: c.Command) -> e.Event | None:
        match command:
            case c.Reserve(intent=intent):
                assert intent.client_order_id is not None
                self.reserved += 1
                self.purposes[intent.client_order_id] = intent.purpose
                return e.Reserved(
                    market_time=self.at,
                    now_ns=self.now_ns,
                    client_order_id=intent.client_order_id,
                    ok=True,
                    reason="",
                )
            case c.Submit():
                self._submit(command)
            case c.Replace():
                return self._refused(
                    command.client_order_id, "the back-test fills at once: nothing is replaced"
                )
            case c.Cancel():
                if self.working.pop(command.client_order_id, None) is not None:
                    self._evidence(command.client_order_id, Evidence.ENDED, "canceled")
            case c.Refuse():
                for part in command.reason.split("; "):
                    self.result.refusals[part.partition(":")[0]] += 1
            case c.Alert() if command.severity == "critical":
                self.result.trips.append((self.session, command.title, command.body))
            case c.ConfirmEquity():
                return e.EquityConfirmed(
                    market_time=self.at,
                    now_ns=self.now_ns,
                    equity=self.engine.book_equity(),
                    source="back-test",
                )
            case c.ConfirmFlat():
                return e.BrokerFlat(
                    market_time=self.at,
                    now_ns=self.now_ns,
                    positions=dict(self.engine.book.positions),
                    open_orders=(),
                )
            case _:
                pass
        return None

    def _submit(self, order: c.Submit) -> None:
        self._evidence(order.client_order_id, Evidence.WORKING, "new")
        column, risk = self.columns[order.symbol], self.snapshot
        at = risk.index(order.symbol) if risk is not None and order.symbol in risk else None
        volume, volatility = (0.0, 0.0)
        if risk is not None and at is not None:
            volume, volatility = float(risk.average_volume[at]), float(risk.daily_volatility[at])
        bars = self.engine.bars
        shown = bars is not None and bool(np.isfinite(bars.close[column]))
        quote = self.engine.latest_quote(order.symbol) if shown else None
        trade = self.broker.fill(
            order, quote, volume, volatility, self.session, self.purposes.get(order.client_order_id, "")
        )
        if trade is None:
            self.working[order.client_order_id] = order
            return
        self.executions += 1
        self._tell(
            e.Fill(
                market_time=self.at, now_ns=self.now_ns, execution_id=str(self.executions),
                client_order_id=order.client_order_id, qty=trade.qty, price=trade.price,
            )
        )  # fmt: skip

    def _refused(self, client_order_id: str, reason: str) -> e.Event:
        return e.OrderEvidence(
            market_time=self.at, now_ns=self.now_ns, client_order_id=client_order_id, evidence=Evidence.REFUSED,
            reason=reason,
        )  # fmt: skip

    def _evidence(self, client_order_id: str, evidence: Evidence, status: str) -> None:
        self._tell(
            e.OrderEvidence(
                market_time=self.at, now_ns=self.now_ns, client_order_id=client_order_id, evidence=evidence,
                broker_order_id=client_order_id, broker_status=status,
            )
        )  # fmt: skip

    # ------------------------------------------------------------------ what is kept

    def _equity(self) -> float:
        equity = self.engine.book_equity()
        return float(equity) if equity is not None else float("nan")

    def _note_day(self, before: float, traded: int) -> None:
        equity = self._equity()
        today = self.broker.trades[traded:]
        base = before if np.isfinite(before) and before > 0 else equity
        self.result.days.append(
            Day(
                self.session,
                equity,
                sum(float(x.qty * x.price) for x in today) / base,
                sum(x.fees + x.spread + x.impact for x in today) / base,
                len(self.engine.book.positions),
                str(self.engine.mode),
            )
        )
