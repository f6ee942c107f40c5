"""Intraday bars, trades and quotes into one frame each, with the session every row belongs to.

Canonical columns: `symbol`, `at` (aware UTC, microseconds) and the numbers: open, high, low, close, volume of a
bar; price, size of a trade; bid, ask of a quote (for bars of quotes, those at the end). Stamps without a zone
are New York's when the column says so (`ts_ny`) or says nothing, UTC when it says `utc`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from pathlib import Path

import polars as pl

from market.calendar import is_session, session_close, session_open
from market.errors import IngestError

_TIMES = ("at", "ts_utc", "ts_ny", "timestamp", "datetime", "time", "ts", "date_time", "t")
_NUMBERS: dict[str, tuple[str, ...]] = {
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v"),
    "price": ("price", "last", "px", "trade_price"),
    "size": ("size", "quantity", "qty", "shares", "trade_size"),
    "bid": ("bid", "bid_price", "bid_close", "bp"),
    "ask": ("ask", "ask_price", "ask_close", "ap"),
    "bid_size": ("bid_size", "bs"),
    "ask_size": ("ask_size", "as"),
}
_OFFSET = r"[+-]\d\d:?\d\d$"
_FORMS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y%m%d %H:%M:%S",
    "%Y%m%d %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
)
_TEXTS = ("exchange", "cond", "suspicious")
KINDS: dict[str, tuple[str, ...]] = {
    "bars": ("open", "high", "low", "close", "volume"),
    "trades": ("price", "size"),
    "quotes": ("bid", "ask"),
}


def read_intraday(path: Path) -> tuple[str, pl.DataFrame]:
    """Read a Parquet or CSV file of intraday rows: its kind (`bars`, `trades` or `quotes`) and the frame.

    Raises IngestError when no column of times, symbols or one kind's numbers is found.
    """
    raw = (
        pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=10_000)
    )
    raw = with_names(raw, path)
    kind = intraday_kind(raw)
    if kind is None:
        raise IngestError(
            f"{path} has no intraday columns (found: {', '.join(raw.columns[:12])}); name them symbol, ts_utc or "
            "ts_ny, and open, high, low, close, volume or price, size or bid, ask"
        )
    return kind, canonical_intraday(raw)


def with_names(raw: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The frame with one column of times and one of symbols: `date` and `time` joined where they come apart, and
    the file's name for a file of one symbol."""
    named = {name.lower(): name for name in raw.columns}
    if "date" in named and "time" in named and "timestamp" not in named:
        joined = (
            pl.col(named["date"]).cast(pl.String).str.slice(0, 10)
            + " "
            + pl.col(named["time"]).cast(pl.String)
        )
        raw = raw.with_columns(joined.alias("ts_ny")).drop(named["time"])
    if not {"symbol", "ticker", "sym"} & set(named):
        raw = raw.with_columns(pl.lit(path.name.split(".")[0].split("_")[0].upper()).alias("symbol"))
    return raw


def intraday_kind(raw: pl.DataFrame) -> str | None:
    """`bars`, `trades` or `quotes`, or None for anything else (daily bars among it)."""
    names = {name.lower() for name in raw.columns}
    if _time_column(raw) is None:
        return None
    for kind, needed in KINDS.items():
        if all(names & set(_NUMBERS[name]) for name in needed):
            return kind
    return None


def _time_column(raw: pl.DataFrame) -> str | None:
    named = {name.lower(): name for name in raw.columns}
    for wanted in _TIMES:
        if wanted in named:
            kind = raw[named[wanted]].dtype
            # A column of midnights is a date by another name: those are daily bars.
            clock = isinstance(kind, pl.Datetime) and int((raw[named[wanted]].dt.time() != time(0)).sum()) > 0
            since = kind.is_integer() and float(raw[named[wanted]].abs().median() or 0) > 1e9  # type: ignore[arg-type]
            if (
                clock
                or since
                or (kind == pl.String and raw[named[wanted]].str.contains(":").sum() > 0.5 * raw.height)
            ):
                return named[wanted]
    return None


