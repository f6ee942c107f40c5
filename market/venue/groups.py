"""Orders that belong together: bracket, one-cancels-other (oco), one-triggers-other (oto).

bracket   entry with a take-profit and a stop-loss. Both legs are `held` until the entry is filled whole; then the
          take-profit is worked (`new`) and the stop-loss watches the price while still `held`.
oco       two exits of a position. The parent is the take-profit, its one leg is the stop-loss.
oto       an entry with one leg, which is worked when the entry is filled whole.

One exit trading takes the other along: a part of the take-profit shrinks the stop-loss, its whole cancels it, an
elected stop-loss cancels the take-profit. Cancelling a member cancels the group. The shares are held once, by
whichever exit is live. Sections 2.4 and 2.6 of the specification.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from market.venue.decimals import ZERO
from market.venue.order_entry import OrderSpec
from market.venue.orders import TERMINAL, Order

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


class Groups:
    """What one member's change does to the others."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def create(self, order: Order, spec: OrderSpec) -> None:
        """Make the legs of a new bracket, oco or oto order, held."""
        exits = order.side if order.order_class == "oco" else ("sell" if order.is_buy else "buy")
        if order.order_class != "oco" and spec.take_profit_limit is not None:
            self._leg(order, exits, "limit", limit=spec.take_profit_limit)
        if spec.stop_loss_stop is not None:
            kind = "stop_limit" if spec.stop_loss_limit is not None else "stop"
            self._leg(order, exits, kind, limit=spec.stop_loss_limit, stop=spec.stop_loss_stop)

    def _leg(
        self, parent: Order, side: str, kind: str, *, limit: Decimal | None, stop: Decimal | None = None
    ) -> None:
        exchange = self._exchange
        account = exchange.accounts[parent.account]
        spec = OrderSpec(
            symbol=parent.symbol,
            side=side,
            type=kind,
            time_in_force=parent.time_in_force,
            qty=parent.qty,
            limit_price=limit,
            stop_price=stop,
            order_class=parent.order_class,
        )
        leg = exchange.intake.new_order(
            account, spec, exchange.assets[parent.symbol], parent.created_at, parent=parent
        )
        leg.status = "held"
        leg.expires_at = parent.expires_at
        parent.legs.append(leg)
        account.remember(leg)

    # --- what happens to a member ------------------------------------------------------------------------

    def after_activation(self, order: Order, t: int) -> None:
        """The order reached the exchange: an oco's stop-loss begins to watch."""
        if order.order_class == "oco" and order.parent is None:
            for leg in order.legs:
                self._watch(leg, t)

    def after_fill(self, order: Order, t: int) -> None:
        """A member traded."""
        if not order.order_class:
            return
        if self._is_exit(order):
            self._after_exit_fill(order, t)
        elif order.status == "filled":
            self._release(order, t)

    @staticmethod
    def _is_exit(order: Order) -> bool:
        return order.parent is not None or order.order_class == "oco"

    def _release(self, entry: Order, t: int) -> None:
        """The entry is whole: its legs come alive. The shares are held by the first leg."""
        exchange = self._exchange
        account = exchange.accounts[entry.account]
        position = account.positions.get(entry.symbol)
        owned = position.qty if position is not None else ZERO
        free = (owned if entry.is_buy else -owned) - account.held_shares(entry.symbol)[0]
        if free < entry.filled_qty:
            # Another order has meanwhile turned the position: there is nothing left for the exits to close.
            for leg in list(entry.legs):
                exchange.terminate(leg, "rejected", t)
            return
        for number, leg in enumerate(entry.legs):
            leg.qty = entry.filled_qty
            leg.holds = entry.filled_qty if number == 0 else ZERO
        for leg in list(entry.legs):
            if leg.type in ("stop", "stop_limit") and entry.order_class == "bracket":
                self._watch(leg, t)
                exchange.emit(leg, "held", t)
            elif leg.is_open:
                exchange.intake.work_leg(leg, t)

    def _watch(self, leg: Order, t: int) -> None:
        """Put a held stop-loss into the book: it is elected like any stop, and only then becomes `new`."""
        exchange = self._exchange
        if leg.is_open and not leg.in_book and exchange.session.is_regular(t):
            book = exchange.book(leg.symbol)
            book.add(leg, t)
            exchange.watch(book)

    def rearm(self, order: Order, t: int) -> None:
        """A new session: stop-losses of live groups watch again."""
        if order.status == "held" and order.parent is not None and order.type in ("stop", "stop_limit"):
            live = {"bracket": order.parent.status == "filled", "oco": order.parent.is_open}
            if live.get(order.order_class):  # an oto's leg is no longer held once its entry is whole
                self._watch(order, t)

    def watch_again(self, leg: Order, t: int) -> None:
        """A replaced stop-loss takes its predecessor's place."""
        self._watch(leg, t)

    def _after_exit_fill(self, order: Order, t: int) -> None:
        for other in self._other_exits(order):
            if order.status == "filled":
                self._exchange.terminate(other, "canceled", t)
            elif other.is_open:
                other.qty = other.filled_qty + order.left
                other.updated_at = max(other.updated_at, t)

    def after_election(self, order: Order, t: int) -> None:
        """A stop-loss was triggered: it holds the shares now, its sibling goes."""
        if not order.order_class or not self._is_exit(order):
            return
        for other in self._other_exits(order):
            order.holds = max(order.holds, other.holds)
            self._exchange.terminate(other, "canceled", t)
        if order.status == "held":
            order.move("new", t)
            self._exchange.emit(order, "new", t)

    def after_end(self, order: Order, t: int) -> None:
        """A member ended without trading to its end: canceled, expired, rejected."""
        if not order.order_class or order.status == "replaced":
            return
        if order.order_class == "oco" and order.status == "canceled":
            return  # an elected stop-loss has just cancelled it; a client's cancel went through cancel_with
        for leg in order.legs:
            if leg.is_open:
                self._exchange.terminate(leg, order.status if order.status in TERMINAL else "canceled", t)

    def cancel_with(self, order: Order, t: int) -> None:
        """A cancel of one member takes effect on the others."""
        if not order.order_class:
            return
        for other in [*self._other_exits(order), *([order.parent] if order.parent else [])]:
            if other.is_open:
                self._exchange.terminate(other, "canceled", t)

    def _other_exits(self, order: Order) -> list[Order]:
        """The open exits of the same group."""
        if order.parent is None:
            members = order.legs if order.order_class == "oco" else []
        else:
            members = [*order.parent.legs]
            if order.parent.order_class == "oco":
                members.append(order.parent)
        return [member for member in members if member is not order and member.is_open]
