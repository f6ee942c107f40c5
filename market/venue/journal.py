"""The venue's append-only record: requests, answers, matches, updates, bookings, with venue nanoseconds.

Two files. `PATH` holds what the exchange did: one JSON object a line, numbered, a function of tape, seed and
requests alone, so two equal runs write equal bytes. `PATH.wire` holds what wall time adds: for each line of the
first file the nanoseconds of two clocks (realtime and boottime), and the connections and frames of the sockets.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from market.venue.errors import VenueError

_encoder = msgspec.json.Encoder()


class Journal:
    """Writes; nothing is kept when `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._count = 0
        self._core: BinaryIO | None = None
        self._wire: BinaryIO | None = None
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._core = path.open("wb", buffering=1 << 16)
                self._wire = path.with_name(path.name + ".wire").open("wb", buffering=1 << 16)
            except OSError as reason:
                raise VenueError(f"the journal {path} cannot be written: {reason.strerror}") from reason

    @property
    def on(self) -> bool:
        """Whether anything is written."""
        return self._core is not None

    def record(self, kind: str, t: int, body: dict[str, Any]) -> None:
        """What the exchange did at venue time `t`."""
        if self._core is None or self._wire is None:
            return
        self._count += 1
        self._core.write(_encoder.encode({"n": self._count, "t": t, "kind": kind, **body}) + b"\n")
        self._wire.write(b'{"n":%d,"wall_ns":%d,"boot_ns":%d}\n' % (self._count, time.time_ns(), _boot_ns()))

    def wire(self, kind: str, body: dict[str, Any]) -> None:
        """What happened on a socket."""
        if self._wire is None:
            return
        line = {"kind": kind, "after": self._count, "wall_ns": time.time_ns(), "boot_ns": _boot_ns(), **body}
        self._wire.write(_encoder.encode(line) + b"\n")

    def flush(self) -> None:
        """Hand the lines to the operating system."""
        if self._core is not None and self._wire is not None:
            self._core.flush()
            self._wire.flush()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        for file in (self._core, self._wire):
            if file is not None:
                file.close()
        self._core = self._wire = None


def _boot_ns() -> int:
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
