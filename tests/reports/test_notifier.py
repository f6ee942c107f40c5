"""Alerts reach people through the real Apprise, once, and secrets reach nobody."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlmodel import Session, select

from reports.errors import NothingToReport
from reports.mailbox import Mailbox
from reports.notifier import deliver_pending, file_url, send_summary, summary
from sql.ledger import Ledger
from sql.tables import Alert

if TYPE_CHECKING:
    from conftest import Desk

SECRET = "hunter2horse"


def alerts(ledger: Ledger) -> list[Alert]:
    with ledger.session() as session:
        return list(session.exec(select(Alert).order_by(Alert.at)))  # type: ignore[arg-type]


def deliver(ledger: Ledger, *urls: str) -> int:
    with ledger.session() as session:
        return deliver_pending(session, urls)


def test_an_alert_arrives_by_mail_as_text_and_html_with_its_severity(desk: Desk, tmp_path: Path) -> None:
    desk.alert("critical", "kill", "Kill switch pressed by ann", "spread <b>blown</b> out")
    with Mailbox(tmp_path) as box:
        assert deliver(desk.ledger, box.url(to="ann@example.com")) == 1
        (mail,) = box.messages()
    assert mail["Subject"] == "[critical] Kill switch pressed by ann"
    assert mail["To"] == "ann@example.com"
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert "spread &lt;b&gt;blown&lt;/b&gt; out" in html.get_content()
    assert "spread <b>blown</b> out" in text.get_content()


def test_a_delivered_alert_is_not_sent_again(desk: Desk, tmp_path: Path) -> None:
    desk.alert("info", "nightly", "Once", "body")
    with Mailbox(tmp_path) as box:
        assert deliver(desk.ledger, box.url()) == 1
        assert deliver(desk.ledger, box.url()) == 0
        assert len(box.messages()) == 1
    (alert,) = alerts(desk.ledger)
    assert alert.delivered_at is not None
    assert (alert.attempts, alert.last_error) == (1, "")


def test_a_failure_keeps_the_alert_pending_and_says_why_without_the_password(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    desk.alert("warning", "breach", "Daily loss", "5.1 %")
    with Mailbox(tmp_path) as box:
        closed = box.port
    url = f"mailto://ann:{SECRET}@127.0.0.1:{closed}?mode=insecure&smtp=127.0.0.1&to=ann@example.com"
    with caplog.at_level(logging.DEBUG):
        assert deliver(desk.ledger, url) == 0
        assert deliver(desk.ledger, url) == 0
    (alert,) = alerts(desk.ledger)
    assert alert.delivered_at is None
    assert alert.attempts == 2
    assert "#1 mailto" in alert.last_error
    said = alert.last_error + caplog.text + "".join(capfd.readouterr())
    assert "did not take an alert" in caplog.text
    assert SECRET not in said
    assert "ann@example.com" not in said


def test_an_address_that_took_it_is_not_sent_it_again_while_another_is_retried(
    desk: Desk, tmp_path: Path
) -> None:
    desk.alert("warning", "breach", "Daily loss", "5.1 %")
    kept = tmp_path / "alerts.txt"
    with Mailbox(tmp_path / "first") as box:
        port = box.port
    dead = Mailbox(tmp_path / "later", port=port)
    urls = (file_url(kept), dead.url())
    assert deliver(desk.ledger, *urls) == 0
    assert alerts(desk.ledger)[0].last_error.startswith("sent: #1 sallyportfile; #2 mailto: ")
    with dead:
        assert deliver(desk.ledger, *urls) == 1
        assert len(dead.messages()) == 1
    assert kept.read_text().count("Daily loss") == 1


def test_one_dead_address_is_tried_once_a_call(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(3):
        desk.alert("info", "nightly", f"Message {n}", "body")
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    assert deliver(desk.ledger, file_url(blocked / "below.txt"), file_url(tmp_path / "ok.txt")) == 0
    assert caplog.text.count("did not take an alert") == 1
    assert (tmp_path / "ok.txt").read_text().count("Message") == 3


def test_the_gravest_alert_goes_first(desk: Desk, tmp_path: Path) -> None:
    for severity in ("info", "warning", "critical"):
        desk.alert(severity, "breach", severity.upper(), "body")
    kept = tmp_path / "alerts.txt"
    assert deliver(desk.ledger, file_url(kept)) == 3
    titles = [line for line in kept.read_text().splitlines() if line.startswith("== ")]
    assert [t.split()[-1] for t in titles] == ["CRITICAL", "WARNING", "INFO"]


@pytest.mark.parametrize("form", ["{url}", "sallyportfile://{path}"])
def test_a_file_address_reaches_any_path(desk: Desk, tmp_path: Path, form: str) -> None:
    desk.alert("info", "nightly", "Hello", "body")
    kept = tmp_path / "A folder with 100%" / "Ä.txt"
    address = form.format(url=file_url(kept), path=file_url(kept).removeprefix("sallyportfile://localhost"))
    assert deliver(desk.ledger, address) == 1
    assert "Hello" in kept.read_text()


def test_an_alert_another_process_is_delivering_is_left_to_it(desk: Desk, tmp_path: Path) -> None:
    desk.alert("info", "nightly", "Held", "body")
    kept = tmp_path / "alerts.txt"
    with desk.ledger.session() as other:
        other.exec(select(Alert).with_for_update()).all()
        assert deliver(desk.ledger, file_url(kept)) == 0
    assert deliver(desk.ledger, file_url(kept)) == 1


@pytest.mark.parametrize("url", ["nonsense", f"nosuch://{SECRET}@host"])
def test_an_address_apprise_does_not_know_is_named_by_place_only(desk: Desk, url: str) -> None:
    desk.alert("info", "nightly", "Hello", "body")
    assert deliver(desk.ledger, url) == 0
    (alert,) = alerts(desk.ledger)
    assert "not an address that Apprise understands" in alert.last_error
    assert SECRET not in alert.last_error


def test_without_addresses_nothing_is_touched(desk: Desk) -> None:
    desk.alert("info", "nightly", "Hello", "body")
    assert deliver(desk.ledger) == 0
    assert alerts(desk.ledger)[0].attempts == 0


def test_the_summary_says_what_happened_and_is_sent_once(
    traded_desk: Desk, day: dt.date, tmp_path: Path
) -> None:
    with Mailbox(tmp_path) as box:
        for _ in range(2):
            with traded_desk.ledger.session() as session:
                assert send_summary(session, [box.url()], day=day, links={"Day report": "reports/day.html"})
        (mail,) = box.messages()
    text = mail.get_body(("html",))
    assert text is not None
    said = text.get_content()
    for fact in (
        "Reconciled to the share and the cent",
        "$100,249.93",
        "+$249.93",
        "2 placed, 1 refused",
        "$4.07 paid",
        "reports/day.html",
    ):
        assert fact in said
    (nightly,) = [a for a in alerts(traded_desk.ledger) if a.kind == "nightly" and a.ref == day.isoformat()]
    assert nightly.delivered_at is not None
    assert "Orders" in nightly.body


def test_a_summary_nobody_took_is_delivered_later(traded_desk: Desk, day: dt.date, tmp_path: Path) -> None:
    with traded_desk.ledger.session() as session:
        assert not send_summary(session, [], day=day)
    kept = tmp_path / "summary.txt"
    assert deliver(traded_desk.ledger, file_url(kept)) == 2  # the summary and the alert of the day
    assert "single name, 84 % used" in kept.read_text()


def test_an_unreconciled_day_makes_a_critical_summary(traded_desk: Desk, day: dt.date) -> None:
    gap = {
        "kind": "cash",
        "ref": "USD",
        "ledger_value": "85995.93",
        "broker_value": "85990.00",
        "explanation": "",
    }
    traded_desk.reconcile(occasion="close", minutes=400, cash="85995.93", breaks=[gap])
    with traded_desk.ledger.session() as session:
        message = summary(session, day, {})
    assert message.severity == "critical"
    assert "1 unexplained difference with the broker" in message.title


def test_a_day_without_facts_sends_nothing(session: Session, day: dt.date) -> None:
    with pytest.raises(NothingToReport, match="2020-03-13"):
        send_summary(session, ["json://localhost"], day=day.replace(day=13))


def test_fills_better_than_arrival_are_not_shown_as_a_strange_cost(desk: Desk, day: dt.date) -> None:
    desk.propose({"AAPL": "0.11"})
    desk.start()
    cid = desk.place("AAPL", "buy", "100", "50.50", "50.00")
    desk.state(cid, "SENDING")
    desk.state(cid, "LIVE", "new", "b-1")
    desk.fill("x-1", cid, "100", "49.90")
    with desk.ledger.session() as session:
        assert "−$10.00 paid (better than arrival)" in summary(session, day, {}).text
