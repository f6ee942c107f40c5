"""One trading day as the ledger saw it, on one page: verdict first, then everything it rests on.

Nothing here is read from a broker, a log or a clock: the same ledger gives the same page. A *day* is a
session of the exchange. Orders, decisions, fills and reconciliations belong to it by market time; alerts,
audit entries and fees, which carry the time of writing, by :func:`wall_window`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, func, or_, select

from executor.core.limits import LIMITS, Rule
from market.calendar import is_session, previous_session, session_close
from reports import page
from reports.errors import NothingToReport
from sql.audit import ChainReport, verify
from sql.tables import (
    Alert,
    Approval,
    AuditLog,
    Book,
    DataSet,
    Decision,
    EquityMark,
    Fill,
    Instrument,
    LimitVersion,
    ModelVersion,
    Order,
    Position,
    Posting,
    ReconciliationBreak,
    ReconciliationRun,
    RiskSnapshot,
    Signal,
    SignalBatch,
    ValidationRun,
)

TERMINAL = frozenset(
    {"DONE", "FILLED", "CANCELED", "EXPIRED", "REPLACED", "REJECTED", "VOID", "EXPIRED_UNSENT"}
)
"""States an order does not leave; anything else at the end of the day is unfinished."""

_BEGINNING = dt.datetime(1900, 1, 1, tzinfo=dt.UTC)
_END = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)
_FRACTIONS = {limit.name for limit in LIMITS if limit.unit.startswith("fraction")} | {"drawdown"}
_MEASURED = {limit.name for limit in LIMITS}
_RULES = {limit.name for limit in LIMITS if isinstance(limit, Rule)}
"""Kept or broken: shown only where one was broken."""
_MONEY = {"order_notional_usd", "order_notional", "cash"}


@dataclass(frozen=True)
class Lineage:
    """A batch with every link behind it; ``None`` where a batch has no such link."""

    batch: SignalBatch
    data_set: DataSet | None
    validation: ValidationRun | None
    model: ModelVersion | None
    risk: RiskSnapshot | None
    approval: Approval | None


@dataclass(frozen=True)
class TradingDay:
    """All rows of the ledger that belong to one session, each list in a fixed order."""

    session: dt.date
    book: Book
    lineage: list[Lineage]
    signals: list[Signal]
    orders: list[Order]
    decisions: list[Decision]
    fills: list[Fill]
    fees: list[Posting]
    marks: list[EquityMark]
    reconciliations: list[ReconciliationRun]
    breaks: list[ReconciliationBreak]
    alerts: list[Alert]
    audit: list[AuditLog]
    limits: LimitVersion | None
    positions: list[Position]
    """Holdings, given only if nothing was traded after this day: the ledger keeps no older projection."""
    names: dict[str, str]
    chain: ChainReport


@dataclass(frozen=True)
class Costs:
    """Expected against paid for what was filled, in USD; positive is a cost. ``notional`` is traded USD."""

    expected_fees: float
    expected_spread_impact: float
    paid_fees: Decimal
    shortfall: Decimal
    notional: Decimal


@dataclass(frozen=True)
class LimitUse:
    """The most of one limit that was used; ``used`` is a fraction of the limit, ``None`` if never checked."""

    name: str
    limit: Decimal | None
    peak: Decimal | None = None
    used: Decimal | None = None
    at: dt.datetime | None = None
    symbol: str = ""
    checks: int = 0
    refusals: int = 0
    version: int | None = None


def market_window(day: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """Midnight to midnight in New York, as aware UTC: when market times belong to ``day``."""
    start = dt.datetime.combine(day, dt.time(), page.NEW_YORK)
    end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), page.NEW_YORK)
    return start.astimezone(dt.UTC), end.astimezone(dt.UTC)


def wall_window(session: Session, day: dt.date) -> tuple[dt.datetime, dt.datetime]:
    """Times of writing that belong to ``day``.

    Live and paper: from the end of the session before (weekends and evenings count to the session that
    follows) to midnight in New York. In a replay market time and time of writing have nothing to do with
    each other: from the first row written for this session to the first written for a later one.
    """
    book = session.get(Book, True)
    if book is None or book.environment != "replay":
        return market_window(previous_session(day))[1], market_window(day)[1]

    def first(compare: ColumnElement[bool], mark: ColumnElement[bool]) -> dt.datetime | None:
        proposed = session.exec(select(func.min(SignalBatch.proposed_at)).where(compare)).one()
        marked = session.exec(select(func.min(EquityMark.at)).where(mark)).one()
        return min((t for t in (proposed, marked) if t is not None), default=None)

    earlier = session.exec(
        select(func.count()).select_from(EquityMark).where(col(EquityMark.session) < day)
    ).one()
    start = first(col(SignalBatch.session) == day, col(EquityMark.session) == day)
    end = first(col(SignalBatch.session) > day, col(EquityMark.session) > day)
    return (start if earlier and start else _BEGINNING), end or _END


def read_day(session: Session, day: dt.date) -> TradingDay:
    """Read everything the ledger holds of one session; :class:`NothingToReport` if that is nothing."""
    book = session.get(Book, True)
    if book is None:
        raise NothingToReport(
            "this ledger is not set up; any executor command does that, for example: executor status"
        )
    start, end = market_window(day)
    wall_start, wall_end = wall_window(session, day)

    def market(column: Any) -> ColumnElement[bool]:
        return (col(column) >= start) & (col(column) < end)

    def written(column: Any) -> ColumnElement[bool]:
        return (col(column) >= wall_start) & (col(column) < wall_end)

    batches = session.exec(
        select(SignalBatch)
        .where(SignalBatch.session == day)
        .order_by(col(SignalBatch.proposed_at), col(SignalBatch.id))
    ).all()
    orders = session.exec(
        select(Order).where(market(Order.market_time)).order_by(col(Order.decision_seq))
    ).all()
    decisions = session.exec(
        select(Decision).where(market(Decision.market_time)).order_by(col(Decision.seq))
    ).all()
    marks = session.exec(
        select(EquityMark)
        .where(EquityMark.session == day)
        .order_by(col(EquityMark.market_time), col(EquityMark.id))
    ).all()
    runs = session.exec(
        select(ReconciliationRun)
        .where(market(ReconciliationRun.market_time))
        .order_by(col(ReconciliationRun.at), col(ReconciliationRun.id))
    ).all()
    if not (batches or orders or decisions or marks or runs):
        last = session.exec(select(func.max(EquityMark.session))).one()
        known = f"the last one it knows is {last}" if last else "it knows none yet"
        raise NothingToReport(f"the ledger holds nothing of session {day}; {known}")
    run_ids = [run.id for run in runs]
    newest = session.exec(select(func.max(Fill.filled_at))).one()
    return TradingDay(
        session=day,
        book=book,
        lineage=[_lineage(session, batch) for batch in batches],
        signals=list(
            session.exec(
                select(Signal)
                .where(col(Signal.batch_id).in_([b.id for b in batches]))
                .order_by(col(Signal.target_weight).desc(), col(Signal.symbol))
            )
        ),
        orders=list(orders),
        decisions=list(decisions),
        fills=list(
            session.exec(
                select(Fill)
                .where(
                    or_(
                        market(Fill.filled_at),
                        col(Fill.client_order_id).in_([o.client_order_id for o in orders]),
                    )
                )
                .order_by(col(Fill.filled_at), col(Fill.execution_id))
            )
        ),
        fees=list(
            session.exec(
                select(Posting)
                .where(Posting.account == "fees", Posting.asset == "USD", written(Posting.at))
                .order_by(col(Posting.txn), col(Posting.line))
            )
        ),
        marks=list(marks),
        reconciliations=list(runs),
        breaks=list(
            session.exec(
                select(ReconciliationBreak)
                .where(col(ReconciliationBreak.run_id).in_(run_ids))
                .order_by(
                    col(ReconciliationBreak.kind), col(ReconciliationBreak.ref), col(ReconciliationBreak.id)
                )
            )
        ),
        alerts=list(
            session.exec(select(Alert).where(written(Alert.at)).order_by(col(Alert.at), col(Alert.id)))
        ),
        audit=list(session.exec(select(AuditLog).where(written(AuditLog.at)).order_by(col(AuditLog.seq)))),
        limits=session.exec(
            select(LimitVersion)
            .where(LimitVersion.effective_from < wall_end)
            .order_by(col(LimitVersion.version).desc())
            .limit(1)
        ).first(),
        positions=[]
        if newest is not None and newest >= end
        else list(session.exec(select(Position).where(Position.qty != 0).order_by(col(Position.symbol)))),
        names={i.symbol: i.name for i in session.exec(select(Instrument))},
        chain=verify(session),
    )


def _lineage(session: Session, batch: SignalBatch) -> Lineage:
    return Lineage(
        batch=batch,
        data_set=session.get(DataSet, batch.data_set_id),
        validation=session.get(ValidationRun, batch.validation_run_id) if batch.validation_run_id else None,
        model=session.get(ModelVersion, batch.model_version_id) if batch.model_version_id else None,
        risk=session.get(RiskSnapshot, batch.risk_snapshot_id),
        approval=session.exec(select(Approval).where(Approval.batch_id == batch.id)).first(),
    )


# ---------------------------------------------------------------- figures


def average_price(order: Order) -> Decimal | None:
    """Average price of what was filled, or ``None``."""
    return order.filled_notional / order.filled_qty if order.filled_qty else None


def shortfall(order: Order) -> Decimal:
    """Implementation shortfall of the filled part in USD: (fill − arrival) × shares for a buy."""
    side = 1 if order.side == "buy" else -1
    return side * (order.filled_notional - order.arrival_price * order.filled_qty)


def slippage_bps(order: Order) -> Decimal | None:
    """Shortfall per arrival value in basis points; positive is worse than the arrival mid."""
    basis = order.arrival_price * order.filled_qty
    return shortfall(order) / basis * 10_000 if basis else None


def day_costs(day: TradingDay) -> Costs:
    """Expected costs (scaled to what was filled) against fees and shortfall that were really paid."""
    fees = spread_impact = 0.0
    for order in day.orders:
        share = float(order.filled_qty / order.qty)
        fees += float(order.cost_estimate.get("fees", 0)) * share
        spread_impact += share * sum(float(order.cost_estimate.get(part, 0)) for part in ("spread", "impact"))
    return Costs(
        expected_fees=fees,
        expected_spread_impact=spread_impact,
        paid_fees=sum((p.amount for p in day.fees), Decimal(0)),
        shortfall=sum((shortfall(o) for o in day.orders), Decimal(0)),
        notional=sum((o.filled_notional for o in day.orders), Decimal(0)),
    )


def limit_use(day: TradingDay) -> list[LimitUse]:
    """Every limit in force with the most that accepted orders and the day's marks used of it."""
    version = day.limits.version if day.limits else None
    limits = {name: Decimal(str(top)) for name, top in day.limits.limits.items()} if day.limits else {}
    checked: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    seen: dict[str, LimitUse] = {}

    def see(use: LimitUse) -> None:
        known = seen.get(use.name)
        if known is None or known.used is None or (use.used is not None and use.used > known.used):
            seen[use.name] = use

    orders = {order.decision_seq: order for order in day.orders}
    for decision in day.decisions:
        counts = decision.verdict == "accepted" and not _reduces(decision, orders.get(decision.seq))
        at, symbol = decision.market_time, decision.symbol
        for check in decision.checks.get("limits", []):
            name, top, after = check["name"], check.get("limit"), check.get("after")
            checked[name] += 1
            refused[name] += decision.verdict == "refused" and not check["ok"]
            if counts and top is not None and after is not None and Decimal(str(top)) > 0:
                top, after = Decimal(str(top)), Decimal(str(after))
                see(
                    LimitUse(
                        name, top, after, after / top, at, symbol, version=check.get("version") or version
                    )
                )
    for mark in day.marks:
        for name, value, basis in (
            ("daily_loss", mark.day_open_equity - mark.equity, mark.day_open_equity),
            ("drawdown", mark.high_water_mark - mark.equity, mark.high_water_mark),
            ("value_at_risk", mark.value_at_risk, mark.equity),
            ("expected_shortfall", mark.expected_shortfall, mark.equity),
        ):
            if name in limits and limits[name] > 0 and value is not None and basis > 0:
                after = max(value, Decimal(0)) / basis
                see(
                    LimitUse(
                        name, limits[name], after, after / limits[name], mark.market_time, version=version
                    )
                )
    # Parameters of limits and bounds of breakers travel in the same row and are no limits themselves.
    bounded = [name for name in limits if name in _MEASURED or name in seen]
    judged = [name for name in sorted(checked) if name not in _RULES or refused[name]]
    names = dict.fromkeys([*bounded, *judged])
    uses = [
        replace(
            seen.get(name) or LimitUse(name, limits.get(name), version=version),
            checks=checked[name],
            refusals=refused[name],
        )
        for name in names
    ]
    return sorted(uses, key=lambda use: (-1 if use.used is None else use.used, use.name), reverse=True)


