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
from pathlib import Path

import psycopg
import pytest

from sql.ledger import Ledger
from sql.migrate import upgrade
from sql.server import embedded_url, external_url, libpq_url, stop_embedded

ROOM_BYTES = 1_500_000_000


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
    folder = _fast_folder() or tmp_path_factory.mktemp("ledger")
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
    shutil.rmtree(folder, ignore_errors=True)


def _fast_folder() -> Path | None:
    """A folder in memory, if there is room: a database a test means two checkpoints a test.

    The server's settings stay what they are, and memory outlives the processes that are killed in it: what
    dies with a process, and what does not, is the same there as on disk. A loss of power no test shows.
    """
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < ROOM_BYTES:
        return None
    folder = Path(tempfile.mkdtemp(prefix="sallyport-tests-", dir=memory))
    folder.chmod(0o755)  # under root the server runs as another user
    return folder


@pytest.fixture
def server_folder(tmp_path: Path) -> Iterator[Path]:
    """Where a test may make a server of its own: in memory, or else on disk."""
    folder = _fast_folder()
    yield folder or tmp_path
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


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
