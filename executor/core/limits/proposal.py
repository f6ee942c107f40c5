"""An order that is being judged, with the state it would change."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Protocol

from executor.core.events import AccountSeen
from executor.core.exposure import Exposure
from executor.core.line import valued
from executor.core.name import Name
from executor.core.orders import Leg
from executor.core.pace import Pace
from executor.core.tail_risk import Tail
from models.risk.snapshot import RiskSnapshot

ZERO = Decimal(0)
NOTHING_SEEN = Name()
"""For a name nothing was said of."""
UNKNOWN = math.nan


class Unknown(Exception):
    """An input of a limit is missing or unusable."""


def short_side(low: float) -> float:
    """Value of a short position of which ``low`` is the lowest value; 0 for a long one."""
    return -low if low < 0.0 else 0.0


class OrderTerms(Protocol):
    """What is proposed: the planner's draft, or anything that looks like it."""

    @property
    def symbol(self) -> str: ...
    @property
    def side(self) -> str: ...
    @property
    def qty(self) -> Decimal: ...
    @property
    def limit_price(self) -> Decimal: ...
    @property
    def time_in_force(self) -> str: ...
    @property
    def stop_loss(self) -> Leg | None: ...
    @property
    def extended_hours(self) -> bool: ...
    @property
    def replaces(self) -> str | None: ...


class Proposal:
    """An order beside the worst case of the book it would enter.

    Parameters
    ----------
    terms
        What is to be sent. It is a limit order unless it has an ``order_type`` that says otherwise;
        ``replaces`` is the client id of a working order that is to go on as this one.
    exposure, pace
        The account as it is.
    now_ns, now_s : int, float
        Monotonic time for ages; market time in seconds for rates and windows.
    in_session : bool
        Whether the market is open.
    seen, account
        What was said of the name and of the account; None where nothing was.
    scale : float
        Fraction of the gross limit left by the drawdown, 1 without one.
    orders_today : int
        Orders placed in the session, with those the ledger has not answered yet.

    Attributes
    ----------
    equity : float
        USD at the sides positions would be closed at. NaN while a price is missing or nothing is left: every
        fraction of it is then NaN too, and the gate reads that as unknown.
    high, low, worst, signed, required : float
        The name's values after the order, as in :class:`~executor.core.line.Line`.
    added : float
        What the order adds to every sum of worst values (USD).
    """

    __slots__ = (
        "account",
        "added",
        "direction",
        "equity",
        "exact_qty",
        "exposure",
        "extended_hours",
        "high",
        "in_session",
        "limit_price",
        "line",
        "low",
        "notional",
        "now_ns",
        "now_s",
        "order_type",
        "orders_today",
        "pace",
        "qty",
        "replaces",
        "required",
        "scale",
        "seen",
        "side",
        "signed",
        "stop_price",
        "symbol",
        "tails_known",
        "time_in_force",
        "worst",
    )  # fmt: skip

    def __init__(
        self,
        terms: OrderTerms,
        exposure: Exposure,
        pace: Pace,
        *,
        now_ns: int,
        now_s: float,
        in_session: bool,
        seen: Name | None = None,
        account: AccountSeen | None = None,
        scale: float = 1.0,
        orders_today: int = 0,
    ) -> None:
        self.symbol, self.side, self.exact_qty = terms.symbol, terms.side, terms.qty
        self.replaces = terms.replaces
        self.order_type: str = getattr(terms, "order_type", "limit")
        self.time_in_force, self.extended_hours = terms.time_in_force, terms.extended_hours
        stop = terms.stop_loss
        self.stop_price = None if stop is None or stop.stop_price is None else float(stop.stop_price)
        self.seen, self.account = seen or NOTHING_SEEN, account
        self.exposure, self.pace = exposure, pace
        self.now_ns, self.now_s, self.in_session = now_ns, now_s, in_session
        self.scale, self.orders_today = scale, orders_today
        self.qty = qty = float(terms.qty)
        self.limit_price = price = float(terms.limit_price)
        self.notional = qty * price
        self.line = line = exposure.line(terms.symbol)
        self.tails_known: tuple[Tail, Tail] | None = None
        equity = exposure.equity
        self.equity = UNKNOWN if exposure.unpriced or not equity > 0.0 else equity
        buys, sells = line.buys, line.sells
        # An order that replaces another counts with it once, at the larger of the two.
        replaced = line.orders.get(self.replaces or "")
        more = qty if replaced is None else max(qty - float(replaced.remaining), 0.0)
        if terms.side == "buy":
            self.direction = 1.0
            buys += more
        else:
            self.direction = -1.0
            sells += more
        at = line.mid if line.mid > line.top else line.top
        self.high, self.low, self.worst, self.signed, self.required = valued(
            line.held + buys, line.held - sells, at if at > price else price
        )
        self.added = self.worst - line.worst

    def why_no_equity(self) -> str:
        """Why equity is not known, "" if it is."""
        if not math.isnan(self.equity):
            return ""
        exposure = self.exposure
        if exposure.unpriced:
            return f"no price for {', '.join(sorted(exposure.unpriced))}: equity is unknown"
        return f"equity is {exposure.equity:.2f} USD"

    def modelled(self) -> RiskSnapshot:
        """The risk snapshot, if it knows the name.

        Raises:
            Unknown: it does not, or there is none.
        """
        snapshot = self.exposure.snapshot
        if snapshot is None:
            raise Unknown("no risk snapshot")
        if self.line.column < 0:
            raise Unknown(f"{self.symbol} is not in the risk snapshot of {snapshot.as_of}")
        return snapshot

    def book_modelled(self) -> RiskSnapshot:
        """The risk snapshot, if it knows the name and everything held or worked.

        Raises:
            Unknown: it does not, or there is none.
        """
        snapshot = self.modelled()
        if self.exposure.unmodelled:
            raise Unknown(f"{', '.join(sorted(self.exposure.unmodelled))}: held but not in the risk snapshot")
        return snapshot

    def tails(self) -> tuple[Tail, Tail]:
        """Value at risk and shortfall of the book before and after the order, USD."""
        if self.tails_known is None:
            self.book_modelled()
            tail_risk = self.exposure.tail_risk
            if tail_risk is None or not tail_risk.usable:
                raise Unknown("the scenarios of the risk snapshot are too few or not all numbers")
            # First the present ones: they may be what was foreseen for the order before this one.
            before = self.exposure.tail()
            self.tails_known = before, self.exposure.tail_after(self.line, self.signed)
        return self.tails_known

    def sells_short(self) -> bool:
        """Whether the order, with every open sell filled before it, leaves less than nothing."""
        return self.direction < 0.0 and self.low < 0.0

    def reduces(self) -> bool:
        """Proof that the order can only bring the position nearer to zero, never through it.

        In exact shares: the order and all open ones of its side together take no more than is held. The legs
        of one entry count once: the broker fills one or the other.
        """
        held = self.exposure.book.positions.get(self.symbol, ZERO)
        if held == 0 or (held > 0) == (self.side == "buy"):
            return False
        same = self.exact_qty
        legs: dict[str, Decimal] = {}
        for order in self.line.orders.values():
            if order.side == self.side and order.is_open and order.client_order_id != self.replaces:
                entry = order.parent_client_order_id
                counted = legs.get(entry, ZERO) if entry is not None else ZERO
                same += max(order.remaining - counted, ZERO)
                if entry is not None:
                    legs[entry] = max(order.remaining, counted)
        return self.exact_qty > 0 and same <= abs(held)
