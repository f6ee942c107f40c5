"""What the executor is doing, read from the ledger and drawn for a terminal."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sqlalchemy import text
from sqlmodel import Session

NEW_YORK = ZoneInfo("America/New_York")
HEARTBEAT_MAX_S = 5
LIMITS_SHOWN = 12
MODE_STYLE = {
    "READY": "bold green",
    "REDUCING": "bold yellow",
    "CLOSE_ONLY": "bold yellow",
    "FLATTENING": "bold red",
    "HALTED": "bold red",
}


@dataclass(frozen=True)
class Status:
    """One reading of the ledger; every list is of plain rows."""

    book: dict[str, Any]
    running: bool
    mark: dict[str, Any] | None
    cash: Decimal
    positions: list[dict[str, Any]]
    open_orders: list[dict[str, Any]]
    order_counts: dict[str, int]
    batches: list[dict[str, Any]]
    refusals: list[dict[str, Any]]
    limits: dict[str, str]
    limit_version: int | None
    limit_use: dict[str, tuple[Decimal, Decimal]]
    reconciliation: dict[str, Any] | None
    alerts: list[dict[str, Any]]


def read_status(session: Session) -> Status:
    """Read everything the page shows in one transaction."""

    def rows(query: str) -> list[dict[str, Any]]:
        return [dict(row) for row in session.execute(text(query)).mappings()]

    book = rows("SELECT *, extract(epoch FROM clock_timestamp() - heartbeat_at) AS silent_s FROM book")[0]
    marks = rows("SELECT * FROM equity_mark ORDER BY id DESC LIMIT 1")
    limits = rows("SELECT version, limits FROM limit_version ORDER BY version DESC LIMIT 1")
    runs = rows("SELECT * FROM reconciliation_run ORDER BY at DESC LIMIT 1")
    silent = book["silent_s"]
    return Status(
        book=book,
        running=silent is not None and silent < HEARTBEAT_MAX_S,
        mark=marks[0] if marks else None,
        cash=session.execute(
            text("SELECT coalesce(sum(amount), 0) FROM posting WHERE account = 'cash' AND asset = 'USD'")
        ).scalar_one(),
        positions=rows(
            "SELECT * FROM position WHERE qty <> 0 ORDER BY abs(qty * coalesce(mark_price, average_price)) DESC"
        ),
        open_orders=rows(
            "SELECT * FROM orders WHERE state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT') "
            "ORDER BY created_at DESC LIMIT 12"
        ),
        order_counts={
            r["state"]: r["n"] for r in rows("SELECT state, count(*) AS n FROM orders GROUP BY state")
        },
        batches=rows("SELECT * FROM signal_batch ORDER BY proposed_at DESC LIMIT 3"),
        refusals=rows("SELECT * FROM decision WHERE verdict = 'refused' ORDER BY seq DESC LIMIT 5"),
        limits=limits[0]["limits"] if limits else {},
        limit_version=limits[0]["version"] if limits else None,
        limit_use=_limit_use(rows),
        reconciliation=runs[0] if runs else None,
        alerts=rows("SELECT * FROM alert ORDER BY at DESC LIMIT 4"),
    )


def _limit_use(rows: Any) -> dict[str, tuple[Decimal, Decimal]]:
    """Of each limit, the value and bound nearest to each other over the newest session's accepted orders."""
    found = rows(
        "SELECT DISTINCT ON (1) l ->> 'name' AS name, (l ->> 'after')::numeric AS used, (l ->> 'limit')::numeric AS bound "
        "FROM decision d, jsonb_array_elements(d.checks -> 'limits') l WHERE d.verdict = 'accepted' AND d.market_time >= "
        "(SELECT max(market_time) FROM decision) - interval '12 hours' AND (l ->> 'limit')::numeric > 0 "
        "ORDER BY 1, (l ->> 'after')::numeric / (l ->> 'limit')::numeric DESC NULLS LAST"
    )
    return {r["name"]: (r["used"], r["bound"]) for r in found if r["used"] is not None}


def render(status: Status) -> RenderableType:
    """The whole page, for ``executor status`` and ``executor watch``."""
    return Group(
        _headline(status),
        Columns([_equity(status), _limits(status)], expand=True),
        _positions(status),
        _orders(status),
        _news(status),
    )


def _headline(s: Status) -> RenderableType:
    mode = s.book["mode"]
    line = Text.assemble(
        (f" {mode} ", MODE_STYLE.get(mode, "bold") + " reverse"),
        (" KILLED", "bold red") if s.book["killed"] else "",
        f"  {s.book['environment']} account {s.book['account'] or '(none yet)'}",
        f"  epoch {s.book['epoch']}",
    )
    if s.running:
        age = s.book["feed_age_ms"]
        line.append(f"  running ({s.book['holder']})", "green")
        line.append(
            "  feed " + ("no quote yet" if age is None else f"{age / 1000:.1f} s old"),
            "" if age else "yellow",
        )
    else:
        line.append("  not running", "yellow")
    if s.book["market_time"]:
        line.append(f"  market {_new_york(s.book['market_time'])}")
    reason = Text(f"since {s.book['mode_since']:%Y-%m-%d %H:%M:%S} UTC: {s.book['mode_reason']}", "dim")
    return Panel(Group(line, reason), title="Sallyport executor", title_align="left")


