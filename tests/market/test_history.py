"""The store: a data set is its values; it is there whole or not at all, and a change to it is noticed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from market.errors import HistoryError
from market.history import History, adjusted, content_hash
from market.ingest import SCHEMA


def prices(closes: list[float], symbol: str = "AAA") -> pl.DataFrame:
    count = len(closes)
    days = pl.date_range(date(2024, 1, 2), date(2024, 12, 31), eager=True)[:count]
    return pl.DataFrame(
        {
            "symbol": [symbol] * count, "date": days, "open": closes, "high": closes, "low": closes,
            "close": closes, "volume": [100.0] * count, "adj_close": closes,
            "dividend": [0.0] * count, "split": [1.0] * count,
        },
        schema=SCHEMA,
    )  # fmt: skip


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    history = History(tmp_path)
    frame = prices([10.0, 11.0, 12.0])
    stored = history.write(frame, source="test")
    assert_frame_equal(history.scan(stored.id).collect(), frame, check_exact=True)
    assert history.describe(stored.id) == stored
    assert history.latest() == stored
    assert history.verify(stored.id) == stored
    assert (stored.rows, stored.symbols) == (3, 1)
    assert (stored.first_session, stored.last_session) == (date(2024, 1, 2), date(2024, 1, 4))
    assert stored.id == f"ds-{stored.content_hash[:16]}"


def test_the_same_content_is_the_same_data_set(tmp_path: Path) -> None:
    first = History(tmp_path).write(prices([10.0, 11.0]), source="one")
    again = History(tmp_path).write(prices([10.0, 11.0]), source="another")
    elsewhere = History(tmp_path / "moved").write(prices([10.0, 11.0]), source="one")
    assert again == first
    assert elsewhere.id == first.id
    assert len(list(tmp_path.glob("*.parquet"))) == 1


def test_one_changed_bit_is_another_data_set(tmp_path: Path) -> None:
    history = History(tmp_path)
    one = history.write(prices([10.0, 11.0]), source="test")
    other = history.write(prices([10.0, 11.000000000000002]), source="test")
    assert one.id != other.id
    assert history.latest() == other


def test_writing_an_older_data_set_again_makes_it_the_latest(tmp_path: Path) -> None:
    history = History(tmp_path)
    one = history.write(prices([10.0]), source="test")
    history.write(prices([20.0]), source="test")
    history.write(prices([10.0]), source="test")
    assert history.latest() == one


def test_the_mark_of_modelled_columns_is_never_lost(tmp_path: Path) -> None:
    history = History(tmp_path)
    mark = {"columns": ["open"], "how": "drawn"}
    stored = history.write(prices([10.0]), source="sample", modelled=mark)
    assert history.write(prices([10.0]), source="a file of it").modelled == mark
    plain = history.write(prices([20.0]), source="file")
    assert plain.modelled == {}
    assert history.write(prices([20.0]), source="sample", modelled=mark).modelled == mark
    assert history.describe(stored.id).modelled == mark


def test_a_store_can_be_moved(tmp_path: Path) -> None:
    stored = History(tmp_path / "old").write(prices([10.0]), source="test")
    (tmp_path / "old").rename(tmp_path / "new")
    assert History(tmp_path / "new").scan(stored.id).collect().height == 1


def test_an_empty_store_has_no_latest(tmp_path: Path) -> None:
    assert History(tmp_path / "none").latest() is None


@pytest.mark.parametrize("wrong", ["ds-0000000000000000", "../../etc/passwd", ""])
def test_an_unknown_id_is_refused_with_what_is_known(tmp_path: Path, wrong: str) -> None:
    history = History(tmp_path)
    with pytest.raises(HistoryError, match="the store is empty"):
        history.describe(wrong)
    stored = history.write(prices([10.0]), source="test")
    with pytest.raises(HistoryError, match=f"known: {stored.id}"):
        history.scan(wrong)


def test_a_changed_file_does_not_verify(tmp_path: Path) -> None:
    history = History(tmp_path)
    stored = history.write(prices([10.0, 11.0]), source="test")
    prices([10.0, 12.0]).write_parquet(stored.path)
    with pytest.raises(HistoryError, match="was changed after it was written"):
        history.verify(stored.id)
    stored.path.write_bytes(b"PAR1 torn")
    with pytest.raises(HistoryError, match="cannot be read"):
        history.verify(stored.id)
    stored.path.unlink()
    with pytest.raises(HistoryError, match="are gone"):
        history.scan(stored.id)


def test_a_write_that_dies_leaves_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path)
    before = history.write(prices([10.0]), source="test")

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(OSError, match="No space left"):
        history.write(prices([20.0]), source="test")
    assert history.latest() == before
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".json", ".parquet"]


def test_a_frame_that_is_not_canonical_is_refused(tmp_path: Path) -> None:
    history = History(tmp_path)
    frame = prices([10.0, 11.0])
    with pytest.raises(HistoryError, match="canonical frame"):
        history.write(frame.drop("split"), source="test")
    with pytest.raises(HistoryError, match="no rows"):
        history.write(frame.clear(), source="test")
    with pytest.raises(HistoryError, match="1 rows are duplicates or out of order"):
        history.write(frame.reverse(), source="test")
    with pytest.raises(HistoryError, match="2 rows are duplicates or out of order"):
        history.write(pl.concat([frame, frame]).sort("date"), source="test")


@given(st.lists(st.floats(0.01, 1e6), min_size=2, max_size=40), st.data())
def test_the_content_hash_does_not_see_how_the_frame_is_stored(
    closes: list[float], data: st.DataObject
) -> None:
    frame = prices(closes)
    cut = data.draw(st.integers(1, len(closes) - 1))
    chunked = pl.concat([frame[:cut], frame[cut:]], rechunk=False)
    assert content_hash(chunked) == content_hash(frame)
    assert content_hash(frame[cut:]) != content_hash(frame)


@given(
    st.lists(st.tuples(st.floats(0.01, 1e4), st.floats(0.001, 10.0)), min_size=1, max_size=20),
)
def test_adjusting_and_unadjusting_is_the_identity(rows: list[tuple[float, float]]) -> None:
    raw = prices([close for close, _ in rows]).with_columns(
        (pl.col("close") * pl.Series([factor for _, factor in rows])).alias("adj_close"),
        (pl.col("close") * 1.1).alias("high"),
    )
    bars = adjusted(raw)
    assert bars["close"].equals(raw["adj_close"], check_names=False)
    back = bars.with_columns(raw["close"].alias("adj_close"), bars["close"])
    assert_frame_equal(adjusted(back).select("open", "high", "low", "close", "volume"),
                       raw.select("open", "high", "low", "close", "volume"), rel_tol=1e-12)  # fmt: skip
    # Dollar volume is what an adjustment must not change.
    assert_frame_equal(
        bars.select(pl.col("close") * pl.col("volume")),
        raw.select(pl.col("close") * pl.col("volume")),
        rel_tol=1e-12,
    )
