"""A table: for each limit of the gate what just passes, what is refused, what is unknown, and its numbers.

``test_core_limits.py`` runs it, and ``mutants.py`` runs it against broken copies of every limit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
from core_world import CLOSE, OPEN, SECOND, World, snapshot

from executor.core.events import (
    AccountSeen,
    InstrumentSeen,
    PriceBand,
    Quote,
    ShortRestriction,
    Timer,
    TradingStatus,
)
from executor.core.gate import Ruling, Verdict
from executor.core.limits import LIMITS, Rule
from executor.core.modes import Mode
from executor.core.orders import Leg, State, WorkingOrder
from executor.core.proposal import proposed
from models.risk.value_at_risk import historical


@dataclass(frozen=True)
class Terms:
    """An order to be judged; by default one that every limit passes."""

    symbol: str = "AAA"
    side: str = "buy"
    qty: Decimal = Decimal(10)
    limit_price: Decimal = Decimal("100.01")
    order_type: str = "limit"
    time_in_force: str = "day"
    extended_hours: bool = False
    stop_loss: Leg | None = None
    replaces: str | None = None


def buy(qty: str, price: str = "100.01", symbol: str = "AAA", **more: Any) -> Terms:
    return Terms(symbol, "buy", Decimal(qty), Decimal(price), **more)


def sell(qty: str, price: str = "99.99", symbol: str = "CCC", **more: Any) -> Terms:
    return Terms(symbol, "sell", Decimal(qty), Decimal(price), **more)


def judge(world: World, terms: Terms) -> Ruling:
    """What the gate says of the order now."""
    event = Timer(market_time=world.at, now_ns=world.now_ns, session_open=OPEN, session_close=CLOSE)
    return world.engine.gate.judge(proposed(world.engine, terms, event), world.engine.mode)  # type: ignore[arg-type]


def verdict(ruling: Ruling, name: str) -> Verdict:
    return next(v for v in ruling.verdicts if v.name == name)


def broken(ruling: Ruling) -> set[str]:
    return {v.name for v in ruling.verdicts if not v.ok}


WIDE = {"single_name": "1", "sector": "1", "concentration": "1", "risk_per_trade": "0.1"}
"""So that a case breaks only what it is about."""
RULES = {limit.name for limit in LIMITS if isinstance(limit, Rule)}
Arrange = Callable[[World], object]


def nothing(world: World) -> None:
    """As it is."""


@dataclass(frozen=True)
class Case:
    """One limit in one situation.

    ``numbers`` are (bound, before, after) of the first order of ``past`` (or of ``inside``, where that is empty).
    """

    name: str
    changed: dict[str, str] = field(default_factory=dict)
    arrange: Arrange = nothing
    inside: tuple[Terms, ...] = ()
    past: tuple[Terms, ...] = ()
    numbers: tuple[float, float, float] | None = None
    unknown: Arrange | None = None
    unknown_order: Terms = Terms()
    because: str = ""
    """Part of the reason given for it."""
    positions: dict[str, str] = field(default_factory=dict)
    cash: str = "100000"
    mode: Mode = Mode.READY
    breaches: float = 1.0
    """Of a rule, by each order of ``past``."""
    with_it: tuple[str, ...] = ()
    """Limits that read the same setting and are broken too."""

    def world(self) -> World:
        made = World(cash=self.cash, positions=dict(self.positions), mode=self.mode, **(WIDE | self.changed))
        made.batch({})
        made.tick()
        self.arrange(made)
        return made

    def check(self) -> None:
        """Every claim of the case; raises AssertionError with what differs."""
        for terms in self.inside:
            ruling = judge(self.world(), terms)
            assert ruling.accepted, (self.name, terms, ruling.reason)
            assert verdict(ruling, self.name).ok, (self.name, terms)
        for terms in self.past:
            ruling = judge(self.world(), terms)
            assert not ruling.accepted, (self.name, terms)
            assert broken(ruling) == {self.name, *self.with_it}, (terms, ruling.reason)
            assert not verdict(ruling, self.name).unknown, ruling.reason
            if self.name in RULES:
                assert verdict(ruling, self.name).after == self.breaches, (self.name, terms)
        if self.numbers is not None:
            terms = (self.past or self.inside)[0]
            found = verdict(judge(self.world(), terms), self.name)
            for said, seen in zip(self.numbers, (found.limit, found.before, found.after), strict=True):
                assert seen is not None
                assert abs(seen - said) <= 1e-9 * max(abs(said), 1e-3), (self.name, self.numbers, found)
        if self.unknown is not None:
            made = self.world()
            self.unknown(made)
            ruling = judge(made, self.unknown_order)
            assert not ruling.accepted
            assert verdict(ruling, self.name).unknown, (self.name, ruling.reason)
            assert self.because in verdict(ruling, self.name).unknown


# ---------------------------------------------------------------------- situations


def told(kind: Any, **fields: Any) -> Arrange:
    return lambda world: world.tell(kind, **fields)


def shortable(world: World) -> None:
    world.tell(InstrumentSeen, symbol="CCC", tradable=True, shortable=True, borrow="easy")


def restricted(world: World) -> None:
    shortable(world)
    world.tell(ShortRestriction, symbol="CCC", active=True)


def fell_yesterday(world: World) -> None:
    shortable(world)
    world.engine.exposure.load(replace(snapshot(), restricted=np.array([0.0, 0, 1, 0])))


def unquoted_position(world: World) -> None:
    """Something is held that was never quoted: equity is unknown."""
    world.engine.book.positions["BBB"] = Decimal(1)
    world.engine.exposure.forget_price("BBB")
    world.engine.shares_moved("BBB")


def no_snapshot(world: World) -> None:
    world.engine.exposure.load(None)


def old_snapshot(world: World) -> None:
    """One of the format before the factors."""
    old = replace(snapshot(), beta=None, loadings=None, cluster=None, restricted=None)
    world.engine.exposure.load(old)


def few_scenarios(world: World) -> None:
    world.engine.exposure.load(replace(snapshot(), returns=snapshot().returns[:200]))


def wrong(**arrays: Any) -> Arrange:
    return lambda world: world.engine.exposure.load(replace(snapshot(), **arrays))


def working(side: str, qty: str, price: str, symbol: str = "AAA", **more: Any) -> Arrange:
    """An own order at the broker."""
    order = {
        "client_order_id": f"{side}-{qty}-{price}", "symbol": symbol, "side": side, "qty": Decimal(qty),
        "limit_price": Decimal(price), "purpose": "target", "signal_id": None, "batch_id": None, "leg": 1,
        "state": State.LIVE, "created_ns": 0,
    }  # fmt: skip
    return lambda world: world.engine.order_opened(WorkingOrder(**(order | more)))


def after(*steps: Arrange) -> Arrange:
    def run(world: World) -> None:
        for step in steps:
            step(world)

    return run


def paced(
    times: int, symbol: str = "AAA", side: str = "buy", qty: float = 10.0, ago_s: float = 0.0
) -> Arrange:
    def run(world: World) -> None:
        for _ in range(times):
            at_s = world.at.timestamp() - ago_s
            world.engine.pace.order(symbol, side, qty, at_s, world.engine.gate.messages_per_minute)

    return run


def quoted(bid: str, ask: str, symbol: str = "AAA") -> Arrange:
    return lambda world: world.quote(symbol, bid, ask)


def aged(seconds: float) -> Arrange:
    def run(world: World) -> None:
        world.now_ns += int(seconds * SECOND)

    return run


def at(moment: dt.datetime) -> Arrange:
    def run(world: World) -> None:
        world.at = moment

    return run


def set_to(**fields: Any) -> Arrange:
    """Fields of the engine."""

    def run(world: World) -> None:
        for name, value in fields.items():
            setattr(world.engine, name, value)

    return run


def received_old(age_ms: float) -> Arrange:
    """A quote that was already old when it came in (or ahead of our clock)."""
    return lambda world: world.tell(
        Quote, symbol="AAA", bid=Decimal("99.99"), ask=Decimal("100.01"), bid_size=100, ask_size=100, age_at_receipt_ms=age_ms
    )  # fmt: skip


def held_outside(world: World) -> None:
    """A position in a name the risk snapshot does not know."""
    world.quote("ZZZ", "9.99", "10.01")
    world.engine.book.positions["ZZZ"] = Decimal(1)
    world.engine.shares_moved("ZZZ")


def another_model(world: World) -> None:
    """One that does not know CCC."""
    world.engine.exposure.load(replace(snapshot(), symbols=("AAA", "BBB", "CCX", "DDD")))


AFTER_HOURS = at(CLOSE + dt.timedelta(hours=1))
LATE_NAME = after(told(InstrumentSeen, symbol="AAA", tradable=True, extended_hours=True), AFTER_HOURS)
ACCOUNT = {"equity": Decimal(100_000), "cash": Decimal(100_000), "buying_power": Decimal(200_000)}
R = snapshot().returns


def risk(level: float, which: int, values: list[float]) -> float:
    """VaR (0) or expected shortfall (1) of positions in USD over an equity of 100,000."""
    return historical(R @ np.array(values), level)[which] / 100_000


def tail_case(name: str, level: float, which: int) -> Case:
    """100 BBB are held; 50 AAA more pass the bound by a hair, 49 do not."""
    before, bound, past = (risk(level, which, [100.01 * n, 10_000, 0, 0]) for n in (0, 49.5, 50))
    return Case(
        name, {name: f"{bound:.12f}"}, inside=(buy("49"),), past=(buy("50"),), numbers=(round(bound, 12), before * EXIT, past * EXIT),
        unknown=few_scenarios if level > 0.95 else no_snapshot, positions={"BBB": "100"}, cash="90001",
    )  # fmt: skip


EXIT = 1.0
"""Equity of that world: 90,001 in cash and 100 BBB at the bid of 99.99 are 100,000."""
BETA = np.array([1.0, 0.5, -2.0, 0.0])
LOADINGS = np.array([[0.02, 0.0], [0.0, 0.01], [-0.03, 0.0], [0.0, 0.0]])

CASES: tuple[Case, ...] = (
    Case("symbol", inside=(buy("10"),), unknown=quoted("99.99", "100.01", "ZZZ"), unknown_order=buy("10", symbol="ZZZ")),
    Case("symbol", arrange=told(InstrumentSeen, symbol="AAA", tradable=False), past=(buy("10"),), numbers=(0, 0, 1)),
    Case("symbol", arrange=told(InstrumentSeen, symbol="AAA", tradable=True), inside=(buy("10"),)),
    Case("symbol", arrange=told(TradingStatus, symbol="AAA", code="T"), inside=(buy("10"),)),
    Case(
        "order_terms",
        inside=(buy("10"), buy("10", order_type="stop_limit", time_in_force="gtc"), buy("10", order_type="market", time_in_force="cls")),
        past=(
            buy("10", "100.015"), buy("10.5"), buy("10", time_in_force="never"), buy("10", order_type="market"), buy("10", "0"), buy("0"),
        ),
        numbers=(0, 0, 1),
    ),
    Case("order_terms", arrange=quoted("0.5000", "0.5010", "DDD"), inside=(buy("10", "0.5013", "DDD"),), past=(buy("10", "0.50135", "DDD"),)),
    Case("order_terms", arrange=told(InstrumentSeen, symbol="AAA", tradable=True, fractionable=True), inside=(buy("10.5"),), past=(buy("10.5", time_in_force="gtc"),)),
    Case("order_terms", arrange=told(InstrumentSeen, symbol="AAA", tradable=True, tick=Decimal("0.05")), inside=(buy("10", "100.05"),), past=(buy("10", "100.01"),)),
    Case("order_terms", arrange=shortable, past=(sell("15"),), positions={"CCC": "10"}, numbers=(0, 0, 1)),
    Case("session", inside=(buy("10"),)),
    Case("session", arrange=AFTER_HOURS, inside=(buy("10", time_in_force="opg"),), past=(buy("10"), buy("10", extended_hours=True)), numbers=(0, 0, 1)),
    Case("session", arrange=LATE_NAME, inside=(buy("10", extended_hours=True),), past=(buy("10"), buy("10", order_type="stop", extended_hours=True))),
    Case("halt", arrange=told(TradingStatus, symbol="AAA", code="H"), past=(buy("10"),), inside=(buy("10", symbol="BBB"),), numbers=(0, 0, 1)),
    Case("luld", arrange=told(PriceBand, symbol="AAA", low=Decimal(95), high=Decimal("100.01")), inside=(buy("10"),), past=(buy("10", "100.02"),), numbers=(0, 0, 1)),
    Case("luld", arrange=told(PriceBand, symbol="AAA", low=Decimal(95), high=Decimal("99.99")), past=(buy("10", "99.99"),), numbers=(0, 0, 1)),
    Case("luld", arrange=told(PriceBand, symbol="AAA", low=Decimal("100.01"), high=Decimal(105)), past=(buy("10"),), numbers=(0, 0, 1)),
    Case("luld", arrange=after(shortable, told(PriceBand, symbol="CCC", low=Decimal("99.99"), high=Decimal(105))), inside=(sell("10"),), past=(sell("10", "99.98"),)),
    Case("short_sale", arrange=restricted, inside=(sell("10", "100.00"), buy("10", symbol="CCC")), past=(sell("10"),), numbers=(0, 0, 1)),
    Case("short_sale", arrange=fell_yesterday, inside=(sell("10", "100.00"),), past=(sell("10"),), unknown=old_snapshot, unknown_order=sell("10")),
    Case("short_sale", arrange=shortable, inside=(sell("10"),), unknown=no_snapshot, unknown_order=sell("10")),
    Case("borrow", arrange=shortable, inside=(sell("10"),)),
    Case("borrow", arrange=told(InstrumentSeen, symbol="CCC", tradable=True, shortable=False, borrow="easy"), past=(sell("10"),), inside=(buy("10", symbol="CCC"),), numbers=(0, 0, 1)),
    Case("borrow", arrange=told(InstrumentSeen, symbol="CCC", tradable=True, shortable=True, borrow="hard"), past=(sell("10"),), unknown=told(InstrumentSeen, symbol="CCC", tradable=True), unknown_order=sell("10")),
    Case("order_qty", {"order_qty": "50"}, inside=(buy("50"),), past=(buy("51"),), numbers=(50, 0, 51)),
    Case("order_notional_usd", {"order_notional_usd": "5000.50"}, inside=(buy("50"),), past=(buy("51"),), numbers=(5000.5, 0, 5100.51)),
    Case("quote_age_s", arrange=aged(14.8), inside=(buy("10"),)),
    Case("quote_age_s", arrange=aged(15), past=(buy("10"),), numbers=(15, 0, 15.1), unknown=aged(-30)),
    Case("quote_age_s", unknown=quoted("100", "0")),
    Case("spread", {"spread": "0.0004001"}, arrange=quoted("99.98", "100.02"), inside=(buy("10"),), unknown=quoted("100.00", "100.00")),
    Case("spread", {"spread": "0.0004001"}, arrange=quoted("99.97", "100.02"), past=(buy("10"),), numbers=(0.0004001, 0, 0.05 / 99.995), unknown=quoted("100.02", "100.01")),
    Case("price_collar", inside=(buy("10", "102.00"),), past=(buy("10", "102.01"),), numbers=(0.02, 0, 0.0201), unknown=quoted("0", "100")),
    Case("price_collar", arrange=shortable, inside=(sell("10", "98.00"),), past=(sell("10", "97.99"),), numbers=(0.02, 0, 0.0201)),
    Case("risk_per_trade", {"risk_per_trade": "0.009"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.009, 0.006, 150 * 100.01 * 0.06 / 100_000), unknown=no_snapshot, positions={"AAA": "100"}, cash="90001"),
    Case("risk_per_trade", {"risk_per_trade": "0.002505"}, inside=(buy("50", stop_loss=Leg(stop_price=Decimal("95.00"))),), past=(buy("50", stop_loss=Leg(stop_price=Decimal("94.99"))),), numbers=(0.002505, 0, 0.00251), unknown=nothing, unknown_order=buy("10", stop_loss=Leg(stop_price=Decimal(101)))),
    Case("risk_per_trade", unknown=wrong(daily_volatility=np.zeros(4))),
    Case("risk_per_trade", unknown=wrong(daily_volatility=np.full(4, np.inf))),
    Case("participation", {"participation": "0.00005"}, inside=(buy("50"),), past=(buy("51"),), numbers=(0.00005, 0, 0.000051), unknown=wrong(average_volume=np.zeros(4))),
    Case("participation", unknown=wrong(average_volume=np.full(4, np.inf))),
    Case("participation", unknown=no_snapshot),
    Case("displayed_size", {"displayed_size": "0.5"}, inside=(buy("50"),), past=(buy("51"),), numbers=(0.5, 0, 0.51), unknown=lambda w: w.quote("AAA", "99.99", "100.01", sizes=(100, 0)), because="shows no size"),
    Case("displayed_size", {"displayed_size": "0.5"}, arrange=after(shortable, lambda w: w.quote("CCC", "99.99", "100.01", sizes=(40, 1000))), inside=(sell("20"),), past=(sell("21"),), numbers=(0.5, 0, 0.525)),
    Case("account", arrange=told(AccountSeen, **(ACCOUNT | {"buying_power": Decimal("5000.50")})), inside=(buy("50"),), past=(buy("51"),), numbers=(0, 0, 1), unknown=told(AccountSeen, **(ACCOUNT | {"buying_power": None}))),
    Case("account", arrange=told(AccountSeen, **ACCOUNT, trading_blocked=True), past=(buy("10"),), numbers=(0, 0, 1)),
    Case("account", arrange=told(AccountSeen, **ACCOUNT, account_blocked=True), past=(buy("10"),), numbers=(0, 0, 1)),
    Case("account", arrange=after(shortable, told(AccountSeen, **ACCOUNT, shorting_enabled=False)), inside=(buy("10"),), past=(sell("10"),), numbers=(0, 0, 1)),
    Case("buying_power", {"buying_power": "0.15"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.15, 0.1, 0.1 + 0.050005), unknown=unquoted_position, positions={"BBB": "100"}, cash="90001"),
    Case("buying_power", {"buying_power": "0.0103"}, arrange=shortable, inside=(sell("9"),), past=(sell("10"),), numbers=(0.0103, 0, 10 * 1.03 * 100.01 / 100_000)),
    Case("buying_power", {"buying_power": "0.0207"}, arrange=shortable, inside=(sell("9"),), past=(sell("11", "103.10"),), numbers=(0.0207, 0.01, (11 * 103.10 + 10 * 103.10) / 100_000), positions={"CCC": "-10"}, cash="101000.10"),
    Case("intraday_margin", {"intraday_margin": "0.0375"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.0375, 0.025, 0.025 + 0.01250125), unknown=unquoted_position, positions={"BBB": "100"}, cash="90001"),
    Case("wash_trade", arrange=working("sell", "10", "100.02"), inside=(buy("10", "100.01"),), past=(buy("10", "100.02"),), positions={"AAA": "20"}, numbers=(0, 0, 1)),
    Case("wash_trade", arrange=after(shortable, working("buy", "10", "99.98", "CCC")), inside=(sell("10", "99.99"),), past=(sell("10", "99.98"),), numbers=(0, 0, 1)),
    Case("wash_trade", arrange=working("buy", "10", "100.02"), inside=(buy("10"),)),
    Case("duplicate_orders", {"duplicate_orders": "1"}, arrange=paced(1), inside=(buy("11"), buy("10", symbol="BBB")), past=(buy("10"),), numbers=(1, 1, 2)),
    Case("duplicate_orders", {"duplicate_orders": "1"}, arrange=paced(1, ago_s=11), inside=(buy("10"),)),
    Case("repeated_orders", {"repeated_orders": "1"}, arrange=paced(1, qty=5.0, side="sell"), inside=(buy("10", symbol="BBB"),), past=(buy("10"),), numbers=(1, 1, 2)),
    Case("repeated_orders", {"repeated_orders": "1"}, arrange=paced(1, ago_s=61), inside=(buy("10"),)),
    Case("messages_per_minute", {"messages_per_minute": "10", "messages_reserved": "2"}, arrange=paced(2, "BBB"), inside=(buy("10"),)),
    Case("messages_per_minute", {"messages_per_minute": "10", "messages_reserved": "2"}, arrange=paced(3, "BBB"), past=(buy("10"),), numbers=(3, 3, 4)),
    Case("messages_per_minute", {"messages_per_minute": "10", "messages_reserved": "2"}, arrange=paced(3, "BBB", ago_s=12), inside=(buy("10"),)),
    Case("single_name", {"single_name": "0.15"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.15, 0.1, 0.150015), unknown=unquoted_position, positions={"AAA": "100"}, cash="90001"),
    Case("short_name", {"short_name": "0.02"}, arrange=shortable, inside=(sell("10"), buy("10", symbol="CCC")), past=(sell("11"),), numbers=(0.02, 0.01, 0.021), unknown=unquoted_position, unknown_order=sell("10"), positions={"CCC": "-10"}, cash="101000.10"),
    Case("sector", {"sector": "0.15"}, inside=(buy("49"), buy("60", symbol="CCC")), past=(buy("50"),), numbers=(0.15, 0.1, 0.150005), unknown=unquoted_position, positions={"BBB": "100"}, cash="90001"),
    Case("sector", unknown=lambda w: setattr(w.engine.exposure.line("AAA"), "sector", None)),
    Case("cluster", {"cluster": "0.15"}, arrange=wrong(cluster=np.array([1.0, 0, 1, 2])), inside=(buy("49"), buy("60", symbol="BBB")), past=(buy("50"),), numbers=(0.15, 0.1, 0.150005), unknown=old_snapshot, positions={"CCC": "100"}, cash="90001"),
    Case("cluster", {"cluster": "0.15"}, arrange=wrong(cluster=np.array([1.0, 0, 1, 2])), unknown=unquoted_position),
    Case("gross", {"gross": "0.15"}, inside=(buy("49"),), past=(buy("50"),), with_it=("drawdown_exposure",), numbers=(0.15, 0.1, 0.150005), unknown=unquoted_position, positions={"CCC": "100"}, cash="90001"),
    Case("net", {"net": "0.10"}, arrange=shortable, inside=(buy("99"), sell("49")), past=(buy("100"),), numbers=(0.10, 0.0, 0.10001), unknown=unquoted_position, positions={"CCC": "-50", "BBB": "50"}, cash="100001"),
    Case("net", {"net": "0.06"}, arrange=shortable, inside=(sell("10"),), past=(sell("11"),), numbers=(0.06, 0.05, 0.061), positions={"CCC": "-50"}, cash="105000.5"),
    Case("leverage", {"leverage": "0.1546"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.1546, 10_000 / 98_000, 15_000.5 / (100_000 - 3_000.1)), unknown=unquoted_position, positions={"CCC": "100"}, cash="90001"),
    Case("leverage", {"leverage": "20", "leverage_shock": "0.99", "buying_power": "4", "gross": "4", "net": "4", "stage_capital": "4"}, unknown=nothing, unknown_order=buy("11", "102"), positions={"CCC": "1000"}, cash="10"),
    Case("concentration", {"concentration": "0.0225"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.0225, 0.01, 0.150015**2), unknown=unquoted_position, positions={"AAA": "100"}, cash="90001"),
    Case("beta", {"beta": "0.10"}, arrange=wrong(beta=BETA), inside=(buy("49"), buy("50", symbol="DDD")), past=(buy("50"),), numbers=(0.10, 0.05, 0.100005), unknown=old_snapshot, positions={"BBB": "100"}, cash="90001"),
    Case("beta", {"beta": "0.10"}, arrange=wrong(beta=BETA), inside=(buy("49", symbol="CCC"),), past=(buy("51", symbol="CCC"),), numbers=(0.10, 0.0, 2 * 51 * 100.01 / 100_000), unknown=unquoted_position),
    Case("factor_risk", {"factor_risk": "0.002"}, arrange=wrong(loadings=LOADINGS), inside=(buy("99"), buy("99", symbol="BBB")), past=(buy("100"),), numbers=(0.002, 0.001, 0.0020002), unknown=old_snapshot, positions={"BBB": "100"}, cash="90001"),
    Case("factor_risk", {"factor_risk": "0.002"}, arrange=wrong(loadings=LOADINGS), inside=(buy("66", symbol="CCC"),), past=(buy("67", symbol="CCC"),), numbers=(0.002, 0, 0.03 * 67 * 100.01 / 100_000), unknown=unquoted_position),
    tail_case("value_at_risk", 0.95, 0),
    tail_case("expected_shortfall", 0.95, 1),
    tail_case("value_at_risk_99", 0.99, 0),
    tail_case("expected_shortfall_99", 0.99, 1),
    Case("drawdown_exposure", {"gross": "0.30"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.15, 0.1, 0.150005), unknown=unquoted_position, positions={"CCC": "100"}, cash="90001", mode=Mode.REDUCING),
    Case("stage_capital", {"stage_capital": "0.15"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.15, 0.1, 0.150005), unknown=unquoted_position, positions={"CCC": "100"}, cash="90001"),
    Case("stage_capital", {"capital_usd": "15000"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.15, 0.1, 0.150005), unknown=unquoted_position, positions={"CCC": "100"}, cash="90001"),
    Case("turnover", {"turnover": "0.10"}, arrange=after(lambda w: w.engine.pace.fill(3_000.0), working("buy", "20", "100.00", "BBB")), inside=(buy("49"),), past=(buy("50"),), numbers=(0.10, 0.05, 0.100005), unknown=unquoted_position),
    Case("notional_per_day_usd", {"notional_per_day_usd": "10000"}, arrange=after(lambda w: w.engine.pace.fill(-3_000.0), working("buy", "20", "100.00", "BBB")), inside=(buy("49"),), past=(buy("50"),), numbers=(10_000, 5_000, 10_000.5)),
    Case("orders_per_day", {"orders_per_day": "2"}, arrange=set_to(orders_today=1), inside=(buy("10"),)),
    Case("orders_per_day", {"orders_per_day": "2"}, arrange=set_to(orders_today=2), past=(buy("10"),), numbers=(2, 2, 3)),
    Case("daily_loss", {"daily_loss": "0.04"}, arrange=quoted("92.01", "92.03", "CCC"), inside=(buy("10"),), positions={"CCC": "500"}, cash="50005"),
    Case("daily_loss", {"daily_loss": "0.04"}, arrange=quoted("91.97", "91.99", "CCC"), past=(buy("10"),), numbers=(0.04, 1 - 95_990 / 100_005, 1 - 95_990 / 100_005), unknown=lambda w: setattr(w.engine.book, "day_open_equity", None), positions={"CCC": "500"}, cash="50005"),
    Case("daily_loss", unknown=unquoted_position),
    # -- what the mutants asked for
    Case("order_terms", inside=(buy("1"), buy("11"), buy("11", "100.00"))),
    Case("order_terms", arrange=quoted("1.5000", "1.5100", "DDD"), inside=(buy("10", "1.51", "DDD"),), past=(buy("10", "1.5050", "DDD"),)),
    Case("order_terms", arrange=told(InstrumentSeen, symbol="AAA", tradable=True, tick=Decimal("0.05")), past=(buy("10", "100.025"), buy("10.5", "100.05"))),
    Case("order_terms", arrange=shortable, inside=(sell("10"),)),
    Case("order_terms", inside=(sell("10"), sell("5")), positions={"CCC": "10"}),
    Case("order_terms", arrange=shortable, inside=(buy("5", symbol="CCC"), buy("10", symbol="CCC")), past=(buy("11", symbol="CCC"),), positions={"CCC": "-10"}, cash="101000"),
    Case("session", arrange=after(told(InstrumentSeen, symbol="AAA", tradable=True), AFTER_HOURS), past=(buy("10", extended_hours=True),)),
    Case("halt", arrange=told(TradingStatus, symbol="AAA", code="T"), inside=(buy("10"),)),
    Case("luld", inside=(buy("10"),)),
    Case("luld", arrange=told(TradingStatus, symbol="AAA", code="T"), inside=(buy("10"),)),
    Case("luld", arrange=told(PriceBand, symbol="AAA", low=Decimal(95), high=Decimal("99.99")), past=(buy("10"),), breaches=2.0),
    Case("short_sale", arrange=restricted, inside=(buy("10", "99.98", "CCC"), sell("10", "99.98")), positions={"CCC": "10"}),
    Case("short_sale", arrange=shortable, unknown=another_model, unknown_order=sell("10")),
    Case("short_sale", arrange=shortable, unknown=old_snapshot, unknown_order=sell("10")),
    Case("borrow", unknown=nothing, unknown_order=sell("10")),
    Case("borrow", unknown=told(InstrumentSeen, symbol="CCC", tradable=True, borrow="easy"), unknown_order=sell("10")),
    Case("borrow", unknown=told(InstrumentSeen, symbol="CCC", tradable=True, shortable=True), unknown_order=sell("10")),
    Case("quote_age_s", inside=(buy("10"),), numbers=(15, 0, 0.1)),
    Case("quote_age_s", arrange=received_old(14_950), inside=(buy("10"),), numbers=(15, 0, 14.95)),
    Case("quote_age_s", arrange=received_old(15_050), past=(buy("10"),), numbers=(15, 0, 15.05)),
    Case("quote_age_s", arrange=received_old(-1_000), inside=(buy("10"),), numbers=(15, 0, 0)),
    Case("quote_age_s", unknown=received_old(-1_001)),
    Case("risk_per_trade", {"risk_per_trade": "0.002505"}, arrange=shortable, inside=(sell("50", stop_loss=Leg(stop_price=Decimal("104.99"))),), past=(sell("50", stop_loss=Leg(stop_price=Decimal("105.01"))),), numbers=(0.002505, 0, 50 * 100 * 5.02 / 99.99 / 100_000)),
    Case("risk_per_trade", unknown=nothing, unknown_order=buy("10", stop_loss=Leg(stop_price=Decimal(-5)))),
    Case("risk_per_trade", unknown=another_model, unknown_order=buy("10", symbol="CCC")),
    Case("participation", unknown=another_model, unknown_order=buy("10", symbol="CCC")),
    Case("participation", arrange=wrong(average_volume=np.full(4, 0.5)), past=(buy("10"),), numbers=(0.01, 0, 20)),
    Case("displayed_size", unknown=nothing, unknown_order=buy("10", symbol="EEE")),
    Case("displayed_size", arrange=lambda w: w.quote("AAA", "99.99", "100.01", sizes=(1, 1)), inside=(buy("100"),), past=(buy("101"),)),
    Case("account", inside=(buy("10"),)),
    Case("account", arrange=after(shortable, told(AccountSeen, **ACCOUNT)), inside=(sell("10"), buy("10"))),
    Case("buying_power", {"buying_power": "0.15"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.15, 0.1, 0.150015), positions={"AAA": "100"}, cash="90001"),
    Case("intraday_margin", {"intraday_margin": "0.0375"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.0375, 0.025, 0.25 * 0.150015), positions={"AAA": "100"}, cash="90001"),
    Case("wash_trade", arrange=working("buy", "10", "99.99"), inside=(buy("10"),)),
    Case("duplicate_orders", {"duplicate_orders": "1"}, arrange=paced(1, ago_s=9), past=(buy("10"),)),
    Case("repeated_orders", {"repeated_orders": "1"}, arrange=paced(1, ago_s=59), past=(buy("10"),)),
    Case("sector", {"sector": "0.05"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.05, 0, 0.050005)),
    Case("cluster", {"cluster": "0.05"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.05, 0, 0.050005), unknown=held_outside),
    Case("cluster", unknown=another_model, unknown_order=buy("10", symbol="CCC")),
    Case("net", {"net": "0.10"}, arrange=shortable, inside=(buy("59"),), past=(buy("60"),), numbers=(0.10, 0.04, 0.100008), positions={"CCC": "-50", "BBB": "70", "AAA": "20"}, cash="96001.4"),
    Case("leverage", {"leverage": "0.1546"}, inside=(buy("49"),), past=(buy("50"),), numbers=(0.1546, 10_000 / 98_000, 15_001.5 / (100_000 - 3_000.3)), positions={"AAA": "100"}, cash="90001"),
    Case("beta", {"beta": "0.10"}, arrange=wrong(beta=BETA), inside=(buy("99", symbol="BBB"),), past=(buy("100", symbol="BBB"),), numbers=(0.10, 0.05, 0.5 * 200 * 100.01 / 100_000), unknown=held_outside, positions={"BBB": "100"}, cash="90001"),
    Case("beta", {"beta": "0.10"}, arrange=after(shortable, wrong(beta=BETA)), inside=(sell("29"), buy("5", symbol="CCC")), past=(sell("31"),), numbers=(0.10, 0.04, 0.102), positions={"CCC": "-20"}, cash="102000.2"),
    Case("beta", {"beta": "0.10"}, arrange=after(told(InstrumentSeen, symbol="AAA", tradable=True, shortable=True, borrow="easy"), wrong(beta=BETA)), inside=(sell("79", symbol="AAA"),), past=(sell("81", symbol="AAA"),), numbers=(0.10, 0.02, 0.101), positions={"AAA": "-20"}, cash="102000.2"),
    Case("beta", {"beta": "0.10"}, arrange=after(wrong(beta=BETA), working("buy", "20", "100.00", "CCC")), inside=(buy("29", "100.00", "CCC"),), past=(buy("31", "100.00", "CCC"),), numbers=(0.10, 0.04, 0.102)),
    Case("beta", {"beta": "0.10"}, arrange=after(shortable, wrong(beta=BETA), working("sell", "30", "100.00", "CCC")), inside=(buy("39"),), past=(buy("41"),), numbers=(0.10, 0.06, 0.06 + 41 * 100.01 / 100_000)),
    Case("beta", unknown=wrong(beta=np.full(4, np.nan))),
    Case("beta", unknown=another_model, unknown_order=buy("10", symbol="CCC")),
    Case("factor_risk", {"factor_risk": "0.002"}, arrange=after(shortable, wrong(loadings=LOADINGS)), inside=(sell("46"),), past=(sell("47"),), numbers=(0.002, 0.0006, 0.00201), unknown=held_outside, positions={"CCC": "-20"}, cash="102000.2"),
    Case("factor_risk", {"factor_risk": "0.002"}, arrange=after(told(InstrumentSeen, symbol="AAA", tradable=True, shortable=True, borrow="easy"), wrong(loadings=LOADINGS)), inside=(sell("79", symbol="AAA"),), past=(sell("81", symbol="AAA"),), numbers=(0.002, 0.0004, 0.00202), positions={"AAA": "-20"}, cash="102000.2"),
    Case("factor_risk", {"factor_risk": "0.002"}, arrange=wrong(loadings=LOADINGS), inside=(buy("79"),), past=(buy("81"),), numbers=(0.002, 0.0004, 0.02 * 101 * 100.01 / 100_000), positions={"AAA": "20"}, cash="98000.2"),
    Case("factor_risk", {"factor_risk": "0.002"}, arrange=wrong(loadings=LOADINGS), inside=(buy("45", symbol="CCC"),), past=(buy("47", symbol="CCC"),), numbers=(0.002, 0.0006, 0.03 * 67 * 100.01 / 100_000), positions={"CCC": "20"}, cash="98000.2"),
    Case("factor_risk", {"factor_risk": "0.002"}, arrange=after(wrong(loadings=LOADINGS), working("buy", "20", "100.00", "CCC")), inside=(buy("46", "100.00", "CCC"),), past=(buy("47", "100.00", "CCC"),), numbers=(0.002, 0.0006, 0.00201)),
    Case("factor_risk", inside=(buy("10", symbol="DDD"),), arrange=wrong(loadings=LOADINGS), numbers=(0.03, 0, 0)),
    Case("luld", arrange=after(quoted("0.5000", "0.5010", "DDD"), told(PriceBand, symbol="DDD", low=Decimal("0.5010"), high=Decimal("0.6"))), past=(buy("10", "0.5010", "DDD"),)),
    Case("buying_power", {"buying_power": "0.0203"}, arrange=shortable, inside=(sell("9"),), past=(sell("10"),), numbers=(0.0203, 0.01, (2000 + 0.030103 * 1000) / 100_000), positions={"CCC": "-10"}, cash="101000.10"),
    Case("factor_risk", unknown=another_model, unknown_order=buy("10", symbol="CCC")),
)  # fmt: skip

NEVER_UNKNOWN = {limit.name for limit in LIMITS if limit.unknown.startswith("never")}
