"""Alpaca's trading REST v2 as functions from a request to an answer. Section 2 of the specification."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any

from market.venue import market_hours
from market.venue.account import Account
from market.venue.activities import list_activities
from market.venue.assets import Asset
from market.venue.corporate_actions import announcement, announcements
from market.venue.decimals import ZERO, parse_decimal
from market.venue.exchange import Exchange
from market.venue.messages import Answer, Request, truth
from market.venue.order_entry import OrderSpec, decode_body, parse_order, parse_replace
from market.venue.order_list import list_orders
from market.venue.orders import Order
from market.venue.portfolio_history import portfolio_history
from market.venue.refusals import Refusal, denied, invalid, missing, unprocessable
from market.venue.views import account_view, asset_view, order_view, position_view
from market.venue.watchlists import Watchlists

Route = Callable[[Request, Account], Answer]


class TradingRest:
    """Answers every path under /v2 that is about accounts, orders and positions."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._watchlists = Watchlists(exchange)
        self._fixed: dict[tuple[str, str], Route] = {
            ("GET", "/v2/account"): self._account,
            ("GET", "/v2/account/configurations"): self._configuration,
            ("PATCH", "/v2/account/configurations"): self._configure,
            ("GET", "/v2/account/portfolio/history"): self._portfolio_history,
            ("GET", "/v2/account/activities"): self._activities,
            ("GET", "/v2/clock"): self._clock,
            ("GET", "/v3/clock"): self._clocks,
            ("GET", "/v2/calendar"): self._calendar,
            ("GET", "/v2/assets"): self._assets,
            ("GET", "/v2/corporate_actions/announcements"): self._announcements,
            ("GET", "/v2/orders"): self._orders,
            ("POST", "/v2/orders"): self._submit,
            ("DELETE", "/v2/orders"): self._cancel_all,
            ("GET", "/v2/orders:by_client_order_id"): self._order_by_client_id,
            ("GET", "/v2/positions"): self._positions,
            ("DELETE", "/v2/positions"): self._close_all,
        }
        self._named: dict[tuple[str, str], Callable[[Request, Account, str], Answer]] = {
            ("GET", "orders"): self._order,
            ("PATCH", "orders"): self._replace,
            ("DELETE", "orders"): self._cancel,
            ("GET", "positions"): self._position,
            ("DELETE", "positions"): self._close,
            ("GET", "assets"): self._asset,
        }

    def answer(self, request: Request, account: Account) -> Answer:
        """The answer, a Refusal turned into its body included."""
        try:
            return self._route(request, account)
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body())

    def _route(self, request: Request, account: Account) -> Answer:
        route = self._fixed.get((request.method, request.path))
        if route is not None:
            return route(request, account)
        if request.path.startswith("/v2/watchlists"):
            answer = self._watchlists.answer(request, account)
            if answer is not None:
                return answer
        parts = request.path.split("/", 3)
        if request.method == "GET" and parts[1:3] == ["v3", "calendar"] and len(parts) == 4:
            exchange = self.exchange
            day = exchange.session.day
            return Answer(200, market_hours.market_calendar(parts[3], exchange.now, day, request.query))
        if len(parts) == 4 and parts[1] == "v2" and parts[3]:
            named = self._named.get((request.method, parts[2]))
            if named is not None:
                return named(request, account, parts[3])
            if request.method == "GET" and request.path.startswith("/v2/corporate_actions/announcements/"):
                return Answer(200, announcement(self.exchange, request.path.rsplit("/", 1)[-1]))
            if request.method == "GET" and request.path.startswith("/v2/account/activities/"):
                kinds = request.path.removeprefix("/v2/account/activities/").split(",")
                return Answer(200, list_activities(account, request.query, kinds))
        raise missing("endpoint not found.")

    # --- account -----------------------------------------------------------------------------------------

    def _account(self, request: Request, account: Account) -> Answer:
        return Answer(200, account_view(account, self.exchange.mark, self.exchange.day_fees(account)))

    def _configuration(self, request: Request, account: Account) -> Answer:
        return Answer(200, account.configuration)

    def _configure(self, request: Request, account: Account) -> Answer:
        changes = decode_body(request.body)
        allowed: dict[str, Callable[[Any], bool]] = {
            "fractional_trading": lambda v: isinstance(v, bool),
            "no_shorting": lambda v: isinstance(v, bool),
            "ptp_no_exception_entry": lambda v: isinstance(v, bool),
            "suspend_trade": lambda v: isinstance(v, bool),
            "disable_overnight_trading": lambda v: isinstance(v, bool),
            "max_margin_multiplier": lambda v: str(v) in ("1", "2", "4"),
            "max_options_trading_level": lambda v: v is None or v in (0, 1, 2, 3),
            "trade_confirm_email": lambda v: v in ("all", "none"),
        }
        for key, value in changes.items():
            if key in allowed and not allowed[key](value):
                raise unprocessable(f"invalid value for {key}")
        for key, value in changes.items():
            if key in allowed:
                account.configuration[key] = str(value) if key == "max_margin_multiplier" else value
        return Answer(200, account.configuration)

    def _portfolio_history(self, request: Request, account: Account) -> Answer:
        return Answer(200, portfolio_history(self.exchange, account, request.query))

    def _activities(self, request: Request, account: Account) -> Answer:
        return Answer(200, list_activities(account, request.query, None))

    # --- clock, calendar, assets -------------------------------------------------------------------------

    def _clock(self, request: Request, account: Account) -> Answer:
        return Answer(200, market_hours.clock(self.exchange.now))

    def _clocks(self, request: Request, account: Account) -> Answer:
        return Answer(200, market_hours.clocks(self.exchange.now, request.query))

    def _calendar(self, request: Request, account: Account) -> Answer:
        return Answer(200, market_hours.legacy_calendar(self.exchange.session.day, request.query))

    def _announcements(self, request: Request, account: Account) -> Answer:
        return Answer(200, announcements(self.exchange, request.query))

    def _assets(self, request: Request, account: Account) -> Answer:
        query = request.query
        rows: list[Asset] = sorted(self.exchange.assets.values(), key=lambda a: (a.exchange, a.symbol))
        if query.get("status"):
            rows = [a for a in rows if a.active == (query["status"] == "active")]
        if query.get("exchange"):
            rows = [a for a in rows if a.exchange == query["exchange"]]
        if query.get("asset_class") and query["asset_class"] != "us_equity":
            rows = []
        if query.get("attributes"):
            wanted = set(query["attributes"].split(","))
            return Answer(200, [v for v in map(asset_view, rows) if wanted & set(v["attributes"])])
        return Answer(200, [asset_view(asset) for asset in rows])

    def _asset(self, request: Request, account: Account, name: str) -> Answer:
        asset = self.exchange.asset(name)
        if asset is None:
            raise missing(f"asset not found for {name}")
        return Answer(200, asset_view(asset))

    # --- orders ------------------------------------------------------------------------------------------

    def _orders(self, request: Request, account: Account) -> Answer:
        return Answer(200, list_orders(account, request.query))

    def _submit(self, request: Request, account: Account) -> Answer:
        spec = parse_order(decode_body(request.body))
        return Answer(200, order_view(self.exchange.submit(account, spec)))

    def _find(self, account: Account, order_id: str) -> Order:
        try:
            order_id = str(uuid.UUID(order_id))
        except ValueError:
            raise invalid("order_id is missing") from None
        return self.exchange.find_order(account, order_id)

    def _order(self, request: Request, account: Account, order_id: str) -> Answer:
        order = self._find(account, order_id)
        return Answer(200, order_view(order, nested=truth(request.query.get("nested", "true"))))

    def _order_by_client_id(self, request: Request, account: Account) -> Answer:
        wanted = request.query.get("client_order_id")
        if not wanted:
            raise invalid("client_order_id is missing")
        order = account.by_client_id.get(wanted)
        if order is None:
            raise missing(f"order not found for {wanted}")
        return Answer(200, order_view(order, nested=truth(request.query.get("nested", "true"))))

    def _replace(self, request: Request, account: Account, order_id: str) -> Answer:
        order = self._find(account, order_id)
        spec = parse_replace(decode_body(request.body))
        return Answer(200, order_view(self.exchange.replace(account, order, spec)))

    def _cancel(self, request: Request, account: Account, order_id: str) -> Answer:
        self.exchange.cancel(account, self._find(account, order_id))
        return Answer(204)

    def _cancel_all(self, request: Request, account: Account) -> Answer:
        rows: list[dict[str, Any]] = []
        for order in account.open_list():
            if order.parent is not None and order.parent.is_open:
                continue
            try:
                self.exchange.cancel(account, order)
                rows.append({"id": order.id, "status": 200})
            except Refusal as refusal:
                rows.append({"id": order.id, "status": refusal.status, "body": refusal.body()})
        return Answer(207, rows)

    # --- positions ---------------------------------------------------------------------------------------

    def _position_view(self, account: Account, symbol: str) -> dict[str, Any]:
        exchange = self.exchange
        held, _ = account.held_shares(symbol)
        return position_view(
            account.positions[symbol],
            exchange.assets[symbol],
            exchange.mark(symbol),
            exchange.last_close(symbol),
            held,
        )

    def _symbol_of(self, account: Account, name: str) -> str:
        asset = self.exchange.asset(name)
        if asset is None:
            raise missing(f"symbol not found: {name}")
        if asset.symbol not in account.positions:
            raise missing("position does not exist")
        return asset.symbol

    def _positions(self, request: Request, account: Account) -> Answer:
        return Answer(200, [self._position_view(account, symbol) for symbol in sorted(account.positions)])

    def _position(self, request: Request, account: Account, name: str) -> Answer:
        return Answer(200, self._position_view(account, self._symbol_of(account, name)))

    def _closing_order(self, account: Account, symbol: str, qty: Decimal) -> OrderSpec:
        side = "sell" if account.positions[symbol].qty > 0 else "buy"
        return OrderSpec(symbol=symbol, side=side, type="market", time_in_force="day", qty=qty)

    def _close(self, request: Request, account: Account, name: str) -> Answer:
        symbol = self._symbol_of(account, name)
        size = abs(account.positions[symbol].qty)
        qty_text, percentage_text = request.query.get("qty"), request.query.get("percentage")
        if qty_text and percentage_text:
            raise invalid("only one of qty or percentage is accepted")
        qty = size
        try:
            if qty_text:
                qty = parse_decimal(qty_text)
            elif percentage_text:
                percentage = parse_decimal(percentage_text)
                if not 0 < percentage <= 100:
                    raise invalid("percentage must be between 0 and 100")
                qty = (size * percentage / 100).quantize(Decimal("1e-9"), ROUND_DOWN).normalize() + ZERO
        except ValueError:
            raise invalid("qty must be a number") from None
        if qty <= 0:
            raise invalid("qty must be > 0")
        spec = self._closing_order(account, symbol, qty)
        return Answer(200, order_view(self.exchange.submit(account, spec)))

    def _close_all(self, request: Request, account: Account) -> Answer:
        if truth(request.query.get("cancel_orders")):
            for order in account.open_list():
                if order.parent is None or not order.parent.is_open:
                    self.exchange.cancel_now(account, order)
        rows: list[dict[str, Any]] = []
        for symbol in sorted(account.positions):
            spec = self._closing_order(account, symbol, abs(account.positions[symbol].qty))
            try:
                order = self.exchange.submit(account, dataclasses.replace(spec))
                rows.append({"symbol": symbol, "status": 200, "body": order_view(order)})
            except Refusal as refusal:
                rows.append({"symbol": symbol, "status": refusal.status, "body": refusal.body()})
        return Answer(207, rows)


__all__ = ["TradingRest", "denied"]
