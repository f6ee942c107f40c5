"""The executor's way into the ledger: its functions, over one connection, one call at a time.

Every call is one transaction. A fenced call (another executor took over) raises
:class:`RefusedError` and ends the process: two executors must never both send.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import socket
import uuid
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from executor.core.commands import Intent
from executor.core.modes import Mode
from executor.core.orders import Leg, State, WorkingOrder
from executor.errors import RefusedError
from sql.evidence import ApproverKey
from sql.roles import adopt
from sql.server import libpq_url
from sql.signatures import check
from sql.tables import Approval, Signal, SignalBatch

FENCED = "LF001"
STATEMENT_TIMEOUT_MS = 5_000
OPTIONS = "-c timezone=UTC -c search_path=ledger -c plan_cache_mode=force_generic_plan -c jit=off"
"""Of the session: the ledger's statements are few and always the same, so a plan made once is the plan."""


@dataclass(frozen=True)
class Heartbeat:
    """What the ledger says at each heartbeat."""

    mode: Mode
    killed: bool
    flatten: bool
    limit_version: int | None


class Journal:
    """Calls of the ledger's functions under one epoch."""

    def __init__(self, connection: psycopg.AsyncConnection[dict[str, Any]], url: str = "") -> None:
        self._connection = connection
        self._url = url
        self._lock = asyncio.Lock()
        self.epoch = 0

    @classmethod
    async def open(cls, url: str) -> Journal:
        """Connect; ``url`` as :func:`sql.server.ledger_url` returns it."""
        connection = await psycopg.AsyncConnection.connect(
            libpq_url(url),
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=5,
            options=f"{OPTIONS} -c statement_timeout={STATEMENT_TIMEOUT_MS}",
        )
        await connection.execute(adopt("executor"))
        return cls(connection, url)

    async def close(self) -> None:
        """Release the connection and with it the single-executor lock."""
        await self._connection.close()

    async def rows(self, query: str, *args: Any) -> list[dict[str, Any]]:
        """Run one statement and return its rows."""
        async with self._lock:
            try:
                cursor = await self._connection.execute(query, args)
                return await cursor.fetchall() if cursor.description else []
            except psycopg.Error as error:
                if error.sqlstate == FENCED:
                    raise RefusedError(f"{_first_line(error)}; this executor stops") from error
                raise

    async def value(self, query: str, *args: Any) -> Any:
        """The single value of the single row."""
        rows = await self.rows(query, *args)
        return next(iter(rows[0].values())) if rows else None

    # ------------------------------------------------------------------ taking over

    async def claim_account(self, account: str) -> int:
        """Become the account's one executor and return the new epoch.

        Raises :class:`RefusedError` if another executor holds the account.
        """
        key = zlib.crc32(f"sallyport:{account}".encode())
        if not await self.value("SELECT pg_try_advisory_lock(%s)", key):
            holder = await self.value("SELECT holder || ', last heartbeat ' || heartbeat_at FROM book")
            raise RefusedError(
                f"an executor runs on account {account} already ({holder}); stop that one first, "
                "or let it be: executor status shows it"
            )
        try:
            self.epoch = await self.value("SELECT take_over(%s, %s)", account, holder_name())
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction) as error:
            login = self._connection.info.user
            raise RefusedError(
                f"{_first_line(error)}: the login {login} may not run an executor; "
                f"GRANT sallyport_executor TO {login}, or use another login in DATABASE_URL"
            ) from error
        except psycopg.Error as error:
            raise RefusedError(
                f"{_first_line(error)}; use the key of that account, or another state_dir"
            ) from error
        return self.epoch

    async def heartbeat(self, market_time: dt.datetime, feed_age_ms: int | None) -> Heartbeat:
        """Say that we live; learn mode, kill latch and limit version."""
        row = (await self.rows("SELECT * FROM heartbeat(%s, %s, %s)", self.epoch, market_time, feed_age_ms))[
            0
        ]
        return Heartbeat(Mode(row["mode"]), row["killed"], row["flatten"], row["limit_version"])

    # ------------------------------------------------------------------ orders

    async def place(self, intent: Intent) -> tuple[bool, str]:
        """Decision, intent and reservation in one transaction; ``(ok, reason)``."""
        answer = await self.value("SELECT place(%s, %s)", self.epoch, Jsonb(intent_json(intent)))
        return bool(answer["ok"]), str(answer["reason"])

    async def record_leg(self, leg: dict[str, Any]) -> bool:
        """Record a leg that the broker made of a bracket; False if it was known.

        Keys as :func:`intent_json` gives them, and ``broker_order_id``, ``broker_status``.
        """
        return bool(await self.value("SELECT record_leg(%s, %s)", self.epoch, Jsonb(leg, dumps=_dumps)))

    async def refuse(self, intent: Intent, reason: str) -> None:
        """Record a refusal."""
        await self.rows("SELECT refuse(%s, %s, %s)", self.epoch, Jsonb(intent_json(intent)), reason)

    async def set_state(
        self, client_order_id: str, state: State, broker_id: str | None, status: str | None, reason: str
    ) -> State:
        """Record a state; returns the state the ledger holds (VOID if a kill came before the send)."""
        return State(
            await self.value(
                "SELECT set_state(%s, %s, %s, %s, %s, %s)",
                self.epoch, client_order_id, str(state), broker_id, status, reason,
            )
        )  # fmt: skip

    async def record_fill(
        self,
        execution_id: str,
        client_order_id: str,
        qty: Decimal,
        price: Decimal,
        at: dt.datetime,
        source: str,
        broker_execution_id: str | None = None,
    ) -> bool:
        """Book one execution; False if it was booked before.

        An id ``inf:<our order>:<cumulative quantity>`` books an inferred fill, which the true one takes
        the place of when it comes.
        """
        return bool(
            await self.value(
                "SELECT record_fill(%s, %s, %s, %s, %s, %s, %s, %s)",
                self.epoch, execution_id, client_order_id, qty, price, at, source, broker_execution_id,
            )
        )  # fmt: skip

    async def reverse_fill(self, reversal_id: str, execution_id: str, reason: str) -> bool:
        """The broker took an execution back (our key of it, or the broker's); False if that is known."""
        return bool(
            await self.value(
                "SELECT reverse_fill(%s, %s, %s, %s)", self.epoch, reversal_id, execution_id, reason
            )
        )

    async def correct_fill(
        self, reversal_id: str, execution_id: str, qty: Decimal, price: Decimal, reason: str
    ) -> bool:
        """The broker corrected an execution: what it was is reversed, what it is takes its place."""
        return bool(
            await self.value(
                "SELECT correct_fill(%s, %s, %s, %s, %s, %s)",
                self.epoch, reversal_id, execution_id, qty, price, reason,
            )
        )  # fmt: skip

    async def moved_by(self, reversal_id: str) -> tuple[Decimal, Decimal]:
        """Signed shares and cash that a reversal moved, the execution that took the place included."""
        row = (
            await self.rows(
                "SELECT sum(sign * qty) AS shares, -sum(sign * qty * price) AS cash FROM ("
                "SELECT -CASE f.side WHEN 'buy' THEN 1 ELSE -1 END AS sign, f.qty, f.price FROM fill_reversal r "
                "JOIN fill f ON f.execution_id = r.execution_id WHERE r.id = %s UNION ALL "
                "SELECT CASE n.side WHEN 'buy' THEN 1 ELSE -1 END, n.qty, n.price FROM fill_reversal r "
                "JOIN fill n ON n.execution_id = r.id WHERE r.id = %s) moved",
                reversal_id, reversal_id,
            )
        )[0]  # fmt: skip
        return row["shares"], row["cash"]

    async def record_clock_sample(
        self, source: str, offset_ms: Decimal | float, round_trip_ms: Decimal | float | None
    ) -> None:
        """Keep how far another clock is ahead of ours (positive), in milliseconds; once a minute is enough."""
        sample = [None if ms is None else Decimal(f"{ms:.3f}") for ms in (offset_ms, round_trip_ms)]
        await self.rows("SELECT record_clock_sample(%s, %s, %s)", source, *sample)

    async def keep_raw(self) -> int:
        """Once a day: make the coming months' partitions of raw messages, drop what the policy lets go.

        Returns how many months were dropped. Housekeeping must not stop trading: what keeps it from being
        done (somebody reads an old month) becomes an alert.
        """
        try:
            return int(await self.value("SELECT keep_raw(%s)", holder_name()))
        except psycopg.Error as error:
            if self._connection.broken:
                raise
            await self.alert("warning", "retention", "Raw messages were not put in order", _first_line(error))
            return 0

    async def record_cash(self, activity_id: str, account: str, amount: Decimal, memo: str) -> bool:
        """Book one cash activity; False if it was booked before."""
        return bool(
            await self.value(
                "SELECT record_cash(%s, %s, %s, %s, %s)", self.epoch, activity_id, account, amount, memo
            )
        )

    async def record_corporate_action(
        self, activity_id: str, symbol: str, shares: Decimal, cash: Decimal, memo: str
    ) -> bool:
        """Book a change of shares without a trade; False if it was booked before."""
        return bool(
            await self.value(
                "SELECT record_corporate_action(%s, %s, %s, %s, %s, %s)",
                self.epoch, activity_id, symbol, shares, cash, memo,
            )
        )  # fmt: skip

    async def orders(self, *, open_only: bool) -> list[WorkingOrder]:
        """Orders as the ledger has them."""
        where = "WHERE state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT')" if open_only else ""
        return [
            WorkingOrder(
                client_order_id=r["client_order_id"],
                symbol=r["symbol"],
                side=r["side"],
                qty=r["qty"],
                limit_price=r["limit_price"] or r["worst_price"],
                purpose=r["purpose"],
                signal_id=str(r["signal_id"]) if r["signal_id"] else None,
                batch_id=str(r["batch_id"]) if r["batch_id"] else None,
                leg=r["leg"],
                state=State(r["state"]),
                created_ns=0,
                filled_qty=r["filled_qty"],
                broker_order_id=r["broker_order_id"],
            )
            for r in await self.rows(f"SELECT * FROM orders {where} ORDER BY created_at")  # noqa: S608
        ]

    # ------------------------------------------------------------------ the rest

    async def cash(self) -> Decimal:
        """Cash by the postings, USD."""
        value = await self.value(
            "SELECT coalesce(sum(amount), 0) FROM posting WHERE account = 'cash' AND asset = 'USD'"
        )
        return Decimal(value)

    async def positions(self) -> dict[str, Decimal]:
        """Shares by symbol, by the postings."""
        rows = await self.rows(
            "SELECT asset, sum(amount) AS qty FROM posting WHERE account = 'inventory' "
            "GROUP BY asset HAVING sum(amount) <> 0"
        )
        return {r["asset"]: r["qty"] for r in rows}

    async def tighten(self, mode: Mode, reason: str) -> None:
        """Tighten the mode; where the connection is gone, over a new one: a halt must be written down."""
        await self._insist("SELECT tighten(%s, %s, %s)", self.epoch, str(mode), reason)

    async def alert(self, severity: str, kind: str, title: str, body: str, ref: str = "") -> None:
        """Record an alert for the notifier; where the connection is gone, over a new one."""
        await self._insist("SELECT raise_alert(%s, %s, %s, %s, %s)", severity, kind, title, body, ref)

    async def _insist(self, query: str, *args: Any) -> None:
        try:
            await self.rows(query, *args)
        except psycopg.OperationalError:
            if not (self._connection.broken and self._url):
                raise
            fresh = await Journal.open(self._url)
            try:
                await fresh.rows(query, *args)
            finally:
                await fresh.close()

    async def claim_batch(self, market_time: dt.datetime) -> uuid.UUID | None:
        """Claim the next approved, valid batch; expired ones are closed on the way."""
        batch: uuid.UUID | None = await self.value("SELECT claim_batch(%s, %s)", self.epoch, market_time)
        return batch

    async def check_batch(self, batch_id: uuid.UUID) -> str:
        """Why a batch may not be traded although it is claimed: altered, or its signature does not hold; "" if it may."""
        batch = (await self.rows("SELECT * FROM signal_batch WHERE id = %s", batch_id))[0]
        approval = await self.rows("SELECT * FROM approval WHERE batch_id = %s", batch_id)
        if not approval:
            return "nobody approved it"
        signals = await self.rows("SELECT * FROM signal WHERE batch_id = %s", batch_id)
        keys = await self.rows("SELECT * FROM approver_key WHERE key_id = %s", approval[0]["key_id"])
        own = (await self.rows("SELECT ledger_id, environment FROM identity, book"))[0]
        return check(
            Approval(**approval[0]),
            SignalBatch(**batch),
            [Signal(**row) for row in signals],
            ApproverKey(**keys[0]) if keys else None,
            own["ledger_id"],
            own["environment"],
        )

    async def release(self, identity: dict[str, str]) -> None:
        """Record build and settings once; later starts of the same find them there."""
        await self.rows(
            "SELECT record_release(%s, %s, %s, '{}')",
            identity["build"], identity["settings_hash"], holder_name(),
        )  # fmt: skip

    async def finish_batch(self, batch_id: str, note: str) -> None:
        """Close a claimed batch."""
        await self.rows("SELECT finish_batch(%s, %s, %s)", self.epoch, batch_id, note)

    async def mark_equity(self, mark: dict[str, Any]) -> None:
        """Record an equity mark; see ``ledger.mark_equity``."""
        await self.rows("SELECT mark_equity(%s, %s)", self.epoch, Jsonb(mark, dumps=_dumps))

    async def record_reconciliation(self, run: dict[str, Any]) -> None:
        """Record a reconciliation run with its breaks."""
        await self.rows("SELECT record_reconciliation(%s, %s)", self.epoch, Jsonb(run, dumps=_dumps))


