"""One order book for every feed: a single level from quotes (the NBBO), or depth where a vendor streams it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate


class OrderBook:
    """Prices and sizes of one name, best first on both sides. Floats: estimates, never booked.

    Sizes are shares (or coins). A level of size 0 is no level.
    """

    __slots__ = ("_asks", "_bids", "symbol")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}

    def quote(self, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        """A best bid and offer replaces everything: nothing is known behind it."""
        self._bids = {bid: bid_size} if bid > 0 and bid_size > 0 else {}
        self._asks = {ask: ask_size} if ask > 0 and ask_size > 0 else {}

    def update(
        self, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]], *, reset: bool
    ) -> None:
        """Depth: ``(price, size)`` pairs, size 0 removes a level; ``reset`` replaces the whole book."""
        if reset:
            self._bids, self._asks = {}, {}
        for side, levels in ((self._bids, bids), (self._asks, asks)):
            for price, size in levels:
                if size > 0:
                    side[price] = size
                else:
                    side.pop(price, None)

    @property
    def bids(self) -> list[tuple[float, float]]:
        """Levels, highest first."""
        return sorted(self._bids.items(), reverse=True)

    @property
    def asks(self) -> list[tuple[float, float]]:
        """Levels, lowest first."""
        return sorted(self._asks.items())

    @property
    def crossed(self) -> bool:
        """Whether the best bid is above the best offer: the book is not to be traded on."""
        return bool(self._bids and self._asks) and max(self._bids) > min(self._asks)

    @property
    def mid(self) -> float | None:
        """Midpoint of the best prices; None unless both sides are there and not crossed."""
        if not self._bids or not self._asks or self.crossed:
            return None
        return (max(self._bids) + min(self._asks)) / 2

    @property
    def imbalance(self) -> float | None:
        """(bid size − ask size) / (bid size + ask size) at the best prices, in [−1, 1]."""
        if not self._bids or not self._asks:
            return None
        bid, ask = self._bids[max(self._bids)], self._asks[min(self._asks)]
        return (bid - ask) / (bid + ask)

    def cost(self, side: str, size: float) -> float | None:
        """Average price of taking ``size`` at once; None if the book shows less."""
        levels = self.asks if side == "buy" else self.bids
        left, paid = size, 0.0
        for price, shown in levels:
            taken = min(left, shown)
            paid += taken * price
            left -= taken
            if left <= 0:
                return paid / size
        return None

    def depth(self, side: str) -> list[float]:
        """Sizes added up from the best price on."""
        return list(accumulate(size for _, size in (self.asks if side == "buy" else self.bids)))
