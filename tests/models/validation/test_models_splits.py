"""Nothing that is tested was ever learned from, counted in sessions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ValidationError
from models.validation.splits import purged_k_folds, walk_forward_splits


def test_twelve_sessions_split_as_skfolio_splits_them() -> None:
    # skfolio 1.12.2 WalkForward(test_size=2, train_size=4, purged_size=1) on 12 rows
    splits = walk_forward_splits([i + 1 for i in range(12)], train_sessions=4, test_sessions=2)
    whole = [s for s in splits if s.test_to - s.test_from == 1]
    assert [(list(range(s.train_from, s.train_to + 1)), [s.test_from, s.test_to]) for s in whole] == [
        ([0, 1, 2, 3], [5, 6]),
        ([2, 3, 4, 5], [7, 8]),
        ([4, 5, 6, 7], [9, 10]),
    ]


def test_purged_folds_are_the_published_ones() -> None:
    # purgedcv 0.1.11: 20 days, labels of 3 days, 4 folds
    expected = [
        ([0, 1, 2, 3, 4], list(range(7, 20))),
        ([5, 6, 7, 8, 9], [0, 1, 2, *range(12, 20)]),
        ([10, 11, 12, 13, 14], [*range(8), 17, 18, 19]),
        ([15, 16, 17, 18, 19], list(range(13))),
    ]
    found = purged_k_folds([i + 3 for i in range(20)], folds=4)
    assert [(test.tolist(), train.tolist()) for train, test in found] == expected


@given(
    n=st.integers(30, 300),
    horizon=st.integers(1, 20),
    train=st.integers(1, 100),
    test=st.integers(1, 60),
    embargo=st.integers(0, 10),
)
def test_no_label_that_is_learned_from_reaches_the_test(
    n: int, horizon: int, train: int, test: int, embargo: int
) -> None:
    ends = [i + horizon for i in range(n)]
    try:
        splits = walk_forward_splits(ends, train_sessions=train, test_sessions=test, embargo=embargo)
    except ValidationError:
        assert n <= train + horizon + embargo
        return
    tested: list[int] = []
    for split in splits:
        assert 0 <= split.train_from <= split.train_to
        assert split.train_to - split.train_from + 1 <= train
        assert ends[split.train_to] <= split.known_by == split.test_from - 1 - embargo
        tested += range(split.test_from, split.test_to + 1)
    assert tested == list(range(tested[0], n))  # each session once, to the end


@given(n=st.integers(10, 120), horizon=st.integers(1, 15), folds=st.integers(2, 8), embargo=st.integers(0, 5))
def test_folds_on_both_sides_are_purged_and_embargoed(n: int, horizon: int, folds: int, embargo: int) -> None:
    for train, test in purged_k_folds([i + horizon for i in range(n)], folds=folds, embargo=embargo):
        for i in train:
            overlaps = i < test[-1] + horizon and i + horizon > test[0]
            assert not overlaps
        after = train[train > test[-1]]
        assert not len(after) or after[0] >= test[-1] + horizon + embargo


def test_only_the_latest_folds_are_kept_when_asked() -> None:
    splits = walk_forward_splits(np.arange(100) + 1, train_sessions=20, test_sessions=10, folds=3)
    assert [s.fold for s in splits] == [0, 1, 2]
    assert splits[-1].test_to == 99


def test_a_history_without_room_is_one_clear_message() -> None:
    with pytest.raises(ValidationError, match="ingest a longer history"):
        walk_forward_splits(np.arange(10) + 1, train_sessions=20, test_sessions=5)
    with pytest.raises(ValidationError, match="must not lie before"):
        walk_forward_splits([0, 0, 0], train_sessions=1, test_sessions=1)
    with pytest.raises(ValidationError, match="folds"):
        purged_k_folds([1, 2], folds=5)
