"""``executor explain`` tells the whole story, checks it as it tells it, and says what is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from chain import NOON, whole_chain
from forgery import disarm
from sqlalchemy import text
from sqlmodel import select
from standing_book import StandingBook
from terminal import Shown, Terminal

from sql.anchors import AnchorFile, anchor_now
from sql.approvals import approve
from sql.ledger import Ledger
from sql.lineage import record_metrics
from sql.signatures import new_key, register, revoke
from sql.tables import ModelVersion, Signal

DOCS = Path(__file__).parents[2] / "docs" / "explain.md"
CHECKS = [
    {
        "name": "single_name",
        "ok": True,
        "limit": "0.120000",
        "before": "0.010000",
        "after": "0.090000",
        "version": 1,
    },
    {
        "name": "gross",
        "ok": True,
        "limit": "1.000000",
        "before": "0.100000",
        "after": "0.190000",
        "version": 1,
    },
]
INPUTS = {"bid": "99.90", "ask": "100.10", "quote_age_ms": 41.5, "quote_time": "2022-12-28T16:59:59+00:00", "equity": "100000",
          "cash": "100000", "position": "0", "mode": "READY"}  # fmt: skip
COST = {"fees": 0.0, "spread": 1.0, "impact": 0.5, "total": 1.5, "bps": 15.0}


class Traded(StandingBook):
    """A book in which one order was bought in two fills, one sold, one refused, and both sides compared."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        super().__init__(ledger)
        self.bought = self.trade("buy", leg=1, fills=[("b:4", "4", "100"), ("b:10", "6", "100.2")])
        self.sold = self.trade("sell", leg=2, fills=[("s:5", "5", "101")])
        refused = [CHECKS[0] | {"ok": False, "after": "0.420000"}, CHECKS[1]]
        order = self.order("BBB", "500", inputs=INPUTS, checks={"limits": refused}, cost_estimate=COST)
        reason = "single_name: 0.4200 would pass the limit of 0.1200"
        self.call("refuse(:e, CAST(:p AS jsonb), :r)", p=json.dumps(order), r=reason)
        self.refused = order["client_order_id"]
        self.call("record_cash(:e, '20221228000000000::f1', 'fees', -0.31, 'TAF')")
        run = {"occasion": "close", "market_time": NOON.isoformat(), "matched": True, "ledger_cash": "1", "broker_cash": "1",
               "compared": {}, "breaks": []}  # fmt: skip
        self.call("record_reconciliation(:e, CAST(:p AS jsonb))", p=json.dumps(run))
        with ledger.session() as session:
            assert anchor_now(session, [AnchorFile(folder / "anchors.jsonl")], "manual") == []

    def trade(self, side: str, *, leg: int, fills: list[tuple[str, str, str]]) -> str:
        qty = str(sum(int(f[1]) for f in fills))
        more = {"inputs": INPUTS, "checks": {"limits": CHECKS}, "cost_estimate": COST, "arrival_price": "100"}
        cid = str(self.place(qty=qty, side=side, leg=leg, **more)["cid"])
        self.state(cid, "SENDING", "sending")
        self.say("rest", "out", [cid], b'{"side": "buy", "qty": "10", "symbol": "AAA", "limit_price": "100"}')
        broker_id = f"b0b0b0b0-{side}"
        self.say("rest", "in", [cid, broker_id], b'{"status": "pending_new"}')
        self.call("set_state(:e, :c, 'LIVE', :b, 'new', '')", c=cid, b=broker_id)
        for key, shares, price in fills:
            self.fill(cid, shares, price, key=key)
        self.say("trade_updates", "in", [cid, broker_id], b"\xff\x1b[2J not [bold]json[/]")
        self.call("set_state(:e, :c, 'DONE', :b, 'filled', '')", c=cid, b=broker_id)
        return cid

    def say(self, channel: str, direction: str, refs: list[str], body: bytes) -> None:
        request = "POST /v2/orders" if channel == "rest" else ""
        self.call("record_raw(:ch, :d, :refs, :b, :r)", ch=channel, d=direction, refs=refs, b=body, r=request)


@pytest.fixture
def book(ledger: Ledger, tmp_path: Path) -> Traded:
    """A book of the test's own, to do something to."""
    return Traded(ledger, tmp_path)


