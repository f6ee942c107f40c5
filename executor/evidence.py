"""What the broker shows: trade updates as they come, and sweeps that find whatever did not come.

Its bytes are kept already (message_log.py); here it is booked, once by its execution id, and then told
to the engine. An order nobody here decided, or a difference that a second look does not explain, halts.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from decimal import Decimal

from executor import legs, sweep
from executor.broker import Raw, parse_time
from executor.core.events import CashMoved, CorporateAction, Fill, Replaced
from executor.core.modes import Mode
from executor.core.orders import Evidence, State, evidence_of_status
from executor.desk import Desk
from executor.errors import RefusedError
from executor.market_day import NEVER, NEW_YORK
from executor.reconcile import Reconciliation, reconcile

LOOK_AGAIN_S = (0.2, 0.5, 1.0, 2.0)

log = logging.getLogger(__name__)


class BrokerEvidence:
    """Books what the broker shows of one account and compares both sides.

    ``started_at`` is the market time from which on an order that is not ours is a foreign one, and not
    history.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.started_at = NEVER
        self._legs_known: set[str] = set()

    async def on_update(self, raw: Raw) -> None:
        """A trade update, kept already; never raises into the SDK, a sweep repairs what failed."""
        try:
            data = raw["data"]
            order = data["order"]
            if order["client_order_id"] not in self.desk.engine.orders:
                # A fill may come before the send's own answer: wait for the turn, then look again.
                async with self.desk.turn:
                    known = order["client_order_id"] in self.desk.engine.orders
                if not known:
                    await self._foreign(order)
                    return
            if data.get("event") in sweep.CORRECTIONS:
                await self._correct(data)
                return
            await self._show_order(
                order, booked=await sweep.book_update(self.desk.journal, data), event=data.get("event")
            )
        except RefusedError as error:
            self.desk.fail(error)
        except Exception:
            log.exception("trade update not booked; sweeping instead")
            self.desk.sweep_now.set()

    async def _show_order(
        self, order: Raw, booked: tuple[str, Decimal, Decimal] | None, event: str | None = None
    ) -> None:
        client_id = order["client_order_id"]
        if booked is not None:
            key, qty, price = booked
            await self.desk.tell(
                Fill(
                    **self.desk.day.stamp(), execution_id=key, client_order_id=client_id, qty=qty, price=price
                )
            )
        if order["status"] == "replaced":
            await self._show_replacement(order)
        if order.get("order_class") in legs.CLASSES:
            await self._show_legs(order)
        refused = event in ("order_cancel_rejected", "order_replace_rejected")
        await self.desk.tell(
            self.desk.evidence(
                client_id,
                evidence_of_status(order["status"], order.get("time_in_force", "day")),
                broker_order_id=order["id"],
                broker_status=order["status"],
                broker_filled=Decimal(order.get("filled_qty") or 0),
                reason=event if refused and event else "",
            )
        )

    async def _correct(self, data: Raw) -> None:
        """The broker took an execution back or changed it: booked first, then taken by the core."""
        moved = await sweep.book_correction(self.desk.journal, data)
        if moved is not None:
            shares, cash = moved
            await self._moved(data["order"]["symbol"], data["event"], shares, cash)

    async def _moved(self, symbol: str, kind: str, shares: Decimal, cash: Decimal) -> None:
        """Shares or cash moved without a fill, and the ledger has it: the name is planned anew."""
        await self.desk.tell(
            CorporateAction(**self.desk.day.stamp(), symbol=symbol, kind=kind, shares=shares, cash=cash)
        )

    async def _show_replacement(self, order: Raw) -> None:
        """The broker goes on with an order of ours under a new id; which of ours that is, our own Replace said."""
        client_id = order["client_order_id"]
        heirs = [
            o.client_order_id
            for o in self.desk.engine.orders.values()
            if o.replaces_client_order_id == client_id
        ]
        for heir in heirs:
            if order.get("replaced_by") and self.desk.engine.orders[heir].broker_order_id is None:
                self.desk.order_ids[order["replaced_by"]] = heir
                await self.desk.tell(
                    Replaced(
                        **self.desk.day.stamp(),
                        client_order_id=client_id,
                        by_client_order_id=heir,
                        broker_order_id=order["replaced_by"],
                    )
                )

    async def _show_legs(self, order: Raw) -> None:
        """Learn the legs of a bracket before anything is heard of them by themselves; asked for once."""
        client_id = order["client_order_id"]
        if client_id in self._legs_known or self.desk.engine.orders[client_id].parent_client_order_id:
            return
        nested = order if order.get("legs") else await self.desk.broker.nested(order["id"])
        async with self.desk.turn:
            shown = await self.desk.legs_of(nested)
        for event in shown:
            await self.desk.tell(event)
        self._legs_known.add(client_id)

    async def _foreign(self, order: Raw) -> None:
        """An order on our account that the ledger does not know: stop, cancel it, tell a person."""
        reason = (
            f"order {order['client_order_id']} ({order['side']} {order['qty']} {order['symbol']}) is not ours"
        )
        if self.desk.engine.mode is not Mode.HALTED:
            await self.desk.journal.alert(
                "critical", "foreign_order", "An order we did not send", reason, order["id"]
            )
            await self.desk.halt(reason)
        if order["status"] not in ("filled", "canceled", "expired", "rejected", "replaced"):
            await self.desk.broker.cancel(order["id"])

    async def sweep(self, last_certain: dt.datetime | None = None) -> None:
        """Read orders and activities from the broker and book whatever we have not seen.

        ``last_certain`` is the market time up to which both sides are known to agree; a start after a
        long pause reads from there on.
        """
        day = self.desk.day.today()
        if last_certain is not None:
            day = min(day, last_certain.astimezone(NEW_YORK).date())
        since = dt.datetime.combine(day, dt.time(), NEW_YORK) - dt.timedelta(days=1)
        shown = await self.desk.broker.orders_since(since)
        by_id = {o["id"]: o for o in shown}
        for row in await self.desk.broker.activities(sweep.activities_since(day)):
            if row["activity_type"] == "FILL":
                await self._sweep_fill(row, by_id)
            elif row["activity_type"] in sweep.CASH_ACTIVITIES:
                amount = await sweep.book_cash_activity(self.desk.journal, row)
                if amount is not None:
                    await self.desk.tell(CashMoved(**self.desk.day.stamp(), amount=amount))
            elif row["activity_type"] in sweep.SHARE_ACTIVITIES and await sweep.book_share_activity(
                self.desk.journal, row
            ):
                kind = sweep.SHARE_ACTIVITIES[row["activity_type"]]
                cash = Decimal(row.get("net_amount") or 0)
                await self._moved(row["symbol"], kind, Decimal(row["qty"]), cash)
        # Entries before their legs: a leg that is not known yet would pass for a foreign order.
        for order in sorted(shown, key=lambda o: o["client_order_id"] not in self.desk.engine.orders):
            if order["client_order_id"] in self.desk.engine.orders:
                await self._show_order(order, booked=None)
            # One that ended before we started is history: if it traded, the positions say so.
            elif (
                evidence_of_status(order["status"]) is Evidence.WORKING
                or parse_time(order["submitted_at"]) >= self.started_at
            ):
                async with self.desk.turn:
                    known = order["client_order_id"] in self.desk.engine.orders
                if not known:
                    await self._foreign(order)
        await self._resolve_unknown({o["client_order_id"] for o in shown})

    async def _sweep_fill(self, row: Raw, by_id: dict[str, Raw]) -> None:
        client_id = self.desk.order_ids.get(row["order_id"])
        if client_id is None and row["order_id"] in by_id:
            client_id = by_id[row["order_id"]]["client_order_id"]
        if client_id is None or client_id not in self.desk.engine.orders:
            return  # a foreign order's fill: the comparison of positions will show it
        booked = await sweep.book_fill_activity(self.desk.journal, row, client_id)
        if booked is not None:
            key, qty, price = booked
            await self.desk.tell(
                Fill(
                    **self.desk.day.stamp(), execution_id=key, client_order_id=client_id, qty=qty, price=price
                )
            )

    async def _resolve_unknown(self, shown: set[str]) -> None:
        """Ask by id for every open order the list does not show; "not found" proves nothing by itself."""
        open_orders = [
            o for o in self.desk.engine.orders.values() if o.is_open and o.state is not State.INTENT
        ]
        for order in open_orders:
            if order.client_order_id in shown or order.state is State.SENDING:
                continue
            found = await self.desk.broker.find(order.client_order_id)
            if found is not None:
                await self._show_order(found, booked=None)
            elif order.state is State.UNKNOWN:
                # Neither the look-up nor the list shows it. After its session's close that may prove that
                # it never arrived; before, it counts towards sending the same id again. The core decides.
                closed = self.desk.clock.now() >= self.desk.day.close
                evidence = Evidence.ABSENT if closed else Evidence.NOT_FOUND
                await self.desk.tell(
                    self.desk.evidence(order.client_order_id, evidence, reason="not at the broker")
                )

    async def reconcile(self, occasion: str) -> Reconciliation:
        """Compare both sides; a difference must survive a second look before it counts."""
        result = await reconcile(self.desk.broker, self.desk.journal, occasion, self.desk.clock.now())
        for pause_s in LOOK_AGAIN_S:
            if result.matched:
                break
            # The two sides are read one after the other, so fills in between look like differences:
            # it must be there after every pause, and those that two looks show alike are named.
            await asyncio.sleep(pause_s)
            await self.sweep()
            before, result = (
                result,
                await reconcile(self.desk.broker, self.desk.journal, occasion, self.desk.clock.now()),
            )
            persistent = result.only(before.breaks)
            if pause_s == LOOK_AGAIN_S[-1] and not persistent.matched:
                result = persistent
        await self.desk.journal.record_reconciliation(result.as_json())
        if not result.matched:
            first = result.breaks[0]
            text = "; ".join(
                f"{b.kind} {b.ref}: ledger {b.ledger_value}, broker {b.broker_value}"
                for b in result.breaks[:10]
            )
            await self.desk.journal.alert(
                "critical", "reconciliation_break", f"Ledger and broker differ: {first.ref}", text
            )
            if self.desk.engine.mode is not Mode.HALTED:
                await self.desk.halt(f"reconciliation: {text}")
        return result
