"""The behaviours of section 4, each switched on and seen through the wire."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import websockets
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import MarketOrderRequest
from venue_clients import Listener, Wire, wait_until

from market.venue.errors import FaultPlanError
from market.venue.faults import KINDS, load_plan
from market.venue.rehearsal import RehearsalVenue
from market.venue.timestamps import parse_moment


class Control:
    """The control address, as a user would call it."""

    def __init__(self, venue: RehearsalVenue) -> None:
        self.url = venue.address["control_url"]
        self.headers = {"Authorization": f"Bearer {venue.address['control_token']}"}

    def __call__(self, method: str, path: str, /, **fields: Any) -> requests.Response:
        return requests.request(
            method, self.url + path, json=fields or None, headers=self.headers, timeout=10
        )

    def fault(self, kind: str, /, **fields: Any) -> dict[str, Any]:
        answer = self("POST", "/faults", kind=kind, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def control(venue: RehearsalVenue) -> Control:
    return Control(venue)


POST = {"method": "POST", "path": "/v2/orders"}


def test_a_504_after_acceptance_makes_alpaca_py_resend_and_hear_of_the_duplicate(
    control: Control, trading: TradingClient, wire: Wire
) -> None:
    """F1: the SDK's second attempt meets its own first."""
    control.fault("accept_then_error", status=504, at=1, **POST)
    trading._retry_wait = 0
    with pytest.raises(APIError) as refused:
        trading.submit_order(
            MarketOrderRequest(symbol="AAPL", qty=1, side="buy", time_in_force="day", client_order_id="mine")
        )
    assert (refused.value.status_code, refused.value.message) == (422, "client_order_id must be unique")
    assert wire.get("/v2/orders:by_client_order_id", client_order_id="mine")["status"] == "filled"
    assert len(wire.get("/v2/orders", status="all")) == 1


def test_without_a_client_id_the_resend_doubles_the_order(
    control: Control, trading: TradingClient, wire: Wire
) -> None:
    control.fault("accept_then_error", status=504, at=1, **POST)
    trading._retry_wait = 0
    trading.submit_order(MarketOrderRequest(symbol="AAPL", qty=1, side="buy", time_in_force="day"))
    assert len(wire.get("/v2/orders", status="all")) == 2


@pytest.mark.parametrize(
    ("status", "style"), [(500, "json"), (502, "html"), (503, "empty"), (504, "html"), (429, "json")]
)
def test_an_error_before_acceptance_leaves_no_order(
    control: Control, wire: Wire, status: int, style: str
) -> None:
    """F2, F25."""
    control.fault("error", status=status, body=style, at=1, **POST)
    answer = wire.order()
    assert answer.status_code == status
    if style == "html":
        assert answer.text.startswith("<html>")
    elif style == "empty":
        assert answer.text == ""
    else:
        assert "message" in answer.json()
    assert wire.get("/v2/orders", status="all") == []


@pytest.mark.parametrize(("kind", "orders"), [("reset", 0), ("accept_then_reset", 1)])
def test_a_cut_connection_tells_nothing_about_the_order(
    control: Control, wire: Wire, kind: str, orders: int
) -> None:
    control.fault(kind, at=1, **POST)
    with pytest.raises(requests.ConnectionError):
        wire.order()
    assert len(wire.get("/v2/orders", status="all")) == orders


@pytest.mark.parametrize(("kind", "orders"), [("hang", 0), ("accept_then_hang", 1)])
def test_a_hanging_request_is_up_to_the_clients_patience(
    control: Control, wire: Wire, kind: str, orders: int
) -> None:
    control.fault(kind, at=1, **POST)
    with pytest.raises(requests.ReadTimeout):
        requests.post(
            wire.base + "/v2/orders", headers=wire.headers, timeout=0.3,
            json={"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"},
        )  # fmt: skip
    assert len(wire.get("/v2/orders", status="all")) == orders


