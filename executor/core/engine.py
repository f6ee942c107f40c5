"""``decide(event) -> commands``: the whole of what the executor does, without doing any of it.

The engine owns the book, the orders, the quotes and the mode. It has no clock: time arrives in the
events, so a recorded day gives the same commands again. The shell carries commands out in order and
answers with events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_DOWN, Decimal
from typing import Any

from executor.core import events, gate, planner
from executor.core.book import ZERO, Book
from executor.core.commands import (
    Alert,
    Cancel,
    Command,
    EnterMode,
    FinishBatch,
    Intent,
    Record,
    Refuse,
    Reserve,
    Submit,
)
from executor.core.events import (
    Batch,
    CashMoved,
    Event,
    Fill,
    LimitsChanged,
    ModeSeen,
    OrderEvidence,
    Quote,
    Reserved,
    Target,
    Timer,
)
from executor.core.limits import Proposal
from executor.core.modes import Mode, tighter
from executor.core.orders import Evidence, State, WorkingOrder, next_state
from models.cost.estimate import estimate
from models.risk.snapshot import RiskSnapshot

CANCEL_RETRY_NS = 2_000_000_000
PROPOSALS_A_TIMER = 4
"""Orders proposed at one timer, so that verdicts are fresh when sent and a fill or a kill gets a turn."""
PASSING = frozenset({"quote_age_s", "price_collar", "daily_loss"})
"""Limits whose breach can go away by itself."""
LEGS_MAX = 40
"""Orders sent for one signal at most; past it a person should look (repeated-execution throttle)."""


class Engine:
    """The decision engine of one account.

    Parameters
    ----------
    book : Book
        Cash and positions as the ledger has them.
    mode : Mode
        Mode the ledger holds.
    limit_version, limits
        Limits in force, every bound present.
    sectors : mapping
        Symbol → sector.
    reprice_ns : int
        Age at which an unfilled order is cancelled to be priced anew.
    identity : mapping
        Build and configuration, written into every decision.
    """

    def __init__(
        self,
        book: Book,
        mode: Mode,
        limit_version: int,
        limits: Mapping[str, str],
        sectors: Mapping[str, str],
        *,
        reprice_ns: int,
        identity: Mapping[str, str],
        orders: Iterable[WorkingOrder] = (),
        orders_today: int = 0,
    ) -> None:
        self.book = book
        self.mode = mode
        self.killed = False
        self.flatten = False
        self.limit_version = limit_version
        self.limits = _decimals(limits)
        self.sectors = sectors
        self.reprice_ns = reprice_ns
        self.identity = dict(identity)
        self.latest: dict[str, Quote] = {}
        self.quotes: dict[str, Quote] = {}
        """The last usable quote of each name; ``latest`` may be unusable, and then refuses new risk."""
        self.orders: dict[str, WorkingOrder] = {o.client_order_id: o for o in orders}
        self.orders_today = orders_today
        self.batch: Batch | None = None
        self.snapshot: RiskSnapshot | None = None
        self.equity: Decimal | None = None
        self._sizing_equity: Decimal | None = None
        self._legs: dict[str, int] = {}
        self._given_up: dict[str, str] = {}
        self._retry_ns: dict[str, int] = {}
        self._said: set[tuple[str, str]] = set()
        self._reduce_to: dict[str, Decimal] = {}
        self._intents: dict[str, Intent] = {}
        self._batch_finished = False

    # ------------------------------------------------------------------ events

    def decide(self, event: Event) -> list[Command]:
        """Take one event and return the commands it leads to."""
        match event:
            case Quote():
                self.latest[event.symbol] = event
                if event.usable:
                    self.quotes[event.symbol] = event
                return []
            case Fill():
                return self._on_fill(event)
            case CashMoved():
                self.book.cash += event.amount
                return []
            case OrderEvidence():
                return self._on_evidence(event)
            case Reserved():
                return self._on_reserved(event)
            case Batch():
                return self._on_batch(event)
            case LimitsChanged():
                self.limit_version, self.limits = event.version, _decimals(event.limits)
                return []
            case ModeSeen():
                self.killed, self.flatten = event.killed, event.flatten
                self.mode = event.mode
                return []
            case Timer():
                return self._on_timer(event)
            case _ if type(event) in events.NOT_ACTED_ON_YET:
                return []
        raise TypeError(f"the engine does not know the event {type(event).__name__}")

    def _on_batch(self, event: Batch) -> list[Command]:
        self.batch, self.snapshot = event, event.snapshot
        self._sizing_equity = None
        self._legs = dict(event.legs)
        self._given_up, self._retry_ns, self._said = {}, {}, set()
        self._batch_finished = False
        return []

    def _on_fill(self, event: Fill) -> list[Command]:
        order = self.orders[event.client_order_id]
        late = not order.is_open and order.state is not State.DONE
        order.filled_qty += event.qty
        self.book.apply_fill(order, event.qty, event.price)
        if late:
            # We had proof that this order never traded, and the proof was wrong.
            return self._tighten(
                Mode.HALTED,
                f"fill {event.execution_id} for order {order.client_order_id} in state {order.state}",
            )
        return []

    def _on_evidence(self, event: OrderEvidence) -> list[Command]:
        order = self.orders[event.client_order_id]
        order.broker_order_id = event.broker_order_id or order.broker_order_id
        after = next_state(order.state, event.evidence)
        if event.evidence is Evidence.ENDED and (event.broker_filled or ZERO) > order.filled_qty:
            # It ended by fills that are not booked yet: until they are, it stays open and reserved.
            after = next_state(order.state, Evidence.WORKING)
        # A sweep that still shows an order open does not undo the cancel that is on its way.
        if order.state is State.CANCELING and after is State.LIVE and not event.reason:
            after = order.state
        changed = after is not order.state
        order.state = after
        commands: list[Command] = []
        if changed or event.broker_order_id:
            commands.append(
                Record(
                    client_order_id=order.client_order_id,
                    state=after,
                    broker_order_id=event.broker_order_id,
                    broker_status=event.broker_status,
                    reason=event.reason,
                )
            )
        if changed and after is State.REJECTED:
            self._given_up[order.symbol] = f"rejected by the broker: {event.reason}"
            commands.append(
                Alert(
                    severity="warning",
                    kind="order_rejected",
                    title=f"Broker rejected {order.side} {order.qty} {order.symbol}",
                    body=event.reason,
                    ref=order.client_order_id,
                )
            )
        return commands

    def _on_reserved(self, event: Reserved) -> list[Command]:
        intent = self._intents.pop(event.client_order_id)
        if not event.ok:
            # A mode, a kill, an unknown equity say nothing about the name: it is tried again later.
            passing = event.reason.startswith(("killed", "mode", "equity", "limits changed"))
            return self._refused(intent, f"ledger: {event.reason}", event.now_ns, lasting=not passing)
        order = WorkingOrder(
            client_order_id=event.client_order_id,
            symbol=intent.symbol,
            side=intent.side,
            qty=intent.qty,
            limit_price=intent.limit_price,
            purpose=intent.purpose,
            signal_id=intent.signal_id,
            batch_id=intent.batch_id,
            leg=intent.leg,
            state=State.INTENT,
            created_ns=event.now_ns,
        )
        self.orders[order.client_order_id] = order
        self.orders_today += 1
        if not self._still_allowed(order):
            order.state = next_state(order.state, Evidence.VOIDED)
            return [
                Record(client_order_id=order.client_order_id, state=order.state, reason=f"mode {self.mode}")
            ]
        order.state = next_state(order.state, Evidence.SEND)
        return [
            Record(client_order_id=order.client_order_id, state=order.state, reason="sending"),
            Submit(
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                side=order.side,
                qty=order.qty,
                limit_price=order.limit_price,
            ),
        ]

    def _still_allowed(self, order: WorkingOrder) -> bool:
        """Whether the mode, which may have tightened since the verdict, lets this order go out."""
        if self.mode is Mode.HALTED:
            return False
        return self.mode in (Mode.READY, Mode.REDUCING) or self._is_reduction(order)

    # ------------------------------------------------------------------ time

    def _on_timer(self, event: Timer) -> list[Command]:
        commands = self._mark(event)
        if event.draining:
            return commands + [c for o in self._open_orders() for c in self._cancel(o, event.now_ns)]
        if self.mode in (Mode.HALTED, Mode.FLATTENING):
            commands += self._cancel_open(event.now_ns)
        if self.mode is Mode.HALTED or not event.in_session:
            return commands
        commands += self._cancel_stale(event)
        if self.mode is Mode.FLATTENING:
            return commands + self._flatten(event)
        if self._reduce_to:
            commands += self._exits(self._reduce_to, event)
        return commands + (self._work_batch(event) if event.broker_ready else [])

    def _mark(self, event: Timer) -> list[Command]:
        """Mark the book, and trip the breakers that look at equity."""
        self.equity = self.book.equity(self.quotes)
        if not event.in_session:
            return []
        if self.equity is None:
            return []
        if self.book.day not in (None, event.session_open.date()):
            self.orders_today = 0
        self.book.open_day(event.session_open.date(), self.equity)
        at_exit = self.book.equity(self.quotes, at_exit=True)
        assert at_exit is not None
        commands: list[Command] = []
        loss, fall = self.book.daily_loss(at_exit), self.book.drawdown(at_exit)
        if loss >= self.limits["daily_loss"]:
            reason = f"daily loss {loss:.2%} reached the limit of {self.limits['daily_loss']:.2%}"
            commands += self._tighten(Mode.CLOSE_ONLY, reason)
            commands += self._cancel_increasing(event.now_ns)
        if fall >= self.limits["drawdown"]:
            reason = f"drawdown {fall:.2%} from the high-water mark passed {self.limits['drawdown']:.2%}"
            tightened = self._tighten(Mode.REDUCING, reason)
            if tightened and self.batch_finished:
                self._plan_reduction()
            commands += tightened
        return commands

    def _plan_reduction(self) -> None:
        """Scale the book itself where no batch is left whose targets would be scaled."""
        scale = self.limits["drawdown_scale"]
        self._reduce_to = {
            symbol: (held * scale).quantize(Decimal(1), rounding=ROUND_DOWN)
            for symbol, held in self.book.positions.items()
        }

    def _tighten(self, mode: Mode, reason: str) -> list[Command]:
        if tighter(mode, self.mode) is self.mode or self.mode is Mode.FLATTENING:
            return []  # a flattening goes on: it is the way out
        self.mode = mode
        return [
            EnterMode(mode=mode, reason=reason),
            Alert(severity="critical", kind="breach", title=f"Mode {mode}", body=reason),
        ]

    def _open_orders(self) -> tuple[WorkingOrder, ...]:
        return tuple(o for o in self.orders.values() if o.is_open)

    def _cancel(self, order: WorkingOrder, now_ns: int) -> list[Command]:
        if order.state not in (State.LIVE, State.CANCELING) or order.broker_order_id is None:
            return []
        if order.cancel_ns is not None and now_ns - order.cancel_ns < CANCEL_RETRY_NS:
            return []
        order.cancel_ns = now_ns
        before, order.state = order.state, next_state(order.state, Evidence.CANCEL_SENT)
        ask = Cancel(client_order_id=order.client_order_id, broker_order_id=order.broker_order_id)
        if before is order.state:
            return [ask]  # asked before, and still open
        return [Record(client_order_id=order.client_order_id, state=order.state, reason="cancel"), ask]

    def _cancel_open(self, now_ns: int) -> list[Command]:
        keep = "flatten" if self.mode is Mode.FLATTENING else ""
        return [c for o in self._open_orders() if o.purpose != keep for c in self._cancel(o, now_ns)]

    def _cancel_increasing(self, now_ns: int) -> list[Command]:
        commands: list[Command] = []
        for order in self._open_orders():
            held = self.book.positions.get(order.symbol, ZERO)
            if held == 0 or (held > 0) == (order.side == "buy"):
                commands += self._cancel(order, now_ns)
        return commands

    def _cancel_stale(self, event: Timer) -> list[Command]:
        stale = [o for o in self._open_orders() if event.now_ns - o.created_ns > self.reprice_ns]
        return [c for o in stale for c in self._cancel(o, event.now_ns)]

    # ------------------------------------------------------------------ targets

    def _work_batch(self, event: Timer) -> list[Command]:
        batch = self.batch
        if batch is None or self._batch_finished:
            return []
        if self._sizing_equity is None:
            if self.equity is None:
                return []
            self._sizing_equity = self.equity
        if event.market_time >= batch.valid_until:
            return self._finish("expired")
        drafts, waiting = self._drafts(batch, event.now_ns)
        busy = {o.symbol for o in self._open_orders()} | {i.symbol for i in self._intents.values()}
        # An order whose fate is unknown may take all day to resolve; the others do not wait for it.
        reductions_open = any(
            self._is_reduction(o) for o in self._open_orders() if o.state is not State.UNKNOWN
        )
        commands: list[Command] = []
        reductions = [(d, t) for d, t in drafts if self._reduces(d) and d.symbol not in busy]
        wanted = reductions or (
            [] if reductions_open else [(d, t) for d, t in drafts if d.symbol not in busy]
        )
        for draft, target in wanted[:PROPOSALS_A_TIMER]:
            commands += self._propose(draft, "target", target, event)
        if not drafts and not waiting and not busy:
            commands += self._finish(f"{len(batch.targets)} targets worked, {len(self._given_up)} given up")
        return commands

    def _drafts(self, batch: Batch, now_ns: int) -> tuple[list[tuple[planner.Draft, Target]], bool]:
        """Orders still wanted, and whether any name waits for a quote."""
        assert self._sizing_equity is not None
        scale = self.limits["drawdown_scale"] if self.mode is Mode.REDUCING else Decimal(1)
        drafts, waiting = [], False
        for target in batch.targets:
            if target.symbol in self._given_up:
                continue
            quote = self.latest.get(target.symbol)
            if quote is None or not quote.usable or now_ns < self._retry_ns.get(target.symbol, 0):
                waiting = True
                continue
            held = self.book.positions.get(target.symbol, ZERO)
            shares = planner.target_shares(target.weight * scale, self._sizing_equity, quote.mid)
            wanted = planner.draft(
                target.symbol,
                held,
                shares,
                self._sizing_equity,
                quote,
                self.limits,
                self._volume(target.symbol),
            )
            if wanted is not None:
                drafts.append((wanted, target))
        return drafts, waiting

    def _volume(self, symbol: str) -> Decimal | None:
        if self.snapshot is None or symbol not in self.snapshot:
            return None
        volume = float(self.snapshot.average_volume[self.snapshot.index(symbol)])
        return Decimal(f"{volume:.2f}") if volume > 0 else None

    def _reduces(self, draft: planner.Draft) -> bool:
        held = self.book.positions.get(draft.symbol, ZERO)
        return held != 0 and (held > 0) != (draft.side == "buy")

    def _is_reduction(self, order: WorkingOrder) -> bool:
        held = self.book.positions.get(order.symbol, ZERO)
        return held != 0 and (held > 0) != (order.side == "buy")

    def _finish(self, note: str) -> list[Command]:
        assert self.batch is not None
        self._batch_finished = True
        return [FinishBatch(batch_id=self.batch.batch_id, note=note)]

    @property
    def batch_finished(self) -> bool:
        """Whether nothing is left to do for the batch (or there is none)."""
        return self.batch is None or self._batch_finished

    # ------------------------------------------------------------------ one order

    def _propose(
        self, draft: planner.Draft, purpose: str, target: Target | None, event: Timer
    ) -> list[Command]:
        key = target.signal_id if target is not None else f"exit:{draft.symbol}"
        leg = self._legs.get(key, 0) + 1
        proposal = self._proposal(draft, event.now_ns)
        ruling = gate.judge(proposal, self.limits)
        throttled = leg > LEGS_MAX and not ruling.reducing
        intent = self._intent(draft, purpose, target, leg, proposal, ruling, event)
        if throttled or not ruling.accepted:
            reason = f"{LEGS_MAX} orders sent for this signal already" if throttled else ruling.reason
            lasting = throttled or any(
                not v.ok and not v.unknown and v.name not in PASSING for v in ruling.verdicts
            )
            refusal = Refuse(intent=intent, reason=reason)
            return [refusal, *self._refused(intent, reason, event.now_ns, lasting=lasting)]
        self._legs[key] = leg
        assert intent.client_order_id is not None
        self._intents[intent.client_order_id] = intent
        return [Reserve(intent=intent)]

    def _proposal(self, draft: planner.Draft, now_ns: int) -> Proposal:
        return Proposal(
            symbol=draft.symbol,
            side=draft.side,
            qty=draft.qty,
            limit_price=draft.limit_price,
            quote=self.latest.get(draft.symbol),
            now_ns=now_ns,
            book=self.book,
            orders=self._open_orders() + tuple(_as_order(i) for i in self._intents.values()),
            quotes=self.quotes,
            equity=self.equity,
            mode=self.mode,
            snapshot=self.snapshot,
            sectors=self.sectors,
            orders_today=self.orders_today + len(self._intents),
        )

    def _intent(
        self,
        draft: planner.Draft,
        purpose: str,
        target: Target | None,
        leg: int,
        proposal: Proposal,
        ruling: gate.Ruling,
        event: Timer,
    ) -> Intent:
        quote = self.quotes[draft.symbol]
        base = (
            target.signal_id.replace("-", "")
            if target is not None
            else f"x{event.now_ns:x}{draft.symbol.lower()}"
        )
        inputs: dict[str, Any] = {
            "bid": str(quote.bid),
            "ask": str(quote.ask),
            "quote_age_ms": round((event.now_ns - quote.now_ns) / 1e6 + quote.age_at_receipt_ms, 3),
            "quote_time": quote.market_time.isoformat(),
            "position": str(self.book.positions.get(draft.symbol, ZERO)),
            "equity": None if self.equity is None else f"{self.equity:.6f}",
            "cash": f"{self.book.cash:.6f}",
            "mode": str(self.mode),
            "target_weight": None if target is None else str(target.weight),
            **self.identity,
        }
        return Intent(
            client_order_id=f"sp-{base}-{leg}",
            symbol=draft.symbol,
            side=draft.side,
            qty=draft.qty,
            limit_price=draft.limit_price,
            purpose=purpose,
            leg=leg,
            signal_id=target.signal_id if target is not None else None,
            batch_id=self.batch.batch_id if self.batch is not None and target is not None else None,
            arrival_price=quote.mid,
            market_time=event.market_time,
            limit_version=self.limit_version,
            inputs=inputs,
            checks=[v.as_json() for v in ruling.verdicts],
            cost_estimate=self._cost(draft, quote, event),
        )

    def _cost(self, draft: planner.Draft, quote: Quote, event: Timer) -> dict[str, float]:
        """Expected cost of the order in USD: fees, half the quoted spread, square-root impact."""
        volume = self._volume(draft.symbol)
        if volume is None or self.snapshot is None:
            return {}
        column = self.snapshot.index(draft.symbol)
        cost = estimate(
            "buy" if draft.side == "buy" else "sell",
            draft.qty,
            quote.mid,
            float((quote.ask - quote.bid) / quote.mid),
            float(volume),
            float(self.snapshot.daily_volatility[column]),
            event.session_open.date(),
        )
        parts = {
            "fees": cost.fees,
            "spread": cost.spread,
            "impact": cost.impact,
            "total": cost.total,
            "bps": cost.bps,
        }
        return {name: round(float(value), 6) for name, value in parts.items()}

    def _refused(self, intent: Intent, reason: str, now_ns: int, *, lasting: bool) -> list[Command]:
        """Give the name up for this batch, or let it rest if the reason may pass; tell a person once."""
        if lasting and intent.purpose == "target":
            self._given_up[intent.symbol] = reason
        else:
            self._retry_ns[intent.symbol] = now_ns + self.reprice_ns
        said = (intent.symbol, reason.partition(":")[0])
        if said in self._said:
            return []
        self._said.add(said)
        return [
            Alert(
                severity="warning",
                kind="breach",
                title=f"Refused {intent.side} {intent.qty} {intent.symbol}",
                body=reason,
                ref=intent.client_order_id or "",
            )
        ]

    # ------------------------------------------------------------------ exits

    def _flatten(self, event: Timer) -> list[Command]:
        """Close every position; one order a symbol at a time."""
        return self._exits(dict.fromkeys(self.book.positions, ZERO), event)

    def _exits(self, goals: dict[str, Decimal], event: Timer) -> list[Command]:
        """Bring positions down to their goals without a signal, each symbol by itself.

        A symbol waits for its own open orders, except those whose fate is unknown: what such an order
        may still take off is left to it, the rest is not held up.
        """
        blocked = {o.symbol for o in self._open_orders() if o.state is not State.UNKNOWN}
        blocked |= {i.symbol for i in self._intents.values()}
        commands: list[Command] = []
        for symbol, goal in sorted(goals.items()):
            held, quote = self.book.positions.get(symbol, ZERO), self.quotes.get(symbol)
            if symbol in blocked or quote is None or event.now_ns < self._retry_ns.get(symbol, 0):
                continue
            side = "sell" if held > 0 else "buy"
            doubtful = sum(
                (o.remaining for o in self._open_orders() if o.symbol == symbol and o.side == side), ZERO
            )
            sure = max(abs(held) - doubtful, abs(goal)).copy_sign(held)
            wanted = planner.draft(symbol, sure, goal, self.equity or ZERO, quote, self.limits, None)
            if wanted is None:
                if not doubtful:
                    self._reduce_to.pop(symbol, None)  # as near to its goal as an order can bring it
            else:
                commands += self._propose(wanted, "flatten", None, event)
        return commands


def _as_order(intent: Intent) -> WorkingOrder:
    """An intent the ledger has not answered yet, counted as an open order."""
    assert intent.client_order_id is not None
    return WorkingOrder(
        client_order_id=intent.client_order_id,
        symbol=intent.symbol,
        side=intent.side,
        qty=intent.qty,
        limit_price=intent.limit_price,
        purpose=intent.purpose,
        signal_id=intent.signal_id,
        batch_id=intent.batch_id,
        leg=intent.leg,
        state=State.INTENT,
        created_ns=0,
    )


def _decimals(limits: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in limits.items()}
