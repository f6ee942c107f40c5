"""Everything the engine knows: the book, the orders, the prices, the batches, the mode.

The rooms of the engine (``order_life``, ``targets``, ``exits``, ...) are functions over it. State
changes that others keep running totals of pass through three methods here and no other place:
:meth:`Known.order_opened`, :meth:`Known.order_changed` and :meth:`Known.shares_moved`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from executor.core import drawdown
from executor.core.bars import quote_of, quotes_of
from executor.core.book import ZERO, Book
from executor.core.commands import Alert, Command, EnterMode, Intent
from executor.core.events import Bars, Batch, Quote, Timer
from executor.core.exposure import Exposure
from executor.core.gate import Gate
from executor.core.health import Health
from executor.core.modes import Mode, tighter
from executor.core.name import Name
from executor.core.orders import Evidence, State, WorkingOrder, next_state
from executor.core.pace import Pace
from models.risk.snapshot import RiskSnapshot

NEVER_NS = -(10**18)


@dataclass
class Work:
    """One batch being worked, and what has come of it so far."""

    batch: Batch
    equity: Decimal | None = None
    """What its weights are sized on: the first equity known after it came."""
    legs: dict[str, int] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    """Symbol → why no more is tried for it in this batch."""
    finished: bool = False
    settled: dict[str, Decimal] = field(default_factory=dict)
    """Symbol → the strategy's own shares as last sized, before any drawdown scale."""
    starts: dict[str, Decimal] = field(default_factory=dict)
    """Symbol → the strategy's own shares when the batch began, from which a schedule moves on."""
    printed: dict[str, int] = field(default_factory=dict)
    """Symbol → volume on the tape when the batch began."""
    pegs: dict[str, int] = field(default_factory=dict)
    """Symbol → how often it has been priced at a peg."""

    def __post_init__(self) -> None:
        self.by_symbol = {target.symbol: target for target in self.batch.targets}


@dataclass
class Doubt:
    """A loss seen by our marks that a second source has been asked about."""

    reason: str
    asked_ns: int
    answered: bool = False
    denials: int = 0


@dataclass
class Watch:
    """When a person was last told, or the broker last asked, on the way to flat or to a halt."""

    flat_asked_ns: int = NEVER_NS
    stuck_told_ns: int = NEVER_NS
    halting_ns: int | None = None
    """Since when orders have been cancelled for a halt."""


