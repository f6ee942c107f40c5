"""Daily history through the real Polygon client, against a venue that speaks its protocol."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from market.errors import IngestError
from market.ingest import SCHEMA
from market.polygon import adjusted_close, download_daily
from market.sample import sample_prices

START, END = dt.date(2022, 6, 1), dt.date(2022, 12, 27)


@pytest.fixture(scope="module")
def service() -> Iterator[dict[str, Any]]:
    words = [
        sys.executable,
        "-m",
        "market.venue",
        "--date",
        "2022-12-28",
        "--rate-limit",
        "5000",
        "--start",
        "10:00",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.wait(10)


def download(service: dict[str, Any], *symbols: str, **changed: Any) -> pl.DataFrame:
    fields = {
        "api_key": service["polygon_key"],
        "base": service["polygon_rest_url"],
        "calls_per_minute": 0,
    } | changed
    return download_daily(symbols, START, END, **fields)


def test_the_prices_are_the_ones_the_service_has(service: dict[str, Any]) -> None:
    got = download(service, "AAPL", "KO")
    there = sample_prices().filter(
        pl.col("symbol").is_in(["AAPL", "KO"]), pl.col("date").is_between(START, END)
    )
    assert got.columns == list(SCHEMA)
    assert got["date"].to_list() == there["date"].to_list()
    assert (got["close"] - there["close"]).abs().max() < 0.011  # the venue quotes in cents


def test_calls_are_paced_to_the_plan(service: dict[str, Any]) -> None:
    pauses: list[float] = []
    download(service, "AAPL", "KO", "GE", calls_per_minute=5, pause=pauses.append)
    assert pauses == [36.0, 36.0]  # three calls a symbol at five a minute


def test_a_symbol_without_bars_is_named(service: dict[str, Any]) -> None:
    with pytest.raises(IngestError, match="no daily bars for NOSUCH"):
        download(service, "AAPL", "NOSUCH")


def test_a_wrong_key_is_refused_in_one_line(service: dict[str, Any]) -> None:
    with pytest.raises(IngestError, match="POLYGON_API_KEY"):
        download(service, "AAPL", api_key="wrong")


def test_no_key_says_where_one_comes_from() -> None:
    with pytest.raises(IngestError, match="set POLYGON_API_KEY"):
        download_daily(["AAPL"], START, END, api_key="", base="http://127.0.0.1:1")


def test_an_unreachable_service_is_named() -> None:
    with pytest.raises(IngestError, match=r"127\.0\.0\.1:1"):
        download_daily(["AAPL"], START, END, api_key="k", base="http://127.0.0.1:1", calls_per_minute=0)


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(IngestError, match="after its end"):
        download_daily(["AAPL"], END, START, api_key="k", base="http://127.0.0.1:1")


DAYS = [dt.date(2020, 8, 27) + dt.timedelta(days=i) for i in range(4)]


def test_a_split_scales_what_came_before_it() -> None:
    """Apple's 4:1: 500.04 before, 129.04 after; the adjusted return is the real one."""
    adjusted = adjusted_close(DAYS[:2], [500.04, 129.04], {DAYS[1]: 4.0}, {})
    assert adjusted == pytest.approx([125.01, 129.04])


def test_a_dividend_scales_what_came_before_it_by_its_yield() -> None:
    adjusted = adjusted_close(DAYS[:2], [100.0, 98.0], {}, {DAYS[1]: 2.0})
    assert adjusted == pytest.approx([98.0, 98.0])  # a fall of exactly the dividend is a return of zero


def test_the_last_close_is_never_adjusted_and_nothing_before_is_without_an_action() -> None:
    assert adjusted_close(DAYS, [1.0, 2.0, 3.0, 4.0], {}, {}) == [1.0, 2.0, 3.0, 4.0]