def intent_json(intent: Intent) -> dict[str, Any]:
    """An intent as ``ledger.place`` takes it; decimals as text, never through a float."""
    limited = intent.order_type in ("limit", "stop_limit")
    return {
        "client_order_id": intent.client_order_id,
        "signal_id": intent.signal_id,
        "batch_id": intent.batch_id,
        "purpose": intent.purpose,
        "leg": intent.leg,
        "symbol": intent.symbol,
        "side": intent.side,
        "qty": str(intent.qty),
        "order_type": intent.order_type,
        "limit_price": str(intent.limit_price) if limited else None,
        "worst_price": _text(intent.worst_price if limited else intent.worst_price or intent.limit_price),
        "stop_price": _text(intent.stop_price),
        "trail_price": _text(intent.trail),
        "order_class": intent.order_class or "simple",
        "legs": [_leg(leg) for leg in (intent.take_profit, intent.stop_loss) if leg is not None],
        "parent_client_order_id": intent.parent_client_order_id,
        "replaces_client_order_id": intent.replaces_client_order_id,
        "extended_hours": intent.extended_hours,
        "strategy": intent.strategy,
        "time_in_force": intent.time_in_force,
        "arrival_price": str(intent.arrival_price),
        "market_time": intent.market_time.isoformat(),
        "limit_version": intent.limit_version,
        "inputs": intent.inputs.as_json(),
        "checks": {"limits": intent.checks.as_json()},
        "cost_estimate": intent.cost_estimate.as_json() if intent.cost_estimate is not None else {},
    }


def _leg(leg: Leg) -> dict[str, str | None]:
    return {"limit_price": _text(leg.limit_price), "stop_price": _text(leg.stop_price)}


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def holder_name() -> str:
    """Who holds an epoch: host and process."""
    return f"{socket.gethostname()} pid {os.getpid()}"


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().splitlines()[0]
