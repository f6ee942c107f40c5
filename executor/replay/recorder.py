"""Writes down what the engine is told and what it answers, as it happens.

Events are immutable, so they are kept as they are and turned into bytes with the next timer (every
tenth of a second), and before an order leaves: an order that is out has its reasons in the file. A
kill -9 can lose what was told since; a replay says so.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from executor.core.commands import Command, Replace, Submit
from executor.core.engine import Engine
from executor.core.events import Event, Timer
from executor.errors import RefusedError
from executor.replay.frames import MAGIC, Header, encode_commands, frame
from executor.replay.opening import Opening

FOLDER = "sessions"
SUFFIX = ".session"
WAITING_MAX = 20_000


class Recorder:
    """One session's file.

    Parameters
    ----------
    folder : Path
        Where recordings are kept, ``<state_dir>/sessions``; made if needed.
    header : Header
    opening : Opening
        Of the engine before it was told anything.
    """

    def __init__(self, folder: Path, header: Header, opening: Opening) -> None:
        self.path = folder / f"{header.session}-e{header.epoch}{SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Never over another session: an epoch is used once.
            self._file = open(self.path, "xb", buffering=0, opener=_private)  # noqa: SIM115
        except OSError as error:
            raise RefusedError(
                f"cannot record the session in {self.path}: {error.strerror}; a session that is not recorded is "
                "not traded"
            ) from None
        self._digest = hashlib.sha256()
        self._waiting: list[tuple[Event, Sequence[Command]]] = []
        self._write(MAGIC + frame("opening", header, opening))

    def took(self, event: Event, commands: Sequence[Command]) -> None:
        """The engine was told this and answered that."""
        self._waiting.append((event, commands))
        if (
            isinstance(event, Timer)
            or len(self._waiting) >= WAITING_MAX
            or any(isinstance(c, (Submit, Replace)) for c in commands)
        ):
            self.flush()

    def flush(self) -> None:
        """Hand everything taken so far to the operating system: it outlives the process."""
        if self._waiting:
            self._write(
                b"".join(frame("event", type(e).__name__, e, encode_commands(c)) for e, c in self._waiting)
            )
            self._waiting.clear()

    def close(self) -> str:
        """End the file with its digest, and return the SHA-256 of the whole."""
        if not self._file.closed:
            self.flush()
            self._write(frame("end", self._digest.hexdigest()))
            os.fsync(self._file.fileno())
            self._file.close()
        return self._digest.hexdigest()

    def _write(self, content: bytes) -> None:
        self._digest.update(content)
        view = memoryview(content)
        while view:
            view = view[self._file.write(view) :]


class RecordedEngine(Engine):
    """The engine, with everything it is told and answers on record once a recorder is set."""

    recorder: Recorder | None = None

    def decide(self, event: Event) -> list[Command]:
        """Take one event, note it with what it leads to, and return that."""
        commands = super().decide(event)
        if self.recorder is not None:
            self.recorder.took(event, commands)
        return commands


def record(engine: Engine, state_dir: Path, session: str, account: str, epoch: int) -> Recorder:
    """Open the recording of a session, with the engine as it is before it is told anything."""
    header = Header(
        session=session,
        account=account,
        epoch=epoch,
        build=engine.identity.get("build", ""),
        settings_hash=engine.identity.get("settings_hash", ""),
        started_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )
    return Recorder(state_dir / FOLDER, header, Opening.of(engine))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
