"""A limit version older than some of the bounds: nothing is guessed, and the way out stays open."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from core_world import LIMITS
from sqlalchemy import text

from executor.bounds import OF_THE_GATE, for_engine, lacking, notice
from executor.core.gate import Gate
from executor.core.known import decimals
from executor.errors import InputError
from executor.limit_commands import change, confirm_change
from executor.settings import LimitSettings, Settings
from sql.ledger import Ledger
from sql.lineage import set_limits

FIRST = [
    "risk_per_trade",
    "risk_volatilities",
    "single_name",
    "sector",
    "gross",
    "order_notional_usd",
    "price_collar",
    "quote_age_s",
    "participation",
    "daily_loss",
    "drawdown",
    "drawdown_scale",
    "value_at_risk",
    "expected_shortfall",
    "orders_per_day",
]
"""What the first limit versions held."""
OLD = {name: LIMITS[name] for name in FIRST}


def test_a_bound_of_the_gate_that_a_version_lacks_stays_unset_and_the_breakers_get_their_defaults() -> None:
    taken = for_engine(OLD)
    assert set(taken) == set(OLD) | (set(LIMITS) - OF_THE_GATE)
    assert {name: taken[name] for name in OLD} == OLD
    gate = Gate(decimals(taken), 3)
    assert "beta" not in gate.bounds
    assert lacking(OLD) == sorted(set(LIMITS) - set(OLD))


def test_the_notice_names_what_is_missing_and_the_command_and_a_whole_version_needs_none() -> None:
    said = notice(3, OLD)
    assert "limits version 3 does not set" in said
    assert "stage_capital" in said
    assert "executor limits propose missing" in said
    assert notice(3, LIMITS) == ""


def test_two_persons_complete_an_old_version_with_the_configured_values(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(state_dir=tmp_path, limits=LimitSettings(beta="1.25"))
    with ledger.session() as session:
        set_limits(session, OLD | {"gross": "0.80"}, author="ann", reason="the first")
    change(ledger, settings, ["missing", "net=0.9"], who="ann", reason="upgrade", second=True)
    proposal = capsys.readouterr().out.split()[2].rstrip(";")
    confirm_change(ledger, settings, str(uuid.UUID(proposal)), who="bob", reason="seen")
    with ledger.session() as session:
        query = text("SELECT limits FROM ledger.limit_version ORDER BY version DESC LIMIT 1")
        limits = session.execute(query).scalar_one()
    assert lacking(limits) == []
    assert (limits["gross"], limits["beta"], limits["net"]) == ("0.80", "1.25", "0.9")
    with pytest.raises(InputError, match="no limit 'nett'"):
        change(ledger, settings, ["nett=1"], who="ann", reason="typo", second=True)
