"""What the engine can be told. Every event carries its two times; the engine has no clock.

``market_time`` is the exchange's time (aware UTC; the replayed one in a replay); ``now_ns`` is a
monotonic count of nanoseconds for ages and intervals, which must not jump with a clock step.

Four groups: the market (quotes, prints, bars, halts), our orders at the broker, the ledger and the
people (batches, limits, modes), and the health of everything the trading stands on.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum

import msgspec

from executor.core.modes import Mode
from executor.core.orders import Evidence
from executor.core.policy import IMMEDIATE, ExecutionPolicy
from models.risk.snapshot import Floats, RiskSnapshot

SPREAD_MAX = Decimal("0.05")
"""A quote wider than this fraction of its mid is a stub, not a market: nothing is valued by it."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base: when it happened."""

    market_time: dt.datetime
    now_ns: int


# ---------------------------------------------------------------------- the market


class Quote(Event, frozen=True, kw_only=True):
    """Best bid and offer. A side without a price is 0. Sizes in shares."""

    symbol: str
    bid: Decimal
    ask: Decimal
    bid_size: int
    ask_size: int
    age_at_receipt_ms: float = 0.0

    @property
    def usable(self) -> bool:
        """Both sides present, not crossed, and no wider than a market is."""
        return 0 < self.bid <= self.ask and self.ask - self.bid <= SPREAD_MAX * self.mid

    @property
    def mid(self) -> Decimal:
        """Midpoint of bid and ask."""
        return (self.bid + self.ask) / 2


class Trade(Event, frozen=True, kw_only=True):
    """A print on the tape: what participation caps count and price bands are checked against."""

    symbol: str
    price: Decimal
    size: int
    trade_id: str = ""


class Bar(Event, frozen=True, kw_only=True):
    """One bar of one name, already over."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


class Bars(Event, frozen=True, kw_only=True):
    """A whole session's (or minute's) bars of many names at once, for back-tests: arrays over ``symbols``.

    A name that did not trade has NaN prices and keeps its last mark. ``spread`` is the quoted spread
    as a fraction of price; the engine quotes each name ``close × (1 ∓ spread / 2)``, rounded to the tick.
    """

    symbols: tuple[str, ...]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    spread: Floats


class TradingStatus(Event, frozen=True, kw_only=True):
    """A status message of the tape, in the tape's own codes (CTA ``2 3 5 ...``, UTP ``H P Q T``)."""

    symbol: str
    code: str
    reason: str = ""
    """Reason code, e.g. ``T1`` news pending, ``LUDP`` volatility pause, ``M`` limit up-limit down."""


class PriceBand(Event, frozen=True, kw_only=True):
    """Limit up-limit down band; no print outside it (LULD plan). ``indicator`` as the tape sends it."""

    symbol: str
    low: Decimal
    high: Decimal
    indicator: str = ""


class ShortRestriction(Event, frozen=True, kw_only=True):
    """Reg SHO 201: after a fall of a tenth a short sale needs a price above the bid."""

    symbol: str
    active: bool


class InstrumentSeen(Event, frozen=True, kw_only=True):
    """What the broker says of a name. None = not said, which refuses what depends on it."""

    symbol: str
    tradable: bool
    shortable: bool | None = None
    borrow: str | None = None
    """``easy`` or ``hard``."""
    fractionable: bool = False
    tick: Decimal | None = None
    """Minimum price variation where it is not Reg NMS 612's; None = the rule's."""
    extended_hours: bool = False
    marginable: bool | None = None


class CorporateAction(Event, frozen=True, kw_only=True):
    """A split, merger, symbol change or large dividend that makes prices, targets and orders void.

    ``shares`` and ``cash`` are what the ledger has just booked for it (0 when it is only announced).
    """

    symbol: str
    kind: str
    shares: Decimal = Decimal(0)
    cash: Decimal = Decimal(0)


