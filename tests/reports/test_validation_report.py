"""The nightly page: verdict first, every fault shown with its chart, nothing from the network, nothing unescaped."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from market.sample import SAMPLE_MODELLED, sample_prices
from reports.data_validation import ValidationOutcome, validate
from reports.validation_report import write_validation_report

AS_OF = date(2022, 12, 28)


@pytest.fixture(scope="module")
def sample() -> pl.DataFrame:
    return sample_prices().filter(pl.col("date") >= date(2019, 1, 2))


@pytest.fixture(scope="module")
def faulty(sample: pl.DataFrame) -> pl.DataFrame:
    """Half of the newest session missing, one null of long ago."""
    cut = sample.filter((pl.col("date") < AS_OF) | (pl.col("symbol") < "M"))
    null = (pl.col("symbol") == "KO") & (pl.col("date") == date(2021, 6, 1))
    return cut.with_columns(pl.when(null).then(None).otherwise("close").alias("close"))


@pytest.fixture(scope="module")
def passed(sample: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ValidationOutcome:
    return validate(sample, as_of=AS_OF, out=tmp_path_factory.mktemp("good") / "site")


@pytest.fixture(scope="module")
def failed(faulty: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ValidationOutcome:
    return validate(faulty, as_of=AS_OF, out=tmp_path_factory.mktemp("bad") / "site")


def words(page: Path) -> str:
    text = re.sub(r"<style.*?</style>", "", page.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).replace(" :", ":")


def test_a_good_night_says_so_first(sample: pl.DataFrame, passed: ValidationOutcome, tmp_path: Path) -> None:
    page = write_validation_report(
        sample, passed, out=tmp_path / "v.html", modelled=SAMPLE_MODELLED, source="sample", data_set_id="ds-1"
    )
    said = words(page)
    assert said.index("Passed: the data may be used up to 2022-12-28.") < said.index("Modelled data")
    assert said.index("Modelled data") < said.index("Worst findings")
    assert "open, high, low, volume: not observed in a market" in said
    assert "Why it failed" not in said
    assert "ds-1" in said


def test_real_data_carries_no_mark_of_modelled_columns(
    sample: pl.DataFrame, passed: ValidationOutcome, tmp_path: Path
) -> None:
    assert "Modelled data" not in words(write_validation_report(sample, passed, out=tmp_path / "v.html"))


def test_a_bad_night_says_why_and_what_to_do(
    faulty: pl.DataFrame, failed: ValidationOutcome, tmp_path: Path
) -> None:
    said = words(write_validation_report(faulty, failed, out=tmp_path / "v.html"))
    assert "Failed: nothing may be trained on" in said
    assert said.index("Why it failed") < said.index("Worst findings")
    assert "ingest it and validate again" in said
    assert "11 of the 20 symbols expected on 2022-12-28 were delivered" in said


def test_every_worst_finding_has_its_own_chart(
    faulty: pl.DataFrame, failed: ValidationOutcome, tmp_path: Path
) -> None:
    text = write_validation_report(faulty, failed, out=tmp_path / "v.html").read_text()
    cards = text.count('<div class="card">')
    assert cards >= 3
    assert text.count('<svg class="spark"') == cards
    assert text.count('<rect class="mark"') == cards


def test_the_quarantined_are_named_with_their_reason_and_many_with_one_reason_share_a_line(
    faulty: pl.DataFrame, failed: ValidationOutcome, tmp_path: Path
) -> None:
    said = words(write_validation_report(faulty, failed, out=tmp_path / "v.html"))
    assert "invalid price, 2021-06-01: close null" in said
    assert "9 symbols MRK, MSFT, PEP, PFE, PG, RRC, UNH, WMT, XOM" in said
    assert set(failed.quarantined) >= {"KO", "MRK", "XOM"}


def test_what_changed_since_the_last_time_is_shown(
    sample: pl.DataFrame,
    faulty: pl.DataFrame,
    passed: ValidationOutcome,
    failed: ValidationOutcome,
    tmp_path: Path,
) -> None:
    worse = words(write_validation_report(faulty, failed, out=tmp_path / "a.html", previous=passed.findings))
    assert re.search(r"[1-9]\d* new, 0 gone", worse)
    same = words(write_validation_report(sample, passed, out=tmp_path / "b.html", previous=passed.findings))
    assert "Nothing changed." in same
    first = words(write_validation_report(sample, passed, out=tmp_path / "c.html"))
    assert "Since the last validation" not in first


def test_the_page_stands_alone_and_links_to_the_data_docs(
    faulty: pl.DataFrame, failed: ValidationOutcome
) -> None:
    page = failed.site.parent.parent / "reports" / "validation.html"
    text = write_validation_report(faulty, failed, out=page).read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    assert "<script" not in text
    link = re.search(r'href="([^"]+index\.html)"', text)
    assert link is not None
    assert (page.parent / link[1]).resolve() == failed.site.resolve()


def test_what_came_from_outside_is_escaped(
    sample: pl.DataFrame, passed: ValidationOutcome, tmp_path: Path
) -> None:
    evil = "<img src=x onerror=alert(1)>"
    page = write_validation_report(
        sample,
        passed,
        out=tmp_path / "v.html",
        source=evil,
        data_set_id=evil,
        modelled={"columns": [evil], "how": evil},
    )
    assert "<img" not in page.read_text()


def test_the_same_outcome_gives_the_same_bytes(
    faulty: pl.DataFrame, failed: ValidationOutcome, tmp_path: Path
) -> None:
    one = write_validation_report(faulty, failed, out=tmp_path / "v.html").read_bytes()
    assert write_validation_report(faulty, failed, out=tmp_path / "v.html").read_bytes() == one
