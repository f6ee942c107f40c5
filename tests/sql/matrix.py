"""Runs the ledger's tests on the embedded Postgres and on every one that is installed: ``python tests/sql/matrix.py``.

Installed ones are looked for in /usr/lib/postgresql/*/bin and in $SALLYPORT_POSTGRES_BIN (a path list). Each
gets a cluster of its own in a temporary folder, on a Unix socket; under root it runs as user ``postgres``.
Further words go to pytest. Ends with 1 if any of them failed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

OLDEST = 14
TESTS = Path(__file__).parent


def installed() -> list[Path]:
    """Folders with the programs of each Postgres, oldest first."""
    named = [Path(p) for p in os.environ.get("SALLYPORT_POSTGRES_BIN", "").split(os.pathsep) if p]
    found = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return sorted({*named, *found}, key=lambda folder: (_major(folder), str(folder)))


def _major(folder: Path) -> int:
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\) (\d+)", answer.stdout)
    if found is None:
        raise SystemExit(f"error: {folder}/postgres says {answer.stdout.strip()!r}, which names no version")
    return int(found[1])


@contextmanager
def cluster(programs: Path) -> Iterator[str]:
    """A fresh server; yields the address of its database ``postgres``."""
    memory = Path("/dev/shm")
    folder = Path(
        tempfile.mkdtemp(prefix="sallyport-matrix-", dir=memory if os.access(memory, os.W_OK) else None)
    )
    other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if other:
        shutil.chown(folder, "postgres", "postgres")

    def run(*words: str) -> None:
        done = subprocess.run([*other, *words], capture_output=True, text=True, cwd=folder)
        if done.returncode:
            raise SystemExit(f"error: {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")

    data = folder / "data"
    run(str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-k {folder} -c listen_addresses=127.0.0.1 -c port=54990 -c max_connections=200"
    run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield "postgresql://postgres@127.0.0.1:54990/postgres"
    finally:
        run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def tests(words: Sequence[str], address: str | None) -> tuple[bool, str]:
    """One run of tests/sql; whether it passed, and its last line."""
    environment = {k: v for k, v in os.environ.items() if k != "SALLYPORT_TEST_DATABASE_URL"}
    if address:
        environment["SALLYPORT_TEST_DATABASE_URL"] = address
    command = [sys.executable, "-m", "pytest", "-q", str(TESTS), *words]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, cwd=TESTS.parents[1]
    ) as run:
        assert run.stdout is not None
        last = ""
        for line in run.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return run.returncode == 0, last


def main() -> None:
    """Run them all and print one line each."""
    results: list[tuple[str, bool, str, float]] = []
    for name, programs in [("embedded", None), *((f"Postgres {_major(p)}, {p}", p) for p in installed())]:
        if programs is not None and _major(programs) < OLDEST:
            print(f"== {name}: older than {OLDEST}, left out")
            continue
        print(f"== {name}", flush=True)
        begun = time.monotonic()
        if programs is None:
            passed, last = tests(sys.argv[1:], None)
        else:
            with cluster(programs) as address:
                passed, last = tests(sys.argv[1:], address)
        results.append((name, passed, last, time.monotonic() - begun))
    print()
    for name, passed, last, seconds in results:
        print(f"{'passed' if passed else 'FAILED':7} {seconds:6.0f} s  {name}: {last}")
    if len(results) == 1:
        print("no other Postgres is installed: only the embedded one was tried")
    sys.exit(not all(passed for _, passed, _, _ in results))


if __name__ == "__main__":
    main()