class Feed(StrEnum):
    """How a feed does, as a whole or for one name."""

    LIVE = "LIVE"
    STALE = "STALE"
    """Older than the name's usual gap."""
    MUTE = "MUTE"
    """Connected, and nothing comes."""
    CROSSED = "CROSSED"
    DOWN = "DOWN"
    """Not connected."""


class FeedState(Event, frozen=True, kw_only=True):
    """The watcher's judgement of a feed; ``symbol`` None = the whole feed."""

    feed: str
    state: Feed
    symbol: str | None = None
    detail: str = ""


# ---------------------------------------------------------------------- our orders at the broker


class Reserved(Event, frozen=True, kw_only=True):
    """The ledger's answer to a Reserve command."""

    client_order_id: str
    ok: bool
    reason: str


class Withdrawn(Event, frozen=True, kw_only=True):
    """The ledger withdrew an order before it was sent: a kill came first, or a restart."""

    client_order_id: str


class OrderEvidence(Event, frozen=True, kw_only=True):
    """Something the broker showed, or failed to show, about an order."""

    client_order_id: str
    evidence: Evidence
    broker_order_id: str | None = None
    broker_status: str | None = None
    broker_filled: Decimal | None = None
    """Shares the broker shows as filled, where it showed the order."""
    reason: str = ""


class Fill(Event, frozen=True, kw_only=True):
    """An execution that the ledger has booked. Told twice, it is booked once (by ``execution_id``)."""

    execution_id: str
    client_order_id: str
    qty: Decimal
    price: Decimal


class Replaced(Event, frozen=True, kw_only=True):
    """The broker goes on with an order of ours under a new broker id.

    ``client_order_id`` is the replaced order, ``by_client_order_id`` the one that goes on (the id our
    Replace command carried).
    """

    client_order_id: str
    by_client_order_id: str
    broker_order_id: str


class LegShown(Event, frozen=True, kw_only=True):
    """A held or working leg of a bracket, as the broker shows it under its parent.

    The broker names legs itself; the shell passes its client id on. The leg must be in the ledger
    (``journal``) before it is told here, as every order is.
    """

    parent_client_order_id: str
    client_order_id: str
    broker_order_id: str
    symbol: str
    side: str
    qty: Decimal
    status: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    broker_filled: Decimal = Decimal(0)


class BrokerFlat(Event, frozen=True, kw_only=True):
    """The broker's answer to ConfirmFlat: what it still shows."""

    positions: dict[str, Decimal]
    open_orders: tuple[str, ...]
    """Broker order ids."""

    @property
    def flat(self) -> bool:
        """Nothing held and nothing working."""
        return not self.positions and not self.open_orders


# ---------------------------------------------------------------------- the ledger and the people


class Target(msgspec.Struct, frozen=True):
    """One approved target weight (fraction of the strategy's capital), and how to protect it."""

    signal_id: str
    symbol: str
    weight: Decimal
    stop_price: Decimal | None = None
    """Protective stop: sent as a leg of the entry, held by the broker until the entry is filled."""
    take_profit: Decimal | None = None
    """With a stop: a bracket. Alone: a take-profit leg."""


class Batch(Event, frozen=True, kw_only=True):
    """An approved and claimed signal batch with its risk inputs.

    ``legs`` counts the orders already sent for each signal, so that a restart does not repeat an id.
    """

    batch_id: str
    valid_until: dt.datetime
    targets: tuple[Target, ...]
    snapshot: RiskSnapshot
    legs: dict[str, int]
    strategy: str = ""
    """A new batch replaces the same strategy's last one; different strategies are netted per symbol."""
    capital: Decimal = Decimal(1)
    """The strategy's share of equity, of which its weights are fractions."""
    policy: ExecutionPolicy = IMMEDIATE
    settled: bool = False
    """Worked already (told again after a restart): its targets count in the net, none is worked."""


