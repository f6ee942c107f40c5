"""The embedded server: shared by processes, stopped by the last, and addresses that show no password."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from sql import audit
from sql.errors import LedgerError, LedgerUnreachable
from sql.ledger import open_ledger
from sql.server import external_url, ledger_url, redacted, stop_embedded

OPEN = "from pathlib import Path; from sql.server import embedded_url; import sys;" \
       "embedded_url(Path(sys.argv[1])); print('ready', flush=True); {}"  # fmt: skip


def _process(folder: Path, then: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN.format(then), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _running(folder: Path) -> bool:
    return (folder / "postgres/postmaster.pid").exists()


def test_several_processes_share_it_and_the_last_one_stops_it(server_folder: Path) -> None:
    first = _process(server_folder, "input()")
    second = _process(server_folder, "input()")
    assert first.stdout is not None
    assert second.stdout is not None
    assert first.stdout.readline() == "ready\n"
    assert second.stdout.readline() == "ready\n"
    first.communicate("\n")
    assert _running(server_folder), "the second still uses it"
    second.communicate("\n")
    assert not _running(server_folder)


def test_a_killed_process_does_not_keep_it_running_for_ever(server_folder: Path) -> None:
    victim = _process(server_folder, "input()")
    assert victim.stdout is not None
    victim.stdout.readline()
    victim.kill()
    victim.wait()
    _process(server_folder, "pass").communicate()
    assert not _running(server_folder)


def test_what_was_recorded_is_there_after_a_restart(server_folder: Path) -> None:
    ledger = open_ledger(server_folder, None, "replay")
    with ledger.session() as session:
        audit.append(session, "K", "r", {})
    ledger.close()
    assert stop_embedded(server_folder)
    ledger = open_ledger(server_folder, None, "replay")
    with ledger.session() as session:
        assert session.execute(text("SELECT kind FROM ledger.audit_log")).scalar_one() == "K"
    ledger.close()
    assert stop_embedded(server_folder)
    assert not stop_embedded(server_folder)


def test_one_ledger_has_one_environment(server_folder: Path) -> None:
    open_ledger(server_folder, None, "replay").close()
    with pytest.raises(LedgerError, match="for environment 'replay', but 'live'"):
        open_ledger(server_folder, None, "live")
    stop_embedded(server_folder)


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnreachable, match="no Postgres at") as caught:
        ledger_url(tmp_path, "postgresql://me:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["mysql://x/y", "not an address"])
def test_another_kind_of_database_is_refused(address: str) -> None:
    with pytest.raises(LedgerError, match="use postgresql://"):
        external_url(address)


def test_redaction_hides_the_password_only() -> None:
    assert redacted("postgresql://me:secret@host:5/db") == "postgresql://me:***@host:5/db"
    assert redacted("postgresql://host/db") == "postgresql://host/db"
