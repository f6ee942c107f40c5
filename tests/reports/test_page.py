"""Numbers, times and charts look the same on every page, and nothing unknown looks like a zero."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from lxml import html

from reports import page
from reports.page import Band, Line, bar_chart, line_chart, meter


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (page.money(Decimal("-1234.5")), "−$1,234.50"),
        (page.money(0.005), "$0.00"),  # half to even
        (page.money(Decimal("1000000"), 0, sign=True), "+$1,000,000"),
        (page.money(-0.001), "$0.00"),  # no minus before a zero
        (page.percent(0.01234), "1.23 %"),
        (page.percent(Decimal("-0.5"), 0), "−50 %"),
        (page.bps(3.25), "3.2 bp"),
        (page.bps(3.25, sign=True), "+3.2 bp"),
        (page.shares(Decimal("12.500000000")), "12.5"),
        (page.shares(Decimal("1000")), "1,000"),
        (page.number(1e-7, 2, sign=True), "0.00"),
        (page.number(None), "–"),
        (page.number(math.nan), "–"),
        (page.money(math.inf), "–"),
        (page.percent(None), "–"),
        (page.shares(None), "–"),
    ],
)
def test_a_number_is_written_one_way(written: str, expected: str) -> None:
    assert written == expected


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=6), st.integers(0, 6))
def test_a_written_number_reads_back_within_half_a_digit(value: Decimal, digits: int) -> None:
    read = Decimal(page.number(value, digits).replace(",", "").replace("−", "-"))
    assert abs(read - value) <= Decimal(1).scaleb(-digits) / 2


@given(st.decimals(min_value=0, max_value=10**9, places=9))
def test_shares_are_never_rounded(value: Decimal) -> None:
    assert Decimal(page.shares(value).replace(",", "")) == value


@pytest.mark.parametrize(
    ("utc", "shown"),
    [
        (dt.datetime(2024, 3, 8, 14, 30, tzinfo=dt.UTC), "09:30:00"),
        (dt.datetime(2024, 3, 11, 13, 30, tzinfo=dt.UTC), "09:30:00"),
    ],
)
def test_times_are_new_york_on_both_sides_of_the_clock_change(utc: dt.datetime, shown: str) -> None:
    tag = html.fromstring(str(page.clock(utc)))
    assert tag.text == shown
    assert tag.get("title") == utc.strftime("%Y-%m-%d %H:%M:%S.000000 UTC")


def curve(chart: str) -> list[list[tuple[float, float]]]:
    """Strokes of the first line, as points of the 1000 × 1000 drawing."""
    (path, *_) = html.fromstring(chart).xpath("//*[contains(@class, 'line ')]/@d")
    return [[tuple(map(float, p.split())) for p in stroke.split("L")] for stroke in path.split("M")[1:]]  # type: ignore[misc]


def days(count: int) -> list[dt.date]:
    return [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(count)]


def test_a_line_runs_over_the_whole_width_and_upwards_is_up() -> None:
    (stroke,) = curve(line_chart(days(3), [Line("a", [1, 2, 3])], describe="d", y_format=str))
    assert [x for x, _ in stroke] == [0, 500, 1000]
    assert stroke[0][1] > stroke[1][1] > stroke[2][1]


def test_a_gap_in_time_is_a_gap_in_the_drawing() -> None:
    x = [dt.date(2020, 1, 1), dt.date(2020, 1, 2), dt.date(2020, 1, 11)]
    (stroke,) = curve(line_chart(x, [Line("a", [1, 1, 2])], describe="d", y_format=str))
    assert [place for place, _ in stroke] == [0, 100, 1000]


def test_a_missing_value_breaks_the_line() -> None:
    strokes = curve(
        line_chart(days(5), [Line("a", [1, 2, None, float("nan"), 3])], describe="d", y_format=str)
    )
    assert [len(stroke) for stroke in strokes] == [2, 1]


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=40))
def test_every_point_lies_inside_the_drawing(values: list[float]) -> None:
    strokes = curve(line_chart(days(len(values)), [Line("a", values)], describe="d", y_format=str))
    assert all(-0.01 <= y <= 1000.01 for stroke in strokes for _, y in stroke)


@given(st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=40))
def test_a_logarithmic_drawing_holds_every_point_too(values: list[float]) -> None:
    chart = line_chart(days(len(values)), [Line("a", values)], describe="d", y_format=str, logarithmic=True)
    assert all(-0.01 <= y <= 1000.01 for stroke in curve(chart) for _, y in stroke)


def test_equal_growth_is_a_straight_line_in_a_logarithmic_drawing() -> None:
    (stroke,) = curve(
        line_chart(days(4), [Line("a", [1, 10, 100, 1000])], describe="d", y_format=str, logarithmic=True)
    )
    steps = [b[1] - a[1] for a, b in itertools.pairwise(stroke)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.1)


def test_a_chart_without_points_says_so() -> None:
    assert "Too few points" in line_chart([], [Line("a", [])], describe="d", y_format=str)
    assert "Nothing to draw" in bar_chart([], [], describe="d", y_format=str)


def test_a_chart_can_be_read_without_seeing_it() -> None:
    chart = html.fromstring(
        line_chart(
            days(2),
            [Line("net & gross", [1, 2])],
            bands=[Band("5–95 %", [0, 1], [2, 3])],
            describe="Growth <of> 1",
            y_format=str,
        )
    )
    (svg,) = chart.xpath("//*[local-name()='svg']")
    assert svg.get("aria-label") == "Growth <of> 1"
    assert [li.text_content() for li in chart.iter("li")] == ["net & gross", "5–95 %"]


def test_bars_stand_on_zero_and_losses_hang_below_it() -> None:
    up, down = html.fromstring(bar_chart(["a", "b"], [0.1, -0.1], describe="d", y_format=str)).xpath(
        "//*[local-name()='rect']"
    )
    assert float(up.get("y")) + float(up.get("height")) == pytest.approx(float(down.get("y")))
    assert "bad" in down.get("class")


@pytest.mark.parametrize(
    ("used", "tone", "width"),
    [(0.5, "one", "50.0"), (0.9, "warn", "90.0"), (1.2, "bad", "100.0"), (-1, "one", "0.0")],
)
def test_a_meter_never_overflows_and_warns_near_the_limit(used: float, tone: str, width: str) -> None:
    bar = html.fromstring(str(meter(used))).find("i")
    assert bar.get("class") == tone
    assert bar.get("style") == f"width:{width}%"


def test_a_name_a_template_does_not_know_is_an_error_not_a_blank(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        page.render("day_report.html", tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []
