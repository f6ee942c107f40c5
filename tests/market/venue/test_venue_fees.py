"""The day's fees: published rates, rounding up by type, and no day on which the cost model expects another bill."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from venue_clients import Wire

from market.venue.fees import SCHEDULE, day_fees, rate_on
from market.venue.rehearsal import RehearsalVenue

# Section 5 of the specification, row by row: kind, rate in USD, cap in USD, first and last day (None: open).
PUBLISHED = [
    ("REG", "0.0000278", None, "2024-05-22", "2025-05-13"),
    ("REG", "0", None, "2025-05-14", "2026-04-03"),
    ("REG", "0.0000206", None, "2026-04-04", None),
    ("TAF", "0.000166", "8.30", "2024-01-01", "2025-12-31"),
    ("TAF", "0.000195", "9.79", "2026-01-01", "2026-09-30"),
    ("TAF", "0", None, "2026-10-01", "2026-12-31"),
    ("TAF", "0.000232", "11.61", "2027-01-01", "2027-12-31"),
    ("TAF", "0.000240", "12.05", "2028-01-01", "2028-12-31"),
    ("TAF", "0.000249", "12.50", "2029-01-01", None),
    ("CAT", "0.000046", None, "2025-01-01", "2025-06-30"),
    ("CAT", "0.0000265", None, "2025-07-01", "2025-10-31"),
    ("CAT", "0", None, "2025-11-01", "2026-04-30"),
    ("CAT", "0.000003", None, "2026-05-01", None),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row[0]}-{row[3]}")
def test_each_published_rate_holds_from_its_first_day_to_its_last(
    row: tuple[str, str, str | None, str, str | None],
) -> None:
    kind, rate, cap, first, last = row
    expected = (Decimal(rate), None if cap is None else Decimal(cap))
    start = dt.date.fromisoformat(first)
    end = dt.date.fromisoformat(last) if last else dt.date(2040, 1, 1)
    for day in (start, end):
        found = rate_on(kind, day)
        assert (found.rate, found.cap) == expected
    assert rate_on(kind, start - dt.timedelta(days=1)).rate != expected[0]


def test_the_holiday_of_the_activity_fee_may_be_kept_by_the_broker() -> None:
    sold = [("sell", Decimal(1000), Decimal(150))]
    day = dt.date(2026, 11, 2)
    assert "TAF" not in day_fees(sold, day)
    assert day_fees(sold, day, taf_holiday=False)["TAF"] == Decimal("0.20")
    assert day_fees(sold, dt.date(2027, 1, 4), taf_holiday=False) == day_fees(sold, dt.date(2027, 1, 4))


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


def test_fees_accrue_through_the_day_and_are_charged_after_it_by_type(
    start_venue: Callable[..., RehearsalVenue], tmp_path: Path
) -> None:
    """In May 2026 all three types cost something: the account shows what is due, the rows say what was taken."""
    days = [dt.date(2026, 6, 1), dt.date(2026, 6, 2)]
    rows = [("AAA", day, 100.0, 100.5, 99.5, 100.0, 5e6) for day in days]
    columns = ["symbol", "date", "open", "high", "low", "close", "volume"]
    data = tmp_path / "prices.parquet"
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(data)
    venue = start_venue(data=data, date=days[1], symbols=None)
    wire = Wire(venue)
    for side in ("buy", "sell"):
        order = wire.order(symbol="AAA", qty="100", side=side).json()["id"]
        venue.advance(30)
        assert wire.get(f"/v2/orders/{order}")["status"] == "filled"
    account = wire.get("/v2/account")
    due, regulatory = Decimal(account["accrued_fees"]), Decimal(account["pending_reg_taf_fees"])
    cash = Decimal(account["cash"])
    venue.move_to("2026-06-02T20:01:00Z")
    taken = {
        row["activity_sub_type"]: -Decimal(row["net_amount"])
        for row in wire.get("/v2/account/activities/FEE")
    }
    assert set(taken) == {"REG", "TAF", "CAT"}
    assert (due, regulatory) == (sum(taken.values()), taken["REG"] + taken["TAF"])
    after = wire.get("/v2/account")
    assert (after["accrued_fees"], after["pending_reg_taf_fees"]) == ("0", "0")
    assert Decimal(after["cash"]) == cash - due
