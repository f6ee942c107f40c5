"""What entry refuses because of the account, the position or the price: the second half of section 2.5.

`OrderSpec` has passed the rules that need neither (order_entry.py). Order of the checks: asset, shorting and
fractions, session windows, prices against the market, client order id, position, wash trade, buying power; a
duplicate id is found before anything that the first copy of the order may itself have used up.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from market.venue.account import Account
from market.venue.assets import Asset
from market.venue.decimals import ZERO, decimal_text, to_price
from market.venue.order_entry import OrderSpec
from market.venue.orders import Order
from market.venue.refusals import (
    denied,
    insufficient_buying_power,
    insufficient_qty,
    invalid,
    unprocessable,
    wash_trade,
)
from market.venue.timestamps import MINUTE

if TYPE_CHECKING:
    from market.venue.exchange import Exchange

_CENT = Decimal("0.01")
_SHORT_MARKUP = Decimal("1.03")


def collar(price: Decimal) -> Decimal:
    """The worst price a buy without limit may pay: 4 % above below 50 USD, 2.5 % from there on."""
    factor = Decimal("1.04") if price < 50 else Decimal("1.025")
    places = _CENT if price >= 1 else Decimal("0.0001")
    return (price * factor).quantize(places)


@dataclass(frozen=True, slots=True)
class Entry:
    """What the checks found out: shares of the position the order holds, dollars it holds."""

    holds: Decimal
    reserves: Decimal


def check_asset(asset: Asset, spec: OrderSpec) -> None:
    """Is it listed, tradable, and in fractions?"""
    if not asset.active:
        raise unprocessable(f"asset {asset.symbol} is not active")
    if not asset.tradable:
        raise unprocessable(f'asset "{asset.symbol}" is not tradable')
    if spec.is_fractional and not asset.fractionable:
        raise unprocessable(f'asset "{asset.symbol}" is not fractionable')


def check_account(account: Account, spec: OrderSpec) -> None:
    """May this account trade at all, and so?"""
    if account.account_blocked or account.trading_blocked:
        raise denied(
            "account is restricted to liquidation only" if account.trading_blocked else "account is blocked"
        )
    if account.configuration["suspend_trade"]:
        raise denied("new orders are rejected by user request")
    if spec.is_fractional and not account.configuration["fractional_trading"]:
        raise denied("fractional trading is disabled")


def check_auction_window(exchange: Exchange, tif: str, t: int) -> None:
    """opg: 19:00 to 9:28; cls: 19:00 to 15:50 (ten minutes before any close)."""
    session = exchange.session
    evening = session.close + 3 * 60 * MINUTE
    if tif == "opg" and session.open - 2 * MINUTE <= t < evening:
        raise denied("opg orders must be submitted after 7:00pm and before 9:28am")
    if tif == "cls" and session.close - 10 * MINUTE <= t < evening:
        raise denied("cls orders must be submitted after 7:00pm and before 3:55pm")


def check_prices(exchange: Exchange, spec: OrderSpec, t: int) -> None:
    """Stops on the right side of the market, bracket legs on the right side of the entry."""
    market = exchange.mark(spec.symbol)
    if spec.type in ("stop", "stop_limit") and spec.stop_price is not None and market > 0:
        extra = {"market_price": decimal_text(market), "stop_price": decimal_text(spec.stop_price)}
        if spec.side == "buy" and spec.stop_price <= market:
            raise unprocessable("stop price must be greater than current price", **extra)
        if spec.side == "sell" and spec.stop_price >= market:
            raise unprocessable("stop price must be less than current price", **extra)
    if not spec.order_class:
        return
    target, stop, stop_limit = spec.take_profit_limit, spec.stop_loss_stop, spec.stop_loss_limit
    base = (
        market
        if spec.type == "market" or spec.order_class == "oco"
        else spec.limit_price or spec.stop_price or market
    )
    entry_buys = (spec.side == "buy") != (spec.order_class == "oco")
    sign = 1 if entry_buys else -1
    above, below = (
        (">= base_price + 0.01", "<= base_price - 0.01")
        if entry_buys
        else ("<= base_price - 0.01", ">= base_price + 0.01")
    )
    extra = {"base_price": decimal_text(base)}
    if target is not None and spec.order_class != "oco" and sign * (target - base) < _CENT:
        raise unprocessable(f"take_profit.limit_price must be {above}", **extra)
    if stop is not None and sign * (base - stop) < _CENT:
        raise unprocessable(f"stop_loss.stop_price must be {below}", **extra)
    if target is not None and stop is not None and sign * (target - stop) <= 0:
        raise unprocessable(
            "take_profit.limit_price must be " + (">" if entry_buys else "<") + " stop_loss.stop_price"
        )
    if stop is not None and stop_limit is not None and sign * (stop - stop_limit) < 0:
        raise unprocessable(
            "stop_loss.limit_price must be " + ("<=" if entry_buys else ">=") + " stop_loss.stop_price"
        )


def check_client_id(account: Account, client_order_id: str | None) -> None:
    """Unique for the life of the account, also after the order is cancelled."""
    if client_order_id is not None and client_order_id in account.by_client_id:
        raise invalid("client_order_id must be unique")


def check_position(exchange: Exchange, account: Account, asset: Asset, spec: OrderSpec) -> Decimal:
    """Shares of the position this order holds (0 when it opens); refuses what the position does not cover."""
    position = account.positions.get(spec.symbol)
    owned = position.qty if position else ZERO
    buys = spec.side == "buy"
    closes = owned != 0 and (owned < 0) == buys
    if spec.position_intent is not None:
        actual = f"{spec.side}_to_{'close' if closes else 'open'}"
        if spec.position_intent != actual:
            raise unprocessable(
                f"position intent mismatch, inferred: {actual}, specified: {spec.position_intent}"
            )
    if closes and spec.order_class in ("bracket", "oto"):
        raise unprocessable(f"{spec.order_class} orders must be entry orders")
    if not closes and spec.order_class == "oco":
        raise unprocessable("oco orders must be exit orders")
    if closes:
        held, related = account.held_shares(spec.symbol)
        size = abs(owned)
        wanted = spec.qty
        if wanted is None:
            price = exchange.mark(spec.symbol)
            assert spec.notional is not None
            wanted = (spec.notional / price).quantize(Decimal("1e-9")) if price else ZERO
        if wanted > size - held:
            raise insufficient_qty(spec.symbol, wanted, size - held, size, held, related)
        return wanted
    if not buys:
        if spec.is_fractional:
            raise unprocessable("fractional orders cannot be sold short")
        if not account.shorting_enabled or account.configuration["no_shorting"]:
            raise denied("account is not allowed to short")
        if not asset.shortable or not asset.easy_to_borrow:
            raise unprocessable(f'asset "{asset.symbol}" cannot be sold short')
    return ZERO


_ALLOWED_CLASSES = ("bracket", "oco", "oto")


def check_wash_trade(account: Account, spec: OrderSpec, status: int, ignore: Order | None = None) -> None:
    """Refuse what could trade with the account's own open order on the other side (user protection matrix)."""
    if spec.order_class in _ALLOWED_CLASSES or spec.type == "trailing_stop":
        return
    other_side = "sell" if spec.side == "buy" else "buy"
    for existing in account.open_by_side.get((spec.symbol, other_side), {}).values():
        if existing is ignore or existing.status == "held":
            continue
        if (
            existing.order_class in _ALLOWED_CLASSES
            or existing.parent is not None
            or existing.type == "trailing_stop"
        ):
            continue
        if existing.type in ("market", "stop"):
            raise wash_trade("opposite side market/stop order exists", existing.id, status)
        crosses = True
        if spec.limit_price is not None and existing.limit_price is not None:
            buy, sell = (
                (spec.limit_price, existing.limit_price)
                if spec.side == "buy"
                else (existing.limit_price, spec.limit_price)
            )
            crosses = buy >= sell
        if crosses:
            raise wash_trade(
                "opposite side limit order exists. use complex/limit/stop_limit orders", existing.id, status
            )


