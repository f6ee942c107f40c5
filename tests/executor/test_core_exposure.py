"""The exposure kept by differences equals one recounted from the book, whatever happened before."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import cache

import numpy as np
import pytest
from core_world import NOON, World, snapshot
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from slow_exposure import assert_equal_to_a_recount

from executor.core import exposure as module
from executor.core.book import Book
from executor.core.events import Quote
from executor.core.exposure import Exposure
from executor.core.line import valued
from executor.core.orders import State, WorkingOrder
from executor.core.pace import Pace
from executor.core.tail_risk import TailRisk
from models.risk.snapshot import RiskSnapshot
from models.risk.value_at_risk import historical

NAMES = tuple(f"N{i}" for i in range(12))
SECTORS = {name: f"sector {i % 3}" for i, name in enumerate(NAMES[:-1])}
SHARES = st.sampled_from([Decimal(1), Decimal(7), Decimal("0.25"), Decimal(1000), Decimal(200_000)])


@cache
def model(seed: int) -> RiskSnapshot:
    """Ten of the twelve names, one in ten without a loading."""
    rng = np.random.default_rng(seed)
    known = NAMES[:10]
    return RiskSnapshot(
        as_of=dt.date(2022, 12, 27), symbols=known, close=np.full(10, 50.0), daily_volatility=np.full(10, 0.02),
        average_volume=np.full(10, 1e6), spread=np.full(10, 1e-3), returns=rng.normal(0, 0.02, (500, 10)),
        beta=rng.normal(1, 1, 10), loadings=rng.normal(0, 0.01, (10, 3)), cluster=rng.integers(0, 4, 10).astype(float),
        restricted=np.zeros(10),
    )  # fmt: skip


TOGETHER = module.TOGETHER_MIN


class Kept(RuleBasedStateMachine):
    """A book and its orders, changed in every way there is; the exposure is told as the engine tells it."""

    @initialize(with_model=st.booleans(), together=st.sampled_from([TOGETHER, 2]))
    def begin(self, with_model: bool, together: int) -> None:
        module.TOGETHER_MIN = together
        self.book = Book(Decimal(100_000))
        self.orders: dict[str, WorkingOrder] = {}
        self.quotes: dict[str, Quote] = {}
        self.exposure = Exposure(self.book, SECTORS)
        self.snapshot = model(1) if with_model else None
        self.exposure.load(self.snapshot)
        self.count = 0

    @rule(symbol=st.sampled_from(NAMES), mid=st.integers(50, 2_000_000), wide=st.sampled_from([1, 5, 0]))
    def a_quote(self, symbol: str, mid: int, wide: int) -> None:
        bid, ask = Decimal(mid) / 100, Decimal(mid + wide) / 100
        quote = Quote(market_time=NOON, now_ns=0, symbol=symbol, bid=bid, ask=ask, bid_size=1, ask_size=1)
        self.exposure.quote(quote, usable=wide > 0)
        if wide > 0:
            self.quotes[symbol] = quote

    @rule(
        symbol=st.sampled_from(NAMES), side=st.sampled_from(["buy", "sell"]), qty=SHARES, price=st.integers(100, 50_000),
        kind=st.sampled_from(["plain", "leg", "replacement"]), pick=st.integers(0, 99),
    )  # fmt: skip
    def an_order(self, symbol: str, side: str, qty: Decimal, price: int, kind: str, pick: int) -> None:
        self.count += 1
        peers = [o.client_order_id for o in self.orders.values() if o.symbol == symbol and o.is_open]
        order = WorkingOrder(
            client_order_id=f"o{self.count}", symbol=symbol, side=side, qty=qty, limit_price=Decimal(price) / 100,
            purpose="target", signal_id=None, batch_id=None, leg=1, state=State.LIVE, created_ns=0,
            parent_client_order_id=f"entry of {symbol}" if kind == "leg" else None,
            replaces_client_order_id=peers[pick % len(peers)] if kind == "replacement" and peers else None,
        )  # fmt: skip
        self.orders[order.client_order_id] = order
        self.exposure.track(order)

    @precondition(lambda self: self.orders)
    @rule(pick=st.integers(0, 99), part=st.sampled_from([Decimal("0.5"), Decimal(1)]))
    def a_fill(self, pick: int, part: Decimal) -> None:
        order = list(self.orders.values())[pick % len(self.orders)]
        qty = order.remaining * part
        if not order.is_open or not qty:
            return
        order.filled_qty += qty
        self.book.apply_fill(order, qty, order.limit_price)
        if order.remaining == 0:
            order.state = State.DONE
        self.exposure.refresh(order.symbol)

    @precondition(lambda self: self.orders)
    @rule(
        pick=st.integers(0, 99),
        state=st.sampled_from([State.DONE, State.REJECTED, State.UNKNOWN, State.CANCELING]),
    )
    def news_of_an_order(self, pick: int, state: State) -> None:
        order = list(self.orders.values())[pick % len(self.orders)]
        if order.is_open:
            order.state = state
            self.exposure.refresh(order.symbol)

    @precondition(lambda self: self.orders)
    @rule(pick=st.integers(0, 99))
    def an_order_withdrawn(self, pick: int) -> None:
        order = self.orders.pop(list(self.orders)[pick % len(self.orders)])
        self.exposure.drop(order.symbol, order.client_order_id)

    @rule(symbol=st.sampled_from(NAMES), qty=SHARES, sign=st.sampled_from([1, -1, 0]))
    def a_correction(self, symbol: str, qty: Decimal, sign: int) -> None:
        if sign:
            self.book.positions[symbol] = qty * sign
        else:
            self.book.positions.pop(symbol, None)
        self.exposure.refresh(symbol)

    @rule(symbol=st.sampled_from(NAMES))
    def a_corporate_action(self, symbol: str) -> None:
        self.quotes.pop(symbol, None)
        self.exposure.forget_price(symbol)

    @rule(seed=st.integers(0, 3))
    def another_model(self, seed: int) -> None:
        self.snapshot = model(seed) if seed else None
        self.exposure.load(self.snapshot)

    @rule()
    def a_new_day(self) -> None:
        self.exposure.open_day()

    @rule(
        mids=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(50, 2_000_000)), min_size=2, max_size=8)
    )
    def many_quotes_at_once(self, mids: list[tuple[str, int]]) -> None:
        quotes = [
            Quote(
                market_time=NOON, now_ns=0, symbol=symbol, bid=Decimal(mid) / 100, ask=Decimal(mid + 1) / 100,
                bid_size=1, ask_size=1,
            )
            for symbol, mid in mids
        ]  # fmt: skip
        self.exposure.quotes(quotes)
        self.quotes |= {quote.symbol: quote for quote in quotes}

    def teardown(self) -> None:
        module.TOGETHER_MIN = TOGETHER

    @invariant()
    def equal_to_a_recount(self) -> None:
        if not hasattr(self, "exposure"):
            return
        assert_equal_to_a_recount(
            self.exposure, self.book, self.orders.values(), self.quotes, SECTORS, self.snapshot
        )


TestKept = Kept.TestCase
TestKept.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_rounding_does_not_gather_over_a_long_day() -> None:
    rng = np.random.default_rng(5)
    book = Book(Decimal(0), {name: Decimal(100) for name in NAMES[:10]})
    kept = Exposure(book, SECTORS)
    kept.load(model(1))
    quotes: dict[str, Quote] = {}
    for step in range(30_000):
        symbol = NAMES[step % 10]
        cents = Decimal(int(rng.integers(100, 1_000_000)))
        quote = Quote(
            market_time=NOON, now_ns=0, symbol=symbol, bid=cents / 100, ask=(cents + 1) / 100, bid_size=1, ask_size=1,
        )  # fmt: skip
        quotes[symbol] = quote
        kept.quote(quote, usable=True)
    assert kept._changes > 29_000, "the sums were not added up afresh on the way"
    assert_equal_to_a_recount(kept, book, (), quotes, SECTORS, model(1))


def test_the_sums_are_added_up_afresh_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REBUILD_AFTER", 5)
    world = World(positions={"AAA": "10"})
    world.batch({})
    for cent in range(20):
        world.quote("AAA", f"100.{cent:02}", f"100.{cent + 1:02}")
    assert world.engine.exposure._changes < 5


def test_an_order_foreseen_and_then_made_needs_no_second_measurement() -> None:
    world = World(positions={"BBB": "10"})
    world.batch({})
    kept = world.engine.exposure
    kept.tail()
    line = kept.line("AAA")
    foreseen = kept.tail_after(line, 100 * 100.01)
    order = WorkingOrder(
        client_order_id="o1", symbol="AAA", side="buy", qty=Decimal(100), limit_price=Decimal("100.01"),
        purpose="target", signal_id=None, batch_id=None, leg=1, state=State.LIVE, created_ns=0,
    )  # fmt: skip
    kept.track(order)
    kept.settle()
    assert kept.tail_risk is not None
    assert kept.tail_risk._present is foreseen
    kept.tail_risk._present = None
    assert kept.tail() == foreseen, "bit for bit"


@pytest.mark.parametrize("scenarios", [99, 100, 101, 250, 499, 500, 1000])
def test_the_tail_is_that_of_the_risk_model_at_both_levels(scenarios: int) -> None:
    rng = np.random.default_rng(scenarios)
    returns = rng.normal(0, 0.01, (scenarios, 3)).round(3)  # rounded: ties at the quantile
    made = TailRisk(RiskSnapshot(dt.date(2022, 1, 3), ("A", "B", "C"), *(np.ones(3),) * 4, returns=returns))
    for column, usd in ((0, 1000.0), (1, -500.0), (0, 250.0)):
        made.move(column, usd)
    pnl = returns @ np.array([1250.0, -500.0, 0.0])
    wide = historical(pnl, 0.95) if scenarios >= 100 else (np.nan, np.nan)
    narrow = historical(pnl, 0.99) if scenarios >= 500 else (np.nan, np.nan)
    assert made.present() == pytest.approx((*wide, *narrow), nan_ok=True)
    more = historical(pnl + 700.0 * returns[:, 2], 0.95) if scenarios >= 100 else (np.nan, np.nan)
    assert made.after(2, 700.0)[:2] == pytest.approx(more, nan_ok=True)
    assert made.usable is (scenarios >= 100)


def test_scenarios_with_a_hole_are_not_usable() -> None:
    returns = np.array(snapshot().returns)
    returns[3, 1] = np.nan
    holed = RiskSnapshot(dt.date(2022, 1, 3), ("A", "B", "C", "D"), *(np.ones(4),) * 4, returns=returns)
    assert not TailRisk(holed).usable


@pytest.mark.parametrize(
    ("up", "down", "price", "said"),
    [
        (100, 50, 10.0, (1000, 500, 1000, 1000, 250)),
        (50, -100, 10.0, (500, -1000, 1000, -1000, 500)),  # 5 USD a share is more than 30 %
        (0, -100, 100.0, (0, -10_000, 10_000, -10_000, 3000)),
        (0, -100, 4.0, (0, -400, 400, -400, 400)),
        (0, -100, 2.0, (0, -200, 200, -200, 250)),
        (-20, -50, 10.0, (-200, -500, 500, -500, 250)),
    ],
)
def test_worst_values_and_the_margin_of_rule_4210(
    up: float, down: float, price: float, said: tuple[float, ...]
) -> None:
    assert valued(up, down, price) == said


def test_no_sixty_seconds_hold_more_messages_than_the_bound() -> None:
    pace, sent = Pace(), []
    for tenth in range(3000):
        at_s = tenth / 10
        if pace.spent(at_s, 60.0) + 1.0 <= 30.0:
            pace.message(at_s, 60.0)
            sent.append(at_s)
    busiest = max(sum(1 for s in sent if start < s <= start + 60) for start in sent)
    assert 55 <= busiest <= 60
    spent = pace.spent(300.0, 60.0)
    assert pace.spent(100.0, 60.0) >= spent, "a clock that steps back gives nothing back"


def test_a_new_day_counts_from_nothing_and_keeps_the_message_budget() -> None:
    pace = Pace(traded_usd=5.0)
    pace.message(10.0, 60.0)
    pace.fill(-7.0)
    assert pace.traded_usd == 12.0
    pace.open_day()
    assert pace.traded_usd == 0.0
    assert pace.spent(10.0, 60.0) == 1.0
