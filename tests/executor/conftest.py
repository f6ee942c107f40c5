"""Lets the executor's tests share their small world and a terminal."""

from __future__ import annotations

import sys
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
