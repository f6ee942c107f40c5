"""Price history on disk: one Parquet file a data set, named by the hash of its values.

A data set never changes: it is written once, whole or not at all, and its id (`ds-` and the first 16 hex
digits of the content hash) is what models, batches and reports carry. Beside `ds-....parquet` lies
`ds-....json` with what is known of it (source, modelled columns); a data set exists from the moment that
file does. `LATEST` names the one written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from market.errors import HistoryError
from market.ingest import PRICE_COLUMNS, SCHEMA

_ID = re.compile(r"ds-[0-9a-f]{16}")
_LATEST = "LATEST"


@dataclass(frozen=True)
class StoredPrices:
    """What is known of one stored data set.

    `content_hash` is the SHA-256 of the values (not of the Parquet bytes, which differ between writer
    versions). `modelled` is empty for real data, else e.g. `{"columns": ["open", ...], "how": "..."}`.
    """

    id: str
    path: Path
    content_hash: str
    rows: int
    symbols: int
    first_session: date
    last_session: date
    source: str
    modelled: dict[str, Any]
    written_at: datetime


def content_hash(prices: pl.DataFrame) -> str:
    """SHA-256 (hex) of a canonical frame's values, independent of chunking, compression and library version.

    Hashes the schema, then symbols and their row counts in order, then each other column's little-endian
    bytes.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps([(name, str(kind)) for name, kind in prices.schema.items()]).encode())
    runs = prices.select(pl.col("symbol").rle()).unnest("symbol")
    digest.update(json.dumps([runs["value"].to_list(), runs["len"].to_list()]).encode())
    digest.update(prices["date"].to_physical().to_numpy().astype("<i4").tobytes())
    for name in prices.columns:
        if name not in ("symbol", "date"):
            digest.update(prices[name].rechunk().to_numpy().astype("<f8", copy=False).data)
    return digest.hexdigest()


def adjusted(prices: pl.DataFrame) -> pl.DataFrame:
    """The same frame with open, high, low, close times adj_close/close and volume divided by it.

    Returns are then total returns. The one factor holds splits and dividends alike, so volume is adjusted for
    dividends too: an approximation of at most the cumulated yield, harmless for ratios of nearby volumes.
    """
    factor = pl.col("adj_close") / pl.col("close")
    return prices.with_columns(
        *(pl.col(name) * factor for name in PRICE_COLUMNS if name != "close"),
        pl.col("adj_close").alias("close"),
        pl.col("volume") / factor,
    )


