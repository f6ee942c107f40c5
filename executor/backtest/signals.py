"""Where the weights come from. A source is shown the past and nothing else.

``targets(known)`` is asked after the close of the last session in ``known``; what it answers is traded
in the next one. ``None`` = nothing changes; a name that is not in the answer keeps its shares.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from executor.backtest.history import History
from executor.backtest.tables import read_scores
from executor.errors import InputError
from models.risk.snapshot import Floats


class Signals(Protocol):
    """A source of target weights (fractions of equity)."""

    def targets(self, known: History, held: Mapping[str, object]) -> dict[str, float] | None:
        """Weights wanted from the next session on."""
        ...


class MovingAverageCross:
    """Long each name whose fast moving average of closes is over its slow one, at equal weight.

    A name is traded when its averages cross, and not re-weighted in between. Running sums: each session
    costs a few array operations, however long the past.
    """

    def __init__(self, fast: int = 20, slow: int = 100, gross: float = 0.9) -> None:
        if not 0 < fast < slow:
            raise InputError(f"a cross needs 0 < fast < slow sessions, got {fast} and {slow}")
        self.fast, self.slow, self.gross = fast, slow, gross
        self._sums: tuple[Floats, Floats] | None = None
        self._seen = 0
        self._was: np.ndarray | None = None

    def targets(self, known: History, held: Mapping[str, object]) -> dict[str, float] | None:
        """The names that have crossed at this close."""
        while self._seen < len(known):
            self._take(known, self._seen)
            self._seen += 1
        if self._sums is None or len(known) < self.slow:
            return None
        fast, slow = self._sums
        with np.errstate(invalid="ignore"):
            above = fast / self.fast > slow / self.slow
        usable = np.isfinite(known.close[-1]) & np.isfinite(slow)
        before = np.zeros(len(above), dtype=bool) if self._was is None else self._was
        changed = np.flatnonzero(usable & (above != before))
        self._was = np.where(usable, above, before)
        if not len(changed):
            return None
        weight = self.gross / len(known.symbols)
        return {known.symbols[i]: weight if above[i] else 0.0 for i in changed.tolist()}

    def _take(self, known: History, at: int) -> None:
        close = known.close[at]
        if self._sums is None or (at + 1) % 512 == 0:  # afresh now and then: no rounding gathers
            fast, slow = (
                known.close[max(0, at + 1 - n) : at + 1].sum(axis=0) for n in (self.fast, self.slow)
            )
            self._sums = fast, slow
            return
        for n, total in zip((self.fast, self.slow), self._sums, strict=True):
            np.add(total, close, out=total)
            if at >= n:
                np.subtract(total, known.close[at - n], out=total)
            gone = np.isnan(total)
            if gone.any():
                total[gone] = known.close[max(0, at + 1 - n) : at + 1, gone].sum(axis=0)


class WeightsFile:
    """``date,symbol,weight`` rows: the whole book wanted after that date's close; what is left out is sold."""

    def __init__(self, path: Path) -> None:
        self._by_date: dict[dt.date, dict[str, float]] = {}
        line = 1
        try:
            with path.open(newline="") as file:
                for row in csv.DictReader(file):
                    line += 1
                    day = dt.date.fromisoformat(row["date"])
                    self._by_date.setdefault(day, {})[row["symbol"]] = float(row["weight"])
        except OSError as error:
            raise InputError(f"cannot read the signals {path}: {error.strerror}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}, line {line}: {error}; it needs the columns date,symbol,weight, dates as YYYY-MM-DD"
            ) from None

    def targets(self, known: History, held: Mapping[str, object]) -> dict[str, float] | None:
        """The rows of the last session known."""
        wanted = self._by_date.get(known.sessions[-1])
        if wanted is None:
            return None
        return dict.fromkeys(held, 0.0) | wanted


class Scores:
    """Out-of-sample scores of a walk-forward (``symbol, date, score``), long the best at equal weight.

    Names are chosen by the function the live proposal uses (``models.portfolio.selection.select``): a held
    name stays while it ranks within ``keep`` times the names held.
    """

    def __init__(
        self, path: Path, *, names: int, keep: float, gross: float, single_name: float, every: int
    ) -> None:
        self.names, self.keep, self.gross = names, keep, gross
        self.single_name, self.every = single_name, every
        self._by_date: dict[dt.date, dict[str, float]] = {}
        for day, symbol, score in read_scores(path):
            self._by_date.setdefault(day, {})[symbol] = score
        self._since = every

    def targets(self, known: History, held: Mapping[str, object]) -> dict[str, float] | None:
        """The best names of the last session known, every so many sessions."""
        from models.portfolio.selection import select

        scores = self._by_date.get(known.sessions[-1])
        self._since += 1
        if scores is None or self._since < self.every:
            return None
        self._since = 0
        row = np.array([scores.get(s, np.nan) for s in known.symbols])
        row[~np.isfinite(known.close[-1])] = np.nan
        mine = np.array([s in held for s in known.symbols])
        chosen = select(row, mine, names=min(self.names, int(np.isfinite(row).sum())), keep=self.keep)
        weight = min(self.single_name, self.gross / max(1, len(chosen)))
        wanted = {known.symbols[i]: weight for i in chosen.tolist()}
        return dict.fromkeys(held, 0.0) | wanted
