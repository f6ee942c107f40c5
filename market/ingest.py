"""Price files into the canonical daily frame; what cannot be trusted as it stands is refused, never mended.

Canonical columns, in this order: `symbol` String, `date` Date (an XNYS session), `open`, `high`, `low`,
`close` Float64 (USD a share, as traded), `volume` Float64 (shares), `adj_close` Float64 (USD; = close where
the source has none), `dividend` Float64 (USD a share, 0.0 for none), `split` Float64 (new shares for an old
one, 1.0 for none). Sorted by (symbol, date), one row each.

Two steps, so that a delivery can also be judged before it is refused: `read_delivery` recognises the columns
and their types and keeps null and odd numbers as they came; `read_prices` adds the refusals.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from market.errors import IngestError

PRICE_COLUMNS = ("open", "high", "low", "close")

SCHEMA: dict[str, type[pl.DataType]] = {
    "symbol": pl.String,
    "date": pl.Date,
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "adj_close": pl.Float64,
    "dividend": pl.Float64,
    "split": pl.Float64,
}

# Compared in lower case with spaces, dots and dashes read as underscores; the first spelling present wins.
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker", "sym"),
    "date": ("date", "session", "trade_date", "timestamp", "day"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v"),
    "adj_close": ("adj_close", "adjusted_close", "adjclose", "adj"),
    "dividend": ("dividend", "dividends", "dividend_amount", "div"),
    "split": ("split", "splits", "split_coefficient", "stock_splits", "split_factor"),
}
_REQUIRED = ("symbol", "date", "open", "high", "low", "close", "volume")
_DATE_FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")
_PARQUET_MAGIC = b"PAR1"


def read_prices(path: Path) -> pl.DataFrame:
    """Read a Parquet or CSV file of daily prices into the canonical frame, or say why not.

    Raises IngestError for: a missing, empty or unreadable file; a vendor's error text saved as data; missing
    columns; a date or number that cannot be read; a null price or volume; duplicate (symbol, date) rows; a
    price that is not positive; a high below its low; a negative volume. Each message names the file, how
    many rows, the first of them and the way out.
    """
    prices = read_delivery(path)
    for refuse in (_refuse_nulls, _refuse_bad_numbers, _refuse_duplicates):
        refuse(path, prices)
    return prices


def read_delivery(path: Path) -> pl.DataFrame:
    """Read a file as it was delivered: canonical columns and types, sorted, nulls and odd values kept.

    Raises IngestError where there is no table of prices to judge at all.
    """
    raw = _read_table(path)
    columns = _match_columns(path, raw)
    if raw.is_empty():
        raise IngestError(f"{path} has a header but no rows; ask the source for the delivery again")
    table = raw.select(pl.col(source).alias(name) for name, source in columns.items())
    table = table.with_columns(
        _as_symbol(path, table),
        _as_date(path, table),
        *(_as_number(path, table, name) for name in columns if name not in ("symbol", "date")),
    )
    if "adj_close" not in columns:
        table = table.with_columns(pl.col("close").alias("adj_close"))
    # A blank dividend or split means there was none; vendors also write "no split" as 0.
    dividend = pl.col("dividend").fill_null(0.0) if "dividend" in columns else pl.lit(0.0)
    split = pl.col("split").fill_null(1.0).replace(0.0, 1.0) if "split" in columns else pl.lit(1.0)
    return (
        table.with_columns(dividend.alias("dividend"), split.alias("split"))
        .select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
        .sort("symbol", "date", maintain_order=True)
    )


def _read_table(path: Path) -> pl.DataFrame:
    if path.is_dir():
        raise IngestError(f"{path} is a folder; give one Parquet or CSV file")
    if not path.is_file():
        raise IngestError(f"price file {path} does not exist; give the path of a Parquet or CSV file")
    if path.stat().st_size == 0:
        raise IngestError(f"price file {path} is empty (0 bytes); ask the source for the delivery again")
    with path.open("rb") as file:
        head = file.read(400)
    try:
        if head.startswith(_PARQUET_MAGIC):
            return pl.read_parquet(path)
        _refuse_error_text(path, head)
        # Everything as text first: a cell that is not a number is then named instead of guessed around.
        return pl.read_csv(path, infer_schema_length=0)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise IngestError(
            f"{path} cannot be read as Parquet or CSV ({reason}); save it again as UTF-8 CSV or Parquet"
        ) from None


def _refuse_error_text(path: Path, head: bytes) -> None:
    """A vendor's JSON or HTML answer, saved where the prices should be."""
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    if text[:1] in ("{", "<", "["):
        said = " ".join(text.split())[:80]
        raise IngestError(
            f'{path} holds a vendor\'s answer, not prices: "{said}"; ask the source for the delivery again'
        )


def _match_columns(path: Path, raw: pl.DataFrame) -> dict[str, str]:
    """canonical name -> the file's own column, required ones first; IngestError names what is missing."""
    found: dict[str, str] = {}
    for column in raw.columns:
        found.setdefault(column.strip().lower().replace(" ", "_").replace(".", "_").replace("-", "_"), column)
    chosen = {
        name: next(found[spelling] for spelling in spellings if spelling in found)
        for name, spellings in _SPELLINGS.items()
        if any(spelling in found for spelling in spellings)
    }
    missing = [name for name in _REQUIRED if name not in chosen]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise IngestError(
            f"{path} has no column{plural} {', '.join(missing)} (found: {', '.join(raw.columns[:15]) or 'none'}); "
            "name them symbol, date, open, high, low, close, volume"
        )
    return chosen