class History:
    """The store of data sets under one folder; safe with readers and other writers at any moment."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(
        self, prices: pl.DataFrame, *, source: str, modelled: dict[str, Any] | None = None
    ) -> StoredPrices:
        """Store a canonical frame and make it the latest; the same content is the same data set.

        The mark of modelled columns is never lost: content that was ever stored as modelled stays so.
        Raises HistoryError when the frame is not canonical (columns, order, duplicates) or is empty.
        """
        _require_canonical(prices)
        digest = content_hash(prices)
        data_set_id = f"ds-{digest[:16]}"
        self.root.mkdir(parents=True, exist_ok=True)
        if self._sidecar(data_set_id).exists():
            stored = self.describe(data_set_id)
            if modelled and not stored.modelled:
                stored = replace(stored, modelled=modelled)
                self._write_sidecar(stored)
        else:
            path = self.root / f"{data_set_id}.parquet"
            self._replace(path, lambda temporary: prices.write_parquet(temporary, compression="zstd"))
            stored = StoredPrices(
                id=data_set_id,
                path=path,
                content_hash=digest,
                rows=prices.height,
                symbols=prices["symbol"].n_unique(),
                first_session=prices["date"].min(),  # type: ignore[arg-type]
                last_session=prices["date"].max(),  # type: ignore[arg-type]
                source=source,
                modelled=modelled or {},
                written_at=datetime.now(UTC),
            )
            self._write_sidecar(stored)
        self._replace(self.root / _LATEST, lambda temporary: _ignore(temporary.write_text(data_set_id)))
        return stored

    def scan(self, data_set_id: str) -> pl.LazyFrame:
        """The data set as a lazy canonical frame, sorted by (symbol, date)."""
        return pl.scan_parquet(self.describe(data_set_id).path)

    def describe(self, data_set_id: str) -> StoredPrices:
        """What is known of a stored data set; HistoryError when there is none of that id."""
        sidecar = self._sidecar(data_set_id)
        if not _ID.fullmatch(data_set_id) or not sidecar.is_file():
            known = sorted(path.stem for path in self.root.glob("ds-*.json"))
            held = f"known: {', '.join(known[:5])}" if known else "the store is empty"
            raise HistoryError(f"no data set {data_set_id} under {self.root} ({held}); ingest prices first")
        body = json.loads(sidecar.read_text())
        path = self.root / f"{data_set_id}.parquet"
        if not path.is_file():
            raise HistoryError(
                f"the prices of data set {data_set_id} are gone: {path} is missing; ingest them again"
            )
        return StoredPrices(
            **{
                **body,
                "path": path,
                "first_session": date.fromisoformat(body["first_session"]),
                "last_session": date.fromisoformat(body["last_session"]),
                "written_at": datetime.fromisoformat(body["written_at"]),
            }
        )

    def latest(self) -> StoredPrices | None:
        """The data set written last, or None while the store is empty."""
        pointer = self.root / _LATEST
        return self.describe(pointer.read_text().strip()) if pointer.is_file() else None

    def verify(self, data_set_id: str) -> StoredPrices:
        """Read the whole file and hash it again; HistoryError when it is not what was written."""
        stored = self.describe(data_set_id)
        try:
            found = content_hash(pl.read_parquet(stored.path))
        except pl.exceptions.PolarsError as problem:
            raise HistoryError(
                f"the prices of data set {data_set_id} cannot be read ({str(problem).splitlines()[0]}); "
                f"remove {stored.path} and its .json, then ingest them again"
            ) from None
        if found != stored.content_hash:
            raise HistoryError(
                f"data set {data_set_id} was changed after it was written: content hash {found[:16]}, expected "
                f"{stored.content_hash[:16]}; remove {stored.path} and its .json, then ingest the source again"
            )
        return stored

    def _sidecar(self, data_set_id: str) -> Path:
        return self.root / f"{data_set_id}.json"

    def _write_sidecar(self, stored: StoredPrices) -> None:
        body = asdict(stored)
        del body["path"]  # the store may be moved or mounted elsewhere
        for name in ("first_session", "last_session", "written_at"):
            body[name] = body[name].isoformat()
        text = json.dumps(body, indent=1)
        self._replace(self._sidecar(stored.id), lambda temporary: _ignore(temporary.write_text(text)))

    def _replace(self, path: Path, write: Callable[[Path], None]) -> None:
        """Write beside, flush to disk, rename: a reader or a crash sees the old file or the new, never
        half."""
        handle, name = tempfile.mkstemp(dir=self.root, prefix=".writing-")
        temporary = Path(name)
        try:
            os.close(handle)
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _ignore(_: object) -> None:
    return None


def _require_canonical(prices: pl.DataFrame) -> None:
    if dict(prices.schema) != dict(SCHEMA):
        raise HistoryError(
            f"prices have columns {', '.join(f'{n} {k}' for n, k in prices.schema.items())}; the store takes the "
            f"canonical frame ({', '.join(SCHEMA)}): read files with market.ingest.read_prices"
        )
    if prices.is_empty():
        raise HistoryError("prices have no rows; nothing was stored")
    out_of_order = _disorder(prices)
    if out_of_order:
        raise HistoryError(
            f"{out_of_order} rows are duplicates or out of order; sort by symbol and date and keep one row each"
        )


def _disorder(prices: pl.DataFrame) -> int:
    """Rows not strictly after their predecessor by (symbol, date)."""
    symbol, day = pl.col("symbol"), pl.col("date")
    wrong = (symbol < symbol.shift(1)) | ((symbol == symbol.shift(1)) & (day <= day.shift(1)))
    return int(prices.select(wrong.fill_null(False).sum()).item())