def _reduces(decision: Decision, order: Order | None) -> bool:
    """A way out: limits are recorded for it but do not bind it, so it cannot breach them."""
    if order is None:
        return False
    held = Decimal(str(decision.inputs.get("position") or 0))
    return held * (1 if order.side == "buy" else -1) < 0 and order.qty <= abs(held)


def show_limit(name: str, value: Decimal | None, limit: Decimal | None) -> str:
    """A limit's value in its own unit: a fraction of equity, dollars, seconds or a count."""
    if value is None:
        return page.NOTHING
    if name in _MONEY or name.endswith("_usd") or (name in _FRACTIONS and (limit or 0) > 5):
        return page.money(value, 0)
    if name in _FRACTIONS:
        return page.percent(value)
    if name.endswith("_s"):
        return f"{page.number(value, 1)} s"
    return page.shares(round(value, 4))


def unfinished(day: TradingDay) -> list[Order]:
    """Orders whose end is not known."""
    return [order for order in day.orders if order.state not in TERMINAL]


def judge(day: TradingDay) -> tuple[page.Tone, str, list[tuple[page.Tone, str]]]:
    """The verdict: its tone, its one line, and each point it rests on with its own tone."""
    points: list[tuple[page.Tone, str]] = []
    last = day.reconciliations[-1] if day.reconciliations else None
    booked = max((*(fill.booked_at for fill in day.fills), *(fee.at for fee in day.fees)), default=_BEGINNING)
    if last is None:
        points.append(("warn", "never reconciled with the broker"))
    elif not last.matched:
        found = sum(b.run_id == last.id for b in day.breaks)
        points.append(("bad", f"{found} unexplained difference{'s' if found != 1 else ''} with the broker"))
    elif not any(_after_close(run, day.session) for run in day.reconciliations):
        points.append(("warn", "reconciled, but not yet after the close"))
    elif booked > last.at:
        points.append(("warn", "fills or fees were booked after the last reconciliation"))
    else:
        points.append(("good", "reconciled after the close: shares and cash equal"))
    if day.chain.ok:
        points.append(("good", f"audit chain whole: {day.chain.rows:,} entries"))
    else:
        points.append(("bad", f"audit chain BROKEN at entry {day.chain.first_bad}"))
    over = [use for use in limit_use(day) if use.used is not None and use.used > 1]
    # a warning of the same kind is a refused attempt: there the limit held
    breaches = [alert for alert in day.alerts if alert.kind == "breach" and alert.severity == "critical"]
    if over or breaches:
        named = ", ".join(dict.fromkeys([*(use.name for use in over), *(alert.title for alert in breaches)]))
        points.append(("bad", f"limit breached: {named}"))
    else:
        points.append(("good", "no limit breached"))
    refused = sum(d.verdict == "refused" for d in day.decisions)
    if refused:
        points.append(("plain", f"{refused} order{'s' if refused != 1 else ''} refused before sending"))
    if open_orders := unfinished(day):
        points.append(
            ("warn", f"{len(open_orders)} order{'s' if len(open_orders) != 1 else ''} without a known end")
        )
    if any(alert.kind == "kill" for alert in day.alerts):
        points.append(("warn", "kill switch was pulled"))
    tones = {tone for tone, _ in points}
    if "bad" in tones:
        return "bad", "Needs a person: " + next(text for tone, text in points if tone == "bad"), points
    if "warn" in tones:
        return "warn", "Look again: " + next(text for tone, text in points if tone == "warn"), points
    return "good", "Reconciled to the share and the cent, chain whole, no breach", points


