"""The course of a trading day: pre-market, opening cross, close, fees, and what is booked overnight."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from market.venue import sessions
from market.venue.account import Account
from market.venue.activities import cash_activity, fee_description
from market.venue.crosses import CLOSING_ENTRY_ENDS, OPENING_ENTRY_ENDS
from market.venue.decimals import ZERO, decimal_text
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
            (session.open - OPENING_ENTRY_ENDS, lambda when: self._exchange.crosses.end_entry("opg", when)),
            (session.open, self._on_open),
            (session.close - CLOSING_ENTRY_ENDS, lambda when: self._exchange.crosses.end_entry("cls", when)),
            (session.close, self._on_close),
            (session.close + FEE_DELAY, self._on_fees),
            (session.post_close, self._on_post_close),
            (session.post_close + FEE_DELAY, self._on_fees),
        ):
            if when >= t:
                self._exchange.at(when, action)
        if t < session.pre_open:
            self._exchange.at(max(session.overnight_open, t), self._on_overnight_open)
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

    def _on_overnight_open(self, t: int) -> None:
        for order in self._waiting():
            if order.extended_hours and self._exchange.trades_overnight(order):
                self._exchange.intake.activate(order, t)

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
            "FSPLIT" if ratio > 1 else "RSPLIT",
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
        self._exchange.crosses.open(t)
        for book in self._exchange.books.values():
            book.refresh(t)
            self._exchange.watch(book)

    def _on_close(self, t: int) -> None:
        self._exchange.crosses.close(t)
        for account in self._exchange.accounts:
            for order in account.open_list():
                if order.extended_hours and order.time_in_force in ("day", "gtc"):
                    continue
                if order.created_at >= t or (order.status == "accepted" and order.submitted_at >= t):
                    continue
                self._end_day(order, t)
            account.balance_asof = self._exchange.session.day

    def _on_post_close(self, t: int) -> None:
        for account in self._exchange.accounts:
            for order in account.open_list():
                if order.extended_hours and order.created_at < t:
                    self._end_day(order, t)

    def _end_day(self, order: Order, t: int) -> None:
        """The order's day is over: a gtc order is done for the day and comes back, any other one ends."""
        if not order.is_open:
            return
        if order.time_in_force != "gtc":
            ending = self._exchange.rules.day_end if order.status in WORKING else "expired"
            self._exchange.terminate(order, ending, t)
        elif order.expires_at is not None and order.expires_at <= t:
            self._exchange.terminate(order, "expired", t)
        else:
            book = self._exchange.books.get(order.symbol)
            if book is not None and order.in_book:
                book.remove(order)
            if order.status in ("new", "partially_filled", "stopped", "suspended"):
                order.move("done_for_day", t)
                self._exchange.emit(order, "done_for_day", t)

    def _calculate(self, t: int) -> None:
        """What traded today of orders that go on is settled: they are `calculated` until they come back."""
        for account in self._exchange.accounts:
            for order in account.open_list():
                if order.status == "done_for_day" and order.filled_qty > order.calculated_qty:
                    order.calculated_qty = order.filled_qty
                    order.move("calculated", t)
                    self._exchange.emit(order, "calculated", t)

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
        self._calculate(t)
        if not self._exchange.rules.fees:
            return
        for account in self._exchange.accounts:
            if not account.fills_today:
                continue
            charged = self._exchange.day_fees(account)
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
