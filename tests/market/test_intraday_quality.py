"""Intraday rows of every spelling are read, real sessions pass, and what is real is not taken for a fault."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from market.calendar import session_close, session_open
from market.errors import MarketError
from market.findings import INTRADAY_SCHEMA
from market.intraday import canonical_intraday, intraday_kind, read_intraday
from market.intraday_quality import INTRADAY_CHECKS, check_bars, check_quotes, check_trades

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "intraday"


def day_of_bars(
    symbol: str, day: date, seed: int, price: float = 50.0, until: datetime | None = None
) -> pl.DataFrame:
    """One session of ordinary one-minute bars, stamped at their start."""
    opened, closed = session_open(day), until or session_close(day)
    count = int((closed - opened).total_seconds() / 60)
    rng = np.random.default_rng([seed, day.toordinal()])
    close = np.round(price * np.exp(np.cumsum(rng.normal(0, 0.0004, count))), 4)
    start = np.concatenate([[price], close[:-1]])
    span = np.abs(rng.normal(0, 0.0004, (2, count)))
    shape = 1 + 3 * np.abs(np.linspace(-1, 1, count)) ** 3  # busy at both ends of the day
    return pl.DataFrame(
        {
            "symbol": [symbol] * count, "at": [opened + timedelta(minutes=i) for i in range(count)],
            "open": start, "high": np.maximum(start, close) * (1 + span[0]), "low": np.minimum(start, close) * (1 - span[1]),
            "close": close, "volume": np.rint(20_000 * shape * rng.lognormal(0, 0.4, count)),
        },
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )  # fmt: skip


def market(days: list[date], names: int = 4) -> pl.DataFrame:
    return pl.concat([day_of_bars(f"S{i}", day, i, 20.0 * (i + 1)) for i in range(names) for day in days])


DAYS = [date(2024, 7, 1), date(2024, 7, 2), date(2024, 7, 3), date(2024, 7, 5)]  # the third closes at one


def kinds(found: pl.DataFrame) -> set[tuple[str, str]]:
    return set(found.select("check", "severity").rows())


def test_ordinary_days_with_an_early_close_among_them_give_no_finding() -> None:
    found = check_bars(market(DAYS))
    assert dict(found.schema) == INTRADAY_SCHEMA
    assert found.rows() == []


@pytest.mark.parametrize("day", [date(2024, 3, 8), date(2024, 3, 11), date(2024, 11, 1), date(2024, 11, 4)])
def test_days_on_both_sides_of_daylight_saving_are_ordinary(day: date) -> None:
    assert check_bars(market([day])).rows() == []


def test_bars_after_an_early_close_are_out_of_session() -> None:
    late = day_of_bars("S0", DAYS[2], 0, 20.0, until=session_close(DAYS[2]) + timedelta(hours=3))
    rest = market(DAYS).filter((pl.col("symbol") != "S0") | (pl.col("at").dt.date() != DAYS[2]))
    found = check_bars(pl.concat([rest, late]))
    assert ("out_of_session", "note") in kinds(found)
    assert found.filter(pl.col("check") == "out_of_session")["symbol"].to_list() == ["S0"]


def test_a_pause_of_the_whole_market_is_noted_and_a_lost_hour_blocks() -> None:
    bars = market(DAYS)
    opened = session_open(DAYS[1])

    def without(minutes: int) -> pl.DataFrame:
        return bars.filter(
            ~pl.col("at").is_between(
                opened + timedelta(hours=2), opened + timedelta(hours=2, minutes=minutes)
            )
        )

    assert kinds(check_bars(without(14))) == {("missing_bars", "note")}
    assert kinds(check_bars(without(60))) == {("missing_bars", "block")}


def test_a_halt_for_news_is_noted_and_a_silent_hole_is_not_believed() -> None:
    bars = market(DAYS)
    opened = session_open(DAYS[1])
    halted = pl.col("at").is_between(opened + timedelta(hours=2), opened + timedelta(hours=3)) & (
        pl.col("symbol") == "S1"
    )
    hole = bars.filter(~halted)
    assert kinds(check_bars(hole)) == {("missing_bars", "quarantine")}
    after = (pl.col("symbol") == "S1") & (pl.col("at") > opened + timedelta(hours=3))
    news = hole.with_columns(
        *(pl.when(after).then(pl.col(name) * 0.85).otherwise(name).alias(name) for name in ("open", "high", "low", "close")),
        pl.when(after & (pl.col("at") < opened + timedelta(hours=3, minutes=10))).then(pl.col("volume") * 20).otherwise("volume").alias("volume"),
    )  # fmt: skip
    later = news.filter((pl.col("symbol") != "S1") | (pl.col("at") < session_open(DAYS[2])))
    assert ("missing_bars", "note") in kinds(check_bars(later))
    assert "halt" in " ".join(check_bars(later).filter(pl.col("check") == "missing_bars")["detail"])


def test_a_fall_that_goes_on_for_minutes_is_no_bad_print() -> None:
    bars = market(DAYS)
    opened = session_open(DAYS[1])
    minutes = (pl.col("at") - opened).dt.total_seconds() / 60
    depth = (1 - 0.08 * (1 - ((minutes - 120) / 15).abs()).clip(0)).alias(
        "depth"
    )  # eight per cent and back in half an hour
    crash = bars.with_columns(depth).with_columns(
        *(pl.when(pl.col("symbol") == "S2").then(pl.col(name) * pl.col("depth")).otherwise(name).alias(name) for name in ("open", "high", "low", "close")),
    ).drop("depth")  # fmt: skip
    assert [row for row in check_bars(crash).rows() if row[0] == "bad_print"] == []


def test_real_weeks_pass_and_a_real_split_does_not() -> None:
    if not SHARED.exists():
        pytest.skip("the real intraday files are not on this machine")
    week = check_bars(read_intraday(SHARED / "eqker_1min_2019w07.parquet")[1])
    assert week.filter(pl.col("severity") != "note").rows() == []
    minutes = check_bars(read_intraday(SHARED / "lean_minute_trade.parquet")[1])
    split = minutes.filter(pl.col("check") == "unadjusted_split")
    assert split.select("symbol", pl.col("first").dt.date()).rows() == [("AAPL", date(2014, 6, 9))]
    assert (
        check_quotes(read_intraday(SHARED / "lean_minute_quote.parquet")[1])
        .filter(pl.col("severity") != "note")
        .rows()
        == []
    )


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("ts_ny", ["2024-07-01 09:30:00", "2024-07-01 09:31:00"]),
        ("ts_utc", ["2024-07-01T13:30:00", "2024-07-01T13:31:00"]),
        ("timestamp", ["2024-07-01T13:30:00Z", "2024-07-01T13:31:00Z"]),
        ("timestamp", ["2024-07-01T09:30:00-04:00", "2024-07-01T09:31:00-04:00"]),
        ("t", [1719840600000, 1719840660000]),
        ("timestamp", [1719840600000000000, 1719840660000000000]),
        ("datetime", ["07/01/2024 09:30", "07/01/2024 09:31"]),
    ],
)
def test_times_of_any_common_spelling_are_the_same_moments(column: str, values: list[object]) -> None:
    raw = pl.DataFrame(
        {
            "symbol": ["A", "A"],
            column: values,
            "o": [1.0, 1.0],
            "h": [1.0, 1.0],
            "l": [1.0, 1.0],
            "c": [1.0, 1.0],
            "v": [5, 5],
        }
    )
    assert intraday_kind(raw) == "bars"
    assert canonical_intraday(raw)["at"].to_list() == [
        session_open(date(2024, 7, 1)) + timedelta(minutes=i) for i in range(2)
    ]


def test_a_file_of_one_symbol_with_date_and_time_apart_takes_its_name(tmp_path: Path) -> None:
    path = tmp_path / "ibm_1min.csv"
    path.write_text(
        "Date,Time,Open,High,Low,Close,Volume\n2024-07-01,09:30:00,1,1,1,1,5\n2024-07-01,09:31:00,1,1,1,1,5\n"
    )
    kind, rows = read_intraday(path)
    assert (kind, rows["symbol"].unique().to_list()) == ("bars", ["IBM"])
    assert rows["at"][0] == session_open(date(2024, 7, 1))


def test_daily_bars_are_not_taken_for_intraday_ones() -> None:
    raw = pl.DataFrame(
        {
            "symbol": ["A"],
            "timestamp": [datetime.fromisoformat("2024-07-01")],
            "o": [1.0],
            "h": [1.0],
            "l": [1.0],
            "c": [1.0],
            "v": [5],
        }
    )
    assert intraday_kind(raw) is None


@pytest.mark.parametrize("check", [check_bars, check_trades, check_quotes])
def test_nothing_to_check_is_refused(check: object) -> None:
    with pytest.raises(MarketError, match="no intraday rows"):
        check(market(DAYS[:1]).clear())  # type: ignore[operator]


def test_every_check_of_the_list_is_made_somewhere() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (Path(__file__).parents[2] / "market").glob("*checks.py")
    )
    assert [check for check in INTRADAY_CHECKS if f'"{check}"' not in sources] == []
