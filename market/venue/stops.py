"""Trading stands still: halts, pauses, market-wide breakers, and the tape with the holes they leave.

During a stop nobody quotes and nobody prints. What the tape would have printed meanwhile is traded at once in the
auction that ends the stop: one print of kind REOPENING, whose size is everything withheld and whose price is where
the tape stands at that instant. Volume is conserved, and nothing of it depends on what comes later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.venue.tape import CLOSING, EXTENDED, OPENING, REOPENING, SymbolTape


@dataclass(frozen=True, slots=True)
class Stop:
    """No trading from `start` until `end` (the instant of resumption), nanoseconds.

    `code` is the reason in UTP's words (T1, LUDP, LUDS, MWC1 ...). `price` in ticks is that of the auction which ends
    it, 0 when there is none; `closing`: it ends with the closing cross. A fault may have begun it (`by_hand`, then
    what the tape shows at `start` itself was seen) and may end it (`lifted_by_hand`).
    """

    start: int
    end: int
    code: str
    price: int = 0
    closing: bool = False
    by_hand: bool = False
    lifted_by_hand: bool = False


def indicative_price(tape: SymbolTape, start: int, t: int) -> int:
    """Where the tape stands at `t`, in ticks: its last print since `start`, else the middle of the quote, else its
    last print at all, 0 when there is nothing."""
    before, printed = tape.trades_until(start - 1), tape.trades_until(t)
    if printed > before:
        return int(tape.price[printed - 1])
    quoted = tape.quotes_until(t)
    if quoted and tape.bid[quoted - 1] > 0 and tape.ask[quoted - 1] > 0:
        return (int(tape.bid[quoted - 1]) + int(tape.ask[quoted - 1])) // 200 * 100
    return int(tape.price[printed - 1]) if printed else 0


def with_holes(raw: SymbolTape, stops: Iterable[Stop]) -> SymbolTape:
    """The session as it is published: nothing inside a stop, its volume in the auction that ends it."""
    stops = tuple(stops)
    if not stops:
        return raw
    quoted = np.ones(len(raw.quote_times), dtype=bool)
    printed = np.ones(len(raw.trade_times), dtype=bool)
    size = raw.size.copy()
    quotes: list[tuple[int, int, int, int, int]] = []
    prints: list[tuple[int, int, int, int]] = []
    for stop in stops:
        seen = stop.start if stop.by_hand else stop.start - 1
        low, high = raw.quotes_until(seen), raw.quotes_until(stop.end - 1)
        quoted[low:high] = False
        if high > low and stop.end < raw.session.post_close and raw.quotes_until(stop.end) == high:
            # The newest quote of the hole is the one that stands when trading goes on.
            last = raw.quote(high - 1)
            quotes.append((stop.end, last.bid, last.ask, last.bid_size, last.ask_size))
        low, high = raw.trades_until(seen), raw.trades_until(stop.end - 1)
        hole = np.flatnonzero(raw.kind[low:high] != EXTENDED) + low
        closing = hole[raw.kind[hole] == CLOSING]
        printed[low:high] = False
        if stop.closing and len(closing):
            printed[closing[0]] = True
            size[closing[0]] = size[hole].sum()
        elif stop.price and len(hole):
            kind = OPENING if (raw.kind[hole] == OPENING).any() else REOPENING
            prints.append((stop.end, stop.price, int(size[hole].sum()), kind))
    quote_times, bid, ask, bid_size, ask_size = _merged(
        quotes, quoted, (raw.quote_times + raw.shift, raw.bid, raw.ask, raw.bid_size, raw.ask_size)
    )
    trade_times, price, sizes, kinds = _merged(
        prints, printed, (raw.trade_times + raw.shift, raw.price, size, raw.kind)
    )
    return SymbolTape(
        symbol=raw.symbol, session=raw.session, shift=0, quote_times=quote_times, bid=bid, ask=ask, bid_size=bid_size,
        ask_size=ask_size, trade_times=trade_times, price=price, size=sizes, kind=kinds,
    )  # fmt: skip


def _merged(
    added: list[tuple[int, ...]] | list[tuple[int, int, int, int]] | list[tuple[int, int, int, int, int]],
    kept: NDArray[np.bool_],
    columns: tuple[NDArray[np.integer], ...],
) -> list[NDArray[np.integer]]:
    """Columns with the rows of `added` put in at their time (the first column), before equals."""
    rows = [column[kept] for column in columns]
    if added:
        new = np.array(added, dtype=np.int64).T
        joined = [np.concatenate([extra, row]) for extra, row in zip(new, rows, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        rows = [column[order] for column in joined]
    return rows
