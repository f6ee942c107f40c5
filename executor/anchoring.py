"""Anchors while the executor runs: each minute, and at once after a kill, a takeover, a limit change, the close."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from executor.core.modes import Mode
from executor.journal import Journal
from sql.anchors import AnchorError, Head, Place, read_anchors

EVERY_S = 60.0


class Anchoring:
    """Writes the chain's head to every place; a place that fails is told once until it works again.

    Parameters
    ----------
    journal : Journal
    places : sequence of Place
    say : callable
        Where progress lines for the user go.
    """

    def __init__(self, journal: Journal, places: Sequence[Place], say: Callable[[str], None]) -> None:
        self.journal = journal
        self.places = places
        self.say = say
        self._wanted: list[str] = []
        self._wake = asyncio.Event()
        self._failing: set[str] = set()

    def want(self, occasion: str) -> None:
        """Ask the loop for an anchor now."""
        self._wanted.append(occasion)
        self._wake.set()

    async def loop(self) -> None:
        """Anchor on demand and every minute, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), EVERY_S)
            self._wake.clear()
            wanted, self._wanted = self._wanted or ["minute"], []
            await self.write(wanted[-1])

    async def write(self, occasion: str) -> None:
        """Anchor the head as it is now, at every place."""
        head = await self._head()
        for place in self.places:
            error = ""
            try:
                await asyncio.to_thread(place.write, head, occasion)
                self._failing.discard(place.name)
            except AnchorError as problem:
                error = str(problem)
                if place.name not in self._failing:
                    self._failing.add(place.name)
                    self.say(f"anchor not written: {error}")
                    await self.journal.alert("warning", "anchor_failed", f"No anchor at {place.name}", error)
            await self.journal.rows(
                "SELECT record_anchor(%s, %s, %s, %s, %s)",
                head.seq,
                bytes.fromhex(head.hash),
                occasion,
                place.name,
                error,
            )

    async def check(self) -> None:
        """Compare the newest anchor with the chain; a ledger that is older or other than it may not trade.

        A restore that declared itself (``executor ledger restore``) has halted the ledger already.
        """
        try:
            anchors = await asyncio.to_thread(read_anchors, self.places, (await self._head()).ledger)
        except AnchorError as problem:
            await self._halt(str(problem))
            return
        if not anchors:
            return
        last = anchors[-1]
        held = await self.journal.value("SELECT encode(hash, 'hex') FROM audit_log WHERE seq = %s", last.seq)
        if held != last.hash and not await self._restored_since(last.seq):
            what = "does not reach" if held is None else "differs from"
            await self._halt(
                f"the ledger {what} its anchor of {last.at:%Y-%m-%d %H:%M:%S} UTC (entry {last.seq}): it is an old "
                "copy or was rewritten; see executor audit verify"
            )

    async def _restored_since(self, seq: int) -> bool:
        kept = await self.journal.value(
            "SELECT min((body::jsonb ->> 'kept_seq')::bigint) FROM audit_log WHERE kind = 'RESTORE'"
        )
        return kept is not None and kept < seq

    async def _halt(self, reason: str) -> None:
        self.say(f"HALTED: {reason}")
        await self.journal.tighten(Mode.HALTED, reason[:300])
        await self.journal.alert("critical", "anchor_mismatch", "The ledger does not hold its anchor", reason)

    async def _head(self) -> Head:
        row = (
            await self.journal.rows(
                "SELECT (SELECT ledger_id FROM identity) AS id, seq, hash, clock_timestamp() AS at FROM audit_head"
            )
        )[0]
        return Head(str(row["id"]), row["seq"], bytes(row["hash"]).hex(), row["at"])