@pytest.fixture(scope="module")
def seen_book(module_ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Traded:
    """One book for every test that only looks."""
    return Traded(module_ledger, tmp_path_factory.mktemp("anchors"))


@pytest.fixture
def viewer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, seen_book: Traded
) -> Terminal:
    """A terminal on that book."""
    return Terminal(monkeypatch, capsys, tmp_path, seen_book.ledger)


def story(terminal: Terminal, *words: str) -> Any:
    shown = terminal.run("explain", *words, "--json")
    assert shown.code == 0, shown.err
    return json.loads(shown.out)


# ---------------------------------------------------------------- the whole of it


def test_an_order_is_told_from_its_prices_to_its_last_posting(seen_book: Traded, viewer: Terminal) -> None:
    told = story(viewer, seen_book.bought)
    assert told["subject"] == {"kind": "order", "id": seen_book.bought}
    assert told["data_set"]["id"] == "ds-1"
    assert told["validation"]["verdict"] == "passed"
    assert told["model"]["id"] == "test-1"
    assert told["approval"]["now"] | {"key_registered_by": None} == {
        "content_hash_now": told["batch"]["content_hash"], "holds": True, "says": "", "signed": False,
        "key_registered_by": None, "key_revoked_at": None,
    }  # fmt: skip
    [order] = told["orders"]
    assert order["decision"]["quote"] == {
        "bid": "99.9", "ask": "100.1", "mid": "100", "spread_bps": "20", "age_ms": 41.5, "time": "2022-12-28T16:59:59+00:00",
    }  # fmt: skip
    assert order["limits"]["checks"] == CHECKS
    assert [s["to"] for s in order["states"]] == ["SENDING", "LIVE", "DONE"]
    assert [(m["channel"], m["direction"]) for m in order["messages"]] == [
        ("rest", "out"), ("rest", "in"), ("trade_updates", "in"),
    ]  # fmt: skip
    assert all(m["sha256_holds"] and m["seq"] for m in order["messages"])
    assert order["messages"][2]["body"] is None
    assert order["messages"][2]["body_base64"]
    assert [f["qty"] for f in order["fills"]] == ["4", "6"]
    assert all(f["balanced"] and len(f["postings"]) == 4 for f in order["fills"])
    assert order["fills"][0]["lots_opened"][0]["remaining"] == "0"
    assert order["reservation"]["released_as"] == "DONE"
    assert order["reconciliation"]["matched"] is True
    assert told["audit"]["whole"]
    assert told["audit"]["tables_agree"]
    assert told["audit"]["anchor"]["seq"] >= told["audit"]["entries"][-1]["seq"]
    kinds = {e["kind"] for e in told["audit"]["entries"]}
    assert kinds >= {"DATA_SET", "VALIDATION", "MODEL", "PROPOSAL", "APPROVAL", "LIMITS", "DECISION", "STATE", "FILL", "RAW",
                     "EPOCH", "RECONCILIATION"}  # fmt: skip


def test_costs_paid_stand_beside_costs_expected(seen_book: Traded, viewer: Terminal) -> None:
    [bought] = story(viewer, seen_book.bought)["orders"]
    paid = bought["costs"]["paid"]
    assert bought["costs"]["expected"] == COST
    # 6 shares a fifth of a dollar above the mid, of which a tenth a share was the quoted half spread of all ten
    assert (paid["slippage_usd"], paid["half_spread_usd"], paid["beyond_spread_usd"]) == ("1.2", "1", "0.2")
    assert paid["day_fees_usd"] == "0.31"
    [sold] = story(viewer, seen_book.sold)["orders"]
    assert sold["costs"]["paid"]["slippage_usd"] == "-5"  # sold a dollar above the mid: better
    [fill] = sold["fills"]
    assert [(c["qty"], c["opened_by"], c["pnl"]) for c in fill["lots_closed"]] == [
        ("4", "fill:b:4", "4"), ("1", "fill:b:10", "0.8"),
    ]  # fmt: skip
    assert fill["realised_usd"] == "4.8"


def test_a_refused_signal_says_which_limit_refused_and_by_how_much(
    seen_book: Traded, viewer: Terminal
) -> None:
    told = story(viewer, str(seen_book.signals["BBB"]))
    assert told["orders"] == []
    [refusal] = told["refusals"]
    assert refusal["refused_by"] == ["single_name"]
    assert (refusal["by"], refusal["side"], refusal["qty"]) == ("gate", "buy", "500")
    assert refusal["checks"][0] | {"version": 1} == CHECKS[0] | {"ok": False, "after": "0.420000"}
    page = viewer.run("explain", seen_book.refused).out
    assert "Door 2: risk gate · shut" in page
    assert "single_name: 0.4200 would pass the limit of 0.1200" in page
    assert "✗  single_name" in page