class CashMoved(Event, frozen=True, kw_only=True):
    """A fee, dividend or other cash activity that the ledger has just booked."""

    amount: Decimal


class LimitsChanged(Event, frozen=True, kw_only=True):
    """A new limit version is in force."""

    version: int
    limits: dict[str, str]


class ModeSeen(Event, frozen=True, kw_only=True):
    """The mode and kill latch as the ledger holds them. It only ever tightens the engine's mode."""

    mode: Mode
    killed: bool
    flatten: bool


class Kill(Event, frozen=True, kw_only=True):
    """A person (or the kill file, or the sentinel) stops trading: cancel all, and flatten if asked."""

    who: str
    reason: str
    flatten: bool = False


class Rearm(Event, frozen=True, kw_only=True):
    """A person loosens the mode with a reason; the ledger has checked who may (two for live).

    ``asked_ns``: when the ledger was read. A re-arm read before our last tightening is ignored, because
    it cannot have been meant for it. ``rebase``: the drawdown and the day's loss are measured from the
    present equity on; without it a breaker whose cause still stands trips again.
    """

    mode: Mode
    reason: str
    who: str = ""
    asked_ns: int | None = None
    rebase: bool = False


class Timer(Event, frozen=True, kw_only=True):
    """Time passed; ``session_open`` and ``session_close`` bound the present session.

    ``broker_ready`` says whether order updates and the broker's answers come in: without them no new
    target is worked, because its outcome would not be seen. ``draining`` says that the process is
    about to end: everything open is cancelled and nothing new is sent.
    """

    session_open: dt.datetime
    session_close: dt.datetime
    broker_ready: bool = True
    draining: bool = False

    @property
    def in_session(self) -> bool:
        """Whether the market is open at this moment."""
        return self.session_open <= self.market_time < self.session_close


# ---------------------------------------------------------------------- health


class AccountSeen(Event, frozen=True, kw_only=True):
    """The account as the broker shows it, USD. None = the broker did not say: unknown, not zero."""

    equity: Decimal | None
    cash: Decimal | None
    buying_power: Decimal | None
    initial_margin: Decimal | None = None
    maintenance_margin: Decimal | None = None
    intraday_margin: Decimal | None = None
    """Intraday margin requirement or room, as the broker states it."""
    trading_blocked: bool = False
    account_blocked: bool = False
    shorting_enabled: bool = True


class EquityConfirmed(Event, frozen=True, kw_only=True):
    """The second source's equity in answer to ConfirmEquity; None = it could not say."""

    equity: Decimal | None
    source: str


class PositionsDiffer(Event, frozen=True, kw_only=True):
    """Ledger and broker differ and nothing explains it."""

    reason: str


class OrderStreamState(Event, frozen=True, kw_only=True):
    """Whether order updates come in, and how far a sweep has found them behind, in seconds."""

    up: bool
    behind_s: float = 0.0


class BrokerHealth(Event, frozen=True, kw_only=True):
    """The broker over the last minute: failed or unanswered calls, refused orders, slowest answer."""

    errors: int
    rejects: int
    latency_ms: float


class ClockOffset(Event, frozen=True, kw_only=True):
    """Our clock less the reference's (NTP, or the broker's), milliseconds."""

    offset_ms: float


class HostState(Event, frozen=True, kw_only=True):
    """The machine: fractions in use of the ledger's disk and of memory, and the event loop's lag."""

    disk_used: float
    memory_used: float | None
    """None where the machine does not say."""
    loop_lag_ms: float


class HeartbeatLost(Event, frozen=True, kw_only=True):
    """A heartbeat we depend on (ledger, sentinel) has been silent for so many seconds; 0 = it is back."""

    source: str
    silent_s: float


class ModelState(Event, frozen=True, kw_only=True):
    """What the slow side says of a model whose signals we trade."""

    model_id: str
    expires_at: dt.datetime
    degraded: bool = False
    drifted: bool = False
    strategy: str = ""
