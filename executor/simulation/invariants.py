"""What must hold after every event, checked by code that shares nothing with the engine's own sums.

Slow and plain: everything is added up anew from the ledger's rows, the venue's orders and the events
that were told. Names and numbers are those of the reliability plan, section 4.0. I8 (the audit chain)
and the second half of I14 (a fenced predecessor) are Postgres' and are proven there, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from executor.core import commands as c
from executor.core import events as e
from executor.core.modes import Mode
from executor.simulation.ledger import EDGES, ZERO

if TYPE_CHECKING:
    from executor.simulation.shell import Shell

OPEN_STATES = frozenset(state for state, after in EDGES.items() if after)
CLOSED_STATES = frozenset(EDGES) - OPEN_STATES
SPREAD_MAX = Decimal("0.05")
LOOSE = frozenset({Mode.READY, Mode.REDUCING})
RANKS = {mode: rank for rank, mode in enumerate(Mode)}
EPSILON = Decimal("0.000001")


class Violation(Exception):
    """An invariant did not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
        self.text = text


class Invariants:
    """Remembers what was told, and compares the engine with the ledger and the venue."""

    def __init__(self, shell: Shell, sectors: dict[str, str]) -> None:
        self.shell = shell
        self.sectors = sectors
        self.checks = 0
        self.forget()

    def forget(self) -> None:
        """A new process has been told nothing yet."""
        self.latest: dict[str, e.Quote] = {}
        self.mids: dict[str, Decimal] = {}
        self.halted: set[str] = set()
        self.feed_bad: set[str | None] = set()
        self.stream_up = True
        self.mode_before: Mode | None = None
        self.ended: dict[str, str] = {}
        self.told_fills: set[str] = set()

    # ------------------------------------------------------------------ at each decision

    def decided(self, event: e.Event, commands: Sequence[c.Command]) -> None:
        """One event has been decided: what was told, what was asked, and how the mode went."""
        self._hear(event)
        self._mode_only_tightens(event)
        if isinstance(event, e.Fill) and event.execution_id not in self.told_fills:
            self.told_fills.add(event.execution_id)
            alarmed = event.client_order_id not in self.ended or any(isinstance(x, c.Alert) for x in commands)
            require(alarmed, "I12", f"late fill {event.execution_id} was booked without an alarm")
        earlier: list[c.Intent] = []
        for command in commands:
            if isinstance(command, c.Reserve):
                self._reserve(event, command.intent, earlier)
                earlier.append(command.intent)
            elif isinstance(command, c.Refuse):
                require(
                    command.reason.strip() != "",
                    "I3",
                    f"a refusal of {command.intent.symbol} without a reason",
                )

    def _hear(self, event: e.Event) -> None:
        match event:
            case e.Quote():
                self.latest[event.symbol] = event
                if usable(event):
                    self.mids[event.symbol] = (event.bid + event.ask) / 2
            case e.TradingStatus():
                (self.halted.add if event.code in "HP2F" else self.halted.discard)(event.symbol)
            case e.FeedState():
                bad = event.state is not e.Feed.LIVE
                (self.feed_bad.add if bad else self.feed_bad.discard)(event.symbol)
            case e.OrderStreamState():
                self.stream_up = event.up
            case e.CorporateAction():
                self.latest.pop(event.symbol, None)
                self.mids.pop(event.symbol, None)
            case _:
                pass

    def _mode_only_tightens(self, event: e.Event) -> None:
        mode, before = self.shell.engine.mode, self.mode_before
        self.mode_before = mode
        if before is None or RANKS[mode] >= RANKS[before] or isinstance(event, e.Rearm):
            return
        way_out = (
            before is Mode.HALTED and mode is Mode.FLATTENING and isinstance(event, (e.Kill, e.ModeSeen))
        )
        require(way_out, "I9", f"mode loosened by itself from {before} to {mode} at {type(event).__name__}")

    def _reserve(self, event: e.Event, intent: c.Intent, earlier: Sequence[c.Intent]) -> None:
        """An order is asked of the ledger: everything an order must satisfy, recomputed."""
        shell, ledger = self.shell, self.shell.ledger
        cid = intent.client_order_id
        require(cid is not None and cid not in ledger.rows, "I1", f"client order id {cid} is used twice")
        require(bool(intent.inputs) and bool(intent.checks.measured), "I3", f"{cid} has no decision record")
        whole = intent.qty == intent.qty.to_integral_value()
        on_tick = (
            intent.limit_price % (Decimal("0.01") if intent.limit_price >= 1 else Decimal("0.0001")) == 0
        )
        require(
            intent.qty > 0 and intent.limit_price > 0 and whole and on_tick, "I7",
            f"{cid} has no valid terms: {intent.qty} at {intent.limit_price}",
        )  # fmt: skip
        held = ledger.positions.get(intent.symbol, ZERO)
        same = self._worst(intent.symbol, intent.side, [*earlier, intent]) - intent.qty
        against = held if intent.side == "sell" else -held
        if against > 0:
            require(
                intent.qty + same <= against, "I7",
                f"{cid} {intent.side}s {intent.qty} {intent.symbol} beside {same} on a position of {held}: through zero",
            )  # fmt: skip
            return
        require(shell.engine.mode in LOOSE, "I10", f"{cid} adds risk in mode {shell.engine.mode}")
        require(
            self.stream_up and None not in self.feed_bad, "I10", f"{cid} adds risk while a stream is down"
        )
        doubtful = intent.symbol in self.halted or intent.symbol in self.feed_bad
        require(
            not doubtful,
            "I13",
            f"{cid} adds risk in {intent.symbol}, which is halted or whose feed is not live",
        )
        if intent.purpose == "target":
            batch = ledger.batches.get(intent.batch_id or "")
            valid = batch is not None and event.market_time < batch.valid_until
            require(valid, "I3", f"{cid} has no approved batch in force")
        self._fresh(event, intent)
        self._within_limits(intent, earlier)

    def _fresh(self, event: e.Event, intent: c.Intent) -> None:
        quote = self.latest.get(intent.symbol)
        assert_quote = quote is not None and usable(quote)
        require(assert_quote, "I13", f"{intent.client_order_id} stands on no usable quote of {intent.symbol}")
        assert quote is not None
        age_s = (event.now_ns - quote.now_ns) / 1e9 + quote.age_at_receipt_ms / 1e3
        bound = self._bound("quote_age_s")
        require(
            age_s <= bound + EPSILON, "I13", f"{intent.client_order_id} stands on a quote {age_s:.1f} s old"
        )

    def _within_limits(self, intent: c.Intent, earlier: Sequence[c.Intent]) -> None:
        cid, ledger = intent.client_order_id, self.shell.ledger
        equity = ledger.cash + sum((q * self.mids[s] for s, q in ledger.positions.items()), ZERO)
        mid = self.mids[intent.symbol]
        sign = 1 if intent.side == "buy" else -1
        notional = intent.qty * intent.limit_price
        room = self._bound("order_notional_usd")
        require(notional <= room, "I7", f"{cid} is worth {notional:.0f}, over {room}")
        collar = sign * (intent.limit_price - mid) / mid
        require(
            collar <= self._bound("price_collar") + EPSILON, "I7", f"{cid} is {collar:.4f} through the mid"
        )
        volume = self.shell.average_volume[intent.symbol]
        require(
            intent.qty <= self._bound("participation") * volume + EPSILON,
            "I7",
            f"{cid} is too much of the volume",
        )
        worst = {s: self.worst_notional(s, [*earlier, intent]) for s in self.sectors}
        scale = self._bound("drawdown_scale") if ledger.mode is Mode.REDUCING else Decimal(1)
        sector = self.sectors[intent.symbol]
        in_sector = sum((v for s, v in worst.items() if self.sectors[s] == sector), ZERO)
        for name, value, bound in (
            ("single_name", worst[intent.symbol], self._bound("single_name")),
            ("sector", in_sector, self._bound("sector")),
            ("gross", sum(worst.values(), ZERO), self._bound("gross") * scale),
        ):
            require(
                value <= bound * equity * (1 + EPSILON), "I6",
                f"{cid} takes {name} at worst to {value / equity:.4f} of equity {equity:.0f}, over {bound:.4f}",
            )  # fmt: skip

    def _bound(self, name: str) -> Decimal:
        return Decimal(self.shell.ledger.limits[name])

    def _rows(self, symbol: str, side: str, extra: Sequence[c.Intent]) -> list[tuple[Decimal, Decimal]]:
        """``(shares, limit)`` of what may still fill on one side, by the ledger: INTENT and UNKNOWN in full.

        An order and its replacement exclude each other at the venue, so the pair counts once.
        """
        rows = self.shell.ledger.rows
        open_rows = {cid: r for cid, r in rows.items() if r.state in OPEN_STATES}
        gone_on = {r.intent.replaces_client_order_id for r in open_rows.values()}
        gone_on |= {i.replaces_client_order_id for i in extra}
        return [
            (r.intent.qty - r.filled, r.intent.limit_price)
            for cid, r in open_rows.items()
            if r.intent.symbol == symbol
            and r.intent.side == side
            and cid not in gone_on
            and not r.intent.parent_client_order_id
        ] + [(i.qty, i.limit_price) for i in extra if i.symbol == symbol and i.side == side]

    def _worst(self, symbol: str, side: str, extra: Sequence[c.Intent] = ()) -> Decimal:
        """Shares that may still come on one side."""
        return sum((qty for qty, _ in self._rows(symbol, side, extra)), ZERO)

    def worst_notional(self, symbol: str, extra: Sequence[c.Intent] = ()) -> Decimal:
        """Largest value of a name in USD over every subset of its orders filling."""
        held = self.shell.ledger.positions.get(symbol, ZERO)
        worst = ZERO
        for side, sign in (("buy", 1), ("sell", -1)):
            rows = self._rows(symbol, side, extra)
            prices = [limit for _, limit in rows] + [self.mids[s] for s in (symbol,) if s in self.mids]
            shares = abs(held + sign * sum((qty for qty, _ in rows), ZERO))
            worst = max(worst, shares * max(prices, default=ZERO))
        return worst

    # ------------------------------------------------------------------ at the venue

    def sending(self, client_order_id: str, symbol: str, side: str, qty: Decimal, *, repeat: bool) -> None:
        """The bytes leave for the venue."""
        ledger = self.shell.ledger
        row = ledger.rows.get(client_order_id)
        require(row is not None, "I2", f"{client_order_id} was sent without an intent in the ledger")
        assert row is not None
        require(
            row.state == "SENDING", "I2", f"{client_order_id} was sent while the ledger has it {row.state}"
        )
        terms = (row.intent.symbol, row.intent.side, row.intent.qty)
        require(
            terms == (symbol, side, qty), "I2", f"{client_order_id} was sent with other terms than decided"
        )
        require(
            repeat == (row.history.count("SENDING") > 1),
            "I1",
            f"{client_order_id} was sent twice without saying so",
        )
        reducing = ledger.only_reduces(row.intent, apart_from=client_order_id)
        if ledger.killed:
            require(
                ledger.mode is Mode.FLATTENING and reducing, "I9", f"{client_order_id} was sent after a kill"
            )
        require(
            reducing or ledger.mode in LOOSE,
            "I10",
            f"{client_order_id} adds risk in mode {ledger.mode} at the venue",
        )

    # ------------------------------------------------------------------ after every event

    def after(self) -> None:
        """Everything an event has led to is done: belief, record and truth compared."""
        self.checks += 1
        self._orders()
        self._books()
        self._reserved()
        engine, ledger = self.shell.engine, self.shell.ledger
        looser = RANKS[engine.mode] < RANKS[ledger.mode] and engine.killed == ledger.killed
        require(not looser, "I9", f"the engine is {engine.mode}, the ledger {ledger.mode}")

    def _orders(self) -> None:
        """Each order is in one state, has what its fills say, and rests where it has ended."""
        ledger, orders = self.shell.ledger, self.shell.engine.orders
        booked: dict[str, Decimal] = {}
        for cid, qty, _ in ledger.fills.values():
            booked[cid] = booked.get(cid, ZERO) + qty
        for cid, row in ledger.rows.items():
            order = orders.get(cid)
            if order is None:
                raise Violation("I2", f"{cid} is in the ledger and the engine does not know it")
            if order.state != row.state:
                raise Violation("I12", f"{cid} is {order.state} to the engine, {row.state} in the ledger")
            if not order.filled_qty == row.filled == booked.get(cid, ZERO):
                raise Violation(
                    "I11", f"{cid} filled {order.filled_qty} to the engine, {row.filled} in the ledger, "
                    f"{booked.get(cid, ZERO)} by its fills",
                )  # fmt: skip
            if not ZERO <= row.filled <= row.intent.qty:
                raise Violation("I11", f"{cid} filled {row.filled} of {row.intent.qty}")
            if row.state in CLOSED_STATES and self.ended.setdefault(cid, row.state) != row.state:
                raise Violation("I12", f"{cid} left the terminal state {self.ended[cid]} for {row.state}")
            if row.state in OPEN_STATES and cid in self.ended:
                raise Violation("I12", f"{cid} left the terminal state {self.ended[cid]} for {row.state}")

    def _books(self) -> None:
        book, ledger = self.shell.engine.book, self.shell.ledger
        if book.positions != ledger.positions:
            raise Violation(
                "I4",
                f"positions {show(book.positions)} to the engine, {show(ledger.positions)} in the ledger",
            )
        if book.cash != ledger.cash:
            raise Violation("I4", f"cash {book.cash} to the engine, {ledger.cash} in the ledger")

    def _reserved(self) -> None:
        """Whatever the venue may still do is covered by what the ledger holds and reserves."""
        ledger, venue = self.shell.ledger, self.shell.venue
        true = dict(venue.positions)
        bounds = {("buy", s): q for s, q in ledger.positions.items()}
        bounds |= {("sell", s): q for s, q in ledger.positions.items()}
        # Nobody can have reserved what trades after its order was shown as ended, nor what of it is still to come.
        lied = {late.client_order_id for late in self.shell.late_fills.values()}
        for late in [x for x in venue.executions if x.client_order_id in lied and x.key not in ledger.fills]:
            intent = ledger.rows[late.client_order_id].intent
            signed = late.qty if intent.side == "buy" else -late.qty
            for side in ("buy", "sell"):
                bounds[side, intent.symbol] = bounds.get((side, intent.symbol), ZERO) + signed
        gone_on = {r.intent.replaces_client_order_id for r in ledger.rows.values() if r.state in OPEN_STATES}
        for cid, row in ledger.rows.items():
            if row.state in OPEN_STATES and cid not in gone_on:
                key, left = (row.intent.side, row.intent.symbol), row.intent.qty - row.filled
                bounds[key] = bounds.get(key, ZERO) + (left if key[0] == "buy" else -left)
        reach = {(side, s): q for side in ("buy", "sell") for s, q in true.items()}
        for side, symbol, left in [*venue.may_fill(), *self.shell.on_its_way()]:
            key = (side, symbol)
            reach[key] = reach.get(key, ZERO) + (left if side == "buy" else -left)
        for (side, symbol), shares in reach.items():
            bound = bounds.get((side, symbol), ZERO)
            if (shares > bound) if side == "buy" else (shares < bound):
                raise Violation(
                    "I6", f"{symbol}: by {side}s the venue may come to {shares}, the books reserve {bound}"
                )

    def settled(self) -> None:
        """Nothing is under way any more: both sides are equal, over the union of symbols."""
        ledger, venue = self.shell.ledger, self.shell.venue
        require(
            ledger.positions == venue.positions, "I5",
            f"ledger holds {show(ledger.positions)}, venue {show(venue.positions)}",
        )  # fmt: skip
        require(
            abs(ledger.cash - venue.cash) < Decimal("0.01"),
            "I5",
            f"ledger cash {ledger.cash}, venue {venue.cash}",
        )
        working = [o.client_order_id for o in venue.orders.values() if o.open and not o.parent]
        known = {cid for cid, r in ledger.rows.items() if r.state in OPEN_STATES}
        require(set(working) <= known, "I5", f"the venue works {working}, the ledger {sorted(known)}")
        keys = [x.key for x in venue.executions]
        require(sorted(keys) == sorted(ledger.fills), "I11", "executions and booked fills differ")


def usable(quote: e.Quote) -> bool:
    """Two sides, not crossed, and no wider than a market is."""
    if quote.bid <= 0 or quote.ask < quote.bid:
        return False
    return (quote.ask - quote.bid) * 2 <= SPREAD_MAX * (quote.ask + quote.bid)


def require(holds: bool, invariant: str, text: str) -> None:
    """Raise the violation unless it holds."""
    if not holds:
        raise Violation(invariant, text)


def show(positions: dict[str, Decimal]) -> str:
    """Positions in a line."""
    return ", ".join(f"{q:f} {s}" for s, q in sorted(positions.items())) or "nothing"
