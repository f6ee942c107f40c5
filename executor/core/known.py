"""Everything the engine knows: the book, the orders, the prices, the batches, the mode.

The rooms of the engine (``order_life``, ``targets``, ``exits``, ...) are functions over it. State
changes that others keep running totals of pass through three methods here and no other place:
:meth:`Known.order_opened`, :meth:`Known.order_changed` and :meth:`Known.shares_moved`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from executor.core.book import ZERO, Book
from executor.core.commands import Alert, Command, EnterMode, Intent
from executor.core.events import Batch, Quote
from executor.core.modes import Mode, tighter
from executor.core.orders import State, WorkingOrder
from models.risk.snapshot import RiskSnapshot


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
        self.limits = decimals(limits)
        self.sectors = sectors
        self.reprice_ns = reprice_ns
        self.identity = dict(identity)
        self.latest: dict[str, Quote] = {}
        self.quotes: dict[str, Quote] = {}
        """The last usable quote of each name; ``latest`` may be unusable, and then refuses new risk."""
        self.orders: dict[str, WorkingOrder] = {o.client_order_id: o for o in orders}
        self.orders_today = orders_today
        self.works: dict[str, Work] = {}
        """Strategy → its last batch."""
        self.batch: Batch | None = None
        self.snapshot: RiskSnapshot | None = None
        self.equity: Decimal | None = None
        self.intents: dict[str, Intent] = {}
        """Reserve commands the ledger has not answered yet."""
        self.exit_legs: dict[str, int] = {}
        self.retry_ns: dict[str, int] = {}
        """Symbol → before when nothing new is tried in it."""
        self.said: set[tuple[str, str]] = set()
        self.reduce_to: dict[str, Decimal] = {}
        self._working = {o.client_order_id: o for o in self.orders.values() if o.is_open}

    # ------------------------------------------------------------------ what changes

    def order_opened(self, order: WorkingOrder) -> None:
        """An order has been reserved in the ledger."""
        self.orders[order.client_order_id] = order
        self._working[order.client_order_id] = order

    def order_changed(self, order: WorkingOrder) -> None:
        """An order's state or filled quantity has changed."""
        if not order.is_open:
            self._working.pop(order.client_order_id, None)

    def shares_moved(self, symbol: str) -> None:
        """The position in a symbol has changed."""

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
        """Symbols with an order that may still fill, or one the ledger is being asked for."""
        return {o.symbol for o in self.open_orders()} | {i.symbol for i in self.intents.values()}

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

    def tighten(self, mode: Mode, reason: str) -> list[Command]:
        """Enter a stricter mode; a looser one, or any while flattening (it is the way out), is ignored."""
        if tighter(mode, self.mode) is self.mode or self.mode is Mode.FLATTENING:
            return []
        self.mode = mode
        return [
            EnterMode(mode=mode, reason=reason),
            Alert(severity="critical", kind="breach", title=f"Mode {mode}", body=reason),
        ]


def as_order(intent: Intent, created_ns: int = 0) -> WorkingOrder:
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
    )


def decimals(limits: Mapping[str, str]) -> dict[str, Decimal]:
    """Bounds as the ledger keeps them (text) → Decimal."""
    return {name: Decimal(value) for name, value in limits.items()}
