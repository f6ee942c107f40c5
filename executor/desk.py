"""The core at work: events go in one at a time, its commands are carried out in their order.

Nothing else may speak to the engine while a command is under way; the ledger is always written before
the broker is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from executor import legs
from executor.broker import UNANSWERED, Broker, Raw, SubmitOutcome
from executor.core.commands import (
    Alert,
    Cancel,
    Command,
    ConfirmEquity,
    ConfirmFlat,
    EnterMode,
    FinishBatch,
    Record,
    Refuse,
    Replace,
    Reserve,
    Submit,
)
from executor.core.engine import Engine
from executor.core.events import (
    BrokerFlat,
    EquityConfirmed,
    Event,
    LegShown,
    ModeSeen,
    OrderEvidence,
    Reserved,
    Withdrawn,
)
from executor.core.modes import Mode
from executor.core.orders import Evidence, State
from executor.journal import Journal
from executor.market_day import MarketDay
from executor.marks import Marks
from executor.settings import Settings

C = TypeVar("C", Submit, Replace)

log = logging.getLogger(__name__)


class Desk:
    """One account's engine with its ledger and its broker.

    Attributes
    ----------
    turn : asyncio.Lock
        Held while an event and all it leads to are worked; fills that come early wait for it.
    order_ids : dict
        The broker's order id to ours.
    sweep_now : asyncio.Event
        Set when something must be looked up at the broker without waiting for the next sweep.
    fail : callable
        Ends the executor with an error.
    """

    def __init__(
        self,
        settings: Settings,
        day: MarketDay,
        journal: Journal,
        broker: Broker,
        engine: Engine,
        *,
        say: Callable[[str], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.settings = settings
        self.day = day
        self.clock = day.clock
        self.journal = journal
        self.broker = broker
        self.engine = engine
        self.say = say
        self.fail = fail
        self.marks = Marks(day, journal, engine)
        self.turn = asyncio.Lock()
        self.sweep_now = asyncio.Event()
        self.order_ids: dict[str, str] = {
            o.broker_order_id: o.client_order_id for o in engine.orders.values() if o.broker_order_id
        }
        self.kill_file = settings.state_dir / "KILL"
        self._carrying: set[asyncio.Task[None]] = set()

    async def tell(self, event: Event) -> None:
        """Let the engine decide, and carry its commands out in order, one event at a time."""
        async with self.turn:
            await self._work_off(self.engine.decide(event))

    async def _work_off(self, pending: list[Command]) -> None:
        while pending:
            command, *pending = pending
            answers = await self._carry_out(command)
            pending = [c for answer in answers for c in self.engine.decide(answer)] + pending

    def observe(self, event: Event) -> None:
        """Market data: decided at once, in the order it came; what it leads to is carried out in turn."""
        commands = self.engine.decide(event)
        if commands:
            task = asyncio.get_running_loop().create_task(self._carry_out_all(commands))
            self._carrying.add(task)
            task.add_done_callback(self._carried)

    async def _carry_out_all(self, commands: list[Command]) -> None:
        async with self.turn:
            await self._work_off(commands)

    def _carried(self, task: asyncio.Task[None]) -> None:
        self._carrying.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    async def _carry_out(self, command: Command) -> Sequence[Event]:
        """Do it; what is learnt by doing it comes back as events."""
        match command:
            case Reserve(intent=intent):
                assert intent.client_order_id is not None
                await self.marks.write_first()
                ok, reason = await self.journal.place(intent)
                return [
                    Reserved(**self.day.stamp(), client_order_id=intent.client_order_id, ok=ok, reason=reason)
                ]
            case Refuse():
                await self.journal.refuse(command.intent, command.reason)
            case Record():
                await self._record(command)
            case Submit():
                return await self._send(command, self.broker.submit)
            case Replace():
                return await self._send(command, self.broker.replace)
            case ConfirmEquity():
                return [await self._confirm_equity()]
            case ConfirmFlat():
                return await self._confirm_flat()
            case Cancel():
                if not await self.broker.cancel(command.broker_order_id):
                    self.sweep_now.set()
                    return [
                        self.evidence(command.client_order_id, Evidence.WORKING, reason="cancel not taken")
                    ]
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
        return ()

    async def obey_kill_file(self) -> None:
        """A kill file counts as a kill; the file works when nothing else does."""
        await self.journal.rows("SELECT kill('kill file', %s, false)", f"{self.kill_file} exists")
        self.engine.decide(ModeSeen(**self.day.stamp(), mode=Mode.HALTED, killed=True, flatten=False))

    async def _record(self, command: Record) -> None:
        if command.state is State.SENDING and not self.engine.killed and self.kill_file.exists():
            await self.obey_kill_file()  # the ledger now withdraws the intent instead of sending it
        held = await self.journal.set_state(
            command.client_order_id,
            command.state,
            command.broker_order_id,
            command.broker_status,
            command.reason,
        )
        if command.broker_order_id:
            self.order_ids[command.broker_order_id] = command.client_order_id
        if held is State.VOID:
            self.engine.decide(Withdrawn(**self.day.stamp(), client_order_id=command.client_order_id))

    async def _send(self, command: C, send: Callable[[C], Awaitable[SubmitOutcome]]) -> Sequence[Event]:
        """Send once, unless the last look at the ledger withdrew the intent."""
        client_order_id = command.client_order_id
        if self.engine.orders[client_order_id].state is State.VOID:
            return ()
        outcome = await send(command)
        if outcome.evidence is Evidence.AMBIGUOUS:
            self.sweep_now.set()
        order: Raw | None = outcome.order
        evidence = self.evidence(
            client_order_id,
            outcome.evidence,
            broker_order_id=order["id"] if order else None,
            broker_status=order["status"] if order else None,
            broker_filled=Decimal(order.get("filled_qty") or 0) if order else None,
            reason=outcome.reason,
        )
        return [evidence, *(await self.legs_of(order) if order else ())]

    async def legs_of(self, order: Raw) -> list[LegShown]:
        """Legs the broker made of a bracket of ours and that are new here: recorded first, then told."""
        shown = []
        for leg in order.get("legs") or ():
            if leg["client_order_id"] not in self.engine.orders:
                event = legs.leg_shown(leg, order["client_order_id"], self.day.stamp())
                await self.journal.record_leg(legs.leg_json(leg, event))
                self.order_ids[leg["id"]] = leg["client_order_id"]
                shown.append(event)
        return shown

    async def _confirm_equity(self) -> EquityConfirmed:
        """The broker's own valuation: the second source of a loss."""
        try:
            account = await self.broker.account()
            equity = Decimal(account["equity"])
        except (*UNANSWERED, KeyError, ArithmeticError):
            return EquityConfirmed(**self.day.stamp(), equity=None, source="broker")
        return EquityConfirmed(**self.day.stamp(), equity=equity, source="broker")

    async def _confirm_flat(self) -> list[Event]:
        """What the broker still shows; nothing if it does not answer, and the core asks again."""
        try:
            positions = await self.broker.positions()
            orders = await self.broker.open_orders()
        except UNANSWERED:
            return []
        return [
            BrokerFlat(
                **self.day.stamp(),
                positions={symbol: Decimal(p["qty"]) for symbol, p in positions.items()},
                open_orders=tuple(o["id"] for o in orders),
            )
        ]

    def evidence(self, client_order_id: str, evidence: Evidence, **more: Any) -> OrderEvidence:
        """Something learnt about an order, stamped now."""
        return OrderEvidence(**self.day.stamp(), client_order_id=client_order_id, evidence=evidence, **more)

    async def halt(self, reason: str) -> None:
        """Halt, unless a flattening is under way."""
        if self.engine.mode is Mode.FLATTENING:
            return  # the way out is not broken off; the alert has been raised
        self.say(f"HALTED: {reason}")
        await self.journal.tighten(Mode.HALTED, reason)
        await self.tell(
            ModeSeen(
                **self.day.stamp(), mode=Mode.HALTED, killed=self.engine.killed, flatten=self.engine.flatten
            )
        )
