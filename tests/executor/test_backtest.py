"""The back-test is the live core: its limits refuse, its breakers trip, and it never sees tomorrow."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from executor.backtest.broker import BacktestBroker
from executor.backtest.history import History, load
from executor.backtest.outcome import RETURNS, chart, figures, returns_of
from executor.backtest.risk import SESSIONS_MIN, snapshot_of
from executor.backtest.run import GONE_AFTER, Backtest, Result, Terms
from executor.backtest.signals import MovingAverageCross, Signals, WeightsFile
from executor.cli import app
from executor.core.commands import Submit
from executor.core.events import Quote
from executor.errors import InputError
from executor.replay.frames import encode_commands
from executor.settings import LimitSettings
from models.risk.snapshot import RiskSnapshot

SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
SECTORS = {s: f"sector {i}" for i, s in enumerate(SYMBOLS)}
LIMITS = {name: str(value) for name, value in LimitSettings().model_dump().items()}
SESSIONS = SESSIONS_MIN + 120
START = SESSIONS_MIN + 5


@cache
def history() -> History:
    rng = np.random.default_rng(5)
    n = len(SYMBOLS)
    close = 80.0 * np.exp(np.cumsum(rng.normal(0.0002, 0.012, (SESSIONS, n)), axis=0))
    opens = close * np.exp(rng.normal(0, 0.002, close.shape))
    high, low = np.maximum(opens, close) * 1.004, np.minimum(opens, close) * 0.996
    days = np.busday_offset(np.datetime64("2015-01-05"), np.arange(SESSIONS)).astype(object)
    return History(tuple(days), SYMBOLS, opens, high, low, close, rng.uniform(4e6, 9e6, close.shape))


@cache
def risk(session: int) -> RiskSnapshot:
    found = snapshot_of(history().until(session))
    assert found is not None
    return found


class Plan:
    """Weights by position in the history; remembers how much it was shown."""

    def __init__(self, by_session: Mapping[int, dict[str, float]]) -> None:
        self.by_session = by_session
        self.shown: list[int] = []

    def targets(self, known: History, held: Mapping[str, object]) -> dict[str, float] | None:
        self.shown.append(len(known))
        return self.by_session.get(len(known) - 1)


def run(
    signals: Signals, past: History | None = None, limits: Mapping[str, str] | None = None, **terms: object
) -> tuple[Backtest, Result]:
    test = Backtest(
        past or history(), signals, LIMITS | dict(limits or {}), SECTORS, Terms(**terms),  # type: ignore[arg-type]
        risk=lambda known: risk(START - 1) if len(known) >= SESSIONS_MIN else None,
    )  # fmt: skip
    return test, test.run(SESSIONS_MIN - 5)


def at(position: int) -> dt.date:
    return history().sessions[position]


def test_a_signal_of_one_close_is_traded_at_the_next_close_and_not_before() -> None:
    _, result = run(Plan({START: {"AAA": 0.05}}))
    assert [t.session for t in result.trades] == [at(START + 1)]
    trade = result.trades[0]
    assert trade.side == "buy"
    assert float(trade.mid) == pytest.approx(history().close[START + 1, 0], abs=0.02)
    assert trade.price > trade.mid, "a buy pays the ask"
    assert float(trade.qty * trade.price) == pytest.approx(50_000, rel=0.01)


def test_filled_at_the_open_it_pays_the_open() -> None:
    _, result = run(Plan({START: {"AAA": 0.05}}), fill="open")
    assert [t.session for t in result.trades] == [at(START + 1)]
    assert float(result.trades[0].mid) == pytest.approx(history().open[START + 1, 0], abs=0.02)


@pytest.mark.parametrize("fill", ["close", "open"])
def test_another_future_does_not_change_the_past(fill: str) -> None:
    known = START + 40
    other = np.arange(SESSIONS)
    other[known + 1 :] = np.random.default_rng(1).permutation(other[known + 1 :])
    h = history()
    shuffled = replace(
        h, **{n: getattr(h, n)[other] * np.where(other == np.arange(SESSIONS), 1.0, 1.3)[:, None]
              for n in ("open", "high", "low", "close")},
    )  # fmt: skip
    (_, one), (_, two) = (run(MovingAverageCross(5, 20, 0.5), past, fill=fill) for past in (h, shuffled))
    last = at(known)
    assert [t for t in one.trades if t.session <= last] == [t for t in two.trades if t.session <= last]
    assert [d for d in one.days if d.session <= last] == [d for d in two.days if d.session <= last]
    assert one.trades
    assert one.days != two.days


def test_a_source_is_shown_the_bars_that_are_over_and_no_others() -> None:
    plan = Plan({})
    run(plan)
    assert plan.shown == list(range(SESSIONS_MIN - 4, SESSIONS + 1))


def test_the_limits_of_live_refuse_here_too() -> None:
    _, result = run(Plan({START: {"AAA": 0.30}}), limits={"order_notional_usd": "1000000"})
    held = sum(t.qty * t.price for t in result.trades)
    assert held <= Decimal("0.121") * 1_000_000
    assert result.refusals["single_name"] > 0


def test_a_breaker_trips_latches_and_is_loosened_only_by_the_person_who_is_asked_for() -> None:
    h = history()
    close = h.close.copy()
    close[START + 5 :] *= 0.80
    fallen = replace(h, open=close, high=close * 1.001, low=close * 0.999, close=close)
    book = dict.fromkeys(SYMBOLS, 0.11)
    plan = {START: book, START + 20: dict.fromkeys(SYMBOLS, 0.05), START + 30: {"AAA": 0.11}}
    _, latched = run(Plan(plan), fallen)
    assert latched.days[-1].mode in ("CLOSE_ONLY", "HALTED")
    assert any("loss" in text for _, _, text in latched.trips)
    after = [t for t in latched.trades if t.session > at(START + 5)]
    assert all(t.side == "sell" for t in after), "only exits after a daily loss"
    _, rearmed = run(Plan(plan), fallen, rearm=True)
    assert any(t.side == "buy" for t in rearmed.trades if t.session > at(START + 25))


def test_the_books_add_up_to_the_cent() -> None:
    test, result = run(MovingAverageCross(5, 20, 0.5))
    assert len(result.trades) > 30
    flow = sum(-t.qty * t.price if t.side == "buy" else t.qty * t.price for t in result.trades)
    charged = sum(t.fees + t.impact for t in result.trades)
    assert float(test.engine.book.cash) == pytest.approx(1_000_000 + float(flow) - charged, abs=1.0)
    held: dict[str, Decimal] = {}
    for t in result.trades:
        held[t.symbol] = held.get(t.symbol, Decimal(0)) + (t.qty if t.side == "buy" else -t.qty)
    assert {s: q for s, q in held.items() if q} == test.engine.book.positions


def test_a_name_that_stops_trading_leaves_the_book_at_its_last_close() -> None:
    h = history()
    arrays = {n: getattr(h, n).copy() for n in ("open", "high", "low", "close", "volume")}
    for values in arrays.values():
        values[START + 10 :, 0] = np.nan
    test, result = run(Plan({START: {"AAA": 0.05, "BBB": 0.05}}), replace(h, **arrays))
    assert "AAA" not in test.engine.book.positions
    assert "BBB" in test.engine.book.positions
    gone = [d.held for d in result.days if d.session >= at(START + 10 + GONE_AFTER - 1)]
    assert set(gone) == {1}
    before, after = (next(d.equity for d in result.days if d.session == at(START + 10 + k)) for k in (8, 9))
    assert after == pytest.approx(before, rel=0.01), "a write-off at the last close is no loss by itself"


def test_an_order_fills_at_the_far_side_within_its_limit_or_not_at_all() -> None:
    broker = BacktestBroker()
    quote = Quote(
        market_time=dt.datetime(2020, 1, 2, 15, tzinfo=dt.UTC), now_ns=1, symbol="AAA", bid=Decimal("99.9"),
        ask=Decimal("100.1"), bid_size=1, ask_size=1,
    )  # fmt: skip

    def price(side: str, limit: str, at: Quote | None = quote) -> Decimal | None:
        order = Submit(
            client_order_id="x", symbol="AAA", side=side, qty=Decimal(10), limit_price=Decimal(limit)
        )
        trade = broker.fill(order, at, 1e6, 0.02, dt.date(2020, 1, 2), "target")
        return None if trade is None else trade.price

    assert (price("buy", "100.1"), price("sell", "99.9")) == (Decimal("100.1"), Decimal("99.9"))
    assert (price("buy", "100.09"), price("sell", "99.91"), price("buy", "200", None)) == (None, None, None)
    assert len(broker.trades) == 2
    assert broker.charge() < 0
    assert broker.charge() == 0


def test_the_returns_are_what_a_tear_sheet_takes() -> None:
    from reports.tear_sheet import by_year, cost_drag  # slow to import: not for the processes below

    first = SESSIONS_MIN - 5
    _, result = run(MovingAverageCross(5, 20, 0.5))
    returns = returns_of(result, history(), first)
    frame = pl.DataFrame({n: returns[n] for n in RETURNS}, schema_overrides={"date": pl.Date})
    assert by_year(frame, None)
    assert cost_drag(frame)
    summary = figures(result, returns)
    assert summary["trades"] == len(result.trades)
    assert summary["equity_last_usd"] == pytest.approx(result.days[-1].equity, abs=0.01)
    net = frame["net"].to_numpy()
    assert float(np.prod(1 + net)) == pytest.approx(result.days[-1].equity / result.days[0].equity)


def test_the_chart_says_which_end_is_up() -> None:
    assert chart([1.0, 2.0, 3.0]) == "▁▅█"
    assert chart([5.0, 5.0]) == "▄▄"


def digest() -> str:
    import hashlib

    seen = hashlib.sha256()
    test = Backtest(
        history(), MovingAverageCross(5, 20, 0.5), LIMITS, SECTORS,
        note=lambda event, commands: seen.update(encode_commands(commands)),
    )  # fmt: skip
    test.run(SESSIONS_MIN - 5, SESSIONS_MIN + 20)
    return seen.hexdigest()


def test_the_same_bars_give_the_same_commands_in_processes_with_other_hash_seeds() -> None:
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_backtest; print(test_backtest.digest())"
    shown = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(shown) == 1
    assert len(shown.pop()) == 65


def written(folder: Path) -> tuple[Path, Path]:
    """The history as a Parquet file of prices, and a file of signals for it."""
    h = history()
    rows = [(s, d, *(float(getattr(h, n)[i, j]) for n in ("open", "high", "low", "close", "volume")))
            for j, s in enumerate(SYMBOLS) for i, d in enumerate(h.sessions)]  # fmt: skip
    names = ["symbol", "date", "open", "high", "low", "close", "volume"]
    pl.DataFrame(rows, schema=names, orient="row").write_parquet(folder / "prices.parquet")
    lines = [f"{at(START)},AAA,0.05", f"{at(START)},BBB,0.06", f"{at(START + 9)},BBB,0.03"]
    (folder / "signals.csv").write_text("\n".join(["date,symbol,weight", *lines]) + "\n")
    return folder / "prices.parquet", folder / "signals.csv"


def test_a_file_of_weights_is_the_whole_book_wanted(tmp_path: Path) -> None:
    prices, signals = written(tmp_path)
    past = load(str(prices), tmp_path)
    assert past.sessions == history().sessions
    np.testing.assert_allclose(past.close, history().close)
    test, result = run(WeightsFile(signals), past)
    assert set(test.engine.book.positions) == {"BBB"}, "what is left out of a later date is sold"
    assert [t.symbol for t in result.trades if t.side == "buy"] == ["AAA", "BBB"]


def test_the_command_writes_what_it_found_and_names_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALLYPORT_STATE_DIR", str(tmp_path / "state"))
    prices, signals = written(tmp_path)
    strategy = Path(__file__).parents[2] / "strategies" / "momentum.toml"
    arguments = ["backtest", str(strategy), "--data", str(prices), "--signals", str(signals)]
    done = CliRunner().invoke(
        app, [*arguments, "--from", str(at(SESSIONS_MIN - 5)), "--out", str(tmp_path / "out"), "--json"]
    )
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["trades"] >= 4
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    assert pl.read_parquet(tmp_path / "out" / "returns.parquet").columns == list(RETURNS)
    with pytest.raises(InputError, match="one source of signals"):
        CliRunner().invoke(app, arguments[:-2], catch_exceptions=False)
    (tmp_path / "bad.csv").write_text("date,symbol,weight\n2020-13-01,AAA,0.1\n")
    with pytest.raises(InputError, match="line 2"):
        WeightsFile(tmp_path / "bad.csv")
