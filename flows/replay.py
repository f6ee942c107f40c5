"""One session replayed: the local venue and the executor as processes of their own, watched from the ledger."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func
from sqlmodel import col
from sqlmodel import select as query

from flows.errors import DemoError, ServerError
from flows.process import ChildProcess
from market.calendar import NEW_YORK, session_close, session_open
from sql.tables import Book, EquityMark, Fill, Order

if TYPE_CHECKING:
    from flows.progress import Stages
    from flows.workspace import Workspace

EXECUTOR = (sys.executable, "-c", "from executor.cli import main; main()")
_VENUE_READY_S = 60.0
_AFTER_CLOSE_S = 60.0
"""What the executor may take after the session's end for fees, the last sweep and the reconciliation."""


def approve(batch: str) -> str:
    """Approve the batch by the paper policy, with the command a person would use; returns what it said."""
    done = subprocess.run(
        [*EXECUTOR, "signals", "approve", batch, "--policy", "paper"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    if done.returncode != 0:
        raise DemoError(f"the approval was refused: {' '.join(done.stderr.split()) or done.returncode}")
    return " ".join(done.stdout.split())


def launch_venue(
    session: date, prices: str | None, speed: float, state: Path, stack: ExitStack
) -> ChildProcess:
    """Start the local exchange on the session's tape; :func:`addresses` waits for it."""
    command = [*EXECUTOR, "venue", "--date", str(session), "--speed", f"{speed:g}"]
    command += ["--start", "09:25", "--journal", str(state / "venue.jsonl")]
    if prices is not None:
        command += ["--data", prices]
    venue = ChildProcess(
        "the venue", command, environment=os.environ, log=state / "venue.log", read_output=True
    )
    stack.callback(venue.stop)
    venue.start()
    return venue


def addresses(venue: ChildProcess) -> dict[str, Any]:
    """The line the venue says when it is ready: its addresses, account and keys."""
    line = _first_line(venue)
    try:
        return dict(json.loads(line))
    except ValueError:
        raise ServerError(
            f"the venue said {line[:120]!r} instead of its addresses; see {venue.log}"
        ) from None


def trade(
    venue: dict[str, Any],
    session: date,
    speed: float,
    work: Workspace,
    state: Path,
    stack: ExitStack,
    stages: Stages,
) -> str:
    """Run the executor until the session has closed and is reconciled; returns its last word."""
    environment = os.environ | {
        "SALLYPORT_CLOCK_RATE": f"{speed:g}",
        "SALLYPORT_BROKER__URL": str(venue["rest_url"]),
        "SALLYPORT_BROKER__STREAM_URL": str(venue["trading_stream_url"]),
        "SALLYPORT_FEED__STREAM_URL": str(venue["data_stream_url"]),
        "SALLYPORT_FEED__DATA_URL": str(venue["data_rest_url"]),
        "APCA_API_KEY_ID": str(venue["key_id"]),
        "APCA_API_SECRET_KEY": str(venue["secret_key"]),
    }
    executor = ChildProcess(
        "the executor",
        [*EXECUTOR, "run", "--until-close"],
        environment=environment,
        log=state / "executor.log",
    )
    stack.callback(executor.stop)
    executor.start()
    seconds = (session_close(session) - session_open(session) + timedelta(minutes=10)).total_seconds() / speed
    deadline = time.monotonic() + seconds + _AFTER_CLOSE_S
    while executor.exit_code is None:
        if time.monotonic() > deadline:
            raise DemoError(
                f"the executor did not end within {seconds + _AFTER_CLOSE_S:.0f} s: {executor.last_words()}; "
                f"see {executor.log}"
            )
        stages.say(_state_of_play(work))
        time.sleep(0.5)
    if executor.exit_code != 0:
        raise DemoError(
            f"the executor ended with exit code {executor.exit_code}: {executor.last_words()}; see {executor.log}"
        )
    return executor.last_words(1)


def _state_of_play(work: Workspace) -> str:
    """Market time, mode and counts as the ledger has them now."""
    with work.ledger.session() as session:
        book = session.exec(query(Book)).one()
        orders = session.exec(query(func.count()).select_from(Order)).one()
        fills = session.exec(query(func.count()).select_from(Fill)).one()
        mark = session.exec(query(EquityMark).order_by(col(EquityMark.id).desc())).first()
    clock = _market_clock(book.market_time)
    money = "" if mark is None else f", equity {mark.equity:,.2f} USD"
    return f"{clock} {book.mode}, {orders} orders, {fills} fills{money}"


def _market_clock(moment: datetime | None) -> str:
    return "connecting," if moment is None else f"{moment.astimezone(NEW_YORK):%H:%M} New York,"


def _first_line(child: ChildProcess) -> str:
    """The child's first line of output, waited for without blocking on a child that says nothing."""
    deadline = time.monotonic() + _VENUE_READY_S
    while time.monotonic() < deadline:
        readable, _, _ = select.select([child.output], [], [], 0.1)
        if readable:
            line = child.output.readline()
            if line.strip():
                return line
        if child.exit_code is not None:
            raise ServerError(
                f"{child.name} stopped with exit code {child.exit_code} while starting: {child.last_words()}; "
                f"see {child.log}"
            )
    raise ServerError(
        f"{child.name} was not ready within {_VENUE_READY_S:.0f} s: {child.last_words()}; see {child.log}"
    )
