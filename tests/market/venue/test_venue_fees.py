"""The day's fees: published rates, rounding up by type, and no day on which the cost model expects another bill."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from market.venue.fees import SCHEDULE, day_fees, rate_on


def test_a_thousand_shares_sold_at_150_in_2026() -> None:
    """The worked example of the broker's page: SEC 3.09, TAF 0.20, CAT 0.01."""
    sold = [("sell", Decimal(1000), Decimal(150))]
    assert day_fees(sold, dt.date(2026, 6, 1)) == {
        "REG": Decimal("3.09"),
        "TAF": Decimal("0.20"),
        "CAT": Decimal("0.01"),
    }


def test_each_type_is_rounded_up_once_a_day() -> None:
    one = ("sell", Decimal(1), Decimal(10))
    assert day_fees([one], dt.date(2024, 6, 3)) == {"REG": Decimal("0.01"), "TAF": Decimal("0.01")}
    assert day_fees([one] * 30, dt.date(2024, 6, 3)) == {"REG": Decimal("0.01"), "TAF": Decimal("0.01")}


def test_the_activity_fee_is_capped_a_trade_and_buys_pay_neither() -> None:
    huge = ("sell", Decimal(1_000_000), Decimal(1))
    assert day_fees([huge, huge], dt.date(2024, 6, 3))["TAF"] == Decimal("16.60")
    assert day_fees([("buy", Decimal(1_000_000), Decimal(1))], dt.date(2024, 6, 3)) == {}


@pytest.mark.parametrize("kind", sorted(SCHEDULE))
def test_rows_are_in_order_and_say_where_they_come_from(kind: str) -> None:
    starts = [row.start for row in SCHEDULE[kind]]
    assert starts == sorted(set(starts))
    assert all(row.source for row in SCHEDULE[kind])


def test_the_venue_charges_what_the_cost_model_expects() -> None:
    """Two floors keep their own table, because neither may import the other: they must not drift apart."""
    fees = pytest.importorskip("models.cost.fees")
    day = dt.date(2010, 1, 4)
    while day < dt.date(2029, 6, 1):
        expected = fees.rates_on(day)
        ours = [(rate_on(kind, day).rate, rate_on(kind, day).cap) for kind in ("REG", "TAF", "CAT")]
        theirs = [
            (row.rate, row.cap)
            for row in (expected.section_31, expected.trading_activity, expected.audit_trail)
        ]
        assert ours == theirs, day
        day += dt.timedelta(days=3)
