"""Brings alerts to people through Apprise, and records in the ledger that it did.

An alert is *delivered* once every address took it. An address that took it is not sent it again while
another is retried; an address that fails is left alone for the rest of the call, so that one dead mail
server does not hold up the pager. What happened is written to the alert (``attempts``, ``last_error``,
``delivered_at``) by the number and kind of the address, never by the address: those hold passwords.

Delivery is at least once: a process killed between the sending and the commit sends again.

Besides all of Apprise's addresses there is ``sallyportfile://localhost/path/to/file.txt``, which appends
messages to a file (Apprise has none of its own); :func:`file_url` makes one.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sqlalchemy import case
from sqlmodel import Session, col, select

from reports import page
from reports.day_report import day_costs, judge, limit_use, read_day
from sql.lineage import raise_alert
from sql.tables import Alert

FILE_SCHEMA = "sallyportfile"
log = logging.getLogger(__name__)

_SENT = re.compile(r"^sent: ([^;]*)(?:; |$)")
_KINDS = {"info": "info", "warning": "warning", "critical": "failure"}
"""Severity → Apprise's notification type, which chooses colour and icon where a service has them."""


@dataclass(frozen=True)
class Message:
    """What is sent: a title, a plain text, and the same as HTML for services that show it."""

    title: str
    text: str
    html: str
    severity: str


def file_url(path: Path) -> str:
    """The address that appends messages to the file at ``path`` (made if absent, with its folders)."""
    return f"{FILE_SCHEMA}://localhost{quote(str(path.absolute()))}"


