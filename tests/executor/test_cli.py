"""The command line: what an operator sees, and bad input met with one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chain import NOON, whole_chain
from sqlalchemy import text
from terminal import Terminal

from executor.settings import Settings


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


@pytest.fixture
def batch(terminal: Terminal) -> str:
    """A proposed batch; its id."""
    with terminal.ledger.session() as session:
        return str(whole_chain(session).id)


def test_an_empty_ledger_has_a_status_page(terminal: Terminal) -> None:
    shown = terminal.run("status")
    assert shown.code == 0
    assert "READY" in shown.out
    assert "not running" in shown.out


def test_settings_show_origin_and_hide_secrets(terminal: Terminal) -> None:
    terminal.set(APCA_API_KEY_ID="PKHIDDEN", SALLYPORT_LIMITS__GROSS="0.9")
    (terminal.folder / "sallyport.toml").write_text("[limits]\nsector = 0.3\n")
    shown = terminal.run("settings")
    assert "PKHIDDEN" not in shown.out
    rows = {line.split()[0]: line for line in shown.out.splitlines() if line.strip()}
    assert "environment APCA_API_KEY_ID" in rows["broker.key_id"]
    assert "environment SALLYPORT_LIMITS__GROSS" in rows["limits.gross"]
    assert "sallyport.toml" in rows["limits.sector"]
    assert "default" in rows["limits.drawdown"]


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"SALLYPORT_LIMITS__GROS": "1"}, "limits.gros"),
        ({"SALLYPORT_LIMITS__GROSS": "-1"}, "greater than 0"),
        ({"SALLYPORT_ENVIRONMENT": "production"}, "environment"),
    ],
)
def test_a_wrong_setting_is_named_with_where_it_came_from(
    terminal: Terminal, environment: dict[str, str], says: str
) -> None:
    terminal.set(**environment)
    shown = terminal.run("status")
    assert shown.code == 2
    line = one_line(shown.err)
    assert says in line
    assert next(iter(environment)) in line


def test_an_unknown_key_of_the_file_is_refused(terminal: Terminal) -> None:
    (terminal.folder / "sallyport.toml").write_text("[limits]\nmax_loss = 0.05\n")
    shown = terminal.run("status")
    assert shown.code == 2
    assert "limits.max_loss" in one_line(shown.err)


def test_a_file_that_is_no_toml_is_named(terminal: Terminal) -> None:
    (terminal.folder / "sallyport.toml").write_text("limits = [\n")
    shown = terminal.run("status")
    assert shown.code == 2
    assert "sallyport.toml is not valid TOML" in one_line(shown.err)


def test_every_setting_is_read_by_something() -> None:
    """A setting that no code reads is a promise nobody keeps."""
    root = Path(__file__).parents[2]
    files = [p for folder in ("executor", "flows", "reports") for p in (root / folder).rglob("*.py")]
    text_of = "\n".join(p.read_text() for p in files if p.name != "settings.py")
    unread = []
    for name, field in Settings.model_fields.items():
        nested = getattr(field.annotation, "model_fields", None)
        if name == "limits":
            continue  # its own test: every limit is read by the core
        unread += [f"{name}.{inner}" for inner in nested or () if f".{inner}" not in text_of]
        if nested is None and f".{name}" not in text_of:
            unread.append(name)
    assert unread == []


def test_running_without_a_key_says_where_to_get_one(terminal: Terminal) -> None:
    shown = terminal.run("run")
    assert shown.code == 2
    assert "APCA_API_KEY_ID" in one_line(shown.err)


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ("live", "http://127.0.0.1:1"),
        ("live", "https://paper-api.alpaca.markets"),
        ("paper", "https://api.alpaca.markets"),
        ("replay", "https://paper-api.alpaca.markets"),
    ],
)
def test_an_environment_on_the_wrong_address_does_not_start(
    terminal: Terminal, environment: str, address: str
) -> None:
    terminal.set(
        APCA_API_KEY_ID="K",
        APCA_API_SECRET_KEY="S",
        SALLYPORT_ENVIRONMENT=environment,
        SALLYPORT_BROKER__URL=address,
    )
    shown = terminal.run("run")
    assert shown.code == 2
    assert f"environment {environment} does not go with" in one_line(shown.err)


def test_a_faster_clock_is_for_replays_only(terminal: Terminal) -> None:
    terminal.set(
        APCA_API_KEY_ID="K", APCA_API_SECRET_KEY="S", SALLYPORT_ENVIRONMENT="paper", SALLYPORT_CLOCK_RATE="60",
        SALLYPORT_BROKER__URL="http://127.0.0.1:1",
    )  # fmt: skip
    shown = terminal.run("run")
    assert shown.code == 2
    assert "clock_rate 60.0 is for replays" in one_line(shown.err)


def test_an_unreachable_broker_is_named_with_the_way_out(terminal: Terminal) -> None:
    terminal.set(APCA_API_KEY_ID="K", APCA_API_SECRET_KEY="S", SALLYPORT_BROKER__URL="http://127.0.0.1:1")
    shown = terminal.run("run")
    assert shown.code == 4
    line = one_line(shown.err)
    assert "no broker at http://127.0.0.1:1" in line
    assert "executor venue" in line


def test_a_batch_is_listed_shown_and_approved(terminal: Terminal, batch: str) -> None:
    assert batch[:8] in terminal.run("signals", "list").out
    shown = terminal.run("signals", "show", batch[:8])
    assert "AAA" in shown.out
    assert "10.00%" in shown.out
    approved = terminal.run("signals", "approve", batch[:8], "--policy", "paper")
    assert approved.code == 0, approved.err
    assert "approved" in approved.out
    again = terminal.run("signals", "approve", batch[:8], "--policy", "paper")
    assert again.code == 3
    assert "is APPROVED" in one_line(again.err)


def test_an_approval_without_a_reason_is_refused(terminal: Terminal, batch: str) -> None:
    shown = terminal.run("signals", "approve", batch[:8])
    assert shown.code == 3
    assert "needs a reason" in one_line(shown.err)


def test_an_expired_batch_is_refused(terminal: Terminal, batch: str) -> None:
    with terminal.ledger.session() as session:
        session.execute(text("UPDATE ledger.book SET market_time = '2022-12-28 21:30+00'"))
    shown = terminal.run("signals", "approve", batch[:8], "--reason", "late")
    assert shown.code == 3
    assert "expired at 2022-12-28 21:00 UTC; propose a new one" in one_line(shown.err)


def test_an_unknown_batch_is_named(terminal: Terminal, batch: str) -> None:
    shown = terminal.run("signals", "show", "zzzz")
    assert shown.code == 2
    assert "'zzzz'" in one_line(shown.err)


WEIGHTS = [
    ("symbol,weight\nAAA,0.1\nBBB,0.05\n", 0, "2 weights, 15.0% gross"),
    ("symbol,weight\nZZZ,0.1\n", 2, "unknown symbol ZZZ"),
    ("symbol,weight\nAAA,0.7\nBBB,0.7\n", 2, "over the limit of 1"),
    ("symbol,weight\nAAA,0.1\nAAA,0.1\n", 2, "line 3: AAA stands twice"),
    ("symbol,weight\nAAA,ten\n", 2, "line 2: AAA has weight 'ten'"),
    ("symbol,weight\nAAA,NaN\n", 2, "has weight 'NaN'"),
    ("symbol,weight\nAAA,1000\n", 2, "has weight '1000'"),
    ("name,w\nAAA,0.1\n", 2, "has the columns name, w; expected symbol,weight"),
    ("symbol,weight\n", 2, "holds no weights"),
    ("", 2, "expected symbol,weight"),
]


@pytest.mark.parametrize(("content", "code", "says"), WEIGHTS)
def test_weights_from_elsewhere_are_proposed_or_refused_whole(
    terminal: Terminal, batch: str, content: str, code: int, says: str
) -> None:
    file = terminal.folder / "weights.csv"
    file.write_text(content)
    shown = terminal.run("signals", "submit", str(file), "--session", "2022-12-28")
    assert shown.code == code
    assert says in (shown.out if code == 0 else one_line(shown.err))
    with terminal.ledger.session() as session:
        count = session.execute(text("SELECT count(*) FROM ledger.signal_batch")).scalar_one()
    assert count == (2 if code == 0 else 1), "all or none"


def test_weights_may_be_json(terminal: Terminal, batch: str) -> None:
    file = terminal.folder / "weights.json"
    file.write_text(json.dumps({"AAA": 0.02}))
    assert terminal.run("signals", "submit", str(file), "--session", "2022-12-28").code == 0


@pytest.mark.parametrize(("name", "says"), [("nothing.csv", "no file"), ("list.json", "holds a list")])
def test_a_file_that_is_no_weights_is_named(terminal: Terminal, batch: str, name: str, says: str) -> None:
    (terminal.folder / "list.json").write_text("[1]")
    shown = terminal.run("signals", "submit", name, "--session", "2022-12-28")
    assert shown.code == 2
    assert says in one_line(shown.err)


def test_a_day_without_a_session_is_refused(terminal: Terminal, batch: str) -> None:
    (terminal.folder / "w.csv").write_text("symbol,weight\nAAA,0.1\n")
    shown = terminal.run("signals", "submit", "w.csv", "--session", "2022-12-25")
    assert shown.code == 2
    assert "2022-12-25 is no session" in one_line(shown.err)


def test_a_kill_is_latched_until_a_person_rearms(terminal: Terminal) -> None:
    terminal.run("ledger", "init")
    assert terminal.run("kill").code == 2
    shown = terminal.run("kill", "--reason", "test")
    assert shown.code == 0
    assert (terminal.folder / "state/KILL").exists()
    assert "KILLED" in terminal.run("status").out
    assert terminal.run("rearm").code == 2
    assert terminal.run("rearm", "--reason", "all clear").code == 0
    assert not (terminal.folder / "state/KILL").exists()
    again = terminal.run("rearm", "--reason", "once more")
    assert again.code == 3
    assert "nothing to re-arm" in one_line(again.err)


def test_a_kill_raises_an_alert(terminal: Terminal) -> None:
    terminal.run("kill", "--reason", "smoke")
    with terminal.ledger.session() as session:
        row = session.execute(text("SELECT severity, kind, body FROM ledger.alert")).one()
    assert tuple(row) == ("critical", "kill", "smoke")


def test_the_chain_is_verified_and_a_broken_one_is_not_passed_over(terminal: Terminal, batch: str) -> None:
    assert "audit chain holds" in terminal.run("audit", "verify").out
    with terminal.ledger.session() as session:
        session.execute(text("ALTER TABLE ledger.audit_log DISABLE TRIGGER append_only"))
        session.execute(text("UPDATE ledger.audit_log SET body = '{}' WHERE seq = 2"))
    shown = terminal.run("audit", "verify")
    assert shown.code == 5
    assert "broken at entry 2" in one_line(shown.err)


def test_the_ledger_status_counts_its_rows(terminal: Terminal, batch: str) -> None:
    shown = terminal.run("ledger", "status")
    assert shown.code == 0
    row = next(line for line in shown.out.splitlines() if " signal_batch " in line)
    assert " 1 " in row


def test_replayed_time_is_only_believed_by_a_replay(terminal: Terminal, batch: str) -> None:
    with terminal.ledger.session() as session:
        session.execute(text("UPDATE ledger.book SET environment = 'live'"))
        believed = session.execute(text("SELECT ledger.market_now(:t)"), {"t": NOON}).scalar_one()
    assert believed.year != NOON.year


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("venue", "--cash", "ten"), "--cash 'ten' is no amount"),
        (("venue", "--data", "nowhere.parquet"), "no price file at nowhere.parquet"),
        (("venue", "--rule", "nonsense=1"), "nonsense"),
        (("venue", "journal", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
    ],
)
def test_a_venue_that_cannot_start_says_why(terminal: Terminal, words: tuple[str, ...], says: str) -> None:
    shown = terminal.run(*words)
    assert shown.code == 2
    assert says in one_line(shown.err)


def test_a_port_in_use_is_named_with_the_way_out(terminal: Terminal) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        shown = terminal.run("venue", "--port", port)
    assert shown.code == 4
    assert f"127.0.0.1:{port} is already in use" in one_line(shown.err)


def test_a_kill_file_without_a_kill_is_removed_by_a_rearm(terminal: Terminal) -> None:
    terminal.run("ledger", "init")
    kill_file = terminal.folder / "state/KILL"
    kill_file.parent.mkdir(parents=True, exist_ok=True)
    kill_file.write_text("by hand\n")
    shown = terminal.run("rearm", "--reason", "looked at it")
    assert shown.code == 0
    assert not kill_file.exists()


def test_a_kill_without_a_ledger_still_stops_and_says_what_it_could_not_do(terminal: Terminal) -> None:
    terminal.set(DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/x")
    shown = terminal.run("kill", "--reason", "smoke")
    assert shown.code == 4
    assert (terminal.folder / "state/KILL").read_text() == "smoke\n"
    assert "repeat the kill when it is back" in shown.err
    assert "hunter2" not in shown.out + shown.err
