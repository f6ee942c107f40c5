"""Expectations of our own, in Great Expectations' terms: bars that agree with themselves, dates that are
sessions.

Importing this loads Great Expectations (about three seconds); `reports.data_validation` does so when it runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from typing import Any

# Before the import, which reads it: no analytics leave the machine.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation, MulticolumnMapExpectation
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    MulticolumnMapMetricProvider,
    column_condition_partial,
    multicolumn_condition_partial,
)

from market.calendar import is_session

BARS = ("open", "high", "low", "close")


class BarsAgree(MulticolumnMapMetricProvider):
    """Of each row: low <= open, close <= high, up to a tolerance of the price."""

    condition_metric_name = "multicolumn_values.sallyport_bars_agree"
    condition_value_keys = ("tolerance",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[misc]
    def _pandas(cls, column_list: Any, tolerance: float = 0.0, **_: Any) -> Any:
        opened, high, low, close = (column_list[name].astype("float64") for name in BARS)
        slack = tolerance * close
        above = (high + slack >= opened) & (high + slack >= close)
        return above & (low - slack <= opened) & (low - slack <= close) & (high >= low)


class ExpectBarsToAgree(MulticolumnMapExpectation):
    """The four prices of each bar agree: low <= open, close <= high, up to `tolerance` of the close."""

    map_metric = "multicolumn_values.sallyport_bars_agree"
    success_keys = ("column_list", "tolerance", "mostly")
    args_keys = ("column_list", "tolerance")
    column_list: Sequence[str] = BARS  # type: ignore[assignment]
    tolerance: float = 0.0


class IsSession(ColumnMapMetricProvider):
    """Of each value: it is the ISO date of a session of the New York Stock Exchange."""

    condition_metric_name = "column_values.sallyport_is_session"

    @column_condition_partial(engine=PandasExecutionEngine)  # type: ignore[misc]
    def _pandas(cls, column: Any, **_: Any) -> Any:
        known = {text: is_session(date.fromisoformat(str(text))) for text in column.unique()}
        return column.map(known).astype(bool)


class ExpectDatesToBeSessions(ColumnMapExpectation):
    """Every date is a session of the New York Stock Exchange; early closes count, holidays do not."""

    map_metric = "column_values.sallyport_is_session"
    success_keys = ("column", "mostly")
    args_keys = ("column",)