def deliver_pending(session: Session, urls: Sequence[str], *, most: int = 200) -> int:
    """Send every undelivered alert to every address; returns how many became delivered.

    Rows another process is delivering are skipped, most severe first, oldest first. Without addresses
    nothing is touched. The caller commits.
    """
    if not urls:
        return 0
    severity = case({"critical": 0, "warning": 1}, value=col(Alert.severity), else_=2)
    pending = session.exec(
        select(Alert)
        .where(col(Alert.delivered_at).is_(None))
        .order_by(severity, col(Alert.at), col(Alert.id))
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    dead: dict[str, str] = {}
    return sum(_deliver(session, alert, _alert_message(alert), urls, dead) for alert in pending)


def send_summary(
    session: Session, urls: Sequence[str], *, day: dt.date, links: Mapping[str, str] | None = None
) -> bool:
    """Send the summary of one session, once; True if every address has it now.

    Recorded as an alert of kind ``nightly`` with ``ref`` = the session: a failed one stays pending and
    :func:`deliver_pending` tries again; a delivered one is not sent twice. ``links`` are titles and paths
    of what can be looked at. Raises :class:`reports.errors.NothingToReport` for an empty session.
    """
    message = summary(session, day, links or {})
    known = select(Alert).where(Alert.kind == "nightly", Alert.ref == day.isoformat()).with_for_update()
    alert = session.exec(known).first()
    if alert is None:
        raise_alert(session, message.severity, "nightly", message.title, message.text, day.isoformat())
        alert = session.exec(known).one()
    if alert.delivered_at is not None:
        return True
    return bool(urls) and _deliver(session, alert, message, urls, {})


def summary(session: Session, day: dt.date, links: Mapping[str, str]) -> Message:
    """The nightly message of one session, from the ledger alone."""
    facts = read_day(session, day)
    tone, headline, points = judge(facts)
    costs = day_costs(facts)
    rows: list[tuple[str, str]] = []
    if facts.marks:
        mark = facts.marks[-1]
        rows.append(("Equity", page.money(mark.equity)))
        rows.append(("Result of the day", page.money(mark.equity - mark.day_open_equity, sign=True)))
    refused = sum(d.verdict == "refused" for d in facts.decisions)
    rows.append(("Orders", f"{len(facts.orders)} placed, {refused} refused"))
    rows.append(("Fills", f"{len(facts.fills)}, {page.money(costs.notional, 0)} traded"))
    paid = costs.paid_fees + costs.shortfall
    expected = costs.expected_fees + costs.expected_spread_impact
    better = " (better than arrival)" if paid < 0 else ""
    rows.append(("Costs", f"{page.money(paid)} paid{better}, {page.money(expected)} expected"))
    nearest = next((use for use in limit_use(facts) if use.used is not None), None)
    if nearest is not None:
        rows.append(
            ("Nearest limit", f"{nearest.name.replace('_', ' ')}, {page.percent(nearest.used, 0)} used")
        )
    width = max(len(label) for label, _ in rows)
    text = [headline, ""]
    text += [f"{label:<{width}}  {value}" for label, value in rows]
    text += ["", *(f"{'!' if mark in ('bad', 'warn') else '-'} {point}" for mark, point in points)]
    text += ["", *(f"{title}: {target}" for title, target in links.items())] if links else []
    html = (
        page.environment()
        .get_template("message.html")
        .render(tone=tone, headline=headline, rows=rows, points=points, links=links, note=f"Session {day}")
    )
    severity = {"bad": "critical", "warn": "warning"}.get(tone, "info")
    return Message(f"Session {day}: {headline}", "\n".join(text), html, severity)


def _alert_message(alert: Alert) -> Message:
    tone = {"critical": "bad", "warning": "warn"}.get(alert.severity, "plain")
    html = (
        page.environment()
        .get_template("message.html")
        .render(
            tone=tone,
            headline=alert.title,
            rows=[],
            points=[],
            links={},
            body=alert.body,
            note=f"{alert.kind.replace('_', ' ')} · {alert.severity} · written {page.utc_text(alert.at)}",
        )
    )
    note = f"{alert.kind} · {page.utc_text(alert.at)}"
    return Message(f"[{alert.severity}] {alert.title}", f"{alert.body}\n\n{note}", html, alert.severity)


def _deliver(
    session: Session, alert: Alert, message: Message, urls: Sequence[str], dead: dict[str, str]
) -> bool:
    """Send one alert to the addresses that have not taken it; True once all have."""
    found = _SENT.match(alert.last_error)
    sent = found[1].split(", ") if found else []
    failed: dict[str, str] = {}
    for place, url in enumerate(urls, start=1):
        label = f"#{place} {_schema(url)}"
        if label in sent:
            continue
        if label not in dead:
            problem = _send(url, message)
            if problem is None:
                sent.append(label)
                continue
            dead[label] = problem
            log.warning("address %s did not take an alert: %s", label, problem)
        failed[label] = dead[label]
    alert.attempts += 1
    if failed:
        parts = [f"sent: {', '.join(sent)}"] if sent else []
        parts += [f"{label}: {problem}" for label, problem in failed.items()]
        alert.last_error = "; ".join(parts)[:1000]
    else:
        alert.last_error = ""
        alert.delivered_at = dt.datetime.now(dt.UTC)
    session.add(alert)
    session.flush()
    return not failed


def _send(url: str, message: Message) -> str | None:
    """Send to one address; ``None`` if it took it, else why not, with nothing of the address in it."""
    apprise = _apprise()
    quiet = logging.getLogger("apprise")
    propagate, quiet.propagate = quiet.propagate, False  # its log lines may quote the address
    try:
        with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:
            service = apprise.Apprise.instantiate(url)
            if service is None:
                return "not an address that Apprise understands; correct it in notify.urls"
            wants_html = service.notify_format == apprise.NotifyFormat.HTML
            took = apprise.Apprise(servers=[service]).notify(
                title=message.title,
                body=message.html if wants_html else message.text,
                body_format=apprise.NotifyFormat.HTML if wants_html else apprise.NotifyFormat.TEXT,
                notify_type=_KINDS.get(message.severity, "info"),
            )
            return None if took else _without_secrets(said.getvalue(), url)
    finally:
        quiet.propagate = propagate


def _schema(url: str) -> str:
    found = re.match(r"[a-z][a-z0-9+-]{0,30}(?=://)", url.strip().lower())
    return found[0] if found else "unknown"


def _without_secrets(said: str, url: str) -> str:
    """Apprise's own words without any part of the address; its schema and loopback may stay."""
    text = " ".join(said.split()) or "not delivered; no reason given"
    pieces = {piece for form in (url, unquote(url)) for piece in re.split(r"[/:@?&=#,\s]+", form)}
    pieces -= {_schema(url), "", "127.0.0.1", "localhost"}
    for piece in sorted(pieces, key=len, reverse=True):
        text = text.replace(piece, "***") if len(piece) > 2 else text
    return text[:300]


@cache
def _apprise() -> Any:
    """Apprise with our file address; imported at the first message (it takes a while)."""
    import apprise
    from apprise.decorators import notify

    @notify(on=FILE_SCHEMA, name="Sallyport file")
    def append_to_file(
        body: str, title: str, notify_type: str, *_: Any, meta: dict[str, Any], **__: Any
    ) -> bool:
        host, below = meta.get("host") or "", meta.get("fullpath") or ""
        # Apprise reads the first folder of "sallyportfile:///tmp/file" as a host: give it back
        path = Path(unquote(below if host == "localhost" else f"/{host}{below}"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            logging.getLogger("apprise").warning("cannot write the file: %s", error.strerror)
            return False
        with os.fdopen(handle, "ab") as file:
            file.write(f"== {title}\n{body.rstrip()}\n\n".encode())
        return True

    return apprise
