"""The simulator finds nothing in the core, and finds every defect that is planted in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from core_world import SECOND, World
from typer.testing import CliRunner

from executor.cli import app
from executor.core import cancels, engine, events, flatten, latch, order_life, orders, targets
from executor.core.commands import Command, Record, Reserve, Submit
from executor.core.gate import Gate
from executor.core.known import Known
from executor.core.modes import Mode
from executor.core.orders import Evidence, State
from executor.simulation.play import Outcome, play
from executor.simulation.shrink import shrink, tell
from executor.simulation.story import Story, story_of

SEEDS = 150
MUTANT_SEEDS = 60


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [play(story_of(seed)) for seed in range(SEEDS)]


def test_no_seed_breaks_an_invariant_and_every_one_ends_alive(outcomes: list[Outcome]) -> None:
    failed = {o.seed: str(o.violation) for o in outcomes if o.violation is not None}
    assert not failed, f"replay with: executor simulate --seed {min(failed)}"


def test_the_faults_were_really_injected(outcomes: list[Outcome]) -> None:
    counts = sum((o.counts for o in outcomes), Counter[str]())
    expected = (
        "crashes", "step restart", "updates lost", "update twice", "update late", "submit 504", "submit late",
        "submit lost", "submit refused", "submit 504 and hidden", "orders arrived late", "cancel lost",
        "cancel unheard", "sweep unanswered", "fill told twice", "fills after the end", "between kill", "repeats",
        "replaces", "foreign orders", "sessions closed", "step halt", "step gap", "step crossed", "step split",
        "step kill", "step kill and flatten", "re-arms heard", "kills heard", "mode REDUCING", "mode CLOSE_ONLY", "mode FLATTENING", "mode HALTED",
        "heartbeat missed", "unknown to the close", "ledger refusals",
    )  # fmt: skip
    missing = [name for name in expected if not counts[name]]
    assert not missing, "a simulator that injects nothing proves nothing"
    assert counts["fresh signal traded"] == counts["flat at the end"] == SEEDS


def test_the_same_seed_gives_the_same_commands_in_another_process_with_another_hash_seed() -> None:
    program = (
        "from executor.simulation.play import play; from executor.simulation.story import story_of; "
        "print([play(story_of(s)).digest for s in range(6)])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert "[]" not in runs[0]


def test_a_story_survives_writing_and_reading() -> None:
    story = story_of(7)
    assert msgspec.json.decode(msgspec.json.encode(story), type=Story) == story


def test_a_refusal_of_an_order_sent_again_does_not_free_what_the_first_one_may_hold() -> None:
    """Found by a seed: hidden by the broker, sent again, refused for want of shares the first copy held."""
    world = World()
    world.batch({"AAA": "0.05"})
    cid = next(c.intent.client_order_id for c in world.tick() if isinstance(c, Reserve))
    assert cid is not None
    world.tell(events.Reserved, client_order_id=cid, ok=True, reason="")
    world.tell(events.OrderEvidence, client_order_id=cid, evidence=Evidence.AMBIGUOUS, reason="504")
    for _ in range(3):
        world.tell(events.OrderEvidence, client_order_id=cid, evidence=Evidence.NOT_FOUND)
    world.now_ns += 61 * SECOND
    world.quote("AAA", "99.99", "100.01")
    again = [c for c in world.tick() if isinstance(c, Submit)]
    assert [c.repeat for c in again] == [True]
    world.tell(events.OrderEvidence, client_order_id=cid, evidence=Evidence.REFUSED, reason="403 no shares")
    assert world.engine.orders[cid].state is State.UNKNOWN
    world.tell(
        events.OrderEvidence,
        client_order_id=cid,
        evidence=Evidence.REFUSED,
        broker_order_id="b",
        broker_status="rejected",
    )
    assert world.engine.orders[cid].state is State.REJECTED, "the broker shows this very order refused"


# ---------------------------------------------------------------------- planted defects


Plant = Callable[[pytest.MonkeyPatch], None]


def fills_are_booked_each_time_they_are_told(patch: pytest.MonkeyPatch) -> None:
    def on_fill(known: Known, event: events.Fill) -> list[Command]:
        known.executions.discard(event.execution_id)
        return order_life.on_fill(known, event)

    patch.setitem(engine.ROOMS, events.Fill, on_fill)


def a_timeout_frees_the_reservation(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(orders.TRANSITIONS, (State.SENDING, Evidence.AMBIGUOUS), State.REJECTED)


def not_found_counts_as_never_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(orders.TRANSITIONS, (State.UNKNOWN, Evidence.NOT_FOUND), State.EXPIRED_UNSENT)


def unknown_orders_are_left_out(patch: pytest.MonkeyPatch) -> None:
    def open_orders(known: Known) -> tuple[orders.WorkingOrder, ...]:
        return tuple(o for o in known._working.values() if o.is_open and o.state is not State.UNKNOWN)

    patch.setattr(Known, "open_orders", open_orders)


def an_end_frees_the_order_before_its_fills_are_booked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(order_life, "_weighed", lambda known, order, event: event.evidence)


def a_kill_is_seen_at_the_start_only(patch: pytest.MonkeyPatch) -> None:
    for event in (events.Kill, events.ModeSeen):
        patch.setitem(engine.ROOMS, event, lambda known, event: [])


def a_mode_loosens_by_itself(patch: pytest.MonkeyPatch) -> None:
    def on_timer(known: Known, event: events.Timer) -> list[Command]:
        if known.mode is Mode.CLOSE_ONLY:
            known.mode = Mode.READY
        return engine.on_timer(known, event)

    patch.setitem(engine.ROOMS, events.Timer, on_timer)


def the_gate_lets_everything_through(patch: pytest.MonkeyPatch) -> None:
    judge = Gate.judge
    patch.setattr(Gate, "judge", lambda *args: replace(judge(*args), accepted=True))


def halts_are_not_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(engine.ROOMS, events.TradingStatus, lambda known, event: [])


def a_state_is_not_recorded(patch: pytest.MonkeyPatch) -> None:
    def on_evidence(known: Known, event: events.OrderEvidence) -> list[Command]:
        return [c for c in order_life.on_evidence(known, event) if not isinstance(c, Record)]

    patch.setitem(engine.ROOMS, events.OrderEvidence, on_evidence)


def one_id_is_used_for_all_orders_of_a_signal(patch: pytest.MonkeyPatch) -> None:
    work = targets.work

    def same_leg(known: Known, event: events.Timer) -> list[Command]:
        for one in known.works.values():
            one.legs.clear()
        return work(known, event)

    patch.setattr(targets, "work", same_leg)


def a_kill_cancels_nothing(patch: pytest.MonkeyPatch) -> None:
    for module in (cancels, flatten, latch):
        patch.setattr(module, "cancel_all", lambda *args, **kwargs: [])


def an_expired_batch_is_worked(patch: pytest.MonkeyPatch) -> None:
    def on_batch(known: Known, event: events.Batch) -> list[Command]:
        return targets.on_batch(
            known, msgspec.structs.replace(event, valid_until=event.valid_until.replace(year=2030))
        )

    patch.setitem(engine.ROOMS, events.Batch, on_batch)


def fees_are_not_booked(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(engine.ROOMS, events.CashMoved, lambda known, event: [])


def an_order_is_sent_for_more_than_was_reserved(patch: pytest.MonkeyPatch) -> None:
    send = order_life.send

    def sends_more(*args: object) -> list[Command]:
        return [
            msgspec.structs.replace(c, qty=c.qty + 1) if not isinstance(c, (Record, Reserve)) else c
            for c in send(*args)  # type: ignore[arg-type]
        ]

    patch.setattr(order_life, "send", sends_more)


PLANTS: tuple[Plant, ...] = (
    fills_are_booked_each_time_they_are_told,
    a_timeout_frees_the_reservation,
    not_found_counts_as_never_sent,
    unknown_orders_are_left_out,
    an_end_frees_the_order_before_its_fills_are_booked,
    a_kill_is_seen_at_the_start_only,
    a_mode_loosens_by_itself,
    the_gate_lets_everything_through,
    halts_are_not_heard,
    a_state_is_not_recorded,
    one_id_is_used_for_all_orders_of_a_signal,
    a_kill_cancels_nothing,
    an_expired_batch_is_worked,
    fees_are_not_booked,
    an_order_is_sent_for_more_than_was_reserved,
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_defect_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found = (play(story_of(seed)) for seed in range(MUTANT_SEEDS))
    assert any(outcome.violation is not None for outcome in found)


def test_a_failing_story_shrinks_to_one_that_fails_in_the_same_way_and_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_timeout_frees_the_reservation(monkeypatch)
    story, outcome = next(
        (s, o) for s in map(story_of, range(MUTANT_SEEDS)) if (o := play(s)).violation is not None
    )
    short, end = shrink(story, outcome)
    assert outcome.violation is not None
    assert end.violation is not None
    assert end.violation.invariant == outcome.violation.invariant
    assert len(short.steps) <= 6 < len(story.steps)
    text = tell(short, end)
    assert "submit fault" in text
    assert str(end.violation) in text


def test_the_command_reports_what_happened_and_fails_when_a_seed_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = CliRunner().invoke(app, ["simulate", "--seeds", "3", "--json"])
    assert good.exit_code == 0, good.output
    told = json.loads(good.stdout)
    assert told["scenarios"] == 3
    assert told["counts"]["events"] > 100
    a_timeout_frees_the_reservation(monkeypatch)
    seed = next(s for s in range(MUTANT_SEEDS) if play(story_of(s)).violation is not None)
    bad = CliRunner().invoke(app, ["simulate", "--seed", str(seed)])
    assert bad.exit_code == 1
    assert "shrunk from" in bad.stdout
