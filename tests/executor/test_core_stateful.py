"""The engine against a broker that does anything a broker may do, in any order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from core_world import SYMBOLS, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from slow_exposure import assert_equal_to_a_recount

from executor.core.commands import Cancel, Command, Reserve, Submit
from executor.core.events import Fill, ModeSeen, OrderEvidence, Rearm, Reserved
from executor.core.known import as_order
from executor.core.modes import Mode
from executor.core.orders import Evidence

WEIGHTS = {"AAA": "0.10", "BBB": "0.08", "CCC": "0.05", "DDD": "0.10"}
GROSS = Decimal("0.40")


class Market(RuleBasedStateMachine):
    """Orders at a broker of our own, each with what it has filled and whether it still works."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(gross=str(GROSS), single_name="0.12", sector="0.40")
        self.world.batch(WEIGHTS)
        self.working: dict[str, Decimal] = {}
        """Client id → shares the broker may still fill."""
        self.filled_unseen: list[tuple[str, Decimal, Decimal]] = []
        self.sent: set[str] = set()
        self.seen_submit: set[str] = set()
        self.executions = 0
        self.killed = False

    def carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Reserve):
                cid = command.intent.client_order_id
                assert cid is not None
                assert cid not in self.sent, "an id is used once"
                self.sent.add(cid)
                self.carry_out(self.world.tell(Reserved, client_order_id=cid, ok=True, reason=""))
            elif isinstance(command, Submit):
                assert not self.killed, "nothing is sent after a kill was seen"
                assert command.client_order_id not in self.seen_submit, "sent once"
                self.seen_submit.add(command.client_order_id)
                self.working[command.client_order_id] = command.qty

    def show(self, cid: str, evidence: Evidence, **more: Any) -> None:
        self.carry_out(
            self.world.tell(
                OrderEvidence, client_order_id=cid, evidence=evidence, broker_order_id=f"b-{cid}", **more
            )
        )

    def known(self, data: st.DataObject, ids: set[str]) -> str:
        return data.draw(st.sampled_from(sorted(ids)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 31.0]), price=st.integers(9_700, 10_300))
    def time_passes(self, seconds: float, price: int) -> None:
        mid = Decimal(price) / 100
        for symbol in SYMBOLS:
            self.world.quote(symbol, str(mid - Decimal("0.01")), str(mid + Decimal("0.01")))
        commands = self.world.tick(seconds)
        self.carry_out(commands)
        for command in commands:
            if isinstance(command, Cancel):
                assert command.client_order_id in self.seen_submit

    @precondition(lambda self: self.seen_submit)
    @rule(data=st.data(), evidence=st.sampled_from([Evidence.WORKING, Evidence.AMBIGUOUS]))
    def the_broker_answers_or_not(self, data: st.DataObject, evidence: Evidence) -> None:
        self.show(self.known(data, self.seen_submit), evidence)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), part=st.sampled_from([Decimal("0.3"), Decimal(1)]))
    def an_order_fills_unseen(self, data: st.DataObject, part: Decimal) -> None:
        cid = self.known(data, set(self.working))
        qty = max(Decimal(1), (self.working[cid] * part).to_integral_value())
        self.working[cid] -= qty
        if self.working[cid] == 0:
            del self.working[cid]
        self.filled_unseen.append((cid, qty, Decimal("100.00")))

    @precondition(lambda self: self.filled_unseen)
    @rule(data=st.data())
    def a_fill_arrives_late_and_in_any_order(self, data: st.DataObject) -> None:
        i = data.draw(st.integers(0, len(self.filled_unseen) - 1))
        cid, qty, price = self.filled_unseen.pop(i)
        self.executions += 1
        self.carry_out(
            self.world.tell(
                Fill, execution_id=str(self.executions), client_order_id=cid, qty=qty, price=price
            )
        )

    @precondition(lambda self: self.seen_submit)
    @rule(data=st.data())
    def the_broker_says_it_is_over(self, data: st.DataObject) -> None:
        """Filled, canceled or expired, possibly before the fills themselves have arrived."""
        cid = self.known(data, self.seen_submit)
        self.working.pop(cid, None)
        order = self.world.engine.orders[cid]
        unseen = sum((q for c, q, _ in self.filled_unseen if c == cid), Decimal(0))
        self.show(cid, Evidence.ENDED, broker_status="canceled", broker_filled=order.filled_qty + unseen)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def the_broker_shows_it_filled_before_the_fill_arrives(self, data: st.DataObject) -> None:
        cid = self.known(data, set(self.working))
        self.filled_unseen.append((cid, self.working.pop(cid), Decimal("100.00")))
        self.show(
            cid, Evidence.ENDED, broker_status="filled", broker_filled=self.world.engine.orders[cid].qty
        )

    @rule()
    def a_person_kills(self) -> None:
        self.killed = True
        self.world.tell(ModeSeen, mode=Mode.HALTED, killed=True, flatten=False)

    @rule()
    def a_person_rearms(self) -> None:
        self.killed = False
        self.world.tell(Rearm, mode=Mode.READY, reason="looked into")

    @invariant()
    def the_gate_sees_the_book_as_it_is(self) -> None:
        engine = self.world.engine
        orders = [*engine.orders.values(), *(as_order(intent) for intent in engine.intents.values())]
        assert_equal_to_a_recount(
            engine.exposure, engine.book, orders, engine.quotes, engine.sectors, engine.snapshot
        )

    @invariant()
    def one_order_a_symbol_may_still_fill(self) -> None:
        symbols = [self.world.engine.orders[cid].symbol for cid in self.working]
        assert len(symbols) == len(set(symbols))

    @invariant()
    def whatever_the_broker_fills_the_targets_are_not_passed(self) -> None:
        """Held, on its way to us, and still working, together: never more than the target."""
        held = dict(self.world.engine.book.positions)
        for cid, qty, _ in self.filled_unseen:
            order = self.world.engine.orders[cid]
            held[order.symbol] = held.get(order.symbol, Decimal(0)) + order.direction * qty
        for cid, qty in self.working.items():
            order = self.world.engine.orders[cid]
            if order.side == "buy":
                held[order.symbol] = held.get(order.symbol, Decimal(0)) + qty
        for symbol, shares in held.items():
            # sized on the first equity and the quote of the moment, which is never below 97
            assert shares <= Decimal(WEIGHTS[symbol]) * 100_000 / 97

    @invariant()
    def worst_case_gross_stays_under_the_limit(self) -> None:
        total = Decimal(0)
        for symbol in SYMBOLS:
            held = self.world.engine.book.positions.get(symbol, Decimal(0))
            held += sum(
                (q for c, q, _ in self.filled_unseen if self.world.engine.orders[c].symbol == symbol),
                Decimal(0),
            )
            held += sum(
                (q for c, q in self.working.items() if self.world.engine.orders[c].symbol == symbol),
                Decimal(0),
            )
            total += abs(held) * 97
        assert total <= GROSS * 104_000


TestMarket = Market.TestCase
TestMarket.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
