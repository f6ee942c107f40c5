"""Each limit: a breach is refused, the case just inside passes, an unknown input refuses."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from core_world import LIMITS, World, snapshot

from executor.core import gate, planner
from executor.core.commands import Refuse, Reserve
from executor.core.limits import LIMITS as GATE
from executor.core.modes import Mode
from executor.settings import LimitSettings

CORE = Path(__file__).parents[2] / "executor/core"


def judge(world: World, symbol: str, side: str, qty: str, price: str = "100.01") -> gate.Ruling:
    world.engine._mark(_timer(world))
    proposal = world.engine._proposal(planner.Draft(symbol, side, Decimal(qty), Decimal(price)), world.now_ns)
    return gate.judge(proposal, world.engine.limits)


def _timer(world: World):  # type: ignore[no-untyped-def]
    from core_world import CLOSE, OPEN

    from executor.core.events import Timer

    return Timer(market_time=world.at, now_ns=world.now_ns, session_open=OPEN, session_close=CLOSE)


def broken(ruling: gate.Ruling) -> set[str]:
    return {v.name for v in ruling.verdicts if not v.ok}


def world(**changed: object) -> World:
    made = World(**changed)  # type: ignore[arg-type]
    made.batch({})
    return made


def test_every_configured_limit_is_read_by_the_core() -> None:
    text = "".join(path.read_text() for path in CORE.glob("*.py"))
    unread = [name for name in LimitSettings.model_fields if f'"{name}"' not in text]
    assert unread == []


def test_each_limit_of_the_gate_has_a_name_of_its_own_and_a_bound() -> None:
    names = [limit.name for limit in GATE]
    assert len(names) == len(set(names))
    assert set(names) <= set(LIMITS)


# name of the limit, settings that make only it bind, quantity just inside, quantity past it
CASES = [
    ("order_notional_usd", {"order_notional_usd": "5000.50"}, "50", "51"),
    ("risk_per_trade", {"risk_per_trade": "0.003", "single_name": "1"}, "49", "50"),  # 100.01 × 3 × 2 %
    ("participation", {"participation": "0.00005"}, "50", "51"),
    ("single_name", {"single_name": "0.05001"}, "50", "51"),
    ("sector", {"sector": "0.05001"}, "50", "51"),
    ("gross", {"gross": "0.05001"}, "50", "51"),
    ("orders_per_day", {"orders_per_day": "1"}, "1", None),
]


@pytest.mark.parametrize(("name", "changed", "inside", "past"), CASES)
def test_a_breach_is_refused_and_just_inside_passes(
    name: str, changed: dict[str, str], inside: str, past: str | None
) -> None:
    assert judge(world(**changed), "AAA", "buy", inside).accepted
    if past is not None:
        ruling = judge(world(**changed), "AAA", "buy", past)
        assert not ruling.accepted
        assert broken(ruling) == {name}
        verdict = next(v for v in ruling.verdicts if v.name == name)
        assert verdict.after is not None
        assert verdict.limit is not None
        assert verdict.after > verdict.limit


def test_the_second_order_of_the_day_is_refused_where_one_is_allowed() -> None:
    made = world(orders_per_day="1")
    made.engine.orders_today = 1
    assert broken(judge(made, "AAA", "buy", "1")) == {"orders_per_day"}


@pytest.mark.parametrize(("price", "accepted"), [("102.00", True), ("102.01", False)])
def test_a_buy_limit_may_be_two_percent_through_the_mid_and_no_more(price: str, accepted: bool) -> None:
    ruling = judge(world(), "AAA", "buy", "10", price)
    assert ruling.accepted is accepted
    assert accepted or broken(ruling) == {"price_collar"}


@pytest.mark.parametrize(("age", "accepted"), [(14.9, True), (15.1, False)])
def test_a_stale_quote_refuses_new_risk(age: float, accepted: bool) -> None:
    made = world()
    made.now_ns += int(age * 1e9)
    ruling = judge(made, "AAA", "buy", "10")
    assert ruling.accepted is accepted
    assert accepted or broken(ruling) == {"quote_age_s"}


@pytest.mark.parametrize(("bid", "ask"), [("0", "100"), ("100", "0"), ("100.02", "100.01")])
def test_a_one_sided_or_crossed_quote_refuses_new_risk(bid: str, ask: str) -> None:
    made = world()
    made.quote("AAA", bid, ask)
    assert not judge(made, "AAA", "buy", "1").accepted


def test_value_at_risk_and_expected_shortfall_refuse_a_book_that_is_too_risky() -> None:
    calm, wild = snapshot(scale=0.01), snapshot(scale=0.2)
    for risk, accepted in ((calm, True), (wild, False)):
        made = World(single_name="1", risk_per_trade="1", sector="1")
        made.batch({}, risk)
        ruling = judge(made, "AAA", "buy", "900")
        assert ruling.accepted is accepted
        assert accepted or broken(ruling) == {"value_at_risk", "expected_shortfall"}


def test_value_at_risk_is_the_quantile_of_the_books_own_scenarios() -> None:
    made = World(positions={"AAA": "100"})
    made.batch({})
    ruling = judge(made, "BBB", "buy", "50")
    verdict = next(v for v in ruling.verdicts if v.name == "value_at_risk")
    pnl = snapshot().returns @ np.array([10_000.0, 5_000.0, 0, 0])
    losses = np.sort(-pnl)[::-1]
    assert verdict.after is not None
    # between the neighbouring order statistics of the 5 % tail, whatever quantile rule is used
    tail = int(0.05 * len(losses))
    equity = 110_000
    assert losses[tail + 1] / equity - 1e-6 <= float(verdict.after) <= losses[tail - 1] / equity + 1e-6


@pytest.mark.parametrize("missing", ["snapshot", "equity", "sector", "quote"])
def test_an_unknown_input_refuses_new_risk(missing: str) -> None:
    made = world()
    if missing == "snapshot":
        made.engine.snapshot = None
    elif missing == "sector":
        made.engine.sectors = {}
    elif missing == "quote":
        made.engine.quotes.pop("AAA")
    else:
        made.engine.book.positions["ZZZ"] = Decimal(1)  # held, but never quoted
    ruling = judge(made, "AAA", "buy", "1")
    assert not ruling.accepted
    assert any(v.unknown for v in ruling.verdicts)


def test_a_limit_that_is_missing_stops_everything() -> None:
    made = world()
    del made.engine.limits["gross"]
    with pytest.raises(KeyError, match="gross"):
        judge(made, "AAA", "buy", "1")


def test_open_orders_count_as_filled() -> None:
    made = world(single_name="0.08")
    made.batch({"AAA": "0.05"})
    sent = made.accept(made.tick())
    assert [s.qty for s in sent] == [Decimal(50)]
    ruling = judge(made, "AAA", "buy", "50")
    assert "single_name" in broken(ruling)
    verdict = next(v for v in ruling.verdicts if v.name == "single_name")
    assert verdict.before is not None
    assert verdict.before > Decimal("0.05")


def test_the_daily_loss_stop_refuses_new_risk_at_five_percent() -> None:
    made = World(positions={"AAA": "500"}, cash="50000")
    made.batch({})
    made.tick()
    made.quote("AAA", "90.00", "90.02")
    commands = made.tick()
    assert made.engine.mode is Mode.CLOSE_ONLY
    assert any(getattr(c, "mode", None) is Mode.CLOSE_ONLY for c in commands)
    assert not judge(made, "BBB", "buy", "1").accepted


@pytest.mark.parametrize("mode", [Mode.READY, Mode.REDUCING, Mode.CLOSE_ONLY, Mode.FLATTENING])
def test_a_proven_reduction_passes_every_limit_and_mode(mode: Mode) -> None:
    made = World(
        positions={"AAA": "500"}, cash="50000", order_notional_usd="1", single_name="0.0001", mode=mode
    )
    made.batch({})
    ruling = judge(made, "AAA", "sell", "500", "99.99")
    assert ruling.accepted
    assert ruling.reducing


@pytest.mark.parametrize(("side", "qty"), [("buy", "1"), ("sell", "501")])
def test_what_does_not_provably_reduce_is_no_reduction(side: str, qty: str) -> None:
    made = World(positions={"AAA": "500"}, cash="50000", mode=Mode.CLOSE_ONLY)
    made.batch({})
    assert not judge(made, "AAA", side, qty).accepted


def test_a_halt_takes_no_order_at_all() -> None:
    made = World(positions={"AAA": "500"}, mode=Mode.HALTED)
    made.batch({})
    assert not judge(made, "AAA", "sell", "1", "99.99").accepted


def test_in_drawdown_the_gross_limit_is_scaled_down() -> None:
    made = world(gross="0.10", mode=Mode.REDUCING)
    assert judge(made, "AAA", "buy", "49").accepted
    assert broken(judge(made, "AAA", "buy", "51")) == {"gross"}


def test_a_refusal_reaches_the_ledger_with_its_numbers() -> None:
    made = World(single_name="0.01", order_notional_usd="100000")
    made.batch({"AAA": "0.05"})
    refused = [c for c in made.tick() if isinstance(c, Refuse)]
    assert len(refused) == 1
    assert "single_name" in refused[0].reason
    assert {row["name"] for row in refused[0].intent.checks} == {limit.name for limit in GATE}
    assert not any(isinstance(c, Reserve) for c in made.tick()), "a refused name is not tried again"
