"""Where a flow works: the settings in force, the open ledger and the folders under the state directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from executor.cli import ledger_of
from executor.settings import Settings, load_settings
from sql.ledger import Ledger

if TYPE_CHECKING:
    from market.history import History
    from models.strategy import Strategy


class Workspace:
    """Settings, ledger and folders of one installation; made by :func:`open_workspace`."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.state_dir = settings.state_dir

    @property
    def environment(self) -> str:
        return self.settings.environment

    @property
    def history(self) -> History:
        from market.history import History

        return History(self.state_dir / "prices")

    @property
    def models(self) -> Path:
        return self._folder("models")

    @property
    def risk(self) -> Path:
        return self._folder("risk")

    @property
    def walk_forward(self) -> Path:
        return self._folder("walk_forward")

    @property
    def data_docs(self) -> Path:
        return self._folder("data_docs")

    @property
    def reports(self) -> Path:
        return self._folder("reports")

    def strategy(self, path: str | None = None) -> Strategy:
        """The strategy at `path`, by default the one of the settings."""
        from models.strategy import load_strategy

        return load_strategy(Path(path) if path else self.settings.strategy)

    def notify_urls(self) -> list[str]:
        """Apprise addresses in clear; they hold passwords, so they go to the notifier and nowhere else."""
        return [url.get_secret_value() for url in self.settings.notify.urls]

    def _folder(self, name: str) -> Path:
        folder = self.state_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@contextmanager
def open_workspace(settings: Settings | None = None) -> Iterator[Workspace]:
    """Open the ledger (started, migrated and given its first limits if need be) for the time of the block."""
    settings = settings or load_settings()
    with ledger_of(settings) as ledger:
        yield Workspace(settings, ledger)
