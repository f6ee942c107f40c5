"""From a request to a working order: checks, first statuses, acknowledgement, the way into the book."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from market.venue import entry_checks
from market.venue.account import Account
from market.venue.assets import Asset
from market.venue.decimals import ZERO, to_ticks
from market.venue.entry_checks import collar
from market.venue.faults import ORDER
from market.venue.matching import Book
from market.venue.order_entry import OrderSpec
from market.venue.orders import Order
from market.venue.refusals import unprocessable
from market.venue.timestamps import MILLISECOND, SECOND
from market.venue.trailing import trail_stop

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


class Intake:
    """Takes orders in for the exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._sequence = 0

    def submit(self, account: Account, spec: OrderSpec) -> Order:
        """Accept an order or raise a Refusal. The answer shows it before anything else happens to it."""
        t = self._exchange.now
        asset = self._exchange.asset(spec.symbol)
        if asset is None:
            raise unprocessable(f'asset "{spec.symbol}" not found')
        if spec.symbol != asset.symbol:
            spec = replace(spec, symbol=asset.symbol)
        entry_checks.check_account(account, spec)
        entry_checks.check_client_id(account, spec.client_order_id)
        entry_checks.check_asset(asset, spec)
        entry_checks.check_auction_window(self._exchange, spec.time_in_force, t)
        holds = entry_checks.check_position(self._exchange, account, asset, spec)
        entry_checks.check_prices(self._exchange, spec, t)
        entry_checks.check_wash_trade(account, spec, self._exchange.rules.wash_trade_status)
        reserves = ZERO
        if not holds:
            reserves = entry_checks.check_buying_power(self._exchange, account, spec, spec.qty or ZERO)
        order = self.new_order(account, spec, asset, t)
        order.holds = holds
        account.remember(order)
        account.hold(order, reserves)
        if spec.order_class:
            self._exchange.groups.create(order, spec)
        for fault in self._exchange.faults.at_point(ORDER, **order.who()):
            order.doomed = True
            self._exchange.at(
                t + int(fault.parameters["seconds"] * SECOND), lambda when: self._reject_late(order, when)
            )
        self._begin(order, t)
        return order

    def _reject_late(self, order: Order, t: int) -> None:
        if order.is_open:
            self._exchange.terminate(order, "rejected", t)

    def new_order(self, account: Account, spec: OrderSpec, asset: Asset, t: int, **more: Any) -> Order:
        """An Order object of `spec`, not yet known to anybody."""
        self._sequence += 1
        order = Order(
            id=self._exchange.identities.next("order"),
            client_order_id=spec.client_order_id or self._exchange.identities.next("client"),
            account=account.number,
            sequence=self._sequence,
            asset_id=asset.id,
            symbol=asset.symbol,
            side=spec.side,
            type=spec.type,
            time_in_force=spec.time_in_force,
            created_at=t,
            qty=spec.qty,
            notional=spec.notional,
            limit_price=spec.limit_price,
            stop_price=spec.stop_price,
            trail_price=spec.trail_price,
            trail_percent=spec.trail_percent,
            extended_hours=spec.extended_hours,
            order_class=spec.order_class,
            position_intent=spec.position_intent,
            **more,
        )
        if spec.time_in_force == "gtc":
            # Aged orders are cancelled after ninety days; the figure is from memory of the broker's notes.
            order.expires_at = self._exchange.session.close + 90 * 86_400 * SECOND
        if spec.type == "trailing_stop":
            order.hwm = self._exchange.mark(asset.symbol)
            order.stop_price = trail_stop(order)
        return order

    def _begin(self, order: Order, t: int) -> None:
        """First status of a new order and what happens to it next."""
        if self._exchange.tradable_now(order, t):
            self._exchange.emit(order, "pending_new", t)
            self._exchange.at(
                t + int(self._exchange.rules.latency_ms * MILLISECOND),
                lambda when: self.acknowledge(order, when),
            )
        else:
            order.status = "accepted"
            self._exchange.emit(order, "accepted", t)

    def acknowledge(self, order: Order, t: int) -> None:
        """The exchange has taken the order in."""
        if order.status != "pending_new":
            return
        if self._exchange.tradable_now(order, t):
            self.activate(order, t)
        else:
            order.move("accepted", t)
            self._exchange.emit(order, "accepted", t)

    def activate(self, order: Order, t: int) -> None:
        """The order reaches the exchange."""
        if not order.is_open or order.in_book:
            return
        if order.status in ("held", "suspended"):
            return
        if not self._exchange.tradable_now(order, t):
            return  # outside its hours, or the opening cross comes for it
        if order.status in ("accepted", "pending_new"):
            order.move("new", t)
            self._exchange.emit(order, "new", t)
        elif order.status in ("done_for_day", "calculated"):
            self.restate(order, t)
        if order.doomed or order.time_in_force == "cls":
            return
        if order.is_buy and order.type == "market":
            order.collar_ticks = to_ticks(collar(self._exchange.ask(order.symbol)))
        book = self._exchange.book(order.symbol)
        if order.time_in_force == "fok" and not self._can_fill_now(book, order, t):
            self._exchange.terminate(order, "canceled", t)
            return
        book.add(order, t)
        if order.time_in_force in ("ioc", "fok") and order.is_open:
            self._exchange.terminate(order, "canceled", t)
        self._exchange.watch(book)
        if order.order_class and order.is_open:
            self._exchange.groups.after_activation(order, t)

    def restate(self, order: Order, t: int) -> None:
        """An order that was set aside works again: `new`, or `partially_filled` when some of it has traded."""
        order.move("partially_filled" if order.filled_qty else "new", t)
        self._exchange.emit(order, "restated" if order.filled_qty else "new", t)

    def work_leg(self, leg: Order, t: int) -> None:
        """A held leg becomes a working order."""
        if self._exchange.tradable_now(leg, t):
            self._activate_held(leg, t)
        else:
            leg.move("accepted", t)
            self._exchange.emit(leg, "accepted", t)

    def _activate_held(self, leg: Order, t: int) -> None:
        leg.move("accepted", t)
        self.activate(leg, t)

    def _can_fill_now(self, book: Book, order: Order, t: int) -> bool:
        return book.available_to(order, t) >= (order.left if order.qty is not None else ZERO)
