"""Everything at once, in any order: no sequence of events breaks a limit, loses an order or a fill,
loosens a mode or holds an exit up."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from core_world import SYMBOLS, World
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.core.commands import Command, ConfirmFlat, Replace, Reserve, Submit
from executor.core.events import (
    BrokerFlat,
    BrokerHealth,
    ClockOffset,
    EquityConfirmed,
    Event,
    Feed,
    FeedState,
    Fill,
    HeartbeatLost,
    HostState,
    InstrumentSeen,
    Kill,
    ModeSeen,
    OrderEvidence,
    OrderStreamState,
    PositionsDiffer,
    Rearm,
    Replaced,
    Reserved,
    Target,
    TradingStatus,
)
from executor.core.modes import ORDER, Mode
from executor.core.orders import Evidence
from executor.core.policy import ExecutionPolicy, Price

ZERO = Decimal(0)
GROSS, EQUITY_MAX, PRICE_MIN = Decimal("0.25"), Decimal(105_000), 97
BAD_NEWS: tuple[tuple[type[Event], dict[str, Any]], ...] = (
    (BrokerHealth, {"errors": 50, "rejects": 0, "latency_ms": 1.0}),
    (ClockOffset, {"offset_ms": 900.0}),
    (HostState, {"disk_used": 0.99, "memory_used": 0.1, "loop_lag_ms": 1.0}),
    (HeartbeatLost, {"source": "ledger", "silent_s": 99.0}),
    (PositionsDiffer, {"reason": "cash"}),
    (OrderStreamState, {"up": False}),
    (FeedState, {"feed": "iex", "state": Feed.MUTE}),
    (ModeSeen, {"mode": Mode.CLOSE_ONLY, "killed": False, "flatten": False}),
)
GOOD_NEWS: tuple[tuple[type[Event], dict[str, Any]], ...] = (
    (BrokerHealth, {"errors": 0, "rejects": 0, "latency_ms": 1.0}),
    (ClockOffset, {"offset_ms": 0.0}),
    (HostState, {"disk_used": 0.1, "memory_used": 0.1, "loop_lag_ms": 1.0}),
    (HeartbeatLost, {"source": "ledger", "silent_s": 0.0}),
    (OrderStreamState, {"up": True}),
    (FeedState, {"feed": "iex", "state": Feed.LIVE}),
    (ModeSeen, {"mode": Mode.READY, "killed": False, "flatten": False}),
)


ACTS = (
    "shows_all_open", "shows_all_open", "shows_all_open", "shows_open", "fills_part", "fills_whole", "fills_whole",
    "tells_a_fill", "tells_a_fill", "tells_all_fills", "cancels", "shows_ended", "shows_replaces", "proves_nothing",
    "time_passes", "time_passes", "time_passes", "time_passes", "calm", "calm", "batch", "batch", "batch",
    "odd_quote", "status", "news", "news", "second_source", "kill", "kill_between", "cancels_early", "rearm", "rearm",
)  # fmt: skip


def pick(ids: Iterable[str], which: int) -> str:
    """One of several ids; empty if there is none."""
    ordered = sorted(ids)
    return ordered[which % len(ordered)] if ordered else ""


class Storm:
    """A broker of our own that keeps what works and what it filled, whatever we were told of it."""

    def __init__(self) -> None:
        wide = {
            "single_name": "1",
            "sector": "1",
            "risk_per_trade": "1",
            "price_collar": "0.5",
            "turnover": "99",
        }
        self.world = World(
            gross=str(GROSS), equity_confirm_s="10", duplicate_orders="99", repeated_orders="99", **wide
        )
        for symbol in SYMBOLS:
            self.tell(InstrumentSeen, symbol=symbol, tradable=True, shortable=True, borrow="easy")
        self.working: dict[str, Decimal] = {}
        self.on_the_way: list[tuple[str, Decimal, Decimal]] = []
        self.truth: dict[str, Decimal] = {}
        self.sent: set[str] = set()
        self.told: dict[str, Decimal] = {}
        self.batches = self.executions = 0
        self.rank = 0
        self.kill_next = False

    # ------------------------------------------------------------------ the shell's part

    def tell(self, kind: type[Event], /, **fields: Any) -> list[Command]:
        return self.world.tell(kind, **fields)

    def hear(self, kind: type[Event], /, **fields: Any) -> None:
        self.carry_out(self.tell(kind, **fields))

    def carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Reserve):
                cid = command.intent.client_order_id
                if self.kill_next:
                    self.kill_next = False
                    self.hear(Kill, who="ann", reason="between verdict and send")
                self.carry_out(self.tell(Reserved, client_order_id=cid, ok=True, reason=""))
            elif isinstance(command, Submit | Replace):
                self.arrive(command)

    def arrive(self, command: Submit | Replace) -> None:
        cid, qty = command.client_order_id, command.qty
        mode = self.world.engine.mode
        assert mode is not Mode.HALTED, "nothing leaves while halted"
        assert cid not in self.working, "an id works once"
        if isinstance(command, Replace):
            left = self.working.pop(command.replaces_client_order_id, None)
            if left is None:
                self.show(cid, Evidence.REFUSED, reason="already filled")
                return
            qty = left
        elif cid in self.sent:
            return  # sent again: the broker refuses a second order of one id
        self.sent.add(cid)
        self.working[cid] = qty
        if len(self.sent) % 4 == 0:
            self.show(cid, Evidence.AMBIGUOUS, reason="timeout")

    def show(self, cid: str, evidence: Evidence, **more: Any) -> None:
        self.hear(OrderEvidence, client_order_id=cid, evidence=evidence, **more)

    # ------------------------------------------------------------------ the market

    def time_passes(self, which: int) -> None:
        self.quotes(Decimal(100) + Decimal(which - 4) / 2)
        self.carry_out(self.world.tick((0.1, 1.0, 2.0, 31.0)[which % 4]))

    def quotes(self, mid: Decimal) -> None:
        for symbol in SYMBOLS:
            self.world.quote(symbol, str(mid - Decimal("0.01")), str(mid + Decimal("0.01")), (10_000, 10_000))

    def calm(self, which: int) -> None:
        """Timers, and a broker that shows what works; on an even number everything fills and is told."""
        for _ in range(3):
            self.quotes(Decimal(100) + Decimal(which - 4) / 10)
            self.carry_out(self.world.tick(2.0))
            self.shows_all_open(0)
            self.shows_replaces(0)
            while self.working and which % 2 == 0:
                self.fills_whole(0)
            if which % 2 == 0:
                self.tells_all_fills(0)

    def odd_quote(self, which: int) -> None:
        bid = ("0", "1", "99.99", "100.5", "150")[which % 5]
        self.world.quote(SYMBOLS[which % 4], bid, "100.01")

    def status(self, which: int) -> None:
        self.hear(TradingStatus, symbol=SYMBOLS[which % 4], code="HTTQTTTTTT"[which])

    # ------------------------------------------------------------------ the broker

    def proves_nothing(self, which: int) -> None:
        if cid := pick(self.sent, which):
            evidence = (Evidence.AMBIGUOUS, Evidence.NOT_FOUND, Evidence.ABSENT)[which % 3]
            self.show(cid, evidence)

    def shows_all_open(self, which: int) -> None:
        for cid in sorted(self.working):
            self.show(cid, Evidence.WORKING, broker_order_id=f"b-{cid}")

    def shows_open(self, which: int) -> None:
        if cid := pick(self.working, which):
            self.show(cid, Evidence.WORKING)

    def fills_part(self, which: int) -> None:
        self.fills(which, Decimal("0.3"))

    def fills_whole(self, which: int) -> None:
        self.fills(which, Decimal(1))

    def fills(self, which: int, part: Decimal) -> None:
        cid = pick(self.working, which)
        if not cid:
            return
        qty = min(max(Decimal(1), (self.working[cid] * part).to_integral_value()), self.working[cid])
        self.working[cid] -= qty
        if not self.working[cid]:
            del self.working[cid]
        order = self.world.engine.orders[cid]
        self.truth[order.symbol] = self.truth.get(order.symbol, ZERO) + order.direction * qty
        self.on_the_way.append((cid, qty, Decimal(100)))

    def tells_a_fill(self, which: int) -> None:
        if self.on_the_way:
            self.tell_fill(self.on_the_way.pop(which % len(self.on_the_way)), times=1 + which % 2)

    def tells_all_fills(self, which: int) -> None:
        while self.on_the_way:
            self.tell_fill(self.on_the_way.pop(), times=1)

    def tell_fill(self, fill: tuple[str, Decimal, Decimal], times: int) -> None:
        cid, qty, price = fill
        self.executions += 1
        order = self.world.engine.orders[cid]
        self.told[order.symbol] = self.told.get(order.symbol, ZERO) + order.direction * qty
        for _ in range(times):
            self.hear(Fill, execution_id=f"x{self.executions}", client_order_id=cid, qty=qty, price=price)

    def cancels(self, which: int) -> None:
        if cid := pick(self.working, which):
            del self.working[cid]
            self.show(cid, Evidence.ENDED, broker_status="canceled", broker_filled=self.filled(cid))

    def cancels_early(self, which: int) -> None:
        """The broker calls it over and keeps the last fills to itself for now."""
        if cid := pick(self.working, which):
            self.fills_part(which)
            self.working.pop(cid, None)
            filled = self.world.engine.orders[cid].filled_qty
            self.show(cid, Evidence.ENDED, broker_status="canceled", broker_filled=filled)

    def shows_ended(self, which: int) -> None:
        """A sweep shows what has ended, perhaps before its fills have come."""
        if (cid := pick(self.sent, which)) and cid not in self.working:
            self.show(cid, Evidence.ENDED, broker_status="filled", broker_filled=self.filled(cid))

    def shows_replaces(self, which: int) -> None:
        for order in self.world.engine.open_orders():
            old = order.replaces_client_order_id
            if old is not None and order.client_order_id in self.working:
                new = order.client_order_id
                self.hear(Replaced, client_order_id=old, by_client_order_id=new, broker_order_id=f"b-{new}")
                self.show(old, Evidence.ENDED, broker_status="replaced", broker_filled=self.filled(old))

    def filled(self, cid: str) -> Decimal:
        """Shares the broker has filled of an order, told or not."""
        unseen = sum((q for c, q, _ in self.on_the_way if c == cid), ZERO)
        return self.world.engine.orders[cid].filled_qty + unseen

    # ------------------------------------------------------------------ people and news

    def batch(self, which: int) -> None:
        self.batches += 1
        weights = {s: (which * 7 + i * 11 + self.batches * 5) % 27 - 12 for i, s in enumerate(SYMBOLS)}
        chosen = list(weights.items())[: 1 + which % 4]
        targets = tuple(
            Target(f"{self.batches:08x}{i:024x}", s, Decimal(w) / 100) for i, (s, w) in enumerate(chosen)
        )
        policy = ExecutionPolicy(price=Price.PEG_NEAR if which % 3 == 0 else Price.COLLAR)
        strategy = "two" if which > 6 else "one"
        self.world.batch({}, targets=targets, batch_id=f"b{self.batches}", strategy=strategy, policy=policy)

    def news(self, which: int) -> None:
        """Bad one time in three."""
        some = BAD_NEWS if which % 3 == 0 else GOOD_NEWS
        kind, fields = some[(which + self.executions + self.batches) % len(some)]
        self.hear(kind, **fields)

    def second_source(self, which: int) -> None:
        equity = (None, Decimal(94_000), Decimal(100_000))[which % 3]
        self.hear(EquityConfirmed, equity=equity, source="broker")

    def kill(self, which: int) -> None:
        if which > 6:
            self.hear(Kill, who="ann", reason="test", flatten=which == 9)

    def kill_between(self, which: int) -> None:
        self.kill_next = which == 9

    def rearm(self, which: int) -> None:
        self.hear(Rearm, mode=Mode.READY, reason="looked into", rebase=True)
        self.rank = 0

    # ------------------------------------------------------------------ what always holds

    def check(self) -> None:
        """Every invariant."""
        self.the_mode_is_never_looser_than_it_was()
        self.the_book_is_what_was_told()
        self.the_lots_are_the_positions()
        self.what_works_at_the_broker_is_open_here()
        self.whatever_fills_the_gross_stays_under_its_limit()
        self.one_order_of_a_target_works_in_a_name()

    def one_order_of_a_target_works_in_a_name(self) -> None:
        orders = [self.world.engine.orders[cid] for cid in self.working]
        names = [o.symbol for o in orders if o.purpose == "target"]
        assert len(names) == len(set(names)), names

    def the_mode_is_never_looser_than_it_was(self) -> None:
        engine = self.world.engine
        rank = ORDER.index(engine.mode)
        if engine.mode is Mode.FLATTENING and engine.killed and engine.flatten:
            self.rank = min(self.rank, rank)  # from HALTED into FLATTENING a person has asked: the way out
        assert rank >= self.rank, f"{engine.mode} after {ORDER[self.rank]}"
        self.rank = rank

    def the_book_is_what_was_told(self) -> None:
        assert self.world.engine.book.positions == {s: q for s, q in self.told.items() if q}

    def the_lots_are_the_positions(self) -> None:
        book = self.world.engine.book
        assert {s: sum(lot.qty for lot in lots) for s, lots in book.lots.items()} == book.positions

    def what_works_at_the_broker_is_open_here(self) -> None:
        open_here = {o.client_order_id for o in self.world.engine.open_orders()}
        assert set(self.working) <= open_here

    def whatever_fills_the_gross_stays_under_its_limit(self) -> None:
        total = ZERO
        for symbol in SYMBOLS:
            held = self.truth.get(symbol, ZERO)
            orders = self.world.engine.orders
            mine = [(orders[c], q) for c, q in self.working.items() if orders[c].symbol == symbol]
            up = held + sum((q for o, q in mine if o.side == "buy"), ZERO)
            down = held - sum((q for o, q in mine if o.side == "sell"), ZERO)
            total += max(abs(up), abs(down)) * PRICE_MIN
        assert total <= GROSS * EQUITY_MAX

    # ------------------------------------------------------------------ and at the end

    def ends_flat(self) -> None:
        """The storm is over; whatever happened, a person gets out, and only then is it called flat."""
        for kind, fields in GOOD_NEWS:
            self.hear(kind, **fields)
        for symbol in SYMBOLS:
            self.hear(TradingStatus, symbol=symbol, code="T")
        self.tells_all_fills(0)
        self.hear(Kill, who="ann", reason="the end", flatten=True)
        for _ in range(60):
            self.quotes(Decimal(100))
            commands = self.world.tick(31)
            self.carry_out(commands)
            for cid in list(self.working):
                self.honest(cid)
            self.tells_all_fills(0)
            for order in self.world.engine.open_orders():
                if order.client_order_id not in self.working and order.client_order_id in self.sent:
                    self.show(order.client_order_id, Evidence.ENDED, broker_filled=order.filled_qty)
            if any(isinstance(c, ConfirmFlat) for c in commands):
                self.hear(BrokerFlat, positions={}, open_orders=("not seen before",))
                assert self.world.engine.mode is Mode.FLATTENING, "an open order is not flat"
                self.hear(BrokerFlat, positions={s: q for s, q in self.truth.items() if q}, open_orders=())
            if self.world.engine.mode is Mode.HALTED:
                break
        engine = self.world.engine
        assert engine.mode is Mode.HALTED, f"not flat: {engine.book.positions}, {engine.open_orders()}"
        assert not any(self.truth.values())

    def honest(self, cid: str) -> None:
        """A broker that does what it is asked: exits fill, the rest is cancelled."""
        order = self.world.engine.orders[cid]
        qty = self.working.pop(cid)
        if order.purpose == "flatten":
            self.truth[order.symbol] = self.truth.get(order.symbol, ZERO) + order.direction * qty
            self.on_the_way.append((cid, qty, Decimal(100)))
        else:
            self.show(cid, Evidence.ENDED, broker_filled=self.filled(cid))


SCRIPTS = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 9)), min_size=50, max_size=70)


@given(SCRIPTS)
@settings(max_examples=40, deadline=None)
def test_no_sequence_of_events_breaks_a_limit_loses_an_order_or_a_fill_loosens_a_mode_or_blocks_an_exit(
    script: list[tuple[str, int]],
) -> None:
    storm = Storm()
    storm.batch(3)
    for act, which in script:
        getattr(storm, act)(which)
        storm.check()
    storm.ends_flat()
