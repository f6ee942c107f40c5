"""How fast we trade: what was sent, to whom and when, counted from the times the events carry.

The message budget is a token bucket. Half of a minute's messages may go at once and the other half comes
back evenly, so no sixty seconds hold more than the whole. Cancels are counted but never held back.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

REMEMBERED = 100
"""Orders remembered of each symbol; the bounds on them are below it."""


class Sent(NamedTuple):
    """An order that went to the ledger."""

    at_s: float
    side: str
    qty: float


class Pace:
    """Counters of one session.

    Attributes
    ----------
    traded_usd : float
        Value of today's executions, both sides.
    """

    def __init__(self, *, orders_today: int = 0, traded_usd: float = 0.0) -> None:
        self.orders_today = orders_today
        self.traded_usd = traded_usd
        self._spent = 0.0
        self._at_s = 0.0
        self._sent: dict[str, deque[Sent]] = {}

    def open_day(self) -> None:
        """A new session: its counts begin at nothing; the message budget knows no midnight."""
        self.orders_today, self.traded_usd = 0, 0.0

    def order(self, symbol: str, side: str, qty: float, at_s: float, per_minute: float) -> None:
        """An order goes out."""
        sent = self._sent.get(symbol)
        if sent is None:
            sent = self._sent[symbol] = deque(maxlen=REMEMBERED)
        sent.append(Sent(at_s, side, qty))
        self.message(at_s, per_minute)

    def message(self, at_s: float, per_minute: float) -> None:
        """Any request to the broker goes out."""
        self._spent = self.spent(at_s, per_minute) + 1.0
        self._at_s = max(self._at_s, at_s)

    def fill(self, notional_usd: float) -> None:
        """An execution was booked."""
        self.traded_usd += abs(notional_usd)

    def spent(self, at_s: float, per_minute: float) -> float:
        """Messages of the budget in use; a clock that steps back gives nothing back."""
        back = max(at_s - self._at_s, 0.0) * per_minute / 2.0 / 60.0
        return max(self._spent - back, 0.0)

    def same(self, symbol: str, side: str, qty: float, since_s: float) -> int:
        """Orders of this symbol, side and quantity since a time."""
        count = 0
        for sent in reversed(self._sent.get(symbol, ())):
            if sent.at_s < since_s:
                break
            count += sent.side == side and sent.qty == qty
        return count

    def of(self, symbol: str, since_s: float) -> int:
        """Orders of this symbol since a time."""
        count = 0
        for sent in reversed(self._sent.get(symbol, ())):
            if sent.at_s < since_s:
                break
            count += 1
        return count
