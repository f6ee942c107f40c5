"""A real Postgres ledger with one replayed session in it, written through the ledger's own functions."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlmodel import Session

from sql.approvals import approve
from sql.ledger import Ledger, open_ledger
from sql.lineage import (
    propose_batch,
    raise_alert,
    record_data_set,
    record_model,
    record_risk_snapshot,
    record_validation,
    set_limits,
    upsert_instruments,
)
from sql.server import embedded_url, libpq_url
from sql.tables import DataSet, Instrument, ModelVersion, RiskSnapshot, Signal, SignalBatch, ValidationRun

DAY = dt.date(2020, 3, 12)
OPEN = dt.datetime(2020, 3, 12, 13, 30, tzinfo=dt.UTC)
LIMITS = {
    "risk_per_trade": "0.02",
    "single_name": "0.12",
    "gross": "1.00",
    "order_notional_usd": "150000",
    "daily_loss": "0.05",
    "drawdown": "0.10",
    "value_at_risk": "0.04",
    "drawdown_scale": "0.5",
}
MODELLED = {"columns": ["open", "high", "low", "volume"], "how": "drawn around the real closes"}
NewLedger = Callable[[str], Ledger]


@pytest.fixture(scope="session")
def new_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewLedger]:
    """Opens an empty, migrated ledger: a new database of one embedded server."""
    state = tmp_path_factory.mktemp("ledger")
    url = embedded_url(state)
    opened: list[Ledger] = []

    def make(environment: str) -> Ledger:
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(libpq_url(url), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        ledger = open_ledger(state, url.replace("/sallyport?", f"/{name}?"), environment)
        opened.append(ledger)
        return ledger

    yield make
    for ledger in opened:
        ledger.close()


class Desk:
    """Writes a session the way flows and executor do, so that a test reads as what happened."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.epoch = 0
        self.signals: dict[str, Signal] = {}
        self.batch: SignalBatch | None = None

    def call(self, function: str, **arguments: Any) -> Any:
        names = ", ".join(f"{name} => :{name}" for name in arguments)
        with self.ledger.session() as session:
            return session.execute(text(f"SELECT ledger.{function}({names})"), arguments).scalar_one()

    def propose(self, weights: dict[str, str], *, modelled: dict[str, Any] | None = None) -> None:
        """Data set → validation → model → risk snapshot → batch, and its approval by the paper policy."""
        now = dt.datetime.now(dt.UTC)
        with self.ledger.session() as session:
            set_limits(session, LIMITS, author="risk@example.com", reason="first limits")
            upsert_instruments(
                session,
                [Instrument(symbol=s, name=f"{s} Corp.", sector="Energy") for s in (*weights, "MSFT")],
            )
            record_data_set(
                session,
                DataSet(
                    id="ds-0123456789abcdef",
                    created_at=now,
                    source="sample",
                    path="history/ds.parquet",
                    content_hash="a" * 64,
                    rows=5000,
                    symbols=20,
                    first_session=dt.date(1990, 1, 2),
                    last_session=dt.date(2020, 3, 11),
                    modelled=modelled or {},
                ),
            )
            run = record_validation(
                session,
                ValidationRun(
                    data_set_id="ds-0123456789abcdef",
                    as_of=dt.date(2020, 3, 11),
                    suite="prices",
                    suite_version="1",
                    started_at=now,
                    finished_at=now,
                    verdict="passed",
                    checks={"expectations": 12, "failed": 0, "findings": []},
                ),
            )
            model = record_model(
                session,
                ModelVersion(
                    id="momentum-abcdef012345",
                    created_at=now,
                    strategy="momentum",
                    strategy_hash="b" * 64,
                    data_set_id="ds-0123456789abcdef",
                    validation_run_id=run.id,
                    artifact_path="models/m.txt",
                    artifact_hash="c" * 64,
                    feature_hash="d" * 64,
                    features={"names": ["momentum_21"]},
                    trained_from=dt.date(2015, 1, 2),
                    trained_to=dt.date(2020, 3, 11),
                    expires_at=OPEN + dt.timedelta(days=90),
                ),
            )
            risk = record_risk_snapshot(
                session,
                RiskSnapshot(
                    id="rs-1",
                    created_at=now,
                    data_set_id="ds-0123456789abcdef",
                    as_of=dt.date(2020, 3, 11),
                    path="risk/rs.npz",
                    content_hash="e" * 64,
                    symbols=20,
                    scenarios=500,
                ),
            )
            batch = SignalBatch(
                strategy="momentum",
                environment="replay",
                as_of=dt.date(2020, 3, 11),
                session=DAY,
                proposer="flow:propose",
                proposed_at=now,
                valid_from=OPEN,
                valid_until=OPEN + dt.timedelta(hours=6),
                data_set_id="ds-0123456789abcdef",
                validation_run_id=run.id,
                model_version_id=model.id,
                risk_snapshot_id=risk.id,
                signals=0,
                gross_weight=Decimal(0),
                content_hash="",
            )
            signals = [
                Signal(
                    batch_id=batch.id,
                    symbol=s,
                    target_weight=Decimal(w),
                    score=0.0123,
                    contributions={"momentum_21": 0.004},
                )
                for s, w in weights.items()
            ]
            self.batch = propose_batch(session, batch, signals)
            self.signals = {s.symbol: s for s in signals}
            approve(
                session,
                batch.id,
                approver="policy:paper",
                reason="paper account",
                now=OPEN - dt.timedelta(hours=1),
                policy=True,
            )

    def start(self, cash: str = "100000") -> None:
        """Take the ledger over, open the book, mark it once and claim the batch."""
        self.epoch = self.call("take_over", p_account="PA0001", p_holder="host:1")
        self.call("open_book", p_epoch=self.epoch, p_cash=Decimal(cash), p_positions="[]")
        self.mark("0", cash, cash)
        assert self.call("claim_batch", p_epoch=self.epoch, p_market_time=OPEN + dt.timedelta(minutes=1))

    def mark(self, minutes: str, cash: str, equity: str, *, var: str | None = None) -> None:
        long_value = Decimal(equity) - Decimal(cash)
        body = {
            "market_time": (OPEN + dt.timedelta(minutes=float(minutes))).isoformat(),
            "session": DAY.isoformat(),
            "cash": cash,
            "long_value": str(long_value),
            "short_value": "0",
            "equity": equity,
            "day_open_equity": "100000",
            "high_water_mark": "100000",
            "value_at_risk": var,
            "expected_shortfall": None,
            "marks": {},
        }
        self.call("mark_equity", p_epoch=self.epoch, p=json.dumps(body))

    def intent(
        self,
        symbol: str,
        side: str,
        qty: str,
        limit: str,
        arrival: str,
        *,
        minutes: float = 2.0,
        position: str = "0",
        leg: int = 0,
    ) -> dict[str, Any]:
        """What the executor asks the ledger with, its checks included."""
        assert self.batch is not None
        after = Decimal(qty) * Decimal(limit) / 100_000
        market_time = (OPEN + dt.timedelta(minutes=minutes)).isoformat()
        return {
            "client_order_id": f"sp-{symbol.lower()}-{side}-{leg}",
            "signal_id": str(self.signals[symbol].id),
            "batch_id": str(self.batch.id),
            "leg": leg,
            "purpose": "target",
            "symbol": symbol,
            "side": side,
            "qty": qty,
            "limit_price": limit,
            "order_type": "limit",
            "time_in_force": "day",
            "arrival_price": arrival,
            "limit_version": 1,
            "market_time": market_time,
            "cost_estimate": {"fees": 0.05, "spread": 2.0, "impact": 1.0, "total": 3.05, "bps": 6.1},
            "inputs": {
                "bid": "49.99",
                "ask": "50.01",
                "quote_age_ms": 120.5,
                "quote_time": market_time,
                "position": position,
                "equity": "100000",
                "mode": "READY",
            },
            "checks": {
                "limits": [
                    {
                        "name": "single_name",
                        "ok": after <= Decimal("0.12"),
                        "limit": "0.12",
                        "before": "0",
                        "after": str(after),
                        "version": 1,
                    },
                    {
                        "name": "order_notional_usd",
                        "ok": True,
                        "limit": "150000",
                        "before": "0",
                        "after": str(after * 100_000),
                        "version": 1,
                    },
                ]
            },
        }

    def place(self, symbol: str, side: str, qty: str, limit: str, arrival: str, **more: Any) -> str:
        body = self.intent(symbol, side, qty, limit, arrival, **more)
        answer = self.call("place", p_epoch=self.epoch, p=json.dumps(body))
        assert answer["ok"], answer
        return str(body["client_order_id"])

    def state(
        self, cid: str, state: str, broker_status: str | None = None, broker_id: str | None = None
    ) -> None:
        self.call(
            "set_state",
            p_epoch=self.epoch,
            p_cid=cid,
            p_state=state,
            p_broker_id=broker_id,
            p_broker_status=broker_status,
            p_reason="",
        )

    def fill(self, execution: str, cid: str, qty: str, price: str, *, seconds: float = 121.0) -> None:
        self.call(
            "record_fill",
            p_epoch=self.epoch,
            p_execution=execution,
            p_cid=cid,
            p_qty=Decimal(qty),
            p_price=Decimal(price),
            p_filled_at=OPEN + dt.timedelta(seconds=seconds),
            p_source="stream",
        )

    def reconcile(
        self, *, occasion: str, minutes: float, cash: str, breaks: list[dict[str, str]] | None = None
    ) -> None:
        body = {
            "market_time": (OPEN + dt.timedelta(minutes=minutes)).isoformat(),
            "occasion": occasion,
            "matched": not breaks,
            "ledger_cash": cash,
            "broker_cash": cash,
            "compared": {"positions": 2, "orders": 3, "fills_booked": 0, "fees_booked": 1},
            "breaks": breaks or [],
        }
        self.call("record_reconciliation", p_epoch=self.epoch, p=json.dumps(body))

    def alert(self, severity: str, kind: str, title: str, body: str) -> None:
        with self.ledger.session() as session:
            raise_alert(session, severity, kind, title, body)


