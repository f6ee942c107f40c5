"""A recorded session replays to the same commands, byte for byte; what is missing or altered is said."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from core_world import World
from typer.testing import CliRunner

from executor.cli import app
from executor.core import engine, events, order_life
from executor.core.commands import Command, Submit
from executor.core.known import Known
from executor.core.modes import Mode
from executor.errors import InputError, RefusedError
from executor.replay.explain import explain
from executor.replay.frames import COMMANDS, EVENTS, Recording, decode_commands, read
from executor.replay.opening import Opening
from executor.replay.recorder import FOLDER, RecordedEngine, Recorder, record
from executor.replay.replay import replay
from executor.simulation import shell as simulation_shell
from executor.simulation.play import play
from executor.simulation.story import story_of


def recorded(folder: Path, seed: int, patch: pytest.MonkeyPatch) -> list[Recording]:
    """Every process of a simulated story, each on record; the last one is closed, a crashed one is not."""
    files: list[Recorder] = []
    start = simulation_shell.Shell.start

    class Recording_(RecordedEngine):
        def decide(self, event: events.Event) -> list[Command]:
            if self.recorder is None:
                self.recorder = record(self, folder, "2022-12-28", "SIM", len(files) + 1)
                files.append(self.recorder)
            return super().decide(event)

    patch.setattr(simulation_shell, "Engine", Recording_)
    assert start is simulation_shell.Shell.start
    assert play(story_of(seed)).violation is None
    files[-1].close()
    return [read(f.path) for f in files]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    return recorded(tmp_path / "state", 3, monkeypatch)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happened_in_a_session_the_replay_gives_the_same_commands(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = recorded(tmp_path, seed, monkeypatch)
    assert recordings[-1].complete
    for recording in recordings:
        assert recording.told
        again = replay(recording)
        assert again.difference is None
        assert again.events == len(recording.told)


def test_the_opening_holds_everything_an_engine_is_built_from() -> None:
    parameters = set(inspect.signature(Known.__init__).parameters) - {"self", "book"}
    assert parameters <= set(Opening.__struct_fields__)


def test_every_event_and_command_can_be_recorded() -> None:
    assert set(engine.ROOMS) == set(EVENTS.values())
    assert Submit in COMMANDS.values()


def test_a_change_of_code_shows_as_the_first_event_that_leads_elsewhere(
    session: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    def shy(known: Known, event: events.OrderEvidence) -> list[Command]:
        return order_life.on_evidence(known, event)[:0]

    monkeypatch.setitem(engine.ROOMS, events.OrderEvidence, shy)
    difference = replay(session[-1]).difference
    assert difference is not None
    assert isinstance(difference.told.event, events.OrderEvidence)
    assert difference.recorded
    assert not difference.replayed


def test_a_session_that_was_killed_replays_as_far_as_it_goes_and_says_so(session: list[Recording]) -> None:
    whole = session[-1].path.read_bytes()
    for cut, words in ((len(whole) - 90, "not closed"), (len(whole) - 130, "cut short")):
        path = session[-1].path.with_name(f"cut-{cut}.session")
        path.write_bytes(whole[:cut])
        part = read(path)
        assert not part.complete
        assert words in part.lost or "cut short" in part.lost
        assert replay(part).difference is None


def test_a_byte_altered_in_the_middle_is_found(session: list[Recording]) -> None:
    content = bytearray(session[-1].path.read_bytes())
    content[len(content) // 2] ^= 1
    session[-1].path.write_bytes(bytes(content))
    damaged = read(session[-1].path)
    assert not damaged.complete
    assert "damaged" in damaged.lost


def test_what_led_to_an_order_is_in_the_record_before_the_order_leaves(tmp_path: Path) -> None:
    world = World()
    taken = RecordedEngine.__new__(RecordedEngine)
    taken.__dict__.update(world.engine.__dict__)
    taken.recorder = None
    world.engine = taken
    taken.recorder = record(taken, tmp_path, "2022-12-28", "T", 1)
    world.batch({"AAA": "0.05"})
    sent = world.accept(world.tick())
    assert len(sent) == 1
    recording = read(taken.recorder.path)
    names = [name for told in recording.told for name, _ in decode_commands(told.commands)]
    assert names[-1] == "Submit", "flushed with the order, not with the next timer"


def test_an_order_is_explained_by_its_batch_its_quote_its_verdicts_and_its_life(
    session: list[Recording],
) -> None:
    for recording in session:
        sent = [
            c for told in recording.told for name, c in decode_commands(told.commands) if name == "Submit"
        ]
        if sent:
            break
    story = explain(recording, sent[0].client_order_id)
    text = "\n".join(line.text for line in (*story.before, *story.life))
    assert f"{sent[0].side} {sent[0].qty} {sent[0].symbol}" in text
    assert "Quote symbol" in text
    assert "limits checked" in text
    assert "-> Submit" in text
    with pytest.raises(InputError, match="names 0 orders"):
        explain(recording, "sp-none")


def test_two_processes_never_write_one_recording(tmp_path: Path) -> None:
    first = record(World().engine, tmp_path, "2022-12-28", "T", 1)
    with pytest.raises(RefusedError, match="not recorded is not traded"):
        record(World().engine, tmp_path, "2022-12-28", "T", 1)
    assert first.path.stat().st_mode & 0o077 == 0


def test_the_command_says_the_same_or_where_not(
    session: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALLYPORT_STATE_DIR", str(session[-1].path.parent.parent))
    assert session[-1].path.parent.name == FOLDER
    run = CliRunner()
    good = run.invoke(app, ["replay", "last"])
    assert good.exit_code == 0, good.output
    assert "the same" in good.stdout
    assert "byte for byte" in good.stdout
    early = run.invoke(app, ["replay", "2022-12-28", "--until", "09:36", "--json"])
    assert early.exit_code == 0, early.output
    assert json.loads(early.stdout)["events"] < len(session[-1].told)
    listed = run.invoke(app, ["replay"])
    assert session[-1].path.stem in listed.stdout
    monkeypatch.setitem(engine.ROOMS, events.Batch, lambda known, event: [])
    bad = run.invoke(app, ["replay", "last"])
    assert bad.exit_code != 0
    assert "led to other commands" in bad.stdout


def test_a_replay_is_the_same_in_a_process_with_another_hash_seed(session: list[Recording]) -> None:
    program = (
        "import sys; from pathlib import Path; from executor.replay.frames import read; "
        "from executor.replay.replay import replay; r = replay(read(Path(sys.argv[1]))); "
        "print(r.events, r.commands, r.difference)"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", program, str(session[-1].path)], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(shown) == 1
    assert shown.pop().endswith("None\n")


def test_modes_and_decimals_survive_the_file(tmp_path: Path) -> None:
    world = World(mode=Mode.REDUCING, positions={"AAA": "12.5"})
    opening = Opening.of(world.engine)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(opening), type=Opening)
    assert again == opening
    assert again.engine().book.positions == {"AAA": Decimal("12.5")}
    assert again.engine().mode is Mode.REDUCING
