"""The executor: one asyncio process around the core.

It turns bytes into events and commands into bytes, and writes the journal first. Start, crash and
reconnect take one path: read both sides, book what was missed, compare, and only then trade.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from executor import recovery
from executor.anchoring import Anchoring
from executor.batches import Batches
from executor.bounds import for_engine
from executor.broker import UNANSWERED, Raw
from executor.broker import connect as connect_broker
from executor.clock import MarketClock
from executor.core.events import Event, LimitsChanged, ModeSeen, Rearm, Timer
from executor.core.modes import Mode, tighter
from executor.core.orders import TERMINAL
from executor.desk import Desk
from executor.errors import ExecutorError, NotReconciled, RefusedError, Stopped
from executor.evidence import BrokerEvidence
from executor.feed_watch import FeedWatch
from executor.health import HealthWatch
from executor.journal import Heartbeat, Journal
from executor.market_day import MarketDay
from executor.message_log import MessageLog
from executor.reconcile import Reconciliation
from executor.replay.recorder import record
from executor.settings import Settings
from executor.wake import Wake
from sql.anchors import places

TIMER_S = 0.1
HEARTBEAT_S = 0.25
SETTLE_AFTER_CLOSE = dt.timedelta(minutes=2)
CLOSE_DEADLINE_S = 60.0
UNANSWERED_ALERT = 3
DRAIN_S = 20.0
INSIST_S = (0.2, 0.5, 1.0, 2.0)

T = TypeVar("T")

log = logging.getLogger(__name__)


class Executor:
    """One account's executor: its life from start to close, and its loops.

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
        self.day = MarketDay(self.clock)
        self.wake = Wake(url)
        # Intervals are market intervals, never shorter than what one request budget can bear.
        rate = settings.clock_rate
        self.sweep_s = max(2.0, 20.0 / rate)
        self.reconcile_s = max(10.0, 60.0 / rate)
        self.mark_s = max(1.0, 60.0 / rate)
        self.reprice_ns = int(max(1.0, 30.0 / rate) * 1e9)
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._unanswered = 0
        self._trading = False
        self._draining = False

    # ------------------------------------------------------------------ life

    async def run(self, *, until_close: bool) -> Reconciliation:
        """Trade until stopped, or until the session has closed and is reconciled.

        Raises :class:`NotReconciled` if it ends with a difference, and whatever stopped it early.
        """
        messages = MessageLog(self.url, self.settings.state_dir)
        self.broker, account = await connect_broker(self.settings.broker, messages)
        try:
            self._check_account(account)
            self.journal = await Journal.open(self.url)
            try:
                return await self._run(account, until_close)
            finally:
                await self.journal.close()
        finally:
            self.broker.close()
            messages.close()

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
        await self.journal.release(recovery.identity(self.settings))
        await self.journal.keep_raw()
        await self.anchors.write("takeover")
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, self._stop.set)
        await self.day.synchronise(self.broker)
        self.say(f"epoch {epoch} on account {account['account_number']}, market time {self.day.show()}")
        await recovery.open_book(account, self.day, self.journal, self.broker, self.say)
        self.engine = await recovery.restore(self.settings, self.day, self.journal, self.reprice_ns)
        self.engine.recorder = recorder = record(
            self.engine, self.settings.state_dir, str(self.day.today()), account["account_number"], epoch
        )
        self.desk = Desk(
            self.settings, self.day, self.journal, self.broker, self.engine, say=self.say, fail=self._fail
        )
        self.evidence = BrokerEvidence(self.desk)
        self.feed = FeedWatch(self.desk, self._guard)
        self.batches = Batches(self.desk, self.feed)
        self.health = HealthWatch(self.desk, lambda: bool(self.updates._running))
        updates = self.updates = self.broker.trade_updates(self.evidence.on_update, self.desk.fail)
        tasks = [asyncio.create_task(self._guard(updates._run_forever(), "trade updates"))]
        try:
            await self._until(lambda: updates._running, 15, "the trade_updates stream did not open")
            await self._recover()
            await self.health.account(account)
            self._trading = True
            self._say_mode()
            gc.collect()
            gc.freeze()  # what is here now stays: the collector need not walk it in the session
            jobs = {
                "timer": self._timer_loop(),
                "heartbeat": self._heartbeat_loop(),
                "sweep": self._sweep_loop(),
                "marks": self._mark_loop(),
                "health": self.health.loop(),
                "wake": self.wake.loop(),
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
            # Again until they are done: before Python 3.12 wait_for swallows a cancel that comes with its result.
            while pending := [task for task in tasks if not task.done()]:
                for task in pending:
                    task.cancel()
                await asyncio.wait(pending, timeout=0.5)
            await self.feed.close()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(updates.close(), 2)
            recorder.close()

    async def _recover(self) -> None:
        """Book what happened while we were away, resolve what is open, and compare both sides."""
        await recovery.void_unsent(self.desk)
        self.evidence.started_at = self.clock.now()
        since = await self.journal.value(recovery.LAST_CERTAIN)
        await self._insist(lambda: self.evidence.sweep(since))
        result = await self._insist(lambda: self.evidence.reconcile("start"))
        self.say(
            f"start reconciliation: {'equal' if result.matched else f'{len(result.breaks)} differences'}"
        )
        await self.batches.resume()

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
            failure = ExecutorError(f"{name} ended by itself")
        self._fail(failure)

    def _fail(self, error: BaseException) -> None:
        """End the executor with this error; the first one counts."""
        self._failure = self._failure or error
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
        if self.engine.mode is not Mode.FLATTENING:
            try:
                await self.journal.tighten(Mode.HALTED, f"executor stopped on {reason}")
            except Exception:
                # The ledger cannot hold the halt: the file holds it, and the next start obeys it.
                with contextlib.suppress(OSError):
                    self.desk.kill_file.write_text(f"executor stopped on {reason}\n")

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
            self.desk.sweep_now.set()
            await asyncio.sleep(0.3)
            self._raise_failure()

    # ------------------------------------------------------------------ loops

    async def _timer_loop(self) -> None:
        while True:
            await asyncio.sleep(TIMER_S)
            await self.desk.tell(
                Timer(
                    market_time=self.clock.now(),
                    now_ns=self.clock.now_ns(),
                    session_open=self.day.open,
                    session_close=self.day.close,
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
        beats, kill_file_seen = 0, False
        while True:
            await self.wake.wait(HEARTBEAT_S)
            beats += 1
            asked_ns = self.clock.now_ns()
            beat = await self.journal.heartbeat(self.clock.now(), self.feed.age_ms())
            # Against the engine, not against the last beat: what it did not take is told again.
            if (beat.mode, beat.killed, beat.flatten) != (
                self.engine.mode,
                self.engine.killed,
                self.engine.flatten,
            ):
                await self._tell_mode(beat, asked_ns)
            if beat.limit_version is not None and beat.limit_version != self.engine.limit_version:
                self.anchors.want("limits")
                limits = await self.journal.value(
                    "SELECT limits FROM limit_version WHERE version = %s", beat.limit_version
                )
                await self.desk.tell(
                    LimitsChanged(**self.day.stamp(), version=beat.limit_version, limits=for_engine(limits))
                )
            if beats % 4 == 0:
                # On the second sighting: a kill from the command line writes the file, then the ledger.
                present = self.desk.kill_file.exists() and not beat.killed
                if present and kill_file_seen:
                    await self.desk.obey_kill_file()
                kill_file_seen = present
                await self.feed.look()
            if self.engine.batch_finished and beat.mode in (Mode.READY, Mode.REDUCING):
                await self.batches.claim()

    async def _tell_mode(self, beat: Heartbeat, asked_ns: int) -> None:
        """The ledger's mode and latches differ from the engine's: a kill, a stricter mode, or a re-arm."""
        engine, before, stamp = self.engine, self.engine.mode, self.day.stamp()
        killed = beat.killed and not (engine.killed and engine.flatten >= beat.flatten)
        if killed:
            self.anchors.want("kill")
        way_out = beat.killed and beat.mode is Mode.FLATTENING  # from HALTED it only looks looser
        loosened = tighter(beat.mode, before) is not beat.mode or engine.killed > beat.killed
        if loosened and not killed and not way_out:
            reason = await self.journal.value("SELECT mode_reason FROM book")
            event: Event = Rearm(**stamp, mode=beat.mode, reason=reason, asked_ns=asked_ns)
        else:
            event = ModeSeen(**stamp, mode=beat.mode, killed=beat.killed, flatten=beat.flatten)
        await self.desk.tell(event)
        if engine.mode is not before or killed:
            self.say(f"mode {engine.mode}{' (killed)' if engine.killed else ''}")

    async def _sweep_loop(self) -> None:
        last_reconciled = self.clock.now_ns()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.desk.sweep_now.wait(), self.sweep_s)
            self.desk.sweep_now.clear()
            try:
                if await self.day.synchronise(self.broker):
                    await self.journal.keep_raw()
                await self.evidence.sweep()
            except UNANSWERED as error:
                await self._count_unanswered(error)
                continue
            self._unanswered = 0
            if (self.clock.now_ns() - last_reconciled) / 1e9 > self.reconcile_s:
                last_reconciled = self.clock.now_ns()
                with contextlib.suppress(*UNANSWERED):  # the next sweep counts it
                    await self.evidence.reconcile("running")

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
            if self.day.is_open:
                await self.desk.marks.write()

    # ------------------------------------------------------------------ ends

    async def _wait_for_close(self) -> None:
        """Until the session has closed and everything the day leaves behind has been posted."""
        if not self.day.is_session:
            raise RefusedError(
                f"{self.day.date} is no trading session; run without --until-close to wait for the next one"
            )
        while self.clock.now() < self.day.close + SETTLE_AFTER_CLOSE:
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
            self.desk.sweep_now.set()
            await asyncio.sleep(0.3)

    async def _finish(self, until_close: bool) -> Reconciliation:
        await self._insist(self.evidence.sweep)
        result = await self._insist(lambda: self.evidence.reconcile("close" if until_close else "running"))
        if until_close:
            await self.desk.marks.write()  # with the day's fees, which are posted after the close
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
