"""The verdict gates everything after it: what is good passes, each planted fault fails, a check that raises fails."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from market.calendar import session_offset
from market.errors import MarketError
from market.ingest import read_delivery, read_prices
from market.quality import CHECKS
from market.sample import SAMPLE_MODELLED, sample_prices
from reports import data_validation, price_suite
from reports.data_validation import validate
from reports.price_suite import SUITE_VERSION, build_suite

AS_OF = date(2022, 12, 28)
BEFORE = session_offset(AS_OF, -1)
SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="module")
def sample() -> pl.DataFrame:
    return sample_prices().filter(pl.col("date") >= date(2021, 1, 4))


def at(symbol: str, day: date) -> pl.Expr:
    return (pl.col("symbol") == symbol) & (pl.col("date") == day)


def changed(prices: pl.DataFrame, where: pl.Expr, **values: pl.Expr) -> pl.DataFrame:
    return prices.with_columns(
        pl.when(where).then(value).otherwise(pl.col(column)).alias(column) for column, value in values.items()
    )


def stale(prices: pl.DataFrame) -> pl.DataFrame:
    start = session_offset(AS_OF, -6)
    bar = prices.filter(at("KO", start)).row(0, named=True)
    where = (pl.col("symbol") == "KO") & (pl.col("date") >= start)
    return changed(
        prices, where, **{c: pl.lit(bar[c]) for c in ("open", "high", "low", "close", "volume", "adj_close")}
    )


def unsplit(prices: pl.DataFrame) -> pl.DataFrame:
    columns = ("open", "high", "low", "close", "adj_close")
    where = (pl.col("symbol") == "AAPL") & (pl.col("date") >= BEFORE)
    return changed(prices, where, **{c: pl.col(c) / 4 for c in columns}, volume=pl.col("volume") * 4)


def identical(prices: pl.DataFrame) -> pl.DataFrame:
    copy = prices.filter(pl.col("symbol") == "PEP").with_columns(pl.lit("KO").alias("symbol"))
    return pl.concat([prices.filter(pl.col("symbol") != "KO"), copy])


def everyone(prices: pl.DataFrame, **values: pl.Expr) -> pl.DataFrame:
    """The same fault in a quarter of the newest session."""
    where = (pl.col("date") == AS_OF) & pl.col("symbol").is_in(["AAPL", "BAC", "KO", "MSFT", "XOM"])
    return changed(prices, where, **values)


Plant = Callable[[pl.DataFrame], pl.DataFrame]
BLOCKING: dict[str, tuple[Plant, str]] = {
    "a missing newest session": (lambda p: p.filter(pl.col("date") < AS_OF), "missing_newest_session"),
    "a negative price in a quarter of the names": (
        lambda p: everyone(p, close=pl.lit(-1.0)),
        "invalid_price",
    ),
    "duplicate rows": (lambda p: pl.concat([p, p.filter(at("KO", AS_OF))]), "duplicate_rows"),
    "rows after the as-of date": (
        lambda p: pl.concat(
            [p, p.filter(pl.col("date") == AS_OF).with_columns(pl.col("date") + pl.duration(days=1))]
        ),
        "future_rows",
    ),
    "a partial delivery": (
        lambda p: p.filter((pl.col("date") < AS_OF) | ~pl.col("symbol").is_in(["AAPL", "GE", "KO", "XOM"])),
        "partial_delivery",
    ),
    "pages that never came": (
        lambda p: p.filter((pl.col("date") < AS_OF) | (pl.col("symbol") < "M")),
        "truncated_delivery",
    ),
    "an old session nobody delivered": (
        lambda p: p.filter(pl.col("date") != date(2022, 3, 15)),
        "missing_session",
    ),
}
QUARANTINING: dict[str, tuple[Plant, str]] = {
    "a negative price past ingest": (
        lambda p: changed(p, at("KO", AS_OF), close=pl.lit(-1.0)),
        "invalid_price",
    ),
    "a null price past ingest": (lambda p: changed(p, at("KO", AS_OF), open=pl.lit(None)), "invalid_price"),
    "a high below the low": (
        lambda p: changed(p, at("KO", AS_OF), high=pl.col("low"), low=pl.col("high")),
        "ohlc_inconsistent",
    ),
    "one series under two names": (identical, "identical_series"),
    "a stale run": (stale, "stale_run"),
    "an unadjusted split": (unsplit, "unadjusted_split"),
}


def test_the_sample_passes_and_is_marked_as_modelled(sample: pl.DataFrame, tmp_path: Path) -> None:
    outcome = validate(sample, as_of=AS_OF, out=tmp_path / "site", source="sample", modelled=SAMPLE_MODELLED)
    assert (outcome.verdict, outcome.passed, outcome.failed, outcome.raised) == ("passed", True, 0, 0)
    assert outcome.failures == []
    assert outcome.quarantined == ()
    assert outcome.expectations > len(CHECKS) + 10
    assert "MODELLED DATA" in outcome.site.read_text().upper()


@pytest.mark.parametrize("fault", BLOCKING)
def test_a_planted_fault_fails(sample: pl.DataFrame, tmp_path: Path, fault: str) -> None:
    plant, check = BLOCKING[fault]
    outcome = validate(plant(sample), as_of=AS_OF, out=tmp_path / "site")
    assert outcome.verdict == "failed"
    assert outcome.failed >= 1
    assert outcome.raised == 0
    blocking = {finding["check"] for finding in outcome.findings if finding["severity"] == "block"}
    assert check in blocking
    assert any(CHECKS[check] in failure for failure in outcome.failures)
    assert "Failed: nothing may be trained on" in outcome.site.read_text()


@pytest.mark.parametrize("fault", QUARANTINING)
def test_a_fault_of_one_symbol_costs_that_symbol_and_nobody_else(
    sample: pl.DataFrame, tmp_path: Path, fault: str
) -> None:
    plant, check = QUARANTINING[fault]
    outcome = validate(plant(sample), as_of=AS_OF, out=tmp_path / "site")
    assert (outcome.verdict, outcome.failures) == ("passed", [])
    assert len(outcome.quarantined) == (2 if fault == "one series under two names" else 1)
    assert check in {finding["check"] for finding in outcome.findings if finding["severity"] == "quarantine"}


def test_the_contract_itself_refuses_bars_that_disagree_and_days_without_a_session(
    sample: pl.DataFrame, tmp_path: Path
) -> None:
    """What gets past the checks in quarantine still meets the expectations, row by row."""
    sunday = date(2022, 12, 25)
    newest = sample.filter(pl.col("date") == AS_OF)
    good = newest.with_columns(pl.lit(BEFORE).alias("date"))
    swapped = changed(newest, at("KO", AS_OF), high=pl.col("low"), low=pl.col("high"))
    bad = pl.concat([swapped, newest.head(1).with_columns(pl.lit(sunday).alias("date"))])
    for rows, refused in ((good, set()), (bad, {"expect_bars_to_agree", "expect_dates_to_be_sessions"})):
        suites = build_suite(sessions_due=sorted(set(rows["date"])), symbols_before=0)
        suite = {price_suite.NEWEST: suites[price_suite.NEWEST]}
        results = price_suite.run_suites(
            suite, {price_suite.NEWEST: price_suite.newest_frame(rows)}, tmp_path / "x"
        )
        failed = {r.expectation_config.type for r in results[price_suite.NEWEST].results if not r.success}
        assert failed == refused


def test_a_quarter_of_the_symbols_in_quarantine_is_a_bad_delivery(
    sample: pl.DataFrame, tmp_path: Path
) -> None:
    names = sorted(sample["symbol"].unique())[:6]
    spoiled = sample
    for i, name in enumerate(names):  # on different days, so that no session has the fault in a tenth
        spoiled = changed(spoiled, at(name, session_offset(AS_OF, -100 - i)), close=pl.lit(None))
    outcome = validate(spoiled, as_of=AS_OF, out=tmp_path / "site")
    assert outcome.verdict == "failed"
    assert outcome.counts["block"] == 0
    assert "at most a quarter of the symbols are in quarantine. (30% are)" in outcome.failures[0]


def test_an_overruled_finding_is_a_note_that_says_who_and_why(sample: pl.DataFrame, tmp_path: Path) -> None:
    spoiled = changed(sample, at("KO", date(2021, 6, 1)), close=pl.lit(None))
    first = validate(spoiled, as_of=AS_OF, out=tmp_path / "site")
    assert first.quarantined == ("KO",)
    key = next(finding["key"] for finding in first.findings if finding["severity"] == "quarantine")
    second = validate(
        spoiled, as_of=AS_OF, out=tmp_path / "site", overruled={key: "Ann: seen at the exchange"}
    )
    assert second.quarantined == ()
    assert [f["overruled"] for f in second.findings if f["key"] == key] == ["Ann: seen at the exchange"]
    assert "Overruled by Ann: seen at the exchange" in second.site.read_text()
    worse = changed(spoiled, at("KO", date(2021, 6, 1)), open=pl.lit(None))
    third = validate(worse, as_of=AS_OF, out=tmp_path / "site", overruled={key: "Ann: seen at the exchange"})
    assert third.quarantined == ("KO",)  # more is missing than what Ann saw


def test_an_expectation_that_raises_is_a_failed_check_and_not_a_passed_one(
    sample: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import great_expectations as gx

    def with_a_broken_one(**given: object) -> dict[str, gx.ExpectationSuite]:
        suites = build_suite(**given)  # type: ignore[arg-type]
        next(iter(suites.values())).add_expectation(
            gx.expectations.ExpectColumnValuesToBeBetween(
                column="no_such_column", min_value=0, description="Broken."
            )
        )
        return suites

    monkeypatch.setattr(data_validation, "build_suite", with_a_broken_one)
    outcome = validate(sample, as_of=AS_OF, out=tmp_path / "site")
    assert (outcome.verdict, outcome.raised, outcome.failed) == ("failed", 1, 1)
    assert outcome.failures[0].startswith("Could not be checked: Broken.")
    assert "1 expectation could not be evaluated" in outcome.site.read_text()


def test_a_blocking_finding_fails_even_when_no_expectation_looks_at_it(
    sample: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_suite, "CHECKS", {k: v for k, v in CHECKS.items() if k != "missing_session"})
    outcome = validate(sample.filter(pl.col("date") != date(2022, 3, 15)), as_of=AS_OF, out=tmp_path / "site")
    assert (outcome.failed, outcome.verdict) == (0, "failed")


def test_the_site_loads_nothing_from_the_network_and_its_links_lead_somewhere(
    sample: pl.DataFrame, tmp_path: Path
) -> None:
    outcome = validate(sample, as_of=AS_OF, out=tmp_path / "site")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) == 5  # start, two results, two suites
    for page in pages:
        text = page.read_text()
        assert not re.search(r"(src|href)=[\"']?(https?:)?//", text), page
        assert "url(http" not in text.replace('"', "").replace("'", "")
        assert "<script" not in text
        for sheet in re.findall(r'<link rel="stylesheet" href="([^"]+)"', text):
            assert (page.parent / sheet).is_file()
    for link in re.findall(r'href="([^"#]+\.(?:html|json))"', outcome.site.read_text()):
        assert (outcome.site.parent / link.replace("%20", " ")).is_file()


def test_the_result_is_kept_as_evidence(sample: pl.DataFrame, tmp_path: Path) -> None:
    outcome = validate(sample, as_of=AS_OF, out=tmp_path / "site", source="the sample")
    body = json.loads(outcome.result.read_text())
    assert (body["verdict"], body["suite_version"], body["source"]) == ("passed", SUITE_VERSION, "the sample")
    assert body["as_of"] == body["newest_session"] == "2022-12-28"
    results = [r for suite in body["great_expectations"].values() for r in suite["results"]]
    assert len(results) == outcome.expectations
    assert all(r["success"] for r in results)


def test_a_second_run_replaces_the_first_whole(sample: pl.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "site"
    validate(sample.filter(pl.col("date") < AS_OF), as_of=AS_OF, out=out)
    validate(sample, as_of=AS_OF, out=out)
    assert len(list(out.rglob("validations/**/*.html"))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_run_that_cannot_start_leaves_the_old_site(sample: pl.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "site"
    kept = validate(sample, as_of=AS_OF, out=out)
    with pytest.raises(MarketError, match="no prices up to"):
        validate(sample, as_of=date(2010, 1, 4), out=out)
    assert kept.site.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_on_a_sunday_the_friday_is_the_newest_session(sample: pl.DataFrame, tmp_path: Path) -> None:
    friday = sample.filter(pl.col("date") <= date(2022, 12, 23))
    outcome = validate(friday, as_of=date(2022, 12, 25), out=tmp_path / "site")
    assert outcome.newest_session == date(2022, 12, 23)
    assert outcome.passed


def test_importing_it_turns_analytics_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GX_ANALYTICS_ENABLED", "true")
    price_suite.great_expectations_quietly()
    import os

    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"


def test_a_real_history_of_500_names_passes_with_its_old_faults_in_quarantine(tmp_path: Path) -> None:
    path = SHARED / "daily" / "sp500_alphavantage_1999_2021.parquet"
    if not path.exists():
        pytest.skip(f"real sample {path.name} is not on this machine")
    outcome = validate(read_prices(path), as_of=date(2021, 4, 21), out=tmp_path / "site")
    assert outcome.failures == []
    assert outcome.verdict == "passed"
    assert {"KSU", "TRMB", "ZBRA"} <= set(outcome.quarantined)
    assert len(outcome.quarantined) < 30
    assert outcome.counts["note"] > 200


def test_a_real_vintage_of_one_series_under_every_name_fails_even_if_it_got_past_ingest(
    tmp_path: Path,
) -> None:
    path = SHARED / "faults" / "sp500_5yr_all_symbols_identical.parquet"
    if not path.exists():
        pytest.skip(f"real sample {path.name} is not on this machine")
    outcome = validate(read_delivery(path), as_of=date(2017, 8, 10), out=tmp_path / "site")
    assert outcome.verdict == "failed"


def test_a_real_faulty_vintage_is_quarantined_by_symbol_and_not_wholesale(tmp_path: Path) -> None:
    path = SHARED / "faults" / "sp500_5yr_2012_2017_google_faulty.parquet"
    if not path.exists():
        pytest.skip(f"real sample {path.name} is not on this machine")
    outcome = validate(read_delivery(path), as_of=date(2017, 8, 11), out=tmp_path / "site")
    assert (outcome.verdict, outcome.failures) == ("passed", [])
    assert {"HLT", "HPQ", "DVA"} <= set(outcome.quarantined)
    assert len(outcome.quarantined) < 50
