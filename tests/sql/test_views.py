"""The read views keep their promise: columns by name and order, and what they say adds up."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import text
from standing_book import StandingBook

from sql.ledger import Ledger

PROMISED = {
    "v_audit": ("seq at actor kind ref body prev_hash hash"),
    "v_breaks": ("id run_id at market_time occasion kind ref ledger_value broker_value explanation is_open"),
    "v_cash": ("txn at amount_usd balance_usd memo against"),
    "v_decisions": (
        "seq at market_time epoch batch_id signal_id client_order_id symbol verdict reason "
        "limit_version inputs limits approver approved_at approval_signed model_version_id "
        "data_set_id risk_snapshot_id"
    ),
    "v_equity": (
        "id at market_time session cash long_value short_value equity day_open_equity "
        "high_water_mark day_return drawdown value_at_risk expected_shortfall"
    ),
    "v_exposure": (
        "symbol position open_buys open_sells price worst_usd equity worst_weight single_name_limit "
        "gross_weight gross_limit"
    ),
    "v_fills": (
        "execution_id client_order_id symbol side qty price notional_usd filled_at booked_at source "
        "signal_id batch_id arrival_price shortfall_usd broker_execution_id replaces_execution_id audit_seq"
    ),
    "v_limits": ("version effective_from author reason name value tighter in_force"),
    "v_messages": (
        "message received_at channel direction request status headers failure refs bytes body sha256"
    ),
    "v_mode": (
        "environment account epoch holder mode mode_reason mode_since killed flatten heartbeat_at "
        "market_time feed_age_ms silent_s limit_version audit_seq ledger_id"
    ),
    "v_orders": (
        "client_order_id signal_id batch_id leg purpose epoch symbol side qty order_type "
        "limit_price time_in_force state filled_qty average_fill_price broker_order_id "
        "broker_status reason arrival_price expected_cost_usd decision_seq created_at updated_at "
        "market_time is_open reserved_usd strategy order_class stop_price trail_percent trail_price worst_price "
        "extended_hours parent_client_order_id replaces_client_order_id"
    ),
    "v_positions": (
        "symbol qty average_price mark_price value_usd unrealised_usd realised_average_usd "
        "realised_fifo_usd open_lots updated_at"
    ),
    "v_reversals": (
        "reversal_id kind reason at audit_seq execution_id broker_execution_id client_order_id symbol side qty price "
        "replaced_by replaced_qty replaced_price"
    ),
    "v_signals": (
        "signal_id batch_id strategy session as_of symbol target_weight score contributions "
        "batch_state proposer proposed_at valid_from valid_until verdict approver decided_at "
        "model_version_id data_set_id validation_run_id risk_snapshot_id content_hash key_id "
        "signature features"
    ),
}


@pytest.mark.parametrize("view", sorted(PROMISED))
def test_a_view_gains_columns_at_its_end_only(ledger: Ledger, view: str) -> None:
    query = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'ledger' AND table_name = :v ORDER BY ordinal_position"
    with ledger.session() as session:
        found = list(session.execute(text(query), {"v": view}).scalars())
    promised = PROMISED[view].split()
    assert found[: len(promised)] == promised


def test_the_views_tell_one_story(ledger: Ledger) -> None:
    book = StandingBook(ledger)
    cid = book.place(qty="10", limit_price="100")["cid"]
    book.fill(cid, "4", "99")
    book.place("BBB", qty="100000")  # refused
    with ledger.session() as session:

        def one(query: str) -> dict[str, object]:
            return dict(session.execute(text(query)).mappings().one())

        order = one("SELECT * FROM ledger.v_orders")
        assert (order["average_fill_price"], order["reserved_usd"], order["is_open"]) == (99, 600, True)
        assert one("SELECT shortfall_usd AS x FROM ledger.v_fills")["x"] == Decimal(
            "-3.6"
        )  # 0.90 a share better than the mid
        held = one("SELECT * FROM ledger.v_positions")
        assert (held["qty"], held["value_usd"], held["open_lots"]) == (4, 396, 1)
        cash = session.execute(
            text("SELECT balance_usd FROM ledger.v_cash ORDER BY at DESC LIMIT 1")
        ).scalar_one()
        assert cash == 100_000 - 396
        verdicts = session.execute(
            text("SELECT verdict, approver FROM ledger.v_decisions ORDER BY seq")
        ).all()
        assert [tuple(v) for v in verdicts] == [("accepted", "policy:paper"), ("refused", "policy:paper")]
        risk = one("SELECT * FROM ledger.v_exposure")
        assert (risk["worst_usd"], risk["single_name_limit"], risk["gross_limit"]) == (
            1000,
            Decimal("0.12"),
            1,
        )
        assert one("SELECT mode, environment FROM ledger.v_mode") == {
            "mode": "READY",
            "environment": "replay",
        }
        assert one("SELECT count(*) AS n FROM ledger.v_signals WHERE batch_state = 'CLAIMED'")["n"] == 2
        assert one("SELECT value FROM ledger.v_limits WHERE in_force AND name = 'gross'")["value"] == 1
        assert one("SELECT count(*) = max(seq) AS whole FROM ledger.v_audit")["whole"]
