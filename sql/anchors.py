"""Anchors: the chain's head, written down outside the database.

A chain inside Postgres cannot show that its tail was cut or that all of it was hashed anew. An
anchor can: one line ``{seq, hash}`` in a place that whoever rewrites the database does not reach.
Each line of a file carries the SHA-256 of the line before it, so an anchor file that was edited
shows it too. The format is described in docs/audit-format.md.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import text
from sqlmodel import Session

from sql.errors import LedgerError

OCCASIONS = ("minute", "start", "kill", "takeover", "limits", "close", "backup", "restore", "manual")
NO_PREVIOUS = "0" * 64
COMMAND_SECONDS_MAX = 20


class AnchorError(LedgerError):
    """A place that cannot take or show its anchors, or a file of them that was edited."""


@dataclass(frozen=True)
class Head:
    """The chain's head at one moment: what an anchor says."""

    ledger: str
    seq: int
    hash: str
    at: dt.datetime


@dataclass(frozen=True)
class Anchor:
    """One anchor as a place shows it."""

    ledger: str
    seq: int
    hash: str
    at: dt.datetime
    occasion: str
    place: str


class Place(Protocol):
    """Somewhere outside the database that takes one line and keeps it."""

    name: str

    def write(self, head: Head, occasion: str) -> None:
        """Write one anchor; raises :class:`AnchorError` if it was not taken."""


class AnchorFile:
    """An append-only file, best on another disk or host; each write is flushed to the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file {path}"

    def write(self, head: Head, occasion: str) -> None:
        """Append one line, linked to the line before it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                last = _last_line(file.fileno())
                line = anchor_line(head, occasion, hashlib.sha256(last).hexdigest() if last else NO_PREVIOUS)
                os.write(handle, line.encode() + b"\n")
                os.fsync(handle)
        except OSError as error:
            raise AnchorError(
                f"anchor file {self.path}: {error.strerror}; make it writable or name another place"
            ) from error

    def read(self) -> list[Anchor]:
        """All anchors of the file; raises :class:`AnchorError` if a line was changed or removed."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AnchorError(f"anchor file {self.path} cannot be read: {error.strerror}") from error
        found, previous = [], NO_PREVIOUS
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                anchor = Anchor(
                    entry["ledger"], int(entry["seq"]), entry["hash"], dt.datetime.fromisoformat(entry["at"]),
                    entry["occasion"], self.name,
                )  # fmt: skip
                linked = entry["previous"] == previous
            except (ValueError, KeyError, TypeError) as error:
                raise AnchorError(f"anchor file {self.path} line {number} is not an anchor") from error
            if not linked:
                raise AnchorError(
                    f"anchor file {self.path} was edited: line {number} does not follow its predecessor"
                )
            previous = hashlib.sha256(line).hexdigest()
            found.append(anchor)
        return found


class AnchorCommand:
    """A program that gets the line on standard input: a mail, an object store, a time stamp."""

    def __init__(self, command: str) -> None:
        self.arguments = shlex.split(command)
        self.name = f"command {self.arguments[0] if self.arguments else ''}"

    def write(self, head: Head, occasion: str) -> None:
        """Run the program; a non-zero end or twenty silent seconds count as not taken."""
        line = anchor_line(head, occasion, NO_PREVIOUS) + "\n"
        try:
            subprocess.run(
                self.arguments,
                input=line.encode(),
                check=True,
                capture_output=True,
                timeout=COMMAND_SECONDS_MAX,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise AnchorError(f"anchor {self.name} did not take it: {error}") from error


def places(addresses: Sequence[str], state_dir: Path) -> list[Place]:
    """The places that settings name: a path, or ``command:program arguments``.

    With none named, a file beside the ledger: better than nothing, and ``executor ledger doctor``
    asks for a place of its own.
    """
    if not addresses:
        return [AnchorFile(default_file(state_dir))]
    found: list[Place] = []
    for address in addresses:
        kind, separator, rest = address.partition(":")
        if separator and kind == "command":
            found.append(AnchorCommand(rest))
        else:
            found.append(AnchorFile(Path(rest if separator and kind == "file" else address).expanduser()))
    return found


def default_file(state_dir: Path) -> Path:
    """Where anchors go when nobody named a place."""
    return state_dir / "anchors" / "anchors.jsonl"


def read_anchors(addresses: Iterable[Place], ledger: str) -> list[Anchor]:
    """Every anchor of this ledger that the readable places hold, oldest first."""
    found = [a for place in addresses if isinstance(place, AnchorFile) for a in place.read()]
    return sorted((a for a in found if a.ledger == ledger), key=lambda a: (a.at, a.seq))


def read_head(session: Session) -> Head:
    """The chain's head as the database has it now."""
    row = session.execute(
        text(
            "SELECT (SELECT ledger_id FROM ledger.identity) AS id, seq, hash, clock_timestamp() AS at FROM ledger.audit_head"
        )
    ).one()
    return Head(str(row.id), row.seq, row.hash.hex(), row.at)


def anchor_now(session: Session, where: Iterable[Place], occasion: str) -> list[str]:
    """Anchor the head at every place, record it, and return what went wrong (empty if nothing)."""
    head, problems = read_head(session), []
    for place in where:
        error = ""
        try:
            place.write(head, occasion)
        except AnchorError as problem:
            error = str(problem)
            problems.append(error)
        session.execute(
            text("SELECT ledger.record_anchor(:seq, :hash, :occasion, :place, :error)"),
            {
                "seq": head.seq,
                "hash": bytes.fromhex(head.hash),
                "occasion": occasion,
                "place": place.name,
                "error": error,
            },
        )
    return problems


def anchor_line(head: Head, occasion: str, previous: str) -> str:
    """One anchor as a line of JSON, keys in a fixed order."""
    entry: dict[str, Any] = {
        "sallyport_anchor": 1, "ledger": head.ledger, "seq": head.seq, "hash": head.hash,
        "at": head.at.astimezone(dt.UTC).isoformat(), "occasion": occasion, "previous": previous,
    }  # fmt: skip
    return json.dumps(entry, separators=(",", ":"))


def _last_line(handle: int) -> bytes:
    size = os.fstat(handle).st_size
    back = 1024
    while size:
        start = max(0, size - back)
        lines = os.pread(handle, size - start, start).rstrip(b"\n").split(b"\n")
        if len(lines) > 1 or start == 0:
            return lines[-1]
        back *= 4
    return b""