def _equity(s: Status) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_row("Cash", _usd(s.cash))
    if s.mark:
        m = s.mark
        day = m["equity"] / m["day_open_equity"] - 1
        fall = 1 - m["equity"] / m["high_water_mark"]
        table.add_row("Equity", _usd(m["equity"]))
        table.add_row("Day", Text(f"{day:+.3%}", "green" if day >= 0 else "red"))
        table.add_row("From high", f"-{fall:.3%}")
        table.add_row("Long / short", f"{_usd(m['long_value'])} / {_usd(m['short_value'])}")
        if m["value_at_risk"] is not None:
            table.add_row("VaR / ES 95 %", f"{_usd(m['value_at_risk'])} / {_usd(m['expected_shortfall'])}")
    else:
        table.add_row("Equity", Text("not marked yet", "dim"))
    run = s.reconciliation
    if run:
        verdict = Text("equal", "green") if run["matched"] else Text("DIFFERENT", "bold red")
        table.add_row(f"Reconciled ({run['occasion']})", verdict)
    return Panel(table, title="Money (USD)", title_align="left")


def _limits(s: Status) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify)
    nearest = sorted(s.limit_use.items(), key=lambda use: (-use[1][0] / use[1][1], use[0]))
    for name, (used, limit) in nearest[:LIMITS_SHOWN]:
        share = float(max(used, Decimal(0)) / limit)
        style = "red" if share > 0.9 else "yellow" if share > 0.7 else "green"
        bar = Text("█" * round(min(share, 1) * 12), style)
        table.add_row(
            name, f"{used:.4g}" if used < 1000 else f"{used:,.0f}", f"of {limit.normalize():f}", bar
        )
    if not s.limit_use:
        table.add_row(Text("no order judged yet", "dim"), "", "", "")
    return Panel(
        table, title=f"Limits nearest to their bounds (version {s.limit_version})", title_align="left"
    )


def _positions(s: Status) -> RenderableType:
    table = Table(expand=True, box=None, header_style="bold")
    table.add_column("Position")
    for name in ("Shares", "Average", "Mark", "Value", "Unrealised", "Realised"):
        table.add_column(name, justify="right")
    for p in s.positions[:15]:
        mark = p["mark_price"] or p["average_price"]
        gain = (mark - p["average_price"]) * p["qty"]
        table.add_row(
            p["symbol"], f"{p['qty'].normalize():f}", f"{p['average_price']:.2f}", f"{mark:.2f}", _usd(p["qty"] * mark),
            Text(_usd(gain), "green" if gain >= 0 else "red"), _usd(p["realised_pnl"]),
        )  # fmt: skip
    more = len(s.positions) - 15
    title = f"{len(s.positions)} positions" + (f", {more} not shown" if more > 0 else "")
    return Panel(table if s.positions else Text("none", "dim"), title=title, title_align="left")


def _orders(s: Status) -> RenderableType:
    counts = ", ".join(f"{n} {state}" for state, n in sorted(s.order_counts.items())) or "none"
    table = Table(expand=True, box=None, header_style="bold")
    table.add_column("Open order")
    for name in ("Side", "Shares", "Filled", "Limit", "State"):
        table.add_column(name, justify="right")
    for o in s.open_orders:
        table.add_row(
            o["symbol"], o["side"], f"{o['qty'].normalize():f}", f"{o['filled_qty'].normalize():f}",
            f"{o['limit_price']:.2f}", o["state"],
        )  # fmt: skip
    return Panel(
        table if s.open_orders else Text("no open orders", "dim"),
        title=f"Orders: {counts}",
        title_align="left",
    )


def _news(s: Status) -> RenderableType:
    lines = [
        Text(
            f"batch {str(b['id'])[:8]} {b['strategy']} for {b['session']}: {b['state']} ({b['signals']} signals)"
        )
        for b in s.batches
    ]
    lines += [
        Text(f"refused {r['symbol']}: {r['reason']}", "yellow", overflow="ellipsis", no_wrap=True)
        for r in s.refusals
    ]
    styles = {"critical": "bold red", "warning": "yellow", "info": "dim"}
    lines += [
        Text(f"{a['at']:%H:%M:%S} {a['severity']} {a['title']}{'' if a['delivered_at'] else ' (not delivered yet)'}",
             styles[a["severity"]], overflow="ellipsis", no_wrap=True)
        for a in s.alerts
    ]  # fmt: skip
    return Panel(
        Group(*lines) if lines else Text("nothing yet", "dim"),
        title="Batches, refusals, alerts",
        title_align="left",
    )


def _usd(value: Decimal) -> str:
    return f"{value:,.2f}"


def _new_york(moment: dt.datetime) -> str:
    return f"{moment.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} New York"
