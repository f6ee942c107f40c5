from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from market.errors import InstrumentError
from market.instruments import read_sectors

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "reference"


def table(folder: Path, text: str) -> Path:
    path = folder / "sectors.csv"
    path.write_text(text)
    return path


def test_the_common_spellings_are_understood(tmp_path: Path) -> None:
    expected = [("AAA", "Aaa Inc.", "Energy")]
    assert read_sectors(table(tmp_path, "Symbol,Name,Sector\nAAA,Aaa Inc.,Energy\n")).rows() == expected
    assert (
        read_sectors(table(tmp_path, "CIK,Security,ticker,GICS Sector\n1,Aaa Inc.,AAA,Energy\n")).rows()
        == expected
    )
    assert (
        read_sectors(table(tmp_path, "Sector\tSymbol\tCompany\nEnergy\tAAA\tAaa Inc.\n")).rows() == expected
    )


def test_a_name_falls_back_to_the_symbol(tmp_path: Path) -> None:
    assert read_sectors(table(tmp_path, "symbol,sector\nB,Energy\nA,Utilities\n")).rows() == [
        ("A", "A", "Utilities"),
        ("B", "B", "Energy"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbol,industry\nA,Oil\n", "no column sector (found: symbol, industry)"),
        ("a,b\n1,2\n", "no column symbol and no column sector"),
        ("symbol,sector\n", "has no rows"),
        ("symbol,sector\nA,\n", "no sector for 1 symbols (first: A)"),
        ("symbol,sector\nA,Energy\nA,Utilities\n", "first: A is Energy and Utilities"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InstrumentError) as caught:
        read_sectors(table(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match=r"nowhere\.csv does not exist"):
        read_sectors(tmp_path / "nowhere.csv")


def test_the_sector_maps_of_the_index_are_read() -> None:
    old, new = (SHARED / f"sp500_constituents_gics_{when}.csv" for when in ("2021-04", "2026-08"))
    if not (old.exists() and new.exists()):
        pytest.skip("the real sector maps are not on this machine")
    assert read_sectors(old).height == 505
    assert read_sectors(new).height == 503
    aapl = read_sectors(old).filter(pl.col("symbol") == "AAPL")
    assert aapl["sector"].item() == read_sectors(new).filter(pl.col("symbol") == "AAPL")["sector"].item()
    assert read_sectors(new)["sector"].n_unique() == 11
