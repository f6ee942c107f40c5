"""Named lists of symbols, kept for the account. No order ever depends on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from market.venue.account import Account, Watchlist
from market.venue.exchange import Exchange
from market.venue.messages import Answer, Request
from market.venue.order_entry import decode_body
from market.venue.refusals import invalid, missing, unprocessable
from market.venue.timestamps import rfc3339
from market.venue.views import asset_view

NAME_LENGTH_MAX, SYMBOLS_MAX, LISTS_MAX = 64, 1000, 1000


class Watchlists:
    """Answers /v2/watchlists, /v2/watchlists/{id}[/{symbol}] and /v2/watchlists:by_name."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def answer(self, request: Request, account: Account) -> Answer | None:
        """The answer, or None when the path or method is not one of these."""
        path = request.path.removeprefix("/v2/watchlists")
        if path == "":
            routes: dict[str, Callable[[Request, Account], Answer]] = {
                "GET": self._list,
                "POST": self._create,
            }
            found = routes.get(request.method)
            return found(request, account) if found else None
        if path in (":by_name", ":by_name/"):
            name = request.query.get("name") or ""
            chosen = next((one for one in account.watchlists.values() if one.name == name), None)
            rest = ""
        else:
            identity, _, rest = path.lstrip("/").partition("/")
            chosen = account.watchlists.get(identity)
        if chosen is None:
            raise missing("watchlist not found")
        return self._one(request, account, chosen, rest)

    def _one(self, request: Request, account: Account, chosen: Watchlist, symbol: str) -> Answer | None:
        match request.method, bool(symbol):
            case "GET", False:
                return Answer(200, self._view(account, chosen))
            case "PUT", False:
                fields = decode_body(request.body)
                if "name" in fields:
                    chosen.name = self._name(account, fields, besides=chosen)
                if fields.get("symbols") is not None:
                    chosen.symbols = self._symbols(fields)
            case "POST", False:
                for added in self._symbols({"symbols": [decode_body(request.body).get("symbol")]}):
                    if added not in chosen.symbols:
                        chosen.symbols.append(added)
            case "DELETE", False:
                del account.watchlists[chosen.id]
                return Answer(204)
            case "DELETE", True:
                if symbol not in chosen.symbols:
                    raise missing(f"symbol not found: {symbol}")
                chosen.symbols.remove(symbol)
            case _:
                return None
        chosen.updated_at = self._exchange.now
        return Answer(200, self._view(account, chosen))

    def _list(self, request: Request, account: Account) -> Answer:
        rows = [self._view(account, one) for one in account.watchlists.values()]
        return Answer(200, [{key: value for key, value in row.items() if key != "assets"} for row in rows])

    def _create(self, request: Request, account: Account) -> Answer:
        fields = decode_body(request.body)
        if len(account.watchlists) >= LISTS_MAX:
            raise unprocessable("too many watchlists")
        now = self._exchange.now
        made = Watchlist(
            self._exchange.identities.next("watchlist"),
            self._name(account, fields),
            self._symbols(fields),
            now,
            now,
        )
        account.watchlists[made.id] = made
        return Answer(200, self._view(account, made))

    def _name(self, account: Account, fields: dict[str, Any], besides: Watchlist | None = None) -> str:
        name = fields.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH_MAX:
            raise invalid(f"name is required, with at most {NAME_LENGTH_MAX} characters")
        if any(one.name == name and one is not besides for one in account.watchlists.values()):
            raise invalid("watchlist name must be unique")
        return name

    def _symbols(self, fields: dict[str, Any]) -> list[str]:
        asked = fields.get("symbols") or []
        if not isinstance(asked, list) or len(asked) > SYMBOLS_MAX:
            raise invalid("symbols must be a list")
        found: dict[str, None] = {}
        for symbol in asked:
            asset = self._exchange.asset(symbol) if isinstance(symbol, str) else None
            if asset is None:
                raise unprocessable(f'asset "{str(symbol)[:40]}" not found')
            found[asset.symbol] = None
        return list(found)

    def _view(self, account: Account, chosen: Watchlist) -> dict[str, Any]:
        return {
            "id": chosen.id,
            "account_id": account.id,
            "created_at": rfc3339(chosen.created_at),
            "updated_at": rfc3339(chosen.updated_at),
            "name": chosen.name,
            "assets": [asset_view(self._exchange.assets[symbol]) for symbol in chosen.symbols],
        }
