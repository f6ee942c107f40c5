"""What the book could become: every position with all its open and unknown orders at worst, in floats.

Kept by differences. A quote, a fill or an order changes one name; that name is valued anew from the book
and its own orders, and each sum moves by the difference. So a verdict needs no walk over the book, and a
quote of a name we do not hold costs a few assignments. The ledger checks its hard caps in Decimal by itself;
these are estimates and may differ from it by a float's rounding.

At worst. ``high`` is a name's value if all its buys fill and none of its sells, ``low`` the opposite. The
larger of the two in size is its worst value. Sums over names take each name at its own worst, so no subset
of fills can pass them. For value at risk each name enters with its worst value and sign.

A name is valued at its mid, or at the highest limit price of its orders if that is more; equity at the side
a position would be closed at (bid for longs, ask for shorts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from executor.core.book import Book
from executor.core.events import Quote
from executor.core.line import Line, count_orders, valued
from executor.core.orders import WorkingOrder
from executor.core.tail_risk import Tail, TailRisk
from models.risk.snapshot import Floats, RiskSnapshot

TOGETHER_MIN = 16
"""From so many names on their factor sums are moved by arrays."""
PENDING_MAX = 4
"""Names whose change waits to be moved into the scenario vector; more are moved at once."""
REBUILD_AFTER = 100_000
SHRUNK = 1e-3
"""Sums are added up afresh when so many differences were taken, or when so little is left of them: what
rounding has gathered stays far below a billionth of what the sums say."""


class Exposure:
    """The worst case of one account, by name and in sum.

    Parameters
    ----------
    book : Book
        Its positions and cash are read whenever a symbol is refreshed.
    sectors : mapping
        Symbol → sector.
    orders : iterable
        Orders that may still fill.

    Attributes
    ----------
    gross, high, low, squares : float
        Σ worst, Σ high, Σ low (USD) and Σ worst² (USD²).
    mark, exit : float
        Positions at the mid and at the side they would be closed at (USD, signed).
    required : float
        Maintenance margin at worst (USD).
    open_usd : float
        Value of what open orders may still trade, at their limits (USD).
    sectors, clusters : dict
        Σ worst by sector and by cluster of correlated names.
    unpriced, unmodelled : set
        Symbols with an exposure but without a price, or unknown to the risk snapshot.
    """

    def __init__(
        self,
        book: Book,
        sectors: Mapping[str, str],
        orders: Iterable[WorkingOrder] = (),
    ) -> None:
        self.book = book
        self._sector_of = sectors
        self.lines: dict[str, Line] = {}
        self.snapshot: RiskSnapshot | None = None
        self.tail_risk: TailRisk | None = None
        self.unpriced: set[str] = set()
        self.unmodelled: set[str] = set()
        self._pending: list[Line] = []
        self._gathering = False
        self._factor_worst: float | None = None
        self._expected: tuple[Line, float, Tail] | None = None
        self._changes = 0
        self._factors = 0
        self._zero()
        for order in orders:
            if order.is_open:
                self.line(order.symbol).orders[order.client_order_id] = order
        for symbol in (*book.positions, *(s for s, n in self.lines.items() if n.orders)):
            self.refresh(symbol)

    def _zero(self) -> None:
        self.gross = self.high = self.low = self.squares = self.mark = self.exit = 0.0
        self.required = self.open_usd = self.beta_high = self.beta_low = 0.0
        self.sectors: dict[str | None, float] = {}
        self.clusters: dict[int, float] = {}
        self.factor_high = [0.0] * self._factors
        self.factor_low = [0.0] * self._factors
        self._peak = 0.0

    # ------------------------------------------------------------------ what changes a line

    def line(self, symbol: str) -> Line:
        """The symbol's line, made when it is first heard of."""
        line = self.lines.get(symbol)
        if line is None:
            line = self.lines[symbol] = Line(symbol, self._sector_of.get(symbol))
            if self.snapshot is not None:
                self._model(line, self.snapshot)
        return line

    def quote(self, quote: Quote, usable: bool) -> None:
        """Take a quote in; one that is not usable moves no mark but is remembered as the newest."""
        line = self.lines.get(quote.symbol) or self.line(quote.symbol)
        line.latest, line.usable = quote, usable
        if usable:
            self.price(line, float(quote.bid), float(quote.ask))

    def quotes(self, quotes: Iterable[Quote]) -> None:
        """Many usable quotes at once: the sums that cost most are moved by all of them together."""
        self._gathering = True
        for quote in quotes:
            self.quote(quote, usable=True)
        self._gathering = False
        if len(self._pending) > PENDING_MAX:
            self.settle()

    def price(self, line: Line, bid: float, ask: float) -> None:
        """A name's newest usable bid and ask: its mark."""
        if bid == line.bid and ask == line.ask:
            return
        line.bid, line.ask, line.mid = bid, ask, (bid + ask) * 0.5
        if bid <= 0.9 * line.close:
            line.fell = True
        if line.held or line.orders:
            self._revalue(line)

    def forget_price(self, symbol: str) -> None:
        """A corporate action has made the name's prices void: it is unpriced until the next usable quote."""
        line = self.line(symbol)
        line.latest, line.usable = None, False
        line.bid = line.ask = line.mid = 0.0
        self._revalue(line)

    def track(self, order: WorkingOrder) -> None:
        """An order may fill from now on; its object is watched until it has ended."""
        self.line(order.symbol).orders[order.client_order_id] = order
        self.refresh(order.symbol)

    def drop(self, symbol: str, client_order_id: str) -> None:
        """An order will not fill any more, or was never sent."""
        self.line(symbol).orders.pop(client_order_id, None)
        self.refresh(symbol)

    def refresh(self, symbol: str) -> None:
        """Read a symbol's position and orders again: after a fill, an order's news, a correction."""
        line = self.line(symbol)
        held = self.book.positions.get(symbol)
        line.held = float(held) if held else 0.0
        line.buys = line.sells = line.top = open_usd = 0.0
        if line.orders:
            open_usd = count_orders(line)
        self.open_usd += open_usd - line.open_usd
        line.open_usd = open_usd
        self._revalue(line)

    def load(self, snapshot: RiskSnapshot | None) -> None:
        """Measure with another risk snapshot from now on (or with none)."""
        self.snapshot = snapshot
        self.tail_risk = TailRisk(snapshot) if snapshot is not None else None
        loadings = snapshot.loadings if snapshot is not None else None
        self._factors = loadings.shape[1] if loadings is not None else 0
        for line in self.lines.values():
            self._model(line, snapshot)
        self.rebuild()

    def open_day(self) -> None:
        """A new session: yesterday's short-sale restriction comes from the snapshot, today's from the quotes."""
        for line in self.lines.values():
            line.fell = _restricted(line, self.snapshot)

    def _model(self, line: Line, snapshot: RiskSnapshot | None) -> None:
        line.forget_model()
        if snapshot is None or line.symbol not in snapshot:
            return
        at = line.column = snapshot.index(line.symbol)
        line.close = float(snapshot.close[at])
        line.volatility, line.volume = (
            float(snapshot.daily_volatility[at]),
            float(snapshot.average_volume[at]),
        )
        line.beta = _at(snapshot.beta, at)
        line.cluster = int(_at(snapshot.cluster, at)) if snapshot.cluster is not None else -1
        if snapshot.loadings is not None:
            line.loadings = tuple(snapshot.loadings[at].tolist())
        line.fell = line.fell or _restricted(line, snapshot)

    # ------------------------------------------------------------------ sums

    def _revalue(self, line: Line) -> None:
        """Value a line anew and move every sum by the difference."""
        held, mid = line.held, line.mid
        price = mid if mid > line.top else line.top
        high, low, worst, signed, required = valued(held + line.buys, held - line.sells, price)
        mark = held * mid
        at_exit = held * (line.bid if held > 0.0 else line.ask)
        more_high, more_low, more = high - line.high, low - line.low, worst - line.worst
        self.mark += mark - line.mark
        self.exit += at_exit - line.exit
        line.mark, line.exit = mark, at_exit
        exposed = held != 0.0 or line.buys != 0.0 or line.sells != 0.0
        if line.unpriced is not (exposed and mid <= 0.0) or line.unmodelled is not (
            exposed and line.column < 0
        ):
            self._note_gaps(line, exposed)
        if more_high == 0.0 and more_low == 0.0 and required == line.required:
            return
        self.gross += more
        self.high += more_high
        self.low += more_low
        self.squares += (worst - line.worst) * (worst + line.worst)
        self.required += required - line.required
        self.sectors[line.sector] = self.sectors.get(line.sector, 0.0) + more
        self.clusters[line.cluster] = self.clusters.get(line.cluster, 0.0) + more
        beta = line.beta
        if beta >= 0.0:
            self.beta_high += beta * more_high
            self.beta_low += beta * more_low
        else:
            self.beta_high += beta * more_low
            self.beta_low += beta * more_high
        line.high, line.low, line.worst, line.signed, line.required = high, low, worst, signed, required
        if line.column >= 0 and not line.pending:
            line.pending = True
            self._pending.append(line)
            if len(self._pending) > PENDING_MAX and not self._gathering:
                self.settle()
        self._changes += 1
        self._peak = max(self._peak, self.gross)
        if self._changes >= REBUILD_AFTER or self.gross < SHRUNK * self._peak:
            self.rebuild()

    def _note_gaps(self, line: Line, exposed: bool) -> None:
        line.unpriced = exposed and line.mid <= 0.0
        line.unmodelled = exposed and line.column < 0
        for there, gaps in ((line.unpriced, self.unpriced), (line.unmodelled, self.unmodelled)):
            if there:
                gaps.add(line.symbol)
            else:
                gaps.discard(line.symbol)

    def settle(self) -> None:
        """Move what waits into the scenario vector and the factor sums."""
        pending, self._pending = self._pending, []
        tail_risk, expected = self.tail_risk, self._expected
        only, together = len(pending) == 1, len(pending) >= TOGETHER_MIN
        if together:
            self._settle_together(pending)
        for line in () if together else pending:
            line.pending = False
            change = line.signed - line.counted_signed
            if change != 0.0 and tail_risk is not None:
                if only and expected is not None and expected[0] is line and expected[1] == change:
                    tail_risk.take(expected[2])
                else:
                    tail_risk.move(line.column, change)
            self._move_factors(line)
            line.counted_signed, line.counted_high, line.counted_low = line.signed, line.high, line.low
        if pending:
            self._expected = self._factor_worst = None

    def _move_factors(self, line: Line) -> None:
        more_high, more_low = line.high - line.counted_high, line.low - line.counted_low
        high, low = self.factor_high, self.factor_low
        for k, loading in enumerate(line.loadings):
            if loading >= 0.0:
                high[k] += loading * more_high
                low[k] += loading * more_low
            else:
                high[k] += loading * more_low
                low[k] += loading * more_high

    def _settle_together(self, lines: list[Line]) -> None:
        columns = [line.column for line in lines]
        if self.tail_risk is not None:
            self.tail_risk.moves(columns, [line.signed - line.counted_signed for line in lines])
        if self._factors and self.snapshot is not None and self.snapshot.loadings is not None:
            loadings = self.snapshot.loadings[columns]
            more_high = np.array([line.high - line.counted_high for line in lines])[:, None]
            more_low = np.array([line.low - line.counted_low for line in lines])[:, None]
            up = np.maximum(loadings, 0.0)
            down = loadings - up
            self.factor_high = (self.factor_high + (up * more_high + down * more_low).sum(axis=0)).tolist()
            self.factor_low = (self.factor_low + (up * more_low + down * more_high).sum(axis=0)).tolist()
        for line in lines:
            line.pending = False
            line.counted_signed, line.counted_high, line.counted_low = line.signed, line.high, line.low

    def rebuild(self) -> None:
        """Add every sum up afresh."""
        self._zero()
        self._changes = 0
        self._pending, self._expected, self._factor_worst = [], None, None
        self.unpriced.clear()
        self.unmodelled.clear()
        if self.tail_risk is not None:
            self.tail_risk.clear()
        self._gathering = True
        for line in self.lines.values():
            open_usd, line.open_usd = line.open_usd, 0.0
            line.high = line.low = line.worst = line.signed = line.mark = line.exit = line.required = 0.0
            line.counted_signed = line.counted_high = line.counted_low = 0.0
            line.unpriced = line.unmodelled = line.pending = False
            if line.held or line.orders:
                line.open_usd = open_usd
                self.open_usd += open_usd
                self._revalue(line)
        self._gathering = False
        self.settle()

    # ------------------------------------------------------------------ what limits ask

    @property
    def equity(self) -> float:
        """Cash and positions at the side they would be closed at; meaningless while a name is unpriced."""
        return float(self.book.cash) + self.exit

    def factor_worst(self) -> float:
        """Largest exposure to any one factor, either way, USD a standard deviation."""
        if self._pending:
            self.settle()
        if self._factor_worst is None:
            self._factor_worst = max(0.0, *self.factor_high, *(-low for low in self.factor_low))
        return self._factor_worst

    def tail(self) -> Tail:
        """Value at risk and shortfall of the book at worst, USD. Needs a snapshot."""
        if self._pending:
            self.settle()
        assert self.tail_risk is not None
        return self.tail_risk.present()

    def tail_after(self, line: Line, signed: float) -> Tail:
        """The same with one line's worst value changed to ``signed``."""
        if self._pending:
            self.settle()
        assert self.tail_risk is not None
        change = signed - line.counted_signed
        tail = self.tail_risk.after(line.column, change)
        self._expected = (line, change, tail)
        return tail


def _at(values: Floats | None, at: int) -> float:
    return 0.0 if values is None else float(values[at])


def _restricted(line: Line, snapshot: RiskSnapshot | None) -> bool:
    if snapshot is None or snapshot.restricted is None or line.column < 0:
        return False
    return bool(snapshot.restricted[line.column])
