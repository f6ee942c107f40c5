"""Fills in any state and order, orders of unknown fate, replaces, legs, and the way to flat."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from core_world import CLOSE, SECOND, World

from executor.core.commands import (
    Alert,
    Cancel,
    Command,
    ConfirmFlat,
    EnterMode,
    Record,
    Replace,
    Reserve,
    Submit,
)
from executor.core.events import (
    BrokerFlat,
    CorporateAction,
    Fill,
    Kill,
    LegShown,
    OrderEvidence,
    Rearm,
    Replaced,
    Reserved,
    Target,
    TradingStatus,
)
from executor.core.modes import Mode
from executor.core.orders import Evidence, State
from executor.core.policy import ExecutionPolicy, Price


def working(world: World, weight: str = "0.05", **fields: Any) -> str:
    """One buy order for fifty shares of AAA, taken by the broker; its id."""
    world.batch({"AAA": weight}, **fields)
    return world.accept(world.tick())[0].client_order_id


def unknown(world: World) -> str:
    """The same, whose fate nobody knows."""
    world.batch({"AAA": "0.05"})
    cid = next(c for c in world.tick() if isinstance(c, Reserve)).intent.client_order_id
    assert cid is not None
    world.tell(Reserved, client_order_id=cid, ok=True, reason="")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.AMBIGUOUS, reason="timeout")
    return cid


def fill(world: World, cid: str, qty: str, key: str = "x1", price: str = "100.01") -> list[Command]:
    return world.tell(Fill, execution_id=key, client_order_id=cid, qty=Decimal(qty), price=Decimal(price))


def kinds(commands: list[Command]) -> list[str]:
    return [c.kind for c in commands if isinstance(c, Alert)]


# ---------------------------------------------------------------------- fills


def test_an_execution_told_twice_is_booked_once() -> None:
    world = World()
    cid = working(world)
    fill(world, cid, "20")
    assert fill(world, cid, "20") == []
    assert world.engine.book.positions == {"AAA": Decimal(20)}
    assert world.engine.orders[cid].filled_qty == 20


def test_an_order_filled_whole_is_over_whatever_the_broker_says_next() -> None:
    world = World()
    cid = working(world)
    fill(world, cid, "20")
    commands = fill(world, cid, "30", "x2")
    assert [c.state for c in commands if isinstance(c, Record)] == [State.DONE]
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.WORKING)
    assert world.engine.orders[cid].state is State.DONE


def test_a_fill_before_the_sends_own_answer_shows_that_it_arrived() -> None:
    world = World()
    cid = unknown(world)
    commands = fill(world, cid, "10")
    assert world.engine.orders[cid].state is State.LIVE
    assert [c.state for c in commands if isinstance(c, Record)] == [State.LIVE]


def test_an_order_that_ended_with_fills_on_the_way_ends_with_the_last_of_them() -> None:
    world = World()
    cid = working(world)
    ended = {"evidence": Evidence.ENDED, "broker_status": "canceled", "broker_filled": Decimal(30)}
    world.tell(OrderEvidence, client_order_id=cid, **ended)
    assert world.engine.orders[cid].is_open
    fill(world, cid, "10", "x1")
    assert world.engine.orders[cid].is_open
    fill(world, cid, "20", "x2")
    assert world.engine.orders[cid].state is State.DONE


def test_a_late_fill_is_booked_and_told() -> None:
    world = World()
    cid = working(world)
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_status="canceled")
    commands = fill(world, cid, "10")
    assert world.engine.book.positions == {"AAA": Decimal(10)}
    assert kinds(commands) == ["late_fill"]
    assert world.engine.mode is Mode.READY, "odd, but no proof of ours was wrong"


@pytest.mark.parametrize("end", [Evidence.REFUSED, Evidence.ABSENT])
def test_a_fill_of_an_order_proven_never_to_trade_is_booked_and_halts(end: Evidence) -> None:
    world = World()
    cid = unknown(world)
    world.at, world.now_ns = CLOSE, world.now_ns + 10 * SECOND
    world.tell(OrderEvidence, client_order_id=cid, evidence=end)
    commands = fill(world, cid, "10")
    assert world.engine.book.positions == {"AAA": Decimal(10)}
    assert world.engine.mode is Mode.HALTED
    assert "late_fill" in kinds(commands)


def test_more_filled_than_was_asked_halts() -> None:
    world = World()
    cid = working(world)
    fill(world, cid, "51")
    assert world.engine.mode is Mode.HALTED
    assert world.engine.book.positions == {"AAA": Decimal(51)}, "what happened is booked"


def test_a_fill_of_an_order_that_is_not_ours_halts() -> None:
    world = World()
    fill(world, "somebody-elses", "10")
    assert world.engine.mode is Mode.HALTED
    assert world.engine.book.positions == {}


# ---------------------------------------------------------------------- unknown fate


def looked_for(world: World, cid: str, times: int) -> None:
    for _ in range(times):
        world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.NOT_FOUND)


@pytest.mark.parametrize(("waited_s", "looks", "again"), [(60, 3, True), (59, 3, False), (60, 2, False)])
def test_the_same_id_is_sent_again_after_a_minute_and_three_looks(
    waited_s: int, looks: int, again: bool
) -> None:
    world = World(feed_silent_s="600")
    cid = unknown(world)
    looked_for(world, cid, looks)
    world.now_ns += (waited_s - 1) * SECOND
    world.quote("AAA", "99.99", "100.01")
    sent = [c for c in world.tick(1) if isinstance(c, Submit)]
    assert [(c.client_order_id, c.repeat) for c in sent] == ([(cid, True)] if again else [])
    assert world.engine.orders[cid].state is (State.SENDING if again else State.UNKNOWN)


@pytest.mark.parametrize("why", ["mode", "price", "batch"])
def test_an_unknown_order_is_not_sent_again_if_a_check_fails_now(why: str) -> None:
    world = World(feed_silent_s="600")
    cid = unknown(world)
    looked_for(world, cid, 3)
    world.now_ns += 60 * SECOND
    world.quote("AAA", "90.99", "91.01") if why == "price" else world.quote("AAA", "99.99", "100.01")
    if why == "mode":
        world.engine.tighten(Mode.CLOSE_ONLY, "test")
    if why == "batch":
        world.batch({"CCC": "0.05"}, batch_id="b2")
    assert [c for c in world.tick() if isinstance(c, Submit)] == []
    assert world.engine.orders[cid].state is State.UNKNOWN


def test_an_unknown_order_is_sent_three_times_at_most() -> None:
    world = World(feed_silent_s="6000")
    cid = unknown(world)
    sends = 0
    for _ in range(6):
        looked_for(world, cid, 3)
        world.now_ns += 61 * SECOND
        world.quote("AAA", "99.99", "100.01")
        sends += sum(isinstance(c, Submit) for c in world.tick())
        world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.AMBIGUOUS)
    assert sends == 2, "once at first, twice again"


@pytest.mark.parametrize(
    ("closed", "waited_s", "proof"), [(True, 10, True), (True, 9, False), (False, 10, False)]
)
def test_never_sent_is_believed_only_after_the_close_and_the_longest_request(
    closed: bool, waited_s: int, proof: bool
) -> None:
    world = World()
    cid = unknown(world)
    world.at = CLOSE if closed else world.at
    world.now_ns += waited_s * SECOND
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ABSENT)
    assert world.engine.orders[cid].state is (State.EXPIRED_UNSENT if proof else State.UNKNOWN)


# ---------------------------------------------------------------------- replaces


def pegged(world: World, replaces_max: int = 2) -> str:
    policy = ExecutionPolicy(price=Price.PEG_NEAR, replaces_max=replaces_max)
    return working(world, policy=policy)


def moved(world: World, bid: str, ask: str) -> list[Command]:
    world.now_ns += 2 * SECOND
    world.quote("AAA", bid, ask)
    return world.tick(0.1)


def test_a_pegged_order_follows_its_side_by_replacement_under_a_new_id() -> None:
    world = World()
    cid = pegged(world)
    assert world.engine.orders[cid].limit_price == Decimal("99.99")
    reserve = next(c for c in moved(world, "100.02", "100.04") if isinstance(c, Reserve))
    assert reserve.intent.replaces_client_order_id == cid
    new = reserve.intent.client_order_id
    assert new is not None
    answers = world.tell(Reserved, client_order_id=new, ok=True, reason="")
    asked = next(a for a in answers if isinstance(a, Replace))
    assert (asked.broker_order_id, asked.limit_price) == (f"broker-{cid}", Decimal("100.02"))
    world.tell(Replaced, client_order_id=cid, by_client_order_id=new, broker_order_id="broker-2")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_status="replaced")
    assert world.engine.orders[cid].state is State.DONE
    assert world.engine.orders[new].state is State.LIVE
    assert world.engine.orders[new].broker_order_id == "broker-2"
    fill(world, new, "50")
    assert world.engine.book.positions == {"AAA": Decimal(50)}


def test_replaces_are_bounded_then_the_spread_is_crossed() -> None:
    world = World()
    cid = pegged(world, replaces_max=2)
    prices = []
    for i in range(3):
        bid = Decimal("100.02") + i * Decimal("0.02")
        reserve = next(
            c for c in moved(world, str(bid), str(bid + Decimal("0.02"))) if isinstance(c, Reserve)
        )
        new = reserve.intent.client_order_id
        assert new is not None
        prices.append((reserve.intent.limit_price > bid, reserve.intent.limit_price))
        world.tell(Reserved, client_order_id=new, ok=True, reason="")
        world.tell(Replaced, client_order_id=cid, by_client_order_id=new, broker_order_id=f"broker-{new}")
        world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_status="replaced")
        cid = new
    assert [crosses for crosses, _ in prices] == [False, False, True]


def test_an_order_that_has_begun_to_fill_is_not_replaced() -> None:
    world = World()
    cid = pegged(world)
    fill(world, cid, "10")
    assert not any(isinstance(c, Reserve) for c in moved(world, "100.02", "100.04"))


def test_an_order_the_broker_has_not_named_yet_is_never_replaced_by_a_second_one() -> None:
    world = World()
    world.batch({"AAA": "0.05"}, policy=ExecutionPolicy(price=Price.PEG_NEAR))
    cid = next(c for c in world.tick() if isinstance(c, Reserve)).intent.client_order_id
    world.tell(Reserved, client_order_id=cid, ok=True, reason="")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.WORKING)
    assert not any(isinstance(c, Reserve | Submit) for c in moved(world, "100.02", "100.04"))


def test_a_replacement_whose_original_filled_meanwhile_is_withdrawn_or_cancelled() -> None:
    world = World()
    cid = pegged(world)
    new = next(c for c in moved(world, "100.02", "100.04") if isinstance(c, Reserve)).intent.client_order_id
    fill(world, cid, "10")
    answers = world.tell(Reserved, client_order_id=new, ok=True, reason="")
    assert [a.state for a in answers if isinstance(a, Record)] == [State.VOID]
    assert not any(isinstance(a, Replace) for a in answers)


def test_an_order_replaced_by_a_stranger_halts() -> None:
    world = World()
    cid = working(world)
    world.tell(Replaced, client_order_id=cid, by_client_order_id="by-hand", broker_order_id="b9")
    assert world.engine.mode is Mode.HALTED


# ---------------------------------------------------------------------- legs


def bracket(world: World) -> str:
    """An entry with a take-profit and a stop, both legs shown as held."""
    target = Target(f"{1:032x}", "AAA", Decimal("0.05"), Decimal("95"), Decimal("110"))
    world.batch({}, targets=(target,))
    submit = world.accept(world.tick())[0]
    assert submit.order_class == "bracket"
    assert submit.stop_loss is not None
    assert submit.stop_loss.stop_price == 95
    assert submit.take_profit is not None
    assert submit.take_profit.limit_price == 110
    for cid, prices in (("tp", {"limit_price": Decimal(110)}), ("sl", {"stop_price": Decimal(95)})):
        world.tell(
            LegShown, parent_client_order_id=submit.client_order_id, client_order_id=cid,
            broker_order_id=f"b-{cid}", symbol="AAA", side="sell", qty=Decimal(50), status="held", **prices,
        )  # fmt: skip
    return submit.client_order_id


def test_the_held_legs_of_a_bracket_are_orders_of_ours_and_are_not_stale() -> None:
    world = World(feed_silent_s="600")
    entry = bracket(world)
    assert {o.client_order_id for o in world.engine.open_orders()} == {entry, "tp", "sl"}
    fill(world, entry, "50")
    assert not any(isinstance(c, Cancel) for c in world.tick(31))
    fill(world, "sl", "50", "x2", "94.90")
    assert world.engine.book.positions == {}
    world.tell(OrderEvidence, client_order_id="tp", evidence=Evidence.ENDED, broker_status="canceled")
    assert world.engine.open_orders() == ()


def test_a_leg_of_an_order_that_is_not_ours_halts() -> None:
    world = World()
    world.tell(
        LegShown, parent_client_order_id="not-ours", client_order_id="tp", broker_order_id="b", symbol="AAA",
        side="sell", qty=Decimal(1), status="held",
    )  # fmt: skip
    assert world.engine.mode is Mode.HALTED


def test_protection_is_cancelled_before_its_name_is_sold() -> None:
    world = World()
    entry = bracket(world)
    fill(world, entry, "50")
    world.batch({"AAA": "0"}, batch_id="b2", legs={f"{1:032x}": 1})
    commands = world.tick()
    assert {c.client_order_id for c in commands if isinstance(c, Cancel)} == {"tp", "sl"}
    assert not any(isinstance(c, Reserve) for c in commands)
    for leg in ("tp", "sl"):
        world.tell(OrderEvidence, client_order_id=leg, evidence=Evidence.ENDED, broker_status="canceled")
    assert [(c.intent.side, c.intent.qty) for c in world.tick() if isinstance(c, Reserve)] == [
        ("sell", Decimal(50))
    ]


# ---------------------------------------------------------------------- stopping and getting flat


def test_a_kill_cancels_at_once_and_sends_nothing_until_a_person_rearms() -> None:
    world = World()
    cid = working(world)
    commands = world.tell(Kill, who="ann", reason="looks wrong")
    assert [c.client_order_id for c in commands if isinstance(c, Cancel)] == [cid]
    assert [c.mode for c in commands if isinstance(c, EnterMode)] == [Mode.HALTED]
    assert not any(isinstance(c, Reserve | Submit) for c in world.tick(31))
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_status="canceled")
    world.tell(Rearm, mode=Mode.READY, reason="it was not")
    world.quote("AAA", "99.99", "100.01")
    assert any(isinstance(c, Reserve) for c in world.tick())


def test_orders_that_do_not_end_after_a_kill_are_named_to_a_person() -> None:
    world = World()
    cid = working(world)
    world.tell(Kill, who="ann", reason="looks wrong")
    world.tick()
    alerts = [c for c in world.tick(30) if isinstance(c, Alert) and c.kind == "cancel_pending"]
    assert len(alerts) == 1
    assert cid in alerts[0].body
    assert "cancel_pending" not in kinds(world.tick(30)), "told once a minute"
    assert "cancel_pending" in kinds(world.tick(31))


def test_flat_is_said_only_when_the_broker_shows_nothing() -> None:
    world = World(positions={"AAA": "40"}, cash="96000")
    cid = working(world, weight="0.08")
    world.tell(Kill, who="ann", reason="enough", flatten=True)
    assert not any(isinstance(c, Reserve) for c in world.tick()), "the open buy may still fill"
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_status="canceled")
    sell = world.accept(world.tick())[0]
    assert (sell.side, sell.qty) == ("sell", Decimal(40))
    assert not any(isinstance(c, ConfirmFlat) for c in world.tick())
    fill(world, sell.client_order_id, "40", price="99.90")
    assert any(isinstance(c, ConfirmFlat) for c in world.tick())
    assert "not_flat" in kinds(world.tell(BrokerFlat, positions={"AAA": Decimal(3)}, open_orders=()))
    assert world.engine.mode is Mode.FLATTENING
    assert any(isinstance(c, ConfirmFlat) for c in world.tick(2)), "asked until the answer is empty"
    commands = world.tell(BrokerFlat, positions={}, open_orders=())
    assert kinds(commands) == ["flat"]
    assert world.engine.mode is Mode.HALTED


def test_a_halted_name_is_reported_while_flattening_and_never_forgotten() -> None:
    world = World(positions={"AAA": "40"}, mode=Mode.FLATTENING)
    world.tell(TradingStatus, symbol="AAA", code="H", reason="T12")
    alerts = [c for c in world.tick() if isinstance(c, Alert) and c.kind == "cannot_close"]
    assert "40 AAA: AAA halted (T12)" in alerts[0].body
    assert "cannot_close" not in kinds(world.tick(59))
    assert "cannot_close" in kinds(world.tick(2))


def test_a_name_without_any_price_is_reported_while_flattening() -> None:
    world = World(positions={"ZZZ": "7"}, mode=Mode.FLATTENING)
    alerts = [c for c in world.tick() if isinstance(c, Alert) and c.kind == "cannot_close"]
    assert "7 ZZZ: no quote" in alerts[0].body


def test_an_exit_that_did_not_fill_is_priced_further_through_up_to_the_collar() -> None:
    world = World(positions={"AAA": "40"}, mode=Mode.FLATTENING)
    limits = []
    for _ in range(5):
        world.quote("AAA", "99.99", "100.01")
        sell = world.accept(world.tick())[0]
        limits.append(sell.limit_price)
        world.quote("AAA", "99.99", "100.01")
        world.tick(31)
        world.tell(OrderEvidence, client_order_id=sell.client_order_id, evidence=Evidence.ENDED)
    assert limits == sorted(limits, reverse=True)
    assert limits[0] == Decimal("99.94")
    assert limits[-1] == Decimal("97.99"), "two percent through the bid and no further"


def test_a_corporate_action_voids_prices_orders_and_targets_of_its_name() -> None:
    world = World(positions={"AAA": "40", "CCC": "10"}, cash="96000")
    cid = working(world, weight="0.08")
    commands = world.tell(CorporateAction, symbol="AAA", kind="split 2:1", shares=Decimal(40))
    assert [c.client_order_id for c in commands if isinstance(c, Cancel)] == [cid]
    assert world.engine.book.positions["AAA"] == 80
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_status="canceled")
    world.quote("AAA", "49.99", "50.01")
    assert not any(isinstance(c, Reserve) for c in world.tick()), "its target was made before the split"
