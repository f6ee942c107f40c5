"""The day report says what the ledger holds, verdict first, and a bad day does not look good."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lxml import html
from sqlalchemy import text
from sqlmodel import Session

from reports.day_report import (
    day_costs,
    judge,
    limit_use,
    market_window,
    read_day,
    thinned,
    wall_window,
    write_day_report,
)
from reports.errors import NothingToReport
from sql.tables import EquityMark

if TYPE_CHECKING:
    from conftest import Desk, NewLedger


def section(page: html.HtmlElement, title: str) -> html.HtmlElement:
    (found,) = page.xpath(f"//section[h2='{title}']")
    return found


def cells(table: html.HtmlElement) -> list[list[str]]:
    return [[" ".join(td.text_content().split()) for td in tr.iter("td")] for tr in table.iter("tr")]


def report(desk: Desk, day: dt.date, out: Path) -> html.HtmlElement:
    with desk.ledger.session() as session:
        return html.parse(write_day_report(session, day=day, out=out / "day.html")).getroot()


@pytest.fixture
def page(session: Session, day: dt.date, out: Path) -> html.HtmlElement:
    return html.parse(write_day_report(session, day=day, out=out / "day.html")).getroot()


def test_a_good_day_says_so_first(page: html.HtmlElement) -> None:
    (verdict,) = page.xpath("//main/*[1]")
    assert verdict.get("class") == "verdict good"
    assert verdict.find("strong").text == "Reconciled to the share and the cent, chain whole, no breach"
    assert "1 order refused before sending" in verdict.text_content()


def test_modelled_data_is_marked_loudly(page: html.HtmlElement) -> None:
    (mark,) = page.xpath("//*[@class='modelled']")
    assert "open, high, low, volume: not observed" in mark.text_content()


def test_observed_data_is_not_marked(desk: Desk, day: dt.date, out: Path) -> None:
    desk.propose({"AAPL": "0.05"})
    assert not report(desk, day, out).xpath("//*[@class='modelled']")


def test_orders_show_average_price_and_slippage_against_arrival(page: html.HtmlElement) -> None:
    aapl, xom = cells(section(page, "Orders"))[1:]
    # (150 × 50.02 + 50 × 50.04) / 200 = 50.025 against 50.00: 5 bp; 39.99 against 40.00: -2.5 bp
    assert aapl == [
        "09:32:00",
        "AAPL",
        "buy",
        "200",
        "200",
        "50.50",
        "50.000",
        "50.025",
        "+5.0 bp",
        "6.1 bp",
        "filled",
        aapl[-1],
    ]
    assert xom[7:9] == ["39.990", "−2.5 bp"]


def test_costs_paid_are_fees_posted_and_shortfall(session: Session, day: dt.date) -> None:
    costs = day_costs(read_day(session, day))
    assert costs.paid_fees == Decimal("0.07")
    assert costs.shortfall == Decimal("4.00")  # 200 × 0.025 − 100 × 0.01
    assert costs.expected_fees == pytest.approx(0.10)
    assert costs.expected_spread_impact == pytest.approx(6.0)
    assert costs.notional == Decimal("14004.00")


def test_expected_costs_count_only_the_filled_part(desk: Desk, day: dt.date) -> None:
    desk.propose({"AAPL": "0.11"})
    desk.start()
    cid = desk.place("AAPL", "buy", "200", "50.50", "50.00")
    desk.state(cid, "SENDING")
    desk.state(cid, "LIVE", "new", "b-1")
    desk.fill("x-1", cid, "50", "50.00")
    with desk.ledger.session() as session:
        facts = read_day(session, day)
    assert day_costs(facts).expected_spread_impact == pytest.approx(0.25 * 3.0)
    assert ("warn", "1 order without a known end") in judge(facts)[2]


def test_limit_use_is_the_days_highest_with_its_moment(page: html.HtmlElement) -> None:
    use = {row[0]: row for row in cells(section(page, "Limits"))[1:]}
    assert use["single name"][1:4] == ["12.00 %", "10.10 %", "84 %"]
    assert use["single name"][5] == "09:32 AAPL"
    assert use["daily loss"][1:6] == ["5.00 %", "2.00 %", "40 %", "", "11:30"]
    assert use["order notional usd"][1:3] == ["$150,000", "$10,100"]
    assert use["gross"][5] == "not exercised"
    assert "drawdown scale" not in use


def test_a_refusal_stands_with_its_reason_and_numbers(page: html.HtmlElement) -> None:
    row = cells(section(page, "Decisions"))[1]
    assert row[1:4] == ["JPM", "single_name: 0.30 over 0.12", "single name: 30.00 % over 12.00 %"]


def test_the_lineage_names_every_link(page: html.HtmlElement) -> None:
    said = section(page, "Where the orders came from").text_content()
    for link in (
        "20 names to 2020-03-11",
        "passed",
        "momentum-abcdef012345",
        "500 scenarios",
        "flow:propose",
        "policy:paper",
    ):
        assert link in said


def test_times_are_new_york_with_utc_in_the_title(page: html.HtmlElement) -> None:
    first = section(page, "Fills").find(".//time")
    assert first.text == "09:32:01"
    assert first.get("title") == "2020-03-12 13:32:01.000125 UTC"


def test_the_page_loads_nothing_from_anywhere(page: html.HtmlElement) -> None:
    outside = page.xpath("//script | //img | //iframe | //link[not(starts-with(@href, 'data:'))] | //@src")
    assert outside == []
    assert "http" not in page.xpath("string(//style)")


def test_the_same_ledger_gives_the_same_page(session: Session, day: dt.date, out: Path) -> None:
    one, two = (write_day_report(session, day=day, out=out / name) for name in ("1.html", "2.html"))
    assert one.read_bytes() == two.read_bytes()


def test_text_from_outside_cannot_become_markup(traded_desk: Desk, day: dt.date, out: Path) -> None:
    traded_desk.alert("warning", "breach", "<script>alert(1)</script>", "<img src=x>")
    page = report(traded_desk, day, out)
    assert not page.xpath("//script | //img")
    assert "<script>alert(1)</script>" in section(page, "Alerts").text_content()


@pytest.mark.parametrize(("cash", "broker"), [("85995.93", "85990.00")])
def test_an_unexplained_difference_makes_the_day_bad(
    traded_desk: Desk, day: dt.date, out: Path, cash: str, broker: str
) -> None:
    gap = {"kind": "cash", "ref": "USD", "ledger_value": cash, "broker_value": broker, "explanation": ""}
    traded_desk.reconcile(occasion="close", minutes=400, cash=cash, breaks=[gap])
    page = report(traded_desk, day, out)
    assert page.xpath("string(//main/*[1]/@class)") == "verdict bad"
    assert page.xpath("string(//strong)") == "Needs a person: 1 unexplained difference with the broker"
    assert broker in section(page, "Reconciliation").text_content()


def test_a_difference_that_was_resolved_later_does_not_stay_bad(traded_desk: Desk, day: dt.date) -> None:
    gap = {"kind": "position", "ref": "AAPL", "ledger_value": "200", "broker_value": "150", "explanation": ""}
    traded_desk.reconcile(occasion="close", minutes=400, cash="85995.93", breaks=[gap])
    traded_desk.reconcile(occasion="manual", minutes=401, cash="85995.93")
    with traded_desk.ledger.session() as session:
        assert judge(read_day(session, day))[0] == "good"


def test_a_tampered_ledger_is_shown_as_broken(traded_desk: Desk, day: dt.date) -> None:
    with traded_desk.ledger.session() as session:
        session.execute(text("ALTER TABLE ledger.audit_log DISABLE TRIGGER ALL"))
        session.execute(text("DELETE FROM ledger.audit_log WHERE seq = 5"))
        tone, headline, _ = judge(read_day(session, day))
    assert (tone, headline) == ("bad", "Needs a person: audit chain BROKEN at entry 5")


def test_a_day_without_a_closing_reconciliation_is_not_called_good(desk: Desk, day: dt.date) -> None:
    desk.propose({"AAPL": "0.11"})
    desk.start()
    with desk.ledger.session() as session:
        assert judge(read_day(session, day))[:2] == ("warn", "Look again: never reconciled with the broker")
    desk.reconcile(occasion="running", minutes=3, cash="100000")
    with desk.ledger.session() as session:
        assert judge(read_day(session, day))[1] == "Look again: reconciled, but not yet after the close"


def test_a_fee_booked_after_the_last_reconciliation_is_not_called_reconciled(
    traded_desk: Desk, day: dt.date
) -> None:
    traded_desk.call(
        "record_cash",
        p_epoch=traded_desk.epoch,
        p_activity="fee-2",
        p_account="fees",
        p_amount=Decimal("-0.01"),
        p_memo="late",
    )
    with traded_desk.ledger.session() as session:
        said = judge(read_day(session, day))[1]
    assert said == "Look again: fills or fees were booked after the last reconciliation"


def test_a_loss_past_its_limit_is_a_breach(traded_desk: Desk, day: dt.date) -> None:
    traded_desk.mark("392", "85995.93", "94900")
    with traded_desk.ledger.session() as session:
        tone, headline, _ = judge(read_day(session, day))
    assert (tone, headline) == ("bad", "Needs a person: limit breached: daily_loss")


def test_a_breaker_that_latched_is_a_breach_but_a_refused_attempt_is_not(
    traded_desk: Desk, day: dt.date
) -> None:
    traded_desk.alert("warning", "breach", "Refused buy 300 JPM", "single_name")
    with traded_desk.ledger.session() as session:
        assert judge(read_day(session, day))[0] == "good"
    traded_desk.alert("critical", "breach", "Mode CLOSE_ONLY", "daily loss 5.01%")
    with traded_desk.ledger.session() as session:
        assert judge(read_day(session, day))[1] == "Needs a person: limit breached: Mode CLOSE_ONLY"


def test_an_exit_over_a_limit_is_no_breach_but_an_entry_would_be(traded_desk: Desk, day: dt.date) -> None:
    for side, expected in (("sell", []), ("buy", ["single_name"])):
        body = traded_desk.intent(
            "AAPL", side, "150", "100.00", "99.00", minutes=5, position="200", leg=2 + len(expected)
        )
        body["checks"]["limits"][0].update(ok=False, after="0.15")
        if expected:  # the ledger's own cap would refuse it: write what a faulty gate would have left
            with traded_desk.ledger.session() as session:
                session.execute(text("ALTER TABLE ledger.limit_version DISABLE TRIGGER ALL"))
                session.execute(
                    text(
                        'UPDATE ledger.limit_version SET limits = limits || \'{"single_name": "9", "gross": "9"}\''
                    )
                )
        with traded_desk.ledger.session() as session:
            session.execute(text("UPDATE ledger.signal_batch SET state = 'CLAIMED'"))
        answer = traded_desk.call("place", p_epoch=traded_desk.epoch, p=json.dumps(body))
        assert answer["ok"], answer
        with traded_desk.ledger.session() as session:
            facts = read_day(session, day)
        assert [use.name for use in limit_use(facts) if use.used is not None and use.used > 1] == expected


def test_a_session_the_ledger_does_not_know_is_refused(session: Session, day: dt.date, out: Path) -> None:
    with pytest.raises(NothingToReport, match=r"2020-03-13; the last one it knows is 2020-03-12"):
        write_day_report(session, day=day + dt.timedelta(days=1), out=out / "day.html")
    assert not out.exists()


def test_weekend_alerts_belong_to_the_session_that_follows(new_ledger: NewLedger) -> None:
    monday = dt.date(2024, 3, 11)  # the day after New York set its clocks forward
    with new_ledger("paper").session() as session:
        start, end = wall_window(session, monday)
    assert start == dt.datetime(2024, 3, 9, 5, tzinfo=dt.UTC)
    assert end == dt.datetime(2024, 3, 12, 4, tzinfo=dt.UTC)
    assert market_window(monday)[0] == dt.datetime(2024, 3, 11, 4, tzinfo=dt.UTC)


def test_thinning_keeps_the_lowest_highest_and_last_mark() -> None:
    values = [Decimal(100 + (i * 37) % 11) for i in range(5000)]
    values[3333], values[1234] = Decimal(1), Decimal(999)
    marks = [EquityMark(equity=value) for value in values]
    kept = [mark.equity for mark in thinned(marks)]
    assert len(kept) <= 410
    assert {Decimal(1), Decimal(999)} <= set(kept)
    assert (kept[0], kept[-1]) == (values[0], values[-1])
