"""The worst case of a book, worked out from nothing each time: what the incremental exposure must equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import numpy as np

from executor.core.book import Book
from executor.core.events import Quote
from executor.core.exposure import Exposure
from executor.core.orders import WorkingOrder
from models.risk.snapshot import RiskSnapshot
from models.risk.value_at_risk import historical


def assert_equal_to_a_recount(
    exposure: Exposure,
    book: Book,
    orders: Iterable[WorkingOrder],
    quotes: Mapping[str, Quote],
    sectors: Mapping[str, str],
    snapshot: RiskSnapshot | None,
) -> None:
    """Every sum the exposure keeps against one made of the book, the open orders and the last usable quotes."""
    open_orders = [o for o in orders if o.is_open]
    symbols = sorted({*book.positions, *(o.symbol for o in open_orders)})
    sums = dict.fromkeys(("gross", "high", "low", "squares", "mark", "exit", "required", "open_usd"), 0.0)
    by_sector: dict[str | None, float] = {}
    by_cluster: dict[int, float] = {}
    unpriced, unmodelled = set(), set()
    columns = 0 if snapshot is None else len(snapshot.symbols)
    signed, high, low = np.zeros(columns), np.zeros(columns), np.zeros(columns)
    for symbol in symbols:
        held = book.positions.get(symbol, Decimal(0))
        up, down, top, open_usd = _orders(symbol, held, open_orders)
        quote = quotes.get(symbol)
        bid, ask = (float(quote.bid), float(quote.ask)) if quote else (0.0, 0.0)
        mid = (bid + ask) / 2
        price = max(mid, float(top))
        h, lo = float(up) * price, float(down) * price
        worst = max(abs(h), abs(lo))
        sums["gross"] += worst
        sums["high"] += h
        sums["low"] += lo
        sums["squares"] += worst**2
        sums["mark"] += float(held) * mid
        sums["exit"] += float(held) * (bid if held > 0 else ask)
        sums["open_usd"] += float(open_usd)
        margin_short = max(price, 2.5) if price < 5 else max(0.3 * price, 5.0)
        sums["required"] += max(0.25 * h, -float(down) * margin_short if lo < 0 else 0.0, 0.0)
        by_sector[sectors.get(symbol)] = by_sector.get(sectors.get(symbol), 0.0) + worst
        if quote is None and (held or up != held or down != held):
            unpriced.add(symbol)
        if snapshot is None or symbol not in snapshot:
            if held or up != held or down != held:
                unmodelled.add(symbol)
        else:
            at = snapshot.index(symbol)
            signed[at], high[at], low[at] = (h if abs(h) >= abs(lo) else lo), h, lo
            if snapshot.cluster is not None:
                cluster = int(snapshot.cluster[at])
                by_cluster[cluster] = by_cluster.get(cluster, 0.0) + worst
    scale = max(sums["gross"], 1.0)
    for name, value in sums.items():
        unit = scale * scale if name == "squares" else scale
        _close(getattr(exposure, name), value, unit, name)
    for sector in {*by_sector, *exposure.sectors}:
        _close(exposure.sectors.get(sector, 0.0), by_sector.get(sector, 0.0), scale, f"sector {sector}")
    assert exposure.unpriced == unpriced
    assert exposure.unmodelled == unmodelled
    if snapshot is None:
        return
    for cluster, value in by_cluster.items():
        _close(exposure.clusters.get(cluster, 0.0), value, scale, f"cluster {cluster}")
    if snapshot.beta is not None and snapshot.loadings is not None:
        beta = snapshot.beta
        _close(exposure.beta_high, float(np.maximum(beta * high, beta * low).sum()), scale * 10, "beta high")
        _close(exposure.beta_low, float(np.minimum(beta * high, beta * low).sum()), scale * 10, "beta low")
        exposure.settle()
        for k in range(snapshot.loadings.shape[1]):
            a, b = snapshot.loadings[:, k] * high, snapshot.loadings[:, k] * low
            _close(exposure.factor_high[k], float(np.maximum(a, b).sum()), scale, f"factor {k} high")
            _close(exposure.factor_low[k], float(np.minimum(a, b).sum()), scale, f"factor {k} low")
    pnl = snapshot.returns @ signed
    tail = exposure.tail()
    assert exposure.tail_risk is not None
    assert np.abs(exposure.tail_risk.pnl - pnl).max() <= 1e-9 * scale
    for level, (var, es) in ((0.95, tail[:2]), (0.99, tail[2:])):
        said = historical(pnl, level)
        _close(var, said[0], scale, f"VaR {level}")
        _close(es, said[1], scale, f"expected shortfall {level}")


def _orders(
    symbol: str, held: Decimal, orders: Iterable[WorkingOrder]
) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Most and least shares, the highest limit, and the value of what may trade; alternatives count once."""
    mine = [o for o in orders if o.symbol == symbol]
    ids = {o.client_order_id for o in mine}
    groups: dict[tuple[str, str], list[WorkingOrder]] = {}
    for order in mine:
        replaced = order.replaces_client_order_id
        root = order.parent_client_order_id or (
            replaced if replaced in ids and replaced else order.client_order_id
        )
        groups.setdefault((root, order.side), []).append(order)
    up, down, value = held, held, Decimal(0)
    for (_, side), group in groups.items():
        most = max(o.remaining for o in group)
        up, down = (up + most, down) if side == "buy" else (up, down - most)
        counted = Decimal(0)
        for order in group:
            if order.remaining > counted:
                value += (order.remaining - counted) * (order.worst_price or order.limit_price)
                counted = order.remaining
    top = max([o.worst_price or o.limit_price for o in mine], default=Decimal(0))
    return up, down, top, value


def _close(found: float, said: float, scale: float, what: str) -> None:
    assert abs(found - said) <= 1e-9 * scale, f"{what}: {found!r}, recounted {said!r}"
