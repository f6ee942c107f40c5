"""Shared by all tests: a real Postgres, and a fresh ledger for each test that asks for one.

``SALLYPORT_TEST_DATABASE_URL`` runs them on another server than the embedded one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from sql.ledger import Ledger
from sql.migrate import upgrade
from sql.server import embedded_url, external_url, libpq_url, stop_embedded


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A temporary root of our own: pytest closes the shared one to other users at every start, and
    a Postgres that runs as another user (as it must under root) loses its files in the middle."""
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="sallyport-tests-")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave nothing behind after a green run; keep the evidence of a red one."""
    root = str(session.config.option.basetemp or "")
    if exitstatus == 0 and not hasattr(session.config, "workerinput") and "sallyport-tests-" in root:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def ledger_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a migrated, empty replay ledger that the others are copied from."""
    given = os.environ.get("SALLYPORT_TEST_DATABASE_URL")
    folder = tmp_path_factory.mktemp("ledger")
    url = external_url(given) if given else embedded_url(folder)
    name = f"template_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    template = _other_database(url, name)
    ledger = Ledger(template)
    upgrade(ledger.engine, environment="replay")
    ledger.close()
    yield template
    if given:
        with psycopg.connect(libpq_url(url), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name}")
    else:
        stop_embedded(folder)


@pytest.fixture
def ledger(ledger_template: str) -> Iterator[Ledger]:
    """An empty replay ledger of the test's own."""
    with _copy_of(ledger_template) as made:
        yield made


@pytest.fixture(scope="module")
def module_ledger(ledger_template: str) -> Iterator[Ledger]:
    """One ledger for a whole file: for tests that only look at what the first of them wrote."""
    with _copy_of(ledger_template) as made:
        yield made


@contextmanager
def _copy_of(ledger_template: str) -> Iterator[Ledger]:
    name = f"test_{uuid.uuid4().hex[:8]}"
    source = ledger_template.split("?", maxsplit=1)[0].rsplit("/", 1)[1]
    maintenance = _other_database(ledger_template, "postgres")
    with psycopg.connect(libpq_url(maintenance), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
    made = Ledger(_other_database(ledger_template, name))
    try:
        yield made
    finally:
        made.close()
        with psycopg.connect(libpq_url(maintenance), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _other_database(url: str, name: str) -> str:
    head, _, query = url.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
