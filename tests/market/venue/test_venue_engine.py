"""The exchange core under random orders, cancels, replacements and time: what must always hold."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from functools import cache
from typing import Any

import hypothesis.strategies as st
import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from market.venue.daily import DailyHistory, canonical
from market.venue.exchange import Exchange, Rules
from market.venue.halts import Halts
from market.venue.market_feed import MarketFeed
from market.venue.order_entry import OrderSpec, ReplaceSpec, parse_order
from market.venue.orders import TERMINAL, TRANSITIONS, Order
from market.venue.path import build_from_daily
from market.venue.refusals import Refusal
from market.venue.sessions import session_on
from market.venue.set_aside import stop_orders, suspend_orders
from market.venue.tape import Tape
from market.venue.timestamps import SECOND, parse_moment

DAY, NEXT = dt.date(2022, 12, 28), dt.date(2022, 12, 29)
CASH = Decimal(100_000)
SYMBOLS = {"AAA": (100.0, 250_000.0), "BBB": (20.0, 40_000.0)}


@cache
def history() -> DailyHistory:
    rows = []
    for symbol, (price, volume) in SYMBOLS.items():
        for day in (dt.date(2022, 12, 27), DAY, NEXT):
            rows.append((symbol, day, price, price * 1.02, price * 0.98, price * 1.01, volume))
    columns = ["symbol", "date", "open", "high", "low", "close", "volume"]
    return DailyHistory(canonical(pl.DataFrame(rows, schema=columns, orient="row"), "a test"))


def make_exchange(
    rules: Rules | None = None, start: str = "14:30", record: Any = None, accounts: int = 2
) -> Exchange:
    tape = Tape(history(), lambda s, session: build_from_daily(history(), s, session, seed=3))
    hour, minute = map(int, start.split(":"))
    begins = session_on(DAY).open + ((hour * 60 + minute) - (14 * 60 + 30)) * 60 * SECOND
    return Exchange(tape, start=begins, seed=3, accounts=accounts, cash=CASH, rules=rules, record=record)


prices = st.integers(9600, 10400).map(lambda n: Decimal(n) / 10_000)
specs = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(sorted(SYMBOLS)),
        "side": st.sampled_from(["buy", "sell"]),
        "type": st.sampled_from(["market", "limit", "stop", "stop_limit", "trailing_stop"]),
        "time_in_force": st.sampled_from(["day", "gtc", "gtc", "ioc", "fok", "cls", "opg"]),
        "qty": st.sampled_from([1, 20, 100, 300, 900]).map(Decimal),
        "order_class": st.sampled_from(["", "", "", "bracket", "oco", "oto"]),
        "limit": prices, "stop": prices, "target": prices,
    }
)  # fmt: skip


def order_fields(raw: dict[str, Any]) -> dict[str, Any]:
    """A body that mostly passes the checks of one order alone; what the account makes of it is another matter."""
    base = Decimal(str(SYMBOLS[raw["symbol"]][0]))
    buys, kind, grouped = raw["side"] == "buy", raw["type"], raw["order_class"]

    def price(factor: Decimal) -> str:
        return str((base * factor).quantize(Decimal("0.01")))

    def beyond(factor: Decimal, up: bool) -> str:
        away = Decimal("0.012") + abs(factor - 1)
        return price(1 + away if up else 1 - away)

    if grouped and (kind not in ("market", "limit") or grouped == "oco"):
        kind = "limit"
    fields: dict[str, Any] = {k: raw[k] for k in ("symbol", "side", "time_in_force", "qty", "order_class")}
    fields["type"] = kind
    if (grouped or kind not in ("market", "limit")) and fields["time_in_force"] != "gtc":
        fields["time_in_force"] = "day"
    if kind in ("limit", "stop_limit"):
        fields["limit_price"] = price(raw["limit"])
    if kind in ("stop", "stop_limit"):
        fields["stop_price"] = beyond(raw["stop"], buys)
    if kind == "trailing_stop":
        fields["trail_percent"] = "0.5"
    exits_sell = buys != (grouped == "oco")
    if grouped in ("bracket", "oco"):
        fields["take_profit"] = {"limit_price": beyond(raw["target"], exits_sell)}
    if grouped:
        fields["stop_loss"] = {"stop_price": beyond(raw["stop"], not exits_sell)}
    return fields


FILLABLE = {None, "pending_new", "new", "partially_filled", "stopped", "accepted_for_bidding", "held"}
"""Last told statuses of an order that may trade: a leg is told of last while held, an order with a rest at once."""


class ExchangeMachine(RuleBasedStateMachine):
    """Two accounts do anything the API allows; the exchange may refuse, never lose a share, a cent or an event."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange = make_exchange(record=self.record)
        self.filled: dict[str, Decimal] = {}
        self.ended: set[str] = set()
        self.status: dict[str, str] = {}
        self.stamp: dict[str, str] = {}
        self.shares: dict[tuple[int, str], Decimal] = {}
        self.cash: dict[int, Decimal] = {0: CASH, 1: CASH}

    def record(self, kind: str, t: int, body: dict[str, Any]) -> None:
        """A match while its symbol stands still would be a match too many."""
        if kind == "match":
            stop = self.exchange.restrictions.of(body["symbol"]).limits.stopped(t)
            assert stop is None, f"a match inside {stop}"

    def settle(self) -> None:
        self.exchange.advance(self.exchange.now)
        for update in self.exchange.drain_updates():
            order, event = update.data["order"], update.data["event"]
            name = order["id"]
            assert name not in self.ended, f"{event} after the end of {name}"
            assert Decimal(order["filled_qty"]) >= self.filled.get(name, Decimal(0)), "filled_qty fell"
            assert parse_moment(order["updated_at"]) >= parse_moment(order["created_at"])
            self.filled[name] = Decimal(order["filled_qty"])
            before = self.status.get(name)
            if before is not None and before != order["status"]:
                assert reaches(before, order["status"]), f"{before} -> {order['status']}"
            self.status[name] = order["status"]
            if order["status"] in TERMINAL:
                self.ended.add(name)
            if event in ("fill", "partial_fill"):
                assert before in FILLABLE, f"traded while {before}"
                signed = Decimal(update.data["qty"]) * (1 if order["side"] == "buy" else -1)
                key = (update.account, order["symbol"])
                self.shares[key] = self.shares.get(key, Decimal(0)) + signed
                self.cash[update.account] -= signed * Decimal(update.data["price"])
                assert Decimal(update.data["position_qty"]) == self.shares[key]
                assert Decimal(update.data["qty"]) > 0
                if order["limit_price"] is not None:
                    limit, price = Decimal(order["limit_price"]), Decimal(update.data["price"])
                    assert (price <= limit) if order["side"] == "buy" else (price >= limit), (
                        "worse than the limit"
                    )

    @rule(raws=st.lists(specs, min_size=1, max_size=4), number=st.integers(0, 1))
    def submit(self, raws: list[dict[str, Any]], number: int) -> None:
        account = self.exchange.accounts[number]
        for raw in raws:
            try:
                order = self.exchange.submit(account, parse_order(order_fields(raw)))
            except Refusal as refusal:
                assert refusal.status in (403, 422)  # noqa: PT017
                continue
            assert order.status in ("pending_new", "accepted")
            if order.reserved:
                assert self.exchange.entry_power(account) >= 0, "more committed than there is"
            self.settle()

    @rule(data=st.data(), number=st.integers(0, 1))
    def cancel(self, data: st.DataObject, number: int) -> None:
        account = self.exchange.accounts[number]
        known = sorted(account.orders)
        if not known:
            return
        order = account.orders[data.draw(st.sampled_from(known))]
        try:
            self.exchange.cancel(account, order)
        except Refusal as refusal:
            assert refusal.status == 422  # noqa: PT017
            return
        self.settle()
        assert order.status == "canceled"

    @rule(data=st.data(), number=st.integers(0, 1), factor=prices, qty=st.integers(1, 1500))
    def replace(self, data: st.DataObject, number: int, factor: Decimal, qty: int) -> None:
        account = self.exchange.accounts[number]
        known = [order.id for order in account.open_list()]
        if not known:
            return
        order = account.orders[data.draw(st.sampled_from(known))]
        base = Decimal(str(SYMBOLS[order.symbol][0]))
        limit = (base * factor).quantize(Decimal("0.01")) if order.limit_price is not None else None
        amount = None if order.order_class else Decimal(qty)
        try:
            new = self.exchange.replace(account, order, ReplaceSpec(qty=amount, limit_price=limit))
        except Refusal as refusal:
            assert refusal.status in (403, 422)  # noqa: PT017
            return
        self.settle()
        assert order.status == "replaced"
        assert new.status != "pending_new"

    @rule(symbol=st.sampled_from(sorted(SYMBOLS)), seconds=st.sampled_from([5, 300, 7200]))
    @precondition(lambda self: session_on(DAY).open <= self.exchange.now < session_on(DAY).close)
    def halt(self, symbol: str, seconds: int) -> None:
        Halts(self.exchange, MarketFeed(self.exchange, conflate=True)).halt(
            symbol, seconds, "T1", self.exchange.now
        )
        self.settle()

    @rule(
        symbol=st.sampled_from(sorted(SYMBOLS)), number=st.integers(0, 1), seconds=st.sampled_from([5, 300]),
        turn=st.sampled_from([suspend_orders, stop_orders]),
    )  # fmt: skip
    @precondition(lambda self: self.exchange.session.is_regular(self.exchange.now))
    def set_aside(self, symbol: str, number: int, seconds: int, turn: Any) -> None:
        now = self.exchange.now
        turn(self.exchange, number, symbol, now + seconds * SECOND, now)
        self.settle()

    @rule(moment=st.sampled_from(["close", "post_close"]))
    @precondition(lambda self: self.exchange.now < session_on(DAY).close)
    def evening(self, moment: str) -> None:
        """The day's orders end, the others are done for the day."""
        self.exchange.advance(getattr(session_on(DAY), moment) + 60 * SECOND)
        self.settle()
        for account in self.exchange.accounts:
            for order in account.open_list():
                assert order.time_in_force == "gtc", f"a {order.time_in_force} order outlived its day"
                assert order.status in ("done_for_day", "calculated", "held", "accepted"), order.status

    @rule()
    @precondition(lambda self: session_on(DAY).close < self.exchange.now < session_on(NEXT).open)
    def morning(self) -> None:
        """Who was done for the day is back."""
        self.exchange.advance(session_on(NEXT).open + 60 * SECOND)
        self.settle()
        for account in self.exchange.accounts:
            for order in account.open_list():
                assert order.status not in ("done_for_day", "calculated", "accepted"), order.status
                assert order.time_in_force != "opg"

    @rule(seconds=st.sampled_from([1, 7, 60, 900, 3600]))
    @precondition(lambda self: self.exchange.now < session_on(NEXT).close)
    def wait(self, seconds: int) -> None:
        for number in range(5):
            self.exchange.advance(self.exchange.now + seconds * SECOND // (number + 1))
        self.settle()

    @invariant()
    def shares_and_cash_are_what_the_executions_say(self) -> None:
        for account in self.exchange.accounts:
            for symbol in SYMBOLS:
                position = account.positions.get(symbol)
                assert (position.qty if position else Decimal(0)) == self.shares.get(
                    (account.number, symbol), Decimal(0)
                )
            assert account.cash == self.cash[account.number] + account.cash_moves

    @invariant()
    def what_is_held_is_what_open_orders_hold(self) -> None:
        for account in self.exchange.accounts:
            opened = account.open_list()
            assert account.reserved == sum((order.reserved for order in opened), Decimal(0))
            assert all(order.reserved == 0 and order.holds == 0 for o in account.orders.values() if not o.is_open
                       for order in [o])  # fmt: skip
            assert {o.id for o in opened} == {o.id for o in account.orders.values() if o.is_open}
            for symbol in SYMBOLS:
                held, _ = account.held_shares(symbol)
                position = account.positions.get(symbol)
                assert held <= (abs(position.qty) if position else Decimal(0)), "more held than owned"

    @invariant()
    def no_order_is_filled_beyond_its_quantity(self) -> None:
        for account in self.exchange.accounts:
            for order in account.orders.values():
                assert order.qty is None or 0 <= order.filled_qty <= order.qty
                if order.status == "filled":
                    assert order.filled_qty == order.qty
                if order.filled_qty:
                    assert order.filled_avg_price is not None

    @invariant()
    def a_book_holds_working_orders_only(self) -> None:
        for book in self.exchange.books.values():
            for order in book.orders.values():
                assert order.is_open
                assert order.in_book
                assert book.halted or order.status not in (
                    "suspended",
                    "done_for_day",
                    "calculated",
                    "accepted",
                )


@cache
def reaches(before: str, after: str) -> bool:
    """Whether `after` can follow, perhaps through statuses that no event told."""
    seen, frontier = {before}, [before]
    while frontier:
        for following in TRANSITIONS[frontier.pop()]:
            if following not in seen:
                seen.add(following)
                frontier.append(following)
    return after in seen


ExchangeMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
TestExchange = ExchangeMachine.TestCase


def fills_of(exchange: Exchange) -> list[tuple[Any, ...]]:
    return [
        (
            update.data["order"]["client_order_id"],
            update.t,
            update.data["event"],
            update.data.get("qty"),
            update.data.get("price"),
        )
        for update in exchange.drain_updates()
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    raws=st.lists(specs, min_size=1, max_size=6),
    cuts=st.lists(st.integers(1, 22_000), max_size=30),
)
def test_how_often_the_venue_is_asked_decides_nothing(raws: list[dict[str, Any]], cuts: list[int]) -> None:
    """One jump to the close and any number of small steps tell the same story."""
    stories = []
    for steps in ([], sorted(set(cuts))):
        exchange = make_exchange()
        for number, raw in enumerate(raws):
            try:
                spec = parse_order({**order_fields(raw), "client_order_id": str(number)})
                exchange.submit(exchange.accounts[0], spec)
            except Refusal:
                pass
            exchange.advance(exchange.now)
        start = exchange.now
        for seconds in steps:
            exchange.advance(start + seconds * SECOND)
        exchange.advance(session_on(DAY).close + 60 * SECOND)
        stories.append((fills_of(exchange), exchange.accounts[0].cash))
    assert stories[0] == stories[1]


@settings(max_examples=40, deadline=None)
@given(
    quantities=st.lists(st.integers(50, 400), min_size=2, max_size=6), side=st.sampled_from(["buy", "sell"]),
    halted_s=st.sampled_from([0, 300, 3600]),
)  # fmt: skip
def test_first_come_first_served_at_one_price(quantities: list[int], side: str, halted_s: int) -> None:
    """Of equal limit orders, across accounts, none trades while an earlier one still wants shares, auction or not."""
    exchange = make_exchange(Rules(multiplier=Decimal(4)))
    price = Decimal("19.95") if side == "buy" else Decimal("20.05")
    if halted_s:
        Halts(exchange, MarketFeed(exchange, conflate=True)).halt("BBB", halted_s, "T1", exchange.now)
    orders: list[Order] = []
    for number, qty in enumerate(quantities):
        spec = OrderSpec(
            symbol="BBB", side=side, type="limit", time_in_force="day", qty=Decimal(qty), limit_price=price
        )
        orders.append(exchange.submit(exchange.accounts[number % 2], spec))
        exchange.advance(exchange.now)
    end = session_on(DAY).close - SECOND
    while exchange.now < end and any(order.left for order in orders):
        exchange.advance(min(exchange.now + 60 * SECOND, end))
        for earlier, later in itertools.pairwise(orders):
            assert not (later.filled_qty and earlier.left), "a later order traded first"


def test_resting_orders_keep_buying_power_and_give_it_back() -> None:
    exchange = make_exchange()
    account = exchange.accounts[0]
    before = exchange.entry_power(account)
    spec = OrderSpec(
        symbol="AAA", side="buy", type="limit", time_in_force="day", qty=Decimal(10), limit_price=Decimal(90)
    )
    order = exchange.submit(account, spec)
    exchange.advance(exchange.now)
    assert exchange.entry_power(account) == before - 900
    exchange.cancel(account, order)
    exchange.advance(exchange.now)
    assert exchange.entry_power(account) == before


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    raws=st.lists(
        specs.filter(lambda raw: raw["side"] == "buy" and not raw["order_class"]), min_size=3, max_size=12
    )
)
def test_buys_never_spend_more_than_there_is(raws: list[dict[str, Any]]) -> None:
    """However many buys are accepted, filling them all leaves the account within its multiplier at entry marks."""
    exchange = make_exchange()
    account = exchange.accounts[0]
    for raw in raws:
        try:
            exchange.submit(account, parse_order(order_fields(raw)))
        except Refusal:
            continue
        assert exchange.entry_power(account) >= 0
        exchange.advance(exchange.now)
    worst = account.cash - account.reserved
    assert worst >= -CASH * Decimal("1.05")
