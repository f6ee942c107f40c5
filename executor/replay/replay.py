"""The recorded events through a fresh engine: the same commands byte for byte, or the first difference."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from executor.core.engine import Engine
from executor.replay.frames import Recording, Told, decode_commands, encode_commands


@dataclass(frozen=True)
class Difference:
    """Where a replay went another way."""

    told: Told
    recorded: tuple[str, ...]
    replayed: tuple[str, ...]


@dataclass(frozen=True)
class Replayed:
    """What came of it."""

    engine: Engine
    events: int
    commands: int
    difference: Difference | None


def replay(recording: Recording, *, until: dt.datetime | None = None) -> Replayed:
    """Tell a fresh engine everything again, up to ``until`` (market time, exclusive) if given."""
    engine = recording.opening.engine()
    commands = events = 0
    for told in recording.told:
        if until is not None and told.event.market_time >= until:
            break
        try:
            again = encode_commands(given := engine.decide(told.event))
        except Exception as error:
            shown = tuple(str(c) for _, c in decode_commands(told.commands))
            return Replayed(
                engine, events, commands, Difference(told, shown, (f"{type(error).__name__}: {error}",))
            )
        events += 1
        commands += len(given)
        if again != told.commands:
            difference = Difference(
                told,
                tuple(str(c) for _, c in decode_commands(told.commands)),
                tuple(str(c) for c in given),
            )
            return Replayed(engine, events, commands, difference)
    return Replayed(engine, events, commands, None)
