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
import logging
import os
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
from market.ingest import PRICE_COLUMNS, SCHEMA
from market.quality import CHECKS, SEVERITIES, check_prices
from reports.data_docs import make_offline
from reports.page import render

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

SUITE_VERSION = "2"
"""Raised whenever an expectation is added, dropped or loosened; stored with every outcome."""

DATA_DOCS_INDEX = "index.html"
RESULT_FILE = "validation.json"
_NEWEST = "prices_newest_sessions"
_SUMMARY = "blocking_findings_whole_history"
_EXPECTED_SHARE = 0.9  # of the symbols of the sessions before, on the newest sessions
_QUARANTINE_SHARE = 0.25  # of all symbols: past that the delivery is bad, whatever is wrong with each
_OHLC_TOLERANCE = 0.005


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
        results = _run(
            suites, {_NEWEST: _newest_frame(newest), _SUMMARY: _summary_frame(findings, share)}, staging
        )
        outcome = _outcome(results, findings, as_of=as_of, newest_session=newest_due, out=out)
        _write_evidence(staging / RESULT_FILE, outcome, results, source)
        _write_index(staging, make_offline(staging), outcome, results, source, modelled)
        _swap(staging, out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return outcome


def build_suite(*, sessions_due: list[date], symbols_before: int) -> dict[str, ExpectationSuite]:
    """The expectations, version `SUITE_VERSION`, by batch: the newest rows, and the summary of all findings.

    `sessions_due` are the newest sessions in order; `symbols_before` how many symbols traded in the twenty
    sessions before them (0: unknown, then at least one is expected).
    """
    gx = _great_expectations()
    gxe = gx.expectations
    from reports.expectations import ExpectBarsToAgree, ExpectDatesToBeSessions

    positive = (*PRICE_COLUMNS, "adj_close", "split")
    newest: list[Any] = [
        gxe.ExpectTableColumnsToMatchOrderedList(
            column_list=list(SCHEMA), description="The columns are the canonical ones, in order."
        ),
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=["symbol", "date"], description="There is one row a symbol and session."
        ),
        gxe.ExpectColumnDistinctValuesToEqualSet(
            column="date",
            value_set=[day.isoformat() for day in sessions_due],
            description="The rows are of exactly the newest sessions of the exchange.",
        ),
        gxe.ExpectColumnUniqueValueCountToBeBetween(
            column="symbol",
            min_value=max(1, int(_EXPECTED_SHARE * symbols_before)),
            description=f"At least nine tenths of the {symbols_before} symbols before are delivered.",
        ),
        *(
            gxe.ExpectColumnValuesToNotBeNull(column=name, description=f"Every row has its {name}.")
            for name in SCHEMA
        ),
        *(
            gxe.ExpectColumnValuesToBeBetween(
                column=name, min_value=0, strict_min=True, description=f"Every {name} is above zero."
            )
            for name in positive
        ),
        *(
            gxe.ExpectColumnValuesToBeBetween(column=name, min_value=0, description=f"No {name} is negative.")
            for name in ("volume", "dividend")
        ),
        ExpectBarsToAgree(
            column_list=list(PRICE_COLUMNS), tolerance=_OHLC_TOLERANCE,
            description="Every open and close lies between low and high, up to half a per cent.",
        ),
        ExpectDatesToBeSessions(column="date", description="Every row lies on a session of the exchange."),
    ]  # fmt: skip
    summary = [
        gxe.ExpectColumnMaxToBeBetween(
            column=check, min_value=0, max_value=0, description=f"Whole history: {claim}."
        )
        for check, claim in CHECKS.items()
    ]
    summary.append(
        gxe.ExpectColumnMaxToBeBetween(
            column="quarantined_share", min_value=0, max_value=_QUARANTINE_SHARE,
            description="Whole history: at most a quarter of the symbols are in quarantine.",
        )
    )  # fmt: skip
    meta = {"suite_version": SUITE_VERSION}
    return {
        _NEWEST: gx.ExpectationSuite(name=f"{_NEWEST}_v{SUITE_VERSION}", expectations=newest, meta=meta),
        _SUMMARY: gx.ExpectationSuite(name=f"{_SUMMARY}_v{SUITE_VERSION}", expectations=summary, meta=meta),
    }


