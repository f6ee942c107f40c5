"""Each limit: a breach is refused, the case just inside passes, an unknown input refuses, a reduction passes."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path

import pytest
from core_world import LIMITS as BOUNDS
from core_world import World, snapshot
from limit_cases import CASES, NEVER_UNKNOWN, Case, Terms, broken, buy, judge, sell, verdict, working

from executor.core.commands import Refuse, Reserve
from executor.core.gate import Gate
from executor.core.limits import LIMITS, Rule
from executor.core.limits.conduct import Turnover
from executor.core.modes import Mode
from executor.limits_page import markdown
from executor.settings import LimitSettings

CORE = Path(__file__).parents[2] / "executor/core"


def test_every_configured_limit_is_read_by_the_core() -> None:
    text = "".join(path.read_text() for path in CORE.rglob("*.py"))
    unread = [name for name in LimitSettings.model_fields if f'"{name}"' not in text]
    assert unread == []


def test_each_limit_has_a_name_of_its_own_and_every_bound_it_reads_is_configured() -> None:
    names = [limit.name for limit in LIMITS]
    assert len(names) == len(set(names))
    for limit in LIMITS:
        assert set(limit.reads()) <= set(LimitSettings.model_fields), limit.name
        assert limit.reads() or isinstance(limit, Rule), f"{limit.name} has no bound"
        assert limit.formula, limit.name
        assert limit.source, limit.name
        assert limit.unknown, limit.name
        assert type(limit).__doc__, limit.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_breach_is_refused_just_inside_passes_and_unknown_refuses(case: Case) -> None:
    case.check()


def test_the_table_breaches_every_limit_and_leaves_every_input_unknown_once() -> None:
    assert {case.name for case in CASES} == {limit.name for limit in LIMITS}
    assert {case.name for case in CASES if case.past} == {limit.name for limit in LIMITS}
    assert {case.name for case in CASES if case.inside} == {limit.name for limit in LIMITS}
    bounds_alone = {limit.name for limit in LIMITS if limit.unknown == "the bound is not set"}
    knowing = {limit.name for limit in LIMITS} - NEVER_UNKNOWN - bounds_alone
    assert {case.name for case in CASES if case.unknown} == knowing


@pytest.mark.parametrize("mode", [Mode.READY, Mode.REDUCING, Mode.CLOSE_ONLY, Mode.FLATTENING])
def test_a_proven_reduction_passes_under_every_limit_broken_and_every_mode(mode: Mode) -> None:
    nothing = dict.fromkeys(BOUNDS, "0") | {
        name: BOUNDS[name] for name in ("price_jump", "drawdown_stop", "turns")
    }
    made = World(positions={"AAA": "500"}, cash="50000", mode=mode, **nothing)
    made.batch({})
    ruling = judge(made, sell("500", symbol="AAA"))
    assert ruling.accepted
    assert ruling.reducing
    assert len(broken(ruling)) > 25


def test_a_proven_reduction_passes_with_every_input_unknown() -> None:
    made = World(positions={"AAA": "500", "ZZZ": "1"}, cash="50000", mode=Mode.CLOSE_ONLY)
    made.engine.exposure.forget_price("AAA")
    ruling = judge(made, sell("500", symbol="AAA"))
    assert ruling.accepted
    assert sum(1 for v in ruling.verdicts if v.unknown) > 15


@pytest.mark.parametrize(
    "terms", [buy("1"), sell("501", symbol="AAA"), sell("1", symbol="BBB"), sell("0", symbol="AAA")]
)
def test_what_does_not_provably_reduce_is_no_reduction(terms: Terms) -> None:
    made = World(positions={"AAA": "500"}, cash="50000", mode=Mode.CLOSE_ONLY)
    made.batch({})
    assert not judge(made, terms).accepted


def test_a_reduction_is_proven_together_with_all_open_orders_of_its_side() -> None:
    made = World(positions={"AAA": "500"}, cash="50000", mode=Mode.CLOSE_ONLY)
    made.batch({})
    working("sell", "300", "100.00")(made)
    assert judge(made, sell("200", symbol="AAA")).accepted
    assert not judge(made, sell("201", symbol="AAA")).accepted


def test_the_legs_of_one_entry_count_once_because_the_broker_fills_one_of_them() -> None:
    made = World(positions={"AAA": "500"}, cash="50000", mode=Mode.CLOSE_ONLY)
    made.batch({})
    for price in ("95.00", "110.00"):
        working("sell", "300", price, parent_client_order_id="entry")(made)
    assert made.engine.exposure.line("AAA").sells == 300
    assert judge(made, sell("200", symbol="AAA")).accepted
    assert not judge(made, sell("201", symbol="AAA")).accepted


def test_an_order_and_the_one_that_replaces_it_count_once() -> None:
    made = World()
    made.batch({})
    working("buy", "50", "100.00", client_order_id="first")(made)
    line = made.engine.exposure.line("AAA")
    before = verdict(judge(made, buy("50", replaces="first")), "single_name")
    assert before.after == pytest.approx(50 * 100.01 / 100_000)
    working("buy", "60", "100.01", client_order_id="second", replaces_client_order_id="first")(made)
    assert (line.buys, line.top) == (60, 100.01)


def test_a_halt_takes_no_order_at_all() -> None:
    made = World(positions={"AAA": "500"}, mode=Mode.HALTED)
    made.batch({})
    assert not judge(made, sell("1", symbol="AAA")).accepted


def test_a_limit_without_a_bound_refuses_new_risk_says_how_to_set_it_and_leaves_the_way_out_open() -> None:
    made = World(positions={"AAA": "500"}, cash="50000")
    made.batch({})
    made.tick()
    limits = {
        name: Decimal(value) for name, value in BOUNDS.items() if name not in ("beta", "leverage_shock")
    }
    made.engine.gate = Gate(limits, 7)
    ruling = judge(made, buy("1", symbol="CCC"))
    assert broken(ruling) == {"beta", "leverage", "concentration"}
    assert verdict(ruling, "beta").unknown
    assert "limits version 7" in ruling.reason
    assert "executor limits propose missing" in ruling.reason
    assert judge(made, sell("500", symbol="AAA")).accepted


def test_open_and_unanswered_orders_count_as_filled() -> None:
    made = World(single_name="0.08")
    made.batch({"AAA": "0.05"})
    commands = made.tick()
    waiting = verdict(judge(made, buy("50")), "single_name")
    assert waiting.before == pytest.approx(50 * 100.07 / 100_000)
    sent = made.accept(commands)
    assert [s.qty for s in sent] == [Decimal(50)]
    ruling = judge(made, buy("50"))
    assert "single_name" in broken(ruling)
    assert verdict(ruling, "single_name").before == waiting.before


def test_an_open_sell_does_not_make_room_before_it_has_filled() -> None:
    made = World(positions={"AAA": "100"}, cash="90001", single_name="0.12")
    made.batch({})
    made.tick()
    working("sell", "100", "99.99")(made)
    assert verdict(judge(made, buy("10", "99.98")), "single_name").before == pytest.approx(0.1)


def test_the_daily_loss_stop_refuses_new_risk_at_five_percent() -> None:
    made = World(positions={"AAA": "500"}, cash="50000")
    made.batch({})
    made.tick()
    made.quote("AAA", "90.00", "90.02")
    commands = made.tick()
    assert made.engine.mode is Mode.CLOSE_ONLY
    assert any(getattr(c, "mode", None) is Mode.CLOSE_ONLY for c in commands)
    assert not judge(made, buy("1", symbol="BBB")).accepted


def test_a_refusal_reaches_the_ledger_with_its_numbers() -> None:
    made = World(single_name="0.01", order_notional_usd="100000")
    made.batch({"AAA": "0.05"})
    refused = [c for c in made.tick() if isinstance(c, Refuse)]
    assert len(refused) == 1
    assert "single_name" in refused[0].reason
    rows = {row["name"]: row for row in refused[0].intent.checks.as_json()}
    assert set(rows) == {limit.name for limit in LIMITS}
    assert rows["single_name"] == {
        "name": "single_name", "ok": False, "limit": "0.010000", "before": "0.000000", "after": "0.050035", "version": 1,
    }  # fmt: skip
    assert not any(isinstance(c, Reserve) for c in made.tick()), "a refused name is not tried again"


def test_a_breach_that_may_pass_is_tried_again_and_a_lasting_one_is_not() -> None:
    made = World()
    made.batch({})
    made.tick()
    made.quote("AAA", "99.00", "102.50")
    wide = judge(made, buy("10"))
    assert broken(wide) == {"spread"}
    assert not wide.lasting()
    assert judge(made, buy("2000", symbol="BBB")).lasting()


def test_unknown_is_said_once_for_all_limits_that_share_it() -> None:
    made = World()
    made.batch({})
    made.engine.exposure.load(None)
    reason = judge(made, buy("1")).reason
    assert reason.count("no risk snapshot") == 1
    assert "beta, factor_risk" in reason


def test_a_snapshot_without_clusters_betas_or_loadings_refuses_by_each_of_them() -> None:
    made = World()
    made.batch({}, snapshot())
    made.tick()
    from limit_cases import old_snapshot

    old_snapshot(made)
    assert broken(judge(made, buy("1"))) == {"cluster", "beta", "factor_risk"}


def test_the_page_of_limits_is_what_the_classes_say() -> None:
    page = Path(__file__).parents[2] / "docs/limits.md"
    assert page.read_text() == markdown() + "\n", "python -m executor.limits_page > docs/limits.md"


def test_a_limit_that_cannot_be_worked_out_refuses_new_risk_and_stops_nobody_from_getting_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def divided(self: object, order: object, bounds: object) -> tuple[float, float, float]:
        return 1.0, 0.0, 1.0 / 0.0

    monkeypatch.setattr(Turnover, "measure", divided)
    made = World(positions={"AAA": "100"}, cash="90001")
    made.batch({})
    made.tick()
    ruling = judge(made, buy("1", symbol="CCC"))
    assert broken(ruling) == {"turnover"}
    assert verdict(ruling, "turnover").unknown == "cannot be worked out: float division by zero"
    assert judge(made, sell("100", symbol="AAA")).accepted


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_unknown_and_refused(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Turnover, "measure", lambda self, order, bounds: (1.0, 0.0, value))
    made = World()
    made.batch({})
    made.tick()
    ruling = judge(made, buy("1"))
    assert not ruling.accepted
    assert verdict(ruling, "turnover").unknown
