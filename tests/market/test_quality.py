"""Each fault, planted into clean prices, is found where it was planted; clean prices give no finding."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.calendar import session_offset, sessions
from market.errors import MarketError
from market.ingest import SCHEMA
from market.quality import CHECKS, FINDING_SCHEMA, SEVERITIES, check_prices
from market.sample import sample_prices

AS_OF = date(2024, 6, 28)
FIRST = date(2023, 1, 3)
NAMES = [f"S{i:02d}" for i in range(30)]
OLD = date(2023, 9, 14)
NEW = date(2024, 6, 27)


@pytest.fixture(scope="module")
def clean() -> pl.DataFrame:
    """Thirty independent random walks with ordinary bars."""
    days = sessions(FIRST, AS_OF)
    rng = np.random.default_rng(11)
    frames = []
    for name in NAMES:
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.015, len(days))))
        opened = close * np.exp(rng.normal(0, 0.004, len(days)))
        frames.append(
            pl.DataFrame(
                {
                    "symbol": [name] * len(days), "date": days, "open": opened,
                    "high": np.maximum(opened, close) * 1.006, "low": np.minimum(opened, close) * 0.994,
                    "close": close, "volume": np.rint(rng.lognormal(14, 0.3, len(days))), "adj_close": close,
                    "dividend": np.zeros(len(days)), "split": np.ones(len(days)),
                },
                schema=SCHEMA,
            )
        )  # fmt: skip
    return pl.concat(frames)


def at(symbol: str, day: date) -> pl.Expr:
    return (pl.col("symbol") == symbol) & (pl.col("date") == day)


def from_day(symbol: str, day: date) -> pl.Expr:
    return (pl.col("symbol") == symbol) & (pl.col("date") >= day)


def times(prices: pl.DataFrame, where: pl.Expr, factor: float, *columns: str) -> pl.DataFrame:
    return prices.with_columns(
        pl.when(where).then(pl.col(column) * factor).otherwise(pl.col(column)).alias(column)
        for column in columns
    )


def scaled(prices: pl.DataFrame, where: pl.Expr, factor: float) -> pl.DataFrame:
    return times(prices, where, factor, "open", "high", "low", "close", "adj_close")


def found(
    prices: pl.DataFrame, check: str, *, as_of: date = AS_OF
) -> list[tuple[str, str | None, date | None]]:
    findings = check_prices(prices, as_of=as_of)
    return findings.filter(pl.col("check") == check).select("severity", "symbol", "first").rows()


def test_clean_prices_give_no_finding(clean: pl.DataFrame) -> None:
    findings = check_prices(clean, as_of=AS_OF)
    assert dict(findings.schema) == FINDING_SCHEMA
    assert findings.rows() == []


def test_the_sample_has_notes_and_nothing_worse() -> None:
    findings = check_prices(sample_prices(), as_of=date(2022, 12, 28))
    assert set(findings["severity"]) == {"note"}
    assert not findings["last"].is_between(date(2022, 12, 1), date(2022, 12, 28)).any()


def test_rows_after_the_as_of_date_block(clean: pl.DataFrame) -> None:
    yesterday = session_offset(AS_OF, -1)
    assert found(clean, "future_rows", as_of=yesterday) == [("block", None, AS_OF)]
    assert check_prices(clean, as_of=yesterday)["value"].to_list() == [30.0]


def test_a_missing_newest_session_blocks(clean: pl.DataFrame) -> None:
    late = clean.filter(pl.col("date") < NEW)
    findings = check_prices(late, as_of=AS_OF)
    assert findings.select("check", "severity", "value").rows() == [("missing_newest_session", "block", 2.0)]
    # On the Sunday after, the Friday is still the newest session due.
    assert found(late, "missing_newest_session", as_of=date(2024, 6, 30)) == [("block", None, NEW)]


def test_a_session_that_nobody_delivered_blocks_at_any_age(clean: pl.DataFrame) -> None:
    assert found(clean.filter(pl.col("date") != OLD), "missing_session") == [("block", None, OLD)]


def test_a_partial_delivery_blocks_at_any_age(clean: pl.DataFrame) -> None:
    for day in (OLD, NEW, AS_OF):
        half = clean.filter((pl.col("date") != day) | pl.col("symbol").is_in(NAMES[::2]))
        assert ("block", None, day) in found(half, "partial_delivery")


def test_a_partial_newest_delivery_blocks_even_when_the_rest_never_comes_back(clean: pl.DataFrame) -> None:
    cut = clean.filter((pl.col("date") < NEW) | pl.col("symbol").is_in(NAMES[::2]))
    assert found(cut, "partial_delivery") == [("block", None, AS_OF), ("block", None, NEW)]


def test_a_delivery_that_ends_in_the_middle_of_the_alphabet_lost_its_pages(clean: pl.DataFrame) -> None:
    cut = clean.filter((pl.col("date") != OLD) | (pl.col("symbol") < "S20"))
    assert found(cut, "truncated_delivery") == [("block", None, OLD)]
    assert found(cut, "partial_delivery") == []


def test_delistings_long_ago_are_not_a_partial_delivery(clean: pl.DataFrame) -> None:
    fewer = clean.filter((pl.col("date") < OLD) | (pl.col("symbol") < "S15"))
    assert found(fewer, "partial_delivery") == []
    assert {severity for severity, _, _ in found(fewer, "series_ended")} == {"note"}


def test_one_symbol_that_stops_is_quarantined_and_does_not_block(clean: pl.DataFrame) -> None:
    stopped = clean.filter(~from_day("S03", NEW))
    findings = check_prices(stopped, as_of=AS_OF)
    assert "block" not in findings["severity"].to_list()
    assert found(stopped, "series_ended") == [("quarantine", "S03", session_offset(NEW, -1))]


def test_duplicate_rows_block(clean: pl.DataFrame) -> None:
    twice = pl.concat([clean, clean.filter(at("S04", OLD))])
    assert found(twice, "duplicate_rows") == [("block", "S04", OLD)]


def test_rows_on_a_day_without_a_session_are_found(clean: pl.DataFrame) -> None:
    holiday, saturday, sunday = date(2023, 7, 4), date(2024, 6, 29), date(2024, 6, 30)
    for day, severity in ((holiday, "note"), (saturday, "block")):
        extra = clean.filter(at("S05", OLD)).with_columns(pl.lit(day).alias("date"))
        assert found(pl.concat([clean, extra]), "phantom_session", as_of=sunday) == [(severity, None, day)]


@pytest.mark.parametrize("day", [OLD, NEW])
@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), float("inf")])
def test_an_impossible_price_is_found(clean: pl.DataFrame, day: date, value: float) -> None:
    broken = clean.with_columns(pl.when(at("S06", day)).then(pl.lit(value)).otherwise("low").alias("low"))
    assert found(broken, "invalid_price") == [("quarantine", "S06", day)]


@pytest.mark.parametrize(("column", "old"), [("close", "quarantine"), ("open", "note"), ("volume", "note")])
def test_a_missing_close_quarantines_and_an_old_hole_beside_it_is_a_note(
    clean: pl.DataFrame, column: str, old: str
) -> None:
    for day, severity in ((OLD, old), (NEW, "quarantine")):
        holed = clean.with_columns(pl.when(at("S06", day)).then(None).otherwise(column).alias(column))
        assert found(holed, "invalid_price") == [(severity, "S06", day)]


@pytest.mark.parametrize(("day", "severity"), [(OLD, "quarantine"), (NEW, "quarantine")])
def test_a_high_below_the_low_is_found(clean: pl.DataFrame, day: date, severity: str) -> None:
    swapped = clean.with_columns(
        pl.when(at("S07", day)).then("low").otherwise("high").alias("high"),
        pl.when(at("S07", day)).then("high").otherwise("low").alias("low"),
    )
    assert found(swapped, "ohlc_inconsistent") == [(severity, "S07", day)]


def test_a_close_a_hair_outside_the_range_is_a_note(clean: pl.DataFrame) -> None:
    hair = clean.with_columns(
        pl.when(at("S07", NEW))
        .then(pl.max_horizontal("open", "close") * 0.999)
        .otherwise("high")
        .alias("high")
    )
    assert found(hair, "ohlc_inconsistent") == [("note", "S07", NEW)]


@pytest.mark.parametrize(("day", "severity"), [(OLD, "quarantine"), (NEW, "quarantine")])
@pytest.mark.parametrize("factor", [0.5, 0.25, 1 / 3, 0.1, 2.0, 10.0])
def test_an_unadjusted_split_is_found(clean: pl.DataFrame, day: date, severity: str, factor: float) -> None:
    split = scaled(clean, from_day("S08", day), factor)
    split = times(split, from_day("S08", day), 1 / factor, "volume")
    assert found(split, "unadjusted_split") == [(severity, "S08", day)]


def test_an_adjusted_split_is_no_finding(clean: pl.DataFrame) -> None:
    raw = times(clean, from_day("S08", NEW), 0.25, "open", "high", "low", "close").with_columns(
        pl.when(at("S08", NEW)).then(4.0).otherwise("split").alias("split"),
        pl.when(pl.col("symbol") == "S08")
        .then(pl.col("adj_close") * 0.25)
        .otherwise("adj_close")
        .alias("adj_close"),
    )
    assert check_prices(raw, as_of=AS_OF).rows() == []


def test_a_real_crash_on_heavy_volume_is_only_a_note(clean: pl.DataFrame) -> None:
    crash = scaled(clean, from_day("S09", NEW), 0.5)
    crash = times(crash, at("S09", NEW), 12.0, "volume")
    assert found(crash, "unadjusted_split") == []
    assert found(crash, "jump") == [("note", "S09", NEW)]


def test_a_crash_of_the_whole_market_is_no_jump_of_each_symbol(clean: pl.DataFrame) -> None:
    crash = scaled(clean, pl.col("date") >= OLD, 0.7)
    assert found(crash, "jump") == []


def test_a_print_that_jumps_away_and_back_is_found(clean: pl.DataFrame) -> None:
    printed = scaled(clean, at("S10", OLD), 1.6)
    assert ("quarantine", "S10", OLD) in found(printed, "bad_print")


def test_a_wick_of_half_the_price_is_found(clean: pl.DataFrame) -> None:
    for day, severity in ((OLD, "note"), (NEW, "quarantine")):
        assert found(times(clean, at("S11", day), 0.4, "low"), "bad_wick") == [(severity, "S11", day)]


def test_a_bar_carried_forward_quarantines(clean: pl.DataFrame) -> None:
    start = session_offset(AS_OF, -5)
    last_good = clean.filter(at("S12", start)).row(0, named=True)
    stale = clean.with_columns(
        pl.when(from_day("S12", start)).then(pl.lit(last_good[name])).otherwise(name).alias(name)
        for name in ("open", "high", "low", "close", "volume", "adj_close")
    )
    assert found(stale, "stale_run") == [("quarantine", "S12", start)]


def test_a_close_that_stands_still_is_a_quarantine_when_new_and_a_note_when_old(clean: pl.DataFrame) -> None:
    for end, severity in ((AS_OF, "quarantine"), (OLD, "note")):
        start = session_offset(end, -6)
        level = clean.filter(at("S12", start))["close"].item()
        pinned = clean.with_columns(
            pl.when(from_day("S12", start) & (pl.col("date") <= end))
            .then(pl.lit(level))
            .otherwise(name)
            .alias(name)
            for name in ("close", "adj_close")
        )
        assert found(pinned, "stale_run") == [(severity, "S12", start)]


def as_copy(
    prices: pl.DataFrame, source: str, target: str, first: date = FIRST, last: date = AS_OF
) -> pl.DataFrame:
    window = pl.col("date").is_between(first, last)
    copy = prices.filter((pl.col("symbol") == source) & window).with_columns(pl.lit(target).alias("symbol"))
    return pl.concat([prices.filter(~((pl.col("symbol") == target) & window)), copy]).sort("symbol", "date")


def test_two_symbols_with_one_series_are_both_in_quarantine(clean: pl.DataFrame) -> None:
    findings = check_prices(as_copy(clean, "S13", "S14"), as_of=AS_OF).filter(
        pl.col("check") == "identical_series"
    )
    assert findings.select("severity", "symbol").rows() == [("quarantine", "S13"), ("quarantine", "S14")]
    assert findings["detail"].str.contains("S13 and S14").all()


def test_two_symbols_with_one_series_long_ago_are_quarantined(clean: pl.DataFrame) -> None:
    old = as_copy(clean, "S13", "S14", first=date(2023, 3, 1), last=date(2023, 7, 31))
    identical = found(old, "identical_series")
    assert [(severity, symbol) for severity, symbol, _ in identical] == [
        ("quarantine", "S13"),
        ("quarantine", "S14"),
    ]


def test_one_series_under_every_name_blocks_once(clean: pl.DataFrame) -> None:
    same = pl.concat(
        [clean.filter(pl.col("symbol") == "S00").with_columns(pl.lit(name).alias("symbol")) for name in NAMES]
    )
    assert found(same, "identical_series") == [("block", None, FIRST)]


def test_a_session_missing_inside_a_life_is_a_note_and_a_long_hole_a_quarantine(clean: pl.DataFrame) -> None:
    assert found(clean.filter(~at("S15", OLD)), "missing_rows") == [("note", "S15", OLD)]
    hole = clean.filter(~((pl.col("symbol") == "S15") & pl.col("date").is_between(date(2023, 8, 1), OLD)))
    assert found(hole, "missing_rows") == [("quarantine", "S15", date(2023, 8, 1))]


def test_a_session_delivered_again_is_found_for_one_symbol_and_for_all(clean: pl.DataFrame) -> None:
    before = session_offset(NEW, -3)
    again = clean.filter(pl.col("date") == before).with_columns(pl.lit(NEW).alias("date"))
    one = pl.concat([clean.filter(~at("S15", NEW)), again.filter(pl.col("symbol") == "S15")])
    assert found(one, "duplicated_day") == [("quarantine", "S15", NEW)]
    every = pl.concat([clean.filter(pl.col("date") != NEW), again])
    assert found(every, "duplicated_day") == [("block", None, NEW)]


def test_a_series_that_changes_its_basis_and_back_is_one_stretch(clean: pl.DataFrame) -> None:
    first, last = date(2023, 9, 14), date(2023, 9, 27)
    flipped = scaled(clean, (pl.col("symbol") == "S20") & pl.col("date").is_between(first, last), 0.5)
    assert found(flipped, "basis_flip") == [("quarantine", "S20", first)]
    assert found(flipped, "unadjusted_split") == []


def test_another_instrument_under_the_old_name_is_found(clean: pl.DataFrame) -> None:
    other = scaled(clean, from_day("S21", OLD), 0.43)
    other = times(other, from_day("S21", OLD), 0.05, "volume")
    assert found(other, "identity_change") == [("quarantine", "S21", OLD)]


def test_a_quiet_fall_overnight_is_a_spin_off(clean: pl.DataFrame) -> None:
    spun = scaled(clean, from_day("S22", OLD), 0.71)
    assert found(times(spun, at("S22", OLD), 2.0, "volume"), "unadjusted_spin_off") == [
        ("quarantine", "S22", OLD)
    ]
    assert found(times(spun, at("S22", OLD), 9.0, "volume"), "unadjusted_spin_off") == []


def test_a_split_dated_days_early_is_found_with_both_days(clean: pl.DataFrame) -> None:
    late = session_offset(OLD, 3)
    raw = times(clean, from_day("S23", late), 0.5, "open", "high", "low", "close")
    raw = raw.with_columns(pl.when(at("S23", OLD)).then(2.0).otherwise("split").alias("split"))
    findings = check_prices(raw, as_of=AS_OF).filter(pl.col("check") == "misdated_action")
    assert findings.select("severity", "symbol", "first", "last").rows() == [("quarantine", "S23", OLD, late)]


def test_one_venues_volume_for_the_whole_tape_is_one_finding_of_the_feed(clean: pl.DataFrame) -> None:
    start = session_offset(AS_OF, -12)
    iex = times(clean, pl.col("date") >= start, 0.03, "volume")
    assert found(iex, "volume_level") == [("note", None, start)]
    one = times(clean, from_day("S24", start), 0.03, "volume")
    assert found(one, "volume_level") == [("note", "S24", start)]


def test_zero_volume_is_found(clean: pl.DataFrame) -> None:
    for day, severity in ((OLD, "note"), (NEW, "quarantine")):
        assert found(times(clean, at("S16", day), 0.0, "volume"), "zero_volume") == [(severity, "S16", day)]


def test_an_adjusted_close_that_contradicts_split_and_dividend_is_found(clean: pl.DataFrame) -> None:
    dividend = clean.with_columns(pl.when(at("S17", OLD)).then(0.3).otherwise("dividend").alias("dividend"))
    before = clean.filter(at("S17", session_offset(OLD, -1)))["close"].item()
    right = dividend.with_columns(
        pl.when((pl.col("symbol") == "S17") & (pl.col("date") < OLD))
        .then(pl.col("adj_close") * (1 - 0.3 / before))
        .otherwise("adj_close").alias("adj_close")
    )  # fmt: skip
    assert found(right, "adjustment_mismatch") == []
    misdated = times(right, from_day("S18", OLD), 1.03, "adj_close")
    assert found(misdated, "adjustment_mismatch") == [("note", "S18", OLD)]
    far = times(right, from_day("S18", OLD), 1.2, "adj_close")
    assert found(far, "adjustment_mismatch") == [("quarantine", "S18", OLD)]


def nulled(clean: pl.DataFrame, day: date, count: int) -> pl.DataFrame:
    where = (pl.col("date") == day) & pl.col("symbol").is_in(NAMES[:count])
    return clean.with_columns(pl.when(where).then(None).otherwise("close").alias("close"))


def test_the_same_fault_in_a_tenth_of_the_symbols_is_the_deliverys_and_blocks(clean: pl.DataFrame) -> None:
    assert {severity for severity, _, _ in found(nulled(clean, NEW, 2), "invalid_price")} == {"quarantine"}
    assert found(nulled(clean, NEW, 3), "invalid_price")[0] == ("block", None, NEW)
    assert found(nulled(clean, OLD, 16), "invalid_price")[0] == ("block", None, OLD)


def test_one_old_bad_session_is_one_note_and_does_not_leave_out_every_symbol_in_it(
    clean: pl.DataFrame,
) -> None:
    findings = found(nulled(clean, OLD, 6), "invalid_price")
    assert {severity for severity, _, _ in findings} == {"note"}
    assert ("note", None, OLD) in findings


def test_findings_come_worst_first(clean: pl.DataFrame) -> None:
    faulty = clean.filter(~at("S15", OLD) & ~from_day("S03", NEW) & (pl.col("date") < AS_OF))
    severities = check_prices(faulty, as_of=AS_OF)["severity"].to_list()
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert set(severities) == set(SEVERITIES)


def test_nothing_to_check_and_a_senseless_window_are_refused(clean: pl.DataFrame) -> None:
    with pytest.raises(MarketError, match="no prices up to 2020-01-02"):
        check_prices(clean, as_of=date(2020, 1, 2))
    with pytest.raises(MarketError, match="newest_sessions is 0"):
        check_prices(clean, as_of=AS_OF, newest_sessions=0)


FAULTS: dict[str, Callable[[pl.DataFrame, str, date], pl.DataFrame]] = {
    "invalid_price": lambda p, s, d: times(p, at(s, d), -1.0, "close"),
    "ohlc_inconsistent": lambda p, s, d: times(p, at(s, d), 0.5, "high"),
    "zero_volume": lambda p, s, d: times(p, at(s, d), 0.0, "volume"),
    "bad_wick": lambda p, s, d: times(p, at(s, d), 2.0, "high"),
    "duplicate_rows": lambda p, s, d: pl.concat([p, p.filter(at(s, d))]),
}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(FAULTS)), st.sampled_from(NAMES), st.integers(0, 372))
def test_a_fault_is_found_on_any_symbol_and_session(
    clean: pl.DataFrame, check: str, symbol: str, n: int
) -> None:
    day = session_offset(FIRST, n)
    assert [row[1:] for row in found(FAULTS[check](clean, symbol, day), check)] == [(symbol, day)]


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(clean: pl.DataFrame, random: object) -> None:
    faulty = scaled(clean, at("S10", OLD), 1.6).filter(~at("S15", OLD))
    seed = int(random.random() * 1e6)  # type: ignore[attr-defined]
    shuffled = faulty.sample(fraction=1.0, shuffle=True, seed=seed)
    assert check_prices(shuffled, as_of=AS_OF).equals(check_prices(faulty, as_of=AS_OF))


def test_every_check_of_the_list_is_planted_in_this_file() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [check for check in CHECKS if f'"{check}"' not in source] == []
