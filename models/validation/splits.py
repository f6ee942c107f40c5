"""Splits in time: what is learned from never overlaps what is tested.

Everything is counted in exchange sessions, since a panel has many rows a session and labels end on
sessions. A label of session i is known at session ``label_end[i]``; a training session is purged when
its label reaches into the test, and an embargo leaves out more sessions before it (Lopez de Prado,
Advances in Financial Machine Learning, 2018, chapter 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import ValidationError

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """One fold, as positions in the list of sessions; both ends inclusive."""

    fold: int
    train_from: int
    train_to: int
    known_by: int
    """Last session whose knowledge training may use: every label learned from ends by here."""
    test_from: int
    test_to: int


def walk_forward_splits(
    label_end: Sequence[int],
    *,
    train_sessions: int,
    test_sessions: int,
    embargo: int = 0,
    first_test: int | None = None,
    folds: int | None = None,
) -> list[Split]:
    """Consecutive test blocks to the end, each trained on the sessions before it.

    Args:
        label_end: position of the session at which the label of session i is known, (sessions,),
            not decreasing; an end past the last session means not known yet.
        train_sessions: at most so many sessions are learned from.
        test_sessions: length of a test block; the last may be shorter.
        embargo: sessions left out before each test on top of the purge.
        first_test: where the first test begins; default: as soon as a full training window fits.
        folds: keep only so many blocks, the latest.

    Raises:
        ValidationError: no block fits.
    """
    ends = np.asarray(label_end, dtype=np.int64)
    n = len(ends)
    if train_sessions < 1 or test_sessions < 1 or embargo < 0:
        raise ValidationError(
            f"a split needs train >= 1, test >= 1, embargo >= 0 sessions, got {train_sessions}, "
            f"{test_sessions}, {embargo}"
        )
    if n and (np.any(ends < np.arange(n)) or np.any(np.diff(ends) < 0)):
        raise ValidationError("label_end must not lie before its session nor decrease")
    if first_test is None:
        usable = np.array([_usable_before(ends, start, embargo) for start in range(n)])
        fits = np.flatnonzero(usable >= train_sessions)
        first_test = int(fits[0]) if len(fits) else n
    splits = []
    for start in range(first_test, n, test_sessions):
        usable_to = _usable_before(ends, start, embargo) - 1
        if usable_to < 0:
            continue
        splits.append(
            Split(
                fold=0,
                train_from=max(0, usable_to - train_sessions + 1),
                train_to=usable_to,
                known_by=start - 1 - embargo,
                test_from=start,
                test_to=min(start + test_sessions, n) - 1,
            )
        )
    if folds is not None:
        splits = splits[-folds:]
    if not splits:
        raise ValidationError(
            f"{n} sessions hold no training window of {train_sessions} with a test after it: "
            "ingest a longer history or shorten the window"
        )
    return [
        Split(i, s.train_from, s.train_to, s.known_by, s.test_from, s.test_to) for i, s in enumerate(splits)
    ]


def _usable_before(ends: Positions, start: int, embargo: int) -> int:
    """How many leading sessions have labels that end before ``start - embargo``."""
    return int(np.searchsorted(ends, start - embargo, side="left"))


def purged_k_folds(
    label_end: Sequence[int], *, folds: int, embargo: int = 0
) -> list[tuple[Positions, Positions]]:
    """(train, test) positions of k consecutive test blocks, training on both sides of each.

    Left of the test, sessions whose label reaches into it are purged; right of it, sessions that begin
    before the last test label has ended, and ``embargo`` sessions more after that. Label intervals are
    half open: a label ending at session j is known at j and may be trained with when the test begins at j.
    """
    ends = np.asarray(label_end, dtype=np.int64)
    n = len(ends)
    if not 2 <= folds <= n:
        raise ValidationError(f"{n} sessions cannot make {folds} folds: use between 2 and {n}")
    at = np.arange(n)
    out = []
    for test in np.array_split(at, folds):
        first, reach = int(test[0]), int(ends[test].max()) + embargo
        train = at[(ends <= first) | ((at >= reach) & (at > test[-1]))]
        out.append((train, test))
    return out
