"""One account: cash, positions, what open orders hold, and what is left to spend. No order logic, no clock.

Cash and cost are exact Decimals; a balance is rounded only where it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from market.venue.decimals import ZERO
from market.venue.orders import Order

Mark = Callable[[str], Decimal]
"""Symbol to its price now, USD."""


@dataclass(slots=True)
class Position:
    """Shares of one symbol, negative when short. `cost` has the sign of `qty`.

    `basis_today` is the same with shares held overnight valued at the last close: unrealised intraday profit is
    market value less it.
    """

    symbol: str
    qty: Decimal = ZERO
    cost: Decimal = ZERO
    basis_today: Decimal = ZERO

    @property
    def avg_entry_price(self) -> Decimal:
        """Average price of the shares held, USD."""
        return self.cost / self.qty if self.qty else ZERO

    def trade(self, signed_qty: Decimal, price: Decimal) -> None:
        """Add signed shares at a price: extends at cost, reduces in proportion, flips through zero."""
        if not self.qty or (self.qty > 0) == (signed_qty > 0):
            self.qty += signed_qty
            self.cost += signed_qty * price
            self.basis_today += signed_qty * price
            return
        closing = -signed_qty if abs(signed_qty) <= abs(self.qty) else self.qty
        remaining = self.qty - closing
        opening = signed_qty + closing
        if remaining:
            kept = remaining / self.qty
            self.cost *= kept
            self.basis_today *= kept
            self.qty = remaining
        else:
            self.qty = opening
            self.cost = self.basis_today = opening * price


@dataclass(slots=True)
class Watchlist:
    """A named list of symbols; times in venue nanoseconds."""

    id: str
    name: str
    symbols: list[str]
    created_at: int
    updated_at: int


def default_configuration() -> dict[str, Any]:
    """Account configurations as a new paper account has them (the PDT keys were retired in 2026)."""
    return {
        "fractional_trading": True,
        "max_margin_multiplier": "4",
        "max_options_trading_level": None,
        "no_shorting": False,
        "ptp_no_exception_entry": False,
        "suspend_trade": False,
        "trade_confirm_email": "all",
        "disable_overnight_trading": False,
    }


@dataclass(slots=True, eq=False)
class Account:
    """Balances, positions and orders of one account."""

    number: int
    id: str
    account_number: str
    cash: Decimal
    created_at: int
    multiplier: Decimal = Decimal(2)
    shorting_enabled: bool = True
    trading_blocked: bool = False
    account_blocked: bool = False
    configuration: dict[str, Any] = field(default_factory=default_configuration)
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    by_client_id: dict[str, Order] = field(default_factory=dict)
    open_orders: dict[str, dict[str, Order]] = field(default_factory=dict)
    "symbol -> id -> order, open ones only, in order of arrival."
    open_by_side: dict[tuple[str, str], dict[str, Order]] = field(default_factory=dict)
    "(symbol, side) -> id -> order: what the wash-trade check looks through."
    activities: list[dict[str, Any]] = field(default_factory=list)
    watchlists: dict[str, Watchlist] = field(default_factory=dict)
    reserved: Decimal = ZERO
    "USD held by open orders, the sum of `Order.reserved`."
    last_equity: Decimal = ZERO
    fills_today: list[tuple[str, Decimal, Decimal]] = field(default_factory=list)
    equity_history: list[tuple[int, Decimal]] = field(default_factory=list)
    balance_asof: date | None = None
    cash_moves: Decimal = ZERO
    "Net of everything booked other than trades: fees, dividends, journal entries."
    _marked: tuple[int, Decimal, Decimal] | None = None

    def __post_init__(self) -> None:
        self.last_equity = self.cash
        self.equity_history.append((self.created_at, self.cash))

    def remember(self, order: Order) -> None:
        """Take in a new order."""
        self.orders[order.id] = order
        self.by_client_id[order.client_order_id] = order
        self.open_orders.setdefault(order.symbol, {})[order.id] = order
        self.open_by_side.setdefault((order.symbol, order.side), {})[order.id] = order

    def forget_open(self, order: Order) -> None:
        """An order became terminal: nothing of it is held any more."""
        self.hold(order, ZERO)
        order.holds = ZERO
        of_symbol = self.open_orders.get(order.symbol)
        if of_symbol is not None:
            of_symbol.pop(order.id, None)
            self.open_by_side[order.symbol, order.side].pop(order.id, None)
            if not of_symbol:
                del self.open_orders[order.symbol]

    def hold(self, order: Order, amount: Decimal) -> None:
        """Set the buying power `order` holds."""
        self.reserved += amount - order.reserved
        order.reserved = amount

    def held_shares(self, symbol: str) -> tuple[Decimal, list[str]]:
        """Shares of the position that open exits hold, and their order ids. An OCO group holds once."""
        held, related = ZERO, []
        for order in self.open_orders.get(symbol, {}).values():
            if order.holds:
                held += order.holds
                related.append(order.id)
        return held, related

    def open_list(self) -> list[Order]:
        """Every open order, oldest first."""
        found = [order for of_symbol in self.open_orders.values() for order in of_symbol.values()]
        return sorted(found, key=lambda order: order.sequence)

    def trade(self, symbol: str, side: str, qty: Decimal, price: Decimal) -> Decimal:
        """Book an execution; returns the signed position after it."""
        signed = qty if side == "buy" else -qty
        position = self.positions.get(symbol)
        if position is None:
            position = self.positions[symbol] = Position(symbol)
        position.trade(signed, price)
        self.cash -= signed * price
        self.fills_today.append((side, qty, price))
        self._marked = None
        if not position.qty:
            del self.positions[symbol]
        return position.qty

    def post_cash(self, amount: Decimal) -> None:
        """A booking that is not a trade (fee, dividend)."""
        self.cash += amount
        self.cash_moves += amount
        self._marked = None

    def market_values(self, mark: Mark) -> tuple[Decimal, Decimal]:
        """(long market value >= 0, short market value <= 0) in USD."""
        long_value = short_value = ZERO
        for position in self.positions.values():
            value = position.qty * mark(position.symbol)
            if value >= 0:
                long_value += value
            else:
                short_value += value
        return long_value, short_value

    def equity(self, mark: Mark) -> Decimal:
        """cash + long value + short value."""
        long_value, short_value = self.market_values(mark)
        return self.cash + long_value + short_value

    def effective_multiplier(self) -> Decimal:
        """The smaller of the account's and the configured multiplier."""
        return min(self.multiplier, Decimal(str(self.configuration["max_margin_multiplier"])))

    def free_buying_power(self, mark: Mark) -> Decimal:
        """multiplier x equity - gross position value - what open orders hold; negative after losses."""
        long_value, short_value = self.market_values(mark)
        equity = self.cash + long_value + short_value
        return self.effective_multiplier() * equity - long_value + short_value - self.reserved

    def buying_power_for_entry(self, mark: Mark, marked_at: int) -> Decimal:
        """`free_buying_power` with positions valued once per `marked_at` (a venue second): entry stays fast.

        A function of venue time and events only, so it does not depend on how often anybody asks.
        """
        if self._marked is None or self._marked[0] != marked_at:
            long_value, short_value = self.market_values(mark)
            self._marked = (marked_at, long_value, short_value)
        _, long_value, short_value = self._marked
        equity = self.cash + long_value + short_value
        return self.effective_multiplier() * equity - long_value + short_value - self.reserved
