"""The bounds a set of chosen names is weighted within."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.strategy import Portfolio

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Caps:
    """Bounds of one allocation. Weights are fractions of equity."""

    lower: Floats
    """Least weight of each chosen name, (names,): chosen means held."""
    upper: float
    """Most weight of a name."""
    sector: float
    """Most weight of a sector together."""
    budget: float
    """What is invested; the rest is cash."""
    groups: tuple[str, ...]
    """Sector of each name."""

    @property
    def membership(self) -> Floats:
        """(sectors x names), 1 where a name belongs to a sector."""
        labels, group = np.unique(np.asarray(self.groups, dtype=str), return_inverse=True)
        members = np.zeros((len(labels), len(self.groups)))
        members[group, np.arange(len(self.groups))] = 1.0
        return members

    def admits(self, weights: Floats, tolerance: float = 1e-7) -> bool:
        """Whether weights keep the caps (the lower bounds and the budget are aims, not limits)."""
        return bool(
            np.isfinite(weights).all()
            and (weights >= -tolerance).all()
            and (weights <= self.upper + tolerance).all()
            and (self.membership @ weights <= self.sector + tolerance).all()
            and weights.sum() <= self.budget + tolerance
        )


def caps_of(groups: Sequence[str], book: Portfolio) -> Caps:
    """The caps of a strategy for names of these sectors.

    A name's weight lies within a factor ``concentration`` of the equal weight, both ways, and under
    ``single_name``. Where the sector caps leave no room for ``gross``, the budget is what they allow.
    """
    n = len(groups)
    equal = book.gross / n
    _, group, counts = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    upper = min(book.single_name, book.concentration * equal)
    # A crowded sector's names must fit under its cap with their least weights.
    lower = np.minimum(min(equal / book.concentration, upper), 0.9 * book.sector / counts[group])
    budget = min(book.gross, float(np.minimum(counts * upper, book.sector).sum()))
    return Caps(lower, upper, book.sector, budget, tuple(groups))
