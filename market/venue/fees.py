"""Regulatory fees by the day they apply: SEC section 31, FINRA TAF, CAT. Rates are data, each row with its source.

Charged per account and fee type for the whole day, rounded up to the cent (Alpaca's regulatory fees page).
A real paper account charges none of this; the venue does, because real money will.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from market.venue.decimals import ZERO, up_to_cent


@dataclass(frozen=True)
class Rate:
    """A rate in force from `start` until the next row's start. `cap` is USD a trade.

    `verified` is False where the rate or its date was not seen in the regulator's own notice.
    """

    start: date
    rate: Decimal
    source: str
    verified: bool
    cap: Decimal | None = None


def _row(start: str, rate: str, source: str, verified: bool, cap: str | None = None) -> Rate:
    return Rate(date.fromisoformat(start), Decimal(rate), source, verified, Decimal(cap) if cap else None)


# USD per USD of sales (the advisories quote USD per million).
SEC_31 = (
    _row("1900-01-01", "0.00003333", "Exchange Act section 31; 2002-2012 approximated", False),
    _row("2012-04-01", "0.0000224", "SEC press release 2012-11-15", False),
    _row("2013-05-25", "0.0000174", "FINRA notice; date from memory", False),
    _row("2014-03-18", "0.0000221", "FINRA notice", True),
    _row("2015-02-14", "0.0000184", "from memory", False),
    _row("2016-02-16", "0.0000218", "FINRA notice; date from memory", False),
    _row("2017-07-04", "0.0000231", "FINRA notice; date from memory", False),
    _row("2018-05-22", "0.0000130", "FINRA notice", True),
    _row("2019-04-16", "0.0000207", "from memory", False),
    _row("2020-02-18", "0.0000221", "SEC advisory 3, 2020; date from memory", False),
    _row("2021-02-25", "0.0000051", "SEC advisory 2, FY2021", True),
    _row("2022-05-14", "0.0000229", "a broker's page; date from memory", False),
    _row("2023-02-27", "0.0000080", "from memory", False),
    _row("2024-05-22", "0.0000278", "SEC advisory; Alpaca's documents", True),
    _row("2025-05-14", "0", "SEC advisory FY2025", True),
    _row("2026-04-04", "0.0000206", "SEC advisory 2, FY2026", True),
)
# USD per share sold, with a cap a trade.
TAF = (
    _row("1900-01-01", "0", "no such fee before 2002", True),
    _row("2002-10-01", "0.000075", "from memory", False, "3.75"),
    _row("2011-07-01", "0.00009", "FINRA notice", True, "4.50"),
    _row("2012-07-01", "0.000119", "FINRA notice; date from memory", False, "5.95"),
    _row("2022-01-01", "0.000130", "FINRA notice", True, "6.49"),
    _row("2023-01-01", "0.000145", "FINRA notice", True, "7.27"),
    _row("2024-01-01", "0.000166", "FINRA schedule", True, "8.30"),
    _row("2026-01-01", "0.000195", "FINRA schedule", True, "9.79"),
    _row("2026-10-01", "0", "SR-FINRA-2026-021 (whether brokers pass it on is unverified)", False),
    _row("2027-01-01", "0.000232", "SR-FINRA-2024-019", False, "11.61"),
    _row("2028-01-01", "0.000240", "SR-FINRA-2024-019", False, "12.05"),
    _row("2029-01-01", "0.000249", "SR-FINRA-2024-019; cap extrapolated", False, "12.50"),
)
# USD per share, both sides.
CAT = (
    _row("1900-01-01", "0", "no such fee before September 2024", True),
    _row("2024-09-01", "0.000035", "CAT fee 2024-1", True),
    _row("2025-01-01", "0.000046", "Alpaca's documents", True),
    _row("2025-07-01", "0.0000265", "Alpaca's documents; date approximate", False),
    _row("2025-11-01", "0", "billing paused", True),
    _row("2026-05-01", "0.000003", "SR-FINRA-2026-010", True),
)
SCHEDULE = {"REG": SEC_31, "TAF": TAF, "CAT": CAT}


def rate_on(kind: str, day: date) -> Rate:
    """The row of REG, TAF or CAT in force on `day`."""
    return next(row for row in reversed(SCHEDULE[kind]) if row.start <= day)


TAF_HOLIDAY = (date(2026, 10, 1), date(2027, 1, 1))
"""FINRA charges no TAF from the first of these days up to the second; brokers may go on charging."""


def day_fees(
    executions: Iterable[tuple[str, Decimal, Decimal]], day: date, *, taf_holiday: bool = True
) -> dict[str, Decimal]:
    """Fees of one account's executions (side, shares, USD price) on `day`: {REG, TAF, CAT: USD}, zero left out.

    Without `taf_holiday` the broker keeps FINRA's holiday to itself: the rate before it goes on.
    """
    reg, taf, cat = rate_on("REG", day), rate_on("TAF", day), rate_on("CAT", day)
    if not taf_holiday and TAF_HOLIDAY[0] <= day < TAF_HOLIDAY[1]:
        taf = rate_on("TAF", TAF_HOLIDAY[0] - timedelta(days=1))
    totals = {"REG": ZERO, "TAF": ZERO, "CAT": ZERO}
    for side, qty, price in executions:
        totals["CAT"] += qty * cat.rate
        if side == "sell":
            totals["REG"] += qty * price * reg.rate
            trade = qty * taf.rate
            totals["TAF"] += trade if taf.cap is None else min(trade, taf.cap)
    return {kind: up_to_cent(total) for kind, total in totals.items() if total > 0}
