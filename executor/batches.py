"""Approved batches taken up: checked once more, with their risk snapshot and the legs already sent."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from typing import Any

from executor.broker import Raw
from executor.core.events import Batch, InstrumentSeen, ModelState, Target
from executor.desk import Desk
from executor.feed_watch import FeedWatch
from models.errors import ModelsError
from models.risk.snapshot import load_snapshot


class Batches:
    """Claims approved batches and hands them to the engine, their names' quotes subscribed first."""

    def __init__(self, desk: Desk, feed: FeedWatch) -> None:
        self.desk = desk
        self.feed = feed
        self._shown: dict[dt.date | None, set[str]] = {}

    async def resume(self) -> None:
        """Take up again what was claimed before a restart, or watch what is held."""
        batch = await self.desk.journal.rows(
            "SELECT id FROM signal_batch WHERE state = 'CLAIMED' ORDER BY proposed_at LIMIT 1"
        )
        if batch:
            await self._adopt(batch[0]["id"])
        elif self.desk.engine.book.positions:
            await self.feed.watch(set(self.desk.engine.book.positions))

    async def claim(self) -> None:
        """Claim the next approved batch, if there is one."""
        batch = await self.desk.journal.claim_batch(self.desk.clock.now())
        if batch is not None:
            await self._adopt(batch)

    async def _adopt(self, batch_id: uuid.UUID) -> None:
        """Take up a claimed batch: its targets, its risk snapshot, the legs already sent."""
        if problem := await self.desk.journal.check_batch(batch_id):
            reason = f"batch {batch_id} is not traded: {problem}"
            await self.desk.journal.alert(
                "critical", "batch_refused", "A claimed batch is not what was approved", reason
            )
            await self.desk.journal.finish_batch(str(batch_id), problem)
            await self.desk.halt(reason)
            return
        row = (
            await self.desk.journal.rows(
                "SELECT b.valid_until, b.strategy, r.path, r.content_hash, b.model_version_id, m.expires_at "
                "FROM signal_batch b JOIN risk_snapshot r ON r.id = b.risk_snapshot_id "
                "LEFT JOIN model_version m ON m.id = b.model_version_id WHERE b.id = %s", batch_id
            )
        )[0]  # fmt: skip
        signals = await self.desk.journal.rows(
            "SELECT s.id, s.symbol, s.target_weight, (SELECT coalesce(max(o.leg), 0) FROM orders o "
            "WHERE o.signal_id = s.id) AS legs FROM signal s WHERE s.batch_id = %s ORDER BY s.symbol", batch_id
        )  # fmt: skip
        try:
            snapshot = load_snapshot(Path(row["path"]), row["content_hash"])
        except (ModelsError, OSError) as error:
            reason = f"batch {batch_id} is not traded: its risk snapshot cannot be used ({error})"
            await self.desk.journal.alert(
                "critical", "batch_refused", "Risk snapshot missing or altered", reason
            )
            await self.desk.journal.finish_batch(str(batch_id), reason)
            await self.desk.halt(reason)
            return
        if row["model_version_id"] is not None:
            await self.desk.tell(
                ModelState(
                    **self.desk.day.stamp(),
                    model_id=row["model_version_id"],
                    expires_at=row["expires_at"],
                    strategy=row["strategy"],
                )
            )
        await self._show_instruments({s["symbol"] for s in signals} | set(self.desk.engine.book.positions))
        targets = [Target(str(s["id"]), s["symbol"], s["target_weight"]) for s in signals]
        await self.feed.watch({t.symbol for t in targets} | set(self.desk.engine.book.positions))
        await self.desk.tell(
            Batch(
                **self.desk.day.stamp(),
                batch_id=str(batch_id),
                valid_until=row["valid_until"],
                targets=tuple(targets),
                snapshot=snapshot,
                legs={str(s["id"]): s["legs"] for s in signals},
                strategy=row["strategy"],
            )
        )
        self.desk.say(f"batch {str(batch_id)[:8]} of {row['strategy']}: {len(targets)} targets")

    async def _show_instruments(self, symbols: set[str]) -> None:
        """What the broker allows in these names, told once a day."""
        fresh = symbols - self._shown.get(self.desk.day.date, set())
        if not fresh:
            return
        # Whose newest prices are not believed may be got out of, not into.
        doubted = {r["symbol"] for r in await self.desk.journal.rows("SELECT symbol FROM v_reduce_only")}
        for asset in await self.desk.broker.assets():
            if asset["symbol"] in fresh:
                trusted = asset["symbol"] not in doubted
                await self.desk.tell(instrument_event(asset, self.desk.day.stamp(), trusted=trusted))
        self._shown = {self.desk.day.date: self._shown.get(self.desk.day.date, set()) | fresh}


def instrument_event(asset: Raw, stamp: dict[str, Any], *, trusted: bool = True) -> InstrumentSeen:
    """The broker's asset as an event; what it does not say is unknown.

    ``trusted`` False: the validation has its prices in quarantine, so that it can only be reduced.
    """
    borrow = asset.get("borrow_status")
    if borrow is None and asset.get("easy_to_borrow") is not None:
        borrow = "easy_to_borrow" if asset["easy_to_borrow"] else "hard_to_borrow"
    return InstrumentSeen(
        **stamp,
        symbol=asset["symbol"],
        tradable=bool(asset["tradable"]) and asset["status"] == "active" and trusted,
        shortable=asset.get("shortable"),
        borrow={"easy_to_borrow": "easy", "hard_to_borrow": "hard"}.get(borrow or ""),
        fractionable=bool(asset.get("fractionable")),
        # Early and late sessions are for listed names; those traded over the counter have none.
        extended_hours=asset.get("exchange") not in (None, "OTC"),
        marginable=asset.get("marginable"),
    )
