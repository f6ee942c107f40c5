"""The engine: what it sends, in which order, and what it does when things go wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest
from core_world import CLOSE, SECOND, World
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.core import planner, pricing
from executor.core.commands import Cancel, EnterMode, FinishBatch, Record, Reserve, Submit
from executor.core.events import CashMoved, Fill, ModeSeen, OrderEvidence, Quote, Reserved
from executor.core.modes import Mode
from executor.core.orders import Evidence, State


def reserves(commands: list[object]) -> dict[str, tuple[str, Decimal]]:
    return {c.intent.symbol: (c.intent.side, c.intent.qty) for c in commands if isinstance(c, Reserve)}


def fill(world: World, cid: str, qty: str, price: str = "100.01", key: str = "x1") -> list[object]:
    return list(
        world.tell(Fill, execution_id=key, client_order_id=cid, qty=Decimal(qty), price=Decimal(price))
    )


def test_targets_become_whole_share_limit_orders_through_the_far_side() -> None:
    world = World()
    world.batch({"AAA": "0.05", "CCC": "0.10"})
    commands = world.tick()
    assert reserves(commands) == {"AAA": ("buy", Decimal(50)), "CCC": ("buy", Decimal(100))}
    intent = next(c.intent for c in commands if isinstance(c, Reserve))
    assert intent.limit_price == Decimal("100.07")  # 100.01 × 1.0005 = 100.060005, up to the cent
    assert intent.arrival_price == Decimal("100.00")
    assert intent.cost_estimate is not None
    assert intent.cost_estimate.as_json()["total"] > 0


def test_nothing_is_sent_before_the_ledger_has_the_intent() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    commands = world.tick()
    assert not any(isinstance(c, Submit) for c in commands)
    assert [c.client_order_id for c in world.accept(commands)] == ["sp-" + f"{1:032x}" + "-1"]


def test_a_refusal_by_the_ledger_sends_nothing_and_is_not_retried() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    reserve = next(c for c in world.tick() if isinstance(c, Reserve))
    answers = world.tell(Reserved, client_order_id=reserve.intent.client_order_id, ok=False, reason="killed")
    assert not any(isinstance(a, Submit) for a in answers)
    assert reserves(world.tick()) == {}


def test_reductions_go_before_increases() -> None:
    world = World(positions={"AAA": "100"}, cash="90000")
    world.batch({"AAA": "0", "CCC": "0.10"})
    first = world.tick()
    assert reserves(first) == {"AAA": ("sell", Decimal(100))}
    sent = world.accept(first)
    assert reserves(world.tick()) == {}, "buys wait for the open reduction"
    fill(world, sent[0].client_order_id, "100", "99.99")
    world.tell(OrderEvidence, client_order_id=sent[0].client_order_id, evidence=Evidence.ENDED)
    assert reserves(world.tick()) == {"CCC": ("buy", Decimal(100))}


def test_one_working_order_a_symbol() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    world.accept(world.tick())
    assert reserves(world.tick()) == {}


def test_a_partial_fill_leads_to_an_order_for_the_rest_after_the_cancel() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    cid = world.accept(world.tick())[0].client_order_id
    fill(world, cid, "20")
    world.quote("AAA", "99.99", "100.01")
    commands = world.tick(31)
    assert [c.client_order_id for c in commands if isinstance(c, Cancel)] == [cid]
    assert reserves(commands) == {}, "the old order may still fill"
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_status="canceled")
    world.quote("AAA", "99.99", "100.01")
    commands = world.tick()
    assert reserves(commands) == {"AAA": ("buy", Decimal(30))}
    assert next(c.intent for c in commands if isinstance(c, Reserve)).client_order_id.endswith("-2")


def test_an_unknown_order_blocks_its_symbol_and_keeps_its_reservation() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    reserve = next(c for c in world.tick() if isinstance(c, Reserve))
    cid = reserve.intent.client_order_id
    assert cid is not None
    world.tell(Reserved, client_order_id=cid, ok=True, reason="")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.AMBIGUOUS, reason="timeout")
    assert world.engine.orders[cid].state is State.UNKNOWN
    assert reserves(world.tick(60)) == {}
    assert [o.client_order_id for o in world.engine.open_orders()] == [cid]


def test_a_fill_after_proof_of_absence_halts() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    reserve = next(c for c in world.tick() if isinstance(c, Reserve))
    cid = reserve.intent.client_order_id
    assert cid is not None
    world.tell(Reserved, client_order_id=cid, ok=True, reason="")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.AMBIGUOUS)
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ABSENT)
    assert world.engine.orders[cid].state is State.UNKNOWN, "no proof while its session is open"
    world.at, world.now_ns = CLOSE, world.now_ns + 10 * SECOND
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ABSENT)
    assert world.engine.orders[cid].state is State.EXPIRED_UNSENT
    commands = fill(world, cid, "50")
    assert world.engine.book.positions == {"AAA": Decimal(50)}, "booked all the same"
    assert any(isinstance(c, EnterMode) and c.mode is Mode.HALTED for c in commands)


def test_a_drawdown_over_ten_percent_scales_the_targets_down() -> None:
    world = World(positions={"AAA": "100"}, cash="90000", drawdown_scale="0.5")
    world.engine.book.high_water_mark = Decimal(112_000)
    world.batch({"AAA": "0.10"})
    commands = world.tick()
    assert world.engine.mode is Mode.REDUCING
    assert any(isinstance(c, EnterMode) and c.mode is Mode.REDUCING for c in commands)
    # 10.7 % down: half of what is approved, less 0.7 of the ten points to nothing: 46 of 100 shares
    assert reserves(commands) == {"AAA": ("sell", Decimal(54))}


def test_a_kill_cancels_every_open_order_and_sends_no_more() -> None:
    world = World()
    world.batch({"AAA": "0.05", "CCC": "0.05"})
    sent = world.accept(world.tick())
    world.tell(ModeSeen, mode=Mode.HALTED, killed=True, flatten=False)
    commands = world.tick()
    assert {c.client_order_id for c in commands if isinstance(c, Cancel)} == {s.client_order_id for s in sent}
    assert reserves(world.tick(5)) == {}


def test_a_cancel_the_broker_did_not_take_is_asked_again_but_not_at_once() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    cid = world.accept(world.tick())[0].client_order_id
    world.tell(ModeSeen, mode=Mode.HALTED, killed=True, flatten=False)
    assert any(isinstance(c, Cancel) for c in world.tick())
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.WORKING, reason="cancel not taken")
    assert not any(isinstance(c, Cancel) for c in world.tick(0.5))
    assert any(isinstance(c, Cancel) for c in world.tick(2))


def test_flattening_closes_every_position_whatever_the_limits() -> None:
    world = World(positions={"AAA": "40", "CCC": "-30"}, mode=Mode.FLATTENING, order_notional_usd="100000")
    world.batch({"BBB": "0.05"})
    assert reserves(world.tick()) == {"AAA": ("sell", Decimal(40)), "CCC": ("buy", Decimal(30))}


def test_a_small_remainder_is_still_closed() -> None:
    world = World(positions={"AAA": "1"}, mode=Mode.FLATTENING)
    assert reserves(world.tick()) == {"AAA": ("sell", Decimal(1))}


def test_the_batch_is_finished_when_every_target_is_held() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    cid = world.accept(world.tick())[0].client_order_id
    fill(world, cid, "50")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_status="filled")
    assert [c.note for c in world.tick() if isinstance(c, FinishBatch)] == ["1 targets worked, 0 given up"]
    assert not any(isinstance(c, FinishBatch) for c in world.tick())


def test_an_expired_batch_sends_nothing() -> None:
    from core_world import OPEN

    world = World()
    world.batch({"AAA": "0.05"}, valid_until=OPEN)
    commands = world.tick()
    assert reserves(commands) == {}
    assert [c.note for c in commands if isinstance(c, FinishBatch)] == ["expired"]


def test_a_position_never_goes_through_zero_in_one_order() -> None:
    world = World(positions={"AAA": "-30"}, cash="103000")
    world.batch({"AAA": "0.05"})
    assert reserves(world.tick()) == {"AAA": ("buy", Decimal(30))}


def test_outside_the_session_nothing_is_sent() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    world.at = CLOSE
    assert reserves(world.tick()) == {}


def test_cash_activities_move_cash_only() -> None:
    world = World()
    world.tell(CashMoved, amount=Decimal("-1.23"))
    assert world.engine.book.cash == Decimal("99998.77")


def test_a_repeated_sweep_does_not_undo_a_cancel_on_its_way() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    cid = world.accept(world.tick())[0].client_order_id
    world.tick(31)
    assert world.engine.orders[cid].state is State.CANCELING
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.WORKING, broker_status="new")
    assert world.engine.orders[cid].state is State.CANCELING


quantities = st.integers(-500, 500).map(Decimal)


@given(held=quantities, target=quantities, bid=st.integers(50, 50_000))
@settings(max_examples=300)
def test_a_draft_always_moves_towards_the_target_and_never_past_it(
    held: Decimal, target: Decimal, bid: int
) -> None:
    price = Decimal(bid) / 100
    quote = Quote(
        market_time=World().at,
        now_ns=0,
        symbol="AAA",
        bid=price,
        ask=price + Decimal("0.02"),
        bid_size=1,
        ask_size=1,
    )
    limits = {"order_notional_usd": Decimal(10_000), "participation": Decimal("0.01")}
    draft = planner.draft("AAA", held, target, Decimal(100_000), quote, limits, Decimal(20_000))
    if draft is None:
        return
    after = held + (draft.qty if draft.side == "buy" else -draft.qty)
    assert draft.qty == draft.qty.to_integral_value() > 0
    assert abs(target - after) < abs(target - held)
    assert held * after >= 0, "never through zero"
    assert draft.qty * draft.limit_price <= 10_000
    assert draft.qty <= 200
    assert draft.limit_price % pricing.tick(draft.limit_price) == 0
    assert (draft.limit_price > quote.ask) if draft.side == "buy" else (draft.limit_price < quote.bid)


@given(
    st.lists(
        st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 50), st.integers(90, 110)), max_size=30
    )
)
def test_cash_and_shares_are_conserved_by_fills(trades: list[tuple[str, int, int]]) -> None:
    from executor.core.orders import WorkingOrder

    world = World()
    book = world.engine.book
    start = book.cash
    for i, (side, qty, price) in enumerate(trades):
        order = WorkingOrder(
            client_order_id=str(i), symbol="AAA", side=side, qty=Decimal(qty), limit_price=Decimal(price),
            purpose="target", signal_id=None, batch_id=None, leg=1, state=State.LIVE, created_ns=0,
        )  # fmt: skip
        book.apply_fill(order, Decimal(qty), Decimal(price))
    signed = [(q if s == "buy" else -q, p) for s, q, p in trades]
    assert book.positions.get("AAA", Decimal(0)) == sum(q for q, _ in signed)
    assert book.cash == start - sum(Decimal(q * p) for q, p in signed)


@pytest.mark.parametrize("evidence", list(Evidence))
def test_evidence_for_a_rejected_order_changes_nothing(evidence: Evidence) -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    cid = world.accept(world.tick())[0].client_order_id
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.REFUSED, reason="403")
    commands = world.tell(OrderEvidence, client_order_id=cid, evidence=evidence)
    assert world.engine.orders[cid].state is State.REJECTED
    assert not any(isinstance(c, Record) for c in commands)


def test_without_the_brokers_answers_no_new_target_is_worked_but_what_works_is_watched() -> None:
    from core_world import OPEN

    from executor.core.events import Timer

    def tick(ready: bool) -> list[object]:
        return list(
            world.engine.decide(
                Timer(
                    market_time=world.at,
                    now_ns=world.now_ns,
                    session_open=OPEN,
                    session_close=CLOSE,
                    broker_ready=ready,
                )
            )
        )

    world = World()
    world.batch({"AAA": "0.05"})
    assert reserves(tick(ready=False)) == {}
    assert reserves(tick(ready=True)) == {"AAA": ("buy", Decimal(50))}


def test_a_new_day_counts_its_orders_from_zero() -> None:
    import datetime as dt

    from core_world import OPEN

    from executor.core.events import Timer

    world = World()
    world.engine.orders_today = 7
    world.tick()
    world.engine.orders_today = 7
    world.tick()
    assert world.engine.orders_today == 7
    day = dt.timedelta(days=1)
    world.engine.decide(
        Timer(
            market_time=world.at + day,
            now_ns=world.now_ns,
            session_open=OPEN + day,
            session_close=CLOSE + day,
        )
    )
    assert world.engine.orders_today == 0


def test_an_order_that_ended_by_a_fill_not_booked_yet_keeps_its_reservation() -> None:
    """The broker says filled before we have the fill: buying again would double the position."""
    world = World()
    world.batch({"AAA": "0.05"})
    cid = world.accept(world.tick())[0].client_order_id
    world.tell(
        OrderEvidence,
        client_order_id=cid,
        evidence=Evidence.ENDED,
        broker_status="filled",
        broker_filled=Decimal(50),
    )
    assert world.engine.orders[cid].is_open
    assert reserves(world.tick()) == {}
    fill(world, cid, "50")
    world.tell(
        OrderEvidence,
        client_order_id=cid,
        evidence=Evidence.ENDED,
        broker_status="filled",
        broker_filled=Decimal(50),
    )
    assert world.engine.orders[cid].state is State.DONE


def test_an_unknown_order_found_filled_waits_for_its_fills() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    cid = next(c for c in world.tick() if isinstance(c, Reserve)).intent.client_order_id
    assert cid is not None
    world.tell(Reserved, client_order_id=cid, ok=True, reason="")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.AMBIGUOUS, reason="timeout")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.ENDED, broker_filled=Decimal(50))
    assert world.engine.orders[cid].is_open
    assert reserves(world.tick()) == {}


def test_a_cancel_that_got_lost_is_asked_again() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    cid = world.accept(world.tick())[0].client_order_id
    assert any(isinstance(c, Cancel) for c in world.tick(31))
    assert not any(isinstance(c, Cancel) for c in world.tick(0.5))
    again = [c for c in world.tick(2) if isinstance(c, Cancel)]
    assert [c.client_order_id for c in again] == [cid]


def test_before_the_process_ends_everything_is_cancelled_and_nothing_is_sent() -> None:
    from core_world import OPEN

    from executor.core.events import Timer

    world = World()
    world.batch({"AAA": "0.05", "CCC": "0.05", "DDD": "0.05", "BBB": "0.05"})
    sent = world.accept(world.tick())
    stop = Timer(
        market_time=world.at, now_ns=world.now_ns, session_open=OPEN, session_close=CLOSE, draining=True
    )
    commands = world.engine.decide(stop)
    assert {c.client_order_id for c in commands if isinstance(c, Cancel)} == {s.client_order_id for s in sent}
    assert reserves(commands) == {}


def test_a_flattening_prices_anew_and_is_not_held_up_by_another_names_doubt() -> None:
    world = World(positions={"AAA": "40", "CCC": "30"}, mode=Mode.READY)
    world.batch({"AAA": "0.05"})
    cid = next(c for c in world.tick() if isinstance(c, Reserve)).intent.client_order_id
    assert cid is not None
    world.tell(Reserved, client_order_id=cid, ok=True, reason="")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.AMBIGUOUS)
    world.tell(ModeSeen, mode=Mode.FLATTENING, killed=True, flatten=True)
    commands = world.tick()
    assert reserves(commands) == {"AAA": ("sell", Decimal(40)), "CCC": ("sell", Decimal(30))}
    sent = world.accept(commands)
    stale = [c.client_order_id for c in world.tick(31) if isinstance(c, Cancel)]
    assert sorted(stale) == sorted(s.client_order_id for s in sent)


def test_a_doubtful_exit_is_counted_before_another_is_sent() -> None:
    world = World(positions={"AAA": "40"}, mode=Mode.FLATTENING)
    cid = next(c for c in world.tick() if isinstance(c, Reserve)).intent.client_order_id
    assert cid is not None
    world.tell(Reserved, client_order_id=cid, ok=True, reason="")
    world.tell(OrderEvidence, client_order_id=cid, evidence=Evidence.AMBIGUOUS)
    assert reserves(world.tick()) == {}, "forty shares are on their way out, perhaps"


def test_a_halt_does_not_break_off_a_flattening() -> None:
    world = World(positions={"AAA": "40"}, mode=Mode.FLATTENING)
    assert world.engine.tighten(Mode.HALTED, "a late fill") == []
    assert world.engine.mode is Mode.FLATTENING


def test_an_intent_is_withdrawn_if_the_mode_tightened_before_the_send() -> None:
    world = World()
    world.batch({"AAA": "0.05"})
    cid = next(c for c in world.tick() if isinstance(c, Reserve)).intent.client_order_id
    world.tell(ModeSeen, mode=Mode.CLOSE_ONLY, killed=False, flatten=False)
    answers = world.tell(Reserved, client_order_id=cid, ok=True, reason="")
    assert [(type(a), a.state) for a in answers if isinstance(a, Record)] == [(Record, State.VOID)]
    assert not any(isinstance(a, Submit) for a in answers)


@pytest.mark.parametrize(("bid", "ask"), [("99.99", "199999.99"), ("0.01", "100.01"), ("0", "100")])
def test_one_broken_quote_moves_no_mark_and_trips_no_breaker(bid: str, ask: str) -> None:
    world = World(positions={"AAA": "500"}, cash="50000")
    world.tick()
    before = world.engine.equity
    world.quote("AAA", bid, ask)
    assert not any(isinstance(c, EnterMode) for c in world.tick())
    assert world.engine.equity == before
    assert world.engine.book.high_water_mark == before


def test_a_drawdown_after_the_batch_is_done_still_scales_the_book() -> None:
    world = World(positions={"AAA": "500"}, cash="50000", daily_loss="0.9", extreme_loss="0.9")
    world.tick()
    world.quote("AAA", "77.99", "78.01")
    commands = world.tick()
    assert world.engine.mode is Mode.REDUCING
    assert reserves(commands) == {"AAA": ("sell", Decimal(276))}, "11 % down: 45 % of it stays"


def test_a_refusal_that_may_pass_is_tried_again_and_told_once() -> None:
    from executor.core.commands import Alert, Refuse

    world = World()
    world.batch({"AAA": "0.05"})
    world.engine.equity = None
    first = world.tick(20)  # the quotes are twenty seconds old now
    assert [c for c in first if isinstance(c, Refuse)]
    assert len([c for c in first if isinstance(c, Alert)]) == 1
    assert not any(isinstance(c, Refuse) for c in world.tick(1)), "it rests first"
    again = world.tick(31)
    assert [c for c in again if isinstance(c, Refuse)]
    assert not any(isinstance(c, Alert) for c in again)
    world.quote("AAA", "99.99", "100.01")
    world.now_ns += 31_000_000_000
    world.quote("AAA", "99.99", "100.01")
    assert reserves(world.tick()) == {"AAA": ("buy", Decimal(50))}
