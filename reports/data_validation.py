"""Data validation: the Great Expectations suite, its Data Docs site, and the verdict that gates everything
after it.

The mathematics is done in Polars over the whole history (`market.quality.check_prices`). Great Expectations,
which cannot read Polars, gets two batches, converted at this edge only: the newest sessions of the symbols
that are not in quarantine (what would be traded on), and a summary of the whole history with one number a
check (its blocking findings). It is the contract and the record. The verdict is "passed" only when every
expectation of the suite was evaluated and met: one that raised is a failed check, never a passed one.

A person may overrule a finding; it then is a note that says so, and neither blocks nor quarantines.

Under `out`: `index.html` and the rest of the Data Docs site, which load nothing from the network, and
`validation.json`, the full result, kept as evidence.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from market.calendar import is_session, previous_session, session_offset, sessions
from market.findings import finding_key, worst_first
from market.quality import SEVERITIES, check_prices
from reports.data_docs import make_offline
from reports.page import render
from reports.price_suite import (
    NEWEST,
    SUITE_VERSION,
    SUMMARY,
    build_suite,
    count_of,
    in_words,
    newest_frame,
    raised_in,
    run_suites,
    summary_frame,
)

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

DATA_DOCS_INDEX = "index.html"
RESULT_FILE = "validation.json"


@dataclass(frozen=True)
class ValidationOutcome:
    """What a validation found and decided.

    `verdict` is "passed" or "failed". `expectations` counts the suite's, `failed` those not met, of which
    `raised` could not be evaluated at all. `failures` names each of them in words. `findings` are the rows
    of `market.quality.check_prices` as dicts, worst first, each with its `key` (to overrule it by) and
    `overruled` ("" or who and why); `counts` the number of them by severity. `quarantined` are the symbols to
    leave out of training and signals. `site` is the Data Docs start page,
    `result` the JSON evidence.
    """

    verdict: str
    expectations: int
    failed: int
    findings: list[dict[str, Any]]
    site: Path
    as_of: date
    newest_session: date
    raised: int
    failures: list[str]
    counts: dict[str, int]
    quarantined: tuple[str, ...]
    result: Path
    suite_version: str = SUITE_VERSION

    @property
    def passed(self) -> bool:
        """Whether what follows (training, proposing, trading) may go on."""
        return self.verdict == "passed"


def validate(
    prices: pl.DataFrame,
    *,
    as_of: date,
    out: Path,
    newest_sessions: int = 5,
    source: str = "",
    modelled: dict[str, Any] | None = None,
    overruled: Mapping[str, str] | None = None,
) -> ValidationOutcome:
    """Judge a canonical daily frame as of a date, and write the Data Docs site and the JSON result under
    `out`.

    `as_of` is the last date that may be known; `newest_sessions` is how many sessions up to it count as new.
    `source` and `modelled` (as in `market.history.StoredPrices`) are shown and recorded; `overruled` are the
    findings a person overruled, key -> who and why. What was under `out` before is replaced, whole. Raises market.errors.MarketError when there is nothing up to `as_of`.
    """
    findings = _with_overrules(
        check_prices(prices, as_of=as_of, newest_sessions=newest_sessions), overruled or {}
    )
    left_out = _quarantined(findings)
    newest_due = as_of if is_session(as_of) else previous_session(as_of)
    window = sessions(session_offset(newest_due, 1 - newest_sessions), newest_due)
    usable = ~pl.col("symbol").is_in(left_out)
    newest = prices.filter(pl.col("date").is_between(window[0], newest_due) & usable)
    before = prices.filter(
        pl.col("date").is_between(session_offset(window[0], -20), window[0], closed="left") & usable
    )
    share = len(left_out) / prices["symbol"].n_unique()
    suites = build_suite(sessions_due=window, symbols_before=before["symbol"].n_unique())

    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        results = run_suites(
            suites, {NEWEST: newest_frame(newest), SUMMARY: summary_frame(findings, share)}, staging
        )
        outcome = _outcome(results, findings, as_of=as_of, newest_session=newest_due, out=out)
        _write_evidence(staging / RESULT_FILE, outcome, results, source)
        _write_index(staging, make_offline(staging), outcome, results, source, modelled)
        _swap(staging, out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return outcome


def _with_overrules(findings: pl.DataFrame, overruled: Mapping[str, str]) -> pl.DataFrame:
    """The findings with `key` and `overruled`; what a person overruled is a note from here on."""
    keys = [finding_key(row) for row in findings.iter_rows(named=True)]
    said = [overruled.get(key, "") for key in keys]
    table = findings.with_columns(
        pl.Series("key", keys, dtype=pl.String), pl.Series("overruled", said, dtype=pl.String)
    )
    return worst_first(
        table.with_columns(
            pl.when(pl.col("overruled") != "").then(pl.lit("note")).otherwise("severity").alias("severity")
        )
    )


def _quarantined(findings: pl.DataFrame) -> list[str]:
    hurt = findings.filter((pl.col("severity") != "note") & pl.col("symbol").is_not_null())
    return sorted(hurt["symbol"].unique())


def _outcome(
    results: dict[str, ExpectationSuiteValidationResult],
    findings: pl.DataFrame,
    *,
    as_of: date,
    newest_session: date,
    out: Path,
) -> ValidationOutcome:
    judged = [(result, raised_in(result)) for suite in results.values() for result in suite.results]
    failures = [
        in_words(result, raised) for result, raised in judged if raised is not None or not result.success
    ]
    counts = {severity: findings.filter(pl.col("severity") == severity).height for severity in SEVERITIES}
    # Belt and braces: a blocking finding fails the run even if no expectation were looking at its check.
    clean = not failures and bool(judged) and not counts["block"]
    return ValidationOutcome(
        verdict="passed" if clean else "failed",
        expectations=len(judged),
        failed=len(failures),
        findings=findings.to_dicts(),
        site=out / DATA_DOCS_INDEX,
        as_of=as_of,
        newest_session=newest_session,
        raised=sum(raised is not None for _, raised in judged),
        failures=failures,
        counts=counts,
        quarantined=tuple(_quarantined(findings)),
        result=out / RESULT_FILE,
    )


def _write_evidence(
    path: Path, outcome: ValidationOutcome, results: dict[str, ExpectationSuiteValidationResult], source: str
) -> None:
    body = {
        "verdict": outcome.verdict,
        "suite_version": outcome.suite_version,
        "source": source,
        "as_of": outcome.as_of.isoformat(),
        "newest_session": outcome.newest_session.isoformat(),
        "expectations": outcome.expectations,
        "failed": outcome.failed,
        "raised": outcome.raised,
        "failures": outcome.failures,
        "counts": outcome.counts,
        "quarantined": list(outcome.quarantined),
        "findings": outcome.findings,
        # The library leaves this method untyped.
        "great_expectations": {n: r.to_json_dict() for n, r in results.items()},  # type: ignore[no-untyped-call]
    }
    path.write_text(json.dumps(body, indent=1, default=str))


_BATCHES = {
    NEWEST: "Prices of the newest sessions",
    SUMMARY: "Blocking findings of the whole history",
}
_SHOWN_FINDINGS = 200


def _write_index(
    site: Path,
    pages: list[Path],
    outcome: ValidationOutcome,
    results: dict[str, ExpectationSuiteValidationResult],
    source: str,
    modelled: dict[str, Any] | None,
) -> None:
    """The start page; the generated one is a script's work and needs a network."""
    batches = []
    for name, suite in results.items():
        page = next(p for p in pages if "validations" in p.parts and any(name in part for part in p.parts))
        met = sum(bool(r.success) and raised_in(r) is None for r in suite.results)
        batches.append(
            {
                "title": _BATCHES[name],
                "page": quote(page.relative_to(site).as_posix()),
                "expectations": len(suite.results),
                "met": met,
                "suite": suite.suite_name,
                "suite_page": f"expectations/{suite.suite_name}.html",
            }
        )
    headline, points = headline_of(outcome)
    render(
        "data_docs.html",
        site / DATA_DOCS_INDEX,
        outcome=outcome,
        headline=headline,
        points=points,
        source=source,
        modelled=modelled or {},
        batches=batches,
        shown=outcome.findings[:_SHOWN_FINDINGS],
    )


