"""The schedule as prefect.yaml says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from rich.table import Table

from flows.errors import FlowError


def deployments(prefect_file: Path) -> list[dict[str, Any]]:
    """The deployments of a prefect.yaml; raises FlowError if it cannot be read."""
    try:
        body = yaml.safe_load(prefect_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FlowError(f"no {prefect_file.name} in {Path.cwd()}; run this in the project's folder") from None
    except yaml.YAMLError as error:
        raise FlowError(f"{prefect_file} is not valid YAML: {error}") from None
    return list(body["deployments"])


def table(prefect_file: Path) -> Table:
    """Flow, schedule and what it does, for the terminal."""
    shown = Table("flow", "schedule (New York)", "what", box=None, header_style="bold")
    for deployment in deployments(prefect_file):
        crons = [schedule["cron"] for schedule in deployment.get("schedules", [])]
        shown.add_row(deployment["name"], ", ".join(crons) or "by hand", deployment.get("description", ""))
    return shown
