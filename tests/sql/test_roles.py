"""Each role can do its work and nothing else: tried as a real login that is a member of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from chain import NOON
from psycopg import errors
from sqlalchemy.engine import make_url
from standing_book import StandingBook

from sql.ledger import Ledger
from sql.roles import PREFIX, ROLES, adopt, apply_grants, in_force
from sql.server import libpq_url

Login = Callable[[str], psycopg.Connection[Any]]


@pytest.fixture
def book(ledger: Ledger) -> StandingBook:
    with ledger.engine.begin() as connection:
        if not in_force(connection):
            pytest.skip("this server's login may not create roles: there is nothing to hold apart")
    book = StandingBook(ledger)
    book.fill(book.place()["cid"], "1")
    return book


@pytest.fixture
def login(book: StandingBook) -> Iterator[Login]:
    """Connects as a fresh login that is a member of one role."""
    made: list[str] = []
    opened: list[psycopg.Connection[Any]] = []
    url = make_url(libpq_url(book.ledger.url))

    def connect(role: str) -> psycopg.Connection[Any]:
        name, secret = f"t_{role}_{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
        with book.ledger.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD '{secret}' IN ROLE {PREFIX}{role}")
        made.append(name)
        address = url.set(username=name, password=secret).render_as_string(hide_password=False)
        opened.append(
            psycopg.connect(address, autocommit=True, options="-c search_path=ledger -c timezone=UTC")
        )
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()
    with book.ledger.engine.begin() as connection:
        for name in made:
            connection.exec_driver_sql(
                f"GRANT {name} TO CURRENT_USER"
            )  # dropping what it owns takes membership
            connection.exec_driver_sql(f"DROP OWNED BY {name}")
            connection.exec_driver_sql(f"DROP ROLE {name}")


TABLES = ("audit_log", "audit_head", "orders", "limit_version", "book", "signal", "signal_batch", "fill", "posting",
          "position", "decision", "approval", "approver_key", "anchor", "reservation", "lot", "order_edge")  # fmt: skip
DML = ["INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
COLUMN = {"audit_log": "body", "audit_head": "seq", "orders": "state", "limit_version": "limits", "book": "killed",
          "signal": "target_weight", "signal_batch": "content_hash", "fill": "price", "posting": "amount", "position": "qty",
          "decision": "verdict", "approval": "approver", "approver_key": "public_key", "anchor": "hash",
          "reservation": "qty", "lot": "price", "order_edge": "after"}  # fmt: skip


@pytest.mark.parametrize("role", ["executor", "sentinel", "auditor", "risk_admin"])
def test_no_role_writes_a_table_around_the_functions(login: Login, role: str) -> None:
    connection = login(role)
    for table in TABLES:
        for act in [*DML, f"UPDATE {{}} SET {COLUMN[table]} = {COLUMN[table]}"]:
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(act.format(table))


@pytest.mark.parametrize("role", [r for r in ROLES if r != "owner"])
def test_no_role_makes_objects_disarms_triggers_or_becomes_the_owner(login: Login, role: str) -> None:
    connection = login(role)
    for act in (
        "CREATE TABLE ledger.x (i int)",
        "CREATE FUNCTION ledger.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE audit_log DISABLE TRIGGER ALL",
        "DROP TABLE audit_log",
        "SET ROLE sallyport_owner",
        "SET session_replication_role = replica",
        "SELECT audit('FORGED', 'x', '{}')",
        "SELECT move_position('AAA', 1, 1)",
        "SELECT record_decision(1, '{}', 'accepted', '')",
        "SELECT add_limit_version('x', 'x', '{}')",
        "SELECT declare_restored('x', '{}')",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(act)


# What a role may call, by the name of the function.
EXECUTOR = {"take_over", "heartbeat", "tighten", "kill", "claim_batch", "finish_batch", "place", "record_leg", "reverse_fill", "correct_fill", "keep_raw", "refuse", "set_state",
            "record_fill", "record_cash", "record_corporate_action", "open_book", "mark_equity", "record_reconciliation",
            "record_raw", "record_clock_sample", "record_release", "raise_alert", "record_anchor"}  # fmt: skip
MAY = {
    "executor": EXECUTOR,
    "flow_writer": {"append_audit", "append_audit_many", "raise_alert"},
    "approver": {"append_audit", "append_audit_many", "raise_alert", "overrule_finding"},
    "risk_admin": {"kill", "rearm", "set_limits", "propose_limits", "confirm_limits", "register_approver",
                   "revoke_approver", "record_adjustment", "record_drill", "set_retention", "raw_to_drop", "keep_raw",
                   "raise_alert", "record_anchor"},
    "sentinel": {"kill", "raise_alert", "record_anchor"},
    "auditor": {"verify_chain", "audit_hash", "raise_alert", "record_anchor"},
}  # fmt: skip


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_call_exactly_its_functions(book: StandingBook, role: str) -> None:
    with book.ledger.engine.begin() as connection:
        found = connection.exec_driver_sql(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace "
            f"AND has_function_privilege('{PREFIX}{role}', oid, 'EXECUTE')"
        )
        assert set(found.scalars()) == MAY[role]


def test_every_function_runs_with_a_path_that_nobody_can_shadow(book: StandingBook) -> None:
    with book.ledger.engine.begin() as connection:
        loose = connection.exec_driver_sql(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace AND (NOT prosecdef OR "
            "proconfig IS DISTINCT FROM ARRAY['search_path=ledger, pg_catalog, pg_temp'])"
        )
        assert list(loose.scalars()) == []


def test_a_temporary_table_does_not_shadow_the_book(book: StandingBook, login: Login) -> None:
    sentinel = login("sentinel")
    sentinel.execute(
        "CREATE TEMP TABLE book (one bool, killed bool, flatten bool, mode text, mode_reason text, mode_since timestamptz)"
    )
    sentinel.execute("INSERT INTO pg_temp.book VALUES (true, false, false, 'READY', '', now())")
    sentinel.execute("SELECT ledger.kill('sentinel', 'saw something', false)")
    assert book.call("mode_rank((SELECT mode FROM ledger.book))") == 5, "the ledger's own book was halted"


def test_the_executor_trades_and_its_entries_name_it(book: StandingBook, login: Login) -> None:
    connection = login("executor")
    order = json.dumps(book.order("BBB"))
    answer = connection.execute("SELECT place(%s, %s::jsonb)", (book.epoch, order)).fetchone()
    assert answer is not None
    assert answer[0]["ok"]
    actor = connection.execute("SELECT actor FROM audit_log WHERE seq = %s", (answer[0]["seq"],)).fetchone()
    assert actor is not None
    assert actor[0].startswith("t_executor_")


def test_a_flow_writer_proposes_but_forges_no_approval(book: StandingBook, login: Login) -> None:
    connection = login("flow_writer")
    connection.execute("SELECT append_audit('DATA_SET', 'x', '{}')")
    for kind in ("APPROVAL", "DECISION", "LIMITS", "KILL"):
        with pytest.raises(psycopg.Error, match=f"may not append entries of kind {kind}"):
            connection.execute("SELECT append_audit(%s, 'x', '{}')", (kind,))
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute("INSERT INTO approval DEFAULT VALUES")
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute("UPDATE signal_batch SET state = 'APPROVED'")
    with pytest.raises(psycopg.Error, match="has been decided on"):
        connection.execute(
            "INSERT INTO signal (id, batch_id, symbol, target_weight, contributions) VALUES (gen_random_uuid(), %s, 'AAA', 1, '{}')",
            (book.batch_id,),
        )


def test_an_approver_cannot_change_what_is_approved(book: StandingBook, login: Login) -> None:
    connection = login("approver")
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute("UPDATE signal_batch SET content_hash = ''")
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute("SELECT place(1, '{}')")
    with pytest.raises(psycopg.Error, match="not PROPOSED"):
        connection.execute(
            "INSERT INTO approval (id, batch_id, verdict, approver, reason, environment, content_hash, decided_at) "
            "SELECT gen_random_uuid(), id, 'approved', 'me', 'r', environment, content_hash, now() FROM signal_batch"
        )


def test_the_auditor_verifies_the_chain_in_the_server(book: StandingBook, login: Login) -> None:
    row = login("auditor").execute("SELECT * FROM verify_chain()").fetchone()
    assert row is not None
    assert row[1] is None
    assert row[2]


def test_a_connection_can_put_its_role_on(book: StandingBook) -> None:
    with psycopg.connect(libpq_url(book.ledger.url), options="-c search_path=ledger") as connection:
        connection.execute(adopt("executor"))
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("UPDATE book SET killed = false")
    with psycopg.connect(libpq_url(book.ledger.url), options="-c search_path=ledger") as connection:
        connection.execute(adopt("executor"))
        connection.execute("SELECT heartbeat(%s, %s, 1)", (book.epoch, NOON))


def test_grants_are_idempotent(ledger: Ledger) -> None:
    with ledger.engine.begin() as connection:
        if not in_force(connection):
            pytest.skip("this server's login may not create roles")
        assert apply_grants(connection) == ""
        assert in_force(connection)