def test_faults_fire_at_exact_request_numbers(control: Control, wire: Wire) -> None:
    control.fault("error", status=503, at=[2, 4], **POST)
    assert [wire.order().status_code for _ in range(5)] == [200, 503, 200, 503, 200]
    armed = control("GET", "/faults").json()["armed"]
    assert [(fault["occasions"], fault["fired"]) for fault in armed] == [(5, 2)]


def test_a_probability_is_the_same_in_every_run(start_venue: Callable[..., RehearsalVenue]) -> None:
    outcomes = []
    for _ in range(2):
        venue = start_venue()
        Control(venue).fault("error", status=503, probability=0.5, **POST)
        wire = Wire(venue)
        outcomes.append([wire.order().status_code for _ in range(12)])
    assert outcomes[0] == outcomes[1]
    assert set(outcomes[0]) == {200, 503}


def test_the_fill_may_arrive_before_the_answer(control: Control, wire: Wire, listener: Listener) -> None:
    """F3."""
    control.fault("early_update", seconds=0.2, at=1, **POST)
    seen_at_answer: list[list[str]] = []
    wire.session.hooks["response"].append(lambda *a, **k: seen_at_answer.append(listener.events()))
    wire.order()
    assert seen_at_answer[0] == ["pending_new", "new", "fill"]


def test_updates_can_be_lost_doubled_late_and_in_disorder(
    control: Control, wire: Wire, listener: Listener
) -> None:
    """F4, F5."""
    control.fault("drop_update", event="fill", symbol="AAPL")
    control.fault("duplicate_update", event="fill", symbol="MSFT")
    control.fault("reorder_update", event="new", symbol="KO")
    control.fault("delay_update", event="fill", symbol="GE", seconds=0.3)
    ids = {symbol: wire.order(symbol=symbol).json()["id"] for symbol in ("AAPL", "MSFT", "KO", "GE")}
    wait_until(lambda: "fill" in listener.events(ids["GE"]), "the late fill")
    assert listener.events(ids["AAPL"]) == ["pending_new", "new"]
    assert wire.get(f"/v2/orders/{ids['AAPL']}")["status"] == "filled"
    assert listener.events(ids["MSFT"]) == ["pending_new", "new", "fill", "fill"]
    assert listener.events(ids["KO"]) == ["pending_new", "fill", "new"]
    doubled = [u for u in listener.updates if str(u.order.id) == ids["MSFT"] and u.event == "fill"]
    assert doubled[0].execution_id == doubled[1].execution_id


def test_updates_can_be_withheld_until_the_cancel(
    control: Control, venue: RehearsalVenue, wire: Wire, listener: Listener
) -> None:
    shown = wire.get("/v2/stocks/RRC/quotes/latest")["quote"]["as"]
    control.fault("withhold_update", event="partial_fill")
    order = wire.order(symbol="RRC", qty=str(shown + 5000)).json()["id"]
    venue.advance(10)
    wait_until(lambda: "new" in listener.events(order), "the acknowledgement")
    assert "partial_fill" not in listener.events(order)
    wire("DELETE", f"/v2/orders/{order}")
    wait_until(lambda: "canceled" in listener.events(order), "the cancel")
    events = listener.events(order)
    assert events.index("partial_fill") < events.index("canceled")


def test_execution_ids_may_be_null_quantities_cumulative_and_statuses_unknown(
    control: Control, venue: RehearsalVenue
) -> None:
    """F4, F6; raw, because alpaca-py drops what it does not know."""
    control.fault("null_execution_id", event="pending_new")
    control.fault("unknown_status", event="new")
    control.fault("cumulative_qty", event="fill")
    wire = Wire(venue)

    async def listen() -> list[dict[str, Any]]:
        async with websockets.connect(venue.address["trading_stream_url"], proxy=None) as socket:
            pair = venue.address
            await socket.send(
                json.dumps(
                    {
                        "action": "authenticate",
                        "data": {"key_id": pair["key_id"], "secret_key": pair["secret_key"]},
                    }
                )
            )
            await socket.recv()
            await socket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
            await socket.recv()
            await asyncio.to_thread(wire.order)
            return [json.loads(await asyncio.wait_for(socket.recv(), 5))["data"] for _ in range(3)]  # fmt: skip

    pending, new, fill = asyncio.run(listen())
    assert pending["execution_id"] is None
    assert new["order"]["status"] == "under_review"
    assert fill["qty"] == fill["order"]["filled_qty"]


