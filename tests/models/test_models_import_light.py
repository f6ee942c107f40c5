"""What the executor's core imports from models pulls in numpy and nothing heavier."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "pandas",
    "polars",
    "lightgbm",
    "scipy",
    "sklearn",
    "skfolio",
    "arch",
    "pyarrow",
    "cvxpy",
    "market",
    "sql",
)


@pytest.mark.parametrize(
    "module",
    [
        "models.cost.estimate",
        "models.cost.fees",
        "models.cost.impact",
        "models.cost.spread",
        "models.risk.value_at_risk",
        "models.risk.snapshot",
        "models.errors",
    ],
)
def test_a_module_of_the_core_imports_nothing_heavier_than_numpy(module: str) -> None:
    program = f"import sys, {module}; print(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