def canonical_intraday(raw: pl.DataFrame) -> pl.DataFrame:
    """The canonical frame, sorted by symbol and time; `delivered` is the row's place in the file."""
    named = {name.lower(): name for name in raw.columns}
    stamp = _time_column(raw)
    symbol = next((named[name] for name in ("symbol", "ticker", "sym") if name in named), None)
    if stamp is None or symbol is None:
        raise IngestError(
            f"no columns of symbols and times (found: {', '.join(raw.columns[:12])}); name them symbol and ts_utc"
        )
    at = _times(raw[stamp])
    numbers = {
        name: next((named[spelling] for spelling in spellings if spelling in named), None)
        for name, spellings in _NUMBERS.items()
    }
    return (
        raw.select(
            pl.col(symbol).cast(pl.String).alias("symbol"),
            at.alias("at"),
            *(
                pl.col(source).cast(pl.Float64, strict=False).alias(name)
                for name, source in numbers.items()
                if source
            ),
            *(pl.col(named[name]) for name in _TEXTS if name in named),
        )
        .with_row_index("delivered")
        .sort("symbol", "at", maintain_order=True)
    )


def _times(stamps: pl.Series) -> pl.Series:
    """Aware UTC, in microseconds: from times, texts of the usual forms, or numbers since 1970 in whatever
    unit."""
    name = stamps.name.lower()
    if stamps.dtype.is_integer():
        size = float(stamps.abs().median() or 0)  # type: ignore[arg-type]
        unit = next(u for u, most in (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", 1e21)) if size < most)
        at = pl.from_epoch(stamps, time_unit=unit).dt.replace_time_zone("UTC")  # type: ignore[arg-type]
    elif stamps.dtype == pl.String:
        text = stamps.str.strip_chars().str.replace("T", " ").str.replace("Z$", "+00:00")
        if text.str.contains(_OFFSET).sum() > 0.5 * len(text):
            at = text.str.to_datetime(
                "%Y-%m-%d %H:%M:%S%.f%#z", strict=False, time_unit="us", time_zone="UTC"
            )
        else:
            at = pl.Series([None] * len(text), dtype=pl.Datetime("us"))
            for form in _FORMS:
                if at.null_count():
                    at = at.fill_null(text.str.to_datetime(form, strict=False, time_unit="us"))
    else:
        at = stamps
    if getattr(at.dtype, "time_zone", None) is None:
        zone = "UTC" if "utc" in name or name == "at" else "America/New_York"
        at = at.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return at.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


@dataclass(frozen=True)
class Sessions:
    """Intraday rows with `day` (New York's date), `opens` and `closes` (null on days without a session),
    `regular` (between them) and, for bars, their usual distance."""

    rows: pl.DataFrame
    newest: date
    bar_s: float  # 0 where the rows are not bars
    ends: bool  # bars are stamped at their end


def with_sessions(rows: pl.DataFrame, *, bars: bool) -> Sessions:
    """Put each row beside its session."""
    rows = rows.with_columns(pl.col("at").dt.convert_time_zone("America/New_York").dt.date().alias("day"))
    days = [day for day in rows["day"].unique().drop_nulls().sort().to_list()]
    open_days = [day for day in days if is_session(day)]
    kind = pl.Datetime("us", "UTC")
    calendar = pl.DataFrame(
        {"day": open_days, "opens": [session_open(day) for day in open_days], "closes": [session_close(day) for day in open_days]},
        schema={"day": pl.Date, "opens": kind, "closes": kind},
    )  # fmt: skip
    rows = rows.join(calendar, on="day", how="left", maintain_order="left")
    bar_s, ends = 0.0, False
    if bars and rows.height > 1:
        gap = (pl.col("at") - pl.col("at").shift(1).over("symbol", "day")).dt.total_microseconds() / 1e6
        gaps = rows.select(gap.alias("gap")).filter(pl.col("gap") > 0)["gap"]
        bar_s = float(gaps.mode().min()) if len(gaps) else 60.0  # type: ignore[arg-type]
        at_open = rows.select((pl.col("at") == pl.col("opens")).sum()).item()
        at_close = rows.select((pl.col("at") == pl.col("closes")).sum()).item()
        ends = at_close > at_open
    start = pl.col("at") - pl.duration(microseconds=int(bar_s * 1e6) if ends else 0)
    rows = rows.with_columns(start.alias("start")).with_columns(
        ((pl.col("start") >= pl.col("opens")) & (pl.col("start") < pl.col("closes")))
        .fill_null(False)
        .alias("regular")
    )
    return Sessions(rows, days[-1] if days else date.min, bar_s, ends)