def test_several_executions_in_one_millisecond(control: Control, wire: Wire) -> None:
    """F7."""
    control.fault("split_fill", parts=4)
    order = wire.order(qty="8").json()["id"]
    rows = wire.get("/v2/account/activities/FILL")
    assert [row["qty"] for row in rows] == ["2"] * 4
    assert len({row["transaction_time"] for row in rows}) == 1
    assert len({row["id"] for row in rows}) == 4
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert wire.get(f"/v2/orders/{order}")["filled_qty"] == "8"


def test_a_fill_activity_may_be_late(control: Control, venue: RehearsalVenue, wire: Wire) -> None:
    """F8."""
    control.fault("late_activity", seconds=60.0)
    wire.order()
    assert wire.get("/v2/account/activities/FILL") == []
    venue.advance(61)
    assert len(wire.get("/v2/account/activities/FILL")) == 1


def test_an_acknowledged_order_may_still_be_rejected(
    control: Control, venue: RehearsalVenue, wire: Wire, listener: Listener
) -> None:
    """F9."""
    control.fault("reject_after_new", seconds=5.0, symbol="AAPL")
    order = wire.order().json()["id"]
    wait_until(lambda: "new" in listener.events(order), "the acknowledgement")
    venue.advance(6)
    wait_until(lambda: "rejected" in listener.events(order), "the rejection")
    shown = wire.get(f"/v2/orders/{order}")
    assert (shown["status"], shown["filled_qty"]) == ("rejected", "0")
    assert shown["failed_at"] is not None
    assert wire.get("/v2/account")["buying_power"] == "200000"


@pytest.mark.parametrize(
    ("kind", "status", "last"),
    [
        ("fill_wins_cancel", "filled", "fill"),
        ("canceled_and_filled", "filled", "canceled"),
        ("cancel_rejected", "new", "order_cancel_rejected"),
    ],
)
def test_cancels_lose_races(
    control: Control, wire: Wire, listener: Listener, kind: str, status: str, last: str
) -> None:
    """F10."""
    control.fault(kind)
    order = wire.order(type="limit", limit_price="90", qty="3").json()["id"]
    assert wire("DELETE", f"/v2/orders/{order}").status_code == 204
    wait_until(lambda: last in listener.events(order), last)
    shown = wire.get(f"/v2/orders/{order}")
    assert (shown["status"], shown["filled_qty"]) == (status, "3" if status == "filled" else "0")


def test_a_cancel_may_be_stuck_for_minutes(control: Control, venue: RehearsalVenue, wire: Wire) -> None:
    """F11."""
    control.fault("stuck_cancel", seconds=120.0)
    order = wire.order(type="limit", limit_price="90").json()["id"]
    wire("DELETE", f"/v2/orders/{order}")
    venue.advance(110)
    assert wire.get(f"/v2/orders/{order}")["status"] == "pending_cancel"
    assert wire("DELETE", f"/v2/orders/{order}").json()["message"] == "order pending cancel"
    assert Decimal(wire.get("/v2/account")["buying_power"]) < 200_000
    venue.advance(11)
    assert wire.get(f"/v2/orders/{order}")["status"] == "canceled"


def test_a_refused_replacement_may_have_happened_and_an_accepted_one_not(
    control: Control, wire: Wire
) -> None:
    """F12."""
    control.fault("not_sent_but_replaced", at=1)
    control.fault("replace_rejected", at=2)
    old = wire.order(type="limit", limit_price="90").json()["id"]
    answer = wire("PATCH", f"/v2/orders/{old}", {"limit_price": "91"})
    assert (answer.status_code, answer.json()["message"]) == (
        422, "unable to replace order, order isn't sent to exchange yet",
    )  # fmt: skip
    shown = wire.get(f"/v2/orders/{old}")
    assert shown["status"] == "replaced"
    second = wire("PATCH", f"/v2/orders/{shown['replaced_by']}", {"limit_price": "92"})
    assert second.status_code == 200
    assert wire.get(f"/v2/orders/{second.json()['id']}")["status"] == "rejected"
    assert wire.get(f"/v2/orders/{shown['replaced_by']}")["status"] == "new"


