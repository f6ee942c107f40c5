"""Section 2.6, row by row: every way from status to status, driven through HTTP and heard by alpaca-py's stream.

Two days and a half of orders are placed once; each row of the table is then looked for in what the stream told.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from venue_clients import SYMBOLS, Listener, Wire, wait_until

from market.venue.command import Options
from market.venue.exchange import Rules
from market.venue.orders import TRANSITIONS
from market.venue.rehearsal import RehearsalVenue

DAY = dt.date(2022, 12, 27)
POSTED = "(posted)"
ROWS = [
    # status before, event, status after
    (POSTED, "", "accepted"),  # market shut, or queued
    (POSTED, "", "pending_new"),
    (POSTED, "", "held"),  # a leg
    ("pending_new", "new", "new"),
    ("pending_new", "rejected", "rejected"),
    ("accepted", "new", "new"),
    ("accepted", "canceled", "canceled"),
    ("new", "rejected", "rejected"),
    ("new", "partial_fill", "partially_filled"),
    ("new", "fill", "filled"),
    ("partially_filled", "partial_fill", "partially_filled"),
    ("partially_filled", "fill", "filled"),
    ("partially_filled", "canceled", "canceled"),
    ("partially_filled", "expired", "expired"),
    ("partially_filled", "done_for_day", "done_for_day"),
    ("done_for_day", "calculated", "calculated"),
    ("calculated", "restated", "partially_filled"),
    ("new", "expired", "expired"),
    ("new", "done_for_day", "done_for_day"),
    ("done_for_day", "new", "new"),
    ("done_for_day", "canceled", "canceled"),
    ("new", "pending_cancel", "pending_cancel"),
    ("pending_cancel", "canceled", "canceled"),
    ("pending_cancel", "fill", "filled"),
    ("pending_cancel", "order_cancel_rejected", "new"),
    ("pending_cancel", "order_cancel_rejected", "partially_filled"),
    ("new", "pending_replace", "pending_replace"),
    ("partially_filled", "pending_replace", "pending_replace"),
    ("pending_replace", "replaced", "replaced"),
    ("pending_replace", "order_replace_rejected", "new"),
    ("pending_replace", "fill", "filled"),
    ("new", "stopped", "stopped"),
    ("stopped", "fill", "filled"),
    ("new", "suspended", "suspended"),
    ("suspended", "new", "new"),
    ("partially_filled", "suspended", "suspended"),
    ("suspended", "restated", "partially_filled"),
    ("held", "new", "new"),
    ("held", "canceled", "canceled"),
    ("accepted", "accepted_for_bidding", "accepted_for_bidding"),
    ("accepted_for_bidding", "fill", "filled"),
    ("accepted_for_bidding", "canceled", "canceled"),
    ("new", "accepted_for_bidding", "accepted_for_bidding"),
]


class Story:
    """What one venue's orders went through, in the order in which it was told."""

    def __init__(self, venue: RehearsalVenue) -> None:
        self.venue = venue
        self.wire = Wire(venue)
        self.listener = Listener(venue)
        self.answered: dict[str, str] = {}
        self.replacements: dict[str, str] = {}

    def order(self, **fields: Any) -> str:
        """An order that is accepted; its id."""
        shown = self.wire.order(**fields).json()
        for row in [shown, *(shown["legs"] or [])]:
            self.answered[row["id"]] = row["status"]
        return str(shown["id"])

    def huge(self, symbol: str = "RRC", **fields: Any) -> str:
        """A buy that trades a part at once and will not get the rest today; one a symbol, so that nobody is in its way."""
        ask = self.wire.price(symbol)
        return self.order(symbol=symbol, qty="10000000", type="limit", limit_price=str(ask), **fields)

    def patch(self, order: str, **fields: Any) -> str:
        answer = self.wire("PATCH", f"/v2/orders/{order}", fields)
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        self.answered[shown["id"]] = shown["status"]
        self.replacements[shown["id"]] = order
        return str(shown["id"])

    def cancel(self, order: str) -> None:
        assert self.wire("DELETE", f"/v2/orders/{order}").status_code == 204

    def fault(self, kind: str, **fields: Any) -> None:
        perform = self.venue.server.control.perform
        self.venue.call(lambda: perform("POST", "/faults", {"kind": kind, **fields}))

    def status(self, order: str) -> str:
        return str(self.wire.get(f"/v2/orders/{order}")["status"])

    def told(self) -> set[tuple[str, str, str]]:
        """Every (status before, event, status after) of every order; the stream is up to date."""
        statuses = {row["id"]: row["status"] for row in self.wire.get("/v2/orders", status="all", limit=500)}

        def last() -> dict[str, str]:
            return {str(u.order.id): u.order.status.value for u in list(self.listener.updates)}

        wait_until(lambda: last() == {name: statuses[name] for name in last()}, "the last update")
        found = {(POSTED, "", status) for status in self.answered.values()}
        now = dict(self.answered)
        for update in self.listener.updates:
            name, after = str(update.order.id), update.order.status.value
            event = str(getattr(update.event, "value", update.event))
            if name in now:
                found.add((now[name], event, after))
            now[name] = after
        return found


