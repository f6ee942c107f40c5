"""The walk-forward on two linked pages: ours, with what decides, and QuantStats' full tear sheet.

Ours is the first page: verdict, figures by our own formulas, cost drag, Monte Carlo, crises, folds, and a
table that holds QuantStats' figures against ours. QuantStats (0.0.86, pinned) has traps that are kept shut
here: annualisation is given (252), dates are not trimmed (``match_dates``), a series it would mistake for
prices is refused, and its value at risk is Gaussian, so that ours is the historical one.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.risk.value_at_risk import historical
from models.validation import performance
from reports import page
from reports.errors import BadReportInput

SESSIONS_A_YEAR = 252
AGREES = 1e-6
SURVIVORS_MAX = 0.98
"""Above this fraction still trading at the end, a history of years holds survivors only."""
SURVIVORS_SESSIONS = 3 * SESSIONS_A_YEAR
"""Largest difference between QuantStats' figure and ours that is called the same (both are float64)."""

_COLUMNS = ("date", "gross", "cost", "net", "benchmark", "turnover")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Year:
    """One calendar year, simple compounded returns; ``cost`` is the sum of daily cost fractions."""

    year: int
    sessions: int
    net: float
    gross: float
    benchmark: float
    cost: float
    turnover: float
    information_coefficient: float | None


@dataclass(frozen=True)
class Check:
    """QuantStats' figure against ours."""

    name: str
    ours: float
    theirs: float

    @property
    def difference(self) -> float:
        return self.theirs - self.ours

    @property
    def agrees(self) -> bool:
        return abs(self.difference) <= AGREES


def write_tear_sheet(
    walk_forward_returns: pl.DataFrame,
    *,
    monte_carlo: Mapping[str, Any],
    stress: Sequence[Mapping[str, Any]],
    model: Mapping[str, Any],
    out: Path,
    metrics: Mapping[str, Any] | None = None,
    folds: Sequence[Mapping[str, Any]] = (),
    ic: pl.DataFrame | None = None,
    modelled: Mapping[str, Any] | None = None,
    benchmark_name: str = "equal-weight universe",
) -> Path:
    """Write both pages and return ``out``, the first one; QuantStats' is ``<stem>-quantstats.html`` beside it.

    Parameters
    ----------
    walk_forward_returns : DataFrame
        ``date, gross, cost, net, benchmark, turnover``: one row a session, fractions of equity.
    monte_carlo : mapping
        What :func:`models.validation.monte_carlo.block_bootstrap` returns.
    stress : sequence
        What :func:`models.validation.stress.crisis_replay` returns.
    model : mapping
        What identifies the model, label → text, shown as it is; ``id`` names the page.
    metrics, folds : optional
        ``WalkForward.metrics`` and ``WalkForward.folds``; what is not given is said to be not recorded.
    ic : DataFrame, optional
        ``date, ic``: daily information coefficient (:func:`models.validation.walk_forward.daily_ic`).
    modelled : mapping, optional
        ``{"columns": [...], "how": str}`` of the data set; marked loudly if given.

    Raises
    ------
    BadReportInput
        Missing columns, nulls, repeated dates, fewer than 20 sessions, or returns that look like prices.
    """
    returns = _checked(walk_forward_returns)
    net, gross, benchmark = (returns[name].to_numpy() for name in ("net", "gross", "benchmark"))
    metrics = metrics or {}
    sheet = out.with_name(f"{out.stem}-quantstats.html")
    checks = write_quantstats(
        returns,
        sheet,
        title=str(model.get("id", "Walk-forward")),
        back=out.name,
        benchmark_name=benchmark_name,
    )
    tone, headline, points = judge(net, benchmark, metrics, checks)
    return page.render(
        "tear_sheet.html",
        out,
        model=model,
        tone=tone,
        headline=headline,
        points=points,
        modelled=dict(modelled or {}),
        benchmark_name=benchmark_name,
        quantstats=sheet.name,
        first=returns["date"][0],
        last=returns["date"][-1],
        sessions=len(net),
        figures=_figures(net, gross, benchmark),
        metrics=metrics,
        tails=[(level, *historical(net, level)) for level in (0.95, 0.99)],
        years=by_year(returns, ic),
        costs=cost_drag(returns),
        wealth=_wealth_chart(returns, benchmark_name),
        depth=_drawdown_chart(returns, benchmark_name),
        excess=_excess_chart(by_year(returns, ic)),
        monte_carlo=monte_carlo,
        fan=_fan_chart(monte_carlo),
        stress=stress,
        folds=folds,
        checks=checks,
    )


