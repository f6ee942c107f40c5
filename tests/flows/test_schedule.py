"""prefect.yaml: every entry point exists, every time is New York's, and Prefect takes the file."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import urllib.request
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from flows.run import FLOWS
from flows.schedule import deployments
from flows.server import POOL, PrefectServer, deploy
from flows.window import require_window

ROOT = Path(__file__).parents[2]
PREFECT_FILE = ROOT / "prefect.yaml"
DEPLOYMENTS = deployments(PREFECT_FILE)
SCHEDULED = [
    (deployment["name"], schedule)
    for deployment in DEPLOYMENTS
    for schedule in deployment.get("schedules", [])
]


@pytest.fixture
def flows_of_the_file(prefect_server: PrefectServer) -> dict[str, object]:
    """Flow objects by deployment name; Prefect is imported only once the server is chosen."""
    found = {}
    for deployment in DEPLOYMENTS:
        path, _, name = deployment["entrypoint"].partition(":")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        found[deployment["name"]] = getattr(module, name)
    return found


def test_every_flow_is_deployed_and_every_deployment_is_a_flow_that_can_be_run(
    flows_of_the_file: dict[str, object],
):
    from prefect import Flow

    assert set(flows_of_the_file) == set(FLOWS)
    for deployment in DEPLOYMENTS:
        flow = flows_of_the_file[deployment["name"]]
        assert isinstance(flow, Flow)
        assert deployment["work_pool"]["name"] == POOL
        flow.validate_parameters(deployment.get("parameters") or {})


def test_the_chain_the_record_and_the_reviews_are_scheduled():
    assert {name for name, _ in SCHEDULED} == {"nightly", "compliance", "weekly", "quarterly"}


@pytest.mark.parametrize(("name", "schedule"), SCHEDULED)
@pytest.mark.parametrize("start", ["2026-01-01", "2026-03-01", "2026-10-25", "2026-12-20"])
async def test_every_schedule_is_new_yorks_and_starts_inside_the_flows_window(
    prefect_server: PrefectServer, name: str, schedule: dict[str, str], start: str
):
    """A year's edges, both clock changes and the holidays: no scheduled run is refused when on time."""
    from prefect.server.schemas.schedules import CronSchedule

    assert schedule["timezone"] == "America/New_York"
    first = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(schedule["timezone"]))
    cron = CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
    moments = await cron.get_dates(15, start=first, end=first + timedelta(days=300))
    assert moments
    for moment in moments:
        window = require_window(
            name,
            None,
            clock=moment,
            scheduled=moment,
            until="next close" if name == "compliance" else "next open",
        )
        assert window.opens <= moment < window.closes


@pytest.fixture(scope="module")
def deployed(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> PrefectServer:
    """The server with every deployment of the file, put there by Prefect's own command."""
    deploy(prefect_server, PREFECT_FILE, log=tmp_path_factory.mktemp("deploy") / "deploy.log")
    return prefect_server


def test_prefect_deploys_the_whole_file_with_its_schedules(deployed: PrefectServer):
    request = urllib.request.Request(
        f"{deployed.api_url}/deployments/filter",
        data=b"{}",
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        stored = {deployment["name"]: deployment for deployment in json.load(reply)}
    assert set(stored) == set(FLOWS)
    for name, schedule in SCHEDULED:
        kept = stored[name]["schedules"][0]
        assert kept["active"]
        assert (kept["schedule"]["cron"], kept["schedule"]["timezone"]) == (
            schedule["cron"],
            "America/New_York",
        )
        assert stored[name]["work_pool_name"] == POOL


def test_a_run_that_the_scheduler_starts_weeks_late_fails_visibly_and_writes_nothing(
    deployed: PrefectServer, tmp_path: Path
):
    """lessons.md item 40, with a real late run: whatever day it is when this test runs, that window is over."""
    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled
    from sqlmodel import func, select

    from executor.settings import load_settings
    from flows.workspace import open_workspace
    from sql.server import stop_embedded
    from sql.tables import AuditLog, DataSet

    paper = {"SALLYPORT_STATE_DIR": str(tmp_path / "state"), "SALLYPORT_ENVIRONMENT": "paper"}
    when = datetime(2026, 10, 28, 18, 15, tzinfo=ZoneInfo("America/New_York"))
    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name("nightly/nightly")
        late = client.create_flow_run_from_deployment(nightly.id, state=Scheduled(scheduled_time=when))
        subprocess.run(
            [sys.executable, "-m", "prefect", "flow-run", "execute", str(late.id)],
            cwd=ROOT,
            env=deployed.environment() | paper,
            capture_output=True,
            check=False,
        )
        state = client.read_flow_run(late.id).state
    try:
        assert state is not None
        assert state.is_failed()
        assert "nightly refuses as-of 2026-10-28: too late" in str(state.message)
        settings = load_settings(state_dir=tmp_path / "state", environment="paper")
        with open_workspace(settings) as work, work.ledger.session() as session:
            assert session.exec(select(func.count()).select_from(DataSet)).one() == 0
            kinds = set(session.exec(select(AuditLog.kind)))
        assert not kinds & {"DATA_SET", "VALIDATION", "MODEL", "PROPOSAL"}
    finally:
        stop_embedded(tmp_path / "state")


def test_the_command_shows_the_schedule():
    shown = subprocess.run(
        [sys.executable, "-m", "flows.cli", "flows", "list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "nightly" in shown
    assert "15 18 * * 1-5" in shown
