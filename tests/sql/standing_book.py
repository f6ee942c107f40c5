"""An open book with an approved, claimed batch, driven through the ledger's functions over any connection."""

from __future__ import annotations

import json
import uuid
from typing import Any

from chain import DAY, NOON, whole_chain
from sqlalchemy import text
from sqlmodel import select

from sql.approvals import PAPER_POLICY, approve
from sql.ledger import Ledger
from sql.tables import Signal


class StandingBook:
    """One account with 100,000 USD and a claimed batch of AAA and BBB."""

    def __init__(self, ledger: Ledger, weights: dict[str, str] | None = None) -> None:
        self.ledger = ledger
        with ledger.session() as session:
            batch = whole_chain(session, weights)
            self.batch_id = batch.id
            self.signals = {s.symbol: s.id for s in session.exec(select(Signal)).all()}
            approve(session, batch.id, approver=PAPER_POLICY, reason="test", now=NOON, policy=True)
        self.epoch = int(self.call("take_over('ACC', 'test')"))
        self.call("open_book(:e, 100000, '[]')")
        self.mark("100000")
        assert self.call("claim_batch(:e, :t)", t=NOON) == self.batch_id

    def call(self, function: str, **values: Any) -> Any:
        values = {"e": getattr(self, "epoch", None)} | values
        with self.ledger.session() as session:
            return session.execute(text(f"SELECT ledger.{function}"), values).scalar_one()

    def mark(self, equity: str) -> None:
        mark = {
            "market_time": NOON.isoformat(), "session": DAY.isoformat(), "cash": equity, "long_value": "0",
            "short_value": "0", "equity": equity, "day_open_equity": equity, "high_water_mark": equity, "marks": {},
        }  # fmt: skip
        self.call("mark_equity(:e, CAST(:m AS jsonb))", m=json.dumps(mark))

    def order(self, symbol: str = "AAA", qty: str = "10", **changed: Any) -> dict[str, Any]:
        return {
            "client_order_id": f"sp-{uuid.uuid4().hex}-1", "signal_id": str(self.signals[symbol]), "leg": 1,
            "batch_id": str(self.batch_id), "purpose": "target", "symbol": symbol, "side": "buy", "qty": qty,
            "order_type": "limit", "limit_price": "100", "time_in_force": "day", "arrival_price": "99.9",
            "market_time": NOON.isoformat(), "limit_version": 1, "inputs": {}, "checks": {"limits": []},
            "cost_estimate": {},
        } | changed  # fmt: skip

    def place(self, symbol: str = "AAA", qty: str = "10", **changed: Any) -> dict[str, Any]:
        order = self.order(symbol, qty, **changed)
        answer: dict[str, Any] = self.call("place(:e, CAST(:p AS jsonb))", p=json.dumps(order))
        return answer | {"cid": order["client_order_id"]}

    def fill(self, cid: str, qty: str, price: str = "100", key: str | None = None) -> bool:
        return bool(
            self.call(
                "record_fill(:e, :k, :c, :q, :p, now(), 'stream')",
                k=key or uuid.uuid4().hex,
                c=cid,
                q=qty,
                p=price,
            )
        )

    def state(self, cid: str, state: str, reason: str = "") -> str:
        return str(self.call("set_state(:e, :c, :s, NULL, NULL, :r)", c=cid, s=state, r=reason))
