"""Faults of every class planted, by seed, into clean real series that nothing was tuned on.

Daily: every seventh name of the long history over 2009 to 2013 (no labelled fault lies in them). Intraday: the
week of one-minute bars of 2019, and trades and quotes drawn around them. `recall` plants each class into up to
twenty names at once, judges the whole, and says how many were found by any check and by the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from market.calendar import session_offset
from market.ingest import read_delivery
from market.intraday import read_intraday
from market.intraday_quality import check_bars, check_quotes, check_trades
from market.quality import check_prices

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
DAILY = SHARED / "daily" / "sp500_alphavantage_1999_2021.parquet"
MINUTES = SHARED / "intraday" / "eqker_1min_2019w07.parquet"
FIRST, LAST = date(2009, 6, 1), date(2013, 5, 31)
PRICES = ("open", "high", "low", "close")
MOST = 20
DAY = date(2019, 2, 13)
NAMES = ("AAPL", "AMZN", "BAC", "JPM", "MSFT", "QQQ", "SPY", "TSLA", "V")

Spot = tuple[str, date]
Plant = Callable[[pl.DataFrame, Spot, np.random.Generator], pl.DataFrame]


def daily(every: int = 7) -> pl.DataFrame:
    names = sorted(pl.scan_parquet(DAILY).select("symbol").unique().collect()["symbol"])[3::every]
    prices = read_delivery(DAILY).filter(
        pl.col("symbol").is_in(names) & pl.col("date").is_between(FIRST, LAST)
    )
    full = prices.group_by("symbol").len().filter(pl.col("len") == pl.col("len").max())["symbol"]
    return prices.filter(pl.col("symbol").is_in(full.implode()))


def from_(spot: Spot, sessions: int | None = None) -> pl.Expr:
    symbol, day = spot
    end = LAST if sessions is None else session_offset(day, sessions - 1)
    return (pl.col("symbol") == symbol) & pl.col("date").is_between(day, end)


def times(prices: pl.DataFrame, where: pl.Expr, factor: float, *columns: str) -> pl.DataFrame:
    return prices.with_columns(
        pl.when(where).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name) for name in columns
    )


def put(prices: pl.DataFrame, where: pl.Expr, **values: pl.Expr) -> pl.DataFrame:
    return prices.with_columns(
        pl.when(where).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


def stepped(prices: pl.DataFrame, where: pl.Expr, factor: float) -> pl.DataFrame:
    return times(prices, where, factor, *PRICES, "adj_close")


def split(prices: pl.DataFrame, spot: Spot, rng: np.random.Generator) -> pl.DataFrame:
    ratio = float(rng.choice([2, 3, 4, 1.5, 7, 10, 0.1, 0.2, 0.5]))
    return times(stepped(prices, from_(spot), 1 / ratio), from_(spot), ratio, "volume")


def other(prices: pl.DataFrame, spot: Spot, rng: np.random.Generator) -> str:
    names = [name for name in prices["symbol"].unique().sort() if name != spot[0]]
    return str(names[int(rng.integers(len(names)))])


def taken_from(prices: pl.DataFrame, spot: Spot, source: str, sessions: int | None) -> pl.DataFrame:
    """The source's rows under the spot's name, from the spot on."""
    copy = prices.filter(from_((source, spot[1]), sessions)).with_columns(pl.lit(spot[0]).alias("symbol"))
    return pl.concat([prices.filter(~from_(spot, sessions)), copy]).sort("symbol", "date")


def another_instrument(prices: pl.DataFrame, spot: Spot, rng: np.random.Generator) -> pl.DataFrame:
    """A thinly traded share under the name: another price, another volume."""
    return times(
        stepped(prices, from_(spot), float(rng.uniform(0.2, 0.6))),
        from_(spot),
        float(rng.uniform(0.005, 0.05)),
        "volume",
    )


def standing(prices: pl.DataFrame, spot: Spot, sessions: int) -> pl.DataFrame:
    bar = prices.filter(from_(spot, 1)).row(0, named=True)
    return put(
        prices,
        from_(spot, sessions),
        **{name: pl.lit(bar[name]) for name in (*PRICES, "volume", "adj_close")},
    )


def copied_day(prices: pl.DataFrame, spot: Spot, rng: np.random.Generator) -> pl.DataFrame:
    earlier = session_offset(spot[1], -int(rng.integers(1, 15)))
    bar = prices.filter(from_((spot[0], earlier), 1)).row(0, named=True)
    return put(prices, from_(spot, 1), **{name: pl.lit(bar[name]) for name in (*PRICES, "volume")})


def misdated(prices: pl.DataFrame, spot: Spot, rng: np.random.Generator) -> pl.DataFrame:
    """A real two-for-one whose record lies a few sessions early."""
    step = session_offset(spot[1], int(rng.integers(1, 5)))
    raw = times(prices, from_((spot[0], step)), 0.5, *PRICES)
    return put(raw, from_(spot, 1), split=pl.lit(2.0))


DAILY_FAULTS: dict[str, tuple[Plant, set[str]]] = {
    "null close": (lambda p, s, r: put(p, from_(s, 1), close=pl.lit(None)), {"invalid_price"}),
    "null open": (lambda p, s, r: put(p, from_(s, 1), open=pl.lit(None)), {"invalid_price"}),
    "zero price": (lambda p, s, r: put(p, from_(s, 1), low=pl.lit(0.0)), {"invalid_price"}),
    "high below the body": (lambda p, s, r: times(p, from_(s, 1), 0.93, "high"), {"ohlc_inconsistent"}),
    "wick of twice the price": (lambda p, s, r: times(p, from_(s, 1), 2.1, "high"), {"bad_wick"}),
    "no volume": (lambda p, s, r: put(p, from_(s, 1), volume=pl.lit(0.0)), {"zero_volume"}),
    "missing sessions": (lambda p, s, r: p.filter(~from_(s, int(r.integers(1, 30)))), {"missing_rows"}),
    "row on a Saturday": (
        lambda p, s, r: pl.concat([p, p.filter(from_(s, 1)).with_columns(pl.col("date") + pl.duration(days=(5 - s[1].weekday()) % 7))]),
        {"phantom_session"},
    ),
    "row twice": (lambda p, s, r: pl.concat([p, p.filter(from_(s, 1))]), {"duplicate_rows"}),
    "bar of an earlier day": (copied_day, {"duplicated_day"}),
    "bar carried forward": (lambda p, s, r: standing(p, s, int(r.integers(4, 12))), {"stale_run"}),
    "print away and back": (lambda p, s, r: stepped(p, from_(s, 1), float(r.choice([0.4, 0.6, 1.5, 1.8, 10.0]))), {"bad_print"}),
    "close alone away": (lambda p, s, r: times(p, from_(s, 1), float(r.choice([0.5, 1.6, 0.1])), "close", "adj_close"), {"bad_print", "ohlc_inconsistent"}),
    "unadjusted split": (split, {"unadjusted_split"}),
    "two bases by turns": (lambda p, s, r: stepped(p, from_(s, int(r.integers(2, 20))), float(r.choice([0.5, 2.0, 0.25, 1 / 3]))), {"basis_flip"}),
    "spin-off": (lambda p, s, r: stepped(p, from_(s), float(r.uniform(0.55, 0.75))), {"unadjusted_spin_off", "unadjusted_split"}),
    "another instrument": (another_instrument, {"identity_change", "unadjusted_split"}),
    "another name's series": (lambda p, s, r: taken_from(p, s, other(p, s, r), 80), {"identical_series"}),
    "misdated split": (misdated, {"misdated_action"}),
    "another feed's volume": (lambda p, s, r: times(p, from_(s), 0.025, "volume"), {"volume_level"}),
}  # fmt: skip


def spots(prices: pl.DataFrame, rng: np.random.Generator, count: int) -> list[Spot]:
    """One session for each of `count` names, well inside the history."""
    days = prices["date"].unique().sort().to_list()[150:-120]
    names = prices["symbol"].unique().sort().to_list()
    chosen = rng.permutation(names)[:count]
    return [(str(name), days[int(rng.integers(len(days)))]) for name in chosen]


def recall(
    seed: int = 2, every: int = 7, most: int = MOST, names: tuple[str, ...] = NAMES[::2]
) -> Iterator[tuple[str, str, int, int, int]]:
    """(where, fault, planted, found by any check, found by the right one), class by class."""
    if DAILY.exists():
        clean = daily(every)
        for place, (fault, (plant, checks)) in enumerate(DAILY_FAULTS.items()):
            rng = np.random.default_rng([seed, place])
            chosen = spots(clean, rng, min(most, clean["symbol"].n_unique() // 2))
            spoiled = clean
            for spot in chosen:
                spoiled = plant(spoiled, spot, rng)
            findings = check_prices(spoiled, as_of=LAST)
            yield ("daily", fault, *_counted(findings, [(name, day, day) for name, day in chosen], checks))
    if MINUTES.exists():
        yield from intraday_recall(seed, names)


def _counted(
    findings: pl.DataFrame, planted: list[tuple[str | None, date, date]], checks: set[str]
) -> tuple[int, int, int]:
    found = right = 0
    for symbol, first, last in planted:
        own = (
            pl.col("symbol").is_null()
            if symbol is None
            else (pl.col("symbol") == symbol) | pl.col("symbol").is_null()
        )
        near = findings.filter(
            own
            & (pl.col("first").cast(pl.Date) <= last + timedelta(days=6))
            & (pl.col("last").cast(pl.Date) >= first - timedelta(days=4))
        )
        found += near.filter(pl.col("check") != "jump").height > 0
        right += near.filter(pl.col("check").is_in(sorted(checks))).height > 0
    return len(planted), found, right


# ---------------------------------------------------------------- intraday


def at_day(name: str | None, start: str = "00:00", end: str = "23:59", day: date = DAY) -> pl.Expr:
    """Rows of the New York day between two times of day."""
    here = pl.col("at").dt.convert_time_zone("America/New_York")
    span = (here.dt.date() == day) & here.dt.time().is_between(_clock(start), _clock(end))
    return span if name is None else span & (pl.col("symbol") == name)


def _clock(text: str) -> pl.Expr:
    return pl.lit(datetime.strptime(text, "%H:%M").time())  # noqa: DTZ007 - a time of day


def minutes_earlier(bars: pl.DataFrame, where: pl.Expr, minutes: int) -> pl.DataFrame:
    return put(bars, where, at=pl.col("at") - pl.duration(minutes=minutes))


def _after(name: str) -> str:
    return NAMES[(NAMES.index(name) + 1) % len(NAMES)]


BAR_FAULTS: dict[str, tuple[Callable[[pl.DataFrame, str], pl.DataFrame], set[str]]] = {
    "null close": (lambda b, n: put(b, at_day(n, "11:00", "11:00"), close=pl.lit(None)), {"invalid_price"}),
    "negative price": (lambda b, n: times(b, at_day(n, "11:00", "11:02"), -1.0, *PRICES), {"invalid_price"}),
    "high below the body": (lambda b, n: times(b, at_day(n, "11:00", "11:00"), 0.99, "high"), {"ohlc_inconsistent"}),
    "wick of four per cent": (lambda b, n: times(b, at_day(n, "11:00", "11:00"), 1.04, "high"), {"bad_print"}),
    "bar off by a tenth": (lambda b, n: times(b, at_day(n, "11:00", "11:00"), 0.9, *PRICES), {"bad_print"}),
    "bars twice": (lambda b, n: pl.concat([b, b.filter(at_day(n, "11:00", "11:20"))]), {"duplicate_rows"}),
    "day of the day before": (
        lambda b, n: pl.concat([b.filter(~at_day(n)), put(b.filter(at_day(n, day=date(2019, 2, 12))), pl.lit(True), at=pl.col("at") + pl.duration(days=1))]),
        {"duplicated_day"},
    ),
    "forty minutes missing": (lambda b, n: b.filter(~at_day(n, "11:00", "11:40")), {"missing_bars"}),
    "afternoon missing": (lambda b, n: b.filter(~at_day(n, "13:30", "23:00")), {"truncated_page"}),
    "an hour early": (lambda b, n: minutes_earlier(b, at_day(n), 60), {"shifted_clock"}),
    "five hours late": (lambda b, n: minutes_earlier(b, at_day(n), -300), {"shifted_clock"}),
    "bars carried forward": (
        lambda b, n: put(b, at_day(n, "11:00", "11:20"), **{c: pl.lit(b.filter(at_day(n, "11:00", "11:00")).row(0, named=True)[c]) for c in (*PRICES, "volume")}),
        {"stale_run"},
    ),
    "bars at three in the morning": (
        lambda b, n: pl.concat([b, minutes_earlier(b.filter(at_day(n, "11:00", "11:10")), pl.lit(True), 480)]),
        {"out_of_session"},
    ),
    "bars on a Saturday": (
        lambda b, n: pl.concat([b, put(b.filter(at_day(n)), pl.lit(True), at=pl.col("at") + pl.duration(days=3))]),
        {"phantom_session"},
    ),
    "unadjusted split": (lambda b, n: times(times(b, (pl.col("symbol") == n) & (pl.col("at") >= pl.datetime(2019, 2, 13, time_zone="UTC")), 0.5, *PRICES), (pl.col("symbol") == n) & (pl.col("at") >= pl.datetime(2019, 2, 13, time_zone="UTC")), 2.0, "volume"), {"unadjusted_split"}),
    "another name's bars": (
        lambda b, n: pl.concat([b.filter(~at_day(n)), b.filter(at_day(_after(n))).with_columns(pl.lit(n).alias("symbol"))]),
        {"identical_series"},
    ),
    "another feed's volume": (lambda b, n: times(b, at_day(n, "12:00", "23:00"), 0.02, "volume"), {"volume_level"}),
}  # fmt: skip


def intraday_recall(
    seed: int = 2, names: tuple[str, ...] = NAMES[::2]
) -> Iterator[tuple[str, str, int, int, int]]:
    """The same of one-minute bars, trades and quotes; each class in every name by itself."""
    _, bars = read_intraday(MINUTES)
    clean = bars.filter(pl.col("symbol").is_in(NAMES)).drop("delivered")
    for fault, (plant, checks) in BAR_FAULTS.items():
        planted = found = right = 0
        for name in names:
            counts = _counted(check_bars(plant(clean, name)), [(name, DAY, DAY)], checks)
            planted, found, right = planted + counts[0], found + counts[1], right + counts[2]
        yield "minutes", fault, planted, found, right
    yield from tick_recall(clean, seed, names[:3])


def drawn_ticks(bars: pl.DataFrame, name: str, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Trades and quotes drawn around the bars of a day: twenty a minute."""
    rng = np.random.default_rng([seed, len(name)])
    day = bars.filter(at_day(name)).sort("at")
    close = np.repeat(day["close"].to_numpy(), 20)
    span = np.repeat((day["high"] - day["low"]).to_numpy(), 20)
    price = np.round(close + span * rng.uniform(-0.3, 0.3, len(close)), 2)
    at = day["at"].repeat_by(20).list.explode() - pl.Series(
        np.tile(np.arange(20)[::-1] * 3_000_000, day.height)
    ).cast(pl.Duration("us"))
    frame = pl.DataFrame({"symbol": [name] * len(price), "at": at, "price": price, "size": rng.integers(1, 9, len(price)) * 100.0,
                          "exchange": rng.choice(list("ABDNPQVZ"), len(price))})  # fmt: skip
    half = np.round(np.maximum(0.01, price * 0.0001), 2)
    return frame, frame.select("symbol", "at", pl.Series("bid", price - half), pl.Series("ask", price + half))