@pytest.mark.parametrize(
    ("kind", "fields"), [("close", {"code": 1011}), ("close", {"code": 1000}), ("abort", {})]
)
def test_a_dead_trading_socket_loses_what_happened_meanwhile(
    control: Control, venue: RehearsalVenue, wire: Wire, listener: Listener, kind: str, fields: dict[str, Any]
) -> None:
    """F13, F14: alpaca-py reconnects by itself; nothing is replayed."""
    listener.stream._reconnect_min_backoff = 0.01
    control.fault(kind, socket="trading", **fields)
    wait_until(lambda: not any(t.streams for t in list(venue.server.trading_clients)), "the disconnect")
    lost = wire.order().json()["id"]
    wait_until(lambda: any(t.streams for t in list(venue.server.trading_clients)), "the reconnect")
    seen = wire.order(symbol="KO").json()["id"]
    wait_until(lambda: "fill" in listener.events(seen), "the next fill")
    assert listener.events(lost) in ([], ["pending_new"], ["pending_new", "new"])[:1]
    assert wire.get(f"/v2/orders/{lost}")["status"] == "filled"


def test_a_mute_socket_stays_open_and_says_nothing(
    control: Control, venue: RehearsalVenue, wire: Wire, listener: Listener
) -> None:
    control.fault("mute", socket="trading", seconds=30.0)
    silent = wire.order().json()["id"]
    assert wire.get(f"/v2/orders/{silent}")["status"] == "filled"
    venue.advance(31)
    seen = wire.order(symbol="KO").json()["id"]
    wait_until(lambda: "fill" in listener.events(seen), "speech again")
    assert listener.events(silent) == []


def test_a_half_open_socket_answers_no_ping(control: Control, venue: RehearsalVenue) -> None:
    async def probe() -> None:
        async with websockets.connect(
            venue.address["trading_stream_url"], proxy=None, ping_interval=None
        ) as socket:
            await asyncio.wait_for(await socket.ping(), 5)
            await asyncio.to_thread(control.fault, "half_open", socket="trading")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(await socket.ping(), 0.3)
            socket.transport.abort()

    asyncio.run(probe())


def test_a_handshake_may_be_refused_with_429(control: Control, venue: RehearsalVenue) -> None:
    """F15."""
    control.fault("refuse_handshake", status=429, socket="data", at=1)

    async def probe() -> None:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(venue.address["data_stream_url"], proxy=None)
        assert refused.value.response.status_code == 429
        async with websockets.connect(venue.address["data_stream_url"], proxy=None) as socket:
            assert json.loads(await socket.recv()) == [{"T": "success", "msg": "connected"}]

    asyncio.run(probe())


async def _login(venue: RehearsalVenue, stack: list[Any]) -> list[dict[str, Any]]:
    socket = await websockets.connect(venue.address["data_stream_url"], proxy=None)
    stack.append(socket)
    await socket.recv()
    pair = venue.address
    await socket.send(json.dumps({"action": "auth", "key": pair["key_id"], "secret": pair["secret_key"]}))
    return json.loads(await socket.recv())


def test_the_connection_limit_counts_ghosts(control: Control, venue: RehearsalVenue) -> None:
    """F16: 406, and a session that died still counts for a while."""
    control.fault("connection_limit", sessions=1, socket="data")
    control.fault("ghost_session", seconds=600.0, socket="data")

    async def probe() -> list[Any]:
        stack: list[Any] = []
        answers = [await _login(venue, stack), await _login(venue, stack)]
        for socket in stack:
            await socket.close()
        await asyncio.to_thread(wait_until, lambda: not venue.server.data_clients, "both closed")
        answers.append(await _login(venue, stack))
        await stack[-1].close()
        return answers

    limit = [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]
    assert asyncio.run(probe()) == [[{"T": "success", "msg": "authenticated"}], limit, limit]