def _as_symbol(path: Path, table: pl.DataFrame) -> pl.Series:
    symbols = table["symbol"].cast(pl.String).str.strip_chars()
    blank = symbols.is_null() | (symbols == "")
    if blank.any():
        raise IngestError(
            f"{path} has {int(blank.sum())} rows without a symbol (first: row {blank.arg_max()}); fill the column in"
        )
    return symbols


def _as_date(path: Path, table: pl.DataFrame) -> pl.Series:
    dates = table["date"]
    if dates.dtype == pl.Date:
        parsed = dates
    elif isinstance(dates.dtype, pl.Datetime):
        parsed = dates.cast(pl.Date)
    else:
        text = dates.cast(pl.String).str.strip_chars()
        parsed = text.str.to_date(_DATE_FORMATS[0], strict=False)
        for form in _DATE_FORMATS[1:]:
            if parsed.null_count():
                parsed = parsed.fill_null(text.str.to_datetime(form, strict=False).cast(pl.Date))
        if parsed.null_count():
            parsed = parsed.fill_null(text.str.to_date("%Y%m%d", strict=False))
    if parsed.null_count():
        first = int(parsed.is_null().arg_max() or 0)
        raise IngestError(
            f"{path} has {parsed.null_count()} dates that cannot be read (first: row {first + 1}, symbol "
            f'{table["symbol"][first]}, date "{dates[first]}"); write dates as YYYY-MM-DD'
        )
    return parsed.alias("date")


def _as_number(path: Path, table: pl.DataFrame, name: str) -> pl.Series:
    """The column as Float64; NaN counts as null; IngestError on text that is no number and on infinities."""
    values = table[name]
    if values.dtype == pl.String:
        values = values.str.strip_chars().replace("", None)
    numbers = values.cast(pl.Float64, strict=False).fill_nan(None)
    unread = values.is_not_null() & numbers.is_null()
    if values.dtype.is_float():
        unread = unread & values.is_not_nan()
    elif values.dtype == pl.String:
        unread = unread & ~values.str.to_lowercase().is_in(["nan", "null", "none", "na"])
    unread = unread | numbers.is_infinite().fill_null(False)
    if unread.any():
        first = int(unread.arg_max() or 0)
        raise IngestError(
            f"{path} has {int(unread.sum())} values in column {name} that are not numbers (first: row {first + 1}, "
            f'symbol {table["symbol"][first]} on {table["date"][first]}, "{values[first]}"); correct them at the source'
        )
    return numbers


def _refuse_nulls(path: Path, prices: pl.DataFrame) -> None:
    columns = [*PRICE_COLUMNS, "volume", "adj_close"]
    counts = prices.select(pl.col(columns).null_count()).row(0, named=True)
    holed = {name: count for name, count in counts.items() if count}
    if holed:
        first = prices.filter(pl.any_horizontal(pl.col(columns).is_null())).row(0, named=True)
        raise IngestError(
            f"{path} has null values ({', '.join(f'{name} {count}' for name, count in holed.items())}; first: "
            f"{first['symbol']} on {first['date']}); fill those rows from the source or take them out"
        )


def _refuse_bad_numbers(path: Path, prices: pl.DataFrame) -> None:
    rules: list[tuple[str, pl.Expr, tuple[str, ...]]] = [
        ("a price that is not positive", pl.any_horizontal(pl.col(*PRICE_COLUMNS, "adj_close") <= 0),
         (*PRICE_COLUMNS, "adj_close")),
        ("a high below its low", pl.col("high") < pl.col("low"), ("high", "low")),
        ("a negative volume", pl.col("volume") < 0, ("volume",)),
        ("a negative dividend", pl.col("dividend") < 0, ("dividend",)),
        ("a negative split", pl.col("split") < 0, ("split",)),
    ]  # fmt: skip
    for what, broken, columns in rules:
        rows = prices.filter(broken)
        if rows.height:
            first = rows.row(0, named=True)
            # Of the prices, show the offending ones only: four good numbers would hide the bad one.
            shown = [c for c in columns if len(columns) <= 2 or first[c] <= 0]
            values = ", ".join(f"{name} = {first[name]:g}" for name in shown)
            raise IngestError(
                f"{path} has {rows.height} {'row' if rows.height == 1 else 'rows'} with {what} (first: "
                f"{first['symbol']} on {first['date']}, {values}); correct or remove them at the source"
            )


def _refuse_duplicates(path: Path, prices: pl.DataFrame) -> None:
    # Sorted by (symbol, date), so a duplicate is a row equal to its predecessor: no hash table of millions of keys.
    repeats = prices.filter(
        (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("date") == pl.col("date").shift(1))
    )
    if repeats.height:
        first = repeats.row(0, named=True)
        raise IngestError(
            f"{path} has {repeats.height} duplicate (symbol, date) rows (first: {first['symbol']} on "
            f"{first['date']}); keep one row a symbol and session"
        )
