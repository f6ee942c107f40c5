"""Lets the executor's tests share their small world and a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "sql"))

from terminal import Terminal

from sql.ledger import Ledger


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, ledger: Ledger
) -> Terminal:
    """A terminal on an empty ledger."""
    return Terminal(monkeypatch, capsys, tmp_path, ledger)


@pytest.fixture(autouse=True)
def no_executor_is_left_behind() -> Iterator[None]:
    """A failed test must not leave a process that trades on."""
    yield
    stage = sys.modules.get("rehearsal")
    while stage is not None and stage.STARTED:
        process = stage.STARTED.pop()
        if process.poll() is None:
            process.kill()
            process.wait()
