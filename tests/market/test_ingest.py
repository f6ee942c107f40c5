"""Every refusal is one line that names the thing, the value and the way out; good files come through whole."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from market.errors import IngestError
from market.ingest import SCHEMA, read_delivery, read_prices

HEADER = "symbol,date,open,high,low,close,volume\n"
GOOD = "AAA,2024-01-02,10,11,9,10.5,1000\nAAA,2024-01-03,10.5,12,10,11,900\nBBB,2024-01-02,50,51,49,50,70\n"
SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def csv(folder: Path, text: str, name: str = "prices.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(IngestError) as caught:
        read_prices(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_plain_csv_becomes_the_canonical_frame(tmp_path: Path) -> None:
    prices = read_prices(csv(tmp_path, HEADER + GOOD))
    assert dict(prices.schema) == SCHEMA
    assert prices.row(0) == ("AAA", date(2024, 1, 2), 10.0, 11.0, 9.0, 10.5, 1000.0, 10.5, 0.0, 1.0)
    assert prices["adj_close"].equals(prices["close"], check_names=False)


def test_rows_come_out_sorted_whatever_their_order_was(tmp_path: Path) -> None:
    lines = GOOD.splitlines(keepends=True)
    shuffled = read_prices(csv(tmp_path, HEADER + "".join(reversed(lines))))
    assert_frame_equal(shuffled, read_prices(csv(tmp_path, HEADER + GOOD)))


@pytest.mark.parametrize(
    "header",
    [
        "Ticker,Date,Open,High,Low,Close,Volume,Adj Close,Dividends,Stock Splits",
        "SYMBOL,TIMESTAMP,O,H,L,C,V,adjusted_close,dividend_amount,split_coefficient",
        "symbol,date,open,high,low,close,vol,adj,dividend,split",
    ],
)
def test_the_common_spellings_are_understood(tmp_path: Path, header: str) -> None:
    prices = read_prices(csv(tmp_path, f"{header}\nAAA,2024-01-02,10,11,9,10.5,1000,5.25,0.1,2\n"))
    assert prices.row(0) == ("AAA", date(2024, 1, 2), 10.0, 11.0, 9.0, 10.5, 1000.0, 5.25, 0.1, 2.0)


def test_no_split_written_as_zero_or_blank_is_no_split(tmp_path: Path) -> None:
    text = "symbol,date,o,h,l,c,v,dividends,splits\nA,2024-01-02,1,1,1,1,1,,0\nA,2024-01-03,1,1,1,1,1,0,\n"
    prices = read_prices(csv(tmp_path, text))
    assert prices["split"].to_list() == [1.0, 1.0]
    assert prices["dividend"].to_list() == [0.0, 0.0]


@pytest.mark.parametrize("written", ["2024-01-02", "20240102", "2024-01-02 00:00:00", "2024-01-02T00:00:00"])
def test_dates_are_read_in_unambiguous_forms(tmp_path: Path, written: str) -> None:
    assert read_prices(csv(tmp_path, f"{HEADER}A,{written},1,1,1,1,1\n"))["date"].item() == date(2024, 1, 2)


def test_parquet_with_timestamps_and_integers_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    pl.DataFrame(
        {
            "symbol": ["A"],
            "date": [datetime(2024, 1, 2, 5, tzinfo=UTC)],
            "o": [1],
            "h": [2],
            "l": [1],
            "c": [2],
            "v": [10],
        }
    ).write_parquet(path)
    assert read_prices(path).row(0)[:7] == ("A", date(2024, 1, 2), 1.0, 2.0, 1.0, 2.0, 10.0)


def test_parquet_under_another_name_is_still_parquet(tmp_path: Path) -> None:
    path = tmp_path / "prices.dat"
    read_prices(csv(tmp_path, HEADER + GOOD)).write_parquet(path)
    assert read_prices(path).height == 3


def test_missing_columns_are_named_with_what_was_found(tmp_path: Path) -> None:
    message = refusal(csv(tmp_path, "symbol,date,open,high,low,price\nA,2024-01-02,1,1,1,1\n"))
    assert "no columns close, volume" in message
    assert "found: symbol, date, open, high, low, price" in message
    assert "name them" in message


def test_duplicate_rows_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    message = refusal(csv(tmp_path, HEADER + GOOD + "AAA,2024-01-03,1,1,1,1,1\nAAA,2024-01-03,2,2,2,2,2\n"))
    assert "2 duplicate (symbol, date) rows" in message
    assert "AAA on 2024-01-03" in message


@pytest.mark.parametrize("price", ["-10", "0"])
def test_a_price_that_is_not_positive_is_named(tmp_path: Path, price: str) -> None:
    message = refusal(csv(tmp_path, f"{HEADER}{GOOD}CCC,2024-01-02,{price},11,9,10,5\n"))
    assert "1 row with a price that is not positive" in message
    assert f"CCC on 2024-01-02, open = {price}" in message


def test_a_high_below_its_low_is_named(tmp_path: Path) -> None:
    message = refusal(csv(tmp_path, f"{HEADER}CCC,2024-01-02,10,9,11,10,5\n"))
    assert "high below its low (first: CCC on 2024-01-02, high = 9, low = 11)" in message


def test_a_negative_volume_is_named(tmp_path: Path) -> None:
    assert "negative volume (first: CCC on 2024-01-02, volume = -5)" in refusal(
        csv(tmp_path, f"{HEADER}CCC,2024-01-02,10,11,9,10,-5\n")
    )


@pytest.mark.parametrize("blank", ["", "NaN", "null"])
def test_a_null_price_is_never_dropped_in_silence(tmp_path: Path, blank: str) -> None:
    message = refusal(csv(tmp_path, f"{HEADER}{GOOD}CCC,2024-01-02,10,11,9,{blank},5\n"))
    assert "null values (close 1" in message
    assert "CCC on 2024-01-02" in message


def test_a_cell_that_is_no_number_is_quoted(tmp_path: Path) -> None:
    message = refusal(csv(tmp_path, f"{HEADER}CCC,2024-01-02,10,11,9,n.a.,5\n"))
    assert 'column close that are not numbers (first: row 1, symbol CCC on 2024-01-02, "n.a.")' in message


def test_an_infinite_price_is_no_number(tmp_path: Path) -> None:
    assert "not numbers" in refusal(csv(tmp_path, f"{HEADER}CCC,2024-01-02,10,inf,9,10,5\n"))


@pytest.mark.parametrize("written", ["02/01/2024", "yesterday", ""])
def test_a_date_that_could_be_two_days_is_refused(tmp_path: Path, written: str) -> None:
    message = refusal(csv(tmp_path, f"{HEADER}CCC,{written},10,11,9,10,5\n"))
    assert "dates that cannot be read" in message
    assert "YYYY-MM-DD" in message


def test_a_row_without_a_symbol_is_refused(tmp_path: Path) -> None:
    assert "1 rows without a symbol" in refusal(csv(tmp_path, f"{HEADER},2024-01-02,10,11,9,10,5\n"))


def test_empty_files_are_refused_each_in_its_words(tmp_path: Path) -> None:
    assert "empty (0 bytes)" in refusal(csv(tmp_path, ""))
    assert "a header but no rows" in refusal(csv(tmp_path, HEADER))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere.csv")
    assert "is a folder" in refusal(tmp_path)


def test_a_damaged_parquet_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    path.write_bytes(b"PAR1 but nothing that follows is Parquet")
    assert "cannot be read as Parquet or CSV" in refusal(path)


def test_a_vendors_error_text_is_refused_as_what_it_is(tmp_path: Path) -> None:
    message = refusal(csv(tmp_path, '{\n  "Note": "Thank you for using our API! 5 calls per minute"\n}'))
    assert "vendor's answer, not prices" in message
    assert "Thank you for using our API" in message
    assert "not prices" in refusal(csv(tmp_path, "<html><body>503</body></html>"))


def test_the_error_text_a_vendor_really_sent_is_refused() -> None:
    path = SHARED / "faults" / "alphavantage_error_payload_BF.B.csv"
    if not path.exists():
        pytest.skip(f"real sample {path.name} is not on this machine")
    assert "Error Message" in refusal(path)


def test_a_delivery_keeps_its_nulls_to_be_judged(tmp_path: Path) -> None:
    delivery = read_delivery(csv(tmp_path, f"{HEADER}CCC,2024-01-02,,11,9,10,5\n"))
    assert dict(delivery.schema) == SCHEMA
    assert delivery["open"].to_list() == [None]


def test_a_real_file_of_two_million_rows_is_read_whole() -> None:
    path = SHARED / "daily" / "sp500_alphavantage_1999_2021.parquet"
    if not path.exists():
        pytest.skip(f"real sample {path.name} is not on this machine")
    prices = read_prices(path)
    assert prices.height == 2_402_891
    assert prices["symbol"].n_unique() == 504
    aapl = prices.filter((pl.col("symbol") == "AAPL") & (pl.col("date") == date(2020, 8, 31)))
    assert aapl["split"].item() == 4.0
    assert (prices["adj_close"] != prices["close"]).any()


def test_real_files_with_nulls_name_them() -> None:
    for name, count in (("daily/sp500_5yr_2013_2018", 11), ("faults/sp500_5yr_2012_2017_google_faulty", 384)):
        path = SHARED / f"{name}.parquet"
        if not path.exists():
            pytest.skip(f"real sample {path.name} is not on this machine")
        assert f"open {count}" in refusal(path)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "BRK.B", "ZZZ"]),
            st.dates(date(2000, 1, 1), date(2020, 12, 31)),
            st.floats(0.01, 1e5),
            st.floats(0, 1e10),
        ),
        min_size=1,
        max_size=30,
        unique_by=lambda row: row[:2],
    )
)
def test_csv_and_parquet_of_the_same_prices_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, date, float, float]]
) -> None:
    folder = tmp_path_factory.mktemp("both")
    table = pl.DataFrame(
        [(s, d, p, p, p, p, v) for s, d, p, v in rows],
        schema=HEADER.strip().split(","),
        orient="row",
    )
    table.write_csv(folder / "p.csv")
    table.write_parquet(folder / "p.parquet")
    assert_frame_equal(read_prices(folder / "p.csv"), read_prices(folder / "p.parquet"), check_exact=True)
