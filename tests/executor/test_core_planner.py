"""Schedules, prices, shapes and netting: what is sent when, at what limit, in what form."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from core_world import CLOSE, NOON, OPEN, SECOND, World
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.core import schedule
from executor.core.commands import Cancel, Command, FinishBatch, Intent, Reserve
from executor.core.events import Bars, Fill, InstrumentSeen, OrderEvidence, Target, Trade, TradingStatus
from executor.core.order_shape import misshapen
from executor.core.orders import Evidence, Leg
from executor.core.policy import ExecutionPolicy, Price, Schedule

SESSION = (OPEN, CLOSE)
CURVE = (0.30, 0.45, 0.55, 0.65, 0.75, 1.0)


def orders(commands: list[Command]) -> dict[str, tuple[str, Decimal]]:
    return {c.intent.symbol: (c.intent.side, c.intent.qty) for c in commands if isinstance(c, Reserve)}


def filled(world: World, commands: list[Command]) -> None:
    """Everything proposed is sent, taken and filled at its limit."""
    for submit in world.accept(commands):
        world.tell(
            Fill, execution_id=f"x-{submit.client_order_id}", client_order_id=submit.client_order_id,
            qty=submit.qty, price=submit.limit_price,
        )  # fmt: skip


# ---------------------------------------------------------------------- schedules

policies = st.builds(
    ExecutionPolicy,
    schedule=st.sampled_from([Schedule.IMMEDIATE, Schedule.TWAP, Schedule.VWAP]),
    slices=st.integers(1, 30),
    curve=st.sampled_from([(), CURVE]),
)
moments = st.integers(-60, 460).map(lambda minutes: OPEN + dt.timedelta(minutes=minutes))


@given(policies, moments, moments)
def test_what_is_released_stays_between_nothing_and_all_and_never_shrinks(
    policy: ExecutionPolicy, one: dt.datetime, other: dt.datetime
) -> None:
    early, late = sorted((one, other))
    start, end = OPEN + dt.timedelta(minutes=30), CLOSE - dt.timedelta(minutes=30)
    before, after = (schedule.released(policy, at, start, end, SESSION) for at in (early, late))
    assert 0 <= before <= after <= 1
    assert schedule.released(policy, end, start, end, SESSION) == 1


def test_a_twap_goes_out_in_equal_slices() -> None:
    policy = ExecutionPolicy(schedule=Schedule.TWAP, slices=4)
    hours = [schedule.released(policy, NOON + dt.timedelta(hours=h), NOON, CLOSE, SESSION) for h in range(4)]
    assert hours == [Decimal(k) / 4 for k in (1, 2, 3, 4)]


def test_a_vwap_follows_the_days_volume_curve() -> None:
    policy = ExecutionPolicy(schedule=Schedule.VWAP, curve=CURVE)
    sixth = (CLOSE - OPEN) / 6
    seen = [float(schedule.released(policy, OPEN + k * sixth, OPEN, CLOSE, SESSION)) for k in range(7)]
    assert seen == pytest.approx([0.0, *CURVE], abs=1e-6)
    half = schedule.released(policy, OPEN + sixth / 2, OPEN, CLOSE, SESSION)
    assert float(half) == pytest.approx(0.15)


@given(st.integers(0, 10**7), st.integers(1, 10**5))
def test_participation_never_takes_more_than_its_part_of_the_volume(printed: int, shares: int) -> None:
    policy = ExecutionPolicy(schedule=Schedule.PARTICIPATION, participation=Decimal("0.05"))
    fraction = schedule.participated(policy, printed, Decimal(shares))
    assert fraction * shares <= Decimal("0.05") * printed + Decimal("1e-9")
    assert 0 <= fraction <= 1


def test_a_schedule_holds_the_rest_back_and_the_batch_waits_for_it() -> None:
    world = World()
    world.batch({"AAA": "0.10"}, policy=ExecutionPolicy(schedule=Schedule.TWAP, slices=4))
    first = world.tick()
    assert orders(first) == {"AAA": ("buy", Decimal(25))}
    filled(world, first)
    commands = world.tick()
    assert orders(commands) == {}
    assert not any(isinstance(c, FinishBatch) for c in commands)
    world.at += dt.timedelta(hours=1)
    second = world.tick()
    assert orders(second) == {"AAA": ("buy", Decimal(25))}
    filled(world, second)
    world.at += dt.timedelta(hours=2, minutes=59)
    filled(world, world.tick())
    assert world.engine.book.positions == {"AAA": Decimal(100)}
    assert any(isinstance(c, FinishBatch) for c in world.tick())


def test_participation_counts_the_tape_from_the_batch_on() -> None:
    world = World()
    world.tell(Trade, symbol="AAA", price=Decimal(100), size=1_000_000)
    policy = ExecutionPolicy(schedule=Schedule.PARTICIPATION, participation=Decimal("0.10"))
    world.batch({"AAA": "0.10"}, policy=policy)
    assert orders(world.tick()) == {}
    world.tell(Trade, symbol="AAA", price=Decimal(100), size=400)
    assert orders(world.tick()) == {"AAA": ("buy", Decimal(40))}


@pytest.mark.parametrize(
    ("kind", "minutes_to_open", "minutes_to_close", "sent"),
    [
        (Schedule.OPEN, 3, None, "opg"), (Schedule.OPEN, 1, None, None),
        (Schedule.CLOSE, None, 11, "cls"), (Schedule.CLOSE, None, 9, None),
    ],
)  # fmt: skip
def test_an_auction_takes_orders_until_its_cut_off(
    kind: Schedule, minutes_to_open: int | None, minutes_to_close: int | None, sent: str | None
) -> None:
    world = World()
    world.at = (
        OPEN - dt.timedelta(minutes=minutes_to_open)
        if minutes_to_open is not None
        else CLOSE - dt.timedelta(minutes=minutes_to_close or 0)
    )
    world.engine.book.open_day(OPEN.date() - dt.timedelta(days=1), Decimal(100_000))
    world.batch({"AAA": "0.05"}, policy=ExecutionPolicy(schedule=kind))
    commands = world.tick()
    assert [c.intent.time_in_force for c in commands if isinstance(c, Reserve)] == ([sent] if sent else [])
    if sent is None:
        assert [c.note for c in commands if isinstance(c, FinishBatch)] == ["1 targets worked, 1 given up"]


def test_an_order_in_an_auction_is_not_cancelled_for_its_age() -> None:
    world = World(feed_silent_s="6000")
    world.at = CLOSE - dt.timedelta(hours=1)
    world.batch({"AAA": "0.05"}, policy=ExecutionPolicy(schedule=Schedule.CLOSE))
    world.accept(world.tick())
    assert not any(isinstance(c, Cancel) for c in world.tick(300))


@pytest.mark.parametrize(("extended", "sent"), [(True, True), (False, False)])
def test_outside_the_session_only_a_policy_that_says_so_trades(extended: bool, sent: bool) -> None:
    world = World()
    world.at = OPEN - dt.timedelta(hours=2)
    world.engine.book.open_day(OPEN.date() - dt.timedelta(days=1), Decimal(100_000))
    world.tell(InstrumentSeen, symbol="AAA", tradable=True, extended_hours=True)
    world.batch({"AAA": "0.05"}, policy=ExecutionPolicy(extended_hours=extended))
    intents = [c.intent for c in world.tick() if isinstance(c, Reserve)]
    assert [(i.extended_hours, i.order_type) for i in intents] == ([(True, "limit")] if sent else [])


# ---------------------------------------------------------------------- netting


def two(world: World, first: dict[str, str], second: dict[str, str], **fields: Any) -> None:
    for name, weights in (("one", first), ("two", second)):
        targets = tuple(
            Target(f"{i:031x}{name[0]}".replace("o", "a").replace("t", "b"), s, Decimal(w))
            for i, (s, w) in enumerate(weights.items())
        )
        world.batch({}, targets=targets, batch_id=name, strategy=name, capital=Decimal("0.5"), **fields)


def test_two_strategies_are_netted_and_never_trade_against_each_other() -> None:
    world = World()
    two(world, {"AAA": "0.10", "CCC": "0.10"}, {"AAA": "-0.10", "DDD": "0.10"})
    commands = world.tick()
    assert orders(commands) == {"CCC": ("buy", Decimal(50)), "DDD": ("buy", Decimal(50))}


def test_what_one_strategy_holds_is_counted_when_another_is_worked() -> None:
    world = World()
    two(world, {"AAA": "0.10"}, {"CCC": "0.10"})
    filled(world, world.tick())
    world.tick()
    assert world.engine.batch_finished
    target = Target(f"{7:032x}", "AAA", Decimal("0.04"))
    world.batch({}, targets=(target,), batch_id="b3", strategy="two", capital=Decimal("0.5"))
    assert orders(world.tick()) == {"AAA": ("buy", Decimal(19))}, "on top of the other's fifty"
    assert world.engine.works["two"].settled["CCC"] == 50, "and what it holds itself stays its own"


def test_after_a_restart_what_another_strategy_has_settled_is_told_and_stays_its_own() -> None:
    world = World(positions={"AAA": "50"}, cash="95000")
    targets = (Target(f"{8:032x}", "AAA", Decimal("0.10")),)
    world.batch({}, targets=targets, batch_id="b1", strategy="one", capital=Decimal("0.5"), settled=True)
    world.batch({"AAA": "0.04"}, batch_id="b2", strategy="two", capital=Decimal("0.5"))
    assert orders(world.tick()) == {"AAA": ("buy", Decimal(20))}


def test_what_an_unfinished_batch_has_reached_stays_its_strategys_own() -> None:
    world = World()
    world.batch({"AAA": "0.10", "DDD": "0.10"}, strategy="one", batch_id="b1")
    filled(world, world.tick())
    assert not world.engine.batch_finished
    targets = (Target(f"{9:032x}", "CCC", Decimal("0.05")),)
    world.batch({}, targets=targets, strategy="one", batch_id="b2")
    world.batch({"AAA": "0.02"}, strategy="two", batch_id="b3", legs={f"{1:032x}": 1})
    assert orders(world.tick())["AAA"] == ("buy", Decimal(19)), (
        "two shares of a hundred, on top of the first's"
    )


def test_a_target_between_two_whole_shares_is_not_traded_back_and_forth() -> None:
    world = World()
    world.tell(TradingStatus, symbol="BBB", code="H")  # so that the batch is not over
    policy = ExecutionPolicy(no_trade_band=Decimal(0), order_notional_min_usd=Decimal(0))
    world.batch({"AAA": "0.10", "BBB": "0.05"}, policy=policy)
    filled(world, world.tick())
    assert world.engine.book.positions == {"AAA": Decimal(100)}
    for mid in ("100.30", "99.90", "100.30", "99.20"):
        world.quote("AAA", str(Decimal(mid) - Decimal("0.01")), str(Decimal(mid) + Decimal("0.01")))
        assert "AAA" not in orders(world.tick())
    world.quote("AAA", "95.99", "96.01")
    assert orders(world.tick())["AAA"][0] == "buy", "four shares are an order"


def test_each_netted_order_names_its_strategy() -> None:
    world = World()
    two(world, {"AAA": "0.10"}, {"CCC": "0.10"})
    assert {c.intent.symbol: c.intent.strategy for c in world.tick() if isinstance(c, Reserve)} == {
        "AAA": "one",
        "CCC": "two",
    }


@given(
    st.fixed_dictionaries({s: st.integers(-4, 12) for s in ("AAA", "BBB")}),
    st.fixed_dictionaries({s: st.integers(4, 12) for s in ("AAA", "BBB")}),
)
@settings(max_examples=25, deadline=None)
def test_whatever_two_strategies_want_the_book_ends_at_their_sum(
    first: dict[str, int], second: dict[str, int]
) -> None:
    world = World(sector="1", single_name="1", gross="2", risk_per_trade="1", value_at_risk="1")
    two(
        world,
        {s: str(Decimal(w) / 100) for s, w in first.items()},
        {s: str(Decimal(w) / 100) for s, w in second.items()},
    )
    for _ in range(6):
        filled(world, world.tick())
    held = {s: world.engine.book.positions.get(s, Decimal(0)) for s in first}
    for symbol, qty in held.items():
        # each of the two is rounded to whole shares, and the last 200 USD may not be worth an order
        assert abs(qty - Decimal(first[symbol] + second[symbol]) * 5) <= 4


def test_a_new_batch_cancels_what_its_predecessor_has_working() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    cid = world.accept(world.tick())[0].client_order_id
    world.batch({"AAA": "0.02"}, batch_id="b2", legs={f"{1:032x}": 1})
    commands = world.tick()
    assert [c.client_order_id for c in commands if isinstance(c, Cancel)] == [cid]
    assert orders(commands) == {}
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_status="canceled")
    assert orders(world.tick()) == {"AAA": ("buy", Decimal(20))}


def test_an_expired_batchs_orders_are_cancelled() -> None:
    world = World()
    world.batch({"AAA": "0.05"}, valid_until=NOON + dt.timedelta(seconds=2))
    cid = world.accept(world.tick())[0].client_order_id
    world.tick(3)
    assert [c.client_order_id for c in world.tick() if isinstance(c, Cancel)] == [cid]


# ---------------------------------------------------------------------- shapes and prices

GOOD = Intent(
    client_order_id="sp-1", symbol="AAA", side="buy", qty=Decimal(10), limit_price=Decimal("100.01"),
    purpose="target", leg=1, signal_id="s", batch_id="b", arrival_price=Decimal(100), market_time=NOON,
    limit_version=1, inputs={}, checks=[], cost_estimate={},
)  # fmt: skip
LEGS = {"take_profit": Leg(limit_price=Decimal(110)), "stop_loss": Leg(stop_price=Decimal(95))}
SHAPES: list[tuple[dict[str, Any], bool, str]] = [
    ({}, False, ""),
    ({"qty": Decimal("1.5")}, False, ""),
    ({"qty": Decimal("1.5"), "time_in_force": "gtc"}, False, "for the day only"),
    ({"qty": Decimal("1.5"), "order_class": "bracket", **LEGS}, False, "no legs"),
    ({"qty": Decimal("1.5"), "side": "sell"}, True, "whole shares"),
    ({"qty": Decimal("0.0000000001")}, False, "nine decimals"),
    ({"qty": Decimal(0)}, False, "not positive"),
    ({"limit_price": Decimal("100.001")}, False, "100.001 is not on the tick"),
    ({"limit_price": Decimal("0.5001")}, False, ""),
    ({"extended_hours": True}, False, ""),
    ({"extended_hours": True, "order_type": "stop", "stop_price": Decimal(99)}, False, "extended hours"),
    ({"time_in_force": "opg"}, False, ""),
    ({"time_in_force": "opg", "order_type": "stop", "stop_price": Decimal(99)}, False, "limit orders only"),
    ({"time_in_force": "gtd"}, False, "time in force"),
    ({"order_type": "market"}, False, "type market"),
    ({"order_type": "stop"}, False, "stop price"),
    ({"order_type": "trailing_stop"}, False, "its trail"),
    ({"order_class": "bracket", **LEGS}, False, ""),
    ({"order_class": "bracket", "take_profit": LEGS["take_profit"]}, False, "both legs"),
    ({"order_class": "oto", **LEGS}, False, "exactly one leg"),
    ({"order_class": "", **LEGS}, False, "order class"),
    ({"order_class": "oto", "stop_loss": Leg(stop_price=Decimal(101))}, False, "before the entry"),
    ({"order_class": "oto", "take_profit": Leg(limit_price=Decimal(99))}, False, "beyond the entry"),
    ({"order_class": "oto", "stop_loss": LEGS["stop_loss"], "extended_hours": True}, False, "extended hours"),
    ({"client_order_id": "x" * 49}, False, "longer than 48"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "short", "why"), SHAPES)
def test_an_order_the_broker_would_refuse_for_its_form_is_not_sent(
    changed: dict[str, Any], short: bool, why: str
) -> None:
    order = Intent(**{f: getattr(GOOD, f) for f in GOOD.__struct_fields__} | changed)
    problem = misshapen(order, short=short)
    assert (why in problem) if why else problem == ""


def test_fractions_are_traded_where_the_policy_allows_them() -> None:
    world = World()
    world.tell(InstrumentSeen, symbol="AAA", tradable=True, fractionable=True)
    world.batch({"AAA": "0.00333"}, policy=ExecutionPolicy(fractional=True))
    assert orders(world.tick()) == {"AAA": ("buy", Decimal("3.33"))}


def test_a_price_pegged_to_the_middle_does_not_cross() -> None:
    world = World()
    world.quote("AAA", "99.98", "100.01")
    world.batch({"AAA": "0.05"}, policy=ExecutionPolicy(price=Price.PEG_MID))
    assert [c.intent.limit_price for c in world.tick() if isinstance(c, Reserve)] == [Decimal("99.99")]


# ---------------------------------------------------------------------- bars


def test_a_sessions_bars_are_quotes_and_marks() -> None:
    world = World(positions={"AAA": "100"}, cash="0")
    world.now_ns += SECOND
    column = np.array([50.0, 200.0, np.nan])
    world.tell(
        Bars, symbols=("AAA", "CCC", "DDD"), open=column, high=column, low=column, close=column,
        volume=np.array([1e6, 1e6, 0]), spread=np.array([0.0004, 0.0002, 0.0]),
    )  # fmt: skip
    world.tick()
    assert world.engine.equity == 5_000
    quote = world.engine.latest_quote("CCC")
    assert quote is not None
    assert (quote.bid, quote.ask) == (Decimal("199.98"), Decimal("200.02"))
    old = world.engine.latest_quote("DDD")
    assert old is not None
    assert old.bid == Decimal("99.99"), "a name that did not trade keeps its last quote"
    assert world.engine.volume_printed("AAA") == 1_000_000
