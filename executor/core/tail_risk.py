"""Value at risk and expected shortfall of the book, kept up to date order by order.

The book's profit and loss under every scenario is one vector, moved by a position's change times that
name's own scenarios. An order is judged by one more such move in a scratch vector and one partial sort
that gives both levels: a few microseconds for a thousand scenarios, whatever the number of names.
Conventions are those of :mod:`models.risk.value_at_risk`, with which every figure here agrees.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.risk.snapshot import RiskSnapshot

Floats = NDArray[np.float64]
LEVELS = (0.95, 0.99)
SCENARIOS_MIN = (100, 500)
"""Scenarios each level needs: five in its tail."""
UNKNOWN = math.nan


class Tail(NamedTuple):
    """Losses in USD, positive; NaN where there are too few scenarios for the level."""

    var_95: float
    es_95: float
    var_99: float
    es_99: float


class _Level(NamedTuple):
    """Where a level's quantile lies: between the values at ``below`` and ``below + 1`` of the sorted ones."""

    below: int
    part: float
    known: bool


class TailRisk:
    """Scenario profit and loss of one book.

    Parameters
    ----------
    snapshot : RiskSnapshot
        Its returns, (scenarios x names), all finite.
    """

    def __init__(self, snapshot: RiskSnapshot) -> None:
        returns = snapshot.returns
        self.usable = bool(np.isfinite(returns).all()) and returns.shape[0] >= SCENARIOS_MIN[0]
        # One name's scenarios side by side in memory: a move reads one row.
        self._matrix = np.ascontiguousarray(returns.T)
        self._rows = list(self._matrix)
        self.scenarios = returns.shape[0]
        self.pnl: Floats = np.zeros(self.scenarios)
        self._candidate: Floats = np.empty(self.scenarios)
        self._scratch: Floats = np.empty(self.scenarios)
        self._present: Tail | None = None
        self._levels = tuple(
            _level(level, self.scenarios, least) for level, least in zip(LEVELS, SCENARIOS_MIN, strict=True)
        )
        self._last = min(self._levels[0].below + 1, self.scenarios - 1)
        self._head = self._scratch[: self._last + 1]
        """The scratch vector's first places, as far as any quantile needs them."""

    def clear(self) -> None:
        """An empty book."""
        self.pnl[:] = 0.0
        self._present = None

    def move(self, column: int, change_usd: float) -> None:
        """Book a change of one position's value."""
        np.multiply(self._rows[column], change_usd, self._scratch)
        np.add(self.pnl, self._scratch, self.pnl)
        self._present = None

    def moves(self, columns: list[int], changes_usd: list[float]) -> None:
        """Book many changes at once (without the linear algebra library, whose threads round differently)."""
        self.pnl += np.einsum("ij,i->j", self._matrix[columns], np.array(changes_usd))
        self._present = None

    def present(self) -> Tail:
        """Of the book as it is."""
        if self._present is None:
            self._scratch[:] = self.pnl
            self._present = self._measure()
        return self._present

    def take(self, tail: Tail) -> None:
        """Book the very change that :meth:`after` was last asked about, and what it answered."""
        self.pnl, self._candidate = self._candidate, self.pnl
        self._present = tail

    def after(self, column: int, change_usd: float) -> Tail:
        """Of the book if one position's value changed; the book stays as it is."""
        candidate = self._candidate
        np.multiply(self._rows[column], change_usd, candidate)
        np.add(self.pnl, candidate, candidate)
        self._scratch[:] = candidate
        return self._measure()

    def _measure(self) -> Tail:
        """Figures of the scratch vector, which is partly sorted on the way."""
        values = self._scratch
        values.partition(self._last)
        self._head.sort()
        head = self._head.tolist()
        losses: list[float] = []
        for below, part, known in self._levels:
            if not known:
                losses += (UNKNOWN, UNKNOWN)
                continue
            low, next_up = head[below], head[below + 1]
            quantile = low + part * (next_up - low)
            if next_up > quantile:
                losses += (-quantile, -sum(head[: below + 1]) / (below + 1))
            else:  # ties reach past the quantile's place: the tail is everything up to it
                losses += (-quantile, -float(values[values <= quantile].mean()))
        return Tail._make(losses)


def _level(level: float, scenarios: int, least: int) -> _Level:
    """Numpy's default (linear) quantile: place ``(1 - level) (n - 1)``, a hair beside a whole one is whole."""
    if scenarios < least:
        return _Level(0, 0.0, False)
    at = (1.0 - level) * (scenarios - 1)
    if abs(at - round(at)) < 1e-9:
        at = float(round(at))
    below = math.floor(at)
    return _Level(below, at - below, True)
