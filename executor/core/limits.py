"""The limits, one small frozen class each: what is measured, before and after the order.

A limit's ``measure`` is pure and returns ``(before, after)`` in the unit of its bound, or raises
:class:`Unknown` when an input is missing, which refuses new risk. Fractions are of equity.
``LIMITS`` is the list the gate runs; a bound of :class:`executor.settings.LimitSettings` that no
limit, breaker or planner reads fails a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np

from executor.core.book import ZERO, Book
from executor.core.events import Quote
from executor.core.modes import Mode
from executor.core.orders import WorkingOrder
from models.errors import RiskError
from models.risk.snapshot import Floats, RiskSnapshot
from models.risk.value_at_risk import historical

VAR_LEVEL = 0.95


class Unknown(Exception):
    """An input of a limit is missing or unusable."""


@dataclass(frozen=True)
class Proposal:
    """An order that is being judged, with the state it would change.

    ``exposure`` is signed shares at worst: position plus all open and unknown orders on the side
    that makes it larger.
    """

    symbol: str
    side: str
    qty: Decimal
    limit_price: Decimal
    quote: Quote | None
    now_ns: int
    book: Book
    orders: tuple[WorkingOrder, ...]
    quotes: Mapping[str, Quote]
    equity: Decimal | None
    mode: Mode
    snapshot: RiskSnapshot | None
    sectors: Mapping[str, str]
    orders_today: int

    @property
    def direction(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def notional(self) -> Decimal:
        """Worst-case value of the order in USD: all of it at its limit."""
        return self.qty * self.limit_price

    def known_equity(self) -> Decimal:
        if self.equity is None or self.equity <= 0:
            raise Unknown("equity is unknown")
        return self.equity

    def known_quote(self) -> Quote:
        if self.quote is None:
            raise Unknown(f"no quote for {self.symbol}")
        if not self.quote.usable:
            raise Unknown(
                f"quote for {self.symbol} is one-sided, crossed or a stub: {self.quote.bid} x {self.quote.ask}"
            )
        return self.quote

    def price(self, symbol: str) -> Decimal:
        quote = self.quotes.get(symbol)
        if quote is None:
            raise Unknown(f"no price for {symbol}")
        return quote.mid

    def index(self) -> int:
        """Column of the symbol in the risk snapshot."""
        if self.snapshot is None:
            raise Unknown("no risk snapshot")
        try:
            return self.snapshot.index(self.symbol)
        except RiskError:
            raise Unknown(f"{self.symbol} is not in the risk snapshot") from None

    def worst_shares(self, symbol: str, extra: Decimal = ZERO) -> Decimal:
        """Largest absolute position that any subset of the open orders (and ``extra``) can leave."""
        held = self.book.positions.get(symbol, ZERO)
        buys = sum((o.remaining for o in self.orders if o.symbol == symbol and o.side == "buy"), ZERO)
        sells = sum((o.remaining for o in self.orders if o.symbol == symbol and o.side == "sell"), ZERO)
        return max(abs(held + buys + max(extra, ZERO)), abs(held - sells + min(extra, ZERO)))

    def worst_notional(self, symbol: str, extra: Decimal = ZERO) -> Decimal:
        shares = self.worst_shares(symbol, extra)
        if not shares:
            return ZERO
        price = max([self.price(symbol), *(o.limit_price for o in self.orders if o.symbol == symbol)])
        if extra:
            price = max(price, self.limit_price)
        return shares * price

    def symbols(self) -> set[str]:
        """Every symbol held or worked, and the proposed one."""
        return {*self.book.positions, *(o.symbol for o in self.orders), self.symbol}

    def worst_total(self, symbols: set[str], *, with_order: bool) -> Decimal:
        extra = self.direction * self.qty if with_order else ZERO
        return sum((self.worst_notional(s, extra if s == self.symbol else ZERO) for s in symbols), ZERO)

    @cached_property
    def risk_before(self) -> tuple[Decimal, Decimal]:
        """Historical VaR and ES (95 %, one day) of the book with its open orders filled, over equity."""
        return self._risk(self._scenario_values)

    @cached_property
    def risk_after(self) -> tuple[Decimal, Decimal]:
        """The same with this order filled too."""
        values = self._scenario_values.copy()
        values[self.index()] += float(self.direction * self.qty * self.price(self.symbol))
        return self._risk(values)

    @cached_property
    def _scenario_values(self) -> Floats:
        """USD value of every column of the risk snapshot, open orders taken as filled."""
        self.index()
        assert self.snapshot is not None
        shares = dict(self.book.positions)
        for order in self.orders:
            shares[order.symbol] = shares.get(order.symbol, ZERO) + order.direction * order.remaining
        values = np.zeros(len(self.snapshot.symbols))
        for symbol, qty in shares.items():
            try:
                values[self.snapshot.index(symbol)] = float(qty * self.price(symbol))
            except RiskError:
                raise Unknown(f"{symbol} is held but not in the risk snapshot") from None
        return values

    def _risk(self, values: Floats) -> tuple[Decimal, Decimal]:
        assert self.snapshot is not None
        value_at_risk, shortfall = historical(self.snapshot.returns @ values, VAR_LEVEL)
        if not (np.isfinite(value_at_risk) and np.isfinite(shortfall)):
            raise Unknown("value at risk is not a number")
        equity = self.known_equity()
        return Decimal(f"{value_at_risk:.2f}") / equity, Decimal(f"{shortfall:.2f}") / equity

    def reduces(self) -> bool:
        """Proof that the order can only bring the position nearer to zero, never through it."""
        held = self.book.positions.get(self.symbol, ZERO)
        if held == 0 or (held > 0) == (self.side == "buy"):
            return False
        same = sum(
            (o.remaining for o in self.orders if o.symbol == self.symbol and o.side == self.side), ZERO
        )
        return self.qty + same <= abs(held)


class Limit:
    """Base: a name, a version, the name of its bound, and a measure."""

    name: str
    version = 1

    def bound(self, limits: Mapping[str, Decimal], proposal: Proposal) -> Decimal:
        """The value that ``after`` may reach but not pass."""
        return limits[self.name]

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        """``(before, after)`` in the unit of the bound."""
        raise NotImplementedError


class OrderNotional(Limit):
    """Value of one order in USD at its limit price."""

    name = "order_notional_usd"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        return ZERO, proposal.notional


class QuoteAge(Limit):
    """Age of the quote the order is priced from, in seconds."""

    name = "quote_age_s"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        quote = proposal.known_quote()
        elapsed_s = (proposal.now_ns - quote.now_ns) / 1e9 + quote.age_at_receipt_ms / 1e3
        if elapsed_s < -1:
            raise Unknown(f"quote for {proposal.symbol} is {-elapsed_s:.1f} s from the future")
        return ZERO, Decimal(f"{max(elapsed_s, 0):.6f}")


class PriceCollar(Limit):
    """How far the limit price is through the far side of the quote, as a fraction of the mid."""

    name = "price_collar"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        quote = proposal.known_quote()
        return ZERO, proposal.direction * (proposal.limit_price - quote.mid) / quote.mid


class RiskPerTrade(Limit):
    """Equity at risk by the trade: its value × k daily volatilities, where no stop is set."""

    name = "risk_per_trade"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        column = proposal.index()
        assert proposal.snapshot is not None
        volatility = float(proposal.snapshot.daily_volatility[column])
        if not np.isfinite(volatility) or volatility <= 0:
            raise Unknown(f"daily volatility of {proposal.symbol} is unknown")
        distance = limits["risk_volatilities"] * Decimal(f"{volatility:.8f}")
        before = proposal.worst_notional(proposal.symbol)
        after = proposal.worst_notional(proposal.symbol, proposal.direction * proposal.qty)
        equity = proposal.known_equity()
        return before * distance / equity, after * distance / equity


class Participation(Limit):
    """The order's shares as a fraction of the average daily volume."""

    name = "participation"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        column = proposal.index()
        assert proposal.snapshot is not None
        volume = float(proposal.snapshot.average_volume[column])
        if not np.isfinite(volume) or volume <= 0:
            raise Unknown(f"average volume of {proposal.symbol} is unknown")
        return ZERO, proposal.qty / Decimal(f"{volume:.2f}")