def test_every_way_of_naming_it_leads_to_the_same_order(seen_book: Traded, viewer: Terminal) -> None:
    fill = story(viewer, "b:10")
    assert [f["asked"] for f in fill["orders"][0]["fills"]] == [False, True]
    for words in ((seen_book.bought[:20],), ("b0b0b0b0-buy",), ("b0b0b0b0-b",)):
        assert story(viewer, *words)["orders"][0]["order"]["client_order_id"] == seen_book.bought
    for words in (
        (str(seen_book.signals["AAA"]),),
        (str(seen_book.signals["AAA"])[:13],),
        ("aaa", "2022-12-28"),
    ):
        assert {o["order"]["client_order_id"] for o in story(viewer, *words)["orders"]} == {
            seen_book.bought,
            seen_book.sold,
        }


def test_the_documented_keys_are_the_keys(seen_book: Traded, viewer: Terminal) -> None:
    told = story(viewer, seen_book.bought)
    documented = {
        name for line in DOCS.read_text().splitlines() if line.startswith("| `")
        for name in re.findall(r"`([a-z_]+)(?:\[\])?`", line.split("|")[1])
    }  # fmt: skip
    assert documented == set(told) - {"explain"}
    parts = {
        n for line in DOCS.read_text().splitlines() if line.startswith("| `orders[].")
        for n in re.findall(r"`(?:orders\[\])?\.([a-z_]+)", line.split("|")[1])
    }  # fmt: skip
    assert parts == set(told["orders"][0])


