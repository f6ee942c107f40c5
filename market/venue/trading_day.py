"""The course of a trading day: pre-market, opening cross, close, fees, and what is booked overnight."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from market.venue import sessions
from market.venue.account import Account
from market.venue.activities import cash_activity, fee_description
from market.venue.decimals import PRICE_SCALE, ZERO, decimal_text, to_ticks
from market.venue.fees import day_fees
from market.venue.orders import WORKING, Order
from market.venue.timestamps import MINUTE, SECOND

if TYPE_CHECKING:
    from market.venue.exchange import Exchange

FEE_DELAY = 30 * SECOND
"""The day's fees are booked this long after a close."""


class TradingDay:
    """Schedules the session's events on the exchange and carries them out."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def schedule(self, t: int) -> None:
        """Queue what is still to come of the current session at `t`."""
        session = self._exchange.session
        for when, action in (
            (session.pre_open, self._on_pre_open),
            (session.open, self._on_open),
            (session.close, self._on_close),
            (session.close + FEE_DELAY, self._on_fees),
            (session.post_close, self._on_post_close),
            (session.post_close + FEE_DELAY, self._on_fees),
        ):
            if when >= t:
                self._exchange.at(when, action)
        self._exchange.at(session.post_close + MINUTE, self._on_next_session)

    def _on_next_session(self, t: int) -> None:
        """The evening after: the next session becomes the current one, its overnight events are booked."""
        closing = {
            symbol: self._exchange.mark(symbol)
            for account in self._exchange.accounts
            for symbol in account.positions
        }
        previous = self._exchange.session.day
        self._exchange.session = sessions.session_at_or_after(t)
        self._exchange.tape.forget_before(previous)
        for account in self._exchange.accounts:
            account.last_equity = account.cash + sum(
                (p.qty * closing[p.symbol] for p in account.positions.values()), ZERO
            )
            account.balance_asof = previous
            account._marked = None
            for position in account.positions.values():
                position.basis_today = position.qty * closing[position.symbol]
        for symbol, book in self._exchange.books.items():
            book.open_day(self._exchange.tape.on(symbol, self._exchange.session.day))
            self._exchange.restrictions.watch_over(book)
        self._corporate_actions(t)
        self.schedule(t)

    def _on_pre_open(self, t: int) -> None:
        for order in self._waiting():
            if order.extended_hours:
                self._exchange.intake.activate(order, t)

    def _corporate_actions(self, t: int) -> None:
        """Splits and dividends of the new day, for shares held overnight."""
        for account in self._exchange.accounts:
            for position in list(account.positions.values()):
                bar = self._exchange.tape.history.on(position.symbol, self._exchange.session.day)
                if bar is None:
                    continue
                if bar.split not in (0.0, 1.0):
                    self._split(account, position.symbol, Decimal(str(bar.split)), t)
                if bar.dividend:
                    per_share = Decimal(str(bar.dividend))
                    amount = (per_share * position.qty).quantize(Decimal("0.01"))
                    self._exchange.post_cash(
                        account,
                        "DIV",
                        "CDIV",
                        amount,
                        t,
                        f"Cash dividend {position.symbol}",
                        symbol=position.symbol,
                        qty=position.qty,
                        per_share=per_share,
                    )

    def _split(self, account: Account, symbol: str, ratio: Decimal, t: int) -> None:
        for order in list(account.open_orders.get(symbol, {}).values()):
            self._exchange.terminate(order, "canceled", t)
        position = account.positions[symbol]
        before = position.qty
        position.qty = (before * ratio).quantize(Decimal("1e-9"), ROUND_DOWN).normalize() + ZERO
        account._marked = None
        row = cash_activity(
            self._exchange.identities.next("activity"),
            "SPLIT",
            "SPLIT",
            ZERO,
            t,
            f"Split {symbol} {decimal_text(ratio)}:1",
            symbol=symbol,
            qty=position.qty - before,
        )
        account.activities.append(row)
        self._exchange.note("activity", t, {"account": account.number, **row})

    def _on_open(self, t: int) -> None:
        for order in self._waiting():
            self._exchange.intake.activate(order, t)
        for account in self._exchange.accounts:
            for order in account.open_list():
                self._exchange.groups.rearm(order, t)
        for book in self._exchange.books.values():
            book.refresh(t)
            self._exchange.watch(book)

    def _on_close(self, t: int) -> None:
        for account in self._exchange.accounts:
            for order in account.open_list():
                if order.time_in_force == "cls" and order.in_book is False and order.status in WORKING:
                    self.auction(order, t, closing=True)
        for account in self._exchange.accounts:
            for order in account.open_list():
                if order.extended_hours and order.time_in_force in ("day", "gtc"):
                    continue
                if order.created_at >= t or (order.status == "accepted" and order.submitted_at >= t):
                    continue
                if order.time_in_force == "cls":
                    if order.is_open:
                        self._exchange.terminate(order, "canceled", t)
                elif order.time_in_force != "gtc":
                    if order.is_open:
                        self._exchange.terminate(order, "expired", t)
                else:
                    self._park(order)
            account.balance_asof = self._exchange.session.day

    def _on_post_close(self, t: int) -> None:
        for account in self._exchange.accounts:
            for order in account.open_list():
                if order.extended_hours and order.created_at < t:
                    if order.time_in_force == "day" and order.is_open:
                        self._exchange.terminate(order, "expired", t)
                    else:
                        self._park(order)

    def _park(self, order: Order) -> None:
        book = self._exchange.books.get(order.symbol)
        if book is not None and order.in_book:
            book.remove(order)

    def _waiting(self) -> list[Order]:
        """Open orders that are not in a book, oldest first."""
        found = [
            order
            for account in self._exchange.accounts
            for order in account.open_list()
            if not order.in_book and order.status not in ("held", "pending_new")
        ]
        return sorted(found, key=lambda order: order.sequence)

    def _on_fees(self, t: int) -> None:
        if not self._exchange.rules.fees:
            return
        for account in self._exchange.accounts:
            if not account.fills_today:
                continue
            charged = day_fees(account.fills_today, self._exchange.session.day)
            account.fills_today.clear()
            for kind, amount in charged.items():
                self._exchange.post_cash(
                    account, "FEE", kind, -amount, t, fee_description(kind, self._exchange.session.day)
                )

    def sample_equity(self, t: int) -> None:
        """One point a venue minute for the portfolio history, while the exchange is awake."""
        if self._exchange.session.pre_open <= t <= self._exchange.session.post_close:
            for account in self._exchange.accounts:
                account.equity_history.append((t, account.equity(self._exchange.mark)))
            self._exchange.at(t + MINUTE, self.sample_equity)
        else:
            following = sessions.session_at_or_after(t)
            self._exchange.at(max(following.pre_open, t + MINUTE), self.sample_equity)

    def auction(self, order: Order, t: int, *, closing: bool) -> None:
        """Opening or closing cross: everything that reaches the cross price, within participation of its volume."""
        if order.symbol in self._exchange.halted:
            return
        tape = self._exchange.tape.on(order.symbol, self._exchange.session.day)
        bar = self._exchange.tape.history.on(order.symbol, self._exchange.session.day)
        if tape is None or not len(tape.price):
            return
        if closing:
            ticks, volume = int(tape.price[-1]), int(tape.size[-1])
            if bar is not None:
                ticks = round(bar.close * PRICE_SCALE)
        else:
            at = tape.trades_until(self._exchange.session.open - 1)
            ticks, volume = int(tape.price[at]), int(tape.size[at])
        if order.limit_price is not None:
            limit = to_ticks(order.limit_price)
            if (ticks > limit) if order.is_buy else (ticks < limit):
                return
        offered = Decimal(10) ** 12
        if self._exchange.rules.fills == "strict":
            offered = max(Decimal(100), Decimal(int(volume * self._exchange.rules.participation)))
        qty = min(order.left, offered)
        if qty > 0:
            self._exchange.filled(order, qty, ticks, t)
