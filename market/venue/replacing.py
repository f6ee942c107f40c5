"""PATCH: an order is replaced by a new one with another id, and the old one may still win the race.

200 means that the replacement was asked for. The old order goes `pending_replace` and then `replaced`; if it is
filled first, the new one is `rejected` and the client is told `order_replace_rejected`. Section 2.6.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING

from market.venue import entry_checks
from market.venue.account import Account
from market.venue.decimals import ZERO
from market.venue.order_entry import OrderSpec, ReplaceSpec
from market.venue.orders import REPLACEABLE, Order
from market.venue.refusals import denied, insufficient_qty, invalid, unprocessable
from market.venue.timestamps import MILLISECOND
from market.venue.trailing import trail_stop

if TYPE_CHECKING:
    from market.venue.exchange import Exchange


def replace_order(exchange: Exchange, account: Account, order: Order, spec: ReplaceSpec) -> Order:
    """The new order, `pending_new`; Refusal when the old one cannot be replaced or nothing would change."""
    t = exchange.now
    _check_state(order)
    _check_fields(order, spec)
    wanted = _wanted(exchange, order, spec)
    entry_checks.check_client_id(account, spec.client_order_id)
    entry_checks.check_account(account, wanted)
    if spec.stop_price is not None:
        entry_checks.check_prices(exchange, dataclasses.replace(wanted, order_class=""), t)
    entry_checks.check_wash_trade(account, wanted, exchange.rules.wash_trade_status, ignore=order)
    carried = ZERO if exchange.rules.replace_qty == "remainder" else order.filled_qty
    assert wanted.qty is not None
    to_trade = wanted.qty - carried
    holds = order.holds
    reserves = ZERO
    if order.holds:
        holds = to_trade
        _check_shares(account, order, to_trade)
    elif order.reserved:
        reserves = entry_checks.check_buying_power(
            exchange, account, wanted, to_trade, already_held=order.reserved
        )
        # While both could trade, the larger of the two is held.
        account.hold(order, max(order.reserved, reserves))

    asset = exchange.assets[order.symbol]
    new = exchange.intake.new_order(account, wanted, asset, t, parent=order.parent, replaces=order.id)
    new.filled_qty, new.filled_value = carried, (order.filled_value if carried else ZERO)
    new.position_intent = order.position_intent
    new.expires_at = order.expires_at
    if order.type == "trailing_stop":
        new.hwm = order.hwm
        if spec.trail is not None:
            if order.trail_price is not None:
                new.trail_price = spec.trail
            else:
                new.trail_percent = spec.trail
        new.stop_price = trail_stop(new)
    account.remember(new)
    was_held = order.status == "held"
    order.before_pending = order.status
    order.pending_replacement = new
    order.move("pending_replace", t)
    exchange.emit(order, "pending_replace", t)
    exchange.at(
        t + int(exchange.rules.latency_ms * MILLISECOND),
        lambda when: _finish(exchange, account, order, new, holds, reserves, was_held, when),
    )
    return new


def _finish(
    exchange: Exchange, account: Account, old: Order, new: Order, holds: Decimal, reserves: Decimal, was_held: bool,
    t: int,
) -> None:  # fmt: skip
    if new.status != "pending_new":
        return
    if old.status != "pending_replace" or exchange.refuse_replacement(old):
        # The fill won the race, or the exchange would not have it.
        if old.is_open:
            old.move(old.before_pending, t)
        old.pending_replacement = None
        exchange.emit(old, "order_replace_rejected", t)
        exchange.terminate(new, "rejected", t)
        return
    if exchange.rules.replace_qty != "remainder" and old.filled_qty != new.filled_qty:
        new.filled_qty, new.filled_value = old.filled_qty, old.filled_value
    old.replaced_by = new.id
    old.pending_replacement = None
    parent, legs = old.parent, old.legs
    if parent is not None:
        parent.legs = [new if leg is old else leg for leg in parent.legs]
    new.legs, old.legs = legs, []
    for leg in legs:
        leg.parent = new
    exchange.terminate(old, "replaced", t)
    new.holds = holds
    account.hold(new, reserves)
    if was_held:
        new.move("held", t)
        if (
            (parent is not None and not parent.is_open)
            or new.parent is None
            or new.parent.order_class == "oco"
        ):
            exchange.groups.watch_again(new, t)
        return
    exchange.intake.acknowledge(new, t)


def _check_state(order: Order) -> None:
    if order.status in REPLACEABLE:
        return
    if order.status in ("accepted", "pending_new"):
        raise unprocessable("unable to replace order, order isn't sent to exchange yet")
    if order.status == "pending_cancel":
        raise unprocessable("order pending cancel")
    if order.status == "filled":
        raise unprocessable('order is already in "filled" state')
    raise unprocessable("order is not open")


def _check_fields(order: Order, spec: ReplaceSpec) -> None:
    if order.notional is not None:
        raise unprocessable("notional orders cannot be replaced")
    if order.parent is not None and order.order_class == "oto":
        raise unprocessable("oto legs cannot be replaced")
    is_exit = order.order_class == "oco" or (order.order_class == "bracket" and order.parent is not None)
    if is_exit and (spec.qty is not None or spec.time_in_force is not None or spec.trail is not None):
        raise unprocessable("only limit_price and stop_price of a leg can be replaced")
    if spec.limit_price is not None and order.limit_price is None:
        raise invalid(
            "market orders require no stop or limit price"
            if order.type == "market"
            else "invalid limit_price"
        )
    if spec.stop_price is not None and (order.stop_price is None or order.type == "trailing_stop"):
        raise invalid(
            "market orders require no stop or limit price" if order.type == "market" else "invalid stop_price"
        )
    if spec.trail is not None and order.type != "trailing_stop":
        raise invalid("trail is only accepted for trailing stop orders")
    if spec.qty is not None and spec.qty != spec.qty.to_integral_value():
        raise unprocessable("fractional orders cannot be replaced")
    unchanged = (
        spec.qty in (None, order.qty)
        and spec.limit_price in (None, order.limit_price)
        and spec.stop_price in (None, order.stop_price)
        and spec.trail in (None, order.trail_price if order.trail_price is not None else order.trail_percent)
        and spec.time_in_force in (None, order.time_in_force)
    )
    if unchanged:
        raise denied("order parameters are not changed")


def _wanted(exchange: Exchange, order: Order, spec: ReplaceSpec) -> OrderSpec:
    """The order as it would be entered anew."""
    qty = spec.qty
    if qty is None:
        qty = order.left if exchange.rules.replace_qty == "remainder" else order.qty
    assert qty is not None
    if exchange.rules.replace_qty != "remainder" and qty <= order.filled_qty:
        raise unprocessable("qty must be greater than filled_qty")
    return OrderSpec(
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        time_in_force=spec.time_in_force or order.time_in_force,
        qty=qty,
        limit_price=spec.limit_price if spec.limit_price is not None else order.limit_price,
        stop_price=spec.stop_price if spec.stop_price is not None else order.stop_price,
        trail_price=order.trail_price,
        trail_percent=order.trail_percent,
        extended_hours=order.extended_hours,
        client_order_id=spec.client_order_id,
        order_class=order.order_class,
    )


def _check_shares(account: Account, order: Order, to_trade: Decimal) -> None:
    position = account.positions.get(order.symbol)
    owned = abs(position.qty) if position else ZERO
    held, related = account.held_shares(order.symbol)
    others = held - order.holds
    if to_trade > owned - others:
        related = [name for name in related if name != order.id]
        raise insufficient_qty(order.symbol, to_trade, owned - others, owned, others, related)