def test_money_is_never_a_float(seen_book: Traded, viewer: Terminal) -> None:
    [order] = story(viewer, seen_book.bought)["orders"]

    def floats(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            return [p for k, v in value.items() for p in floats(v, f"{path}.{k}")]
        if isinstance(value, list):
            return [p for v in value for p in floats(v, path)]
        return [path] if isinstance(value, float) else []

    estimates = ("costs.expected", "decision.inputs.quote_age_ms", "decision.quote.age_ms")
    assert [p for p in floats(order, "") if not p.lstrip(".").startswith(estimates)] == []


def test_an_execution_the_broker_took_back_is_told_with_what_came_instead(
    book: Traded, terminal: Terminal
) -> None:
    book.call("correct_fill(:e, 'corr-1', 'b:10', 6, 100.1, 'price was wrong')")
    book.call("reverse_fill(:e, 'bust-1', 'b:4', 'erroneous trade')")
    told = story(terminal, "b:4")
    [order] = told["orders"]
    assert [(f["execution_id"], f["price"]) for f in order["fills"]] == [("corr-1", "100.1")]
    corrected, busted = order["reversals"]
    assert (corrected["kind"], corrected["replaced_by"], corrected["replaced_price"]) == (
        "correct",
        "corr-1",
        "100.1",
    )
    assert (busted["kind"], busted["asked"], busted["replaced_by"]) == ("bust", True, None)
    assert {p["asset"] for p in busted["postings"]} == {"USD", "AAA"}
    assert told["audit"]["tables_agree"]
    assert told["audit"]["whole"]
    assert "REVERSAL" in {e["kind"] for e in told["audit"]["entries"]}
    assert "4 at 100 taken back (bust: erroneous trade)" in terminal.run("explain", "b:4").out


# ---------------------------------------------------------------- checked as it is told


def test_a_changed_model_file_and_a_missing_one_are_told_apart(
    book: Traded, terminal: Terminal, tmp_path: Path
) -> None:
    assert story(terminal, book.bought)["model"]["file"]["state"] == "missing"
    path = tmp_path / "model.json"
    path.write_text("other bytes")
    with book.ledger.session() as session:
        disarm(session)
        session.execute(text("UPDATE ledger.model_version SET artifact_path = :p"), {"p": str(path)})
    assert story(terminal, book.bought)["model"]["file"]["state"] == "differs"
    assert "✗ FILE CHANGED" in terminal.run("explain", book.bought).out


@pytest.mark.parametrize(
    ("forgery", "seen"),
    [
        ("UPDATE ledger.audit_log SET body = replace(body, '100', '101') WHERE kind = 'FILL'", "content does not match"),
        ("DELETE FROM ledger.audit_log WHERE kind = 'STATE' AND body LIKE '%LIVE%'", "is missing"),
        ("UPDATE ledger.audit_log SET prev_hash = hash WHERE kind = 'DECISION'", "does not follow"),
    ],
)  # fmt: skip
def test_a_forged_entry_breaks_the_chain_around_it(
    book: Traded, terminal: Terminal, forgery: str, seen: str
) -> None:
    with book.ledger.session() as session:
        disarm(session)
        session.execute(text(forgery))
    audit = story(terminal, book.bought)["audit"]
    assert not audit["whole"]
    assert seen in audit["reason"]
    assert "✗ BROKEN at entry" in terminal.run("explain", book.bought).out


@pytest.mark.parametrize(
    ("forgery", "seen"),
    [
        ("UPDATE ledger.orders SET filled_qty = 9 WHERE side = 'buy'", "filled_qty: chain 10, table 9"),
        (
            "UPDATE ledger.orders SET state = 'REJECTED' WHERE side = 'buy'",
            "state: chain DONE, table REJECTED",
        ),
    ],
)
def test_a_table_that_left_its_chain_is_named(
    book: Traded, terminal: Terminal, forgery: str, seen: str
) -> None:
    with book.ledger.session() as session:
        disarm(session)
        session.execute(text(forgery))
    audit = story(terminal, book.bought)["audit"]
    assert audit["whole"]
    assert not audit["tables_agree"]
    assert seen in audit["differences"][0]


def test_a_message_whose_bytes_were_changed_does_not_hold(book: Traded, terminal: Terminal) -> None:
    with book.ledger.session() as session:
        disarm(session)
        session.execute(text("UPDATE ledger.raw_message SET body = 'x' WHERE channel = 'trade_updates'"))
    messages = story(terminal, book.bought)["orders"][0]["messages"]
    assert [m["sha256_holds"] for m in messages] == [True, True, False]
    assert "HASH DIFFERS" in terminal.run("explain", book.bought).out


def test_a_signature_is_checked_now_not_then(ledger: Ledger, terminal: Terminal, tmp_path: Path) -> None:
    key = new_key(tmp_path / "keys", "ann")
    with ledger.session() as session:
        batch = whole_chain(session)
        register(session, key, by="root")
        approve(session, batch.id, approver="ann", reason="read", now=NOON, key=key)
        signal = str(session.exec(select(Signal).where(Signal.symbol == "AAA")).one().id)
    told = story(terminal, signal)
    assert (told["approval"]["now"]["signed"], told["approval"]["now"]["holds"]) == (True, True)
    assert "✓ Ed25519 by key" in terminal.run("explain", signal).out
    with ledger.session() as session:
        revoke(session, key.key_id, by="root", reason="lost")
    told = story(terminal, signal)
    assert told["approval"]["now"]["holds"] is False
    assert "was revoked" in told["approval"]["now"]["says"]
    page = terminal.run("explain", signal).out
    assert "Door 1: approval · shut" in page


def test_a_weight_changed_after_approval_shuts_the_first_door(book: Traded, terminal: Terminal) -> None:
    with book.ledger.session() as session:
        disarm(session)
        session.execute(text("UPDATE ledger.signal SET target_weight = 0.11 WHERE symbol = 'AAA'"))
    page = terminal.run("explain", book.bought).out
    assert "NOT WHAT WAS APPROVED" in page
    assert "Door 1: approval · shut" in page


# ---------------------------------------------------------------- what is not there


def test_what_is_not_recorded_is_said(book: Traded, terminal: Terminal) -> None:
    missing = story(terminal, book.bought)["missing"]
    assert "no walk-forward recorded for this model" in missing
    assert "no score recorded for this signal" in missing
    with book.ledger.session() as session:
        model = session.exec(select(ModelVersion)).one()
        record_metrics(session, model.id, {"sharpe_net": 0.7}, None)
    assert "no walk-forward recorded for this model" not in story(terminal, book.bought)["missing"]


def test_an_exit_has_no_signal_and_needs_no_approval(book: Traded, terminal: Terminal) -> None:
    cid = book.place(qty="5", side="sell", purpose="flatten", signal_id=None, batch_id=None)["cid"]
    told = story(terminal, cid)
    assert (told["signal"], told["batch"], told["approval"], told["model"]) == (None, None, None, None)
    assert "no batch and no approval: an exit needs none" in told["missing"]
    assert "an exit reduces what is held and needs no approval" in terminal.run("explain", cid).out


def test_a_leg_the_broker_made_is_told_with_its_parent(book: Traded, terminal: Terminal) -> None:
    parent = book.place("BBB", qty="5", order_class="bracket", inputs=INPUTS, checks={"limits": CHECKS})[
        "cid"
    ]
    leg = {
        "client_order_id": "leg-of-the-broker", "parent_client_order_id": parent, "leg": 1, "purpose": "stop", "symbol": "BBB",
        "side": "sell", "qty": "5", "order_type": "stop", "stop_price": "95", "worst_price": "95", "time_in_force": "day",
        "market_time": NOON.isoformat(), "broker_order_id": "b-leg", "broker_status": "held",
    }  # fmt: skip
    assert book.call("record_leg(:e, CAST(:p AS jsonb))", p=json.dumps(leg))
    assert story(terminal, parent)["orders"][0]["kin"]["legs"] == ["leg-of-the-broker"]
    told = story(terminal, "b-leg")
    assert told["orders"][0]["kin"]["parent"] == parent
    assert "no quote recorded with the decision on leg-of-the-broker" in told["missing"]
    page = terminal.run("explain", "b-leg").out
    assert f"leg of {parent}" in page
    assert "sell 5 BBB stop 95" in page


def test_a_signal_nobody_acted_on_says_so(ledger: Ledger, terminal: Terminal) -> None:
    with ledger.session() as session:
        whole_chain(session)
        signal = str(session.exec(select(Signal).where(Signal.symbol == "AAA")).one().id)
    told = story(terminal, signal)
    assert told["approval"]["now"]["holds"] is None
    assert "no decision was taken on this signal (its batch is PROPOSED)" in told["missing"]
    assert "Door 1: approval · undecided" in terminal.run("explain", signal).out


def one_line(shown: Shown, code: int) -> str:
    assert shown.code == code
    assert len(shown.err.splitlines()) == 1
    return shown.err


def test_what_is_unknown_or_not_unique_is_refused_with_the_way_out(book: Traded, terminal: Terminal) -> None:
    assert "begins with 'nonsense'" in one_line(terminal.run("explain", "nonsense"), 2)
    assert "at least 4 characters" in one_line(terminal.run("explain", "sp"), 2)
    assert "has no signal and no order on 2020-01-02" in one_line(
        terminal.run("explain", "AAA", "2020-01-02"), 2
    )
    other = book.place("BBB", qty="1")["cid"]
    book.state(other, "SENDING")
    book.call("set_state(:e, :c, 'LIVE', 'b0b0b0b0-other', 'new', '')", c=other)
    err = one_line(terminal.run("explain", "b0b0b0b0"), 2)
    assert f"{other} (buy 1 BBB test LIVE)" in err
    assert f"{book.bought} (buy 10 AAA test DONE)" in err
    assert "begins with" in one_line(terminal.run("explain", "sp-%"), 2), "a per cent sign is no wildcard"


def test_explaining_writes_nothing(seen_book: Traded, viewer: Terminal) -> None:
    def head() -> Any:
        with seen_book.ledger.session() as session:
            return session.execute(text("SELECT seq, hash FROM ledger.audit_head")).one()

    before = head()
    viewer.run("explain", seen_book.bought)
    assert head() == before


# ---------------------------------------------------------------- the page


@pytest.mark.parametrize("columns", [100, 160])
def test_the_page_fits_and_shows_both_doors_without_colour(
    seen_book: Traded, viewer: Terminal, columns: int
) -> None:
    viewer.set(COLUMNS=str(columns))
    page = viewer.run("explain", seen_book.bought).out
    assert max(len(line) for line in page.splitlines()) <= min(columns, 140)
    for shown in (
        "Door 1: approval · open",
        "Door 2: risk gate · open",
        "What happened",
        "sums to zero",
        "whole around all",
        "Not recorded",
    ):
        assert shown in page
    assert "\x1b" not in page, "neither colour in a pipe nor what a broker sent"
    assert "…" not in page, "nothing is cut off"
