"""A broker in memory: orders, a matching rule, positions and cash, and the answers it gives or fails to give.

It is small and plain on purpose: what happens to an order here is the truth that the engine's belief
is compared with. It fills a limit order whenever the quote meets it, in parts where little is on offer,
never while a name is halted; it refuses what the real one refuses (an id used twice, more than is held,
a second order on the other side). Whatever is told of it goes through the shell, which may lose it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from executor.core.commands import Replace, Submit

ZERO = Decimal(0)
FOREIGN = "stranger"
"""How the ids of orders begin that are not ours: no book of ours answers for them."""
OPEN = frozenset({"new", "partially_filled", "held"})


@dataclass
class Execution:
    """One fill as the venue recorded it."""

    key: str
    """Broker order id and the order's cumulative quantity after it: equal on every channel."""
    client_order_id: str
    qty: Decimal
    price: Decimal


@dataclass
class VenueOrder:
    """An order as the venue has it."""

    id: str
    client_order_id: str
    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal | None
    time_in_force: str = "day"
    stop_price: Decimal | None = None
    status: str = "new"
    filled: Decimal = ZERO
    parent: str = ""
    """Client id of the entry whose leg this is."""
    replaces: str = ""

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def remaining(self) -> Decimal:
        return self.qty - self.filled


@dataclass(frozen=True)
class Update:
    """What the venue says of an order at one moment; a copy, because the order goes on."""

    due_ns: int
    client_order_id: str
    order_id: str
    status: str
    filled: Decimal
    execution: Execution | None = None
    replaced_by: str = ""


@dataclass
class Market:
    """What a name trades at, by the venue's own truth."""

    bid: Decimal
    ask: Decimal
    liquidity: Decimal = Decimal(10_000)
    """Shares on offer at each look."""
    halted: bool = False


