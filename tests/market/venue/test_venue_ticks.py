"""Tapes of real ticks and bars: the best bid and offer from one-sided quotes, and orders traded against them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from venue_clients import Wire

from market.venue.daily import DailyBar, DailyHistory, canonical
from market.venue.path import build_from_daily
from market.venue.rehearsal import RehearsalVenue
from market.venue.sessions import session_on
from market.venue.tape import CLOSING, OPENING, REGULAR
from market.venue.ticks import TickTape, national_best

INTRADAY = Path(__file__).parents[3] / ".." / "shared" / "data" / "intraday"
real = pytest.mark.skipif(not INTRADAY.is_dir(), reason="the shared intraday data are not beside the project")


def test_the_best_quote_is_built_from_one_sided_updates() -> None:
    at = dt.datetime(2013, 10, 7, 10, 0)  # noqa: DTZ001 - the files hold naive New York times
    rows = pl.DataFrame(
        [
            (at, 10.00, 0.0, 300, 0, "P"),
            (at + dt.timedelta(seconds=1), 0.0, 10.02, 0, 200, "P"),
            (at + dt.timedelta(seconds=2), 10.00, 0.0, 100, 0, "Q"),  # joins the bid
            (at + dt.timedelta(seconds=3), 0.0, 10.01, 0, 500, "Z"),  # improves the ask
            (at + dt.timedelta(seconds=4), 10.01, 0.0, 700, 0, "Q"),  # crosses: Z's ask must be stale
            (at + dt.timedelta(seconds=90), 9.99, 0.0, 50, 0, "B"),  # everybody else fell silent
        ],
        schema=["ts_ny", "bid", "ask", "bid_size", "ask_size", "exchange"],
        orient="row",
    )
    best = national_best(rows)
    shown = [
        tuple(int(c[i]) for c in (best.bid, best.ask, best.bid_size, best.ask_size))
        for i in range(len(best.t))
    ]
    assert shown == [
        (100000, 100200, 300, 200),
        (100000, 100200, 400, 200),
        (100000, 100100, 400, 500),
        (100100, 100200, 700, 200),
    ]


@real
def test_real_prints_lie_inside_the_best_quote_that_is_built() -> None:
    ticks = TickTape(INTRADAY / "lean_tick_trade.parquet", seed=7)
    tape = ticks.build("BAC", session_on(dt.date(2013, 10, 7)))
    assert tape is not None
    assert (tape.bid < tape.ask).all()
    regular = (tape.kind == REGULAR).nonzero()[0]
    quote = np.searchsorted(tape.quote_times, tape.trade_times[regular], "right") - 1
    price = tape.price[regular]
    inside = (price >= tape.bid[quote] - 100) & (price <= tape.ask[quote] + 100)
    assert inside.mean() > 0.999


@real
def test_an_order_trades_against_real_minutes(start_venue: Callable[..., RehearsalVenue]) -> None:
    venue = start_venue(data=INTRADAY / "lean_minute_trade.parquet", date=dt.date(2013, 10, 7), symbols=None)
    wire = Wire(venue)
    quote = wire.get("/v2/stocks/SPY/quotes/latest")["quote"]
    assert 0.01 <= round(quote["ap"] - quote["bp"], 2) < 0.10
    order = wire.order(symbol="SPY", qty="10").json()["id"]
    shown = wire.get(f"/v2/orders/{order}")
    assert (shown["status"], float(shown["filled_avg_price"])) == ("filled", quote["ap"])
    assert venue.server.exchange.session.day == dt.date(2013, 10, 7)


@real
def test_bars_stamped_with_their_end_are_moved_to_their_start() -> None:
    ticks = TickTape(INTRADAY / "eqker_1min_2019w07.parquet", seed=7)
    session = session_on(dt.date(2019, 2, 12))
    tape = ticks.build("AAPL", session)
    assert tape is not None
    assert int(tape.trade_times[0]) == session.open
    assert int(tape.trade_times[-1]) < session.close
    bars = tape.bars(session.open, session.close, 60 * 10**9)
    assert len(bars) == 390


# --- the modelled path ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bar",
    [
        DailyBar(dt.date(2022, 12, 28), 100.0, 104.5, 98.25, 103.0, 1_234_567.0),
        DailyBar(dt.date(2022, 12, 28), 100.0, 100.0, 100.0, 100.0, 500.0),
        DailyBar(dt.date(2022, 12, 28), 10.1234, 10.2, 10.1, 10.15, 77.0),
        DailyBar(dt.date(2022, 12, 28), 0.5, 0.6, 0.4, 0.45, 90_000.0),
        DailyBar(dt.date(2022, 11, 25), 50.0, 55.0, 50.0, 55.0, 10_000_000.0),  # an early close
        DailyBar(dt.date(2022, 12, 28), 400_000.0, 410_000.0, 399_000.0, 405_000.0, 2_000.0),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_modelled_session_keeps_its_daily_bar(bar: DailyBar, seed: int) -> None:
    row = {"symbol": ["X"], "date": [bar.day], "open": [bar.open], "high": [bar.high], "low": [bar.low],
           "close": [bar.close], "volume": [bar.volume]}  # fmt: skip
    history = DailyHistory(canonical(pl.DataFrame(row), "a test"))
    session = session_on(bar.day)
    tape = build_from_daily(history, "X", session, seed=seed)
    assert tape is not None
    assert int(tape.size.sum()) == bar.volume
    assert tape.price.min() >= round(bar.low * 10_000)
    assert tape.price.max() <= round(bar.high * 10_000)
    if bar.volume > 10_000:
        assert (tape.price[0], tape.price[-1]) == (round(bar.open * 10_000), round(bar.close * 10_000))
        assert (tape.price.max(), tape.price.min()) == (round(bar.high * 10_000), round(bar.low * 10_000))
        assert (tape.kind[0], tape.kind[-1]) == (OPENING, CLOSING)
        assert session.open < tape.trade_time(0) < session.open + 10**9
        assert session.close - 10**9 < tape.trade_time(len(tape.price) - 1) < session.close
    assert (tape.bid > 0).all()
    assert (tape.ask > tape.bid).all()
    assert (np.diff(tape.quote_times) > 0).all()
    again = build_from_daily(history, "X", session, seed=seed)
    assert again is not None
    assert (again.price == tape.price).all()