def _venue(**changes: Any) -> RehearsalVenue:
    return RehearsalVenue(Options(speed=0, rate_limit=0, date=DAY, symbols=SYMBOLS, cash=10**12, **changes))


def a_day_and_a_morning(story: Story) -> None:
    """From before the open to the next day: queues, crosses, fills, cancels, replacements, the night."""
    venue = story.venue
    opening = story.order(time_in_force="opg")
    story.order(time_in_force="opg", type="limit", limit_price="1")
    closing = story.order(time_in_force="cls")
    early = story.order(symbol="KO")
    story.cancel(story.order(symbol="KO", type="limit", limit_price="1"))
    venue.move_to("2022-12-27T14:28:00Z")
    assert story.status(opening) == "accepted_for_bidding"
    venue.move_to("2022-12-27T15:00:00Z")
    assert {story.status(opening), story.status(early)} == {"filled"}

    kept = story.huge(time_in_force="gtc")
    resting = {"symbol": "KO", "type": "limit", "limit_price": "20"}
    plain = story.order(**resting)
    story.cancel(plain)
    story.fault("reject_after_new", times=1)
    story.order(**resting)
    venue.advance(2)
    for kind in ("cancel_rejected", "fill_wins_cancel"):
        story.fault(kind, times=1)
        story.cancel(story.order(**resting))
    story.fault("cancel_rejected", times=1)
    story.cancel(story.huge("AMD"))
    story.huge("BAC", time_in_force="ioc")
    story.patch(story.order(**resting), limit_price="21")
    story.fault("replace_rejected", times=1)
    story.patch(story.order(**resting), limit_price="21")
    story.patch(story.huge("GE"), limit_price="1")
    for kind in ("suspend_order", "stop_order"):
        story.order(**resting)
        story.fault(kind, symbol="KO", seconds=1.0)
        venue.advance(2)
    story.fault("suspend_order", symbol="RRC", seconds=1.0)
    venue.advance(2)
    story.order(symbol="MSFT", qty="3000")  # some at once, the rest later
    story.order(symbol="KO", qty="5", order_class="bracket", take_profit={"limit_price": "500"},
                stop_loss={"stop_price": "1"})  # fmt: skip
    legs = story.wire.order(symbol="KO", qty="5", order_class="bracket", take_profit={"limit_price": "500"},
                            stop_loss={"stop_price": "2"}).json()  # fmt: skip
    story.answered |= {leg["id"]: leg["status"] for leg in legs["legs"]}
    story.cancel(legs["legs"][0]["id"])

    story.huge("BAC")
    back = story.order(**resting, time_in_force="gtc")
    gone = story.order(**resting, time_in_force="gtc")
    story.order(**resting)
    venue.move_to("2022-12-27T20:50:00Z")
    assert story.status(closing) == "accepted_for_bidding"
    venue.move_to("2022-12-27T21:00:01Z")
    assert {story.status(kept), story.status(back)} == {"done_for_day"}
    story.cancel(gone)
    venue.move_to("2022-12-27T21:10:00Z")
    assert (story.status(kept), story.status(back)) == ("calculated", "done_for_day")
    assert {kept, back} <= {row["id"] for row in story.wire.get("/v2/orders", status="open")}
    venue.move_to("2022-12-28T14:30:00Z")
    assert (story.status(kept), story.status(back)) == ("partially_filled", "new")


