"""The life of an order: the table is all there is, and the ledger holds the same one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.core.diagram import markdown
from executor.core.orders import (
    ENDED_STATUSES,
    REFUSED_STATUSES,
    TERMINAL,
    TRANSITIONS,
    Evidence,
    State,
    evidence_of_status,
    next_state,
)

MIGRATION = Path(__file__).parents[2] / "sql/migrations/versions/0002_functions.sql"


def test_the_ledger_allows_exactly_the_edges_of_the_table() -> None:
    block = re.search(r"INSERT INTO order_edge.*?VALUES(.*?);", MIGRATION.read_text(), re.S)
    assert block is not None
    in_ledger = set(re.findall(r"\('(\w+)', '(\w+)'\)", block.group(1)))
    in_core = {(str(a), str(b)) for (a, _), b in TRANSITIONS.items() if a is not b}
    assert in_ledger == in_core


def test_every_state_is_reachable_and_every_open_state_can_end() -> None:
    reached, frontier = {State.INTENT}, [State.INTENT]
    while frontier:
        here = frontier.pop()
        for (before, _), after in TRANSITIONS.items():
            if before is here and after not in reached:
                reached.add(after)
                frontier.append(after)
    assert reached == set(State)
    for state in set(State) - TERMINAL:
        assert any(before is state and after is not state for (before, _), after in TRANSITIONS.items())


@given(st.sampled_from(sorted(TERMINAL)), st.lists(st.sampled_from(list(Evidence)), max_size=8))
def test_nothing_moves_a_terminal_order(state: State, evidence: list[Evidence]) -> None:
    for item in evidence:
        assert next_state(state, item) is state


@pytest.mark.parametrize("status", ["new", "held", "pending_cancel", "suspended", "a_status_from_the_future"])
def test_a_status_that_does_not_prove_the_end_keeps_the_order_open(status: str) -> None:
    assert evidence_of_status(status) is Evidence.WORKING


def test_an_ambiguous_send_is_unknown_and_never_rejected() -> None:
    assert next_state(State.SENDING, Evidence.AMBIGUOUS) is State.UNKNOWN
    assert next_state(State.UNKNOWN, Evidence.AMBIGUOUS) is State.UNKNOWN
    assert State.UNKNOWN not in TERMINAL


@pytest.mark.parametrize("status", sorted(ENDED_STATUSES | REFUSED_STATUSES))
def test_a_final_status_ends_a_live_order(status: str) -> None:
    assert next_state(State.LIVE, evidence_of_status(status)) in TERMINAL


def test_the_page_is_what_the_table_generates() -> None:
    page = Path(__file__).parents[2] / "docs/order-states.md"
    assert page.read_text() == markdown(), "python -m executor.core.diagram > docs/order-states.md"


def test_an_order_good_till_canceled_is_only_done_for_the_day() -> None:
    assert evidence_of_status("done_for_day", "gtc") is Evidence.WORKING
    assert evidence_of_status("done_for_day", "day") is Evidence.ENDED
    assert evidence_of_status("expired", "gtc") is Evidence.ENDED
