"""Alerts leave the house within seconds of being written, not with the evening's flows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from flows.alerts import deliver_forever
from flows.errors import FlowError
from flows.workspace import open_workspace
from reports.mailbox import Mailbox


def test_a_kill_is_mailed_while_the_loop_runs(
    installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Mailbox(tmp_path) as box:
        monkeypatch.setenv("SALLYPORT_NOTIFY__URLS", json.dumps([box.url(to="ann@example.com")]))
        with open_workspace() as work:
            rounds: list[float] = []

            def pause(seconds: float) -> None:
                """The kill comes after the first round, as it would in the middle of a day."""
                rounds.append(seconds)
                if len(rounds) == 1:
                    with work.ledger.session() as session:
                        session.execute(text("SELECT ledger.kill('ann', 'smoke in the room', false)"))

            deliver_forever(work, lambda _: None, pause=pause, keep_going=lambda: len(rounds) < 2)
            with work.ledger.session() as session:
                waiting = session.execute(
                    text("SELECT count(*) FROM ledger.alert WHERE delivered_at IS NULL")
                )
                assert waiting.scalar_one() == 0
    mails = [path.read_text() for path in tmp_path.glob("*.eml")]
    assert any("smoke in the room" in mail for mail in mails)


def test_without_an_address_it_says_where_to_set_one(installation: Path) -> None:
    with open_workspace() as work, pytest.raises(FlowError, match="SALLYPORT_NOTIFY__URLS"):
        deliver_forever(work, lambda _: None)
