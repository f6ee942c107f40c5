"""PATCH: an order is replaced by a new one with another id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market.venue.account import Account
from market.venue.order_entry import ReplaceSpec
from market.venue.orders import Order
from market.venue.refusals import unprocessable

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


def replace_order(exchange: Exchange, account: Account, order: Order, spec: ReplaceSpec) -> Order:
    """To come."""
    raise unprocessable("order is not open")
