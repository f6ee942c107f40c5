"""The Prefect server of our own: real, private, and gone when we are."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.errors import ServerError
from flows.process import ChildProcess, descendants
from flows.server import BROKER_KEYS, PrefectServer, answers, client_environment, running_server


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(*pids: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(is_alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def child(tmp_path: Path, code: str, **options: bool) -> ChildProcess:
    return ChildProcess(
        "the child",
        [sys.executable, "-c", code],
        environment=dict(os.environ),
        log=tmp_path / "child.log",
        **options,
    )


def test_it_answers_with_interface_and_its_own_database(prefect_server: PrefectServer):
    import urllib.request

    assert answers(prefect_server.api_url)
    with urllib.request.urlopen(prefect_server.url) as page:
        assert b"<html" in page.read()
    assert (prefect_server.home / "prefect.db").stat().st_size > 0
    assert running_server(prefect_server.home.parent) == prefect_server.api_url


def test_it_listens_on_loopback_only(prefect_server: PrefectServer):
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    hosts = {
        line.split()[1].split(":")[0]
        for line in listening
        if line.split()[3] == "0A" and int(line.split()[1].split(":")[1], 16) == prefect_server.port
    }
    assert hosts == {"0100007F"}


def test_telemetry_and_the_users_own_prefect_settings_stay_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_secret")
    monkeypatch.setenv("PREFECT_API_URL", "https://api.prefect.cloud/api/accounts/x")
    environment = client_environment(tmp_path, "http://127.0.0.1:1/api")
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert "PREFECT_API_KEY" not in environment
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["DO_NOT_TRACK"] == "1"


def test_nothing_that_runs_flows_is_given_a_key_to_trade_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in BROKER_KEYS:
        monkeypatch.setenv(name, "key-of-the-executor")
    assert "key-of-the-executor" not in client_environment(tmp_path, "http://127.0.0.1:1/api").values()


def test_a_port_in_use_is_one_clear_refusal(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"port {port} on 127.0.0.1 .*in use.*--port"):
            PrefectServer(tmp_path, port=port)


def test_a_server_that_dies_while_starting_says_why(tmp_path: Path):
    dying = child(tmp_path, "import sys; sys.exit('no room on disk')")
    dying.start()
    with pytest.raises(ServerError, match=r"exit code 1 while starting: no room on disk; see .*child\.log"):
        dying.wait_until(lambda: False, timeout_s=30)
    dying.stop()


def test_stopping_takes_everything_it_started_even_what_left_its_group(tmp_path: Path):
    stubborn = child(
        tmp_path,
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print(inner.pid, flush=True); time.sleep(600)",
        read_output=True,
    )
    stubborn.start()
    inner = int(stubborn.output.readline())
    assert descendants(stubborn.pid) == [inner]
    pid = stubborn.pid
    stubborn.stop(grace_s=0.2)
    assert wait_gone(pid, inner)


@pytest.mark.skipif(
    sys.platform != "linux", reason="the kernel ties a child's life to its parent's on Linux only"
)
def test_a_child_does_not_outlive_a_parent_that_is_killed(tmp_path: Path):
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time\n"
            "from pathlib import Path\n"
            "from flows.process import ChildProcess\n"
            "c = ChildProcess('c', [sys.executable, '-c', 'import time; time.sleep(600)'],"
            f" environment=dict(os.environ), log=Path({str(tmp_path / 'c.log')!r}))\n"
            "c.start(); print(c.pid, flush=True); time.sleep(600)",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path) or "."},
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())
    assert is_alive(orphan)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_gone(orphan)