def judge(
    net: Floats, benchmark: Floats, metrics: Mapping[str, Any], checks: Sequence[Check]
) -> tuple[page.Tone, str, list[tuple[page.Tone, str]]]:
    """What the walk-forward says, in one line and the points it rests on."""
    ours, theirs = performance.sharpe(net), performance.sharpe(benchmark)
    likely = performance.psr(net)
    points: list[tuple[page.Tone, str]] = [
        (
            "good" if ours > theirs else "warn",
            f"Sharpe ratio {page.number(ours)} net, {page.number(theirs)} of the benchmark",
        ),
        (
            "good" if likely > 0.95 else "warn",
            f"true Sharpe ratio above 0 with probability {_probability(likely)}",
        ),
    ]
    mean, t = metrics.get("information_coefficient"), metrics.get("ic_t")
    if mean is not None and t is not None:
        points.append(
            (
                "good" if t > 2 else "warn",
                f"information coefficient {page.number(mean, 4)}, t = {page.number(t, 1)}",
            )
        )
    apart = [check.name for check in checks if not check.agrees]
    points.append(
        ("bad", f"QuantStats differs on {', '.join(apart)}")
        if apart
        else ("good", "QuantStats agrees with our formulas")
    )
    survivors = metrics.get("survivors", 0.0)
    survived = survivors >= SURVIVORS_MAX and len(net) > SURVIVORS_SESSIONS
    if survived:
        points.append(
            (
                "warn",
                f"survivorship: {page.percent(survivors)} of the names still trade on the last day, so companies "
                "that failed are missing and both curves are flattered",
            )
        )
    if apart:
        return "bad", "Do not use: two computations of the same figure differ", points
    if performance.cagr(net) <= 0:
        return "bad", "Loses money after costs", points
    if ours <= theirs:
        return "warn", "Earns after costs, but less for its risk than the benchmark", points
    if likely <= 0.95:
        return "warn", "Better than the benchmark after costs, but that may be luck", points
    if survived:
        return (
            "warn",
            "Better for its risk than the benchmark, but only among companies that survived",
            points,
        )
    return "good", "Better for its risk than the benchmark, after costs", points


def _probability(value: float) -> str:
    """An estimate is never certain: past 99.9 % it is said to be over it."""
    return "over 99.9 %" if value > 0.999 else page.percent(value, 1)


def by_year(returns: pl.DataFrame, ic: pl.DataFrame | None) -> list[Year]:
    """Calendar years, oldest first; the first and last may be partial."""
    found: dict[int, float] = {}
    if ic is not None:
        yearly = ic.group_by(pl.col("date").dt.year().alias("year")).agg(pl.col("ic").mean())
        found = dict(yearly.iter_rows())
    grown = [((1 + pl.col(name)).product() - 1).alias(name) for name in ("net", "gross", "benchmark")]
    yearly = (
        returns.group_by(pl.col("date").dt.year().alias("year"))
        .agg(pl.len().alias("sessions"), *grown, pl.col("cost", "turnover").sum())
        .sort("year")
    )
    return [
        Year(**row, information_coefficient=found.get(row["year"])) for row in yearly.iter_rows(named=True)
    ]


def cost_drag(returns: pl.DataFrame) -> dict[str, float]:
    """What costs took: growth and Sharpe before and after, basis points a year, part of the gross gain."""
    net, gross = returns["net"].to_numpy(), returns["gross"].to_numpy()
    gain = float(gross.sum())
    return {
        "cagr_gross": performance.cagr(gross),
        "cagr_net": performance.cagr(net),
        "sharpe_gross": performance.sharpe(gross),
        "sharpe_net": performance.sharpe(net),
        "bps_per_year": float(returns["cost"].to_numpy().mean()) * SESSIONS_A_YEAR * 1e4,
        "turnover_per_year": float(returns["turnover"].to_numpy().mean()) * SESSIONS_A_YEAR,
        "part_of_gain": float(returns["cost"].sum()) / gain if gain > 0 else math.nan,
    }


