"""A server we start as a child process, and that never outlives us.

Every child leads its own process group and logs to its own file. It is stopped politely (SIGINT) and then
firmly, group and descendants included; on Linux the kernel also kills it should we die without a word.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from flows.errors import ServerError

_DIE_WITH_PARENT = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 15)\n"  # PR_SET_PDEATHSIG, SIGTERM: survives the exec below
    "os.getppid() == int(sys.argv[1]) or sys.exit(1)\n"  # the parent was gone before we asked
    "os.execvp(sys.argv[2], sys.argv[2:])"
)
"""Runs between us and the child on Linux, for 15 ms; preexec_fn would be unsafe with our threads."""


class ChildProcess:
    """One child: start it in the main thread, stop it in any.

    Parameters
    ----------
    name : str
        What it is, for messages.
    command : sequence of str
    environment : mapping
        The whole environment of the child.
    log : Path
        Where its standard error (and output, unless `read_output`) goes; appended.
    read_output : bool
        Keep standard output as a pipe (`self.output`), for a child that says when it is ready.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        read_output: bool = False,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log = log
        self._read_output = read_output
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it. The kernel ties its life to the calling thread, so that must be the main one."""
        if threading.current_thread() is not threading.main_thread():
            raise ServerError(
                f"{self.name} must be started from the main thread; start it before any worker thread"
            )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = self.command
        if sys.platform == "linux":
            command = [sys.executable, "-ISc", _DIE_WITH_PARENT, str(os.getpid()), *command]
        with self.log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._read_output else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    @property
    def started(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        return self._started().pid

    @property
    def output(self) -> IO[str]:
        """Its standard output, where `read_output` was asked for."""
        stream = self._started().stdout
        if stream is None:
            raise ServerError(
                f"the output of {self.name} goes to {self.log}; start it with read_output to read it"
            )
        return stream

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for it to end by itself; raises subprocess.TimeoutExpired."""
        return self._started().wait(timeout_s)

    def last_words(self, lines: int = 3) -> str:
        """The end of its log on one line, for a message."""
        if not self.log.exists():
            return "(no log)"
        text = self.log.read_text(encoding="utf-8", errors="replace")
        kept = [line.strip() for line in text.splitlines() if line.strip()]
        return " | ".join(kept[-lines:])[-400:] or "(empty log)"

    def wait_until(
        self,
        ready: Callable[[], bool],
        *,
        timeout_s: float,
        progress: Callable[[float], None] | None = None,
        interval_s: float = 0.1,
    ) -> None:
        """Poll `ready` until it is true; raises :class:`ServerError` if the child ends or time runs out."""
        started = time.monotonic()
        while not ready():
            waited = time.monotonic() - started
            if self.exit_code is not None:
                raise ServerError(
                    f"{self.name} stopped with exit code {self.exit_code} while starting: {self.last_words()}; "
                    f"see {self.log}"
                )
            if waited > timeout_s:
                raise ServerError(
                    f"{self.name} did not answer within {timeout_s:.0f} s: {self.last_words()}; see {self.log}"
                )
            if progress is not None:
                progress(waited)
            time.sleep(interval_s)

    def stop(self, *, grace_s: float = 8.0) -> None:
        """Stop it and everything it started: SIGINT, then SIGTERM, then SIGKILL. Safe to call twice."""
        process = self._process
        if process is None:
            return
        family = descendants(process.pid)
        for sign, patience in ((signal.SIGINT, grace_s), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            if process.poll() is not None:
                break
            _signal_group(process.pid, sign)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                family = sorted({*family, *descendants(process.pid)})
        _signal_group(process.pid, signal.SIGKILL)  # whatever is left of the group
        for pid in family:  # and what left the group for a session of its own
            _signal(pid, signal.SIGKILL)
        if process.stdout is not None:
            process.stdout.close()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ServerError(f"{self.name} has not been started; call start() first")
        return self._process


def descendants(pid: int) -> list[int]:
    """Process ids of all children of `pid`, their children and so on (from /proc; empty elsewhere)."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat") if sys.platform == "linux" else ():
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.extend(below)
        waiting.extend(below)
    return found


def _signal_group(pid: int, sign: signal.Signals) -> None:
    try:
        os.killpg(pid, sign)
    except (ProcessLookupError, PermissionError):
        return


def _signal(pid: int, sign: signal.Signals) -> None:
    try:
        os.kill(pid, sign)
    except (ProcessLookupError, PermissionError):
        return