class SingleName(Limit):
    """Worst-case value of one name."""

    name = "single_name"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        equity = proposal.known_equity()
        before = proposal.worst_notional(proposal.symbol)
        after = proposal.worst_notional(proposal.symbol, proposal.direction * proposal.qty)
        return before / equity, after / equity


class Sector(Limit):
    """Worst-case value of the order's sector."""

    name = "sector"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        sector = proposal.sectors.get(proposal.symbol)
        if sector is None:
            raise Unknown(f"sector of {proposal.symbol} is unknown")
        members = {s for s in proposal.symbols() if proposal.sectors.get(s) == sector}
        equity = proposal.known_equity()
        before = proposal.worst_total(members, with_order=False)
        return before / equity, proposal.worst_total(members, with_order=True) / equity


class Gross(Limit):
    """Worst-case gross value of the book; scaled down while in drawdown."""

    name = "gross"

    def bound(self, limits: Mapping[str, Decimal], proposal: Proposal) -> Decimal:
        scale = limits["drawdown_scale"] if proposal.mode is Mode.REDUCING else Decimal(1)
        return limits["gross"] * scale

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        equity, symbols = proposal.known_equity(), proposal.symbols()
        before = proposal.worst_total(symbols, with_order=False)
        return before / equity, proposal.worst_total(symbols, with_order=True) / equity


class ValueAtRisk(Limit):
    """Historical one-day 95 % value at risk of the book after the order."""

    name = "value_at_risk"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        return proposal.risk_before[0], proposal.risk_after[0]


class ExpectedShortfall(Limit):
    """Historical one-day 95 % expected shortfall (CVaR) of the book after the order."""

    name = "expected_shortfall"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        return proposal.risk_before[1], proposal.risk_after[1]


class OrdersPerDay(Limit):
    """Orders placed in the session."""

    name = "orders_per_day"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        return Decimal(proposal.orders_today), Decimal(proposal.orders_today + 1)


class DailyLoss(Limit):
    """Loss since the day's opening equity; at the bound no new risk is taken."""

    name = "daily_loss"

    def measure(self, proposal: Proposal, limits: Mapping[str, Decimal]) -> tuple[Decimal, Decimal]:
        if proposal.book.day_open_equity is None:
            raise Unknown("the day's opening equity is unknown")
        loss = proposal.book.daily_loss(proposal.known_equity())
        return loss, loss


LIMITS: tuple[Limit, ...] = (
    OrderNotional(),
    QuoteAge(),
    PriceCollar(),
    RiskPerTrade(),
    Participation(),
    SingleName(),
    Sector(),
    Gross(),
    ValueAtRisk(),
    ExpectedShortfall(),
    OrdersPerDay(),
    DailyLoss(),
)
