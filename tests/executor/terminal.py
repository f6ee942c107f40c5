"""Runs the ``executor`` command in this process and keeps what a user would see."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from executor.cli import app, run_command
from sql.ledger import Ledger
from sql.server import libpq_url


@dataclass(frozen=True)
class Shown:
    """Exit code and both outputs."""

    code: int
    out: str
    err: str


class Terminal:
    """A user's terminal with its own environment, working folder and ledger."""

    def __init__(
        self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, ledger: Ledger
    ):
        self.patch, self.capsys, self.folder, self.ledger = patch, capsys, folder, ledger
        for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "POLYGON_API_KEY"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        self.set(
            DATABASE_URL=libpq_url(ledger.url), SALLYPORT_ENVIRONMENT="replay", SALLYPORT_STATE_DIR=str(folder / "state"),
            COLUMNS="160",
        )  # fmt: skip

    def set(self, **environment: str) -> None:
        for name, value in environment.items():
            self.patch.setenv(name, value)

    def run(self, *words: str) -> Shown:
        self.patch.setattr(sys, "argv", ["executor", *words])
        code = run_command(app)
        seen = self.capsys.readouterr()
        return Shown(code, seen.out, seen.err)