def _great_expectations() -> Any:
    # Before the import, which reads it: no analytics leave the machine.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations


def _newest_frame(newest: pl.DataFrame) -> Any:
    """Arrow-backed pandas; dates as ISO text, which Great Expectations compares and shows without
    surprises."""
    return newest.with_columns(pl.col("date").cast(pl.String)).to_pandas(use_pyarrow_extension_array=True)


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


def _summary_frame(findings: pl.DataFrame, quarantined_share: float) -> Any:
    """One row; one column a check with the number of its blocking findings, and the share in quarantine."""
    blocking = findings.filter(pl.col("severity") == "block")["check"].value_counts()
    counts = dict(zip(blocking["check"], blocking["count"], strict=True))
    summary = pl.DataFrame(
        {**{check: [int(counts.get(check, 0))] for check in CHECKS}, "quarantined_share": [quarantined_share]}
    )
    return summary.to_pandas(use_pyarrow_extension_array=True)


def _run(
    suites: dict[str, ExpectationSuite], frames: dict[str, Any], site: Path
) -> dict[str, ExpectationSuiteValidationResult]:
    """Run each suite over its frame in an in-memory context and write the Data Docs to `site`."""
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("sallyport")
    for name in list(context.list_data_docs_sites()):
        context.delete_data_docs_site(name)  # the default one lies in a temporary folder
    context.add_data_docs_site(
        site_name="data_validation",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(site.resolve()),
            },
        },
    )
    results: dict[str, ExpectationSuiteValidationResult] = {}
    for name, suite in suites.items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=batch, suite=context.suites.add(suite))
        )
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(name=name, validation_definitions=[definition], result_format="SUMMARY")
        )
        run = checkpoint.run(batch_parameters={"dataframe": frames[name]})
        results[name] = next(iter(run.run_results.values()))
    context.build_data_docs(site_names=["data_validation"])
    return results


def _raised(result: ExpectationValidationResult) -> str | None:
    """The message of an exception inside an expectation; it comes flat, or one a metric."""
    info = result.exception_info or {}
    for entry in [info, *(value for value in info.values() if isinstance(value, dict))]:
        if entry.get("raised_exception"):
            return str(entry.get("exception_message") or "no message").splitlines()[0]
    return None


def _in_words(result: ExpectationValidationResult, raised: str | None) -> str:
    config = result.expectation_config
    claim = (config and config.description) or (config and config.type) or "an expectation"
    if raised is not None:
        return f"Could not be checked: {claim} ({raised})"
    observed = result.result.get("observed_value")
    if config and config.kwargs.get("column") == "quarantined_share" and observed is not None:
        return f"{claim} ({observed:.0%} are)"
    if config and config.type == "expect_column_max_to_be_between" and observed is not None:
        return f"{claim} ({_count(int(observed), 'blocking finding')})"
    count = result.result.get("unexpected_count")
    missing = result.result.get("missing_count")
    if missing:
        return f"{claim} ({missing} of the expected values are missing)"
    seen = f"{count} rows do not" if count else f"found {observed}" if observed is not None else "not met"
    return f"{claim} ({seen})"


def _outcome(
    results: dict[str, ExpectationSuiteValidationResult],
    findings: pl.DataFrame,
    *,
    as_of: date,
    newest_session: date,
    out: Path,
) -> ValidationOutcome:
    judged = [(result, _raised(result)) for suite in results.values() for result in suite.results]
    failures = [
        _in_words(result, raised) for result, raised in judged if raised is not None or not result.success
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
    _NEWEST: "Prices of the newest sessions",
    _SUMMARY: "Blocking findings of the whole history",
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
        met = sum(bool(r.success) and _raised(r) is None for r in suite.results)
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
        ("good" if not counts["block"] else "bad", _count(counts["block"], "blocking finding")),
        ("good" if not names else "warn", f"{_count(names, 'symbol')} in quarantine"),
        ("plain", _count(counts["note"], "note")),
    ]
    if outcome.raised:
        points.insert(1, ("bad", f"{_count(outcome.raised, 'expectation')} could not be evaluated"))
    return headline, points


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
