"""The file of a recorded session, byte by byte.

    file  = magic, frame*
    frame = length (4 bytes, little endian), CRC-32 of the body (4), body (MessagePack)
    body  = ["opening", header, opening] | ["event", name, event, commands] | ["end", sha256 of all bytes before]

``commands`` are the bytes of the MessagePack array of ``[name, command]`` pairs: what a replay must
give again. Arrays (of a risk snapshot, of bars) are ``[shape, little-endian doubles]``. The file is
only ever appended to; a frame that is cut short or damaged ends what can be read, and is told.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from executor.core import commands as core_commands
from executor.core import events as core_events
from executor.core.commands import Command
from executor.core.events import Event
from executor.errors import InputError
from executor.replay.opening import Opening

MAGIC = b"sallyport session 1\n"
_HEAD = struct.Struct("<II")


def _subclasses(module: Any, base: type) -> dict[str, type]:
    return {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base
    }


EVENTS = _subclasses(core_events, Event)
COMMANDS = _subclasses(core_commands, Command)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Which session of which build this is."""

    session: str
    """New York date, ``YYYY-MM-DD``."""
    account: str
    epoch: int
    build: str
    settings_hash: str
    started_at: str
    """Wall time, ISO 8601 UTC."""


@dataclass(frozen=True)
class Told:
    """One event and the commands it led to, as recorded."""

    number: int
    """From 1, in the order told."""
    event: Event
    commands: bytes


@dataclass
class Recording:
    """A recorded session.

    Attributes
    ----------
    complete : bool
        It was closed in order and its digest holds.
    lost : str
        What is missing at the end, in words; empty if nothing is.
    """

    path: Path
    header: Header
    opening: Opening
    told: list[Told] = field(default_factory=list)
    complete: bool = False
    lost: str = ""


def _array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [list(value.shape), np.ascontiguousarray(value, dtype="<f8").tobytes()]
    raise NotImplementedError(f"a recording does not hold a {type(value).__name__}")


def _from_array(_: type, value: Any) -> Any:
    shape, raw = value
    return np.frombuffer(raw, dtype="<f8").reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_array)
_decoders: dict[str, msgspec.msgpack.Decoder[Event]] = {
    n: msgspec.msgpack.Decoder(kind, dec_hook=_from_array) for n, kind in EVENTS.items()
}
_opening = msgspec.msgpack.Decoder(Opening)
_header = msgspec.msgpack.Decoder(Header)
_body = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode_commands(commands: Sequence[Command]) -> bytes:
    """The bytes a replay is compared by."""
    return _encoder.encode([(type(c).__name__, c) for c in commands]) if commands else b""


def decode_commands(raw: bytes) -> list[tuple[str, Any]]:
    """``(name, command)`` of each recorded command."""
    if not raw:
        return []
    pairs = msgspec.msgpack.decode(raw, type=list[tuple[str, msgspec.Raw]])
    return [(name, msgspec.msgpack.decode(body, type=COMMANDS[name])) for name, body in pairs]


def frame(*parts: Any) -> bytes:
    """One frame of these parts."""
    body = _encoder.encode(parts)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def read(path: Path) -> Recording:
    """Read a recording as far as it is whole.

    Raises :class:`InputError` if there is no such file or it is not a recording.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the session {path}: {error.strerror}; executor replay lists what there is"
        ) from None
    if not content.startswith(MAGIC):
        raise InputError(f"{path} is not a recorded session (it does not begin with {MAGIC[:-1].decode()!r})")
    frames = _Frames(content)
    bodies = iter(frames)
    first = next(bodies, None)
    if first is None or msgspec.msgpack.decode(first[0]) != "opening":
        raise InputError(f"{path} holds no opening: the process died before it was written")
    recording = Recording(path, _header.decode(first[1]), _opening.decode(first[2]))
    for parts in bodies:
        kind = msgspec.msgpack.decode(parts[0])
        if kind == "end":
            before = hashlib.sha256(content[: frames.last_at]).hexdigest()
            recording.complete = msgspec.msgpack.decode(parts[1]) == before
            recording.lost = (
                "" if recording.complete else "the digest at its end does not match: it was altered"
            )
            return recording
        name = msgspec.msgpack.decode(parts[1])
        event = _decoders[name].decode(parts[2])
        commands = msgspec.msgpack.decode(parts[3])
        recording.told.append(Told(len(recording.told) + 1, event, commands))
    recording.lost = frames.damage or (
        "it was not closed: the process was killed, and what it was told in its last tenth of a second may be missing"
    )
    return recording


class _Frames:
    """Iterates the whole frames of a file's content."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.last_at = len(MAGIC)
        self.damage = ""

    def __iter__(self) -> Iterator[list[msgspec.Raw]]:
        at, end = len(MAGIC), len(self.content)
        while at < end:
            body_at = at + _HEAD.size
            length, crc = _HEAD.unpack_from(self.content, at) if body_at <= end else (end, 0)
            body = self.content[body_at : body_at + length]
            if len(body) < length:
                self.damage = (
                    f"its last frame (byte {at}) is cut short: the process or the machine died while writing"
                )
                return
            if zlib.crc32(body) != crc:
                self.damage = f"the frame at byte {at} is damaged; nothing after it was read"
                return
            self.last_at, at = at, body_at + length
            yield _body.decode(body)