def test_insufficient_subscription_and_slow_client(control: Control, venue: RehearsalVenue) -> None:
    """F17."""
    control.fault("insufficient_subscription", at=1)

    async def probe() -> tuple[Any, Any, int]:
        stack: list[Any] = []
        first = await _login(venue, stack)
        await _login(venue, stack)
        await asyncio.to_thread(control.fault, "slow_client")
        slow = json.loads(await stack[1].recv())
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await stack[1].recv()
        return first, slow, closed.value.rcvd.code

    first, slow, code = asyncio.run(probe())
    assert first == [{"T": "error", "code": 409, "msg": "insufficient subscription"}]
    assert slow == [{"T": "error", "code": 407, "msg": "slow client"}]
    assert code == 1008


def test_a_foreign_order_trades_in_our_account(control: Control, wire: Wire, listener: Listener) -> None:
    control.fault("foreign_order", symbol="MSFT", qty="3")
    wait_until(lambda: "fill" in listener.events(), "a fill nobody here asked for")
    assert wire.get("/v2/positions/MSFT")["qty"] == "3"


def test_a_bust_takes_shares_and_cash_back(control: Control, wire: Wire, listener: Listener) -> None:
    wire.order(qty="10")
    wait_until(lambda: "fill" in listener.events(), "the fill")
    control.fault("bust_execution", symbol="AAPL")
    assert wire("GET", "/v2/positions/AAPL").status_code == 404
    assert wire.get("/v2/account")["cash"] == "100000"
    wait_until(lambda: "trade_bust" in listener.events(), "the notice")
    fill, bust = (next(u for u in listener.updates if u.event == e) for e in ("fill", "trade_bust"))
    assert bust.execution_id == fill.execution_id
    rows = {
        row["activity_type"]: row for row in wire.get("/v2/account/activities", category="non_trade_activity")
    }
    assert (rows["JNLS"]["qty"], Decimal(rows["JNLC"]["net_amount"])) == (
        "-10",
        Decimal(str(fill.price)) * 10,
    )


def test_a_correction_changes_cash_and_cost(control: Control, wire: Wire, listener: Listener) -> None:
    wire.order(qty="10")
    wait_until(lambda: "fill" in listener.events(), "the fill")
    control.fault("correct_execution", symbol="AAPL", price="120")
    assert wire.get("/v2/account")["cash"] == str(100_000 - 1200)
    assert wire.get("/v2/positions/AAPL")["avg_entry_price"] == "120"


def test_positions_may_be_reported_wrong(control: Control, wire: Wire) -> None:
    wire.order(qty="4")
    wire.order(symbol="KO", qty="6")
    control.fault("wrong_positions", symbol="AAPL", factor="0")
    assert [row["symbol"] for row in wire.get("/v2/positions")] == ["KO"]
    assert wire("GET", "/v2/positions/AAPL").status_code == 404
    control.fault("wrong_positions", symbol="", factor="2")
    assert [row["qty"] for row in wire.get("/v2/positions")] == ["8", "12"]


def test_an_order_may_be_looked_up_too_early(control: Control, venue: RehearsalVenue, wire: Wire) -> None:
    control.fault("late_lookup", seconds=30.0)
    wire.order(client_order_id="young")
    early = wire("GET", "/v2/orders:by_client_order_id", params={"client_order_id": "young"})
    assert (early.status_code, early.json()["code"]) == (404, 40410000)
    venue.advance(31)
    assert wire.get("/v2/orders:by_client_order_id", client_order_id="young")["status"] == "filled"


def test_half_a_body_and_a_dripping_one(control: Control, wire: Wire) -> None:
    control.fault("truncate", path="/v2/account", at=1)
    control.fault("drip", path="/v2/clock", seconds_per_byte=0.001, at=1)
    answer = wire("GET", "/v2/account")
    assert answer.status_code == 200
    with pytest.raises(ValueError):
        answer.json()
    assert wire.get("/v2/clock")["is_open"] is True


