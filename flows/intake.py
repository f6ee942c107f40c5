"""Prices and sectors from where the user keeps them into the history and the ledger (no Prefect here)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.errors import FlowError
from sql.lineage import record_data_set, upsert_instruments
from sql.tables import DataSet, Instrument

if TYPE_CHECKING:
    import polars as pl

    from flows.workspace import Workspace

SAMPLE = "sample"


def read_source(source: str, sectors: str | None) -> tuple[pl.DataFrame, pl.DataFrame, str, dict[str, Any]]:
    """Prices, instruments, a name for the source and what in it is modelled.

    `source` is ``sample`` or the path of a Parquet or CSV file; `sectors` the path of a GICS file.
    """
    import polars as pl

    if source == SAMPLE:
        from market.sample import SAMPLE_MODELLED, SAMPLE_SOURCE, sample_instruments, sample_prices

        return sample_prices(), sample_instruments(), SAMPLE_SOURCE, dict(SAMPLE_MODELLED)
    from market.ingest import read_prices
    from market.instruments import read_sectors

    instruments = (
        read_sectors(Path(sectors))
        if sectors
        else pl.DataFrame(schema={"symbol": pl.String, "name": pl.String, "sector": pl.String})
    )
    return read_prices(Path(source)), instruments, Path(source).name, {}


def take_in(work: Workspace, source: str, sectors: str | None = None, *, through: date | None = None) -> DataSet:
    """Store the prices of `source` as a data set and record it with its instruments.

    Parameters
    ----------
    through : date | None
        Take no row after this session (a replay must not see what came later); None takes all.

    The same rows give the same data set id, and nothing is written twice.
    """
    import polars as pl

    prices, instruments, name, modelled = read_source(source, sectors)
    if through is not None:
        prices = prices.filter(pl.col("date") <= through)
        if prices.is_empty():
            raise FlowError(f"{source} has no row up to {through}; use an earlier file or a later as-of date")
    stored = work.history.write(prices, source=name, modelled=modelled)
    with work.ledger.session() as session:
        upsert_instruments(session, _instruments(session, prices, instruments, stored.last_session))
        return record_data_set(
            session,
            DataSet(
                id=stored.id,
                created_at=datetime.now(UTC),
                source=stored.source,
                path=str(stored.path),
                content_hash=stored.content_hash,
                rows=stored.rows,
                symbols=stored.symbols,
                first_session=stored.first_session,
                last_session=stored.last_session,
                modelled=stored.modelled,
            ),
        )


def _instruments(
    session: Any, prices: pl.DataFrame, instruments: pl.DataFrame, last_session: date
) -> list[Instrument]:
    import polars as pl

    spans = prices.group_by("symbol").agg(pl.col("date").min().alias("first"), pl.col("date").max().alias("last"))
    known = {row["symbol"]: row for row in instruments.iter_rows(named=True)}
    rows = []
    for span in spans.sort("symbol").iter_rows(named=True):
        symbol = span["symbol"]
        # What is not given now keeps what an earlier intake said.
        before = session.get(Instrument, symbol)
        given = known.get(symbol, {})
        rows.append(
            Instrument(
                symbol=symbol,
                name=given.get("name") or (before.name if before else ""),
                sector=given.get("sector") or (before.sector if before else None),
                # Ten calendar days without a price is longer than any closure since 1962 but a delisting.
                status="active" if (last_session - span["last"]).days <= 10 else "inactive",
                first_session=span["first"],
                last_session=span["last"],
            )
        )
    return rows
