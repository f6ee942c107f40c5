"""Signals brought by hand: a file of target weights, checked and proposed like any other batch."""

from __future__ import annotations

import csv
import datetime as dt
import json
from decimal import Decimal, InvalidOperation
from pathlib import Path

from sqlmodel import Session, col, select

from executor.errors import InputError
from sql.lineage import propose_batch
from sql.tables import RiskSnapshot, Signal, SignalBatch


def read_weights(path: Path) -> dict[str, Decimal]:
    """Weights by symbol from a CSV (``symbol,weight``) or a JSON object ``{"AAPL": 0.05}``.

    Raises :class:`InputError` naming file, line or symbol, value, and what is expected.
    """
    if not path.exists():
        raise InputError(f"no file {path}; give a CSV with the columns symbol,weight or a JSON object")
    pairs: list[tuple[str, str]]
    try:
        if path.suffix.lower() == ".json":
            raw = json.loads(path.read_text(encoding="utf-8-sig"))
            if not isinstance(raw, dict):
                raise InputError(f"{path} holds a {type(raw).__name__}; expected an object of symbol: weight")
            pairs = [(symbol, str(weight)) for symbol, weight in raw.items()]
        else:
            with path.open(newline="", encoding="utf-8-sig") as lines:
                reader = csv.DictReader(lines)
                columns = [c.strip().lower() for c in reader.fieldnames or ()]
                reader.fieldnames = columns
                if not {"symbol", "weight"} <= set(columns):
                    raise InputError(
                        f"{path} has the columns {', '.join(columns) or 'none'}; expected symbol,weight"
                    )
                pairs = [((row["symbol"] or "").strip(), (row["weight"] or "").strip()) for row in reader]
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}; expected UTF-8 CSV or JSON") from None
    weights: dict[str, Decimal] = {}
    for number, (symbol, text) in enumerate(pairs, 2):
        try:
            weight = Decimal(text)
        except InvalidOperation:
            weight = Decimal("NaN")
        if not symbol or not weight.is_finite() or abs(weight) > 10:
            raise InputError(
                f"{path} line {number}: {symbol or '(no symbol)'} has weight {text!r}; expected a fraction of "
                "equity such as 0.05"
            )
        if symbol in weights:
            raise InputError(f"{path} line {number}: {symbol} stands twice; give one weight each")
        weights[symbol] = weight
    if not weights:
        raise InputError(f"{path} holds no weights; expected at least one row of symbol,weight")
    return weights


def submit(
    session: Session,
    weights: dict[str, Decimal],
    *,
    environment: str,
    proposer: str,
    trading_day: dt.date,
    valid_from: dt.datetime,
    valid_until: dt.datetime,
    source: str,
) -> SignalBatch:
    """Propose weights from outside; they are risk-checked with the newest risk snapshot.

    Raises :class:`InputError` if there is no snapshot yet, and what ``propose_batch`` raises.
    """
    snapshot = session.exec(select(RiskSnapshot).order_by(col(RiskSnapshot.created_at).desc())).first()
    if snapshot is None:
        raise InputError(
            "the ledger has no risk snapshot, so no limit could be checked; run the chain once "
            "(sallyport flows run nightly), then submit again"
        )
    batch = SignalBatch(
        strategy=f"external:{source}",
        environment=environment,
        as_of=snapshot.as_of,
        session=trading_day,
        proposer=proposer,
        proposed_at=dt.datetime.now(dt.UTC),
        valid_from=valid_from,
        valid_until=valid_until,
        data_set_id=snapshot.data_set_id,
        risk_snapshot_id=snapshot.id,
        signals=0,
        gross_weight=Decimal(0),
        content_hash="",
    )
    signals = [
        Signal(batch_id=batch.id, symbol=symbol, target_weight=weight)
        for symbol, weight in sorted(weights.items())
    ]
    return propose_batch(session, batch, signals)
