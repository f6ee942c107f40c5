"""The tear sheet judges by our own formulas, shows where QuantStats differs, and needs no network."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lxml import html

from market.calendar import sessions
from models.validation import performance
from models.validation.monte_carlo import block_bootstrap
from models.validation.stress import crisis_replay
from reports import tear_sheet
from reports.errors import BadReportInput
from reports.tear_sheet import Check, by_year, cost_drag, judge, write_tear_sheet

FOLDS = [
    {
        "fold": 1,
        "train_from": dt.date(2003, 1, 2),
        "train_to": dt.date(2007, 12, 31),
        "test_from": dt.date(2008, 1, 2),
        "test_to": dt.date(2008, 12, 31),
        "rows": 123456,
        "symbols": 20,
        "ic": 0.0312,
    }
]
MODELLED = {"columns": ["open", "volume"], "how": "drawn around the real closes"}


@pytest.fixture(scope="module")
def returns() -> pl.DataFrame:
    days = sessions(dt.date(2007, 1, 3), dt.date(2009, 12, 31))
    draw = np.random.default_rng(3)
    market = draw.standard_t(4, len(days)) * 0.008
    gross = 0.9 * market + draw.normal(0.002, 0.004, len(days))
    turnover = np.abs(draw.normal(0.08, 0.03, len(days)))
    cost = turnover * 6e-4
    return pl.DataFrame(
        {
            "date": days,
            "gross": gross,
            "cost": cost,
            "net": gross - cost,
            "benchmark": market,
            "turnover": turnover,
        }
    )


@pytest.fixture(scope="module")
def monte_carlo(returns: pl.DataFrame) -> dict[str, Any]:
    return block_bootstrap(returns["net"].to_numpy(), 40, benchmark=returns["benchmark"].to_numpy())


@pytest.fixture(scope="module")
def written(
    returns: pl.DataFrame, monte_carlo: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    ic = pl.DataFrame(
        {"date": returns["date"], "ic": [0.02 if d.year == 2008 else -0.01 for d in returns["date"]]}
    )
    return write_tear_sheet(
        returns,
        monte_carlo=monte_carlo,
        stress=crisis_replay(returns),
        model={"id": "momentum-abc & <b>", "artifact_hash": "c" * 64},
        out=tmp_path_factory.mktemp("sheet") / "momentum.html",
        metrics={"information_coefficient": 0.0213, "ic_t": 2.4},
        folds=FOLDS,
        ic=ic,
        modelled=MODELLED,
    )


@pytest.fixture(scope="module")
def page(written: Path) -> html.HtmlElement:
    return html.parse(written).getroot()


@pytest.fixture(scope="module")
def quantstats(written: Path) -> html.HtmlElement:
    return html.parse(written.with_name("momentum-quantstats.html")).getroot()


def table(page: html.HtmlElement, title: str, place: int = 1) -> dict[str, list[str]]:
    """Rows of the table in the section, by their first cell."""
    rows = page.xpath(f"(//section[h2='{title}']//table)[{place}]/tbody/tr")
    return {
        row[0].text_content(): [" ".join(cell.text_content().split()) for cell in row[1:]] for row in rows
    }


def test_headline_figures_come_from_our_own_formulas(page: html.HtmlElement, returns: pl.DataFrame) -> None:
    net = returns["net"].to_numpy()
    figures = table(page, "Figures")
    assert figures["Sharpe ratio"][0] == f"{performance.sharpe(net):.2f}"
    assert figures["Deepest drawdown"][0] == f"−{-100 * performance.max_drawdown(net):.2f} %"
    assert figures["Growth a year (CAGR)"][0] == f"{100 * performance.cagr(net):.2f} %"


def test_quantstats_figures_stand_beside_ours_and_agree(page: html.HtmlElement) -> None:
    checks = table(page, "Figures", 3)
    assert {"Sharpe ratio", "CAGR", "Maximum drawdown"} <= set(checks)
    for ours, theirs, _, verdict in checks.values():
        assert ours == theirs
        assert verdict == "same"


def test_quantstats_own_page_says_the_same_sharpe_and_growth(
    quantstats: html.HtmlElement, returns: pl.DataFrame
) -> None:
    net = returns["net"].to_numpy()
    rows = {
        tr[0].text_content(): tr[-1].text_content()
        for tr in quantstats.xpath("//section[h3='Key figures']//tr[td]")
    }
    assert float(rows["Sharpe"]) == pytest.approx(performance.sharpe(net), abs=0.005)
    assert float(rows["CAGR"].rstrip("%")) == pytest.approx(100 * performance.cagr(net), abs=0.005)
    assert float(rows["Max Drawdown"].rstrip("%")) == pytest.approx(
        100 * performance.max_drawdown(net), abs=0.005
    )


def test_a_difference_between_the_two_condemns_the_sheet(returns: pl.DataFrame) -> None:
    net, benchmark = returns["net"].to_numpy(), returns["benchmark"].to_numpy()
    good = judge(net, benchmark, {}, [Check("Sharpe ratio", 1.0, 1.0 + 1e-12)])
    bad = judge(net, benchmark, {}, [Check("Sharpe ratio", 1.0, 1.1)])
    assert good[0] == "good"
    assert (bad[0], bad[1]) == ("bad", "Do not use: two computations of the same figure differ")


@pytest.mark.parametrize(
    ("mean", "benchmark_mean", "headline"),
    [
        (-0.001, 0.0, "Loses money after costs"),
        (0.0005, 0.01, "Earns after costs, but less for its risk than the benchmark"),
        (0.0002, -0.01, "Better than the benchmark after costs, but that may be luck"),
    ],
)
def test_a_weak_result_is_not_praised(
    returns: pl.DataFrame, mean: float, benchmark_mean: float, headline: str
) -> None:
    net, benchmark = (returns[name].to_numpy() - returns[name].mean() for name in ("net", "benchmark"))
    net, benchmark = net + mean, benchmark + benchmark_mean
    tone, said, _ = judge(net, benchmark, {}, [])
    assert said == headline
    assert tone != "good"


@pytest.mark.parametrize(
    ("survivors", "years", "praised"), [(0.998, 6, False), (0.85, 6, True), (1.0, 1, True)]
)
def test_a_universe_of_survivors_is_named_and_not_praised(
    survivors: float, years: int, praised: bool
) -> None:
    rng = np.random.default_rng(5)
    net = rng.normal(0.002, 0.01, 252 * years)
    tone, headline, points = judge(net, net - 0.001, {"survivors": survivors}, [])
    assert (tone == "good") is praised
    assert any("survivorship" in said for _, said in points) is not praised
    assert ("survived" in headline) is not praised


def test_cost_drag_is_the_gap_between_gross_and_net(returns: pl.DataFrame) -> None:
    drag = cost_drag(returns)
    assert drag["bps_per_year"] == pytest.approx(returns["cost"].mean() * 252 * 1e4)  # type: ignore[operator]
    assert drag["cagr_gross"] > drag["cagr_net"]
    assert drag["part_of_gain"] == pytest.approx(returns["cost"].sum() / returns["gross"].sum())


def test_years_compound_and_carry_their_information_coefficient(
    page: html.HtmlElement, returns: pl.DataFrame
) -> None:
    year = next(y for y in by_year(returns, None) if y.year == 2008)
    inside = returns.filter(pl.col("date").dt.year() == 2008)["net"].to_numpy()
    assert year.net == pytest.approx(np.prod(1 + inside) - 1)
    shown = table(page, "By calendar year")
    assert list(shown) == ["2009", "2008", "2007"]
    assert (shown["2008"][-1], shown["2009"][-1]) == ("+0.0200", "−0.0100")


def test_monte_carlo_crises_and_folds_are_tabled(page: html.HtmlElement, monte_carlo: dict[str, Any]) -> None:
    wealth = table(page, "What else could have happened")["Terminal wealth of 1"]
    assert wealth[2] == f"{monte_carlo['terminal_wealth']['p50']:,.2f}"
    assert wealth[-1] == f"{monte_carlo['terminal_wealth']['observed']:,.2f}"
    assert "Financial crisis 2007-2009" in table(page, "Crises")
    assert table(page, "Folds")["1"][4:] == ["123,456", "20", "+0.0312"]


def test_the_fan_widens_around_its_median(page: html.HtmlElement) -> None:
    (chart,) = page.xpath("//section[h2='What else could have happened']//*[local-name()='svg']")
    bands = [path.get("d") for path in chart.xpath(".//*[@class='band']")]
    spread = []
    for band in bands:
        points = [tuple(map(float, p.split())) for p in re.findall(r"[\d.-]+ [\d.-]+", band)]
        half = len(points) // 2  # the upper edge from left to right, then the lower edge back
        spread.append(points[half][1] - points[half - 1][1])
    outer, inner = spread
    assert outer > inner > 0


def test_modelled_data_is_marked(page: html.HtmlElement) -> None:
    assert "open, volume: not observed" in page.xpath("string(//*[@class='modelled'])")


def test_the_pages_are_linked_both_ways_and_load_nothing(
    page: html.HtmlElement, quantstats: html.HtmlElement, written: Path
) -> None:
    assert page.xpath("//a/@href") == ["momentum-quantstats.html"]
    assert quantstats.xpath("//a/@href") == ["momentum.html"]
    for found in (page, quantstats):
        assert not found.xpath("//script | //img | //iframe | //@src")
        assert not [href for href in found.xpath("//link/@href") if not href.startswith("data:")]
    assert sorted(path.name for path in written.parent.iterdir()) == [
        "momentum-quantstats.html",
        "momentum.html",
    ]


def test_quantstats_page_is_filled_and_its_charts_are_drawn(quantstats: html.HtmlElement) -> None:
    assert "{{" not in quantstats.text_content()
    assert len(quantstats.xpath("//*[@class='plots']/div[*]")) == 13


def test_text_of_the_model_cannot_become_markup(page: html.HtmlElement, quantstats: html.HtmlElement) -> None:
    assert page.xpath("string(//h1)") == "Tear sheet momentum-abc & <b>"
    assert "momentum-abc & <b>" in quantstats.xpath("string(//h1)")


def put(frame: pl.DataFrame, name: str, value: float | None) -> pl.DataFrame:
    """The frame with one value of a column replaced."""
    values = frame[name].to_list()
    values[7] = value
    return frame.with_columns(pl.Series(name, values, dtype=pl.Float64))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop("benchmark", "cost"), "lack cost, benchmark; found date, gross, net, turnover"),
        (
            lambda f: put(f, "net", None),
            "column net holds 1 values that are not numbers, the first on 2007-01-12",
        ),
        (lambda f: put(f, "benchmark", float("nan")), "column benchmark holds 1 values"),
        (lambda f: pl.concat([f, f[:1]]), "session 2007-01-03 stands more than once"),
        (lambda f: f[:19], "19 sessions are too few"),
        (lambda f: put(f.with_columns(pl.col("net").abs()), "net", 1.2), "look like prices"),
    ],
)
def test_a_frame_that_cannot_be_judged_is_refused(
    returns: pl.DataFrame, monte_carlo: dict[str, Any], tmp_path: Path, change: Any, said: str
) -> None:
    with pytest.raises(BadReportInput, match=re.escape(said)):
        write_tear_sheet(
            change(returns), monte_carlo=monte_carlo, stress=[], model={"id": "m"}, out=tmp_path / "m.html"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_failure_inside_quantstats_leaves_no_half_page(
    returns: pl.DataFrame, monte_carlo: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import quantstats as qs

    def fail(*_: Any, output: str, **__: Any) -> None:
        Path(output).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(qs.reports, "html", fail)
    with pytest.raises(OSError, match="disk full"):
        write_tear_sheet(
            returns, monte_carlo=monte_carlo, stress=[], model={"id": "m"}, out=tmp_path / "m.html"
        )
    assert list(tmp_path.iterdir()) == []


def test_without_folds_the_page_says_they_were_not_recorded(
    returns: pl.DataFrame, monte_carlo: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tear_sheet, "write_quantstats", lambda *_, **__: [])
    out = write_tear_sheet(
        returns, monte_carlo=monte_carlo, stress=[], model={"id": "m"}, out=tmp_path / "m.html"
    )
    said = html.parse(out).getroot().text_content()
    assert "The folds were not recorded" in said
    assert "covers none of the known crises" in said
