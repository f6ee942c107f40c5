"""The rehearsal's own address: move the clock, switch faults, look inside. Own port, own token, never a broker's path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from market.venue.decimals import decimal_text
from market.venue.errors import FaultPlanError
from market.venue.faults import KINDS
from market.venue.timestamps import parse_moment, rfc3339

if TYPE_CHECKING:
    from market.venue.server import Server


class ControlError(Exception):
    """A control request that cannot be done; the text says why."""


class Control:
    """Answers the control port. Every request carries `Authorization: Bearer TOKEN`."""

    def __init__(self, server: Server, token: str) -> None:
        self._server = server
        self.token = token

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _answer(401, {"message": "the control token is missing or wrong"})
        try:
            body = await request.read() if request.body_exists else b""
            fields = msgspec.json.decode(body) if body else {}
        except (msgspec.DecodeError, web.HTTPRequestEntityTooLarge):
            return _answer(400, {"message": "the body is not JSON"})
        if not isinstance(fields, dict):
            return _answer(400, {"message": "the body is not a JSON object"})
        try:
            return _answer(200, self.perform(request.method, request.path, fields))
        except ControlError as reason:
            return _answer(404 if "no such" in str(reason) else 422, {"message": str(reason)})

    def perform(self, method: str, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        """What the request asks for; ControlError when it cannot be done."""
        if path == "/clock":
            return self._clock(fields) if method == "POST" else self._clock_view()
        if path == "/faults" or path.startswith("/faults/"):
            return self._faults(method, path, fields)
        if path == "/state" and method == "GET":
            return self._state()
        raise ControlError(f"no such control path: {path}")

    def _faults(self, method: str, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        """GET lists what is armed, POST arms one (or acts at once), DELETE disarms one or all."""
        server = self._server
        if method == "GET":
            kinds = {name: {"acts_on": k.point, "meaning": k.meaning, "parameters": k.parameters,
                            "catalogue": k.catalogue} for name, k in KINDS.items()}  # fmt: skip
            return {"armed": [fault.view() for fault in server.faults.armed], "kinds": kinds}
        if method == "DELETE":
            name = path.removeprefix("/faults").strip("/")
            if name and not name.isdigit():
                raise ControlError(f"no such fault: {name}")
            return {"disarmed": server.disarm(int(name) if name else None)}
        server.exchange.advance(server.clock.now())
        try:
            fault = server.arm(fields)
        except FaultPlanError as reason:
            raise ControlError(str(reason)) from None
        server.dispatch()
        server.flush_market_data()
        return fault.view()

    def _state(self) -> dict[str, Any]:
        """What the exchange holds: the truth behind every fault."""
        server = self._server
        exchange = server.exchange
        return {
            **self._clock_view(),
            "session": exchange.session.day.isoformat(),
            "halted": sorted(exchange.halted),
            "paused": exchange.restrictions.paused(),
            "sockets": {name: len(server.clients_of(name)) for name in ("trading", "data", "polygon")},
            "accounts": [
                {
                    "account_number": account.account_number,
                    "cash": decimal_text(account.cash),
                    "equity": decimal_text(account.equity(exchange.mark)),
                    "positions": {s: decimal_text(p.qty) for s, p in sorted(account.positions.items())},
                    "orders": len(account.orders),
                    "open_orders": len(account.open_list()),
                }
                for account in exchange.accounts
            ],
        }

    def _clock_view(self) -> dict[str, Any]:
        server = self._server
        return {
            "now": rfc3339(server.exchange.now),
            "now_ns": server.exchange.now,
            "speed": server.clock.speed,
        }

    def _clock(self, fields: dict[str, Any]) -> dict[str, Any]:
        server, clock = self._server, self._server.clock
        try:
            if "speed" in fields:
                speed = float(fields["speed"])
                if not 0 <= speed <= 1e6:
                    raise ControlError("speed must be between 0 and 1000000")
                clock.set_speed(speed)
            if "advance_s" in fields:
                clock.advance(float(fields["advance_s"]))
            if "to" in fields:
                clock.move_to(parse_moment(str(fields["to"])))
        except (ValueError, TypeError, OverflowError) as reason:
            raise ControlError(f"the clock cannot be moved so: {reason}") from None
        server.exchange.advance(clock.now())
        server.dispatch()
        server.flush_market_data()
        server.journal.flush()
        return self._clock_view()


def _answer(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
