"""The fee schedule: the rates of the date, who pays them, and how they are rounded."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cost.estimate import estimate
from models.cost.fees import AUDIT_TRAIL, SECTION_31, TRADING_ACTIVITY, day_fees, fees, rates_on
from models.errors import CostError

SEPTEMBER_2026 = dt.date(2026, 9, 1)


def test_the_published_example_of_2026_comes_out_to_the_cent() -> None:
    # models.md section 6: sell 1000 at 150 in 2026 -> SEC 3.09, TAF .20, CAT .01
    assert day_fees([("sell", Decimal(1000), Decimal(150))], SEPTEMBER_2026) == {
        "REG": Decimal("3.09"),
        "TAF": Decimal("0.20"),
        "CAT": Decimal("0.01"),
    }


def test_a_buyer_pays_only_the_audit_trail() -> None:
    charged = fees("buy", Decimal(1000), Decimal(150), SEPTEMBER_2026)
    assert charged["REG"] == 0
    assert charged["TAF"] == 0
    assert charged["CAT"] == Decimal("0.003")


def test_rounding_up_happens_once_a_day_not_once_a_fill() -> None:
    fill = ("sell", Decimal(1), Decimal(10))
    once = day_fees([fill], SEPTEMBER_2026)
    many = day_fees([fill] * 20, SEPTEMBER_2026)
    assert once["REG"] == Decimal("0.01")
    assert many["REG"] == Decimal("0.01")  # 20 x 0.000206 = 0.00412


def test_the_activity_fee_is_capped_on_each_trade() -> None:
    big = fees("sell", Decimal(1_000_000), Decimal(10), SEPTEMBER_2026)
    assert big["TAF"] == Decimal("9.79")


@pytest.mark.parametrize(
    ("day", "per_million"),
    [
        ("2025-05-13", "27.80"),
        ("2025-05-14", "0"),
        ("2026-04-03", "0"),
        ("2026-04-04", "20.60"),
        ("2018-05-22", "13.00"),
    ],
)
def test_a_rate_changes_on_its_day_and_not_before(day: str, per_million: str) -> None:
    assert rates_on(dt.date.fromisoformat(day)).section_31.rate == Decimal(per_million) / 1_000_000


def test_the_pause_of_late_2026_charges_no_activity_fee() -> None:
    assert fees("sell", Decimal(100), Decimal(50), dt.date(2026, 11, 20))["TAF"] == 0
    assert fees("sell", Decimal(100), Decimal(50), dt.date(2027, 1, 4))["TAF"] == Decimal("0.0232")


@pytest.mark.parametrize("schedule", [SECTION_31, TRADING_ACTIVITY, AUDIT_TRAIL])
def test_every_row_of_a_schedule_is_in_order_and_says_its_source(schedule: tuple) -> None:
    starts = [row.start for row in schedule]
    assert starts == sorted(set(starts))
    assert all(row.source and row.rate >= 0 for row in schedule)


@pytest.mark.parametrize("arguments", [("hold", 1, 1), ("sell", -1, 1), ("buy", 1, -1)])
def test_a_fee_without_meaning_is_refused(arguments: tuple) -> None:
    side, qty, price = arguments
    with pytest.raises(CostError):
        fees(side, Decimal(qty), Decimal(price), SEPTEMBER_2026)


@given(
    fills=st.lists(
        st.tuples(
            st.sampled_from(["buy", "sell"]),
            st.decimals(0, 10_000, places=2),
            st.decimals("0.01", 5_000, places=2),
        ),
        max_size=8,
    ),
    day=st.dates(dt.date(2000, 1, 1), dt.date(2030, 1, 1)),
)
def test_a_day_is_never_charged_less_than_accrued_nor_a_cent_more(fills: list, day: dt.date) -> None:
    charged = day_fees(fills, day)
    accrued = {kind: sum((fees(*fill, day)[kind] for fill in fills), Decimal(0)) for kind in charged}
    for kind, amount in charged.items():
        assert accrued[kind] <= amount < accrued[kind] + Decimal("0.01")
        assert amount == amount.quantize(Decimal("0.01"))


@given(
    side=st.sampled_from(["buy", "sell"]),
    qty=st.decimals(1, 10_000, places=0),
    price=st.decimals(1, 1_000, places=2),
    day=st.dates(dt.date(2012, 1, 1), dt.date(2028, 12, 31)),
)
def test_the_estimate_expects_the_booked_fees(side: str, qty: Decimal, price: Decimal, day: dt.date) -> None:
    expected = estimate(side, qty, price, 0.0, 1e9, 0.0, day)  # type: ignore[arg-type]
    booked = sum(fees(side, qty, price, day).values())  # type: ignore[arg-type]
    assert expected.fees == pytest.approx(float(booked), abs=1e-9)
    assert expected.total == expected.fees