def headline_of(outcome: ValidationOutcome) -> tuple[str, list[tuple[str, str]]]:
    """The verdict in one sentence, and its points as (tone, text), for the top of a page."""
    names = len(outcome.quarantined)
    counts = outcome.counts
    if outcome.passed:
        headline = f"Passed: the data may be used up to {outcome.newest_session}."
    else:
        headline = (
            f"Failed: nothing may be trained on, proposed from or traded on this data as of {outcome.as_of}."
        )
    met = outcome.expectations - outcome.failed
    points = [
        ("good" if not outcome.failed else "bad", f"{met} of {outcome.expectations} expectations met"),
        ("good" if not counts["block"] else "bad", count_of(counts["block"], "blocking finding")),
        ("good" if not names else "warn", f"{count_of(names, 'symbol')} in quarantine"),
        ("plain", count_of(counts["note"], "note")),
    ]
    if outcome.raised:
        points.insert(1, ("bad", f"{count_of(outcome.raised, 'expectation')} could not be evaluated"))
    return headline, points


def _swap(staging: Path, out: Path) -> None:
    """Put the finished site where the old one was; a reader never finds half of one."""
    staging.chmod(0o755)  # mkdtemp makes it private
    if out.exists():
        retired = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-old-"))
        out.rename(retired / "site")
        staging.rename(out)
        shutil.rmtree(retired, ignore_errors=True)
    else:
        staging.rename(out)
