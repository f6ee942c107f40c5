"""Liveness, healing, the backlog, the book, the audit and the change of vendors: rules without a socket."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.streams.backlog import Backlog, Overrun
from market.streams.bar_audit import BarAudit
from market.streams.failover import DISAGREE_S, HOLD_S, CrossCheck, Failover
from market.streams.healing import Healing
from market.streams.liveness import LEAST_S, MOST_S, Life, Liveness
from market.streams.order_book import OrderBook

T0 = dt.datetime(2026, 8, 5, 14, 0, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Print:
    trade_id: int
    second: float
    symbol: str = "AAPL"
    exchange: str = "N"
    size: float = 100.0
    conditions: tuple[str, ...] = ()
    kind: str = "trade"

    @property
    def at(self) -> dt.datetime:
        return T0 + dt.timedelta(seconds=self.second)


@dataclass(frozen=True)
class Record:
    kind: str
    symbol: str
    value: int


def beating(liveness: Liveness, symbol: str, every_s: float, until_s: float) -> None:
    liveness.watch(symbol)
    for i in range(int(until_s / every_s) + 1):
        liveness.saw(symbol, i * every_s)


def test_a_busy_name_is_stale_soon_and_a_quiet_one_is_not() -> None:
    liveness = Liveness()
    beating(liveness, "BUSY", 0.1, 600)
    beating(liveness, "QUIET", 10, 600)
    assert liveness.stale(600 + LEAST_S + 1, in_session=True) == ["BUSY"]
    assert liveness.stale(600 + 201, in_session=True) == ["BUSY", "QUIET"]


def test_a_name_seen_once_is_given_the_longest_time() -> None:
    liveness = Liveness()
    liveness.watch("NEW")
    assert liveness.life("NEW", 1e6, in_session=True) is Life.WAITING
    liveness.saw("NEW", 0)
    assert liveness.life("NEW", MOST_S, in_session=True) is Life.LIVE
    assert liveness.life("NEW", MOST_S + 1, in_session=True) is Life.STALE


def test_nothing_is_stale_out_of_the_session_or_while_halted() -> None:
    liveness = Liveness()
    beating(liveness, "A", 1, 100)
    assert liveness.life("A", 1e6, in_session=False) is Life.LIVE
    liveness.halted("A", True)
    assert liveness.stale(1e6, in_session=True) == []
    liveness.halted("A", False)
    liveness.saw("A", 2000)
    assert liveness.life("A", 2001, in_session=True) is Life.LIVE
    assert liveness.allowed_s("A") == 20.0, "the halt is not taken for the name's usual gap"


def test_after_a_cut_a_name_is_live_only_once_healed() -> None:
    liveness = Liveness()
    beating(liveness, "A", 1, 100)
    liveness.watch("NEVER SEEN")
    liveness.cut()
    liveness.saw("A", 130)
    assert liveness.life("A", 131, in_session=True) is Life.HEALING
    liveness.healed("A")
    assert liveness.life("A", 131, in_session=True) is Life.LIVE
    assert liveness.life("NEVER SEEN", 131, in_session=True) is Life.WAITING


def test_the_feeds_silence_is_judged_by_the_sum_of_its_names() -> None:
    liveness = Liveness()
    assert liveness.silence_allowed_s(in_session=True) is None
    for i in range(100):
        beating(liveness, f"S{i}", 10, 200)  # each every ten seconds: the feed ten times a second
    assert liveness.silence_allowed_s(in_session=True) == LEAST_S
    assert liveness.silence_allowed_s(in_session=False) is None


@given(
    data=st.data(),
    count=st.integers(0, 30),
)
def test_a_healed_gap_tells_every_print_once_and_in_order(data: st.DataObject, count: int) -> None:
    prints = [Print(i, float(i)) for i in range(count)]
    cut = data.draw(st.integers(0, count))
    back = data.draw(st.integers(cut, count))
    told: list[Print] = []

    async def fetch(symbols: Any, start: dt.datetime, end: dt.datetime) -> list[Print]:
        found = [p for p in prints if start <= p.at <= end]
        return data.draw(st.permutations(found))

    async def session() -> None:
        healing = Healing(fetch, told.append)
        for p in prints[:cut]:
            healing.take(p)
        healing.open_gap(["AAPL"])
        for p in prints[back:]:
            healing.take(p)
        assert told == prints[:cut], "nothing is told while the gap is open"
        await healing.heal(["AAPL"], T0 + dt.timedelta(seconds=count))

    asyncio.run(session())
    assert told == (prints if cut else prints[back:]), "a name never seen has no gap to fill"


async def test_a_failed_fetch_keeps_what_waits_and_may_be_tried_again() -> None:
    told: list[Print] = []
    answers: list[Any] = [ConnectionError("no"), [Print(2, 2)]]

    async def fetch(*_: Any) -> list[Print]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    healing = Healing(fetch, told.append)
    healing.take(Print(1, 1))
    healing.open_gap(["AAPL"])
    healing.take(Print(3, 3))
    with pytest.raises(ConnectionError):
        await healing.heal(["AAPL"], T0)
    assert [p.trade_id for p in told] == [1]
    await healing.heal(["AAPL"], T0)
    assert [p.trade_id for p in told] == [1, 2, 3]
    assert healing.filled == 1


async def test_the_same_id_on_two_exchanges_is_two_prints() -> None:
    told: list[Print] = []
    healing = Healing(lambda *_: asyncio.sleep(0, []), told.append)  # type: ignore[arg-type]
    for p in (Print(1, 1), Print(1, 1, exchange="Q"), Print(1, 1)):
        healing.take(p)
    assert len(told) == 2


async def test_the_backlog_replaces_quotes_and_keeps_everything_else_in_order() -> None:
    backlog = Backlog(most=3)
    for i in range(100):
        backlog.put(Record("quote", "A", i))
    backlog.put(Record("trade", "A", 1))
    backlog.put(Record("status", "A", 2))
    backlog.put(Record("quote", "B", 7))
    records = await backlog.take()
    assert records == [
        Record("trade", "A", 1),
        Record("status", "A", 2),
        Record("quote", "A", 99),
        Record("quote", "B", 7),
    ]
    assert backlog.quotes_replaced == 99
    assert len(backlog) == 0


async def test_a_backlog_of_prints_that_passes_its_bound_is_heard_and_loses_nothing() -> None:
    backlog = Backlog(most=2)
    backlog.put(Record("trade", "A", 1))
    backlog.put(Record("trade", "A", 2))
    with pytest.raises(Overrun, match="3 records wait, more than 2"):
        backlog.put(Record("trade", "A", 3))
    assert [r.value for r in await backlog.take()] == [1, 2, 3]


def test_a_quote_is_a_book_of_one_level() -> None:
    book = OrderBook("AAPL")
    book.quote(99.0, 300, 101.0, 100)
    assert (book.mid, book.imbalance, book.cost("buy", 100), book.cost("buy", 101)) == (
        100.0,
        0.5,
        101.0,
        None,
    )
    book.quote(0, 0, 101.0, 100)
    assert (book.bids, book.mid, book.imbalance) == ([], None, None)
    book.quote(102.0, 1, 101.0, 1)
    assert book.crossed
    assert book.mid is None


def test_depth_is_added_and_taken_away_level_by_level() -> None:
    book = OrderBook("BTC/USD")
    book.update([(100, 1), (99, 2)], [(101, 1), (102, 3)], reset=True)
    book.update([(100, 0), (98, 5)], [(101, 2)], reset=False)
    assert book.bids == [(99, 2), (98, 5)]
    assert book.depth("buy") == [2, 5]
    assert book.cost("buy", 3) == pytest.approx((2 * 101 + 102) / 3)
    assert book.cost("sell", 8) is None
    book.update([(50, 1)], [], reset=True)
    assert (book.bids, book.asks) == ([(50, 1)], [])


@dataclass(frozen=True)
class MinuteBar:
    minute: int
    volume: float
    symbol: str = "AAPL"

    @property
    def at(self) -> dt.datetime:
        return T0 + dt.timedelta(minutes=self.minute)


def test_a_lost_print_shows_as_missing_volume() -> None:
    audit = BarAudit()
    audit.trade(Print(0, -1))  # the minute before: from here on everything was seen
    for i in range(10):
        audit.trade(Print(i, 60 + i))
    audit.trade(Print(99, 61, size=5000.0, conditions=("M",)))
    assert audit.bar(MinuteBar(1, 1000.0)) is None
    audit.trade(Print(20, 120))
    found = audit.bar(MinuteBar(2, 200.0))
    assert found is not None
    assert (found.print_volume, found.missing) == (100.0, 0.5)


def test_a_minute_that_was_not_seen_whole_is_not_judged() -> None:
    audit = BarAudit()
    audit.trade(Print(1, 30))
    assert audit.bar(MinuteBar(0, 10_000.0)) is None
    audit.trade(Print(2, 70))
    audit.gap("AAPL", T0 + dt.timedelta(seconds=80))
    assert audit.bar(MinuteBar(1, 10_000.0)) is None
    assert audit.bars == 0


def test_a_print_taken_back_counts_no_more() -> None:
    audit = BarAudit()
    audit.trade(Print(0, -1))
    audit.trade(Print(1, 1))
    audit.trade(Print(2, 2))
    audit.cancelled("AAPL", T0 + dt.timedelta(seconds=2), 100.0)
    assert audit.bar(MinuteBar(0, 100.0)) is None


def test_the_backup_takes_over_at_once_and_the_primary_comes_back_after_it_has_held() -> None:
    failover = Failover()

    def judge(now_s: float, primary: bool, backup: bool) -> str | None:
        return failover.judge(primary_live=primary, backup_live=backup, now_s=now_s)

    assert judge(0, True, True) == "primary"
    assert judge(1, False, True) == "backup"
    assert judge(2, True, True) == "backup"
    assert judge(3, False, True) == "backup"
    assert judge(4, True, True) == "backup"
    assert judge(4 + HOLD_S - 1, True, True) == "backup"
    assert judge(4 + HOLD_S, True, True) == "primary"
    assert judge(100, False, False) is None
    assert judge(101, True, False) == "primary", "with no other choice it need not hold first"


def test_vendors_that_disagree_for_longer_than_a_moment_are_named() -> None:
    check = CrossCheck()
    check.quote("primary", "AAPL", 100.0, 100.1, 0)
    check.quote("backup", "AAPL", 101.0, 101.1, 1)
    check.quote("primary", "KO", 50.0, 50.1, 0)
    check.quote("backup", "KO", 50.1, 50.2, 1)
    check.quote("backup", "KO", 0.0, 60.0, 1)
    assert check.disagreeing(1 + DISAGREE_S) == []
    assert check.disagreeing(2 + DISAGREE_S) == ["AAPL"]
    check.quote("primary", "AAPL", 101.0, 101.1, 9)
    assert check.disagreeing(100) == []