def cost_of(exchange: Exchange, spec: OrderSpec, qty: Decimal) -> Decimal:
    """Buying power `qty` shares of an opening order hold, USD.

    limit buy: limit x qty; buy without limit: collar x qty; short: max(limit, ask x 1.03) x qty.
    """
    ask = exchange.ask(spec.symbol)
    if spec.side == "buy":
        if spec.notional is not None:
            return spec.notional
        if spec.limit_price is not None:
            return spec.limit_price * qty
        if spec.stop_price is not None:
            return collar(spec.stop_price) * qty
        return collar(ask) * qty
    return max(spec.limit_price or ZERO, ask * _SHORT_MARKUP) * qty


def check_buying_power(
    exchange: Exchange, account: Account, spec: OrderSpec, qty: Decimal, already_held: Decimal = ZERO
) -> Decimal:
    """Dollars the order holds; refuses more than the account may commit."""
    needed = cost_of(exchange, spec, qty)
    available = exchange.entry_power(account) + already_held
    if needed > available:
        raise insufficient_buying_power(max(available, ZERO), needed)
    return needed


def ask_price(exchange: Exchange, symbol: str) -> Decimal:
    """The ask, or the last price when nobody offers."""
    quote = exchange.quote(symbol)
    if quote is not None and quote.ask > 0:
        return to_price(quote.ask)
    return exchange.mark(symbol)
