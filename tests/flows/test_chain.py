"""The chain on a real Prefect server and a real ledger: prices to a batch that waits for approval."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlmodel import Session, func, select

from flows.errors import LinkMissing, ValidationBlocked, WindowRefused
from flows.run import call
from flows.server import PrefectServer
from flows.workspace import Workspace, open_workspace
from market.calendar import session_close, session_open
from sql import audit
from sql.tables import Alert, AuditLog, DataSet, Instrument, ModelVersion, Signal, SignalBatch, ValidationRun

AS_OF, SESSION = date(2022, 12, 27), date(2022, 12, 28)
EVENING = datetime(2022, 12, 27, 23, 15, tzinfo=UTC)


def runs_on(server: PrefectServer, *names: str) -> dict[str, list[Any]]:
    """Flow runs the server holds, newest first, by flow name."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        found: dict[str, list[Any]] = {name: [] for name in names}
        for run in client.read_flow_runs():
            found.setdefault(flows[run.flow_id], []).append(run)
    for runs in found.values():
        runs.sort(key=lambda run: run.expected_start_time, reverse=True)
    return found


def count(work: Workspace, table: Any) -> int:
    with work.ledger.session() as session:
        return session.exec(select(func.count()).select_from(table)).one()


@pytest.fixture(scope="module")
def work(installation: Path) -> Any:
    with open_workspace() as opened:
        yield opened


