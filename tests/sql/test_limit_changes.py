"""One person tightens; loosening takes two."""

from __future__ import annotations

from decimal import Decimal

import pytest
from chain import first_half
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from executor.settings import LimitSettings
from sql.errors import LimitsError
from sql.ledger import Ledger
from sql.limit_changes import confirm, propose, tighten

HIGHER = {
    "risk_volatilities", "price_jump_rest_s", "duplicate_window_s", "repeat_window_s", "messages_reserved", "leverage_shock",
}  # fmt: skip
"""What tightens by rising."""
LIMITS = {name: str(value) for name, value in LimitSettings().model_dump().items()}


@pytest.fixture
def limited(ledger: Ledger) -> Ledger:
    with ledger.session() as session:
        first_half(session)
    return ledger


def version(ledger: Ledger) -> int:
    with ledger.session() as session:
        return int(session.execute(text("SELECT max(version) FROM ledger.limit_version")).scalar_one())


def test_every_limit_of_the_settings_has_a_direction(limited: Ledger) -> None:
    with limited.session() as session:
        known = set(
            session.execute(text("SELECT name FROM ledger.limit_direction WHERE NOT optional")).scalars()
        )
    assert known == set(LIMITS)


@given(st.sampled_from(sorted(LIMITS)), st.sampled_from(["0.9", "1.1"]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_person_may_only_tighten(limited: Ledger, name: str, factor: str) -> None:
    with limited.session() as session:
        present = session.execute(
            text("SELECT limits FROM ledger.limit_version ORDER BY version DESC LIMIT 1")
        ).scalar_one()
        changed = dict(present) | {name: str(Decimal(present[name]) * Decimal(factor))}
        tighter = (factor == "0.9") != (name in HIGHER)
        if tighter:
            tighten(session, changed, author="ann", reason="test")
        else:
            with pytest.raises(LimitsError, match=f"loosens {name}"), session.begin_nested():
                tighten(session, changed, author="ann", reason="test")


def test_loosening_takes_a_second_person(limited: Ledger) -> None:
    looser = LIMITS | {"gross": "1.5"}
    with limited.session() as session:
        proposal = propose(session, looser, author="ann", reason="more room")
        with (
            pytest.raises(LimitsError, match="ann proposed these limits and cannot confirm"),
            session.begin_nested(),
        ):
            confirm(session, proposal, who="ann", reason="me again")
    assert version(limited) == 1
    with limited.session() as session:
        assert confirm(session, proposal, who="bob", reason="agreed") == 2
    with limited.session() as session, pytest.raises(LimitsError, match="is CONFIRMED"):
        confirm(session, proposal, who="bob", reason="twice")


def test_a_proposal_does_not_outlive_another_change(limited: Ledger) -> None:
    with limited.session() as session:
        proposal = propose(session, LIMITS | {"gross": "1.5"}, author="ann", reason="more room")
        tighten(session, LIMITS | {"gross": "0.5"}, author="risk", reason="careful")
        with pytest.raises(LimitsError, match="the limits changed since"):
            confirm(session, proposal, who="bob", reason="late")


@pytest.mark.parametrize("value", ["NaN", "-1", "Infinity", "much", ""])
def test_a_limit_is_a_number_from_zero_up(limited: Ledger, value: str) -> None:
    with limited.session() as session, pytest.raises(LimitsError, match="limit gross is"):
        tighten(session, LIMITS | {"gross": value}, author="ann", reason="test")


def test_a_limit_that_was_missing_cannot_be_set_by_one(limited: Ledger) -> None:
    without = {k: v for k, v in LIMITS.items() if k != "gross"}
    with limited.session() as session:
        tighten(session, without, author="ann", reason="stop")
        with pytest.raises(LimitsError, match="loosens gross"):
            tighten(session, LIMITS, author="ann", reason="go")