def _after_close(run: ReconciliationRun, session: dt.date) -> bool:
    return run.occasion == "close" or (is_session(session) and run.market_time >= session_close(session))


# ---------------------------------------------------------------- the page


def thinned(marks: Sequence[EquityMark], most: int = 400) -> list[EquityMark]:
    """At most about ``most`` marks, keeping the first, last, lowest and highest of each stretch."""
    if len(marks) <= most:
        return list(marks)
    size = -(-len(marks) * 4 // most)
    kept: set[int] = set()
    for start in range(0, len(marks), size):
        part = range(start, min(start + size, len(marks)))
        kept |= {
            part[0],
            part[-1],
            min(part, key=lambda i: marks[i].equity),
            max(part, key=lambda i: marks[i].equity),
        }
    return [marks[i] for i in sorted(kept)]


def write_day_report(session: Session, *, day: dt.date, out: Path) -> Path:
    """Write the page of one session to ``out`` (an ``.html`` file) and return ``out``.

    Raises :class:`NothingToReport` if the ledger holds nothing of that session.
    """
    facts = read_day(session, day)
    tone, headline, points = judge(facts)
    marks = thinned(facts.marks)
    chart = page.line_chart(
        [mark.market_time for mark in marks],
        [
            page.Line("equity", [mark.equity for mark in marks]),
            page.Line("at the open", [mark.day_open_equity for mark in marks], "quiet", dashed=True),
        ],
        describe=f"Equity through session {day}",
        y_format=lambda v: page.money(v, 0),
        x_format=lambda t: t.astimezone(page.NEW_YORK).strftime("%H:%M"),
    )
    refusals = Counter(d.reason for d in facts.decisions if d.verdict == "refused")
    modelled: dict[str, Any] = next(
        (link.data_set.modelled for link in facts.lineage if link.data_set and link.data_set.modelled), {}
    )
    return page.render(
        "day_report.html",
        out,
        day=facts,
        tone=tone,
        headline=headline,
        points=points,
        chart=chart,
        costs=day_costs(facts),
        limits=limit_use(facts),
        refusals=refusals.most_common(),
        open_orders=unfinished(facts),
        modelled=modelled,
        average_price=average_price,
        slippage_bps=slippage_bps,
        show_limit=show_limit,
        meter=page.meter,
        terminal=TERMINAL,
    )
