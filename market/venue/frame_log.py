"""Market data frames in the journal: not their bytes, but what it takes to make them again, and their hash.

A frame is a function of the tape, the subscriptions of its connection, the step of the feed (start < time <= end),
and what was announced beside the tape. Each `frame` line of the wire file has those (a `subscription` line goes before
the first frame that needs it) and the BLAKE2b of the frames' bytes, so that `check_frames`, or anybody with the tape,
can tell whether a client was sent what the exchange showed at that moment.
"""

from __future__ import annotations

import dataclasses
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from market.venue.data_stream import DataConnection
from market.venue.errors import VenueError
from market.venue.feeds import SOCKETS
from market.venue.journal import Journal
from market.venue.market_feed import MarketFeed, Special, Window
from market.venue.polygon_stream import PolygonConnection

Talker = DataConnection | PolygonConnection


class Core(Protocol):
    """What can be moved to a line of the core journal, and from there to a time."""

    def play(self, number: int, t: int) -> None:
        """Repeat the session to line `number` and on to `t`."""


def hash_of(frames: list[bytes]) -> str:
    """The fingerprint of frames in a `frame` line."""
    digest = hashlib.blake2b(digest_size=16)
    for frame in frames:
        digest.update(frame)
    return digest.hexdigest()


class FrameLog:
    """Writes the lines of the data sockets."""

    def __init__(self, journal: Journal, feed: MarketFeed) -> None:
        self._journal = journal
        self._feed = feed
        self._subscribed: dict[Talker, dict[str, list[str]]] = {}
        self._state: dict[str, Any] = {}

    def sent(self, socket: str, number: int, talker: Talker, frames: list[bytes], window: Window) -> None:
        """Frames of one step of the feed went to one connection."""
        channels = _channels(talker)
        if self._subscribed.get(talker) != channels:
            self._subscribed[talker] = channels
            self._journal.wire(
                "subscription",
                {"socket": socket, "client": number, "encoding": _encoding(talker), "channels": channels},
            )
        state = _state(self._feed)
        if state != self._state:
            self._state = state
            self._journal.wire("feed", state)
        line: dict[str, Any] = {
            "socket": socket, "client": number, "from": window.start, "until": window.end, "frames": len(frames),
            "bytes": sum(map(len, frames)), "blake2b": hash_of(frames),
        }  # fmt: skip
        if window.specials:
            line["specials"] = [dataclasses.asdict(special) for special in window.specials]
        self._journal.wire("frame", line)

    def forget(self, talker: Talker) -> None:
        """The connection is gone."""
        self._subscribed.pop(talker, None)


def _channels(talker: Talker) -> dict[str, list[str]]:
    named = talker.subscriptions if isinstance(talker, DataConnection) else talker.topics
    return {channel: list(symbols) for channel, symbols in named.items() if symbols}


def _encoding(talker: Talker) -> dict[str, Any]:
    if isinstance(talker, PolygonConnection):
        return {}
    return {"msgpack": talker.codec.binary, "feed": talker.feed.name if talker.feed is not None else None}


def _state(feed: MarketFeed) -> dict[str, Any]:
    """What faults have done to the feed, where they have."""
    found = {
        "muted": sorted(feed.muted_quotes), "skipped_share": feed.skipped_share,
        "iex_gap": str(feed.iex_gap) if feed.iex_gap else "", "ahead_ns": feed.ahead_ns,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def check_frames(wire: Path, core: Core, feed: MarketFeed) -> tuple[int, list[int]]:
    """(data frame lines made again, numbers of the lines of `wire` whose bytes would have been others)."""
    talkers: dict[tuple[str, int], Talker] = {}
    checked, different = 0, []
    try:
        lines = wire.read_bytes().split(b"\n")[:-1]
    except OSError as reason:
        raise VenueError(f"the journal {wire} cannot be read: {reason.strerror}") from None
    for number, raw in enumerate(lines, 1):
        line = msgspec.json.decode(raw)
        if line.get("kind") == "feed":
            feed.muted_quotes = set(line.get("muted", ()))
            feed.skipped_share = line.get("skipped_share", 0.0)
            feed.iex_gap = Decimal(line.get("iex_gap", "0"))
            feed.ahead_ns = line.get("ahead_ns", 0)
        elif line.get("kind") == "subscription":
            talkers[line["socket"], line["client"]] = _talker(line, feed)
        elif line.get("kind") == "frame" and line["socket"] != "trading":
            core.play(line["after"], line["until"])
            specials = [Special(**special) for special in line.get("specials", ())]
            window = Window(feed, line["from"], line["until"], specials)
            talker = talkers[line["socket"], line["client"]]
            frames = talker.publish(window, feed.exchange.tape.symbols)
            checked += 1
            if hash_of(frames) != line["blake2b"]:
                different.append(number)
    return checked, different


def _talker(line: dict[str, Any], feed: MarketFeed) -> Talker:
    """A connection that has subscribed as the line says."""
    talker: Talker
    if line["socket"] == "polygon":
        talker = PolygonConnection(authenticate=lambda key: True, known=lambda symbol: True)
        named = talker.topics
    else:
        encoding = line["encoding"]
        talker = DataConnection(
            msgpack=encoding["msgpack"], feed=SOCKETS[encoding["feed"]] if encoding["feed"] else None,
            authenticate=lambda key, secret: True, known=lambda symbol: True,
        )  # fmt: skip
        named = talker.subscriptions
    talker.authenticated = True
    for channel, symbols in line["channels"].items():
        named[channel] = dict.fromkeys(symbols)
    return talker