def test_clocks_may_run_ahead_and_offsets_mix(control: Control, venue: RehearsalVenue, wire: Wire) -> None:
    """F30."""
    truth = venue.server.exchange.now
    control.fault("mixed_offsets")
    order = wire.order().json()
    assert order["created_at"].endswith("-05:00")
    assert order["submitted_at"].endswith("Z")
    assert parse_moment(order["submitted_at"]) < parse_moment(order["created_at"])
    control.fault("clock_ahead", seconds=300.0)
    assert parse_moment(wire.get("/v2/clock")["timestamp"]) == truth + 300 * 10**9


def test_keys_can_be_revoked_and_trading_blocked(control: Control, wire: Wire) -> None:
    control.fault("block_trading")
    assert wire.order().status_code == 403
    assert wire.get("/v2/account")["trading_blocked"] is True
    control.fault("revoke_key")
    assert wire("GET", "/v2/account").status_code == 401
    control.fault("revoke_key", on=False)
    assert wire("GET", "/v2/account").status_code == 200


def test_the_client_can_be_killed_at_an_exact_request(
    control: Control, venue: RehearsalVenue, wire: Wire
) -> None:
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        control.fault("accept_then_kill", pid=victim.pid, signal=int(signal.SIGKILL), at=2, **POST)
        wire.order()
        assert victim.poll() is None
        wire.order()
        assert victim.wait(10) == -signal.SIGKILL
    finally:
        victim.kill()
        victim.wait()
    assert os.getpid() > 0
    assert len(wire.get("/v2/orders", status="all")) == 2


# --- the plan --------------------------------------------------------------------------------------------------


def test_a_plan_file_arms_faults_and_acts_at_its_times(
    start_venue: Callable[..., RehearsalVenue], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        """
        [[fault]]
        kind = "error"
        status = 503
        method = "POST"
        at = 2

        [[fault]]
        kind = "halt"
        symbol = "AAPL"
        seconds = 60.0
        time = "10:01"
        """
    )
    venue = start_venue(faults=plan)
    wire = Wire(venue)
    assert [wire.order(symbol="KO").status_code for _ in range(2)] == [200, 503]
    venue.advance(61)
    assert venue.server.exchange.halted == {"AAPL"}
    venue.advance(60)
    assert venue.server.exchange.halted == set()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[fault]]\nkind = 'meteor'", "no such fault kind: meteor"),
        ("[[fault]]\nkind = 'error'\nstatsu = 500", "no key statsu"),
        ("[[fault]]\nkind = 'error'\nstatus = 'many'", "`status`"),
        ("[[fault]]\nkind = 'error'\nat = 0", "from 1"),
        ("[[fault]]\nkind = 'error'\nprobability = 2", "between 0 and 1"),
        ("[[fault]]\nkind = 'halt'", "needs `symbol`"),
        ("[[fault]]\nkind = 'error'\ntime = '10:00'", "remove `time`"),
        ("[other]\nx = 1", "[[fault]] tables only"),
        ("[[fault", "not TOML"),
    ],
)
def test_a_mistyped_plan_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(text)
    with pytest.raises(FaultPlanError) as refused:
        load_plan(plan, 7)
    assert says in str(refused.value)


def test_the_control_address_wants_its_token_and_names_what_it_refuses(control: Control, wire: Wire) -> None:
    assert requests.get(control.url + "/clock", timeout=5).status_code == 401
    assert requests.get(control.url + "/clock", headers=wire.headers, timeout=5).status_code == 401
    assert control("GET", "/nowhere").status_code == 404
    assert "no such symbol" in control("POST", "/faults", kind="halt", symbol="NOPE").json()["message"]
    assert control("GET", "/faults").json()["armed"] == []
    control.fault("error", status=503)
    assert wire("GET", "/v2/account").status_code == 503
    assert control("DELETE", "/faults").json() == {"disarmed": 1}
    assert wire("GET", "/v2/account").status_code == 200
    assert control("GET", "/state").json()["accounts"][0]["cash"] == "100000"


