"""The running executor loses its ledger: nothing more is sent, what works is cancelled, the halt is written down."""

from __future__ import annotations

from pathlib import Path

from cutting_proxy import proxied
from rehearsal import WEIGHTS, environment, executor, prepare, venue
from test_session import DEADLINE_S, LATE, SPEED, Broker, rows, wait_for

from sql import audit
from sql.ledger import Ledger
from sql.rebuild import compare


def test_an_executor_cut_off_from_its_ledger_halts_and_stays_halted(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.session() as session:
        prepare(session, tmp_path, {**WEIGHTS, "PFE": "0.05", "BAC": "0.05", "WMT": "0.05", "CVX": "0.05"})
    proxy, address = proxied(ledger)
    try:
        with venue("--cash", "1000000", *LATE, speed=SPEED) as ready:
            env, broker = environment(ready, Ledger(address), tmp_path), Broker(ready)
            process = executor("run", "--until-close", env=env, cwd=tmp_path)
            wait_for(broker.orders, "an order at the broker")
            proxy.cut()
            _, err = process.communicate(timeout=DEADLINE_S)
            assert process.returncode not in (0, None)
            assert "error:" in err
            assert "Traceback" not in err.rsplit("error:", 1)[-1]
            assert broker.orders("open") == []
            sent = len(broker.orders())
            assert rows(ledger, "SELECT mode FROM ledger.v_mode")[0]["mode"] == "HALTED"
            assert rows(ledger, "SELECT 1 FROM ledger.alert WHERE kind = 'executor_stopped'")
            again = executor("run", "--until-close", env=env, cwd=tmp_path)
            wait_for(
                lambda: rows(
                    ledger, "SELECT 1 FROM ledger.reconciliation_run WHERE occasion = 'start' OFFSET 1"
                ),
                "the next start has compared both sides",
            )
            again.terminate()
            again.communicate(timeout=DEADLINE_S)
            assert len(broker.orders()) == sent, "a halted executor sends nothing"
    finally:
        proxy.close()
    with ledger.session() as session:
        assert audit.verify(session).ok
    with ledger.session() as session:
        assert compare(session)[1] == []