def races(story: Story) -> None:
    """With a second between request and effect: a rejection before the acknowledgement, a fill that wins."""
    story.fault("reject_after_new", seconds=0.5, times=1)
    story.order()
    story.venue.advance(2)
    order = story.order(type="limit", limit_price=str(story.wire.price() + 1), qty="1")
    story.venue.call(lambda: story.venue.server.control.perform("DELETE", "/faults", {}))
    far = story.order(type="limit", limit_price="1")
    story.venue.advance(2)
    assert story.status(order) == "filled"
    new = story.patch(far, limit_price="2")
    venue = story.venue
    exchange = venue.server.exchange
    # Nothing reaches a limit of one dollar: the exchange itself fills it while the replacement is on its way.
    old = exchange.accounts[0].orders[far]
    venue.call(lambda: exchange.filled(old, old.left, 10_000, exchange.now))
    venue.advance(2)
    assert (story.status(far), story.status(new)) == ("filled", "rejected")


@pytest.fixture(scope="module")
def seen() -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    for play, options in (
        (a_day_and_a_morning, {"start": "08:00"}),
        (races, {"start": "10:00", "rules": Rules(latency_ms=1000)}),
    ):
        with _venue(**options) as venue:
            story = Story(venue)
            try:
                play(story)
                found |= story.told()
            finally:
                story.listener.close()
    return found


@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_the_row_was_seen(seen: set[tuple[str, str, str]], row: tuple[str, str, str]) -> None:
    assert row in seen


def test_nothing_was_seen_that_the_table_forbids(seen: set[tuple[str, str, str]]) -> None:
    # A leg goes through `accepted` on its way to `new`, an order that loses a race through where it was: untold.
    for before, event, after in seen:
        if before not in (POSTED, after):
            steps = TRANSITIONS[before]
            assert after in steps or any(after in TRANSITIONS[step] for step in steps), (before, event, after)


def test_every_status_has_a_row() -> None:
    assert {row[2] for row in ROWS} == TRANSITIONS.keys()


def test_a_day_order_may_end_done_for_day_instead_and_is_closed_then() -> None:
    with _venue(start="15:59", rules=Rules(day_end="done_for_day")) as venue:
        story = Story(venue)
        try:
            part, none = story.huge(), story.order(type="limit", limit_price="1")
            venue.move_to("2022-12-27T21:10:00Z")
            assert {story.status(part), story.status(none)} == {"done_for_day"}
            assert story.wire.get("/v2/orders", status="open") == []
            assert story.wire("DELETE", f"/v2/orders/{part}").status_code == 422
            assert ("partially_filled", "done_for_day", "done_for_day") in story.told()
            venue.move_to("2022-12-28T15:00:00Z")
            assert story.status(none) == "done_for_day"
            assert story.wire.get("/v2/account")["buying_power"] != "0"
        finally:
            story.listener.close()


def test_halted_orders_may_be_suspended_instead_of_working() -> None:
    with _venue(start="10:00", rules=Rules(halted_orders="suspended")) as venue:
        story = Story(venue)
        try:
            resting = story.order(type="limit", limit_price="1")
            story.fault("halt", symbol="AAPL", seconds=60.0)
            during = story.order(type="limit", limit_price="1.5")
            assert (story.status(resting), story.status(during)) == ("suspended", "new")
            venue.advance(61)
            assert (story.status(resting), story.status(during)) == ("new", "new")
            story.cancel(resting)
            assert story.status(resting) == "canceled"
        finally:
            story.listener.close()
