"""Orders that belong together: bracket, one-cancels-other, one-triggers-other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market.venue.order_entry import OrderSpec
from market.venue.orders import Order

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


class Groups:
    """What one member's change does to the others."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def create(self, order: Order, spec: OrderSpec) -> None:
        """Make the legs of a new bracket, oco or oto order."""

    def after_fill(self, order: Order, t: int) -> None:
        """A member traded."""

    def after_end(self, order: Order, t: int) -> None:
        """A member ended without trading to its end."""

    def after_election(self, order: Order, t: int) -> None:
        """A member's stop was triggered."""

    def cancel_with(self, order: Order, t: int) -> None:
        """A cancel of one member takes effect."""
