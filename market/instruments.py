"""Instruments: the companies behind the symbols and their GICS sectors."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from market.errors import InstrumentError

SCHEMA: dict[str, type[pl.DataType]] = {"symbol": pl.String, "name": pl.String, "sector": pl.String}

_SPELLINGS: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker"),
    "name": ("name", "security", "company", "company name"),
    "sector": ("sector", "gics sector", "gics_sector"),
}


def read_sectors(path: Path) -> pl.DataFrame:
    """Read a GICS sector file (CSV, or tab-separated) into `symbol, name, sector`, sorted by symbol.

    Column names are matched without regard to case: Symbol or Ticker; Name, Security or Company; Sector or
    GICS Sector. The name is optional and falls back to the symbol.

    Raises InstrumentError when the file is missing, empty, lacks a column, or gives one symbol two sectors.
    """
    if not path.is_file():
        raise InstrumentError(
            f"sector file {path} does not exist; give the path of a CSV with Symbol and Sector"
        )
    try:
        first_line = path.read_text(encoding="utf-8-sig", errors="replace").split("\n", 1)[0]
        separator = "\t" if "\t" in first_line else ","
        table = pl.read_csv(path, infer_schema_length=0, separator=separator)
    except (pl.exceptions.PolarsError, OSError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise InstrumentError(
            f"sector file {path} cannot be read as CSV ({reason}); save it as UTF-8 CSV"
        ) from None
    found = {column.strip().lower(): column for column in table.columns}
    chosen = {
        wanted: next((found[spelling] for spelling in spellings if spelling in found), None)
        for wanted, spellings in _SPELLINGS.items()
    }
    missing = [wanted for wanted in ("symbol", "sector") if chosen[wanted] is None]
    if missing:
        raise InstrumentError(
            f"sector file {path} has no column {' and no column '.join(missing)} "
            f"(found: {', '.join(table.columns[:12])}); name the columns Symbol, Name, Sector"
        )
    name = chosen["name"] or chosen["symbol"]
    sectors = (
        table.select(
            pl.col(str(chosen["symbol"])).str.strip_chars().alias("symbol"),
            pl.col(str(name)).str.strip_chars().alias("name"),
            pl.col(str(chosen["sector"])).str.strip_chars().alias("sector"),
        )
        .filter(pl.col("symbol").is_not_null() & (pl.col("symbol") != ""))
        .unique()
        .sort("symbol", "name")
    )
    if sectors.is_empty():
        raise InstrumentError(f"sector file {path} has no rows; give one row a symbol")
    blank = sectors.filter(pl.col("sector").is_null() | (pl.col("sector") == ""))
    if blank.height:
        raise InstrumentError(
            f"sector file {path} has no sector for {blank.height} symbols (first: {blank['symbol'][0]}); "
            "fill the column in or take those rows out"
        )
    twice = (
        sectors.group_by("symbol")
        .agg(pl.col("sector").unique().sort())
        .filter(pl.col("sector").list.len() > 1)
    )
    if twice.height:
        first = twice.sort("symbol").row(0, named=True)
        raise InstrumentError(
            f"sector file {path} gives {twice.height} symbols more than one sector "
            f"(first: {first['symbol']} is {' and '.join(first['sector'])}); keep one row a symbol"
        )
    return sectors.unique("symbol", keep="first", maintain_order=True)