def test_every_kind_of_fault_is_described_at_the_control_address(control: Control) -> None:
    kinds = control("GET", "/faults").json()["kinds"]
    assert set(kinds) == set(KINDS)
    assert all(kind["meaning"] for kind in kinds.values())
    assert msgspec.json.encode(kinds)


def test_a_cancel_of_what_is_over_may_be_answered_as_if_it_were_not(
    control: Control, venue: RehearsalVenue, wire: Wire
) -> None:
    control.fault("late_cancel_accepted", times=1)
    filled = wire.order().json()["id"]
    venue.advance(1)
    answers = [wire("DELETE", f"/v2/orders/{filled}").status_code for _ in range(2)]
    assert answers == [204, 422]
    assert wire.get(f"/v2/orders/{filled}")["status"] == "filled"


def test_while_the_market_is_shut_orders_wait_and_a_cancel_may_be_repeated(
    start_venue: Callable[..., RehearsalVenue],
) -> None:
    wire = Wire(start_venue(start="17:00"))
    orders = [wire.order().json() for _ in range(3)]
    assert [order["status"] for order in orders] == ["accepted"] * 3
    assert len({order["client_order_id"] for order in orders}) == 3
    for _ in range(3):
        assert wire("DELETE", f"/v2/orders/{orders[0]['id']}").status_code == 204
    assert wire.get(f"/v2/orders/{orders[0]['id']}")["status"] == "canceled"


def test_a_clock_ahead_is_ahead_in_market_data_and_updates_too(
    control: Control, venue: RehearsalVenue, wire: Wire, listener: Listener
) -> None:
    now = wire.get("/v2/stocks/AAPL/quotes/latest")["quote"]["t"]
    bars = wire.get("/v2/stocks/AAPL/bars/latest")["bar"]["t"]
    control.fault("clock_ahead", seconds=300.0)
    ahead = wire.get("/v2/stocks/AAPL/quotes/latest")["quote"]["t"]
    assert parse_moment(ahead) - parse_moment(now) == 300 * 10**9
    assert wire.get("/v2/stocks/AAPL/bars/latest")["bar"]["t"] == bars
    vendor = wire.get("/v2/last/nbbo/AAPL", apiKey=venue.address["polygon_key"])["results"]
    assert vendor["t"] == parse_moment(ahead)
    wire.order()
    wait_until(lambda: "fill" in listener.events(), "the fill")
    assert int(listener.updates[-1].timestamp.timestamp()) == parse_moment("2022-12-28T15:05:00Z") // 10**9


