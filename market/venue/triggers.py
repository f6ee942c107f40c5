"""When the tape next concerns an order: the first quote or print that could change anything for it.

Nothing depends on how often the venue is asked: a book is processed at exactly the instants found here.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np

from market.venue.decimals import to_ticks
from market.venue.orders import Order
from market.venue.tape import SymbolTape
from market.venue.timestamps import NEVER


def next_trigger(tape: SymbolTape, orders: Iterable[Order], t: int) -> int:
    """Time of the first quote or print after `t` that could change anything for `orders`; NEVER for none."""
    buy_limit, sell_limit = -1, NEVER
    buy_stop, sell_stop = NEVER, -1
    any_quote = any_print = False
    for order in orders:
        if not order.in_book:
            continue
        if not order.is_active:
            if order.type == "trailing_stop":
                any_print = True
            elif order.is_buy:
                buy_stop = min(buy_stop, to_ticks(order.stop_price or Decimal(0)))
            else:
                sell_stop = max(sell_stop, to_ticks(order.stop_price or Decimal(0)))
        elif order.limit_price is not None and order.resting:
            if order.is_buy:
                buy_limit = max(buy_limit, to_ticks(order.limit_price))
            else:
                sell_limit = min(sell_limit, to_ticks(order.limit_price))
        else:
            any_quote = True
    lowest_ask, highest_bid, lowest_print, highest_print = tape.extremes()
    quote_at = print_at = -1
    if any_quote or buy_limit >= lowest_ask or sell_limit <= highest_bid:
        quotes = tape.quotes_until(t)
        if any_quote and quotes < len(tape.ask):
            quote_at = quotes
        else:
            if buy_limit >= lowest_ask:
                quote_at = _first(tape.ask, quotes, 1, buy_limit)
            if sell_limit <= highest_bid:
                quote_at = _earlier(quote_at, _first(tape.bid, quotes, sell_limit, NEVER))
    wanted = [
        (low, high)
        for reached, low, high in (
            (buy_limit >= lowest_print, 1, buy_limit),
            (sell_limit <= highest_print, sell_limit, NEVER),
            (buy_stop <= highest_print, buy_stop, NEVER),
            (sell_stop >= lowest_print, 1, sell_stop),
        )
        if reached
    ]
    if any_print or wanted:
        prints = tape.trades_until(t)
        if any_print and prints < len(tape.price):
            print_at = prints
        else:
            for low, high in wanted:
                print_at = _earlier(print_at, _first(tape.price, prints, low, high))
    when = NEVER
    if quote_at >= 0:
        when = tape.quote_time(quote_at)
    if print_at >= 0:
        when = min(when, tape.trade_time(print_at))
    return when


def _first(values: Any, start: int, low: int, high: int) -> int:
    """Index of the first value in low..high from `start` on, -1 for none; looks in growing blocks."""
    size, block = len(values), 256
    while start < size:
        part = values[start : start + block]
        hits = (part >= low) & (part <= high) if high < NEVER else part >= low
        at = int(np.argmax(hits))
        if hits[at]:
            return start + at
        start += block
        block *= 4
    return -1


def _earlier(a: int, b: int) -> int:
    if a < 0:
        return b
    return a if b < 0 else min(a, b)
