"""US regulatory fees on equity trades, as dated rows: SEC section 31, FINRA TAF, CAT.

Keys follow Alpaca's activity sub types: ``REG`` (SEC section 31, sells, per dollar), ``TAF`` (FINRA
trading activity fee, sells, per share, capped per trade) and ``CAT`` (consolidated audit trail, both
sides, per share). A broker accrues them all day and charges each type once, rounded up to the cent.

Every row says where it comes from; ``verified=False`` marks a rate or a date that was not seen in
the regulator's own notice. Whether a broker passes on the TAF pause of October to December 2026
(SR-FINRA-2026-021) is unverified.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Literal

from models.errors import CostError

Side = Literal["buy", "sell"]
CENT = Decimal("0.01")
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Rate:
    """One row of a schedule, in force from ``start`` until the next row's start."""

    start: dt.date
    rate: Decimal
    """USD per USD sold (REG) or per share (TAF, CAT)."""
    cap: Decimal | None
    """USD a trade, where the rule has one."""
    source: str
    verified: bool


def _per_million(start: str, usd: str, source: str, verified: bool) -> Rate:
    return Rate(dt.date.fromisoformat(start), Decimal(usd) / 1_000_000, None, source, verified)


def _per_share(start: str, usd: str, cap: str | None, source: str, verified: bool) -> Rate:
    limit = None if cap is None else Decimal(cap)
    return Rate(dt.date.fromisoformat(start), Decimal(usd), limit, source, verified)


SECTION_31: tuple[Rate, ...] = (
    # 1/300 of one percent, the Exchange Act's own rate; also stands in for 2002-2012, when the rate
    # moved every year mostly below it: an upper estimate, 0.33 bp on sells.
    _per_million("1900-01-01", "33.33", "Securities Exchange Act section 31; 2002-2012 approximated", False),
    _per_million("2012-04-01", "22.40", "SEC press release 2012-11-15", False),
    _per_million("2013-05-25", "17.40", "FINRA notice; date from memory", False),
    _per_million("2014-03-18", "22.10", "FINRA notice", True),
    _per_million("2015-02-14", "18.40", "from memory", False),
    _per_million("2016-02-16", "21.80", "FINRA notice; date from memory", False),
    _per_million("2017-07-04", "23.10", "FINRA notice; date from memory", False),
    _per_million("2018-05-22", "13.00", "FINRA notice", True),
    _per_million("2019-04-16", "20.70", "from memory", False),
    _per_million("2020-02-18", "22.10", "SEC fee rate advisory 3, 2020; date from memory", False),
    _per_million("2021-02-25", "5.10", "SEC fee rate advisory 2, FY2021", True),
    _per_million("2022-05-14", "22.90", "a broker's page; date from memory", False),
    _per_million("2023-02-27", "8.00", "from memory", False),
    _per_million("2024-05-22", "27.80", "SEC fee rate advisory; Alpaca's documents", True),
    _per_million("2025-05-14", "0.00", "SEC fee rate advisory FY2025", True),
    _per_million("2026-04-04", "20.60", "SEC fee rate advisory 2, FY2026", True),
)

TRADING_ACTIVITY: tuple[Rate, ...] = (
    _per_share("1900-01-01", "0", None, "no such fee before 2002", True),
    _per_share("2002-10-01", "0.000075", "3.75", "from memory", False),
    _per_share("2011-07-01", "0.00009", "4.50", "FINRA notice", True),
    _per_share("2012-07-01", "0.000119", "5.95", "FINRA notice; date from memory", False),
    _per_share("2022-01-01", "0.000130", "6.49", "FINRA notice", True),
    _per_share("2023-01-01", "0.000145", "7.27", "FINRA notice", True),
    _per_share("2024-01-01", "0.000166", "8.30", "FINRA schedule", True),
    _per_share("2026-01-01", "0.000195", "9.79", "FINRA schedule", True),
    _per_share("2026-10-01", "0", None, "SR-FINRA-2026-021 (pass-through unverified)", False),
    _per_share("2027-01-01", "0.000232", "11.61", "SR-FINRA-2024-019", False),
    _per_share("2028-01-01", "0.000240", "12.05", "SR-FINRA-2024-019", False),
    _per_share("2029-01-01", "0.000249", "12.50", "SR-FINRA-2024-019; cap extrapolated", False),
)

AUDIT_TRAIL: tuple[Rate, ...] = (
    _per_share("1900-01-01", "0", None, "no such fee before September 2024", True),
    _per_share("2024-09-01", "0.000035", None, "CAT fee 2024-1", True),
    _per_share("2025-01-01", "0.000046", None, "Alpaca's documents", True),
    _per_share("2025-07-01", "0.0000265", None, "Alpaca's documents; date approximate", False),
    _per_share("2025-11-01", "0", None, "billing paused", True),
    _per_share("2026-05-01", "0.000003", None, "SR-FINRA-2026-010: CAT 2026-1 and historical 1A", True),
)


@dataclass(frozen=True, slots=True)
class FeeRates:
    """The three rates of one day. The ``*_per_*`` floats are for estimates, the rows for bookings."""

    section_31: Rate
    trading_activity: Rate
    audit_trail: Rate

    @property
    def sell_per_usd(self) -> float:
        return float(self.section_31.rate)

    @property
    def sell_per_share(self) -> float:
        return float(self.trading_activity.rate)

    @property
    def any_per_share(self) -> float:
        return float(self.audit_trail.rate)


def _in_force(schedule: tuple[Rate, ...], day: dt.date) -> Rate:
    found = schedule[0]
    for row in schedule:
        if row.start > day:
            break
        found = row
    return found


@lru_cache(maxsize=4096)
def rates_on(day: dt.date) -> FeeRates:
    """The rates in force on a trade date."""
    return FeeRates(_in_force(SECTION_31, day), _in_force(TRADING_ACTIVITY, day), _in_force(AUDIT_TRAIL, day))


def fees(side: Side, qty: Decimal, price: Decimal, day: dt.date) -> dict[str, Decimal]:
    """What one execution accrues, exact and not yet rounded: ``{"REG": ..., "TAF": ..., "CAT": ...}`` USD.

    Raises:
        CostError: a side that is neither ``buy`` nor ``sell``, or a negative quantity or price.
    """
    if side not in ("buy", "sell"):
        raise CostError(f"no fee is defined for side {side!r}: use 'buy' or 'sell'")
    if qty < 0 or price < 0:
        raise CostError(f"fees need a quantity and a price >= 0, got qty {qty} at price {price}")
    rates = rates_on(day)
    regulatory = activity = ZERO
    if side == "sell":
        regulatory = qty * price * rates.section_31.rate
        activity = qty * rates.trading_activity.rate
        if rates.trading_activity.cap is not None:
            activity = min(activity, rates.trading_activity.cap)
    return {"REG": regulatory, "TAF": activity, "CAT": qty * rates.audit_trail.rate}


def day_fees(fills: Iterable[tuple[Side, Decimal, Decimal]], day: dt.date) -> dict[str, Decimal]:
    """What a day's executions ``(side, qty, price)`` are charged: summed per type, each up to the cent."""
    total = {"REG": ZERO, "TAF": ZERO, "CAT": ZERO}
    for side, qty, price in fills:
        for kind, amount in fees(side, qty, price, day).items():
            total[kind] += amount
    return {kind: amount.quantize(CENT, rounding=ROUND_CEILING) for kind, amount in total.items()}