def tick_recall(
    bars: pl.DataFrame, seed: int, names: tuple[str, ...]
) -> Iterator[tuple[str, str, int, int, int]]:
    noon = at_day(None, "12:00", "12:00")
    trades: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], set[str]]] = {
        "print two per cent off": (
            lambda t: times(t, pl.int_range(pl.len()) == 3000, 1.02, "price"),
            {"bad_print"},
        ),
        "price of zero": (
            lambda t: times(t, pl.int_range(pl.len()) == 3000, 0.0, "price"),
            {"invalid_price"},
        ),
        "silent for an hour": (lambda t: t.filter(~at_day(None, "12:00", "13:00")), {"feed_gap"}),
        "stretch twice": (
            lambda t: pl.concat([t, t.filter(at_day(None, "12:00", "13:00"))]),
            {"duplicate_rows"},
        ),
        "one venue only": (
            lambda t: put(t, at_day(None, "12:00", "13:00"), exchange=pl.lit("V")),
            {"volume_level"},
        ),
        "clock an hour early": (lambda t: minutes_earlier(t, pl.lit(True), 60), {"shifted_clock"}),
    }
    quotes: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], set[str]]] = {
        "crossed": (lambda q: times(q, noon, 1.01, "bid"), {"crossed_quote"}),
        "both sides zero": (lambda q: times(q, noon, 0.0, "bid", "ask"), {"zero_quote"}),
        "one side zero": (lambda q: times(q, noon, 0.0, "ask"), {"zero_quote"}),
        "mid a tenth off": (
            lambda q: times(q, pl.int_range(pl.len()) == 3000, 0.9, "bid", "ask"),
            {"bad_print"},
        ),
        "a fifth wide": (
            lambda q: times(q, pl.int_range(pl.len()) == 3000, 1.25, "ask"),
            {"wide_quote", "bad_print"},
        ),
    }
    for where, faults, check in (("trades", trades, check_trades), ("quotes", quotes, check_quotes)):
        for fault, (plant, checks) in faults.items():
            counts = [0, 0, 0]
            for name in names:
                rows = drawn_ticks(bars, name, seed)[where == "quotes"]
                for i, number in enumerate(_counted(check(plant(rows)), [(name, DAY, DAY)], checks)):  # type: ignore[operator]
                    counts[i] += number
            yield where, fault, counts[0], counts[1], counts[2]
