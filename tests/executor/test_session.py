"""Whole sessions: the executor's own process, the real SDK, a venue, a real Postgres; and what goes wrong."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests
from rehearsal import WEIGHTS, environment, executor, prepare, risk_snapshot, to_the_close, venue
from sqlalchemy import text

from sql import audit, witnesses
from sql.ledger import Ledger
from sql.story import tell
from sql.subject import find

DEADLINE_S = 120
LATE = (
    "--start",
    "15:30",
)  # two minutes to the close at the speed below: enough for a busy machine to start in
SPEED = 15


class Broker:
    """The venue seen from outside, over plain HTTP: what the account really holds."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.url = ready["rest_url"]
        self.headers = {"APCA-API-KEY-ID": ready["key_id"], "APCA-API-SECRET-KEY": ready["secret_key"]}

    def get(self, path: str, **query: str) -> Any:
        """Ask until the answer is no planned fault."""
        for _ in range(5):
            answer = requests.get(f"{self.url}/v2{path}", headers=self.headers, params=query, timeout=5)
            if answer.status_code < 500:
                break
        return answer.json()

    def post(self, path: str, body: dict[str, str]) -> Any:
        return requests.post(f"{self.url}/v2{path}", headers=self.headers, json=body, timeout=5).json()

    def positions(self) -> dict[str, Decimal]:
        return {p["symbol"]: Decimal(p["qty"]) for p in self.get("/positions")}

    def orders(self, status: str = "all") -> list[dict[str, Any]]:
        return list(self.get("/orders", status=status, limit="500"))


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of the condition; fails after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {DEADLINE_S} s: {what}")


def wait_until_traded(ledger: Ledger) -> None:
    """Until the batch is done and no order works any more."""
    wait_for(
        lambda: (
            rows(ledger, "SELECT 1 FROM ledger.signal_batch WHERE state = 'DONE'")
            and not rows(
                ledger,
                "SELECT 1 FROM ledger.orders WHERE state NOT IN ('DONE', 'REJECTED', 'VOID', 'EXPIRED_UNSENT')",
            )
        ),
        "the batch is done",
    )


def rows(ledger: Ledger, query: str) -> list[Any]:
    with ledger.session() as session:
        return list(session.execute(text(query)).mappings())


def assert_equal_to_the_broker(ledger: Ledger, broker: Broker) -> None:
    """Cash to the cent, shares exactly, one order each way, every fill once, told by the venue's bytes, chain whole."""
    cash = rows(ledger, "SELECT sum(amount) AS x FROM ledger.posting WHERE account = 'cash'")[0]["x"]
    assert abs(cash - Decimal(broker.get("/account")["cash"])) < Decimal("0.01")
    held = {
        r["symbol"]: r["qty"] for r in rows(ledger, "SELECT symbol, qty FROM ledger.position WHERE qty <> 0")
    }
    assert held == broker.positions()
    ours = {
        r["client_order_id"]: r["filled_qty"]
        for r in rows(ledger, "SELECT * FROM ledger.orders WHERE state <> 'VOID'")
    }
    theirs = {o["client_order_id"]: Decimal(o["filled_qty"]) for o in broker.orders()}
    assert ours == theirs
    booked = rows(ledger, "SELECT client_order_id, sum(qty) AS q FROM ledger.fill GROUP BY 1")
    assert {r["client_order_id"]: r["q"] for r in booked} == {k: v for k, v in theirs.items() if v}
    with ledger.session() as session:
        assert audit.verify(session).ok
    with ledger.session() as session:
        assert witnesses.compare(session)[1] == [], (
            "every fill is told by bytes of the venue, and nothing else is"
        )


