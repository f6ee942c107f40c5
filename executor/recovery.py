"""Start and recovery, one path: what the ledger remembers, what the broker shows, and both compared."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
from collections.abc import Callable
from decimal import Decimal

from psycopg.types.json import Jsonb

from executor import sweep
from executor.bounds import for_engine, notice
from executor.broker import Broker, Raw
from executor.core.book import Book
from executor.core.events import Withdrawn
from executor.core.modes import Mode
from executor.core.orders import Evidence, State
from executor.desk import Desk
from executor.errors import RefusedError
from executor.journal import Journal
from executor.market_day import MarketDay
from executor.replay.recorder import RecordedEngine
from executor.settings import Settings

LAST_CERTAIN = (
    "SELECT least((SELECT max(market_time) FROM reconciliation_run WHERE matched), "
    "(SELECT min(market_time) FROM orders WHERE state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT')))"
)
"""Since when ledger and broker may differ: the last equal comparison, or the oldest open order."""


WORST_DRAWDOWN = (
    "SELECT coalesce(max(1 - equity / high_water_mark), 0) FROM equity_mark WHERE high_water_mark > 0 "
    "AND at > coalesce((SELECT max(at) FROM audit_log WHERE kind = 'REARM'), '-infinity')"
)
"""Deepest drawdown since the last re-arm: what has been cut stays cut over a restart."""


async def open_book(
    account: Raw, day: MarketDay, journal: Journal, broker: Broker, say: Callable[[str], None]
) -> None:
    """Take over cash and positions as the broker shows them, once, into an empty ledger."""
    if await journal.value("SELECT count(*) FROM posting"):
        return
    positions = await broker.positions()
    # What the last days' fees and dividends did to the cash will be booked by the first sweep.
    later = sum(
        (
            Decimal(row["net_amount"])
            for row in await broker.activities(sweep.activities_since(day.today()))
            if row["activity_type"] in sweep.CASH_ACTIVITIES
        ),
        Decimal(0),
    )
    rows = [
        {"symbol": s, "qty": p["qty"], "price": p["avg_entry_price"]} for s, p in sorted(positions.items())
    ]
    await journal.rows(
        "SELECT open_book(%s, %s, %s)", journal.epoch, Decimal(account["cash"]) - later, Jsonb(rows)
    )
    say(f"book opened with {account['cash']} USD and {len(rows)} positions, as the broker shows them")


async def restore(settings: Settings, day: MarketDay, journal: Journal, reprice_ns: int) -> RecordedEngine:
    """The engine as the ledger remembers it."""
    row = (await journal.rows("SELECT mode, killed, flatten FROM book"))[0]
    limits = await journal.rows(
        "SELECT version, limits FROM limit_version WHERE effective_from <= clock_timestamp() "
        "ORDER BY version DESC LIMIT 1"
    )
    if not limits:
        raise RefusedError("the ledger has no limits; run: executor ledger init")
    if lacks := notice(limits[0]["version"], limits[0]["limits"]):
        await journal.alert("critical", "limits_missing", "Limits are not complete", lacks)
    sectors = await journal.rows("SELECT symbol, sector FROM instrument WHERE sector IS NOT NULL")
    mark = await journal.rows(
        "SELECT session, day_open_equity, high_water_mark FROM equity_mark ORDER BY id DESC LIMIT 1"
    )
    book = Book(cash=await journal.cash(), positions=await journal.positions())
    if mark:
        book.high_water_mark = mark[0]["high_water_mark"]
        book.day, book.day_open_equity = mark[0]["session"], mark[0]["day_open_equity"]
    placed = (
        await journal.value(
            "SELECT count(*) FROM orders WHERE market_time >= %s",
            day.open - dt.timedelta(hours=12),
        )
        if day.is_session
        else 0
    )
    traded = (
        await journal.value(
            "SELECT coalesce(sum(qty * price), 0) FROM v_fills WHERE filled_at >= %s",
            day.open - dt.timedelta(hours=12),
        )
        if day.is_session
        else 0
    )
    orders = await journal.orders(open_only=False)
    engine = RecordedEngine(
        book,
        Mode(row["mode"]),
        limits[0]["version"],
        for_engine(limits[0]["limits"]),
        {r["symbol"]: r["sector"] for r in sectors},
        reprice_ns=reprice_ns,
        identity=identity(settings),
        orders=orders,
        orders_today=placed,
        traded_today=float(traded),
        worst_drawdown=Decimal(0) if row["mode"] == Mode.READY else await journal.value(WORST_DRAWDOWN),
    )
    engine.killed, engine.flatten = row["killed"], row["flatten"]
    return engine


async def void_unsent(desk: Desk) -> None:
    """Withdraw what was never sent; what may have been sent is unknown until the broker shows it."""
    for order in [o for o in desk.engine.orders.values() if o.is_open]:
        if order.state is State.INTENT:
            await desk.journal.set_state(
                order.client_order_id, State.VOID, None, None, "restart before it was sent"
            )
            await desk.tell(Withdrawn(**desk.day.stamp(), client_order_id=order.client_order_id))
        elif order.state is State.SENDING:
            await desk.tell(desk.evidence(order.client_order_id, Evidence.AMBIGUOUS, reason="restart"))


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
