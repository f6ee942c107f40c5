"""The breakers: each trips at its bound and not just below, latches, and says why with numbers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from core_world import CLOSE, OPEN, SECOND, World
from hypothesis import given
from hypothesis import strategies as st

from executor.core import drawdown
from executor.core.breaker_page import markdown
from executor.core.breakers import BREAKERS
from executor.core.commands import Alert, Cancel, Command, ConfirmEquity, EnterMode, Reserve
from executor.core.equity_breakers import EQUITY_BREAKERS
from executor.core.events import (
    BrokerHealth,
    ClockOffset,
    EquityConfirmed,
    Event,
    Feed,
    FeedState,
    Fill,
    HeartbeatLost,
    HostState,
    ModelState,
    ModeSeen,
    OrderEvidence,
    OrderStreamState,
    PositionsDiffer,
    Rearm,
    TradingStatus,
)
from executor.core.modes import Mode
from executor.core.orders import Evidence


def modes(commands: list[Command]) -> list[Mode]:
    return [c.mode for c in commands if isinstance(c, EnterMode)]


def reasons(commands: list[Command]) -> str:
    return "; ".join(c.reason for c in commands if isinstance(c, EnterMode))


def fresh(world: World) -> None:
    """New quotes, so that nothing else is stale."""
    for symbol in ("AAA", "BBB", "CCC", "DDD"):
        world.quote(symbol, "99.99", "100.01")


HEARD: list[tuple[str, type[Event], dict[str, Any], dict[str, Any]]] = [
    # breaker, event, fields just inside, fields at the bound
    ("broker_errors", BrokerHealth, {"errors": 19, "rejects": 0, "latency_ms": 1.0}, {"errors": 20, "rejects": 0, "latency_ms": 1.0}),
    ("broker_rejects", BrokerHealth, {"errors": 0, "rejects": 9, "latency_ms": 1.0}, {"errors": 0, "rejects": 10, "latency_ms": 1.0}),
    ("broker_latency", BrokerHealth, {"errors": 0, "rejects": 0, "latency_ms": 4999.0}, {"errors": 0, "rejects": 0, "latency_ms": 5000.0}),
    ("clock_offset", ClockOffset, {"offset_ms": -499.0}, {"offset_ms": -500.0}),
    ("disk", HostState, {"disk_used": 0.949, "memory_used": 0.1, "loop_lag_ms": 1.0}, {"disk_used": 0.95, "memory_used": 0.1, "loop_lag_ms": 1.0}),
    ("memory", HostState, {"disk_used": 0.1, "memory_used": 0.949, "loop_lag_ms": 1.0}, {"disk_used": 0.1, "memory_used": 0.95, "loop_lag_ms": 1.0}),
    ("loop_lag", HostState, {"disk_used": 0.1, "memory_used": 0.1, "loop_lag_ms": 999.0}, {"disk_used": 0.1, "memory_used": 0.1, "loop_lag_ms": 1000.0}),
    ("heartbeat", HeartbeatLost, {"source": "sentinel", "silent_s": 29.9}, {"source": "sentinel", "silent_s": 30.0}),
    ("order_stream", OrderStreamState, {"up": True, "behind_s": 29.9}, {"up": True, "behind_s": 30.0}),
    ("model", ModelState, {"model_id": "m", "expires_at": CLOSE}, {"model_id": "m", "expires_at": OPEN}),
    ("model", ModelState, {"model_id": "m", "expires_at": CLOSE}, {"model_id": "m", "expires_at": CLOSE, "drifted": True}),
    ("model", ModelState, {"model_id": "m", "expires_at": CLOSE}, {"model_id": "m", "expires_at": CLOSE, "degraded": True}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "inside", "at"), HEARD)
def test_a_breaker_trips_at_its_bound_and_not_below(
    name: str, kind: type[Event], inside: dict[str, Any], at: dict[str, Any]
) -> None:
    world = World()
    assert modes(world.tell(kind, **inside)) == []
    commands = world.tell(kind, **at)
    assert modes(commands) == [Mode.CLOSE_ONLY]
    assert list(world.engine.tripped) == [name]
    assert any(c.isdigit() for c in reasons(commands)) or name == "model"


@pytest.mark.parametrize(("name", "kind", "inside", "at"), HEARD)
def test_a_breaker_stays_tripped_when_its_cause_is_gone(
    name: str, kind: type[Event], inside: dict[str, Any], at: dict[str, Any]
) -> None:
    world = World()
    world.tell(kind, **at)
    assert modes(world.tell(kind, **inside)) == []
    world.tick()
    assert world.engine.mode is Mode.CLOSE_ONLY
    world.tell(Rearm, mode=Mode.READY, reason="looked into")
    world.tick()
    assert world.engine.mode is Mode.READY
    assert modes(world.tell(kind, **at)) == [Mode.CLOSE_ONLY], "and trips again after a re-arm"


@pytest.mark.parametrize(("name", "kind", "inside", "at"), HEARD)
def test_a_breaker_says_it_once(
    name: str, kind: type[Event], inside: dict[str, Any], at: dict[str, Any]
) -> None:
    world = World()
    world.tell(kind, **at)
    assert world.tell(kind, **at) == []


def test_every_breaker_has_a_bound_that_is_a_limit_and_a_test_here() -> None:
    world = World()
    assert all(b.bound in world.engine.limits for b in BREAKERS if b.bound)
    assert all(b.bound in world.engine.limits for b in EQUITY_BREAKERS)
    tested = {row[0] for row in HEARD} | {"difference", "feed_silent", "order_rate", "self_inflicted_loop"}
    assert {b.name for b in BREAKERS} == tested


def test_an_unexplained_difference_halts() -> None:
    world = World()
    commands = world.tell(PositionsDiffer, reason="position AAA: ledger 10, broker 12")
    assert modes(commands) == [Mode.HALTED]
    assert "ledger 10, broker 12" in reasons(commands)


@pytest.mark.parametrize(("silent_s", "tripped"), [(59.8, False), (60.1, True)])
def test_a_silent_feed_trips_in_the_session(silent_s: float, tripped: bool) -> None:
    world = World(positions={"AAA": "10"})
    world.tick()
    fresh(world)
    assert (modes(world.tick(silent_s)) == [Mode.CLOSE_ONLY]) is tripped


def test_a_silent_feed_is_no_fault_overnight_nor_at_the_open() -> None:
    world = World(positions={"AAA": "10"})
    world.at = OPEN - dt.timedelta(hours=2)
    assert modes(world.tick(3600)) == []
    world.at = OPEN
    assert modes(world.tick(1)) == [], "the session has only just begun"
    assert modes(world.tick(61)) == [Mode.CLOSE_ONLY]


@pytest.mark.parametrize("state", [Feed.STALE, Feed.MUTE, Feed.CROSSED, Feed.DOWN])
def test_a_feed_that_is_not_live_blocks_at_once_and_trips_when_it_lasts(state: Feed) -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    world.tell(FeedState, feed="iex", state=state)
    assert not any(isinstance(c, Reserve) for c in world.tick())
    world.tell(FeedState, feed="iex", state=Feed.LIVE)
    assert any(isinstance(c, Reserve) for c in world.tick()), "a short doubt passes by itself"
    world.tell(FeedState, feed="iex", state=state)
    for _ in range(6):
        fresh(world)
        commands = world.tick(10.1)
    assert modes(commands) == [Mode.CLOSE_ONLY]


def test_doubt_about_one_names_feed_blocks_that_name_alone() -> None:
    world = World()
    world.batch({"AAA": "0.05", "CCC": "0.05"})
    world.tell(FeedState, feed="iex", state=Feed.CROSSED, symbol="AAA")
    assert [c.intent.symbol for c in world.tick() if isinstance(c, Reserve)] == ["CCC"]
    world.tell(FeedState, feed="iex", state=Feed.LIVE, symbol="AAA")
    assert [c.intent.symbol for c in world.tick() if isinstance(c, Reserve)] == ["AAA"]


def test_a_stream_of_updates_that_is_down_blocks_at_once_and_trips_when_it_lasts() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    world.tell(OrderStreamState, up=False)
    assert not any(isinstance(c, Reserve) for c in world.tick())
    fresh(world)
    assert modes(world.tick(29.8)) == []
    assert modes(world.tick(0.2)) == [Mode.CLOSE_ONLY]


def test_more_orders_than_any_plan_would_send_trip() -> None:
    world = World(orders_per_minute="2", order_notional_usd="1000")
    world.batch({"AAA": "0.10", "CCC": "0.10", "DDD": "0.10"})
    assert len(world.accept(world.tick())) == 3
    commands = world.tick()
    assert modes(commands) == [Mode.CLOSE_ONLY]
    assert any(isinstance(c, Cancel) for c in commands), "what adds risk is cancelled"


def test_buying_and_selling_one_name_in_turns_trips() -> None:
    world = World(turns="3")
    for i, weight in enumerate(("0.05", "0", "0.05", "0")):
        assert world.engine.mode is Mode.READY
        world.batch({"AAA": weight}, batch_id=f"b{i}", legs={f"{1:032x}": i})
        fresh(world)
        for submit in world.accept(world.tick()):
            fill = {"execution_id": f"x{i}", "qty": submit.qty, "price": submit.limit_price}
            world.tell(Fill, client_order_id=submit.client_order_id, **fill)
    commands = world.tick()
    assert modes(commands) == [Mode.CLOSE_ONLY]
    assert "(AAA)" in reasons(commands)


# ---------------------------------------------------------------------- money


def losing(loss: str, **changed: Any) -> World:
    """A world with 100,000 USD in one name that has just fallen by ``loss`` dollars of a hundred."""
    world = World(cash="0", positions={"AAA": "1000"}, **({"equity_confirm_s": "10"} | changed))
    world.tick()
    price = Decimal(100) - Decimal(loss)
    world.quote("AAA", str(price), str(price + Decimal("0.02")))
    return world


@pytest.mark.parametrize(("loss", "suspected"), [("4.99", False), ("5.00", True)])
def test_the_daily_loss_is_suspected_at_five_percent_of_the_days_opening_equity(
    loss: str, suspected: bool
) -> None:
    commands = losing(loss).tick()
    assert any(isinstance(c, ConfirmEquity) for c in commands) is suspected
    assert modes(commands) == [], "nothing trips before the second source has been asked"


def test_new_risk_is_blocked_while_the_second_source_is_asked_and_exits_are_not() -> None:
    world = losing("5.5")
    world.batch({"AAA": "0.5", "CCC": "0.05"})
    assert {c.intent.symbol for c in world.tick() if isinstance(c, Reserve)} == {"AAA"}, "the sale goes out"
    assert {c.intent.side for c in world.tick() if isinstance(c, Reserve)} <= {"sell"}


def test_a_confirmed_daily_loss_closes_the_way_to_new_risk() -> None:
    world = losing("5.5")
    world.tick()
    commands = world.tell(EquityConfirmed, equity=Decimal("94600"), source="broker account")
    assert modes(commands) == [Mode.CLOSE_ONLY]
    assert "5.50%" in reasons(commands)
    assert "94600.00" in reasons(commands)


@pytest.mark.parametrize(("waited_s", "tripped"), [(9.9, False), (10.1, True)])
def test_without_an_answer_the_daily_loss_trips_in_bounded_time(waited_s: float, tripped: bool) -> None:
    world = losing("5.5")
    world.tick()
    assert (modes(world.tick(waited_s)) == [Mode.CLOSE_ONLY]) is tripped


def test_a_second_source_that_cannot_say_trips_it() -> None:
    world = losing("5.5")
    world.tick()
    assert modes(world.tell(EquityConfirmed, equity=None, source="broker")) == [Mode.CLOSE_ONLY]


def test_one_bad_price_trips_nothing_when_the_second_source_contradicts_it() -> None:
    world = losing("40")
    world.tick()
    assert modes(world.tell(EquityConfirmed, equity=Decimal(100_000), source="broker")) == []
    fresh(world)
    world.tick()
    assert world.engine.doubt is None
    assert world.engine.mode is Mode.READY


def test_two_sources_that_go_on_contradicting_each_other_trip() -> None:
    world = losing("5.5")
    world.tick()
    seen: list[Mode] = []
    for _ in range(3):
        seen += modes(world.tell(EquityConfirmed, equity=Decimal(100_000), source="broker"))
        seen += modes(world.tick(10.1))
    assert seen == [Mode.CLOSE_ONLY]


def test_an_extreme_loss_flattens_but_only_on_a_yes() -> None:
    world = losing("12", drawdown="0.9")
    world.tick()
    assert modes(world.tick(10.1)) == [Mode.CLOSE_ONLY], "no answer closes, it does not sell everything"
    assert any(isinstance(c, ConfirmEquity) for c in world.tick(10.1))
    assert modes(world.tell(EquityConfirmed, equity=Decimal(88_000), source="broker")) == [Mode.FLATTENING]
    assert {c.intent.side for c in world.tick() if isinstance(c, Reserve)} == {"sell"}


def test_a_deeper_drawdown_cuts_again_and_a_recovery_does_not_restore() -> None:
    world = losing("12", daily_loss="0.9", extreme_loss="0.9", equity_confirm_s="0")
    world.tick()
    assert world.engine.mode is Mode.REDUCING
    first = world.engine.exposure_scale
    assert first == Decimal("0.5") * Decimal("0.08") / Decimal("0.10")
    world.quote("AAA", "84.99", "85.01")
    world.tick()
    deeper = world.engine.exposure_scale
    assert deeper < first
    world.quote("AAA", "99.99", "100.01")
    world.tick()
    assert world.engine.exposure_scale == deeper
    assert world.engine.mode is Mode.REDUCING
    world.tell(Rearm, mode=Mode.READY, reason="accepted", rebase=True)
    assert world.engine.exposure_scale == 1


@given(st.decimals("0", "0.5", places=4), st.decimals("0", "0.5", places=4))
def test_the_drawdown_curve_never_rises_with_the_loss(one: Decimal, other: Decimal) -> None:
    limits = World().engine.limits
    low, high = sorted((one, other))
    assert 0 <= drawdown.scale(high, limits) <= drawdown.scale(low, limits) <= 1


def test_the_drawdown_curve_has_the_published_points() -> None:
    limits = World().engine.limits
    points = {"0.0999": "1", "0.10": "0.5", "0.15": "0.25", "0.1999": "0.0005", "0.20": "0", "0.6": "0"}
    assert {d: drawdown.scale(Decimal(d), limits) for d in points} == {
        d: Decimal(v) for d, v in points.items()
    }


# ---------------------------------------------------------------------- modes


def test_the_ledgers_mode_only_tightens_and_a_rearm_needs_a_reason() -> None:
    world = World(mode=Mode.CLOSE_ONLY)
    world.tell(ModeSeen, mode=Mode.READY, killed=False, flatten=False)
    assert world.engine.mode is Mode.CLOSE_ONLY
    world.tell(Rearm, mode=Mode.READY, reason=" ")
    assert world.engine.mode is Mode.CLOSE_ONLY
    world.tell(Rearm, mode=Mode.READY, reason="found the cause")
    assert world.engine.mode is Mode.READY


def test_a_rearm_decided_before_the_last_tightening_does_not_undo_it() -> None:
    world = World()
    world.tick()
    asked_ns = world.now_ns - SECOND
    world.tell(PositionsDiffer, reason="cash")
    world.tell(Rearm, mode=Mode.READY, reason="an older cause", asked_ns=asked_ns)
    assert world.engine.mode is Mode.HALTED


# ---------------------------------------------------------------------- one name


def test_a_halt_cancels_what_adds_risk_in_the_name_and_a_resumption_plans_it_anew() -> None:
    world = World()
    world.batch({"AAA": "0.05", "CCC": "0.05"})
    sent = {s.symbol: s for s in world.accept(world.tick())}
    commands = world.tell(TradingStatus, symbol="AAA", code="H", reason="T1")
    assert [c.client_order_id for c in commands if isinstance(c, Cancel)] == [sent["AAA"].client_order_id]
    world.tell(OrderEvidence, client_order_id=sent["AAA"].client_order_id, evidence=Evidence.ENDED)
    assert not any(isinstance(c, Reserve) for c in world.tick())
    world.tell(TradingStatus, symbol="AAA", code="Q")
    assert not any(isinstance(c, Reserve) for c in world.tick()), "quotation is not trading"
    world.tell(TradingStatus, symbol="AAA", code="T", reason="T3")
    assert [c.intent.symbol for c in world.tick() if isinstance(c, Reserve)] == ["AAA"]


def test_a_status_nobody_knows_counts_as_a_halt() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    world.tell(TradingStatus, symbol="AAA", code="Z9")
    assert not any(isinstance(c, Reserve) for c in world.tick())


@pytest.mark.parametrize(
    ("mid", "blocked"), [("109.9", False), ("110.1", True), ("90.1", False), ("89.9", True)]
)
def test_a_price_that_jumped_takes_no_new_risk_until_it_has_stood(mid: str, blocked: bool) -> None:
    world = World(price_collar="0.5")
    world.batch({"AAA": "0.05"})
    world.quote("AAA", str(Decimal(mid) - Decimal("0.01")), str(Decimal(mid) + Decimal("0.01")))
    commands = world.tick()
    assert any(isinstance(c, Reserve) for c in commands) is not blocked
    assert any(isinstance(c, Alert) and c.kind == "price_jump" for c in commands) is blocked
    if blocked:
        world.now_ns += 30 * SECOND
        world.quote("AAA", str(Decimal(mid) - Decimal("0.01")), str(Decimal(mid) + Decimal("0.01")))
        assert any(isinstance(c, Reserve) for c in world.tick())


def test_the_page_is_what_the_breakers_generate() -> None:
    page = Path(__file__).parents[2] / "docs/breakers.md"
    assert page.read_text() == markdown(), "python -m executor.core.breaker_page > docs/breakers.md"


def test_the_page_names_every_bound_of_a_breaker() -> None:
    bounds = {b.bound for b in (*BREAKERS, *EQUITY_BREAKERS) if b.bound}
    bounds |= {"equity_confirm_s", "drawdown_scale", "drawdown_stop", "price_jump", "price_jump_rest_s"}
    assert all(f"`{bound}`" in markdown() for bound in bounds)
