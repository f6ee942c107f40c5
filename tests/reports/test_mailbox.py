"""The local mailbox keeps what it is given, only on loopback."""

from __future__ import annotations

import smtplib
import socket
from email.message import EmailMessage
from pathlib import Path

import pytest

from reports.errors import MailboxError
from reports.mailbox import Mailbox


def send(box: Mailbox, subject: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@localhost", "b@localhost", subject
    message.set_content("Grüße\n.a line that starts with a dot")
    with smtplib.SMTP(box.host, box.port, timeout=5) as client:
        client.send_message(message)


def test_a_message_can_be_read_back_as_it_was_sent(tmp_path: Path) -> None:
    with Mailbox(tmp_path / "mail") as box:
        send(box, "first")
        send(box, "second")
        got = box.messages()
    assert [m["Subject"] for m in got] == ["first", "second"]
    assert got[0].get_content().splitlines() == ["Grüße", ".a line that starts with a dot"]


def test_a_mailbox_opened_again_adds_to_what_it_holds(tmp_path: Path) -> None:
    for subject in ("first", "second"):
        with Mailbox(tmp_path) as box:
            send(box, subject)
    assert [m["Subject"] for m in Mailbox(tmp_path).messages()] == ["first", "second"]


def test_a_taken_port_is_said_and_nothing_is_left_listening(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MailboxError, match=f"127.0.0.1:{port}"):
            Mailbox(tmp_path, port=port).start()


def test_a_closed_mailbox_takes_no_mail(tmp_path: Path) -> None:
    with Mailbox(tmp_path) as box:
        port = box.port
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
