"""A venue, a ledger and an approved batch on the sample's last session: a stage for the executor."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import requests
from sqlmodel import Session

from executor.settings import LimitSettings
from market.calendar import session_close, session_open
from market.sample import sample_instruments, sample_prices
from models.risk.snapshot import RiskSnapshot as Snapshot
from models.risk.snapshot import build_snapshot, save_snapshot
from sql.approvals import PAPER_POLICY, approve
from sql.ledger import Ledger
from sql.lineage import propose_batch, record_data_set, record_risk_snapshot, set_limits, upsert_instruments
from sql.server import libpq_url
from sql.tables import DataSet, Instrument, RiskSnapshot, Signal, SignalBatch

SESSION = dt.date(2022, 12, 28)
AS_OF = dt.date(2022, 12, 27)
STARTED: list[subprocess.Popen[str]] = []
"""Every executor a test started; a fixture ends those that a failed test left behind."""

WEIGHTS = {"AAPL": "0.08", "JNJ": "0.08", "XOM": "0.06", "KO": "0.07", "MSFT": "0.05"}


@cache
def risk_snapshot() -> Snapshot:
    """Risk inputs as the flows would have known them the evening before."""
    return build_snapshot(sample_prices().filter(pl.col("date") <= AS_OF), as_of=AS_OF)


def prepare(
    session: Session,
    folder: Path,
    weights: dict[str, str] | None = None,
    limits: dict[str, str] | None = None,
    *,
    approved: bool = True,
) -> uuid.UUID:
    """Write the chain down to a batch for the session; returns the batch's id."""
    values = {name: str(value) for name, value in LimitSettings().model_dump().items()} | (limits or {})
    set_limits(session, values, author="test", reason="test")
    rows = sample_instruments().iter_rows(named=True)
    upsert_instruments(
        session, [Instrument(symbol=r["symbol"], name=r["name"], sector=r["sector"]) for r in rows]
    )
    now = dt.datetime.now(dt.UTC)
    path, content = save_snapshot(risk_snapshot(), folder / "risk")
    data = record_data_set(
        session,
        DataSet(
            id="ds-sample", created_at=now, source="sample", path="", content_hash="0" * 64, rows=1, symbols=20,
            first_session=AS_OF, last_session=AS_OF,
        ),
    )  # fmt: skip
    record_risk_snapshot(
        session,
        RiskSnapshot(
            id=content[:32], created_at=now, data_set_id=data.id, as_of=AS_OF, path=str(path), content_hash=content,
            symbols=20, scenarios=500,
        ),
    )  # fmt: skip
    return add_batch(session, content[:32], weights or WEIGHTS, approved=approved)


def add_batch(
    session: Session, snapshot_id: str, weights: dict[str, str], *, approved: bool = True
) -> uuid.UUID:
    """One more batch on the same chain."""
    batch = propose_batch(
        session,
        SignalBatch(
            strategy="test", environment="replay", as_of=AS_OF, session=SESSION, proposer="test",
            proposed_at=dt.datetime.now(dt.UTC), valid_from=session_open(SESSION), valid_until=session_close(SESSION),
            data_set_id="ds-sample", risk_snapshot_id=snapshot_id, signals=0, gross_weight=Decimal(0), content_hash="",
        ),
        [Signal(batch_id=uuid.uuid4(), symbol=s, target_weight=Decimal(w)) for s, w in weights.items()],
    )  # fmt: skip
    if approved:
        approve(
            session, batch.id, approver=PAPER_POLICY, reason="test", now=session_open(SESSION), policy=True
        )
    return batch.id


@contextmanager
def venue(*options: str, speed: float = 780) -> Iterator[dict[str, Any]]:
    """A venue process on the sample's last session; yields its ready line."""
    words = [
        sys.executable,
        "-m",
        "market.venue",
        "--date",
        str(SESSION),
        "--speed",
        str(speed),
        "--rate-limit",
        "5000",
    ]
    process = subprocess.Popen([*words, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def environment(ready: dict[str, Any], ledger: Ledger, folder: Path) -> dict[str, str]:
    """What the executor needs to trade on that venue."""
    return {
        "DATABASE_URL": libpq_url(ledger.url),
        "SALLYPORT_STATE_DIR": str(folder / "state"),
        "SALLYPORT_ENVIRONMENT": "replay",
        "SALLYPORT_CLOCK_RATE": str(ready["speed"]),
        "SALLYPORT_BROKER__URL": ready["rest_url"],
        "SALLYPORT_BROKER__STREAM_URL": ready["trading_stream_url"],
        "SALLYPORT_FEED__STREAM_URL": ready["data_stream_url"],
        "SALLYPORT_FEED__DATA_URL": ready["data_rest_url"],
        "APCA_API_KEY_ID": ready["key_id"],
        "APCA_API_SECRET_KEY": ready["secret_key"],
        "SALLYPORT_CONFIG": str(folder / "none.toml"),
    }


def executor(*words: str, env: dict[str, str], cwd: Path) -> subprocess.Popen[str]:
    """The executor's command in a process of its own."""
    code = "from executor.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "160", **env},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def to_the_close(ready: dict[str, Any]) -> None:
    """Move the venue's clock to a minute before the close: the day's work is done, its end is wanted."""
    answer = requests.post(
        f"{ready['control_url']}/clock",
        headers={"Authorization": f"Bearer {ready['control_token']}"},
        json={"to": (session_close(SESSION) - dt.timedelta(minutes=1)).isoformat()},
        timeout=5,
    )
    assert answer.ok, answer.text
