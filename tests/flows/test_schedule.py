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


def test_prefect_deploys_the_whole_file_with_its_schedules(prefect_server: PrefectServer, tmp_path: Path):
    deploy(prefect_server, PREFECT_FILE, log=tmp_path / "deploy.log")
    request = urllib.request.Request(
        f"{prefect_server.api_url}/deployments/filter",
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
