"""Faults that act at once or at a time: on sockets, on the account, on the market data. See faults.py for the list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from market.venue.corrections import bust_execution, correct_execution
from market.venue.decimals import PRICE_SCALE, parse_decimal
from market.venue.errors import FaultPlanError
from market.venue.faults import KINDS, NOW, Fault
from market.venue.frames import bar_message
from market.venue.halts import Halts
from market.venue.market_feed import Special
from market.venue.order_entry import parse_order
from market.venue.refusals import Refusal
from market.venue.set_aside import stop_orders, suspend_orders
from market.venue.tape import Bar, Print
from market.venue.timestamps import MILLISECOND, MINUTE, SECOND, new_york

if TYPE_CHECKING:
    from market.venue.server import Server

# What changes the exchange itself, and so has to be in the journal for a replay.
CORE_KINDS = frozenset(
    {
        "foreign_order",
        "bust_execution",
        "correct_execution",
        "block_trading",
        "halt",
        "market_halt",
        "suspend_order",
        "stop_order",
    }
)


class Effects:
    """Carries out the faults whose occasion is a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.halts = Halts(server.exchange, server.feed)
        self._acts: dict[str, Callable[[dict[str, Any], int], None]] = {
            name: getattr(self, f"_{name}") for name, kind in KINDS.items() if kind.point == NOW
        }

    def schedule(self, fault: Fault) -> None:
        """Act now, or when the fault's time comes; a time already past acts now."""
        if KINDS[fault.kind].point != NOW:
            return
        self._check(fault)
        exchange = self._server.exchange
        if fault.time is None:
            self.act(fault, exchange.now)
            return
        try:
            when = new_york(exchange.session.day, time.fromisoformat(fault.time))
        except ValueError:
            raise FaultPlanError(f"fault {fault.kind}: `time` {fault.time!r} is not HH:MM[:SS]") from None
        exchange.at(max(when, exchange.now), lambda t: self.act(fault, t))

    def act(self, fault: Fault, t: int) -> None:
        """Do it."""
        fault.occasions += 1
        fault.fired += 1
        if fault.kind in CORE_KINDS and fault.time is None:
            self._server.journal.record(
                "control", t, {"kind_of_fault": fault.kind, "parameters": fault.parameters}
            )
        self._acts[fault.kind](fault.parameters, t)

    def _check(self, fault: Fault) -> None:
        symbol = fault.parameters.get("symbol")
        if symbol and symbol not in self._server.exchange.tape:
            raise FaultPlanError(f"fault {fault.kind}: no such symbol here: {symbol}")
        account = fault.parameters.get("account", 0)
        if not 0 <= account < len(self._server.exchange.accounts):
            raise FaultPlanError(f"fault {fault.kind}: no such account here: {account}")
        socket = fault.parameters.get("socket", "trading")
        if socket not in ("trading", "data", "polygon"):
            raise FaultPlanError(
                f"fault {fault.kind}: no such socket: {socket}; known are trading, data, polygon"
            )

    # --- sockets -----------------------------------------------------------------------------------------

    def _mute(self, parameters: dict[str, Any], t: int) -> None:
        clients = self._server.clients_of(parameters["socket"])
        for client in clients:
            client.muted = True
        if parameters["seconds"]:

            def speak(when: int) -> None:
                for client in clients:
                    client.muted = False

            self._server.exchange.at(t + int(parameters["seconds"] * SECOND), speak)

    def _close(self, parameters: dict[str, Any], t: int) -> None:
        for client in self._server.clients_of(parameters["socket"]):
            client.close(int(parameters["code"]))

    def _abort(self, parameters: dict[str, Any], t: int) -> None:
        for client in self._server.clients_of(parameters["socket"]):
            client.abort()

    def _half_open(self, parameters: dict[str, Any], t: int) -> None:
        for client in self._server.clients_of(parameters["socket"]):
            client.freeze()

    def _slow_client(self, parameters: dict[str, Any], t: int) -> None:
        for talker, client in self._server.data_clients.items():
            client.send([talker.error(407)])
            client.close(1008)

    # --- account -----------------------------------------------------------------------------------------

    def _foreign_order(self, parameters: dict[str, Any], t: int) -> None:
        exchange = self._server.exchange
        fields = {key: parameters[key] for key in ("symbol", "side", "qty", "type")}
        if parameters["limit_price"]:
            fields["limit_price"] = parameters["limit_price"]
        try:
            spec = parse_order({**fields, "time_in_force": "day"})
            exchange.submit(exchange.accounts[parameters["account"]], spec)
        except Refusal as refusal:
            raise FaultPlanError(f"fault foreign_order was refused: {refusal.message}") from None

    def _bust_execution(self, parameters: dict[str, Any], t: int) -> None:
        bust_execution(self._server.exchange, parameters["account"], parameters["symbol"], t)

    def _correct_execution(self, parameters: dict[str, Any], t: int) -> None:
        price = parse_decimal(
            parameters["price"] if isinstance(parameters["price"], str) else str(parameters["price"])
        )
        correct_execution(self._server.exchange, parameters["account"], parameters["symbol"], price, t)

    def _wrong_positions(self, parameters: dict[str, Any], t: int) -> None:
        until = t + int(parameters["seconds"] * SECOND) if parameters["seconds"] else 0
        self._server.distortions.positions[parameters["account"]] = (
            parameters["symbol"], str(parameters["factor"]), until,
        )  # fmt: skip

    def _suspend_order(self, parameters: dict[str, Any], t: int) -> None:
        until = t + int(parameters["seconds"] * SECOND)
        suspend_orders(self._server.exchange, parameters["account"], parameters["symbol"], until, t)

    def _stop_order(self, parameters: dict[str, Any], t: int) -> None:
        until = t + int(parameters["seconds"] * SECOND)
        stop_orders(self._server.exchange, parameters["account"], parameters["symbol"], until, t)

    def _block_trading(self, parameters: dict[str, Any], t: int) -> None:
        self._server.exchange.accounts[parameters["account"]].trading_blocked = bool(parameters["on"])

    def _revoke_key(self, parameters: dict[str, Any], t: int) -> None:
        revoked = self._server.credentials.revoked
        (revoked.add if parameters["on"] else revoked.discard)(parameters["account"])

    def _clock_ahead(self, parameters: dict[str, Any], t: int) -> None:
        ahead = int(parameters["seconds"] * SECOND)
        self._server.distortions.ahead_ns = self._server.feed.ahead_ns = ahead

    def _mixed_offsets(self, parameters: dict[str, Any], t: int) -> None:
        self._server.distortions.mixed_offsets = bool(parameters["on"])

    # --- market ------------------------------------------------------------------------------------------

    def _halt(self, parameters: dict[str, Any], t: int) -> None:
        code = "LUDP" if parameters["luld"] else parameters["code"]
        self.halts.halt(parameters["symbol"], parameters["seconds"], code, t)

    def _market_halt(self, parameters: dict[str, Any], t: int) -> None:
        for symbol in self._server.exchange.tape.symbols:
            self.halts.halt(symbol, parameters["seconds"], f"MWC{parameters['level']}", t)

    def _bad_quote(self, parameters: dict[str, Any], t: int) -> None:
        symbol, style = parameters["symbol"], parameters["style"]
        quote = self._server.exchange.quote(symbol)
        bid, ask = (quote.bid / PRICE_SCALE, quote.ask / PRICE_SCALE) if quote else (99.0, 101.0)
        when = t
        match style:
            case "crossed":
                bid, ask = round(ask * 1.01, 2), bid
            case "locked":
                bid = ask
            case "zero":
                bid = ask = 0.0
            case "negative":
                bid, ask = -bid, -ask
            case "spike":
                bid, ask = round(bid * parameters["factor"], 2), round(ask * parameters["factor"], 2)
            case "wide":
                bid, ask = round(bid * 0.8, 2), round(ask * 1.2, 2)
            case "nan":
                bid = ask = float("nan")
            case "future":
                when = t + 300 * SECOND
            case "stale":
                when = t - 300 * SECOND
            case _:
                raise FaultPlanError(
                    f"fault bad_quote: no such style: {style}; known are crossed, locked, zero, negative, spike, wide, "
                    "nan, future, stale"
                )
        letter = self._server.exchange.assets[symbol].tape_letter
        self._server.feed.announce(
            Special(
                "quotes", symbol,
                {"T": "q", "S": symbol, "bx": "V", "bp": bid, "bs": 100, "ax": "V", "ap": ask, "as": 100,
                 "c": ["R"], "z": letter, "t": when},
                {"ev": "Q", "sym": symbol, "bx": 11, "bp": bid, "bs": 100, "ax": 11, "ap": ask, "as": 100, "c": 0,
                 "i": [604], "t": when // MILLISECOND, "q": when // 1000 % 10**9, "z": "ABC".index(letter) + 1},
            )
        )  # fmt: skip

    def _last_print(self, symbol: str) -> Print | None:
        exchange = self._server.exchange
        return exchange.tape.trade_at(symbol, exchange.session.day, exchange.now)

    def _bust_print(self, parameters: dict[str, Any], t: int) -> None:
        symbol = parameters["symbol"]
        trade = self._last_print(symbol)
        if trade is None:
            return
        letter = self._server.exchange.assets[symbol].tape_letter
        self._server.feed.announce(
            Special("cancelErrors", symbol, {"T": "x", "S": symbol, "i": trade.number, "x": "V",
                                             "p": trade.price / PRICE_SCALE, "s": trade.size, "a": "C", "z": letter,
                                             "t": t})
        )  # fmt: skip

    def _correct_print(self, parameters: dict[str, Any], t: int) -> None:
        symbol = parameters["symbol"]
        trade = self._last_print(symbol)
        if trade is None:
            return
        letter = self._server.exchange.assets[symbol].tape_letter
        self._server.feed.announce(
            Special("corrections", symbol, {"T": "c", "S": symbol, "x": "V", "oi": trade.number,
                                            "op": trade.price / PRICE_SCALE, "os": trade.size, "oc": ["@"],
                                            "ci": trade.number, "cp": float(parameters["price"]), "cs": trade.size,
                                            "cc": ["@"], "z": letter, "t": t})
        )  # fmt: skip

    def _late_print(self, parameters: dict[str, Any], t: int) -> None:
        """A print reported late: its trade now, and the minute's bar once more as `u`."""
        symbol, size = parameters["symbol"], int(parameters["size"])
        server = self._server
        tape = server.exchange.tape.on(symbol, server.exchange.session.day)
        bars = tape.bars(tape.session.pre_open, t - t % MINUTE, MINUTE) if tape else []
        if not bars:
            return
        bar = bars[-1]
        volume = bar.volume + size
        vwap = round((bar.vwap * bar.volume + bar.close * size) / volume, 6)
        revised: Bar = dataclasses.replace(bar, volume=volume, trades=bar.trades + 1, vwap=vwap)
        server.feed.announce(Special("updatedBars", symbol, bar_message("u", symbol, revised)))

    def _mute_symbol(self, parameters: dict[str, Any], t: int) -> None:
        symbol, feed = parameters["symbol"], self._server.feed
        feed.muted_quotes.add(symbol)
        if parameters["seconds"]:
            self._server.exchange.at(
                t + int(parameters["seconds"] * SECOND), lambda when: feed.muted_quotes.discard(symbol)
            )

    def _skip_bars(self, parameters: dict[str, Any], t: int) -> None:
        self._server.feed.skipped_share = float(parameters["share"])

    def _sip_gap(self, parameters: dict[str, Any], t: int) -> None:
        self._server.feed.iex_gap = Decimal(str(parameters["bps"])) / 10_000
