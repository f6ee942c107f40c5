"""A stepped venue on loopback and the unmodified SDKs wired to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.trading.client import TradingClient

# Tests are collected in importlib mode, which puts no test folder on the path; the clients are shared by name.
sys.path.insert(0, str(Path(__file__).parent))

from venue_clients import SYMBOLS, Listener, Wire

from market.venue.command import Options
from market.venue.rehearsal import RehearsalVenue


@pytest.fixture
def start_venue() -> Iterator[Callable[..., RehearsalVenue]]:
    """Make stepped venues with options; all are stopped at the end."""
    running: list[RehearsalVenue] = []

    def make(**changes: Any) -> RehearsalVenue:
        options = {"speed": 0, "start": "10:00", "rate_limit": 0, "symbols": SYMBOLS, **changes}
        venue = RehearsalVenue(Options(**options))
        venue.__enter__()
        running.append(venue)
        return venue

    yield make
    for venue in running:
        venue.__exit__(None, None, None)


@pytest.fixture
def venue(start_venue: Callable[..., RehearsalVenue]) -> RehearsalVenue:
    """A stepped venue at 10:00 on the sample's last day, one account of 100,000 USD, no rate limit."""
    return start_venue()


@pytest.fixture
def wire(venue: RehearsalVenue) -> Wire:
    """Raw HTTP to `venue`."""
    return Wire(venue)


@pytest.fixture(scope="module")
def shared_wire() -> Iterator[Wire]:
    """Raw HTTP to a venue that a whole module shares: for refusals, which leave nothing behind."""
    with RehearsalVenue(Options(speed=0, start="10:00", rate_limit=0, symbols=SYMBOLS)) as shared:
        yield Wire(shared)


@pytest.fixture
def trading(venue: RehearsalVenue) -> TradingClient:
    """alpaca-py's TradingClient on `venue`."""
    address = venue.address
    return TradingClient(address["key_id"], address["secret_key"], url_override=address["rest_url"])


@pytest.fixture
def data(venue: RehearsalVenue) -> StockHistoricalDataClient:
    """alpaca-py's data client on `venue`."""
    address = venue.address
    return StockHistoricalDataClient(
        address["key_id"], address["secret_key"], url_override=address["data_rest_url"]
    )


@pytest.fixture
def listener(venue: RehearsalVenue) -> Iterator[Listener]:
    """alpaca-py's TradingStream on `venue`."""
    made = Listener(venue)
    yield made
    made.close()