# Section 4, row by row: the behaviour's number, the kinds of fault that bring it about, and where it is tested.
# Rows without a kind are how the venue always is, or a rule.
CATALOGUE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "F1": (("accept_then_error", "accept_then_hang", "accept_then_reset"),
           ("test_a_504_after_acceptance_makes_alpaca_py_resend_and_hear_of_the_duplicate",
            "test_without_a_client_id_the_resend_doubles_the_order",
            "test_a_cut_connection_tells_nothing_about_the_order",
            "test_a_hanging_request_is_up_to_the_clients_patience")),
    "F2": (("error",), ("test_an_error_before_acceptance_leaves_no_order",)),
    "F3": (("early_update", "accept_then_delay"), ("test_the_fill_may_arrive_before_the_answer",)),
    "F4": (("duplicate_update", "delay_update", "reorder_update", "null_execution_id"),
           ("test_updates_can_be_lost_doubled_late_and_in_disorder",
            "test_execution_ids_may_be_null_quantities_cumulative_and_statuses_unknown")),
    "F5": (("drop_update", "withhold_update"),
           ("test_updates_can_be_lost_doubled_late_and_in_disorder", "test_updates_can_be_withheld_until_the_cancel")),
    "F6": (("cumulative_qty",), ("test_execution_ids_may_be_null_quantities_cumulative_and_statuses_unknown",)),
    "F7": (("split_fill",), ("test_several_executions_in_one_millisecond",)),
    "F8": (("late_activity",), ("test_a_fill_activity_may_be_late", "test_fractions_and_dollars_trade_to_nine_decimals")),
    "F9": (("reject_after_new",), ("test_an_acknowledged_order_may_still_be_rejected",)),
    "F10": (("fill_wins_cancel", "cancel_rejected", "canceled_and_filled", "late_cancel_accepted"),
            ("test_cancels_lose_races", "test_cancelling_what_is_over_says_how_it_ended",
             "test_a_cancel_of_what_is_over_may_be_answered_as_if_it_were_not")),
    "F11": (("stuck_cancel",), ("test_a_cancel_may_be_stuck_for_minutes",)),
    "F12": (("not_sent_but_replaced", "replace_rejected"),
            ("test_a_refused_replacement_may_have_happened_and_an_accepted_one_not",)),
    "F13": (("abort", "close", "mute", "half_open"),
            ("test_a_dead_trading_socket_loses_what_happened_meanwhile", "test_a_mute_socket_stays_open_and_says_nothing",
             "test_a_half_open_socket_answers_no_ping")),
    "F14": ((), ("test_a_dead_trading_socket_loses_what_happened_meanwhile",)),
    "F15": (("refuse_handshake",), ("test_a_handshake_may_be_refused_with_429",)),
    "F16": (("connection_limit", "ghost_session"), ("test_the_connection_limit_counts_ghosts",)),
    "F17": (("slow_client",), ("test_insufficient_subscription_and_slow_client", "test_a_client_that_never_reads_is_cut_off")),
    "F18": ((), ("test_the_wash_trade_matrix", "test_an_open_market_order_blocks_everything_simple_on_the_other_side")),
    "F19": ((), ("test_an_order_against_a_rule_is_refused_with_its_row",)),
    "F20": ((), ("test_the_same_client_order_id_is_refused_for_ever",)),
    "F21": ((), ("test_buying_power_refusal_carries_both_figures", "test_selling_more_than_is_free_names_what_holds_it")),
    "F22": ((), ("test_the_paper_fill_model_takes_any_size_at_the_quote",
                 "test_an_order_beyond_the_displayed_size_fills_in_parts")),
    "F23": (("mute_symbol", "skip_bars", "sip_gap"), ("test_iex_may_disagree_with_sip", "test_minute_bars_may_be_missing")),
    "F24": (("halt", "market_halt"), ("test_nothing_trades_in_a_halt_and_everything_after_it",
                                      "test_halts_corrections_and_late_prints_reach_alpaca_py",
                                      "test_the_best_quote_at_a_band_for_fifteen_seconds_pauses_for_five_minutes",
                                      "test_a_falling_market_stops_every_name_and_each_reopens_in_its_own_auction")),
    "F25": (("error",), ("test_the_rate_limit_counts_down_in_its_headers_and_ends_in_429",)),
    "F26": (("bust_print", "correct_print"), ("test_halts_corrections_and_late_prints_reach_alpaca_py",)),
    "F27": ((), ("test_while_the_market_is_shut_orders_wait_and_a_cancel_may_be_repeated",)),
    "F28": (("connection_limit", "close"), ("test_polygon_refuses_a_wrong_key_and_too_many_connections",)),
    "F29": ((), ("test_stop_refusals_say_where_the_market_is", "test_leg_refusals_say_the_base_price")),
    "F30": (("clock_ahead", "mixed_offsets"), ("test_clocks_may_run_ahead_and_offsets_mix",
                                               "test_a_clock_ahead_is_ahead_in_market_data_and_updates_too")),
}  # fmt: skip


def test_every_row_of_the_catalogue_has_its_kinds_and_its_tests() -> None:
    here = Path(__file__).parent
    tests = {
        word
        for file in here.glob("test_venue_*.py")
        for word in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert list(CATALOGUE) == [f"F{n}" for n in range(1, 31)]
    for row, (kinds, names) in CATALOGUE.items():
        assert set(names) <= tests, row
        assert names, row
        assert all(row in KINDS[kind].catalogue.split() for kind in kinds), row
    for name, kind in KINDS.items():
        for row in kind.catalogue.split():
            assert name in CATALOGUE[row][0], (name, row)