def write_quantstats(
    returns: pl.DataFrame, out: Path, *, title: str, back: str, benchmark_name: str
) -> list[Check]:
    """Write QuantStats' page in our frame, linked back to ``back``; return its figures against ours."""
    import matplotlib

    matplotlib.use("Agg")
    import pandas as pd
    import quantstats as qs

    index = pd.DatetimeIndex(returns["date"].to_list(), name="date")
    net = pd.Series(returns["net"].to_numpy(), index=index, name="net")
    benchmark = pd.Series(returns["benchmark"].to_numpy(), index=index, name="benchmark")
    partial = out.with_name(f".{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    template = out.with_name(f".{out.name}.template")
    # QuantStats fills {{names}} by plain replacement: our frame is rendered before it
    frame = (
        page.environment()
        .get_template("quantstats.html")
        .render(back=back, title_text=title, benchmark_name="benchmark")
    )
    template.write_text(frame, encoding="utf-8")
    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR)  # QuantStats asks for Arial at every label
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas and matplotlib about QuantStats' own calls
            qs.reports.html(
                net,
                benchmark=benchmark,
                rf=0.0,
                output=str(partial),
                periods_per_year=SESSIONS_A_YEAR,
                match_dates=False,
                strategy_title="Net of costs",
                benchmark_title="Benchmark",
                template_path=str(template),
            )
        # its sign for per cent in "CAGR" is in hardly any font
        page.write(out, partial.read_text(encoding="utf-8").replace("\ufe6a", ""))
    finally:
        fonts.setLevel(level)
        template.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
        matplotlib.pyplot.close("all")
    own = returns["net"].to_numpy()
    return [
        Check("Sharpe ratio", performance.sharpe(own), float(qs.stats.sharpe(net, periods=SESSIONS_A_YEAR))),
        Check(
            "Sortino ratio", performance.sortino(own), float(qs.stats.sortino(net, periods=SESSIONS_A_YEAR))
        ),
        Check("CAGR", performance.cagr(own), float(qs.stats.cagr(net, periods=SESSIONS_A_YEAR))),
        Check(
            "Volatility",
            performance.volatility(own),
            float(qs.stats.volatility(net, periods=SESSIONS_A_YEAR)),
        ),
        Check("Maximum drawdown", performance.max_drawdown(own), float(qs.stats.max_drawdown(net))),
    ]


def _checked(returns: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in _COLUMNS if name not in returns.columns]
    if missing:
        raise BadReportInput(
            f"walk-forward returns lack {', '.join(missing)}; found {', '.join(returns.columns) or 'no columns'}; "
            "give the frame that models.validation.walk_forward returns"
        )
    returns = returns.select(_COLUMNS).sort("date")
    if returns.height < 20:
        raise BadReportInput(f"{returns.height} sessions are too few for a tear sheet; give at least 20")
    numbers = returns.drop("date")
    finite = numbers.select(pl.all().is_finite().fill_null(False))
    for name in numbers.columns:
        bad = returns.filter(~finite[name])
        if bad.height:
            raise BadReportInput(
                f"column {name} holds {bad.height} values that are not numbers, the first on {bad['date'][0]}; "
                "leave those sessions out or mend the walk-forward"
            )
    if returns["date"].n_unique() != returns.height:
        twice = returns.filter(pl.col("date").is_duplicated())["date"][0]
        raise BadReportInput(
            f"session {twice} stands more than once in the walk-forward returns; give one row each"
        )
    for name in ("net", "benchmark"):
        low, high = float(numbers[name].to_numpy().min()), float(numbers[name].to_numpy().max())
        if low >= 0 and high > 1:
            raise BadReportInput(
                f"column {name} runs from {low:g} to {high:g}: those look like prices, not daily returns "
                "(0.01 = one per cent), and QuantStats would take them for such"
            )
    return returns


