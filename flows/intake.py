"""Prices and sectors from where the user keeps them into the history and the ledger (no Prefect here)."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Delivery:
    """Prices and instruments as they were read, before anything is stored."""

    prices: pl.DataFrame
    instruments: pl.DataFrame
    source: str
    modelled: dict[str, Any]
    """What of it was modelled, not observed; empty for real data."""


def read_source(source: str, sectors: str | None) -> Delivery:
    """Read ``sample`` or a Parquet or CSV file, with the GICS file at `sectors` if there is one."""
    import polars as pl

    if source == SAMPLE:
        from market.sample import SAMPLE_MODELLED, SAMPLE_SOURCE, sample_instruments, sample_prices

        return Delivery(sample_prices(), sample_instruments(), SAMPLE_SOURCE, dict(SAMPLE_MODELLED))
    from market.ingest import read_prices
    from market.instruments import read_sectors

    prices = read_prices(Path(source))
    instruments = (
        read_sectors(Path(sectors))
        if sectors
        else pl.DataFrame(schema={"symbol": pl.String, "name": pl.String, "sector": pl.String})
    )
    return Delivery(prices, instruments, Path(source).name, {})


def take_in(work: Workspace, delivery: Delivery, *, through: date | None = None) -> DataSet:
    """Store the prices of a delivery as a data set and record it with its instruments.

    Parameters
    ----------
    through : date | None
        Take no row after this session (a replay must not see what came later); None takes all.

    The same rows give the same data set id, and nothing is written twice.
    """
    import polars as pl

    prices = delivery.prices
    if through is not None:
        prices = prices.filter(pl.col("date") <= through)
        if prices.is_empty():
            raise FlowError(
                f"{delivery.source} has no row up to {through}; use an earlier file or a later as-of date"
            )
    stored = work.history.write(prices, source=delivery.source, modelled=delivery.modelled)
    with work.ledger.session() as session:
        upsert_instruments(session, _instruments(session, prices, delivery.instruments, stored.last_session))
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

    spans = prices.group_by("symbol").agg(
        pl.col("date").min().alias("first"), pl.col("date").max().alias("last")
    )
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
