"""The executor: one asyncio process around the core.

It turns bytes into events and commands into bytes, and writes the journal first. Start, crash and
reconnect take one path: read both sides, book what was missed, compare, and only then trade.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import importlib.metadata
import logging
import signal
import uuid
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from executor import sweep
from executor.anchoring import Anchoring
from executor.broker import UNANSWERED, Raw, parse_time
from executor.broker import connect as connect_broker
from executor.clock import MarketClock
from executor.core.book import Book
from executor.core.commands import (
    Alert,
    Cancel,
    Command,
    EnterMode,
    FinishBatch,
    Record,
    Refuse,
    Reserve,
    Submit,
)
from executor.core.engine import Engine
from executor.core.events import (
    Batch,
    CashMoved,
    Event,
    Fill,
    LimitsChanged,
    ModeSeen,
    OrderEvidence,
    Quote,
    Reserved,
    Target,
    Timer,
)
from executor.core.limits import VAR_LEVEL
from executor.core.modes import Mode
from executor.core.orders import TERMINAL, Evidence, State, evidence_of_status, next_state
from executor.errors import ExecutorError, NotReconciled, RefusedError, Stopped
from executor.feed import Feed
from executor.journal import Journal
from executor.reconcile import Reconciliation, reconcile
from executor.settings import Settings
from models.errors import ModelsError
from models.risk.snapshot import load_snapshot
from models.risk.value_at_risk import historical
from sql.anchors import places

NEW_YORK = ZoneInfo("America/New_York")
TIMER_S = 0.1
HEARTBEAT_S = 0.25
SETTLE_AFTER_CLOSE = dt.timedelta(minutes=2)
CLOSE_DEADLINE_S = 60.0
UNANSWERED_ALERT = 3
DRAIN_S = 20.0
LOOK_AGAIN_S = (0.2, 0.5, 1.0, 2.0)
INSIST_S = (0.2, 0.5, 1.0, 2.0)
LAST_CERTAIN = (
    "SELECT least((SELECT max(market_time) FROM reconciliation_run WHERE matched), "
    "(SELECT min(market_time) FROM orders WHERE state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT')))"
)
"""Since when ledger and broker may differ: the last equal comparison, or the oldest open order."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Executor:
    """One account's executor.

    Parameters
    ----------
    settings : Settings
    url : str
        Ledger address.
    say : callable
        Where progress lines for the user go.
    """

    def __init__(self, settings: Settings, url: str, say: Callable[[str], None]) -> None:
        self.settings = settings
        self.url = url
        self.say = say
        self.clock = MarketClock(settings.clock_rate)
        # Intervals are market intervals, never shorter than what one request budget can bear.
        rate = settings.clock_rate
        self.sweep_s = max(2.0, 20.0 / rate)
        self.reconcile_s = max(10.0, 60.0 / rate)
        self.mark_s = max(1.0, 60.0 / rate)
        self.reprice_ns = int(max(1.0, 30.0 / rate) * 1e9)
        self.kill_file = settings.state_dir / "KILL"
        self._turn = asyncio.Lock()
        self._stop = asyncio.Event()
        self._sweep_now = asyncio.Event()
        self._failure: BaseException | None = None
        self._session_day: dt.date | None = None
        self._marked_day: dt.date | None = None
        self._unanswered = 0
        self._feed_stale = False
        self._trading = False
        self._draining = False
        self._started_at = dt.datetime.max.replace(tzinfo=dt.UTC)
        self._session = (dt.datetime.max.replace(tzinfo=dt.UTC),) * 2
        self._order_ids: dict[str, str] = {}
        self._activities_kept: set[str] = set()
        self._feed_task: asyncio.Task[None] | None = None
        self._feed_since: int | None = None

    # ------------------------------------------------------------------ life

    async def run(self, *, until_close: bool) -> Reconciliation:
        """Trade until stopped, or until the session has closed and is reconciled.

        Raises :class:`NotReconciled` if it ends with a difference, and whatever stopped it early.
        """
        self.broker, account = await connect_broker(self.settings.broker)
        try:
            self._check_account(account)
            self.journal = await Journal.open(self.url)
            try:
                return await self._run(account, until_close)
            finally:
                await self.journal.close()
        finally:
            self.broker.close()

    def _check_account(self, account: Raw) -> None:
        number = account["account_number"]
        if self.settings.account and self.settings.account != number:
            raise RefusedError(
                f"the broker key is for account {number}, settings name account {self.settings.account}; "
                "correct SALLYPORT_ACCOUNT or the key"
            )
        if account.get("trading_blocked") or account.get("account_blocked"):
            raise RefusedError(f"account {number} is blocked at the broker; ask the broker")

    async def _run(self, account: Raw, until_close: bool) -> Reconciliation:
        epoch = await self.journal.claim_account(account["account_number"])
        self.anchors = Anchoring(
            self.journal, places(self.settings.anchors, self.settings.state_dir), self.say
        )
        await self.anchors.check()
        await self.journal.release(identity(self.settings))
        await self.anchors.write("takeover")
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, self._stop.set)
        await self._synchronise()
        self.say(
            f"epoch {epoch} on account {account['account_number']}, market time {self._show(self.clock.now())}"
        )
        await self._open_book(account)
        self.engine = await self._restore()
        self.feed = Feed(self.settings, self.clock, self._on_quote)
        updates = self.updates = self.broker.trade_updates(self._on_update)
        tasks = [asyncio.create_task(self._guard(updates._run_forever(), "trade updates"))]
        try:
            await self._until(lambda: updates._running, 15, "the trade_updates stream did not open")
            await self._recover()
            self._trading = True
            self._say_mode()
            jobs = {
                "timer": self._timer_loop(),
                "heartbeat": self._heartbeat_loop(),
                "sweep": self._sweep_loop(),
                "marks": self._mark_loop(),
                "anchors": self.anchors.loop(),
            }
            tasks += [asyncio.create_task(self._guard(job, name)) for name, job in jobs.items()]
            if until_close:
                await self._wait_for_close()
            else:
                await self._stop.wait()
                self._raise_failure()
                await self._drain()
            return await self._finish(until_close)
        except BaseException as error:
            await self._emergency(error)
            raise
        finally:
            if self._feed_task is not None:
                tasks.append(self._feed_task)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for stream in (updates, self.feed.stream):
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(stream.close(), 2)

    async def _guard(self, job: Awaitable[Any], name: str) -> None:
        """Run one of our loops; its failure ends the executor instead of passing unseen."""
        try:
            await job
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            log.exception("%s failed", name)
            failure: BaseException = error
        else:
            # None of them ends by itself. The SDK's quote stream does, when the plan forbids the feed.
            failure = ExecutorError(
                f"{name} ended; for quotes, check that the plan covers {self.settings.feed.stream_url}"
            )
        self._failure = self._failure or failure
        self._stop.set()

    def _raise_failure(self) -> None:
        """Raise what a loop of ours died of, if one did."""
        if self._failure is not None:
            raise self._failure

    async def _emergency(self, error: BaseException) -> None:
        """Something broke: no new risk, cancel what works, tell a person. Best effort by nature."""
        # Refused (fenced by a successor, whose orders are not ours to cancel), stopped by a person (and
        # drained), or ended with a difference (and halted already): nothing is left to make safe.
        if not self._trading or isinstance(error, (NotReconciled, RefusedError, Stopped)):
            return
        reason = f"{type(error).__name__}: {error}"
        with contextlib.suppress(Exception):
            await self.broker.cancel_all()
        with contextlib.suppress(Exception):
            await self.journal.alert("critical", "executor_stopped", "Executor stopped on an error", reason)
        with contextlib.suppress(Exception):
            if self.engine.mode is not Mode.FLATTENING:
                await self.journal.tighten(Mode.HALTED, f"executor stopped on {reason}")

    def _say_mode(self) -> None:
        """A latched mode must not look like a quiet day."""
        if self.engine.mode is not Mode.READY:
            self.say(f"mode {self.engine.mode}: latched; executor status says why, executor rearm loosens it")

    async def _drain(self) -> None:
        """Cancel everything that works and wait until the broker says so, before the process ends."""
        self._draining = True
        deadline = self.clock.now_ns() + int(DRAIN_S * 1e9)
        while any(o.is_open for o in self.engine.orders.values()):
            if self.clock.now_ns() > deadline:
                count = sum(o.is_open for o in self.engine.orders.values())
                raise ExecutorError(
                    f"{count} orders are still open {DRAIN_S:.0f} s after they were cancelled; look at the broker's page"
                )
            self._sweep_now.set()
            await asyncio.sleep(0.3)
            self._raise_failure()

    # ------------------------------------------------------------------ start and recovery

    async def _synchronise(self) -> None:
        broker_time, _ = await self.broker.clock()
        self.clock.synchronise(broker_time)
        day = self.clock.now().astimezone(NEW_YORK).date()
        if day != self._session_day:
            self._session_day = day
            bounds = await self.broker.session(day)
            never = dt.datetime.max.replace(tzinfo=dt.UTC)
            self._session = bounds or (never, never)

    async def _open_book(self, account: Raw) -> None:
        if await self.journal.value("SELECT count(*) FROM posting"):
            return
        positions = await self.broker.positions()
        # What the last days' fees and dividends did to the cash will be booked by the first sweep.
        day = self.clock.now().astimezone(NEW_YORK).date()
        later = sum(
            (
                Decimal(row["net_amount"])
                for row in await self.broker.activities(sweep.activities_since(day))
                if row["activity_type"] in sweep.CASH_ACTIVITIES
            ),
            Decimal(0),
        )
        rows = [
            {"symbol": s, "qty": p["qty"], "price": p["avg_entry_price"]}
            for s, p in sorted(positions.items())
        ]
        from psycopg.types.json import Jsonb

        await self.journal.rows(
            "SELECT open_book(%s, %s, %s)", self.journal.epoch, Decimal(account["cash"]) - later, Jsonb(rows)
        )
        self.say(
            f"book opened with {account['cash']} USD and {len(rows)} positions, as the broker shows them"
        )

    async def _restore(self) -> Engine:
        """The engine as the ledger remembers it."""
        row = (await self.journal.rows("SELECT mode, killed, flatten FROM book"))[0]
        limits = await self.journal.rows(
            "SELECT version, limits FROM limit_version WHERE effective_from <= clock_timestamp() "
            "ORDER BY version DESC LIMIT 1"
        )
        if not limits:
            raise RefusedError("the ledger has no limits; run: executor ledger init")
        sectors = await self.journal.rows("SELECT symbol, sector FROM instrument WHERE sector IS NOT NULL")
        mark = await self.journal.rows(
            "SELECT session, day_open_equity, (SELECT max(high_water_mark) FROM equity_mark) AS high "
            "FROM equity_mark ORDER BY id DESC LIMIT 1"
        )
        book = Book(cash=await self.journal.cash(), positions=await self.journal.positions())
        if mark:
            book.high_water_mark = mark[0]["high"]
            book.day, book.day_open_equity = mark[0]["session"], mark[0]["day_open_equity"]
        placed = (
            await self.journal.value(
                "SELECT count(*) FROM orders WHERE market_time >= %s",
                self._session[0] - dt.timedelta(hours=12),
            )
            if self._session[0].year < 9999
            else 0
        )
        orders = await self.journal.orders(open_only=False)
        for order in orders:
            if order.broker_order_id:
                self._order_ids[order.broker_order_id] = order.client_order_id
        engine = Engine(
            book,
            Mode(row["mode"]),
            limits[0]["version"],
            limits[0]["limits"],
            {r["symbol"]: r["sector"] for r in sectors},
            reprice_ns=self.reprice_ns,
            identity=identity(self.settings),
            orders=orders,
            orders_today=placed,
        )
        engine.killed, engine.flatten = row["killed"], row["flatten"]
        return engine

    async def _recover(self) -> None:
        """Book what happened while we were away, resolve what is open, and compare both sides."""
        for order in [o for o in self.engine.orders.values() if o.is_open]:
            if order.state is State.INTENT:
                order.state = next_state(order.state, Evidence.VOIDED)
                await self.journal.set_state(
                    order.client_order_id, order.state, None, None, "restart before it was sent"
                )
            elif order.state is State.SENDING:
                await self._tell(self._evidence(order.client_order_id, Evidence.AMBIGUOUS, reason="restart"))
        self._started_at = self.clock.now()
        since = await self.journal.value(LAST_CERTAIN)
        await self._insist(lambda: self._sweep(since))
        result = await self._insist(lambda: self._reconcile("start"))
        self.say(
            f"start reconciliation: {'equal' if result.matched else f'{len(result.breaks)} differences'}"
        )
        held = set(self.engine.book.positions)
        batch = await self.journal.rows(
            "SELECT id FROM signal_batch WHERE state = 'CLAIMED' ORDER BY proposed_at LIMIT 1"
        )
        if batch:
            await self._adopt(batch[0]["id"])
        elif held:
            await self._watch(held)

    # ------------------------------------------------------------------ loops

    async def _timer_loop(self) -> None:
        while True:
            await asyncio.sleep(TIMER_S)
            await self._tell(
                Timer(
                    market_time=self.clock.now(),
                    now_ns=self.clock.now_ns(),
                    session_open=self._session[0],
                    session_close=self._session[1],
                    broker_ready=self._broker_ready(),
                    draining=self._draining,
                )
            )

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the broker until it answers, a few times: where a start or an end depends on it."""
        for pause_s in INSIST_S:
            try:
                return await ask()
            except UNANSWERED as error:
                log.warning("not answered, asking again: %s", type(error).__name__)
                await asyncio.sleep(pause_s)
        return await ask()

    def _broker_ready(self) -> bool:
        """Order updates are connected, and the last sweep was answered."""
        return bool(self.updates._running) and self._unanswered == 0

    async def _heartbeat_loop(self) -> None:
        """Mode, kill latch, limits and new batches: polled, because polling cannot be lost."""
        seen = (self.engine.mode, self.engine.killed, self.engine.flatten)
        beats, kill_file_seen = 0, False
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            beats += 1
            beat = await self.journal.heartbeat(self.clock.now(), self._feed_age_ms())
            now = (beat.mode, beat.killed, beat.flatten)
            if now != seen:
                seen = now
                if beat.killed and not self.engine.killed:
                    self.anchors.want("kill")
                if beat.mode is not self.engine.mode or beat.killed != self.engine.killed:
                    self.say(f"mode {beat.mode}{' (killed)' if beat.killed else ''}")
                await self._tell(
                    ModeSeen(**self._stamp(), mode=beat.mode, killed=beat.killed, flatten=beat.flatten)
                )
            if beat.limit_version is not None and beat.limit_version != self.engine.limit_version:
                self.anchors.want("limits")
                limits = await self.journal.value(
                    "SELECT limits FROM limit_version WHERE version = %s", beat.limit_version
                )
                await self._tell(LimitsChanged(**self._stamp(), version=beat.limit_version, limits=limits))
            if beats % 4 == 0:
                # On the second sighting: a kill from the command line writes the file, then the ledger.
                present = self.kill_file.exists() and not beat.killed
                if present and kill_file_seen:
                    await self._obey_kill_file()
                kill_file_seen = present
                await self._watch_feed()
                if self.engine.batch_finished and beat.mode in (Mode.READY, Mode.REDUCING):
                    batch = await self.journal.claim_batch(self.clock.now())
                    if batch is not None:
                        await self._adopt(batch)
                if beat.mode is Mode.FLATTENING:
                    with contextlib.suppress(*UNANSWERED):  # asked again in a second
                        await self._announce_flat()

    async def _sweep_loop(self) -> None:
        last_reconciled = self.clock.now_ns()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sweep_now.wait(), self.sweep_s)
            self._sweep_now.clear()
            try:
                await self._synchronise()
                await self._sweep()
            except UNANSWERED as error:
                await self._count_unanswered(error)
                continue
            self._unanswered = 0
            if (self.clock.now_ns() - last_reconciled) / 1e9 > self.reconcile_s:
                last_reconciled = self.clock.now_ns()
                with contextlib.suppress(*UNANSWERED):  # the next sweep counts it
                    await self._reconcile("running")

    async def _count_unanswered(self, error: Exception) -> None:
        """A sweep the broker did not answer: no new target until one is; a person hears of the third."""
        self._unanswered += 1
        log.warning("sweep %d not answered: %s", self._unanswered, type(error).__name__)
        if self._unanswered == UNANSWERED_ALERT:
            await self.journal.alert(
                "critical",
                "broker_unreachable",
                f"{UNANSWERED_ALERT} sweeps in a row were not answered",
                f"{self.settings.broker.url}: {type(error).__name__}. No new orders until it answers.",
            )

    async def _mark_loop(self) -> None:
        while True:
            await asyncio.sleep(self.mark_s)
            if self._session[0] <= self.clock.now() < self._session[1]:
                await self._mark_equity()

    # ------------------------------------------------------------------ events and commands

    def _stamp(self) -> dict[str, Any]:
        return {"market_time": self.clock.now(), "now_ns": self.clock.now_ns()}

    def _on_quote(self, quote: Quote) -> None:
        self.engine.decide(quote)

    async def _tell(self, event: Event) -> None:
        """Let the engine decide, and carry its commands out in order, one event at a time."""
        async with self._turn:
            pending = self.engine.decide(event)
            while pending:
                command, *pending = pending
                answer = await self._carry_out(command)
                if answer is not None:
                    pending = self.engine.decide(answer) + pending

    async def _carry_out(self, command: Command) -> Event | None:
        match command:
            case Reserve(intent=intent):
                assert intent.client_order_id is not None
                if self._marked_day != self._session_day:
                    await self._mark_equity()  # the ledger refuses risk on an equity it has not seen
                ok, reason = await self.journal.place(intent)
                return Reserved(**self._stamp(), client_order_id=intent.client_order_id, ok=ok, reason=reason)
            case Refuse():
                await self.journal.refuse(command.intent, command.reason)
            case Record():
                await self._record(command)
            case Submit():
                return await self._submit(command)
            case Cancel():
                if not await self.broker.cancel(command.broker_order_id):
                    self._sweep_now.set()
                    return self._evidence(
                        command.client_order_id, Evidence.WORKING, reason="cancel not taken"
                    )
            case EnterMode():
                self.say(f"mode {command.mode}: {command.reason}")
                await self.journal.tighten(command.mode, command.reason)
            case Alert():
                await self.journal.alert(
                    command.severity, command.kind, command.title, command.body, command.ref
                )
            case FinishBatch():
                await self.journal.finish_batch(command.batch_id, command.note)
                self.say(f"batch {command.batch_id[:8]} done: {command.note}")
        return None

    async def _obey_kill_file(self) -> None:
        """A kill file counts as a kill; the file works when nothing else does."""
        await self.journal.rows("SELECT kill('kill file', %s, false)", f"{self.kill_file} exists")
        self.engine.decide(ModeSeen(**self._stamp(), mode=Mode.HALTED, killed=True, flatten=False))

    async def _record(self, command: Record) -> None:
        if command.state is State.SENDING and not self.engine.killed and self.kill_file.exists():
            await self._obey_kill_file()  # the ledger now withdraws the intent instead of sending it
        held = await self.journal.set_state(
            command.client_order_id,
            command.state,
            command.broker_order_id,
            command.broker_status,
            command.reason,
        )
        if command.broker_order_id:
            self._order_ids[command.broker_order_id] = command.client_order_id
        if held is State.VOID:
            self.engine.orders[command.client_order_id].state = State.VOID

    async def _submit(self, command: Submit) -> Event | None:
        """Send once, unless the last look at the ledger withdrew the intent."""
        if self.engine.orders[command.client_order_id].state is State.VOID:
            return None
        outcome = await self.broker.submit(
            command.client_order_id, command.symbol, command.side, command.qty, command.limit_price
        )
        await self.journal.raw("orders", command.client_order_id, outcome.order or {"reason": outcome.reason})
        if outcome.evidence is Evidence.AMBIGUOUS:
            self._sweep_now.set()
        order = outcome.order
        return self._evidence(
            command.client_order_id,
            outcome.evidence,
            broker_order_id=order["id"] if order else None,
            broker_status=order["status"] if order else None,
            broker_filled=Decimal(order.get("filled_qty") or 0) if order else None,
            reason=outcome.reason,
        )

    def _evidence(self, client_order_id: str, evidence: Evidence, **more: Any) -> OrderEvidence:
        return OrderEvidence(**self._stamp(), client_order_id=client_order_id, evidence=evidence, **more)

    # ------------------------------------------------------------------ what the broker shows

    async def _on_update(self, raw: Raw) -> None:
        """A trade update. Persist first; never raise into the SDK, a sweep repairs what failed."""
        try:
            data = raw["data"]
            order = data["order"]
            await self.journal.raw("trade_updates", order["client_order_id"], raw)
            if order["client_order_id"] not in self.engine.orders:
                # A fill may come before the send's own answer: wait for the turn, then look again.
                async with self._turn:
                    known = order["client_order_id"] in self.engine.orders
                if not known:
                    await self._foreign(order)
                    return
            await self._show_order(
                order, booked=await sweep.book_update(self.journal, data), event=data.get("event")
            )
        except RefusedError as error:
            self._failure = self._failure or error
            self._stop.set()
        except Exception:
            log.exception("trade update not booked; sweeping instead")
            self._sweep_now.set()

    async def _show_order(
        self, order: Raw, booked: tuple[str, Decimal, Decimal] | None, event: str | None = None
    ) -> None:
        client_id = order["client_order_id"]
        if booked is not None:
            key, qty, price = booked
            await self._tell(
                Fill(**self._stamp(), execution_id=key, client_order_id=client_id, qty=qty, price=price)
            )
        refused = event in ("order_cancel_rejected",)
        await self._tell(
            self._evidence(
                client_id,
                evidence_of_status(order["status"]),
                broker_order_id=order["id"],
                broker_status=order["status"],
                broker_filled=Decimal(order.get("filled_qty") or 0),
                reason=event if refused and event else "",
            )
        )

    async def _foreign(self, order: Raw) -> None:
        """An order on our account that the ledger does not know: stop, cancel it, tell a person."""
        reason = (
            f"order {order['client_order_id']} ({order['side']} {order['qty']} {order['symbol']}) is not ours"
        )
        if self.engine.mode is not Mode.HALTED:
            await self.journal.alert(
                "critical", "foreign_order", "An order we did not send", reason, order["id"]
            )
            await self._halt(reason)
        if order["status"] not in ("filled", "canceled", "expired", "rejected", "replaced"):
            await self.broker.cancel(order["id"])

    async def _halt(self, reason: str, *, flat: bool = False) -> None:
        """Halt, unless a flattening is under way that has not ended flat."""
        if self.engine.mode is Mode.FLATTENING and not flat:
            return  # the way out is not broken off; the alert has been raised
        self.say(f"HALTED: {reason}")
        await self.journal.tighten(Mode.HALTED, reason)
        await self._tell(
            ModeSeen(
                **self._stamp(), mode=Mode.HALTED, killed=self.engine.killed, flatten=self.engine.flatten
            )
        )

    async def _sweep(self, last_certain: dt.datetime | None = None) -> None:
        """Read orders and activities from the broker and book whatever we have not seen.

        ``last_certain`` is the market time up to which both sides are known to agree; a start after a
        long pause reads from there on.
        """
        day = self.clock.now().astimezone(NEW_YORK).date()
        if last_certain is not None:
            day = min(day, last_certain.astimezone(NEW_YORK).date())
        since = dt.datetime.combine(day, dt.time(), NEW_YORK) - dt.timedelta(days=1)
        shown = await self.broker.orders_since(since)
        by_id = {o["id"]: o for o in shown}
        for row in await self.broker.activities(sweep.activities_since(day)):
            if row["id"] not in self._activities_kept:
                self._activities_kept.add(row["id"])
                await self.journal.raw("activities", row["id"], row)
            if row["activity_type"] == "FILL":
                await self._sweep_fill(row, by_id)
            elif row["activity_type"] in sweep.CASH_ACTIVITIES:
                amount = await sweep.book_cash_activity(self.journal, row)
                if amount is not None:
                    await self._tell(CashMoved(**self._stamp(), amount=amount))
        for order in shown:
            if order["client_order_id"] in self.engine.orders:
                await self._show_order(order, booked=None)
            # One that ended before we started is history: if it traded, the positions say so.
            elif (
                evidence_of_status(order["status"]) is Evidence.WORKING
                or parse_time(order["submitted_at"]) >= self._started_at
            ):
                async with self._turn:
                    known = order["client_order_id"] in self.engine.orders
                if not known:
                    await self._foreign(order)
        await self._resolve_unknown({o["client_order_id"] for o in shown})

    async def _sweep_fill(self, row: Raw, by_id: dict[str, Raw]) -> None:
        client_id = self._order_ids.get(row["order_id"])
        if client_id is None and row["order_id"] in by_id:
            client_id = by_id[row["order_id"]]["client_order_id"]
        if client_id is None or client_id not in self.engine.orders:
            return  # a foreign order's fill: the comparison of positions will show it
        booked = await sweep.book_fill_activity(self.journal, row, client_id)
        if booked is not None:
            key, qty, price = booked
            await self._tell(
                Fill(**self._stamp(), execution_id=key, client_order_id=client_id, qty=qty, price=price)
            )

    async def _resolve_unknown(self, shown: set[str]) -> None:
        """Ask by id for every open order the list does not show; "not found" proves nothing by itself."""
        open_orders = [o for o in self.engine.orders.values() if o.is_open and o.state is not State.INTENT]
        for order in open_orders:
            if order.client_order_id in shown or order.state is State.SENDING:
                continue
            found = await self.broker.find(order.client_order_id)
            if found is not None:
                await self._show_order(found, booked=None)
            elif order.state is State.UNKNOWN and self.clock.now() >= self._session[1]:
                # A day order that neither look-up nor list shows after its session has closed.
                await self._tell(
                    self._evidence(
                        order.client_order_id, Evidence.ABSENT, reason="not at the broker after the close"
                    )
                )

    async def _reconcile(self, occasion: str) -> Reconciliation:
        """Compare both sides; a difference must survive a second look before it counts."""
        result = await reconcile(self.broker, self.journal, occasion, self.clock.now())
        for pause_s in LOOK_AGAIN_S:
            if result.matched:
                break
            # The two sides are read one after the other, so fills in between look like differences:
            # it must be there after every pause, and those that two looks show alike are named.
            await asyncio.sleep(pause_s)
            await self._sweep()
            before, result = result, await reconcile(self.broker, self.journal, occasion, self.clock.now())
            persistent = result.only(before.breaks)
            if pause_s == LOOK_AGAIN_S[-1] and not persistent.matched:
                result = persistent
        await self.journal.record_reconciliation(result.as_json())
        if not result.matched:
            first = result.breaks[0]
            text = "; ".join(
                f"{b.kind} {b.ref}: ledger {b.ledger_value}, broker {b.broker_value}"
                for b in result.breaks[:10]
            )
            await self.journal.alert(
                "critical", "reconciliation_break", f"Ledger and broker differ: {first.ref}", text
            )
            if self.engine.mode is not Mode.HALTED:
                await self._halt(f"reconciliation: {text}")
        return result

    # ------------------------------------------------------------------ batches and quotes

    async def _adopt(self, batch_id: uuid.UUID) -> None:
        """Take up a claimed batch: its targets, its risk snapshot, the legs already sent."""
        if problem := await self.journal.check_batch(batch_id):
            reason = f"batch {batch_id} is not traded: {problem}"
            await self.journal.alert(
                "critical", "batch_refused", "A claimed batch is not what was approved", reason
            )
            await self.journal.finish_batch(str(batch_id), problem)
            await self._halt(reason)
            return
        row = (
            await self.journal.rows(
                "SELECT b.valid_until, b.strategy, r.path, r.content_hash FROM signal_batch b "
                "JOIN risk_snapshot r ON r.id = b.risk_snapshot_id WHERE b.id = %s", batch_id
            )
        )[0]  # fmt: skip
        signals = await self.journal.rows(
            "SELECT s.id, s.symbol, s.target_weight, (SELECT coalesce(max(o.leg), 0) FROM orders o "
            "WHERE o.signal_id = s.id) AS legs FROM signal s WHERE s.batch_id = %s ORDER BY s.symbol", batch_id
        )  # fmt: skip
        try:
            snapshot = load_snapshot(Path(row["path"]), row["content_hash"])
        except (ModelsError, OSError) as error:
            reason = f"batch {batch_id} is not traded: its risk snapshot cannot be used ({error})"
            await self.journal.alert("critical", "batch_refused", "Risk snapshot missing or altered", reason)
            await self.journal.finish_batch(str(batch_id), reason)
            await self._halt(reason)
            return
        targets = [Target(str(s["id"]), s["symbol"], s["target_weight"]) for s in signals]
        await self._watch({t.symbol for t in targets} | set(self.engine.book.positions))
        await self._tell(
            Batch(
                **self._stamp(),
                batch_id=str(batch_id),
                valid_until=row["valid_until"],
                targets=tuple(targets),
                snapshot=snapshot,
                legs={str(s["id"]): s["legs"] for s in signals},
            )
        )
        self.say(f"batch {str(batch_id)[:8]} of {row['strategy']}: {len(targets)} targets")

    async def _watch(self, symbols: set[str]) -> None:
        # The SDK waits on its own loop when it subscribes, so it must be called from another thread.
        first = not self.feed.symbols
        await asyncio.to_thread(self.feed.subscribe, symbols)
        if first and symbols:
            self._feed_since = self.clock.now_ns()
            self._feed_task = asyncio.create_task(self._guard(self.feed.stream._run_forever(), "quotes"))

    async def _watch_feed(self) -> None:
        """Say once that quotes stopped in the session; the quote-age limit itself refuses new risk."""
        age = self._feed_age_ms()
        open_now = self._session[0] <= self.clock.now() < self._session[1]
        limit = self.engine.limits["quote_age_s"]
        if age is None and self._feed_since is not None:
            age = (self.clock.now_ns() - self._feed_since) // 1_000_000  # never a quote since we asked
        stale = bool(self.feed.symbols) and open_now and age is not None and age > 1000 * limit
        if stale and not self._feed_stale:
            title = f"No quote for {age / 1000:.0f} s" if age is not None else "No quote"
            await self.journal.alert(
                "critical",
                "feed_stale",
                title,
                f"{len(self.feed.symbols)} names are watched; no new risk is taken.",
            )
        self._feed_stale = stale

    def _feed_age_ms(self) -> int | None:
        last = self.feed.last_ns
        return None if last is None else (self.clock.now_ns() - last) // 1_000_000

    async def _mark_equity(self) -> None:
        book, engine = self.engine.book, self.engine
        equity = book.equity(engine.quotes)
        if equity is None or book.day_open_equity is None:
            return
        self._marked_day = self._session_day
        values = {s: qty * engine.quotes[s].mid for s, qty in book.positions.items()}
        var, shortfall = self._book_risk(values)
        await self.journal.mark_equity(
            {
                "market_time": self.clock.now().isoformat(),
                "session": self._session_day,
                "cash": book.cash,
                "long_value": sum((v for v in values.values() if v > 0), Decimal(0)),
                "short_value": sum((v for v in values.values() if v < 0), Decimal(0)),
                "equity": equity,
                "day_open_equity": book.day_open_equity,
                "high_water_mark": book.high_water_mark,
                "value_at_risk": var,
                "expected_shortfall": shortfall,
                "marks": {s: engine.quotes[s].mid for s in values},
            }
        )

    def _book_risk(self, values: dict[str, Decimal]) -> tuple[Decimal | None, Decimal | None]:
        snapshot = self.engine.snapshot
        if snapshot is None or not set(values) <= set(snapshot.symbols):
            return None, None
        pnl = snapshot.returns @ [float(values.get(s, 0)) for s in snapshot.symbols]
        var, shortfall = historical(pnl, VAR_LEVEL)
        return Decimal(f"{var:.2f}"), Decimal(f"{shortfall:.2f}")

    # ------------------------------------------------------------------ ends

    async def _announce_flat(self) -> None:
        """Flat is said only once the broker says so; then HALTED."""
        if self.engine.book.positions or any(o.is_open for o in self.engine.orders.values()):
            return
        if await self.broker.positions() or await self.broker.open_orders():
            return
        await self.journal.alert(
            "critical", "flat", "Flat", "The broker shows no positions and no open orders."
        )
        await self._halt("flattened: the broker shows no positions and no open orders", flat=True)

    async def _wait_for_close(self) -> None:
        """Until the session has closed and everything the day leaves behind has been posted."""
        if self._session[1].year == 9999:
            raise RefusedError(
                f"{self._session_day} is no trading session; run without --until-close to wait for the next one"
            )
        while self.clock.now() < self._session[1] + SETTLE_AFTER_CLOSE:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.2)
            self._raise_failure()
            if self._stop.is_set():
                await self._drain()
                raise Stopped("stopped before the close; every working order was cancelled first")
        deadline = self.clock.now_ns() + int(CLOSE_DEADLINE_S * 1e9)
        while any(o.state not in TERMINAL for o in self.engine.orders.values()):
            if self.clock.now_ns() > deadline:
                raise NotReconciled(
                    "orders are still open a minute after the close; executor status shows them"
                )
            self._sweep_now.set()
            await asyncio.sleep(0.3)

    async def _finish(self, until_close: bool) -> Reconciliation:
        await self._insist(self._sweep)
        result = await self._insist(lambda: self._reconcile("close" if until_close else "running"))
        if until_close:
            await self._mark_equity()  # with the day's fees, which are posted after the close
        if self.engine.batch is not None and until_close:
            await self.journal.finish_batch(self.engine.batch.batch_id, "session closed")
        await self.anchors.write("close")
        if not result.matched:
            raise NotReconciled(
                f"ledger and broker differ in {len(result.breaks)} places; executor status shows them"
            )
        return result

    async def _until(self, condition: Callable[[], bool], seconds: float, message: str) -> None:
        deadline = self.clock.now_ns() + int(seconds * 1e9)
        while not condition():
            if self.clock.now_ns() > deadline:
                raise ExecutorError(
                    f"{message} in {seconds:.0f} s; check SALLYPORT_BROKER__STREAM_URL and the key"
                )
            await asyncio.sleep(0.02)

    @staticmethod
    def _show(moment: dt.datetime) -> str:
        return f"{moment.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} New York"


def identity(settings: Settings) -> dict[str, str]:
    """What decided: version of the code and a hash of the settings (secrets left out)."""
    try:
        build = importlib.metadata.version("sallyport")
    except importlib.metadata.PackageNotFoundError:
        build = "source"
    shown = settings.model_dump_json(
        exclude={"broker": {"key_id", "secret_key"}, "database_url": True, "notify": True}
    )
    return {"build": build, "settings_hash": hashlib.sha256(shown.encode()).hexdigest()[:16]}
