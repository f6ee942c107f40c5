"""The executor's shell, single-threaded: it carries commands out against the simulated ledger and venue.

It does what ``desk.py``, ``evidence.py``, ``sweep.py`` and ``recovery.py`` do, in their order: the ledger
before the broker, bookings before tellings, one event at a time. Every call to the outside is a place
where the process may die: before its effect, or after it and before anybody knows.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter, deque
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec

from executor.core import commands as c
from executor.core import events as e
from executor.core.book import Book
from executor.core.engine import Engine
from executor.core.modes import Mode
from executor.core.orders import Evidence, State, WorkingOrder, evidence_of_status
from executor.simulation.invariants import RANKS, Invariants
from executor.simulation.ledger import Ledger
from executor.simulation.venue import Execution, Update, Venue, VenueOrder

SECOND = 1_000_000_000
SWEEP_S = 20.0
LATE_S = 4
"""How long a request may still be on its way after its sender gave up; the engine allows for ten."""
HIDDEN_S = 90
"""How long the broker may hide an order it has accepted: longer than the quarantine."""


class Crash(Exception):
    """The process is gone."""


class Clock:
    """Both times, moved by hand."""

    def __init__(
        self, at: dt.datetime, now_ns: int, session_open: dt.datetime, session_close: dt.datetime
    ) -> None:
        self.at = at
        self.now_ns = now_ns
        self.session_open = session_open
        self.session_close = session_close

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)
        self.at += dt.timedelta(seconds=seconds)

    def stamp(self) -> dict[str, Any]:
        return {"market_time": self.at, "now_ns": self.now_ns}


class Shell:
    """One process after another, over a ledger and a venue that outlive them."""

    engine: Engine

    def __init__(
        self,
        clock: Clock,
        venue: Venue,
        ledger: Ledger,
        sectors: dict[str, str],
        average_volume: dict[str, Decimal],
    ) -> None:
        self.clock, self.venue, self.ledger = clock, venue, ledger
        self.sectors = sectors
        self.average_volume = average_volume
        self.counts: Counter[str] = Counter()
        self.faults: dict[str, deque[str]] = {}
        """Kind of call → what the next ones of it do instead of working."""
        self.watch = Invariants(self, sectors)
        self.digest = hashlib.sha256()
        self._encode = msgspec.json.Encoder(decimal_format="string").encode
        self.network: list[tuple[int, c.Submit]] = []
        """Orders whose sender has given up waiting, still on their way."""
        self.crash_in: int | None = None
        self.late: list[tuple[int, str]] = []
        """``(due, client id)`` of ended orders that will turn out to have traded after all."""
        self.late_fills: dict[str, Execution] = {}
        """Those executions, by key: until they are booked the books cannot know of them."""
        self.hidden: dict[str, int] = {}
        """Client id → until when the broker's look-up and list do not show it, though it was accepted."""
        self.foreign: set[str] = set()
        self.unanswered = 0
        self.stream_up = True
        self.swept_ns = 0
        self.started = False

    # ------------------------------------------------------------------ the turn

    def tell(self, event: e.Event) -> None:
        """One event and everything it leads to."""
        pending = self._decide(event)
        while pending:
            command, *pending = pending
            answer = self._carry_out(command)
            if answer is not None:
                pending = self._decide(answer) + pending
        if self.started:
            self.watch.after()

    def quote(self, event: e.Quote) -> None:
        """The feed speaks to the engine directly, in the middle of a turn too."""
        self._decide(event)

    def _decide(self, event: e.Event) -> list[c.Command]:
        commands = self.engine.decide(event)
        self.counts["events"] += 1
        for command in commands:
            self.digest.update(self._encode(command))
        self.watch.decided(event, commands)
        return commands

    def _io(self) -> None:
        """A call to the outside, before or after its effect: the process may end here."""
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in <= 0:
                self.crash_in = None
                raise Crash

    def _fault(self, kind: str) -> str:
        waiting = self.faults.get(kind)
        word = waiting.popleft() if waiting else ""
        if word:
            self.counts[f"{kind} {word}"] += 1
        return word

    def _carry_out(self, command: c.Command) -> e.Event | None:
        self._io()
        answer: e.Event | None = None
        match command:
            case c.Reserve(intent=intent):
                answer = self._reserve(intent)
            case c.Refuse():
                self.counts["refusals"] += 1
                self.ledger.refusals.append((command.intent.symbol, command.reason))
            case c.Record():
                held = self.ledger.record(command)
                if held == "VOID" and command.state != "VOID":
                    answer = e.Withdrawn(**self.clock.stamp(), client_order_id=command.client_order_id)
            case c.Submit() | c.Replace():
                answer = self._send(command)
            case c.Cancel():
                answer = self._cancel(command)
            case c.EnterMode():
                self.counts[f"mode {command.mode}"] += 1
                self.ledger.tighten(command.mode)
            case c.Alert():
                self.ledger.alerts.append((command.kind, command.title))
            case c.FinishBatch():
                self.ledger.finished[command.batch_id] = command.note
            case c.ConfirmEquity():
                answer = self._second_source()
            case c.ConfirmFlat():
                answer = self._flat()
            case _:
                raise TypeError(f"the shell does not know the command {type(command).__name__}")
        self._io()
        return answer

    def _reserve(self, intent: c.Intent) -> e.Event:
        assert intent.client_order_id is not None
        ok, reason = self.ledger.place(intent)
        self.counts["intents" if ok else "ledger refusals"] += 1
        if self._fault("between") == "kill":
            self.ledger.kill(flatten=False)  # committed by a person; the engine has not heard of it
        self._io()
        return e.Reserved(**self.clock.stamp(), client_order_id=intent.client_order_id, ok=ok, reason=reason)

    def _send(self, command: c.Submit | c.Replace) -> e.Event | None:
        cid = command.client_order_id
        if self.ledger.rows[cid].state == "VOID":
            return None
        row = self.ledger.rows[cid].intent
        # A Replace has no word for it; the broker refuses its second copy by the id all the same.
        again = self.ledger.rows[cid].history.count("SENDING") > 1
        repeat = command.repeat if isinstance(command, c.Submit) else again
        self.watch.sending(cid, row.symbol, row.side, command.qty, repeat=repeat)
        self.counts[
            "repeats" if repeat else "orders sent" if isinstance(command, c.Submit) else "replaces"
        ] += 1
        word = self._fault("submit")
        if word == "refused":
            return self.evidence(cid, Evidence.REFUSED, reason="403 not today")
        if word in ("lost", "empty"):
            return self.evidence(cid, Evidence.AMBIGUOUS, reason=f"no usable answer: {word}")
        if word == "late" and isinstance(command, c.Submit):
            self.network.append((self.clock.now_ns + LATE_S * SECOND, command))
            return self.evidence(cid, Evidence.AMBIGUOUS, reason="timed out; it arrives later")
        refusal, order = (
            self.venue.submit(command, self.clock.now_ns)
            if isinstance(command, c.Submit)
            else self.venue.replace(command, self.clock.now_ns)
        )
        self._io()
        if word in ("504", "504 and hidden"):
            if word != "504":
                self.hidden[cid] = self.clock.now_ns + HIDDEN_S * SECOND
            return self.evidence(cid, Evidence.AMBIGUOUS, reason="504")
        if refusal == "duplicate":
            self.counts["duplicate ids refused"] += 1
            if self.clock.now_ns < self.hidden.get(cid, 0):
                return self.evidence(cid, Evidence.AMBIGUOUS, reason="id is taken but the order is not found")
        elif refusal:
            self.counts["refused by the venue"] += 1
            return self.evidence(cid, Evidence.REFUSED, reason=refusal)
        assert order is not None
        return self._answer(order)

    def _answer(self, order: VenueOrder) -> e.Event:
        return self.evidence(
            order.client_order_id,
            evidence_of_status(order.status),
            broker_order_id=order.id,
            broker_status=order.status,
            broker_filled=order.filled,
            reason=order.status,
        )

    def _cancel(self, command: c.Cancel) -> e.Event | None:
        self.counts["cancels"] += 1
        word = self._fault("cancel")
        taken = word == "unheard" or (
            word != "lost" and self.venue.cancel(command.broker_order_id, self.clock.now_ns)
        )
        if taken and word == "late fill":
            self.late.append((self.clock.now_ns + LATE_S * SECOND, command.client_order_id))
        if word == "unheard":
            return None  # taken with thanks, and nothing happens
        if taken:
            return None
        return self.evidence(command.client_order_id, Evidence.WORKING, reason="cancel not taken")

    def _second_source(self) -> e.Event | None:
        word = self._fault("confirm")
        self.counts["equity confirmations"] += 1
        if word == "lost":
            return None
        equity: Decimal | None = self.venue.cash
        for symbol, qty in self.venue.positions.items():
            market = self.venue.markets[symbol]
            assert equity is not None
            equity += qty * (market.bid + market.ask) / 2
        if word == "cannot say":
            equity = None
        elif word == "wrong" and equity is not None:
            equity *= Decimal("1.2")
        return e.EquityConfirmed(**self.clock.stamp(), equity=equity, source="broker")

    def _flat(self) -> e.Event | None:
        self.counts["flat asked"] += 1
        if self._fault("flat") == "lost":
            return None
        working = tuple(o.id for o in self.venue.orders.values() if o.open)
        return e.BrokerFlat(**self.clock.stamp(), positions=dict(self.venue.positions), open_orders=working)

    def evidence(self, client_order_id: str, evidence: Evidence, **more: Any) -> e.OrderEvidence:
        """Something learnt about an order, stamped now."""
        return e.OrderEvidence(
            **self.clock.stamp(), client_order_id=client_order_id, evidence=evidence, **more
        )

    # ------------------------------------------------------------------ what the broker shows

    def arrivals(self) -> None:
        """Late orders reach the venue; updates that are due reach us."""
        for due_ns, command in [n for n in self.network if n[0] <= self.clock.now_ns]:
            self.network.remove((due_ns, command))
            self.counts["orders arrived late"] += 1
            self.venue.submit(command, self.clock.now_ns)
        for due_ns, cid in [n for n in self.late if n[0] <= self.clock.now_ns]:
            self.late.remove((due_ns, cid))
            execution = self.venue.fill_after_end(cid, self.clock.now_ns)
            if execution is not None:
                self.counts["fills after the end"] += 1
                self.late_fills[execution.key] = execution
        waiting: list[Update] = []
        while self.venue.updates:
            update = self.venue.updates.popleft()
            if update.due_ns > self.clock.now_ns:
                waiting.append(update)
                continue
            word = self._fault("update")
            if not self.stream_up or word == "lost":
                self.counts["updates lost"] += 1
                continue
            if word == "late":
                waiting.append(replace(update, due_ns=self.clock.now_ns + 3 * SECOND))
                continue
            self._update(update)
            if word == "twice":
                self._update(update)
        self.venue.updates.extend(waiting)

    def _update(self, update: Update) -> None:
        self.counts["updates"] += 1
        if update.client_order_id not in self.engine.orders:
            self._leg_or_foreign(update.client_order_id)
            return
        if update.execution is not None:
            self._book(
                update.execution.key, update.client_order_id, update.execution.qty, update.execution.price
            )
        if update.replaced_by and update.replaced_by in self.engine.orders:
            new = self.venue.orders[update.replaced_by]
            self.tell(
                e.Replaced(
                    **self.clock.stamp(), client_order_id=update.client_order_id,
                    by_client_order_id=update.replaced_by, broker_order_id=new.id,
                )
            )  # fmt: skip
        self._show(update.client_order_id, update.order_id, update.status, update.filled)

    def _book(self, key: str, client_order_id: str, qty: Decimal, price: Decimal) -> None:
        """The ledger first, then the engine, once; now and then it is told twice."""
        self._io()
        fresh = self.ledger.record_fill(key, client_order_id, qty, price)
        self._io()
        if not fresh:
            self.counts["fills seen again"] += 1
            return
        self.counts["fills"] += 1
        fill = e.Fill(
            **self.clock.stamp(), execution_id=key, client_order_id=client_order_id, qty=qty, price=price
        )
        self.tell(fill)
        if self._fault("fill") == "told twice":
            self.tell(fill)

    def _show(self, client_order_id: str, order_id: str, status: str, filled: Decimal) -> None:
        self.tell(
            self.evidence(
                client_order_id, evidence_of_status(status), broker_order_id=order_id, broker_status=status,
                broker_filled=filled,
            )
        )  # fmt: skip

    def _leg_or_foreign(self, client_order_id: str) -> None:
        order = self.venue.orders[client_order_id]
        if order.parent and order.parent in self.engine.orders:
            self._leg(order)
            return
        if client_order_id in self.ledger.rows or client_order_id in self.foreign:
            return
        self.foreign.add(client_order_id)
        self.counts["foreign orders"] += 1
        self.tell(e.PositionsDiffer(**self.clock.stamp(), reason=f"order {client_order_id} is not ours"))
        self.venue.cancel(order.id, self.clock.now_ns)

    def _leg(self, order: VenueOrder) -> None:
        raise NotImplementedError(f"the simulated ledger books no legs yet: {order.client_order_id}")

    def sweep(self) -> bool:
        """Read everything the broker shows and tell what we have not seen; False if it did not answer."""
        self.swept_ns = self.clock.now_ns
        if self._fault("sweep"):
            self.unanswered += 1
            return False
        self.unanswered = 0
        self.counts["sweeps"] += 1
        lagging = {cid for cid, until_ns in self.hidden.items() if self.clock.now_ns < until_ns}
        for execution in list(self.venue.executions):
            if execution.client_order_id in lagging or execution.client_order_id not in self.engine.orders:
                continue
            if execution.key not in self.ledger.fills:
                self._book(execution.key, execution.client_order_id, execution.qty, execution.price)
        for activity, amount in list(self.venue.cash_activities):
            if activity not in self.ledger.activities:
                self.ledger.activities.add(activity)
                self.ledger.cash += amount
                self.tell(e.CashMoved(**self.clock.stamp(), amount=amount))
        shown = [o for o in list(self.venue.orders.values()) if o.client_order_id not in lagging]
        for order in shown:
            if order.client_order_id in self.engine.orders:
                if self.ledger.open_states(order.client_order_id):
                    self._show(order.client_order_id, order.id, order.status, order.filled)
            else:
                self._leg_or_foreign(order.client_order_id)
        seen = {o.client_order_id for o in shown}
        for working in [
            o for o in self.engine.orders.values() if o.is_open and o.client_order_id not in seen
        ]:
            if str(working.state) in ("INTENT", "SENDING"):
                continue
            over = self.clock.at >= self.clock.session_close
            word = Evidence.ABSENT if over else Evidence.NOT_FOUND
            self.counts["looks in vain"] += 1
            self.tell(self.evidence(working.client_order_id, word, reason="not shown"))
        return True

    def heartbeat(self) -> None:
        """Read the ledger's latches and tell the engine where they differ from its own."""
        if self._fault("heartbeat"):
            return
        ledger, engine = self.ledger, self.engine
        stamp, asked_ns = self.clock.stamp(), self.clock.now_ns
        if ledger.killed and (
            not engine.killed or (ledger.flatten and not engine.flatten) or _way_out(ledger, engine)
        ):
            self.counts["kills heard"] += 1
            if self.counts["kills heard"] % 2:  # by either event: the shell's heartbeat, or a person at once
                self.tell(e.ModeSeen(**stamp, mode=ledger.mode, killed=ledger.killed, flatten=ledger.flatten))
            else:
                self.tell(e.Kill(**stamp, who="a person", reason="simulated", flatten=ledger.flatten))
        elif RANKS[ledger.mode] < RANKS[engine.mode] or (engine.killed and not ledger.killed):
            self.counts["re-arms heard"] += 1
            self.tell(
                e.Rearm(
                    **stamp, mode=ledger.mode, reason="simulated", who="a person", asked_ns=asked_ns, rebase=True
                )
            )  # fmt: skip
        elif ledger.mode is not engine.mode:
            self.tell(e.ModeSeen(**stamp, mode=ledger.mode, killed=ledger.killed, flatten=ledger.flatten))

    def timer(self, *, draining: bool = False) -> None:
        """The shell's own pulse: what arrived, the sweep, the latches, and then the engine's timer."""
        self.arrivals()
        if (self.clock.now_ns - self.swept_ns) / SECOND >= SWEEP_S:
            self.sweep()
        self.heartbeat()
        self.tell(
            e.Timer(
                **self.clock.stamp(), session_open=self.clock.session_open, session_close=self.clock.session_close,
                broker_ready=self.stream_up and self.unanswered == 0, draining=draining,
            )
        )  # fmt: skip
        book = self.engine.book
        self.ledger.day, self.ledger.day_open_equity = book.day, book.day_open_equity
        self.ledger.high_water_mark = book.high_water_mark
        self.ledger.worst_drawdown = max(self.ledger.worst_drawdown, self.engine.worst_drawdown)

    def on_its_way(self) -> list[tuple[str, str, Decimal]]:
        """``(side, symbol, shares)`` of orders that have left us and not reached the venue."""
        # An id the venue has already is refused when it arrives again.
        return [
            (order.side, order.symbol, order.qty)
            for _, order in self.network
            if order.client_order_id not in self.venue.orders
        ]

    # ------------------------------------------------------------------ start

    def start(self) -> None:
        """Start or restart: what the ledger remembers, what the broker shows, and only then trading."""
        ledger = self.ledger
        self.started = False
        ledger.epoch += 1
        self.venue.updates.clear()  # nobody listened
        self.stream_up, self.unanswered = True, 0
        book = Book(ledger.cash, dict(ledger.positions))
        book.day, book.day_open_equity, book.high_water_mark = (
            ledger.day,
            ledger.day_open_equity,
            ledger.high_water_mark,
        )
        today = sum(r.intent.market_time >= self.clock.session_open for r in ledger.rows.values())
        self.engine = Engine(
            book, ledger.mode, ledger.limit_version, ledger.limits, self.sectors, reprice_ns=30 * SECOND,
            identity={"build": "simulation"}, orders=[_order(cid, self) for cid in ledger.rows],
            orders_today=today, worst_drawdown=ledger.worst_drawdown,
        )  # fmt: skip
        self.engine.killed, self.engine.flatten = ledger.killed, ledger.flatten
        self.watch.forget()
        self.foreign = {o.client_order_id for o in self.venue.orders.values() if not o.open}
        for cid, row in list(ledger.rows.items()):
            if row.state == "INTENT":
                self._carry_out(
                    c.Record(client_order_id=cid, state=State.VOID, reason="restart before it was sent")
                )
                self.tell(e.Withdrawn(**self.clock.stamp(), client_order_id=cid))
            elif row.state == "SENDING":
                self.tell(self.evidence(cid, Evidence.AMBIGUOUS, reason="restart"))
        while not self.sweep():
            self.clock.advance(1.0)
        self.started = True
        for batch_id in ledger.newest.values():
            self._resume(ledger.batches[batch_id])

    def _resume(self, batch: e.Batch) -> None:
        legs = {t.signal_id: self.ledger.legs_of(t.signal_id) for t in batch.targets}
        self.tell(
            msgspec.structs.replace(
                batch, **self.clock.stamp(), legs=legs, settled=batch.batch_id in self.ledger.finished
            )
        )


def _way_out(ledger: Ledger, engine: Engine) -> bool:
    """A halted executor is asked to flatten: it looks looser and is not."""
    return ledger.mode is Mode.FLATTENING and engine.mode is Mode.HALTED


def _order(client_order_id: str, shell: Shell) -> WorkingOrder:
    """A row as the engine is given it at a start."""
    row = shell.ledger.rows[client_order_id]
    i = row.intent
    return WorkingOrder(
        client_order_id=client_order_id, symbol=i.symbol, side=i.side, qty=i.qty, limit_price=i.limit_price,
        purpose=i.purpose, signal_id=i.signal_id, batch_id=i.batch_id, leg=i.leg,
        state=shell.ledger.state_of(client_order_id), created_ns=0, filled_qty=row.filled,
        broker_order_id=row.broker_order_id,
    )  # fmt: skip
