"""A vendor's daily drop judged at the door, before any of it is taken in: empty, partial, duplicated or good.

A drop is a `.tar.gz`, a folder or a CSV with the prices of a day and, in many feeds, of the session before;
beside `prices.csv` may lie `symbols.txt`, the vendor's own list of what should be in it.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from market.calendar import is_session
from market.errors import IngestError
from market.findings import FINDING_SCHEMA, no_findings, one_finding

DROP_CHECKS: dict[str, str] = {
    "empty_delivery": "the drop of a session holds prices",
    "partial_delivery": "the drop holds nearly all symbols that are listed or that the drops before held",
    "duplicate_rows": "no row of the drop is repeated",
    "header_in_data": "no header stands among the rows",
    "wrong_session": "the newest rows are of the drop's own session",
}

_PARTIAL_BLOCK = 0.90
_PARTIAL_NOTE = 0.95
_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")


@dataclass(frozen=True)
class Drop:
    """What one drop holds: `rows` with symbol and date as text, exactly as delivered (`header_rows` taken
    out)."""

    name: str
    day: date
    rows: pl.DataFrame
    header_rows: int
    listed: int  # symbols in the vendor's own list; 0 where it sends none

    @property
    def symbols(self) -> int:
        """Distinct symbols with a row."""
        return self.rows["symbol"].n_unique() if self.rows.height else 0


def read_drop(path: Path) -> Drop:
    """Read a drop; its day is the date in its name. IngestError where there is no such date or no prices
    file."""
    found = _DAY.search(path.name)
    if found is None:
        raise IngestError(f"the drop {path.name} has no date in its name; name it YYYYMMDD.tar.gz")
    day = date(*map(int, found.groups()))
    prices, symbols = _parts(path)
    if not prices.strip():
        return Drop(
            path.name, day, pl.DataFrame(schema={"symbol": pl.String, "date": pl.String}), 0, _listed(symbols)
        )
    table = pl.read_csv(io.BytesIO(prices), infer_schema_length=0)
    table.columns = [name.strip().lower() for name in table.columns]
    if not {"symbol", "date"} <= set(table.columns):
        raise IngestError(
            f"the drop {path.name} has no columns symbol and date (found: {', '.join(table.columns[:10])})"
        )
    header = (pl.col("symbol") == "symbol") & (pl.col("date") == "date")
    rows = table.filter(~header)
    return Drop(path.name, day, rows, table.height - rows.height, _listed(symbols))


def _parts(path: Path) -> tuple[bytes, bytes]:
    if path.is_dir():
        return (path / "prices.csv").read_bytes(), _bytes_of(path / "symbols.txt")
    if path.suffix == ".csv":
        return path.read_bytes(), b""
    contents = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    contents[Path(member.name).name] = file.read()
    except (tarfile.TarError, OSError) as problem:
        raise IngestError(f"the drop {path.name} cannot be opened ({problem}); fetch it again") from None
    if "prices.csv" not in contents:
        raise IngestError(
            f"the drop {path.name} holds no prices.csv (found: {', '.join(contents) or 'nothing'}); fetch it again"
        )
    return contents["prices.csv"], contents.get("symbols.txt", b"")


def _bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _listed(symbols: bytes) -> int:
    return len({line.split(b"\t")[0].strip() for line in symbols.splitlines() if line.strip()})


def judge_drop(drop: Drop, before: Sequence[Drop] = ()) -> pl.DataFrame:
    """Findings about one drop; `before` are earlier drops, of which the good ones say how many symbols are
    usual."""
    if not drop.rows.height:
        if not is_session(drop.day):
            return no_findings()
        return one_finding(
            "empty_delivery", "block", drop.day, 0, f"the drop {drop.name} of a session holds no prices",
            action="fetch the drop again; the next one may carry this session too",
        )  # fmt: skip
    findings = []
    usual = [old.symbols for old in before if old.symbols]
    expected = max(drop.listed, sorted(usual)[-1 - len(usual) // 10] if usual else 0)
    repeated = int(drop.rows.select("symbol", "date").is_duplicated().sum())
    if drop.header_rows:
        said = f"{drop.header_rows} header rows stand among the data: files were strung together"
        findings.append(one_finding("header_in_data", "note", drop.day, drop.header_rows, said))
    if repeated:
        many = repeated > 0.01 * drop.rows.height
        said = f"{repeated} of {drop.rows.height} rows stand more than once"
        findings.append(one_finding("duplicate_rows", "block" if many else "note", drop.day, repeated, said))
    today = drop.rows.filter(pl.col("date") == drop.day.isoformat())["symbol"].n_unique()
    share = drop.symbols / expected if expected else 1.0
    of_today = today / expected if expected else 1.0
    if min(share, of_today) < _PARTIAL_NOTE and today:
        severity = "block" if share < _PARTIAL_BLOCK else "note"
        said = f"{drop.symbols} of {expected} symbols, {today} of them with a row of {drop.day}"
        findings.append(one_finding("partial_delivery", severity, drop.day, share, said))
    if not today and is_session(drop.day):
        said = f"no row is of {drop.day}; the newest is of {drop.rows['date'].max()}"
        findings.append(one_finding("wrong_session", "block", drop.day, 0, said))
    return pl.concat(findings) if findings else no_findings()


def check_feed(versions: pl.DataFrame) -> pl.DataFrame:
    """Findings about a stored feed of deliveries: `first_feed_date`, `last_feed_date`, `n_deliveries` a row.

    A row stood in every delivery from the first to the last; so the deliveries of the past can be counted, and
    a row that came more often than there were deliveries was repeated inside one of them.
    """
    first: date = versions["first_feed_date"].min()  # type: ignore[assignment]
    last: date = versions["last_feed_date"].max()  # type: ignore[assignment]
    days = [day for day in pl.date_range(first, last, eager=True).to_list() if is_session(day)]
    counts = _standing(versions, days)
    usual = counts["rows"].rolling_quantile(0.8, window_size=21, min_samples=1, center=True)
    doubled = _doubled(versions, days)
    findings = []
    for day, rows, expected in zip(days, counts["rows"], usual, strict=True):
        if rows == 0:
            findings.append(
                (
                    "empty_delivery",
                    "block",
                    None,
                    day,
                    day,
                    0.0,
                    1.0,
                    "fetch the drop again",
                    f"no row stood in the delivery of {day}",
                    "{}",
                )
            )
        elif rows < _PARTIAL_BLOCK * expected:
            said = f"{rows} rows in the delivery of {day} instead of about {expected:.0f}"
            findings.append(
                (
                    "partial_delivery",
                    "block",
                    None,
                    day,
                    day,
                    rows / expected,
                    1.0,
                    "fetch the drop again",
                    said,
                    "{}",
                )
            )
    for day, rows in doubled.iter_rows():
        said = f"{rows} rows stand more than once in the delivery of {day}"
        findings.append(
            (
                "duplicate_rows",
                "block",
                None,
                day,
                day,
                float(rows),
                1.0,
                "keep one row a symbol and session",
                said,
                "{}",
            )
        )
    return pl.DataFrame(findings, schema=FINDING_SCHEMA, orient="row")


def _standing(versions: pl.DataFrame, days: list[date]) -> pl.DataFrame:
    """How many symbols stood in the delivery of each day."""
    stood = pl.concat(
        [
            versions.select("symbol", pl.col(name).alias("day"))
            for name in ("first_feed_date", "last_feed_date")
        ]
    )
    counts = stood.group_by("day").agg(pl.col("symbol").n_unique().alias("rows"))
    calendar = pl.DataFrame({"day": days}, schema={"day": pl.Date})
    return calendar.join(counts, on="day", how="left").with_columns(pl.col("rows").fill_null(0))


def _doubled(versions: pl.DataFrame, days: list[date]) -> pl.DataFrame:
    """Deliveries in which a hundredth of the rows, and at least twenty, stood more often than once."""
    place = pl.DataFrame({"day": days}, schema={"day": pl.Date}).with_row_index("at")
    rows = versions.join(place.rename({"day": "first_feed_date", "at": "from"}), on="first_feed_date").join(
        place.rename({"day": "last_feed_date", "at": "to"}), on="last_feed_date"
    )
    span = pl.col("to").cast(pl.Int64) - pl.col("from").cast(pl.Int64) + 1
    # The rows are as many as a delivery has of one session, or a part of it that was not merged with others.
    return (
        rows.filter(pl.col("n_deliveries") > span)
        .with_columns(pl.date_ranges("first_feed_date", "last_feed_date").alias("day"))
        .explode("day")
        .group_by("day")
        .len()
        .filter((pl.col("len") >= 20) & (pl.col("len") >= 0.01 * pl.lit(versions["symbol"].n_unique())))
        .sort("day")
    )
