"""A tape of what really happened: ticks or bars of trades and quotes, instead of a modelled path.

Reads Parquet with symbol and `ts_ny` (naive New York time) and one of

    price, size [exchange, suspicious]                      trade ticks
    bid, ask, bid_size, ask_size [exchange, suspicious]     quote ticks, one exchange at a time, one side may be 0
    open, high, low, close, volume                          bars of trades (seconds or minutes)
    bid_open .. ask_close, bid_size, ask_size               bars of quotes

`x_trade.parquet` and `x_quote.parquet` side by side are used together. Where quotes are absent they are modelled a
tick around each print; where trades are absent the book trades against quotes alone. Prints flagged suspicious are
left out.

The NBBO of one-sided quote ticks: each exchange's last bid and ask hold until it replaces them, for at most a
minute; the best of them, sizes added up at the best price. When the best bid is not below the best ask, the older
of the two is dropped: a side left standing is far likelier in such data than a real crossed market.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from market.venue.daily import DailyHistory, canonical
from market.venue.decimals import PRICE_SCALE
from market.venue.errors import TapeError
from market.venue.path import seed_of
from market.venue.sessions import Session
from market.venue.tape import CLOSING, EXTENDED, OPENING, REGULAR, SymbolTape
from market.venue.timestamps import MINUTE, SECOND, new_york

QUOTE_LIFE_NS = MINUTE
_WIDE = 0.5  # a side further than this share from the other is an absent side, not a price
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Quotes:
    """Columns of a session's best quotes."""

    t: Ints
    bid: Ints
    ask: Ints
    bid_size: Ints
    ask_size: Ints


def is_intraday(path: Path) -> bool:
    """Whether a Parquet file holds times and not days."""
    return path.suffix == ".parquet" and path.is_file() and "ts_ny" in pl.read_parquet_schema(path)


