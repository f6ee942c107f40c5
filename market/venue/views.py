"""The broker's objects exactly as they travel: every key present, null where there is nothing, decimals as text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from market.venue.account import Account, Mark, Position
from market.venue.assets import Asset
from market.venue.decimals import CENT, ZERO, decimal_text, optional_text
from market.venue.orders import Order
from market.venue.timestamps import rfc3339

_RATIO = Decimal("1e-16")


def _time(t: int | None) -> str | None:
    return None if t is None else rfc3339(t)


def order_view(order: Order, *, nested: bool = True) -> dict[str, Any]:
    """The Order object. A simple order has `legs: null`, and so has any order when `nested` is off.

    What never changes is written once an order; an order is shown at each of its events.
    """
    if order.shown is None:
        order.shown = _fixed_part(order)
    view = order.shown.copy()
    view["status"] = order.status
    view["updated_at"] = rfc3339(order.updated_at)
    view["qty"] = optional_text(order.qty)
    if order.filled_qty:
        view["filled_qty"] = decimal_text(order.filled_qty)
        view["filled_avg_price"] = optional_text(order.filled_avg_price)
    if order.stop_price is not None:
        view["stop_price"] = decimal_text(order.stop_price)
        view["hwm"] = optional_text(order.hwm)
    if not order.is_open:
        for name in _STAMPS:
            view[name] = _time(getattr(order, name))
        view["replaced_by"] = order.replaced_by
    if nested and order.legs:
        view["legs"] = [order_view(leg) for leg in order.legs]
    if order.expires_at is not None:
        view["expires_at"] = rfc3339(order.expires_at)
    if order.position_intent is not None:
        view["position_intent"] = order.position_intent
    return view


_STAMPS = ("filled_at", "expired_at", "canceled_at", "failed_at", "replaced_at")


def _fixed_part(order: Order) -> dict[str, Any]:
    """Every key in its place, the fixed ones with their values."""
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": rfc3339(order.created_at),
        "updated_at": None,
        "submitted_at": rfc3339(order.submitted_at),
        "filled_at": None,
        "expired_at": None,
        "canceled_at": None,
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": order.replaces,
        "asset_id": order.asset_id,
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": optional_text(order.notional),
        "qty": None,
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": order.order_class,
        "order_type": order.type,
        "type": order.type,
        "side": order.side,
        "time_in_force": order.time_in_force,
        "limit_price": optional_text(order.limit_price),
        "stop_price": None,
        "status": None,
        "extended_hours": order.extended_hours,
        "legs": None,
        "trail_percent": optional_text(order.trail_percent),
        "trail_price": optional_text(order.trail_price),
        "hwm": None,
        "subtag": None,
        "source": None,
    }


def account_view(account: Account, mark: Mark, fees: dict[str, Decimal]) -> dict[str, Any]:
    """The Account object; equity = cash + long value + short value = portfolio value.

    `fees` are those of the day by type, USD, not yet charged: REG, TAF, CAT.
    """
    regulatory = fees.get("REG", ZERO) + fees.get("TAF", ZERO)
    long_value, short_value = account.market_values(mark)
    equity = account.cash + long_value + short_value
    gross = long_value - short_value
    multiplier = account.effective_multiplier()
    power = max(multiplier * equity - gross - account.reserved, ZERO)
    reg_t = max(min(multiplier, Decimal(2)) * equity - gross - account.reserved, ZERO)
    plain = max(min(account.cash, equity) - account.reserved, ZERO)
    maintenance = (gross * Decimal("0.3")).quantize(CENT)
    cents = _cents
    return {
        "id": account.id,
        "admin_configurations": {},
        "user_configurations": None,
        "account_number": account.account_number,
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "crypto_tier": 1,
        "options_approved_level": 0,
        "options_trading_level": 0,
        "currency": "USD",
        "buying_power": cents(power),
        "regt_buying_power": cents(reg_t),
        "effective_buying_power": cents(power),
        "non_marginable_buying_power": cents(plain),
        "options_buying_power": cents(plain),
        "cash": decimal_text(account.cash),
        "accrued_fees": decimal_text(sum(fees.values(), ZERO)),
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "portfolio_value": decimal_text(equity),
        "equity": decimal_text(equity),
        "last_equity": decimal_text(account.last_equity),
        "long_market_value": decimal_text(long_value),
        "short_market_value": decimal_text(short_value),
        "position_market_value": decimal_text(gross),
        "initial_margin": cents(gross / 2),
        "maintenance_margin": cents(maintenance),
        "last_maintenance_margin": "0",
        "sma": cents(equity),
        "multiplier": decimal_text(multiplier),
        "intraday_adjustments": "0",
        "pending_reg_taf_fees": decimal_text(regulatory),
        "balance_asof": account.balance_asof.isoformat() if account.balance_asof else None,
        "created_at": rfc3339(account.created_at),
        "trading_blocked": account.trading_blocked,
        "transfers_blocked": False,
        "account_blocked": account.account_blocked,
        "trade_suspended_by_user": bool(account.configuration["suspend_trade"]),
        "shorting_enabled": account.shorting_enabled and not account.configuration["no_shorting"],
    }


def _cents(value: Decimal) -> str:
    return decimal_text(value.quantize(CENT))


def _ratio(part: Decimal, whole: Decimal) -> str:
    return decimal_text((part / whole).quantize(_RATIO)) if whole else "0"


def position_view(
    position: Position, asset: Asset, price: Decimal, last_day: Decimal, held: Decimal
) -> dict[str, Any]:
    """The Position object: quantities, values and cost are negative for a short."""
    value = position.qty * price
    profit = value - position.cost
    today = value - position.basis_today
    free = abs(position.qty) - held
    return {
        "asset_id": asset.id,
        "symbol": position.symbol,
        "exchange": asset.exchange,
        "asset_class": "us_equity",
        "asset_marginable": asset.marginable,
        "qty": decimal_text(position.qty),
        "qty_available": decimal_text(free if position.qty > 0 else -free),
        "avg_entry_price": decimal_text(position.avg_entry_price.quantize(Decimal("1e-9"))),
        "side": "long" if position.qty > 0 else "short",
        "market_value": decimal_text(value),
        "cost_basis": decimal_text(position.cost.quantize(Decimal("1e-9"))),
        "unrealized_pl": decimal_text(profit.quantize(Decimal("1e-9"))),
        "unrealized_plpc": _ratio(profit, abs(position.cost)),
        "unrealized_intraday_pl": decimal_text(today.quantize(Decimal("1e-9"))),
        "unrealized_intraday_plpc": _ratio(today, abs(position.basis_today)),
        "current_price": decimal_text(price),
        "lastday_price": decimal_text(last_day),
        "change_today": _ratio(price - last_day, last_day),
    }


def asset_view(asset: Asset) -> dict[str, Any]:
    """The Asset object. `easy_to_borrow` is deprecated upstream and still required by alpaca-py 0.44."""
    return {
        "id": asset.id,
        "class": "us_equity",
        "exchange": asset.exchange,
        "symbol": asset.symbol,
        "name": asset.name,
        "status": "active" if asset.active else "inactive",
        "tradable": asset.tradable,
        "marginable": asset.marginable,
        "shortable": asset.shortable,
        "easy_to_borrow": asset.easy_to_borrow,
        "borrow_status": "easy_to_borrow" if asset.easy_to_borrow else "hard_to_borrow",
        "fractionable": asset.fractionable,
        "maintenance_margin_requirement": 30,
        "margin_requirement_long": "30",
        "margin_requirement_short": "30",
        "attributes": asset.attributes,
        "cusip": None,
    }
