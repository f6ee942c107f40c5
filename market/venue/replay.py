"""A session again from its journal: the same tape, the same requests at the same venue times, a new journal.

The journal's first line holds everything the venue was started with, so the second run needs nothing else. Equal
bytes mean that nothing but tape, seed and requests decided what happened.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from market.venue.errors import VenueError
from market.venue.faults import Fault
from market.venue.messages import Request


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The journal's lines; a last line cut short by a crash is left out."""
    try:
        raw = path.read_bytes().split(b"\n")
    except OSError as reason:
        raise VenueError(f"the journal {path} cannot be read: {reason.strerror}") from None
    complete, rest = raw[:-1], raw[-1]
    del rest  # what follows the last newline was never finished
    lines: list[dict[str, Any]] = []
    for number, line in enumerate(complete, 1):
        try:
            lines.append(msgspec.json.decode(line))
        except msgspec.DecodeError:
            raise VenueError(f"the journal {path} is damaged at line {number}") from None
    if not lines or lines[0].get("kind") != "header":
        raise VenueError(f"{path} is not a venue journal: its first line is no header")
    return lines


class Rerun:
    """The session of journal `path` once more, line by line, writing its own journal to `out` (None: nowhere)."""

    def __init__(self, path: Path, out: Path | None) -> None:
        from market.venue.command import Options, build_server
        from market.venue.exchange import Rules

        self.lines = read_lines(path)
        header = dict(self.lines[0]["options"])
        rules = msgspec.convert(header.pop("rules"), Rules)
        files: dict[str, Any] = {
            key: Path(value) if (value := header.pop(key)) else None for key in ("data", "faults")
        }
        options = dataclasses.replace(
            msgspec.convert(header, Options, strict=False), rules=rules, journal=out, **files
        )
        self.server = build_server(options)
        for armed in list(self.server.faults.armed):
            self.server.effects.schedule(armed)
        self._next = 1

    def play(self, number: int, t: int) -> None:
        """Repeat the lines up to `number`, then let time pass to `t`."""
        while self._next < len(self.lines) and self.lines[self._next]["n"] <= number:
            self._repeat(self.lines[self._next])
            self._next += 1
        self.server.exchange.advance(t)

    def _repeat(self, line: dict[str, Any]) -> None:
        server, kind = self.server, line["kind"]
        if kind not in ("request", "control", "arm", "disarm", "end"):
            return  # what followed from the rest
        server.exchange.advance(line["t"])
        if kind == "request":
            request = Request(
                line["method"], line["path"], line.get("query", {}), line.get("body", "").encode()
            )
            server.gateway.perform(line["dialect"], line["account"], request)
        elif kind == "control":
            fault = Fault(0, line["kind_of_fault"], {}, line["parameters"])
            server.effects.act(fault, server.exchange.now)
            server.exchange.advance(server.exchange.now)
        elif kind == "arm":
            server.arm(line["fault"])
        elif kind == "disarm":
            server.disarm(line["number"])
        else:
            server.close_journal()


def replay(path: Path, out: Path) -> bool:
    """Run the session of journal `path` again, writing `out`; whether both are equal byte for byte.

    A journal that was cut off (no `end` line) is compared as far as it goes.
    """
    rerun = Rerun(path, out)
    last = rerun.lines[-1]
    rerun.play(last["n"], last["t"])
    rerun.server.journal.close()
    written, again = path.read_bytes(), out.read_bytes()
    if last["kind"] == "end":
        return written == again
    return again.startswith(written[: written.rindex(b"\n") + 1])


def replayed_frames(path: Path) -> tuple[int, list[int]]:
    """Every market data frame of a session made again: (how many lines, which lines of the wire file differ)."""
    from market.venue.frame_log import check_frames

    rerun = Rerun(path, None)
    return check_frames(path.with_name(path.name + ".wire"), rerun, rerun.server.feed)