def test_an_approved_batch_is_traded_and_the_day_ends_reconciled(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.session() as session:
        prepare(session, tmp_path)
    with venue("--cash", "1000000", *LATE, speed=SPEED) as ready:
        process = executor("run", "--until-close", env=environment(ready, ledger, tmp_path), cwd=tmp_path)
        wait_until_traded(ledger)
        to_the_close(ready)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
        assert "no difference" in out
        broker = Broker(ready)
        assert set(broker.positions()) == set(WEIGHTS)
        assert_equal_to_the_broker(ledger, broker)
    intents = rows(
        ledger,
        "SELECT o.client_order_id, d.at AS decided, o.broker_order_id FROM ledger.orders o JOIN ledger.decision d ON d.seq = o.decision_seq",
    )
    sent_at = {o["client_order_id"]: o for o in broker_orders(rows(ledger, STATES))}
    for intent in intents:
        assert intent["decided"] <= sent_at[intent["client_order_id"]]["at"], (
            "the intent is in the ledger before the send"
        )
    equity = rows(ledger, "SELECT equity FROM ledger.equity_mark ORDER BY id DESC LIMIT 1")[0]["equity"]
    assert Decimal(990_000) < equity < Decimal(1_010_000)
    for intent in intents:
        assert_the_story_is_whole(ledger, intent["broker_order_id"])


def assert_the_story_is_whole(ledger: Ledger, broker_order_id: str) -> None:
    """What the venue's own bytes said about the order is what was booked, and the chain holds it all."""
    with ledger.session() as session:
        [subject] = find(session, broker_order_id)
        told = tell(session, subject)
    [order] = told["orders"]
    answer = next(
        m for m in order["messages"] if m["request"] == "POST /v2/orders" and m["direction"] == "in"
    )
    assert answer["status"] == 200
    assert json.loads(answer["body"])["id"] == broker_order_id
    frames = [json.loads(m["body"])["data"] for m in order["messages"] if m["channel"] == "trade_updates"]
    executed = [
        (Decimal(f["qty"]), Decimal(f["price"])) for f in frames if f["event"] in ("fill", "partial_fill")
    ]
    assert executed == [(f["qty"], f["price"]) for f in order["fills"]]
    assert order["reconciliation"]["matched"]
    assert told["audit"]["whole"]
    assert told["audit"]["tables_agree"]
    assert all(m["sha256_holds"] for m in order["messages"])


STATES = "SELECT ref AS client_order_id, at, body FROM ledger.audit_log WHERE kind = 'STATE' AND body LIKE '%\"to\": \"SENDING\"%'"


def broker_orders(states: list[Any]) -> list[Any]:
    assert states, "every order passed SENDING"
    return states


def test_a_killed_process_comes_back_with_nothing_lost_and_nothing_doubled(
    ledger: Ledger, tmp_path: Path
) -> None:
    with ledger.session() as session:
        prepare(session, tmp_path, {**WEIGHTS, "PFE": "0.05", "BAC": "0.05", "WMT": "0.05", "CVX": "0.05"})
    with venue("--cash", "1000000", *LATE, speed=SPEED) as ready:
        env, broker = environment(ready, ledger, tmp_path), Broker(ready)
        first = executor("run", "--until-close", env=env, cwd=tmp_path)
        wait_for(lambda: len(broker.orders()) >= 2, "two orders at the broker")
        first.kill()
        first.communicate()
        second = executor("run", "--until-close", env=env, cwd=tmp_path)
        wait_until_traded(ledger)
        to_the_close(ready)
        _, err = second.communicate(timeout=DEADLINE_S)
        assert second.returncode == 0, err
        assert_equal_to_the_broker(ledger, broker)
        assert len(broker.positions()) == 9
    legs = rows(
        ledger, "SELECT signal_id, count(DISTINCT leg) AS legs, count(*) AS n FROM ledger.orders GROUP BY 1"
    )
    assert all(r["legs"] == r["n"] for r in legs)
    assert rows(ledger, "SELECT epoch FROM ledger.book")[0]["epoch"] == 2


def test_a_second_executor_on_the_account_is_refused_and_the_first_goes_on(
    ledger: Ledger, tmp_path: Path
) -> None:
    with ledger.session() as session:
        prepare(session, tmp_path)
    with venue(*LATE, speed=SPEED) as ready:
        env = environment(ready, ledger, tmp_path)
        first = executor("run", "--until-close", env=env, cwd=tmp_path)
        wait_for(
            lambda: rows(ledger, "SELECT 1 FROM ledger.book WHERE epoch = 1"),
            "the first executor holds the account",
        )
        second = executor("run", env=env, cwd=tmp_path)
        _, err = second.communicate(timeout=DEADLINE_S)
        assert second.returncode == 3
        assert err.startswith("error: an executor runs on account")
        assert len(err.splitlines()) == 1
        wait_until_traded(ledger)
        to_the_close(ready)
        _, err = first.communicate(timeout=DEADLINE_S)
        assert first.returncode == 0, err


def test_a_wrong_key_is_named_and_the_secret_is_not(ledger: Ledger, tmp_path: Path) -> None:
    with venue() as ready:
        env = environment(ready, ledger, tmp_path) | {"APCA_API_SECRET_KEY": "WRONGSECRET"}
        process = executor("run", env=env, cwd=tmp_path)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4
    assert "refuses the key" in err
    assert len(err.splitlines()) == 1
    assert "WRONGSECRET" not in out + err


def test_a_kill_stops_sending_cancels_and_stays_over_a_restart(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.session() as session:
        prepare(session, tmp_path, limits={"order_notional_usd": "2000"})
    with venue("--cash", "1000000", *LATE, speed=SPEED) as ready:
        env, broker = environment(ready, ledger, tmp_path), Broker(ready)
        run = executor("run", "--until-close", env=env, cwd=tmp_path)
        wait_for(lambda: len(broker.orders()) >= 3, "orders at the broker")
        kill = executor("kill", "--reason", "test", env=env, cwd=tmp_path)
        kill.communicate(timeout=DEADLINE_S)
        assert kill.returncode == 0
        wait_for(lambda: not broker.orders("open"), "no open order is left")
        count = len(broker.orders())
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=DEADLINE_S)
        again = executor("run", env=env, cwd=tmp_path)
        wait_for(
            lambda: rows(ledger, "SELECT 1 FROM ledger.reconciliation_run WHERE occasion = 'start' OFFSET 1"),
            "restart",
        )
        beat = rows(ledger, "SELECT heartbeat_at FROM ledger.book")[0]["heartbeat_at"]
        wait_for(
            lambda: rows(ledger, "SELECT heartbeat_at FROM ledger.book")[0]["heartbeat_at"] > beat,
            "a heartbeat",
        )
        assert len(broker.orders()) == count, "killed over the restart"
        again.send_signal(signal.SIGTERM)
        again.communicate(timeout=DEADLINE_S)
    assert rows(ledger, "SELECT killed, mode FROM ledger.book")[0] == {"killed": True, "mode": "HALTED"}


def test_flattening_ends_flat_and_says_so_only_then(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.session() as session:
        prepare(session, tmp_path, {"AAPL": "0.05", "KO": "0.05"})
    with venue(*LATE, speed=SPEED) as ready:
        env, broker = environment(ready, ledger, tmp_path), Broker(ready)
        run = executor("run", "--until-close", env=env, cwd=tmp_path)
        wait_for(lambda: len(broker.positions()) == 2, "two positions")
        executor("kill", "--flatten", "--reason", "test", env=env, cwd=tmp_path).communicate(
            timeout=DEADLINE_S
        )
        wait_for(lambda: rows(ledger, "SELECT 1 FROM ledger.alert WHERE kind = 'flat'"), "flat was announced")
        assert broker.positions() == {}
        to_the_close(ready)
        _, err = run.communicate(timeout=DEADLINE_S)
        assert run.returncode == 0, err
        assert_equal_to_the_broker(ledger, broker)
    assert rows(ledger, "SELECT mode FROM ledger.book")[0]["mode"] == "HALTED"


def test_a_refused_order_leaves_a_decision_and_an_alert_and_reaches_nobody(
    ledger: Ledger, tmp_path: Path
) -> None:
    with ledger.session() as session:
        prepare(session, tmp_path, {"AAPL": "0.05", "KO": "0.05"}, limits={"single_name": "0.01"})
    with venue("--start", "15:40", speed=SPEED) as ready:
        run = executor("run", "--until-close", env=environment(ready, ledger, tmp_path), cwd=tmp_path)
        wait_until_traded(ledger)
        to_the_close(ready)
        _, err = run.communicate(timeout=DEADLINE_S)
        assert run.returncode == 0, err
        assert Broker(ready).orders() == []
    refused = rows(
        ledger, "SELECT symbol, reason FROM ledger.decision WHERE verdict = 'refused' ORDER BY symbol"
    )
    assert [r["symbol"] for r in refused] == ["AAPL", "KO"]
    assert all("single_name" in r["reason"] for r in refused)
    assert len(rows(ledger, "SELECT 1 FROM ledger.alert WHERE kind = 'breach'")) == 2


def test_an_order_that_is_not_ours_halts_and_is_cancelled(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.session() as session:
        prepare(session, tmp_path)
    with venue(*LATE, speed=SPEED) as ready:
        env, broker = environment(ready, ledger, tmp_path), Broker(ready)
        run = executor("run", "--until-close", env=env, cwd=tmp_path)
        wait_for(lambda: len(broker.positions()) == len(WEIGHTS), "the batch is held")
        order = {
            "symbol": "GE",
            "qty": "1",
            "side": "buy",
            "type": "limit",
            "time_in_force": "day",
            "limit_price": "1",
        }
        stranger = broker.post("/orders", order)
        wait_for(lambda: rows(ledger, "SELECT 1 FROM ledger.alert WHERE kind = 'foreign_order'"), "an alert")
        wait_for(lambda: broker.get(f"/orders/{stranger['id']}")["status"] == "canceled", "it is cancelled")
        assert rows(ledger, "SELECT mode FROM ledger.book")[0]["mode"] == "HALTED"
        to_the_close(ready)
        run.communicate(timeout=DEADLINE_S)


def test_the_snapshot_of_the_stage_is_real() -> None:
    """The stage itself: a thousand scenarios of real returns, no gap."""
    snapshot = risk_snapshot()
    assert snapshot.returns.shape == (1000, 20)
    assert (snapshot.daily_volatility > 0).all()