def trade_the_day(desk: Desk) -> None:
    """Two buys filled (one in two parts), one refused by the gate, fees posted, reconciled at the close."""
    desk.propose({"AAPL": "0.11", "XOM": "0.05", "JPM": "0.30"}, modelled=MODELLED)
    desk.start()
    first = desk.place("AAPL", "buy", "200", "50.50", "50.00")
    second = desk.place("XOM", "buy", "100", "40.40", "40.00")
    for cid, broker in ((first, "b-1"), (second, "b-2")):
        desk.state(cid, "SENDING")
        desk.state(cid, "LIVE", "new", broker)
    desk.fill("x-1", first, "150", "50.02", seconds=121.000125)
    desk.fill("x-2", first, "50", "50.04", seconds=122)
    desk.fill("x-3", second, "100", "39.99", seconds=123)
    for cid in (first, second):
        desk.state(cid, "DONE", "filled")
    body = desk.intent("JPM", "buy", "300", "100.00", "99.00", minutes=3)
    desk.call("refuse", p_epoch=desk.epoch, p=json.dumps(body), p_reason="single_name: 0.30 over 0.12")
    # cash: 100000 − 150×50.02 − 50×50.04 − 100×39.99 = 85996.00, and 0.07 of fees after the close
    for minute, equity in ((30, "99400.00"), (120, "98000.00"), (385, "100250.00")):
        desk.mark(str(minute), "85996.00", equity, var="1500.00")
    desk.call(
        "record_cash",
        p_epoch=desk.epoch,
        p_activity="fee-1",
        p_account="fees",
        p_amount=Decimal("-0.07"),
        p_memo="TAF and CAT",
    )
    desk.mark("391", "85995.93", "100249.93", var="1500.00")
    desk.call(
        "finish_batch", p_epoch=desk.epoch, p_batch=desk.batch.id if desk.batch else None, p_note="2 orders"
    )
    desk.reconcile(occasion="start", minutes=0.5, cash="100000.00")
    desk.reconcile(occasion="close", minutes=395, cash="85995.93")
    desk.alert("info", "nightly", "Session closed", "2 orders, reconciled")


@pytest.fixture(scope="session")
def traded(new_ledger: NewLedger) -> Ledger:
    """A ledger with one whole session; read only, so that all tests may share it."""
    ledger = new_ledger("replay")
    trade_the_day(Desk(ledger))
    return ledger


@pytest.fixture
def traded_desk(desk: Desk) -> Desk:
    """A desk after the same session, on a ledger of its own that a test may change."""
    trade_the_day(desk)
    return desk


@pytest.fixture(scope="session")
def day() -> dt.date:
    """The session that is traded."""
    return DAY


@pytest.fixture
def desk(new_ledger: NewLedger) -> Desk:
    """A desk on an empty ledger of its own."""
    return Desk(new_ledger("replay"))


@pytest.fixture
def session(traded: Ledger) -> Iterator[Session]:
    with traded.session() as opened:
        yield opened


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "reports"
