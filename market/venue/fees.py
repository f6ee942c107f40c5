"""Regulatory fees by the day they apply: SEC section 31, FINRA TAF, CAT. Rates are data, each row with its source.

Charged per account and fee type for the whole day, rounded up to the cent (Alpaca's regulatory fees page).
A real paper account charges none of this; the venue does, because real money will.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from market.venue.decimals import ZERO, up_to_cent


@dataclass(frozen=True)
class Rate:
    """A rate in force from `start` until the next row's start. `cap` is USD a trade."""

    start: date
    rate: Decimal
    source: str
    cap: Decimal | None = None


def _rows(source: str, *rows: tuple[str, str] | tuple[str, str, str]) -> tuple[Rate, ...]:
    return tuple(
        Rate(date.fromisoformat(row[0]), Decimal(row[1]), source, Decimal(row[2]) if len(row) > 2 else None)
        for row in rows
    )


# USD per USD of sales (the advisories quote USD per million).
SEC_31 = _rows(
    "SEC fee rate advisories",
    ("1900-01-01", "0.0000221"),
    ("2015-02-14", "0.0000184"),
    ("2016-02-16", "0.0000218"),
    ("2017-07-04", "0.0000231"),
    ("2018-05-22", "0.0000130"),
    ("2019-04-16", "0.0000207"),
    ("2020-02-18", "0.0000221"),
    ("2021-02-25", "0.0000051"),
    ("2022-05-14", "0.0000229"),
    ("2023-02-27", "0.0000080"),
    ("2024-05-22", "0.0000278"),
    ("2025-05-14", "0"),
    ("2026-04-04", "0.0000206"),
)
# USD per share sold, with a cap a trade.
TAF = _rows(
    "FINRA Section 1 of Schedule A; SR-FINRA-2024-019, SR-FINRA-2026-021",
    ("1900-01-01", "0.000119", "5.95"),
    ("2022-01-01", "0.000130", "6.49"),
    ("2023-01-01", "0.000145", "7.27"),
    ("2024-01-01", "0.000166", "8.30"),
    ("2026-01-01", "0.000195", "9.79"),
    ("2026-10-01", "0", "0"),
    ("2027-01-01", "0.000232", "11.61"),
    ("2028-01-01", "0.000240", "12.05"),
    ("2029-01-01", "0.000249", "12.50"),
)
# USD per share, both sides.
CAT = _rows(
    "CAT fee filings as passed through by Alpaca; SR-FINRA-2026-010",
    ("1900-01-01", "0"),
    ("2025-01-01", "0.000046"),
    ("2025-07-01", "0.0000265"),
    ("2025-11-01", "0"),
    ("2026-05-01", "0.000003"),
)
SCHEDULE = {"REG": SEC_31, "TAF": TAF, "CAT": CAT}


def rate_on(kind: str, day: date) -> Rate:
    """The row of REG, TAF or CAT in force on `day`."""
    return next(row for row in reversed(SCHEDULE[kind]) if row.start <= day)


def day_fees(executions: Iterable[tuple[str, Decimal, Decimal]], day: date) -> dict[str, Decimal]:
    """Fees of one account's executions (side, shares, USD price) on `day`: {REG, TAF, CAT: USD}, zero left out."""
    reg, taf, cat = rate_on("REG", day), rate_on("TAF", day), rate_on("CAT", day)
    totals = {"REG": ZERO, "TAF": ZERO, "CAT": ZERO}
    for side, qty, price in executions:
        totals["CAT"] += qty * cat.rate
        if side == "sell":
            totals["REG"] += qty * price * reg.rate
            trade = qty * taf.rate
            totals["TAF"] += trade if taf.cap is None else min(trade, taf.cap)
    return {kind: up_to_cent(total) for kind, total in totals.items() if total > 0}
