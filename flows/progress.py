"""What a long job is doing, said while it does it: one line a stage, on a terminal and in a log alike."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.status import Status

_LOG_INTERVAL_S = 5.0


class Stages:
    """One running stage at a time; each ends with a line saying what came of it and how long it took.

    On a terminal the running stage is a spinner with its latest detail. Elsewhere (a log, CI) the detail
    is printed at most every five seconds, so that nobody wonders whether it hangs.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._name = ""
        self._detail = ""
        self._began = 0.0
        self._printed = 0.0
        self._status: Status | None = None

    def begin(self, name: str) -> None:
        """Start a stage, ending the one before it."""
        self.end()
        self._name, self._detail = name, ""
        self._began = self._printed = time.monotonic()
        if self.console.is_terminal:
            self._status = self.console.status(name)
            self._status.start()
        else:
            self.console.print(f"   {name} ...", style="dim", highlight=False)

    def say(self, detail: str) -> None:
        """What the running stage is at."""
        self._detail = detail
        elapsed = time.monotonic() - self._began
        if self._status is not None:
            self._status.update(f"{self._name}  [dim]{detail}  {elapsed:.0f} s[/dim]")
        elif time.monotonic() - self._printed >= _LOG_INTERVAL_S:
            self._printed = time.monotonic()
            line = f"   {self._name}: {detail} ({elapsed:.0f} s)"
            self.console.print(line, style="dim", highlight=False, soft_wrap=True)

    def end(self, result: str | None = None, *, failed: bool = False) -> None:
        """Close the running stage with its result (by default the last detail); harmless without one."""
        if not self._name:
            return
        if self._status is not None:
            self._status.stop()
            self._status = None
        mark = "[red]✗[/red]" if failed else "[green]✓[/green]"
        elapsed = time.monotonic() - self._began
        shown = result if result is not None else self._detail
        line = f" {mark} {self._name:<20} [dim]{elapsed:5.1f} s[/dim]  {shown}"
        self.console.print(line, highlight=False, soft_wrap=True)
        self._name = ""

    def __enter__(self) -> Stages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(failed=kind is not None)
