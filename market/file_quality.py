"""Any file of market data judged as it lies there: daily bars, intraday bars, trades, quotes, a feed of
deliveries, a vendor's drop, or the vendor's error text in place of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from market.drops import DROP_CHECKS, Drop, check_feed, judge_drop, read_drop
from market.errors import IngestError
from market.findings import one_finding, worst_first
from market.ingest import read_delivery
from market.intraday import canonical_intraday, intraday_kind, with_names
from market.intraday_quality import INTRADAY_CHECKS, check_bars, check_quotes, check_trades
from market.quality import CHECKS, check_prices
from market.vendor_checks import VENDOR_CHECKS, compare_vendors

ALL_CHECKS: dict[str, str] = {
    **INTRADAY_CHECKS,
    **DROP_CHECKS,
    **VENDOR_CHECKS,
    **CHECKS,
    "vendor_error": "the file holds prices and not the vendor's error text",
}
"""Every check there is, of files of every kind."""

_INTRADAY = {"bars": check_bars, "trades": check_trades, "quotes": check_quotes}


@dataclass(frozen=True)
class Judged:
    """What a file is (`daily`, `feed`, `drop`, `bars`, `trades`, `quotes` or `unreadable`), how many rows and
    symbols it holds, and the findings about it."""

    kind: str
    rows: int
    symbols: int
    findings: pl.DataFrame


def judge_file(
    path: Path,
    *,
    as_of: date | None = None,
    reference: pl.DataFrame | None = None,
    before: Sequence[Drop] = (),
) -> Judged:
    """Findings about one file, worst first; `as_of` is by default its newest date.

    `reference` (canonical daily bars of a second vendor) is compared with daily bars; `before` are the drops
    before a drop. A file that cannot be read at all is one blocking finding, `vendor_error`.
    """
    try:
        return _judge(path, as_of, reference, before)
    except IngestError as refusal:
        return Judged("unreadable", 0, 0, one_finding("vendor_error", "block", None, 0, str(refusal)))


def _judge(path: Path, as_of: date | None, reference: pl.DataFrame | None, before: Sequence[Drop]) -> Judged:
    if path.is_dir() or path.name.endswith((".tar.gz", ".tgz", ".tar")):
        drop = read_drop(path)
        return Judged("drop", drop.rows.height, drop.symbols, judge_drop(drop, before))
    if not path.exists():
        raise IngestError(f"{path} does not exist; give the path of a file of prices, or of a drop")
    raw = _raw(path)
    if raw is not None and "first_feed_date" in raw.columns:
        newest = raw.sort("symbol", "date", "last_feed_date").unique(["symbol", "date"], keep="last")
        prices = _daily(newest)
        findings = [check_feed(raw), _with_reference(prices, as_of, reference)]
        return Judged("feed", raw.height, prices["symbol"].n_unique(), worst_first(pl.concat(findings)))
    raw = with_names(raw, path) if raw is not None else None
    kind = intraday_kind(raw) if raw is not None else None
    if raw is not None and kind is not None:
        rows = canonical_intraday(raw)
        return Judged(kind, rows.height, rows["symbol"].n_unique(), _INTRADAY[kind](rows))
    prices = read_delivery(path)
    return Judged(
        "daily", prices.height, prices["symbol"].n_unique(), _with_reference(prices, as_of, reference)
    )


def _raw(path: Path) -> pl.DataFrame | None:
    """The table as it is, or None where the reader of daily files has to say what is wrong with it."""
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema_length=10_000)
    except (pl.exceptions.PolarsError, OSError):
        return None


def _daily(rows: pl.DataFrame) -> pl.DataFrame:
    numbers = ("open", "high", "low", "close", "volume", "adj_close")
    return (
        rows.select(
            "symbol", "date", *(pl.col(name).cast(pl.Float64) for name in numbers),
            pl.lit(0.0).alias("dividend"), pl.lit(1.0).alias("split"),
        )
        .sort("symbol", "date")
    )  # fmt: skip


def _with_reference(prices: pl.DataFrame, as_of: date | None, reference: pl.DataFrame | None) -> pl.DataFrame:
    newest: date = as_of or prices["date"].max()  # type: ignore[assignment]
    findings = check_prices(prices, as_of=newest)
    if reference is None:
        return findings
    return worst_first(pl.concat([findings, compare_vendors(prices, reference)]))
