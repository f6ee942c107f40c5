"""The checks on real files whose faults are known; skipped where the files are not on the machine."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from market.ingest import read_delivery
from market.quality import check_prices

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def findings(name: str, as_of: date) -> pl.DataFrame:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"real sample {path.name} is not on this machine")
    return check_prices(read_delivery(path), as_of=as_of)


def rows(found: pl.DataFrame, check: str, severity: str) -> list[tuple[str | None, date | None]]:
    chosen = found.filter((pl.col("check") == check) & (pl.col("severity") == severity))
    return chosen.select("symbol", "first").rows()


@pytest.fixture(scope="module")
def alphavantage() -> pl.DataFrame:
    return findings("daily/sp500_alphavantage_1999_2021.parquet", date(2021, 4, 21))


def test_a_good_history_with_old_faults_does_not_block(alphavantage: pl.DataFrame) -> None:
    assert alphavantage.filter(pl.col("severity") == "block").is_empty()
    hurt = alphavantage.filter(pl.col("severity") == "quarantine")["symbol"].n_unique()
    assert 8 <= hurt <= 25


def test_its_labelled_faults_are_all_found(alphavantage: pl.DataFrame) -> None:
    labels = pl.read_csv(SHARED / "faults" / "known_faults_labels.csv", try_parse_dates=True).filter(
        pl.col("file").str.contains("alphavantage_1999")
    )
    found = set(alphavantage.select("check", "symbol", "first").rows())
    assert {("zero_volume", s, d) for s, d in faults(labels, "zero_volume")} <= found
    assert {("bad_wick", s, d) for s, d in faults(labels, "bad_wick")} <= found
    assert {("adjustment_mismatch", s, d) for s, d in faults(labels, "adjustment_inconsistent")} <= found
    gaps = alphavantage.filter(pl.col("check") == "missing_rows")["value"].sum()
    assert gaps == labels.filter(pl.col("fault") == "missing_session").height


def faults(labels: pl.DataFrame, fault: str) -> list[tuple[str, date]]:
    chosen = labels.filter((pl.col("fault") == fault) & (pl.col("certainty") != "legit_extreme"))
    return chosen.select("symbol", pl.col("start").cast(pl.String).str.to_date()).rows()


def test_no_real_extreme_move_is_rejected(alphavantage: pl.DataFrame) -> None:
    labels = pl.read_csv(SHARED / "faults" / "known_faults_labels.csv").filter(
        pl.col("file").str.contains("alphavantage_1999") & (pl.col("certainty") == "legit_extreme")
        & (pl.col("fault") != "series_ends_early")
    )  # fmt: skip
    legit = set(labels.select("symbol", pl.col("start").str.to_date()).rows())
    assert len(legit) > 15
    rejected = alphavantage.filter(pl.col("severity") != "note").select("symbol", "first").rows()
    assert legit.isdisjoint(rejected)


def test_a_name_that_was_taken_over_days_ago_is_history_and_no_hole(alphavantage: pl.DataFrame) -> None:
    assert rows(alphavantage, "series_ended", "note") == [("VAR", date(2021, 4, 16))]
    assert "VAR" not in alphavantage.filter(pl.col("severity") != "note")["symbol"]


def test_one_series_under_every_name_is_refused_outright() -> None:
    found = findings("faults/sp500_5yr_all_symbols_identical.parquet", date(2017, 8, 10))
    assert rows(found, "identical_series", "block") == [(None, date(2012, 8, 10))]


def test_the_faulty_vintage_is_quarantined_by_symbol_and_not_wholesale() -> None:
    found = findings("faults/sp500_5yr_2012_2017_google_faulty.parquet", date(2017, 8, 11))
    assert found.filter(pl.col("severity") == "block").is_empty()
    hurt = set(found.filter(pl.col("severity") == "quarantine")["symbol"])
    assert {"HLT", "HPQ", "DVA", "APH", "PPG", "TMK"} <= hurt
    assert len(hurt) < 0.1 * 503


def test_the_same_set_uploaded_again_does_not_block() -> None:
    found = findings("daily/sp500_5yr_2013_2018.parquet", date(2018, 2, 7))
    assert found.filter(pl.col("severity") == "block").is_empty()
    assert ("LNT", date(2016, 5, 19)) in rows(found, "bad_print", "quarantine")


def test_raw_prices_show_their_splits() -> None:
    found = findings("daily/lean_daily_1998_2021.parquet", date(2021, 3, 31))
    split = rows(found, "unadjusted_split", "quarantine")
    assert {("AAPL", date(2014, 6, 9)), ("AAPL", date(2020, 8, 31))} <= set(split)
    assert "QQQ" in {symbol for symbol, _ in rows(found, "missing_rows", "quarantine")}
