"""One night's validation in a real ledger: findings as rows, who may only be reduced, a person's word, the next run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from sqlmodel import select

from flows.workspace import Workspace, open_workspace
from sql.findings import findings_of, newest_run, reduce_only
from sql.tables import Alert, ValidationRun

AS_OF = date(2022, 12, 27)
SPOILED = date(2021, 6, 1)


@pytest.fixture(scope="module")
def work(installation: Path) -> Iterator[Workspace]:
    with open_workspace() as opened:
        yield opened


@pytest.fixture(scope="module")
def run(work: Workspace, panel: pl.DataFrame) -> ValidationRun:
    """KO halved for a week, long ago."""
    from flows.intake import Delivery, take_in
    from flows.validate import check
    from market.sample import sample_instruments

    week = (pl.col("symbol") == "KO") & pl.col("date").is_between(SPOILED, date(2021, 6, 8))
    prices = panel.filter(pl.col("date") <= AS_OF).with_columns(
        pl.when(week).then(pl.col(name) / 2).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close", "adj_close")
    )
    take_in(work, Delivery(prices, sample_instruments(), "test", {}))
    return check.fn(work, AS_OF)


def test_a_symbol_in_quarantine_may_only_be_reduced(run: ValidationRun, work: Workspace) -> None:
    assert (run.verdict, run.checks["quarantined"]) == ("passed", ["KO"])
    with work.ledger.session() as session:
        assert newest_run(session).id == run.id
        assert list(reduce_only(session)) == ["KO"]
        worst = findings_of(session, run.id)[0]
    assert (worst.fault, worst.symbol, worst.first_session) == ("basis_flip", "KO", SPOILED)
    assert worst.evidence["step"] == pytest.approx(-0.69, abs=0.05)


def test_the_night_is_told_with_the_name_that_entered(run: ValidationRun, work: Workspace) -> None:
    with work.ledger.session() as session:
        alert = session.exec(select(Alert).where(Alert.kind == "validation")).one()
    assert (alert.severity, alert.title) == ("warning", f"Prices of {AS_OF}: passed")
    assert "In quarantine: KO." in alert.body
    assert str(run.report_path) in alert.body


def test_a_persons_word_frees_the_symbol_and_the_next_run_says_so(
    run: ValidationRun, work: Workspace
) -> None:
    from flows.judge import findings_table, say_overrule
    from flows.validate import check

    with work.ledger.session() as session:
        keys = [row.key for row in findings_of(session, run.id) if row.severity == "quarantine"]
    for key in keys:
        assert "is overruled by Ann" in say_overrule(key, "halved at the source, mended there", "Ann", False)
    _, said = findings_table(work, None, "quarantine", None, 10)
    assert "reduce-only: nobody" in said
    again = check.fn(work, AS_OF)
    assert again.id != run.id
    assert again.checks["quarantined"] == []
    page = Path(str(again.report_path)).read_text(encoding="utf-8")
    assert "Out of it: <b>KO</b>" in page
    assert "Ann: halved at the source" in page
    assert check.fn(work, AS_OF).id == again.id