class Known:
    """What the engine of one account knows.

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
    orders_today, traded_today : int, float
        Orders placed and USD executed in the session before a restart.
    worst_drawdown : Decimal
        Deepest confirmed drawdown since the last re-arm; the exposure stays cut by it over a restart.
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
        traded_today: float = 0.0,
        worst_drawdown: Decimal = ZERO,
    ) -> None:
        self.book = book
        self.mode = mode
        self.killed, self.flatten, self.tightened_ns = False, False, 0
        self.tripped: dict[str, str] = {}
        """Breakers that have tripped since the last re-arm, with their reasons."""
        self.doubt: Doubt | None = None
        self.worst_drawdown = worst_drawdown
        self.take_limits(limit_version, limits)
        self.sectors = sectors
        self.reprice_ns = reprice_ns
        self.identity = dict(identity)
        self.latest: dict[str, Quote] = {}
        self.quotes: dict[str, Quote] = {}
        """The last usable quote of each name; ``latest`` may be unusable, and then refuses new risk."""
        self.values: dict[bool, Decimal | None] = {}
        """At exit or at the mid → what the positions are worth, until a share or a price of them moves."""
        self.bars: Bars | None = None
        self._columns, self._bar_volume = dict[str, int](), np.zeros(0)
        self.orders: dict[str, WorkingOrder] = {o.client_order_id: o for o in orders}
        self.executions: set[str] = set()
        """Execution ids booked here: one told twice is booked once."""
        self.orders_today = orders_today
        self.names: dict[str, Name] = {}
        self.health = Health()
        self.works: dict[str, Work] = {}
        """Strategy → its last batch."""
        self.batch: Batch | None = None
        self.snapshot: RiskSnapshot | None = None
        self.equity: Decimal | None = None
        self.equity_at_exit: Decimal | None = None
        self.intents: dict[str, Intent] = {}
        """Reserve commands the ledger has not answered yet."""
        self.exit_legs: dict[str, int] = {}
        self.retry_ns: dict[str, int] = {}
        """Symbol → before when nothing new is tried in it."""
        self.said: set[tuple[str, str]] = set()
        self.reduce_to: dict[str, Decimal] = {}
        self.untold: list[Command] = []
        """What the quote path wants said; the next timer says it."""
        self.now_ns = 0
        self.market_time = dt.datetime.min.replace(tzinfo=dt.UTC)
        self.session_close: dt.datetime | None = None
        self.in_session = False
        self.session_since_ns = 0
        """Since when the session has been open, or seen by us."""
        self.quoted_ns = 0
        """When the last quote of any name came in."""
        self.watch = Watch()
        self.exposure, self.pace = (
            Exposure(book, sectors, self.orders.values()),
            Pace(traded_usd=traded_today),
        )
        self._working = {o.client_order_id: o for o in self.orders.values() if o.is_open}

    # ------------------------------------------------------------------ what changes

    def order_opened(self, order: WorkingOrder) -> None:
        """An order has been reserved in the ledger."""
        self.orders[order.client_order_id] = order
        self._working[order.client_order_id] = order
        self.exposure.track(order)

    def order_changed(self, order: WorkingOrder) -> None:
        """An order's state or filled quantity has changed."""
        if not order.is_open:
            self._working.pop(order.client_order_id, None)
        self.exposure.refresh(order.symbol)

    def shares_moved(self, symbol: str) -> None:
        """The position in a symbol has changed."""
        self.values.clear()
        self.exposure.refresh(symbol)

    def price_moved(self, quote: Quote) -> None:
        """A usable quote has come in."""
        self.values.clear()
        self.exposure.quote(quote, usable=True)

    def move(self, order: WorkingOrder, evidence: Evidence) -> bool:
        """Take an order along its table; whether its state changed."""
        before = order.state
        order.state = next_state(before, evidence)
        self.order_changed(order)
        return order.state is not before

    def take_limits(self, version: int, limits: Mapping[str, str]) -> None:
        """Put a limit version in force."""
        self.limit_version = version
        self.limits = decimals(limits)
        self.gate = Gate(self.limits, version)
        jump = float(self.limits["price_jump"])
        self.jump_up, self.jump_down = 1 + jump, 1 - jump

    def take_bars(self, bars: Bars) -> None:
        """Bars in: what is held is marked now, any other name when it is looked at."""
        if self.bars is None or bars.symbols is not self.bars.symbols:
            self._columns = {symbol: i for i, symbol in enumerate(bars.symbols)}
            self._bar_volume = np.zeros(len(bars.symbols))
        self.bars, self.quoted_ns = bars, bars.now_ns
        self._bar_volume += np.nan_to_num(bars.volume)
        held = [column for s in self.book.positions if (column := self._columns.get(s)) is not None]
        made = [quote for quote in quotes_of(bars, held) if quote is not None]
        for quote in made:
            self.latest[quote.symbol] = self.quotes[quote.symbol] = quote
        self.values.clear()
        self.exposure.quotes(made)

    def volume_printed(self, symbol: str) -> int:
        """Shares printed on the tape since we have been watching, by trades and bars."""
        name, column = self.names.get(symbol), self._columns.get(symbol)
        by_bars = 0 if column is None else int(self._bar_volume[column])
        return (0 if name is None else name.volume) + by_bars

    def take_time(self, event: Timer) -> None:
        """Time as the timer tells it."""
        if event.in_session and not self.in_session:
            self.session_since_ns = event.now_ns
        self.now_ns, self.market_time = event.now_ns, event.market_time
        self.in_session, self.session_close = event.in_session, event.session_close

    def name(self, symbol: str) -> Name:
        """What is known of a name; empty the first time."""
        return self.names.setdefault(symbol, Name())

    def give_up(self, batch_id: str | None, symbol: str, reason: str) -> None:
        """Try no more for a name in this batch."""
        for work in self.works.values():
            if work.batch.batch_id == batch_id:
                work.given_up[symbol] = reason

    # ------------------------------------------------------------------ what is asked often

    def open_orders(self) -> tuple[WorkingOrder, ...]:
        """Orders that may still fill, UNKNOWN ones included, oldest first."""
        return tuple([o for o in self._working.values() if o.is_open])

    def held(self, symbol: str) -> Decimal:
        """Signed shares."""
        return self.book.positions.get(symbol, ZERO)

    def reduces(self, symbol: str, side: str) -> bool:
        """Whether an order on that side is against the position held."""
        held = self.book.positions.get(symbol, ZERO)
        return held != 0 and (held > 0) != (side == "buy")

    def busy(self) -> set[str]:
        """Symbols with an order being worked, or one the ledger is being asked for; protection apart."""
        working = {o.symbol for o in self.open_orders() if o.purpose != "protect"}
        return working | {i.symbol for i in self.intents.values()}

    def protection(self, symbol: str) -> list[WorkingOrder]:
        """Open stops and bracket legs of a name."""
        return [o for o in self.open_orders() if o.purpose == "protect" and o.symbol == symbol]

    def volume(self, symbol: str) -> Decimal | None:
        """Average daily volume in shares, or None where the risk snapshot has none."""
        if self.snapshot is None or symbol not in self.snapshot:
            return None
        volume = float(self.snapshot.average_volume[self.snapshot.index(symbol)])
        return Decimal(f"{volume:.2f}") if volume > 0 else None

    @property
    def batch_finished(self) -> bool:
        """Whether nothing is left to do for any batch (or there is none)."""
        return all(work.finished for work in self.works.values())

    def latest_quote(self, symbol: str) -> Quote | None:
        """The newest quote of a name, usable or not; out of the last bars where those are newer."""
        quote, bars = self.latest.get(symbol), self.bars
        if bars is None or (quote is not None and quote.now_ns >= bars.now_ns):
            return quote
        column = self._columns.get(symbol)
        made = None if column is None else quote_of(bars, column)
        if made is None:
            return quote
        self.latest[symbol] = self.quotes[symbol] = made
        self.price_moved(made)
        return made

    def book_equity(self, *, at_exit: bool = False) -> Decimal | None:
        """Cash and positions at the mid, or at the side they would be closed at."""
        if at_exit not in self.values:
            equity = self.book.equity(self.quotes, at_exit=at_exit)
            self.values[at_exit] = None if equity is None else equity - self.book.cash
        value = self.values[at_exit]
        return None if value is None else self.book.cash + value

    @property
    def exposure_scale(self) -> Decimal:
        """Fraction of the approved exposure that the worst drawdown leaves."""
        worst = self.worst_drawdown
        if self.mode is Mode.REDUCING:
            worst = max(worst, self.limits["drawdown"])
        return drawdown.scale(worst, self.limits)

    def new_risk_blocked(self, symbol: str) -> str:
        """Why no new risk may be taken in a name at this moment; it passes with its cause."""
        if self.health.feed_doubt:
            return self.health.feed_doubt
        if self.health.stream_down_ns is not None:
            return "order updates do not come in"
        if self.doubt is not None:
            return f"a second source is asked: {self.doubt.reason}"
        name = self.names.get(symbol)
        return (
            "" if name is None else name.blocked(self.now_ns, int(self.limits["price_jump_rest_s"] * 10**9))
        )

    # ------------------------------------------------------------------ the mode

    def enter(self, mode: Mode) -> None:
        """Be in a mode from now on."""
        if mode is not self.mode:
            self.mode, self.tightened_ns = mode, self.now_ns

    def tighten(self, mode: Mode, reason: str) -> list[Command]:
        """Enter a stricter mode; a looser one, or any while flattening (it is the way out), is ignored."""
        if tighter(mode, self.mode) is self.mode or self.mode is Mode.FLATTENING:
            return []
        self.enter(mode)
        return [
            EnterMode(mode=mode, reason=reason),
            Alert(severity="critical", kind="breach", title=f"Mode {mode}", body=reason),
        ]


def as_order(intent: Intent, created_ns: int = 0, session_close: dt.datetime | None = None) -> WorkingOrder:
    """The order an intent stands for, not sent yet."""
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
        created_ns=created_ns,
        order_type=intent.order_type,
        time_in_force=intent.time_in_force,
        stop_price=intent.stop_price,
        trail=intent.trail,
        order_class=intent.order_class,
        take_profit=intent.take_profit,
        stop_loss=intent.stop_loss,
        extended_hours=intent.extended_hours,
        strategy=intent.strategy,
        parent_client_order_id=intent.parent_client_order_id,
        replaces_client_order_id=intent.replaces_client_order_id,
        worst_price=intent.worst_price,
        expires_at=None if intent.time_in_force == "gtc" else session_close,
    )


def decimals(limits: Mapping[str, str]) -> dict[str, Decimal]:
    """Bounds as the ledger keeps them (text) → Decimal."""
    return {name: Decimal(value) for name, value in limits.items()}
