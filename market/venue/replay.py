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


def replay(path: Path, out: Path) -> bool:
    """Run the session of journal `path` again, writing `out`; whether both are equal byte for byte."""
    from market.venue.command import Options, build_server
    from market.venue.exchange import Rules

    lines = read_lines(path)
    header = lines[0]["options"]
    rules = msgspec.convert(header.pop("rules"), Rules)
    files: dict[str, Any] = {
        key: Path(value) if (value := header.pop(key)) else None for key in ("data", "faults")
    }
    options = dataclasses.replace(
        msgspec.convert(header, Options, strict=False), rules=rules, journal=out, **files
    )
    server = build_server(options)
    for armed in list(server.faults.armed):
        server.effects.schedule(armed)
    for line in lines[1:]:
        if line["kind"] == "request":
            server.exchange.advance(line["t"])
            request = Request(
                line["method"], line["path"], line.get("query", {}), line.get("body", "").encode()
            )
            server.gateway.perform(line["dialect"], line["account"], request)
        elif line["kind"] == "control":
            server.exchange.advance(line["t"])
            fault = Fault(0, line["kind_of_fault"], {}, line["parameters"])
            server.effects.act(fault, server.exchange.now)
            server.exchange.advance(server.exchange.now)
        elif line["kind"] == "arm":
            server.exchange.advance(line["t"])
            server.arm(line["fault"])
        elif line["kind"] == "disarm":
            server.exchange.advance(line["t"])
            server.disarm(line["number"])
        elif line["kind"] == "end":
            server.exchange.advance(line["t"])
            server.close_journal()
    server.journal.close()
    return path.read_bytes() == out.read_bytes()