@dataclass
class Venue:
    """The account and its orders at the broker."""

    cash: Decimal
    positions: dict[str, Decimal]
    markets: dict[str, Market]
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    """By client order id: the venue knows one order of an id, ever."""
    executions: list[Execution] = field(default_factory=list)
    cash_activities: list[tuple[str, Decimal]] = field(default_factory=list)
    updates: deque[Update] = field(default_factory=deque)
    """Said, and not yet with the shell."""
    accepted: list[str] = field(default_factory=list)
    ids: int = 0

    # ------------------------------------------------------------------ requests

    def submit(self, command: Submit, now_ns: int) -> tuple[str, VenueOrder | None]:
        """Take an order: ``("", order)``, or a definite refusal, or ``("duplicate", the first one)``."""
        known = self.orders.get(command.client_order_id)
        if known is not None:
            return "duplicate", known
        if refusal := self._refusal(command):
            return refusal, None
        order = self._new(
            VenueOrder(
                "", command.client_order_id, command.symbol, command.side, command.qty, command.limit_price,
                command.time_in_force, command.stop_price,
            )
        )  # fmt: skip
        self.accepted.append(order.client_order_id)
        for suffix, leg in (("tp", command.take_profit), ("sl", command.stop_loss)):
            if leg is not None:
                self._new(
                    VenueOrder(
                        "", f"{command.client_order_id}-{suffix}", command.symbol,
                        "sell" if command.side == "buy" else "buy", command.qty, leg.limit_price,
                        command.time_in_force, leg.stop_price, status="held", parent=command.client_order_id,
                    )
                )  # fmt: skip
        self._say(order, now_ns)
        self._match(order, now_ns)
        return "", order

    def _refusal(self, command: Submit) -> str:
        if command.qty <= 0 or command.limit_price <= 0:
            return "422 order terms"
        held = self.positions.get(command.symbol, ZERO)
        siblings = [o for o in self.orders.values() if o.open and o.symbol == command.symbol and not o.parent]
        against = held if command.side == "sell" else -held
        same = sum((o.remaining for o in siblings if o.side == command.side), ZERO)
        if against > 0 and command.qty + same > against:
            return "403 insufficient qty available"
        if any(o.side != command.side for o in siblings):
            return "403 opposite side order exists"
        return ""

    def replace(self, command: Replace, now_ns: int) -> tuple[str, VenueOrder | None]:
        """PATCH: the new order takes the old one's place, or nothing changes."""
        known = self.orders.get(command.client_order_id)
        if known is not None:
            return "duplicate", known
        old = self.orders.get(command.replaces_client_order_id)
        if old is None or not old.open or old.filled:
            return "422 cannot replace", None
        old.status = "replaced"
        order = self._new(
            VenueOrder(
                "", command.client_order_id, old.symbol, old.side, command.qty, command.limit_price,
                old.time_in_force, replaces=old.client_order_id,
            )
        )  # fmt: skip
        self.accepted.append(order.client_order_id)
        self._say(old, now_ns, replaced_by=order.client_order_id)
        self._say(order, now_ns)
        self._match(order, now_ns)
        return "", order

    def cancel(self, broker_order_id: str, now_ns: int) -> bool:
        """Cancel; False if there is nothing left to cancel."""
        order = next((o for o in self.orders.values() if o.id == broker_order_id), None)
        if order is None or not order.open:
            return False
        self._end(order, "canceled", now_ns)
        return True

    def fill_after_end(self, client_order_id: str, now_ns: int) -> Execution | None:
        """A trade reported after the order was shown ended: it happens, and must be booked."""
        order = self.orders[client_order_id]
        market = self.markets[order.symbol]
        price = market.ask if order.side == "buy" else market.bid
        if order.open or order.remaining <= 0 or price <= 0:
            return None
        status = order.status
        self._fill(order, max(Decimal(1), order.remaining // 2), price, now_ns)
        order.status = status
        return self.executions[-1]

    # ------------------------------------------------------------------ time and prices

    def trade(self, now_ns: int) -> None:
        """Match everything that works against the present market."""
        for order in list(self.orders.values()):
            if order.open:
                self._match(order, now_ns)

    def expire(self, now_ns: int) -> None:
        """The session closes: day orders end."""
        for order in list(self.orders.values()):
            if order.open and order.time_in_force != "gtc":
                self._end(order, "expired", now_ns)

    def split(self, symbol: str, factor: int) -> Decimal:
        """Multiply the shares of a name; its orders are cancelled by the venue. Shares added."""
        held = self.positions.get(symbol, ZERO)
        added = held * (factor - 1)
        if added:
            self.positions[symbol] = held + added
        market = self.markets[symbol]
        market.bid, market.ask = (
            max(Decimal("0.01"), (p / factor).quantize(Decimal("0.01"))) for p in (market.bid, market.ask)
        )
        return added

    def charge(self, amount: Decimal) -> None:
        """A fee or dividend."""
        self.cash += amount
        self.cash_activities.append((f"activity-{len(self.cash_activities)}", amount))

    def may_fill(self) -> list[tuple[str, str, Decimal]]:
        """``(side, symbol, shares)`` of our orders that may still fill, by what the venue has."""
        return [
            (o.side, o.symbol, o.qty - o.filled)
            for o in self.orders.values()
            if o.status in ("new", "partially_filled") and not o.client_order_id.startswith(FOREIGN)
        ]

    # ------------------------------------------------------------------ inside

    def _new(self, order: VenueOrder) -> VenueOrder:
        self.ids += 1
        order.id = f"v{self.ids}"
        self.orders[order.client_order_id] = order
        return order

    def _match(self, order: VenueOrder, now_ns: int) -> None:
        market = self.markets[order.symbol]
        if order.status == "held" or market.halted or market.liquidity <= 0 or market.bid > market.ask:
            return
        price = market.ask if order.side == "buy" else market.bid
        if price <= 0:
            return
        if order.stop_price is not None:
            reached = price >= order.stop_price if order.side == "buy" else price <= order.stop_price
            if not reached:
                return
        elif order.limit_price is not None:
            beyond = price > order.limit_price if order.side == "buy" else price < order.limit_price
            if beyond:
                return
        self._fill(order, min(order.remaining, market.liquidity), price, now_ns)

    def _fill(self, order: VenueOrder, qty: Decimal, price: Decimal, now_ns: int) -> None:
        order.filled += qty
        signed = qty if order.side == "buy" else -qty
        after = self.positions.get(order.symbol, ZERO) + signed
        if after:
            self.positions[order.symbol] = after
        else:
            self.positions.pop(order.symbol, None)
        self.cash -= signed * price
        order.status = "filled" if order.remaining == 0 else "partially_filled"
        execution = Execution(f"{order.id}:{order.filled.normalize():f}", order.client_order_id, qty, price)
        self.executions.append(execution)
        self._say(order, now_ns, execution)
        self._family(order, now_ns)

    def _end(self, order: VenueOrder, status: str, now_ns: int) -> None:
        order.status = status
        self._say(order, now_ns)
        self._family(order, now_ns)

    def _family(self, order: VenueOrder, now_ns: int) -> None:
        """Legs wake when their entry is filled, end when it ends unfilled, and cancel one another."""
        legs = [
            o for o in self.orders.values() if o.parent and o.parent in (order.client_order_id, order.parent)
        ]
        for leg in legs:
            if leg is order or not leg.open:
                continue
            if order.parent:
                if not order.open:
                    self._end(leg, "canceled", now_ns)
            elif order.status == "filled":
                leg.status = "new"
                self._say(leg, now_ns)
            elif not order.open:
                leg.status = "canceled"
                self._say(leg, now_ns)

    def _say(
        self, order: VenueOrder, now_ns: int, execution: Execution | None = None, replaced_by: str = ""
    ) -> None:
        self.updates.append(
            Update(
                now_ns, order.client_order_id, order.id, order.status, order.filled, execution, replaced_by
            )
        )