@pytest.fixture(scope="module")
def prices_file(panel: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prices") / "prices.parquet"
    panel.write_parquet(path)
    return path


@pytest.fixture(scope="module")
def links(
    prefect_server: PrefectServer, work: Workspace, prices_file: Path, sectors_file: Path
) -> dict[str, Any]:
    """One nightly chain, run whole."""
    parameters = {"prices": str(prices_file), "sectors": str(sectors_file)}
    return dict(call("nightly", as_of=AS_OF, clock=EVENING, parameters=parameters))


@pytest.fixture
def session(links: dict[str, Any], work: Workspace) -> Any:
    with work.ledger.session() as opened:
        yield opened


def test_the_chain_ends_in_a_batch_that_waits_for_approval(session: Session, links: dict[str, Any]):
    batch = session.get_one(SignalBatch, uuid.UUID(links["batch"]))
    assert batch.state == "PROPOSED"
    assert (batch.as_of, batch.session, batch.environment) == (AS_OF, SESSION, "replay")
    assert (batch.valid_from, batch.valid_until) == (session_open(SESSION), session_close(SESSION))
    signals = session.exec(select(Signal).where(Signal.batch_id == batch.id)).all()
    assert len(signals) == batch.signals == 4
    assert (
        sum((signal.target_weight for signal in signals), Decimal(0)) == batch.gross_weight <= Decimal("0.95")
    )
    assert all(signal.score is not None and len(signal.contributions) == 3 for signal in signals)
    assert all(set(signal.contributions) <= set(signal.features) for signal in signals), "and what it saw"


def test_every_link_carries_the_one_before_it(session: Session, links: dict[str, Any]):
    batch = session.get_one(SignalBatch, uuid.UUID(links["batch"]))
    model = session.get_one(ModelVersion, batch.model_version_id)
    validation = session.get_one(ValidationRun, batch.validation_run_id)
    assert batch.data_set_id == model.data_set_id == validation.data_set_id == links["data_set"]
    assert model.validation_run_id == validation.id
    assert validation.verdict == "passed"
    assert model.metrics["sessions"] > 0
    kinds = list(session.exec(select(AuditLog.kind).order_by(AuditLog.seq)))
    chain = ["DATA_SET", "VALIDATION", "MODEL", "WALK_FORWARD", "RISK_SNAPSHOT", "PROPOSAL"]
    assert [kind for kind in kinds if kind in chain] == chain
    assert audit.verify(session).ok


def test_a_replay_takes_no_row_after_its_as_of_date(
    session: Session, links: dict[str, Any], panel: pl.DataFrame
):
    assert panel["date"].max() == SESSION
    stored = session.get_one(DataSet, links["data_set"])
    assert stored.last_session == AS_OF
    assert pl.read_parquet(stored.path)["date"].max() == AS_OF


def test_instruments_carry_their_sectors(session: Session):
    sectors = {row.symbol: row.sector for row in session.exec(select(Instrument))}
    assert sectors["XOM"] == "Energy"
    assert len(sectors) == 8


def test_the_server_shows_every_flow_of_the_chain_completed(
    links: dict[str, Any], prefect_server: PrefectServer
):
    chain = ("nightly", "ingest", "validate", "retrain", "walk_forward", "propose", "nightly_report")
    found = runs_on(prefect_server, *chain)
    for name in chain:
        assert any(run.state.is_completed() for run in found[name]), name


def test_the_pages_are_written(links: dict[str, Any], installation: Path):
    assert "<html" in Path(links["reports"]["tear sheet"]).read_text(encoding="utf-8").lower()
    assert list(installation.glob("reports/validation/2022-12-27.html"))


def test_the_same_inputs_again_change_nothing(
    links: dict[str, Any], work: Workspace, prices_file: Path, sectors_file: Path
):
    tables = (DataSet, ValidationRun, ModelVersion, SignalBatch, Signal, AuditLog, Alert)
    before = {table.__tablename__: count(work, table) for table in tables}
    parameters = {"prices": str(prices_file), "sectors": str(sectors_file)}
    again = call("nightly", as_of=AS_OF, clock=EVENING, parameters=parameters)
    assert {table.__tablename__: count(work, table) for table in tables} == before
    assert again == links


def test_a_forced_retrain_gives_the_same_model(links: dict[str, Any], work: Workspace):
    assert call("retrain", as_of=AS_OF, clock=EVENING) == links["model"]
    assert count(work, ModelVersion) == 1


@pytest.mark.parametrize(
    ("flow", "clock", "says"),
    [
        ("ingest", datetime(2022, 12, 28, 15, 0, tzinfo=UTC), "too late"),
        ("propose", datetime(2022, 12, 27, 20, 59, tzinfo=UTC), "too early"),
    ],
)
def test_a_flow_outside_its_window_fails_visibly_and_does_nothing(
    links: dict[str, Any],
    work: Workspace,
    prefect_server: PrefectServer,
    flow: str,
    clock: datetime,
    says: str,
):
    entries = count(work, AuditLog)
    with pytest.raises(WindowRefused, match=says):
        call(flow, as_of=AS_OF, clock=clock)
    assert count(work, AuditLog) == entries
    run = runs_on(prefect_server, flow)[flow][0]
    assert run.state.is_failed()
    assert f"{flow} refuses as-of {AS_OF}: {says}" in run.state.message


def test_a_paper_ledger_takes_no_clock(
    monkeypatch: pytest.MonkeyPatch, prefect_server: PrefectServer, tmp_path: Path
):
    from sql.server import stop_embedded

    monkeypatch.setenv("SALLYPORT_ENVIRONMENT", "paper")
    monkeypatch.setenv("SALLYPORT_STATE_DIR", str(tmp_path / "paper"))
    try:
        with pytest.raises(WindowRefused, match="only for replay environments"):
            call("ingest", as_of=AS_OF, clock=EVENING)
    finally:
        stop_embedded(tmp_path / "paper")


class TestFailedValidation:
    """Runs last in its module: the newest data set of the evening is then a bad one."""

    @pytest.fixture(scope="class")
    def blocked(
        self,
        links: dict[str, Any],
        work: Workspace,
        panel: pl.DataFrame,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> tuple[dict[str, int], ValidationBlocked]:
        """The chain on prices whose newest session is missing for most names."""
        known = panel.filter(pl.col("date") <= AS_OF)
        partial = known.filter((pl.col("date") < AS_OF) | pl.col("symbol").is_in(["AAPL", "XOM"]))
        path = tmp_path_factory.mktemp("bad") / "partial.parquet"
        partial.write_parquet(path)
        before = {table.__tablename__: count(work, table) for table in (ModelVersion, SignalBatch)}
        with pytest.raises(ValidationBlocked) as raised:
            call("nightly", as_of=AS_OF, clock=EVENING, parameters={"prices": str(path)})
        return before, raised.value

    def test_it_blocks_everything_after_it(
        self,
        blocked: tuple[dict[str, int], ValidationBlocked],
        work: Workspace,
        prefect_server: PrefectServer,
    ):
        before, error = blocked
        assert "failed validation for 2022-12-27" in str(error)
        assert {table.__tablename__: count(work, table) for table in (ModelVersion, SignalBatch)} == before
        found = runs_on(prefect_server, "nightly")
        parent, failed = found["nightly"][0], found["validate"][0]
        assert parent.state.is_failed()
        assert failed.state.is_failed()
        for later in ("retrain", "walk_forward", "propose", "nightly_report"):
            assert all(run.expected_start_time < failed.expected_start_time for run in found[later]), later

    def test_it_raises_an_alert(self, blocked: tuple[dict[str, int], ValidationBlocked], work: Workspace):
        with work.ledger.session() as session:
            alerts = session.exec(select(Alert).where(Alert.kind == "validation_failed")).all()
            run = session.exec(select(ValidationRun).where(ValidationRun.verdict == "failed")).one()
        assert [alert.ref for alert in alerts] == [str(run.id)]
        assert alerts[0].severity == "critical"

    def test_a_flow_started_by_hand_cannot_step_over_it(
        self, blocked: tuple[dict[str, int], ValidationBlocked], work: Workspace
    ):
        for flow in ("retrain", "propose"):
            with pytest.raises(LinkMissing, match="failed validation for 2022-12-27"):
                call(flow, as_of=AS_OF, clock=EVENING)
