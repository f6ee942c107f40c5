"""A vendor's drop is judged at the door; two vendors are compared; any file says what it is and what is wrong with it."""

from __future__ import annotations

import io
import tarfile
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from market.calendar import sessions
from market.drops import judge_drop, read_drop
from market.errors import IngestError
from market.file_quality import ALL_CHECKS, judge_file
from market.ingest import SCHEMA
from market.vendor_checks import compare_vendors

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
DAY, BEFORE = date(2024, 6, 27), date(2024, 6, 26)
NAMES = [f"S{i:03d}" for i in range(200)]
HEADER = "symbol,date,open,high,low,close,volume,adj_close"


def rows_of(names: list[str]) -> list[str]:
    return [f"{name},{day},10,11,9,10.5,1000,10.5" for name in names for day in (DAY, BEFORE)]


def tar(folder: Path, name: str, lines: list[str], listed: list[str]) -> Path:
    path = folder / name
    with tarfile.open(path, "w:gz") as archive:
        for inside, text in (
            ("prices.csv", "\n".join(lines)),
            ("symbols.txt", "\n".join(f"{n}\tName" for n in listed)),
        ):
            body = text.encode()
            info = tarfile.TarInfo(inside)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


def verdict(path: Path, *before: Path) -> set[tuple[str, str]]:
    found = judge_drop(read_drop(path), [read_drop(old) for old in before])
    return set(found.select("check", "severity").rows())


def test_a_whole_drop_is_good(tmp_path: Path) -> None:
    assert verdict(tar(tmp_path, "20240627.tar.gz", [HEADER, *rows_of(NAMES)], NAMES)) == set()


def test_an_empty_drop_of_a_session_blocks_and_one_of_a_holiday_does_not(tmp_path: Path) -> None:
    assert verdict(tar(tmp_path, "20240627.tar.gz", [], [])) == {("empty_delivery", "block")}
    assert verdict(tar(tmp_path, "20240704.tar.gz", [], [])) == set()


def test_half_a_drop_is_seen_by_the_list_beside_it_and_by_the_drops_before(tmp_path: Path) -> None:
    half = NAMES[:100]
    whole = tar(tmp_path, "20240626.tar.gz", [HEADER, *rows_of(NAMES)], NAMES)
    assert verdict(tar(tmp_path, "20240627.tar.gz", [HEADER, *rows_of(half)], NAMES)) == {
        ("partial_delivery", "block")
    }
    unlisted = tar(tmp_path, "20240627.tar.gz", [HEADER, *rows_of(half)], half)
    assert verdict(unlisted) == set()  # by itself it cannot be known
    assert verdict(unlisted, whole) == {("partial_delivery", "block")}


def test_files_strung_together_are_duplicated_rows_with_a_header_among_them(tmp_path: Path) -> None:
    twice = [HEADER, *rows_of(NAMES), HEADER, *rows_of(NAMES)]
    assert verdict(tar(tmp_path, "20240627.tar.gz", twice, NAMES)) == {
        ("header_in_data", "note"),
        ("duplicate_rows", "block"),
    }


def test_yesterdays_drop_under_todays_name_blocks(tmp_path: Path) -> None:
    assert ("wrong_session", "block") in verdict(
        tar(tmp_path, "20240628.tar.gz", [HEADER, *rows_of(NAMES)], NAMES)
    )


def test_a_drop_without_a_date_or_prices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no date in its name"):
        read_drop(tar(tmp_path, "today.tar.gz", [HEADER], NAMES))
    (tmp_path / "20240627.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(IngestError, match="cannot be opened"):
        read_drop(tmp_path / "20240627.tar.gz")


def test_the_sixteen_real_drops_are_each_judged_right() -> None:
    folder = SHARED / "faults" / "pystock_raw_drops"
    if not folder.exists():
        pytest.skip("the real drops are not on this machine")
    good, judged = [], {}
    for path in sorted(folder.glob("*.tar.gz")):
        drop = read_drop(path)
        bad = judge_drop(drop, good).filter(pl.col("severity") == "block")["check"].to_list()
        judged[path.name[:8]] = bad[0] if bad else "good"
        if not bad:
            good.append(drop)
    expected = dict.fromkeys(("20160819", "20160823", "20160831", "20160908", "20170331"), "good")
    expected |= dict.fromkeys(("20150610", "20161010", "20161117", "20170323"), "empty_delivery")
    expected |= dict.fromkeys(
        ("20160822", "20160824", "20160901", "20160902", "20160906", "20160907"), "partial_delivery"
    )
    assert judged == {**expected, "20150406": "duplicate_rows"}


def vendor(factor: float = 1.0, **more: float) -> pl.DataFrame:
    days = sessions(date(2024, 1, 2), date(2024, 6, 27))
    close = [50.0 + (i % 17) / 10 for i in range(len(days))]
    return pl.DataFrame(
        {"symbol": ["A"] * len(days), "date": days, **{name: [value * factor for value in close] for name in ("open", "high", "low", "close")},
         "volume": [1e6] * len(days), "adj_close": [value * factor for value in close], "dividend": [0.0] * len(days), "split": [1.0] * len(days)},
        schema=SCHEMA,
    ).with_columns(pl.lit(value).alias(name) for name, value in more.items())  # fmt: skip


def test_two_vendors_that_agree_give_no_finding() -> None:
    assert compare_vendors(vendor(1.003), vendor()).rows() == []


def test_another_instrument_is_one_stretch_and_another_basis_is_named_so() -> None:
    first, last = date(2024, 3, 1), date(2024, 4, 1)
    inside = pl.col("date").is_between(first, last)
    wanders = vendor().with_columns(
        pl.when(inside)
        .then(25.0 + pl.col("close") * 0.02 * (pl.col("date").dt.day() % 3))
        .otherwise("close")
        .alias("close")
    )
    found = compare_vendors(wanders, vendor())
    assert found.select("check", "first", "last").rows()[0] == ("cross_vendor_mismatch", first, last)
    halved = vendor().with_columns(
        pl.when(inside).then(pl.col("close") / 2).otherwise("close").alias("close")
    )
    assert compare_vendors(halved, vendor()).select("check", "severity", "first", "last").rows() == [
        ("split_basis", "quarantine", first, last)
    ]


def test_prices_adjusted_for_splits_agree_with_raw_ones_of_another_vendor() -> None:
    day = date(2024, 4, 15)
    raw = vendor().with_columns(
        pl.when(pl.col("date") < day).then(pl.col("close") * 4).otherwise("close").alias("close"),
        pl.when(pl.col("date") == day).then(4.0).otherwise(1.0).alias("split"),
    )
    assert compare_vendors(vendor(), raw).rows() == []


def test_any_file_says_what_it_is(tmp_path: Path) -> None:
    error = tmp_path / "BF.B.csv"
    error.write_text('{\n    "Error Message": "Invalid API call"\n}')
    judged = judge_file(error)
    assert (judged.kind, judged.findings["check"].to_list()) == ("unreadable", ["vendor_error"])
    assert judge_file(tar(tmp_path, "20240627.tar.gz", [HEADER, *rows_of(NAMES)], NAMES)).kind == "drop"
    vendor().write_parquet(tmp_path / "daily.parquet")
    assert judge_file(tmp_path / "daily.parquet").kind == "daily"
    assert judge_file(tmp_path / "nowhere.parquet").findings["severity"].to_list() == ["block"]
    assert {"vendor_error", "split_basis", "empty_delivery", "crossed_quote", "bad_print"} <= set(ALL_CHECKS)
