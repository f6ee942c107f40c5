"""Messages that the ledger could not take, in a file beside it until it can.

One JSON line a message (its body in base64), synced to the disk before the writer goes on. Several
processes may add to it (a running executor, ``executor kill``); whoever imports it renames it first, so
nothing is added to what is being read. A line is imported as often as it takes: the ledger knows each
message by its id.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from executor.messages import BrokerMessage

FILE = "messages.jsonl"
TAKEN = "messages-*.taken"


class Spool:
    """The spool of one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "spool"
        self._file = self.folder / FILE

    def append(self, messages: list[BrokerMessage]) -> None:
        """Add messages; they are on the disk when this returns. Raises ``OSError`` if they are not."""
        lines = b"".join(_line(m) for m in messages)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if not _still_there(handle, self._file):
                    continue  # taken for import between open and lock: that file is closed to us
                with os.fdopen(os.dup(handle), "ab") as file:
                    file.write(lines)
                    file.flush()
                    os.fsync(handle)
                return
            finally:
                os.close(handle)

    @property
    def waiting(self) -> bool:
        """Whether anything waits for import."""
        return self._file.exists() or any(self.folder.glob(TAKEN))

    @contextlib.contextmanager
    def taken(self) -> Iterator[list[BrokerMessage]]:
        """Everything that waits, oldest first; removed when the block ends without an error."""
        if self._file.exists():
            with contextlib.suppress(FileNotFoundError), self._file.open("rb") as grown:
                fcntl.flock(grown, fcntl.LOCK_EX)
                if _still_there(grown.fileno(), self._file):
                    self._file.rename(self.folder / TAKEN.replace("*", uuid.uuid4().hex))
        files = sorted(self.folder.glob(TAKEN), key=lambda f: f.stat().st_mtime_ns)
        lines = [line for file in files for line in file.read_bytes().splitlines()]
        yield [_message(line) for line in lines if line]
        for file in files:
            file.unlink(missing_ok=True)


def _still_there(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _line(message: BrokerMessage) -> bytes:
    row = {
        "id": str(message.message_id), "received_at": message.received_at.isoformat(), "channel": message.channel,
        "direction": message.direction, "refs": message.refs, "request": message.request, "status": message.status,
        "headers": dict(message.headers), "failure": message.failure,
        "body": base64.b64encode(message.body).decode(),
    }  # fmt: skip
    return json.dumps(row).encode() + b"\n"


def _message(line: bytes) -> BrokerMessage:
    try:
        row = json.loads(line)
        return BrokerMessage(
            channel=row["channel"], direction=row["direction"], body=base64.b64decode(row["body"], validate=True),
            refs=tuple(row["refs"]), request=row["request"], status=row["status"], headers=row["headers"],
            failure=row["failure"], received_at=dt.datetime.fromisoformat(row["received_at"]),
            message_id=uuid.UUID(row["id"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        # The machine stopped in the middle of this line: nobody was told that it is kept, but it is.
        return BrokerMessage(
            "spool", "in", line, failure="a torn line of the spool file", message_id=_id_of(line)
        )


def _id_of(line: bytes) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, line.hex())
