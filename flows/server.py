"""A real Prefect server of our own: on loopback, with its home under the state directory.

Its database is a SQLite file apart from the ledger: Prefect may lose or garble it, and nothing that
trades would notice. Telemetry, update checks and promotional content are off.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from flows.errors import ServerError
from flows.process import ChildProcess

HOST = "127.0.0.1"
POOL = "sallyport"
BROKER_KEYS = (
    "APCA_API_KEY_ID",
    "APCA_API_SECRET_KEY",
    "SALLYPORT_BROKER__KEY_ID",
    "SALLYPORT_BROKER__SECRET_KEY",
)
"""Only the executor holds these: flows propose, so nothing that runs them is given a key to trade with."""
_READY_TIMEOUT_S = 120.0  # a cold start migrates a new database: 13 s measured, minutes on a loaded machine


class PrefectServer:
    """The server as a context manager: started on entry, ready when :meth:`wait_ready` returns.

    Parameters
    ----------
    state_dir : Path
        The server's home is ``state_dir/prefect``.
    port : int
        0 takes a free one; a port in use raises :class:`ServerError`.
    services : bool
        Run the scheduler and the late-run marker; a server for one job does without.
    """

    def __init__(self, state_dir: Path, *, port: int = 0, services: bool = True) -> None:
        self.home = (state_dir / "prefect").resolve()
        self.port = _free_port() if port == 0 else _require_free(port)
        self.log = self.home / "server.log"
        command = [
            sys.executable,
            "-m",
            "prefect",
            "server",
            "start",
            "--host",
            HOST,
            "--port",
            str(self.port),
        ]
        environment = self.environment() | {
            "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": str(services).lower()
        }
        environment["PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED"] = str(services).lower()
        self._child = ChildProcess("the Prefect server", command, environment=environment, log=self.log)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    @property
    def pid(self) -> int:
        return self._child.pid

    def environment(self) -> dict[str, str]:
        """The environment of any process that talks to this server (and of the server itself)."""
        return client_environment(self.home, self.api_url)

    def start(self) -> None:
        """Start the process and return at once."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._child.start()

    def wait_ready(self, progress: Callable[[float], None] | None = None) -> None:
        """Wait until it answers its health check, and note its address for other commands."""
        self._child.wait_until(lambda: answers(self.api_url), timeout_s=_READY_TIMEOUT_S, progress=progress)
        note = {"api_url": self.api_url, "pid": self.pid}
        _address_file(self.home).write_text(json.dumps(note), encoding="utf-8")

    def require_running(self) -> None:
        """Raise :class:`ServerError` if it has died."""
        if self._child.exit_code is not None:
            raise ServerError(
                f"the Prefect server stopped with exit code {self._child.exit_code}: "
                f"{self._child.last_words()}; see {self.log}"
            )

    def stop(self) -> None:
        if self._child.started:
            _address_file(self.home).unlink(missing_ok=True)
        self._child.stop()

    def __enter__(self) -> PrefectServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def client_environment(home: Path, api_url: str) -> dict[str, str]:
    """Our environment without broker keys, every Prefect setting of the user's replaced by this server's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PREFECT_") and name not in BROKER_KEYS
    }
    return kept | {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": api_url,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_UI_API_URL": api_url,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }


def use_server(home: Path, api_url: str) -> None:
    """Point this process's Prefect at a server; must come before Prefect is imported.

    Raises :class:`ServerError` when it comes too late to count.
    """
    if "prefect" in sys.modules:
        raise ServerError(
            "Prefect is already loaded with other settings; choose the server before any flow is imported"
        )
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update(client_environment(home, api_url))
    # The server keeps the runs' logs; the terminal shows our own words, and an error as one line.
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"


def settle() -> None:
    """Send the logs and events Prefect still holds back, while its server is there to take them."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=5, at_exit=False)
    EventsWorker.drain_all(timeout=5, at_exit=False)


def running_server(state_dir: Path) -> str | None:
    """API address of the server that `sallyport up` runs on this state directory, if it answers."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        api_url = str(json.loads(_address_file((state_dir / "prefect").resolve()).read_text())["api_url"])
        return api_url if answers(api_url) else None
    return None


def answers(api_url: str, timeout_s: float = 2.0) -> bool:
    """Whether a Prefect server is healthy at `api_url`."""
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=timeout_s) as reply:  # noqa: S310  http from settings
            return bool(reply.status == 200 and json.loads(reply.read()) is True)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def start_worker(server: PrefectServer, *, log: Path, limit: int = 2) -> ChildProcess:
    """Start a process worker for the pool ``sallyport``; flow runs become its own child processes."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    command += ["--limit", str(limit), "--install-policy", "never"]
    worker = ChildProcess("the Prefect worker", command, environment=server.environment(), log=log)
    worker.start()
    return worker


def deploy(server: PrefectServer, prefect_file: Path, *, log: Path) -> None:
    """Create the work pool and every deployment of `prefect_file` on the server; raises ServerError."""
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    steps = (
        [*prefect, "work-pool", "create", POOL, "--type", "process", "--overwrite"],
        [*prefect, "deploy", "--all", "--prefect-file", str(prefect_file)],
    )
    for step in steps:
        child = ChildProcess(" ".join(step[2:5]), step, environment=server.environment(), log=log)
        child.start()
        try:
            code = child.wait()
        finally:
            child.stop()
        if code != 0:
            raise ServerError(
                f"`{' '.join(step[2:])}` failed with exit code {code}: {child.last_words()}; see {log}"
            )


def _address_file(home: Path) -> Path:
    return home / "server.json"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _require_free(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OverflowError:
            raise ServerError(f"port {port} does not exist; use 1 to 65535, or 0 for a free one") from None
        except OSError as error:
            raise ServerError(
                f"port {port} on {HOST} cannot be used for the Prefect server ({error.strerror}); "
                "stop what uses it, or choose another with --port (0 takes a free one)"
            ) from None
    return port
