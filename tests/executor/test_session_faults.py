"""A session in which the broker misbehaves still ends with ledger and broker equal, and no order twice."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from rehearsal import WEIGHTS, environment, executor, prepare, to_the_close, venue
from sqlalchemy import text
from test_session import (
    DEADLINE_S,
    LATE,
    SPEED,
    Broker,
    assert_equal_to_the_broker,
    rows,
    wait_for,
    wait_until_traded,
)

from sql.ledger import Ledger

FAULTS = {
    "every second submit is accepted and answered with a 504": """
[[fault]]
kind = "accept_then_error"
status = 504
method = "POST"
path = "/v2/orders"
every = 2
""",
    "submits are cut off, fills are told twice, late and in the wrong order, or not at all": """
[[fault]]
kind = "accept_then_reset"
method = "POST"
path = "/v2/orders"
at = 2
[[fault]]
kind = "duplicate_update"
every = 2
[[fault]]
kind = "reorder_update"
every = 3
[[fault]]
kind = "drop_update"
event = "fill"
every = 2
[[fault]]
kind = "abort"
socket = "trading"
time = "15:32"
""",
    "a third of the sweeps is answered with an error page": """
[[fault]]
kind = "error"
status = 503
method = "GET"
path = "/v2/orders"
every = 3
""",
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_misbehaving_broker_costs_neither_a_fill_nor_an_order(
    ledger: Ledger, tmp_path: Path, name: str
) -> None:
    plan = tmp_path / "faults.toml"
    plan.write_text(FAULTS[name])
    with ledger.session() as session:
        prepare(session, tmp_path)
    with venue("--cash", "1000000", *LATE, "--faults", str(plan), speed=SPEED) as ready:
        run = executor("run", "--until-close", env=environment(ready, ledger, tmp_path), cwd=tmp_path)
        broker = Broker(ready)
        wait_until_traded(ledger)
        wait_for(lambda: broker.get("/clock")["timestamp"][11:16] >= "15:34", "every planned fault has come")
        to_the_close(ready)
        _, err = run.communicate(timeout=DEADLINE_S)
        held = broker.positions()
        assert run.returncode == 0, err
        assert set(held) == set(WEIGHTS)
        assert_equal_to_the_broker(ledger, broker)
    with ledger.session() as session:
        mode = session.execute(text("SELECT mode FROM ledger.book")).scalar_one()
        doubled = session.execute(
            text("SELECT symbol FROM ledger.orders GROUP BY symbol HAVING sum(filled_qty) > 1.02 * max(qty)")
        ).all()
    assert mode == "READY"
    assert doubled == [], "no target was bought twice"


def test_an_execution_taken_back_or_corrected_is_followed_to_the_cent(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.session() as session:
        prepare(session, tmp_path, {"AAPL": "0.08", "KO": "0.06"})
    with venue("--cash", "1000000", *LATE, speed=SPEED) as ready:
        run = executor("run", "--until-close", env=environment(ready, ledger, tmp_path), cwd=tmp_path)
        broker = Broker(ready)
        wait_until_traded(ledger)
        before = broker.positions()["AAPL"]
        act(ready, {"kind": "bust_execution", "symbol": "AAPL"})
        act(ready, {"kind": "correct_execution", "symbol": "KO", "price": "60.00"})
        wait_for(
            lambda: len(rows(ledger, "SELECT 1 FROM ledger.fill_reversal")) == 2, "both are in the ledger"
        )
        to_the_close(ready)
        _, err = run.communicate(timeout=DEADLINE_S)
        assert run.returncode == 0, err
        assert broker.positions().get("AAPL", 0) < before
        positions = rows(ledger, "SELECT symbol, qty FROM ledger.v_positions")
        assert {r["symbol"]: r["qty"] for r in positions if r["qty"]} == broker.positions()
        cash = rows(ledger, "SELECT sum(amount_usd) AS usd FROM ledger.v_cash")[0]["usd"]
        assert abs(cash - Decimal(broker.get("/account")["cash"])) < Decimal("0.01")
    assert {r["kind"] for r in rows(ledger, "SELECT kind FROM ledger.alert")} >= {
        "fill_reversed",
        "fill_corrected",
    }


def act(ready: dict[str, Any], fault: dict[str, str]) -> None:
    """Make the venue do something now, over its control address."""
    answer = requests.post(
        f"{ready['control_url']}/faults",
        headers={"Authorization": f"Bearer {ready['control_token']}"},
        json=fault,
        timeout=5,
    )
    assert answer.ok, answer.text