def _figures(net: Floats, gross: Floats, benchmark: Floats) -> list[tuple[str, str, str, str]]:
    """Label, net, gross, benchmark: one row a figure, already written."""

    def row(
        label: str, figure: Callable[[Floats], float], show: Callable[[float], str]
    ) -> tuple[str, str, str, str]:
        return label, show(figure(net)), show(figure(gross)), show(figure(benchmark))

    return [
        row("Growth a year (CAGR)", performance.cagr, page.percent),
        row("Volatility a year", performance.volatility, page.percent),
        row("Sharpe ratio", performance.sharpe, page.number),
        row("Sortino ratio", performance.sortino, page.number),
        row("Deepest drawdown", performance.max_drawdown, page.percent),
        row("Calmar ratio", performance.calmar, page.number),
        row("Probability that the true Sharpe ratio is above 0", performance.psr, page.percent),
        row("Skewness", performance.skewness, page.number),
        row("Kurtosis (normal: 3)", performance.kurtosis, page.number),
        row("Terminal wealth of 1", lambda r: float(performance.wealth(r)[-1]), page.number),
    ]


def _thinned(returns: pl.DataFrame, most: int = 700) -> NDArray[np.int64]:
    """Positions to draw: every n-th session and the last."""
    stride = max(1, math.ceil(returns.height / most))
    return np.unique(np.append(np.arange(0, returns.height, stride), returns.height - 1))


def _month(day: dt.date) -> str:
    return f"{day:%b %Y}"


def _wealth_chart(returns: pl.DataFrame, benchmark_name: str) -> str:
    at = _thinned(returns)
    curves = {name: performance.wealth(returns[name].to_numpy()) for name in ("net", "gross", "benchmark")}
    if min(curve.min() for curve in curves.values()) <= 0:
        raise BadReportInput(
            "a session lost everything or more; a wealth curve cannot be drawn: check the book"
        )
    return page.line_chart(
        [returns["date"][int(i)] for i in at],
        [
            page.Line("net of costs", curves["net"][at].tolist()),
            page.Line("before costs", curves["gross"][at].tolist(), "three", dashed=True),
            page.Line(benchmark_name, curves["benchmark"][at].tolist(), "two"),
        ],
        describe="Growth of 1 invested, logarithmic",
        y_format=lambda v: page.number(v, 2 if v < 10 else 0),
        x_format=_month,
        logarithmic=True,
        height=300,
    )


def _drawdown_chart(returns: pl.DataFrame, benchmark_name: str) -> str:
    at = _thinned(returns)
    return page.line_chart(
        [returns["date"][int(i)] for i in at],
        [
            page.Line("net of costs", performance.drawdowns(returns["net"].to_numpy())[at].tolist()),
            page.Line(
                benchmark_name, performance.drawdowns(returns["benchmark"].to_numpy())[at].tolist(), "two"
            ),
        ],
        describe="Distance from the highest wealth so far",
        y_format=lambda v: page.percent(v, 0),
        x_format=_month,
        zero=True,
        height=190,
    )


def _excess_chart(years: Sequence[Year]) -> str:
    return page.bar_chart(
        [str(year.year) for year in years],
        [year.net - year.benchmark for year in years],
        describe="Net return less the benchmark's, by calendar year",
        y_format=lambda v: page.percent(v, 0, sign=True),
        height=170,
    )


def _fan_chart(monte_carlo: Mapping[str, Any]) -> str:
    fan = monte_carlo["fan"]
    years = [session / SESSIONS_A_YEAR for session in fan["session"]]
    return page.line_chart(
        years,
        [page.Line("median", fan["p50"])],
        bands=[
            page.Band("5 % to 95 %", fan["p5"], fan["p95"], 0.14),
            page.Band("25 % to 75 %", fan["p25"], fan["p75"], 0.24),
        ],
        describe="Wealth along the resampled paths",
        y_format=lambda v: page.number(v, 2 if v < 10 else 0),
        x_format=lambda years: f"{years:.1f} y",
        logarithmic=True,
        height=280,
    )
