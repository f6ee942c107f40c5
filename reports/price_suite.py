"""The Great Expectations suite of daily prices: what is expected, how it is run, and a failure in words.

Two batches: the newest sessions of the symbols that are not in quarantine, row by row, and a summary of the
whole history with one number a check.
"""

from __future__ import annotations

import logging
import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from market.ingest import PRICE_COLUMNS, SCHEMA
from market.quality import CHECKS

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult

SUITE_VERSION = "2"
"""Raised whenever an expectation is added, dropped or loosened; stored with every outcome."""

NEWEST = "prices_newest_sessions"
SUMMARY = "blocking_findings_whole_history"
_EXPECTED_SHARE = 0.9  # of the symbols of the sessions before, on the newest sessions
_QUARANTINE_SHARE = 0.25  # of all symbols: past that the delivery is bad, whatever is wrong with each
_OHLC_TOLERANCE = 0.005


def build_suite(*, sessions_due: list[date], symbols_before: int) -> dict[str, ExpectationSuite]:
    """The expectations, version `SUITE_VERSION`, by batch: the newest rows, and the summary of all findings.

    `sessions_due` are the newest sessions in order; `symbols_before` how many symbols traded in the twenty
    sessions before them (0: unknown, then at least one is expected).
    """
    gx = great_expectations_quietly()
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
        NEWEST: gx.ExpectationSuite(name=f"{NEWEST}_v{SUITE_VERSION}", expectations=newest, meta=meta),
        SUMMARY: gx.ExpectationSuite(name=f"{SUMMARY}_v{SUITE_VERSION}", expectations=summary, meta=meta),
    }


def great_expectations_quietly() -> Any:
    # Before the import, which reads it: no analytics leave the machine.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations


def newest_frame(newest: pl.DataFrame) -> Any:
    """Arrow-backed pandas; dates as ISO text, which Great Expectations compares and shows without
    surprises."""
    return newest.with_columns(pl.col("date").cast(pl.String)).to_pandas(use_pyarrow_extension_array=True)


def summary_frame(findings: pl.DataFrame, quarantined_share: float) -> Any:
    """One row; one column a check with the number of its blocking findings, and the share in quarantine."""
    blocking = findings.filter(pl.col("severity") == "block")["check"].value_counts()
    counts = dict(zip(blocking["check"], blocking["count"], strict=True))
    summary = pl.DataFrame(
        {**{check: [int(counts.get(check, 0))] for check in CHECKS}, "quarantined_share": [quarantined_share]}
    )
    return summary.to_pandas(use_pyarrow_extension_array=True)


def run_suites(
    suites: dict[str, ExpectationSuite], frames: dict[str, Any], site: Path
) -> dict[str, ExpectationSuiteValidationResult]:
    """Run each suite over its frame in an in-memory context and write the Data Docs to `site`."""
    gx = great_expectations_quietly()
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


def raised_in(result: ExpectationValidationResult) -> str | None:
    """The message of an exception inside an expectation; it comes flat, or one a metric."""
    info = result.exception_info or {}
    for entry in [info, *(value for value in info.values() if isinstance(value, dict))]:
        if entry.get("raised_exception"):
            return str(entry.get("exception_message") or "no message").splitlines()[0]
    return None


def in_words(result: ExpectationValidationResult, raised: str | None) -> str:
    config = result.expectation_config
    claim = (config and config.description) or (config and config.type) or "an expectation"
    if raised is not None:
        return f"Could not be checked: {claim} ({raised})"
    observed = result.result.get("observed_value")
    if config and config.kwargs.get("column") == "quarantined_share" and observed is not None:
        return f"{claim} ({observed:.0%} are)"
    if config and config.type == "expect_column_max_to_be_between" and observed is not None:
        return f"{claim} ({count_of(int(observed), 'blocking finding')})"
    count = result.result.get("unexpected_count")
    missing = result.result.get("missing_count")
    if missing:
        return f"{claim} ({missing} of the expected values are missing)"
    seen = f"{count} rows do not" if count else f"found {observed}" if observed is not None else "not met"
    return f"{claim} ({seen})"


def count_of(number: int, noun: str) -> str:
    """`3 notes`, `1 note`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
