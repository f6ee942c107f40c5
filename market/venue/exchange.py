"""The exchange: accounts, orders and books moved by venue time and requests. No socket, no clock, no file.

`advance(t)` plays everything due up to `t` in exact order of time: timers (acknowledgement, open, close, fees)
and the instants at which the tape concerns a working order. It does not matter in how many steps it is called,
so a run is a function of tape, seed and the requests with their times.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from market.venue import sessions
from market.venue.account import Account
from market.venue.activities import cash_activity
from market.venue.assets import Asset, Identities, asset_of
from market.venue.cancelling import ask_to_cancel, cancel_with_group
from market.venue.crosses import Crosses, Imbalance
from market.venue.decimals import to_price, to_ticks
from market.venue.entry_checks import ask_price, collar
from market.venue.executions import Executions
from market.venue.faults import REPLACE, FaultPlan
from market.venue.fees import day_fees
from market.venue.groups import Groups
from market.venue.intake import Intake
from market.venue.matching import Book
from market.venue.order_entry import OrderSpec, ReplaceSpec
from market.venue.orders import Order
from market.venue.path import seed_of
from market.venue.refusals import Refusal, missing, unprocessable
from market.venue.replacing import replace_order
from market.venue.restrictions import Restrictions
from market.venue.sessions import Session
from market.venue.tape import Quote, Tape
from market.venue.timestamps import MINUTE, NEVER, SECOND, rfc3339
from market.venue.trading_day import TradingDay
from market.venue.views import order_view


@dataclass(frozen=True)
class Rules:
    """How this exchange behaves; every field is an assumption that a user may change.

    `fills`: "strict" (displayed size, queue, participation) or "paper" (as Alpaca's paper engine documents:
    any size at the quote, a random part one time in ten). `straddle_pause_s`: seconds of a straddle state after which
    the listing exchange pauses, 0 for never. `breaker_names`: a market of fewer names without SPY has no breakers.
    `day_end`: what a day order becomes at the close, "expired" or "done_for_day". `halted_orders`: what orders are
    during a halt, "working" or "suspended". `overnight`: whether there is a session from 20:00 to 4:00. `update_frames`:
    whether the trading socket sends its JSON in "binary" frames, as the paper service does, or in "text".
    """

    participation: float = 0.10
    latency_ms: float = 0.0
    fills: str = "strict"
    depth_levels: int = 1
    fees: bool = True
    taf_holiday: bool = True
    wash_trade_status: int = 403
    multiplier: Decimal = Decimal(2)
    replace_qty: str = "total"
    luld: bool = True
    luld_tier: int = 1
    short_sale_restriction: bool = True
    straddle_pause_s: float = 0.0
    breakers: bool = True
    breaker_names: int = 20
    day_end: str = "expired"
    halted_orders: str = "working"
    overnight: bool = True
    update_frames: str = "binary"


@dataclass(slots=True)
class Update:
    """One trade_updates event of one account; `data` is what goes under "data"."""

    number: int
    account: int
    t: int
    data: dict[str, Any]
    order: Order | None = None


@dataclass
class _Queues:
    timers: list[tuple[int, int, Callable[[int], None]]] = field(default_factory=list)
    triggers: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0


class Exchange:
    """See the module's text. Prices in USD as Decimal, times in venue nanoseconds."""

    def __init__(
        self,
        tape: Tape,
        *,
        start: int,
        seed: int,
        accounts: int = 1,
        cash: Decimal = Decimal(100_000),
        rules: Rules | None = None,
        faults: FaultPlan | None = None,
        record: Callable[[str, int, dict[str, Any]], None] | None = None,
    ) -> None:
        self.tape = tape
        self.now = start
        self.seed = seed
        self.rules = rules or Rules()
        self.faults = faults or FaultPlan(seed)
        self.identities = Identities(seed)
        self.assets: dict[str, Asset] = {symbol: asset_of(symbol) for symbol in tape.symbols}
        self._by_asset_id = {asset.id: asset for asset in self.assets.values()}
        self.books: dict[str, Book] = {}
        self.session: Session = sessions.session_at_or_after(start)
        self.updates: list[Update] = []
        self.halted: set[str] = set()
        self._unreplaceable: set[str] = set()
        self.note = record or (lambda kind, t, body: None)
        self._queues = _Queues()
        self._update_number = 0
        self.groups = Groups(self)
        self.restrictions = Restrictions(self)
        self.crosses = Crosses(self)
        self.day = TradingDay(self)
        self.executions = Executions(self)
        self.intake = Intake(self)
        self.accounts = [self._new_account(i, cash) for i in range(accounts)]
        self.day.schedule(start)
        self.at(sessions.minute_start(start) + MINUTE, self.day.sample_equity)

    def _new_account(self, number: int, cash: Decimal) -> Account:
        previous = self.tape.history.last_day_before(self.session.day)
        return Account(
            number=number,
            id=self.identities.next("account"),
            account_number=f"PA3{seed_of(self.seed, 'account', number) % 10**9:09d}",
            cash=cash,
            created_at=self.now,
            multiplier=self.rules.multiplier,
            balance_asof=previous,
        )

    # --- prices ------------------------------------------------------------------------------------------

    def asset(self, symbol_or_id: str) -> Asset | None:
        """By ticker or asset id."""
        return self.assets.get(symbol_or_id) or self._by_asset_id.get(symbol_or_id)

    def quote(self, symbol: str) -> Quote | None:
        """The quote shown now."""
        return self.tape.quote_at(symbol, self.session.day, self.now)

    def mark(self, symbol: str) -> Decimal:
        """The last price now, USD; the previous close before the first print."""
        return to_price(self.tape.last_price(symbol, self.session.day, self.now))

    def ask(self, symbol: str) -> Decimal:
        """The ask now, or the last price when nobody offers."""
        return ask_price(self, symbol)

    def last_close(self, symbol: str) -> Decimal:
        """The close of the session before this one, USD, in today's shares."""
        return to_price(self.tape.last_close(symbol, self.session.day))

    def entry_power(self, account: Account) -> Decimal:
        """Buying power for order entry: positions valued at the start of this venue second."""
        second = self.now - self.now % SECOND
        day = self.session.day
        return account.buying_power_for_entry(
            lambda symbol: to_price(self.tape.last_price(symbol, day, second)), second
        )

    def imbalance(self, symbol: str) -> Imbalance | None:
        """What is known of the auction ahead of `symbol`; None outside the minutes before one."""
        return self.crosses.imbalance(symbol)

    # --- time --------------------------------------------------------------------------------------------

    def at(self, t: int, action: Callable[[int], None]) -> None:
        """Run `action` at `t`; equal times run in the order they were asked for."""
        self._queues.count += 1
        heapq.heappush(self._queues.timers, (t, self._queues.count, action))

    def watch(self, book: Book) -> None:
        """Queue a book's next trigger."""
        if book.trigger < NEVER:
            heapq.heappush(self._queues.triggers, (book.trigger, book.symbol))

    def advance(self, t: int) -> None:
        """Play everything due up to and including `t`."""
        timers, triggers = self._queues.timers, self._queues.triggers
        while True:
            next_timer = timers[0][0] if timers else NEVER
            next_trigger = triggers[0][0] if triggers else NEVER
            if next_timer > t and next_trigger > t:
                break
            if next_timer <= next_trigger:
                when, _, action = heapq.heappop(timers)
                self.now = max(self.now, when)
                action(self.now)
            else:
                when, symbol = heapq.heappop(triggers)
                book = self.books[symbol]
                if book.trigger != when:
                    continue
                self.now = max(self.now, when)
                book.process(self.now)
                self.watch(book)
        self.now = max(self.now, t)

    def post_cash(
        self,
        account: Account,
        kind: str,
        sub_type: str,
        amount: Decimal,
        t: int,
        description: str,
        **detail: Any,
    ) -> None:
        """Book cash with its activity row."""
        account.post_cash(amount)
        row = cash_activity(
            self.identities.next("activity"), kind, sub_type, amount, t, description, **detail
        )
        account.activities.append(row)
        self.note("activity", t, {"account": account.number, **row})

    def day_fees(self, account: Account) -> dict[str, Decimal]:
        """Fees of today's executions by type, not yet charged, USD, each rounded up to the cent."""
        if not self.rules.fees or not account.fills_today:
            return {}
        return day_fees(account.fills_today, self.session.day, taf_holiday=self.rules.taf_holiday)

    # --- requests ----------------------------------------------------------------------------------------

    def submit(self, account: Account, spec: OrderSpec) -> Order:
        """Accept an order or raise a Refusal."""
        return self.intake.submit(account, spec)

    def tradable_now(self, order: Order, t: int) -> bool:
        """Whether an order that arrives at `t` can be worked at once."""
        if order.time_in_force == "opg":
            return False
        if self.session.is_regular(t):
            return True
        if not order.extended_hours:
            return False
        return self.session.is_extended(t) or (self.session.is_overnight(t) and self.trades_overnight(order))

    def trades_overnight(self, order: Order) -> bool:
        """Whether an extended-hours order may be worked at night: the asset and the account both allow it."""
        wanted = not self.accounts[order.account].configuration["disable_overnight_trading"]
        return self.rules.overnight and wanted and self.assets[order.symbol].overnight_tradable

    def book(self, symbol: str) -> Book:
        """The book of `symbol`, made when first needed."""
        book = self.books.get(symbol)
        if book is None:
            paper = self.rules.fills == "paper"
            book = self.books[symbol] = Book(
                symbol,
                self.tape.on(symbol, self.session.day),
                self,
                participation=self.rules.participation,
                unlimited=paper,
                levels=1 if paper else self.rules.depth_levels,
            )
            self.restrictions.watch_over(book)
        return book

    def find_order(self, account: Account, order_id: str) -> Order:
        """By id; Refusal 404."""
        order = account.orders.get(order_id)
        if order is None:
            raise missing(f"order not found for {order_id}")
        return order

    def cancel(self, account: Account, order: Order) -> None:
        """Ask for a cancel; the answer to the client is only that it was asked. Refusal 422 when it cannot be."""
        ask_to_cancel(self, order)

    def cancel_now(self, account: Account, order: Order) -> None:
        """Cancel without waiting for the acknowledgement: how close-all frees the shares it needs."""
        if order.is_open:
            cancel_with_group(self, order, self.now)

    def replace(self, account: Account, order: Order, spec: ReplaceSpec) -> Order:
        """Replace an open order by a new one with another id; see replacing.py."""
        if not self.faults.has(REPLACE):
            return replace_order(self, account, order, spec)
        kinds = {fault.kind for fault in self.faults.at_point(REPLACE, **order.who())}
        if "replace_rejected" in kinds:
            self._unreplaceable.add(order.id)
        new = replace_order(self, account, order, spec)
        if "not_sent_but_replaced" in kinds:
            raise unprocessable("unable to replace order, order isn't sent to exchange yet")
        return new

    def refuse_replacement(self, order: Order) -> bool:
        """Whether the exchange turns a replacement down (a fault may say so)."""
        if order.id in self._unreplaceable:
            self._unreplaceable.discard(order.id)
            return True
        return False

    # --- what happens to an order ------------------------------------------------------------------------

    def filled(self, order: Order, qty: Decimal, ticks: int, t: int) -> None:
        """A book trades `qty` of the order."""
        self.executions.book(order, qty, ticks, t)

    def wants(self, order: Order, ticks: int, available: Decimal) -> Decimal:
        """How much of what is offered the fill model lets the order take."""
        return self.executions.wanted(order, ticks, available)

    def is_short(self, order: Order) -> bool:
        """Whether the order opens or increases a short; a sale that closes a long never crosses into one."""
        position = self.accounts[order.account].positions.get(order.symbol)
        return not order.is_buy and (position is None or position.qty <= 0)

    def leave(self, order: Order, account: Account) -> None:
        book = self.books.get(order.symbol)
        if book is not None and order.in_book:
            book.remove(order)
        account.forget_open(order)

    def terminate(self, order: Order, status: str, t: int, event: str | None = None) -> None:
        """End an order without a fill: canceled, expired, rejected, replaced."""
        order.move(status, t)
        self.leave(order, self.accounts[order.account])
        self.emit(order, event or status, t)
        self.groups.after_end(order, t)

    def elected(self, order: Order, t: int) -> None:
        """A stop was triggered: a sell becomes market, a buy gets the collar, a stop-limit its limit."""
        order.triggered = True
        if order.is_buy and order.limit_price is None:
            assert order.stop_price is not None
            order.collar_ticks = to_ticks(collar(order.stop_price))
        self.groups.after_election(order, t)

    def trailed(self, order: Order, t: int) -> None:
        """A trailing stop followed the price."""
        order.updated_at = max(order.updated_at, t)

    def emit(self, order: Order, event: str, t: int, *, execution: str | None = None, **detail: str) -> None:
        """Queue a trade update; the order travels as it is at this instant."""
        self._update_number += 1
        data: dict[str, Any] = {
            "event": event,
            "execution_id": execution or self.identities.next("event"),
            "order": order_view(order),
            "timestamp": rfc3339(t),
        }
        data.update(detail)
        self.updates.append(Update(self._update_number, order.account, t, data, order))
        self.note("update", t, {"account": order.account, "data": data})

    def drain_updates(self) -> list[Update]:
        """Updates since the last call."""
        taken, self.updates = self.updates, []
        return taken


__all__ = ["Exchange", "Refusal", "Rules", "Update"]