class TickTape:
    """Builds sessions from intraday files and knows the days in them."""

    def __init__(self, path: Path, *, seed: int) -> None:
        self._seed = seed
        self._files: dict[str, Path] = {}
        for candidate in (path, _sibling(path)):
            if candidate is not None and candidate.is_file():
                columns = set(pl.read_parquet_schema(candidate))
                kind = _kind(columns)
                if kind is None:
                    raise TapeError(
                        f"{candidate} has times but neither trades nor quotes; it has {', '.join(sorted(columns))}"
                    )
                self._files[kind] = candidate

    def history(self, symbols: list[str] | None = None) -> DailyHistory:
        """Daily bars of the regular hours, made from the ticks; from quote middles without trades."""
        kind = next(k for k in ("trade_bars", "trades", "quote_bars", "quotes") if k in self._files)
        rows = pl.scan_parquet(self._files[kind])
        clock = pl.col("ts_ny").dt.time()
        rows = rows.filter(clock >= pl.time(9, 30), clock <= pl.time(16, 0)).sort("symbol", "ts_ny")
        if kind == "trades":
            rows = rows.filter(~_suspicious(rows)).with_columns(
                open=pl.col("price"), high=pl.col("price"), low=pl.col("price"), close=pl.col("price"),
                volume=pl.col("size"),
            )  # fmt: skip
        elif kind != "trade_bars":
            bid, ask = ("bid_close", "ask_close") if kind == "quote_bars" else ("bid", "ask")
            middle = (pl.col(bid) + pl.col(ask)) / 2
            rows = rows.filter(pl.col(bid) > 0, pl.col(ask) > pl.col(bid)).with_columns(
                open=middle, high=middle, low=middle, close=middle, volume=pl.lit(0)
            )
        daily = (
            rows.group_by("symbol", pl.col("ts_ny").dt.date().alias("date"), maintain_order=True)
            .agg(
                pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
                pl.col("volume").sum(),
            )
            .collect()
        )  # fmt: skip
        return DailyHistory(canonical(daily, str(self._files[kind])), symbols)

    def build(self, symbol: str, session: Session) -> SymbolTape | None:
        """One symbol's session, or None when the files have nothing of it."""
        trade_times, price, size = self._trades(symbol, session)
        quotes = self._quotes(symbol, session)
        if quotes is None and not len(price):
            return None
        if quotes is None:
            quotes = self._modelled_quotes(symbol, session, trade_times, price, size)
        kind = np.full(len(price), EXTENDED, dtype=np.int8)
        regular = np.flatnonzero((trade_times >= session.open) & (trade_times < session.close))
        kind[regular] = REGULAR
        if len(regular):
            kind[regular[0]], kind[regular[-1]] = OPENING, CLOSING
        return SymbolTape(
            symbol=symbol, session=session, shift=0, quote_times=quotes.t, bid=quotes.bid, ask=quotes.ask,
            bid_size=quotes.bid_size, ask_size=quotes.ask_size, trade_times=trade_times, price=price, size=size,
            kind=kind,
        )  # fmt: skip

    # --- trades ------------------------------------------------------------------------------------------

    def _trades(self, symbol: str, session: Session) -> tuple[Ints, Ints, Ints]:
        if "trades" in self._files:
            rows = self._read("trades", symbol, session.day)
            return _times(rows), _ticks(rows["price"]), rows["size"].to_numpy().astype(np.int64)
        if "trade_bars" not in self._files:
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, nothing, nothing
        rows = self._read("trade_bars", symbol, session.day).filter(pl.col("volume") > 0)
        start = _times(rows)
        if not len(start):
            return start, start, start
        width = _width(start)
        if _stamped_at_end(start, session, width):
            start = start - width
        # Four prints a bar: open, the extreme nearer to it, the other one, close.
        opened, high, low, close = (_ticks(rows[name]) for name in ("open", "high", "low", "close"))
        up = close >= opened
        prices = np.stack([opened, np.where(up, low, high), np.where(up, high, low), close], axis=1)
        volume = rows["volume"].to_numpy().astype(np.int64)
        share = np.stack([volume // 4] * 3 + [volume - 3 * (volume // 4)], axis=1)
        offsets = np.arange(4, dtype=np.int64) * (width // 4)
        keep = share.ravel() > 0
        return (start[:, None] + offsets).ravel()[keep], prices.ravel()[keep], share.ravel()[keep]

    # --- quotes ------------------------------------------------------------------------------------------

    def _quotes(self, symbol: str, session: Session) -> Quotes | None:
        if "quotes" in self._files:
            rows = self._read("quotes", symbol, session.day)
            return national_best(rows) if len(rows) else None
        if "quote_bars" not in self._files:
            return None
        rows = self._read("quote_bars", symbol, session.day)
        columns = ["bid_open", "ask_open", "bid_close", "ask_close"]
        rows = rows.with_columns(pl.col(columns).fill_null(strategy="forward")).drop_nulls(columns)
        if not len(rows):
            return None
        start = _times(rows)
        half = _width(start) // 2

        def both(name: str) -> Ints:
            return np.stack([_ticks(rows[f"{name}_open"]), _ticks(rows[f"{name}_close"])], axis=1).ravel()

        bid, ask = both("bid"), both("ask")
        sizes = [np.repeat(rows[f"{side}_size"].to_numpy().astype(np.int64), 2) for side in ("bid", "ask")]
        t = np.stack([start, start + half], axis=1).ravel()
        ask = np.where(ask > bid * (1 + _WIDE), 0, ask)
        valid = (bid > 0) & ((ask > bid) | (ask == 0))
        return Quotes(t[valid], bid[valid], ask[valid], sizes[0][valid], sizes[1][valid])

    def _modelled_quotes(self, symbol: str, session: Session, t: Ints, price: Ints, size: Ints) -> Quotes:
        rng = np.random.default_rng(seed_of(self._seed, "quotes", symbol, session.day))
        tick = np.where(price >= PRICE_SCALE, 100, 1)
        at_ask = rng.random(len(price)) < 0.5
        bid = np.where(at_ask, price - tick, price) // tick * tick
        ask = np.maximum(-(-np.where(at_ask, price, price + tick) // tick) * tick, bid + tick)
        shown = (
            np.maximum(np.rint(size * rng.uniform(0.2, 0.6, (2, len(price))) / 100), 1).astype(np.int64) * 100
        )
        return Quotes(t, bid, ask, shown[0], shown[1])

    def _read(self, kind: str, symbol: str, day: date) -> pl.DataFrame:
        rows = pl.scan_parquet(self._files[kind]).filter(
            pl.col("symbol") == symbol, pl.col("ts_ny").dt.date() == day
        )
        return rows.filter(~_suspicious(rows)).sort("ts_ny", maintain_order=True).collect()


def national_best(rows: pl.DataFrame) -> Quotes:
    """The best bid and offer over exchanges from one-sided updates; see the module's text."""
    times = _times(rows).tolist()
    exchanges = rows["exchange"].to_list()
    bids, asks = _ticks(rows["bid"]).tolist(), _ticks(rows["ask"]).tolist()
    bid_sizes, ask_sizes = rows["bid_size"].to_list(), rows["ask_size"].to_list()
    bid_book: dict[str, tuple[int, int, int]] = {}
    ask_book: dict[str, tuple[int, int, int]] = {}
    found: list[tuple[int, int, int, int, int]] = []
    shown = (0, 0, 0, 0)
    for t, exchange, bid, ask, bid_size, ask_size in zip(
        times, exchanges, bids, asks, bid_sizes, ask_sizes, strict=True
    ):
        if bid > 0:
            bid_book[exchange] = (bid, bid_size, t)
        if ask > 0:
            ask_book[exchange] = (ask, ask_size, t)
        while bid_book and ask_book:
            at_bid = max(bid_book, key=bid_book.__getitem__)
            at_ask = min(ask_book, key=ask_book.__getitem__)
            best_bid, best_ask = bid_book[at_bid], ask_book[at_ask]
            if t - best_bid[2] > QUOTE_LIFE_NS:
                del bid_book[at_bid]
            elif t - best_ask[2] > QUOTE_LIFE_NS or (
                best_bid[0] >= best_ask[0] and best_ask[2] < best_bid[2]
            ):
                del ask_book[at_ask]
            elif best_bid[0] >= best_ask[0]:
                del bid_book[at_bid]
            else:
                break
        if not bid_book or not ask_book:
            continue
        sizes = (
            sum(size for price, size, _ in bid_book.values() if price == best_bid[0]),
            sum(size for price, size, _ in ask_book.values() if price == best_ask[0]),
        )
        now = (best_bid[0], best_ask[0], *sizes)
        if now != shown:
            shown = now
            found.append((t, *now))
    columns = np.array(found, dtype=np.int64).reshape(-1, 5)
    return Quotes(columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3], columns[:, 4])


def _sibling(path: Path) -> Path | None:
    for one, other in (("_trade", "_quote"), ("_quote", "_trade")):
        if path.stem.endswith(one):
            return path.with_name(path.stem.removesuffix(one) + other + path.suffix)
    return None


def _kind(columns: set[str]) -> str | None:
    for kind, needed in (
        ("trades", {"price", "size"}),
        ("quotes", {"bid", "ask", "bid_size", "ask_size", "exchange"}),
        ("quote_bars", {"bid_open", "ask_open", "bid_close", "ask_close", "bid_size", "ask_size"}),
        ("trade_bars", {"open", "high", "low", "close", "volume"}),
    ):
        if needed <= columns:
            return kind
    return None


def _suspicious(rows: pl.LazyFrame) -> pl.Expr:
    return pl.col("suspicious") if "suspicious" in rows.collect_schema() else pl.lit(False)


def _times(rows: pl.DataFrame) -> Ints:
    """Venue nanoseconds of naive New York times (one session: one offset)."""
    if not len(rows):
        return np.zeros(0, dtype=np.int64)
    naive = rows["ts_ny"].dt.cast_time_unit("ns").to_physical().to_numpy().astype(np.int64)
    first: date = rows["ts_ny"][0].date()
    midnight = new_york(first, time(9, 30)) - (9 * 3600 + 1800) * SECOND
    naive_midnight = (first - date(1970, 1, 1)).days * 86_400 * SECOND
    shifted: Ints = naive - naive_midnight + midnight
    return shifted


def _ticks(column: pl.Series) -> Ints:
    ticks: Ints = np.rint(column.fill_null(0.0).to_numpy().astype(np.float64) * PRICE_SCALE).astype(np.int64)
    return ticks


def _width(start: Ints) -> int:
    return int(np.diff(start)[np.diff(start) > 0].min()) if len(start) > 1 else MINUTE


def _stamped_at_end(start: Ints, session: Session, width: int) -> bool:
    """Bars stamped with their end: one at the close and none at the open."""
    return (
        width == MINUTE and bool((start == session.close).any()) and not bool((start == session.open).any())
    )
