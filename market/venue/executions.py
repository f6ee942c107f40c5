"""An execution is booked: order, position, cash, activity row, trade update, and what the order still holds."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from market.venue.account import Account
from market.venue.activities import fill_activity
from market.venue.cancelling import cancel_with_group
from market.venue.decimals import ZERO, decimal_text, to_price
from market.venue.faults import EXECUTION
from market.venue.orders import Order
from market.venue.path import seed_of
from market.venue.timestamps import SECOND

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


class Executions:
    """Books what the books, the auctions and the faults trade."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def book(self, order: Order, qty: Decimal, ticks: int, t: int) -> None:
        """A book, an auction or a fault trades `qty` of the order."""
        faults = (
            self._exchange.faults.at_point(EXECUTION, **order.who())
            if self._exchange.faults.has(EXECUTION)
            else []
        )
        late = next((f.parameters["seconds"] for f in faults if f.kind == "late_activity"), 0.0)
        parts = next((f.parameters["parts"] for f in faults if f.kind == "split_fill"), 1)
        step = (qty / parts).to_integral_value(ROUND_DOWN)
        for number in range(parts):
            part = qty - step * number if number == parts - 1 else step
            if part > 0:
                self._execute(order, part, ticks, t, late)

    def _execute(self, order: Order, qty: Decimal, ticks: int, t: int, late_s: float) -> None:
        """Book one execution: order, position, cash, activity, update."""
        account = self._exchange.accounts[order.account]
        price = to_price(ticks)
        owned = account.positions.get(order.symbol)
        short = not order.is_buy and (owned is None or owned.qty <= 0)
        order.filled_qty += qty
        order.filled_value += qty * price
        done = self._is_done(order, price)
        if done:
            if order.qty is None:
                order.qty = order.filled_qty
            order.move("filled", t)
        elif order.status in ("pending_cancel", "pending_replace"):
            order.before_pending = "partially_filled"
            order.updated_at = max(order.updated_at, t)
        else:
            order.move("partially_filled", t)
        position_qty = account.trade(order.symbol, order.side, qty, price)
        execution = self._exchange.identities.next("execution")
        if order.holds:
            order.holds = max(order.holds - qty, ZERO)
        self._rehold(account, order, qty)
        row = fill_activity(execution, order, qty, price, t, short)
        if late_s:
            self._exchange.at(t + int(late_s * SECOND), lambda when: account.activities.append(row))
        else:
            account.activities.append(row)
        self._exchange.note(
            "match",
            t,
            {
                "account": order.account,
                "order": order.id,
                "symbol": order.symbol,
                "side": order.side,
                "qty": decimal_text(qty),
                "price": decimal_text(price),
                "execution": execution,
                "position": decimal_text(position_qty),
                "cash": decimal_text(account.cash),
            },
        )
        self._exchange.emit(
            order,
            "fill" if done else "partial_fill",
            t,
            execution=execution,
            price=decimal_text(price),
            qty=decimal_text(qty),
            position_qty=decimal_text(position_qty),
        )
        if done:
            self._exchange.leave(order, account)
        self._exchange.groups.after_fill(order, t)
        self._free_what_is_gone(account, order.symbol, t)

    def _free_what_is_gone(self, account: Account, symbol: str, t: int) -> None:
        """Another order sold what exits were holding (it opened when it was entered): the newest exits go."""
        held, related = account.held_shares(symbol)
        if not held:
            return
        position = account.positions.get(symbol)
        owned = position.qty if position is not None else ZERO
        for name in reversed(related):
            order = account.orders[name]
            if order.is_open and order.holds and (held > abs(owned) or order.is_buy == (owned > 0)):
                held -= order.holds
                cancel_with_group(self._exchange, order, t)

    def _is_done(self, order: Order, price: Decimal) -> bool:
        if order.qty is not None:
            return order.left <= 0
        assert order.notional is not None
        return (order.notional - order.filled_value) / price < Decimal("1e-9")

    def _rehold(self, account: Account, order: Order, qty: Decimal) -> None:
        """A part of the order traded: what it holds shrinks in proportion."""
        if not order.reserved:
            return
        if order.qty is not None and order.is_open:
            before = order.left + qty
            account.hold(order, order.reserved * order.left / before if before else ZERO)
        elif order.notional is not None:
            account.hold(order, max(order.notional - order.filled_value, ZERO))

    def wanted(self, order: Order, ticks: int, available: Decimal) -> Decimal:
        """The paper fill model takes a random part one time in ten; the strict one takes what is offered."""
        if self._exchange.rules.fills != "paper":
            return available
        draw = seed_of(self._exchange.seed, "paper", order.sequence, decimal_text(order.filled_qty))
        if draw % 10 or order.qty is None:
            return available
        part = (order.left * (1 + draw // 10 % 9) / 10).quantize(Decimal(1), ROUND_DOWN)
        return max(part, Decimal(1))
