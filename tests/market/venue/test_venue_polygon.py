"""Polygon's endpoints through its client: indicators, snapshots, reference, news, and what a stocks plan does not include."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from pathlib import Path
from typing import Any

import polygon
import pytest
from polygon.exceptions import BadResponse
from venue_clients import Wire

from market.venue.polygon_indicators import ema, rsi, sma
from market.venue.polygon_reference import holiday

DAY = "2022-12-28"
FIXTURES = Path(__file__).parents[4] / "shared" / "data" / "reference" / "polygon_client_rest_mocks.jsonl"


@pytest.fixture
def vendor(shared_wire: Wire) -> polygon.RESTClient:
    """The unmodified Polygon REST client on the module's venue."""
    address = shared_wire.venue.address
    return polygon.RESTClient(address["polygon_key"], base=address["polygon_rest_url"])


# --- indicators -------------------------------------------------------------------------------------------------


def test_averages_and_strength_by_hand() -> None:
    assert sma([1.0, 2, 3, 4], 2) == [None, 1.5, 2.5, 3.5]
    assert ema([2.0, 4, 6, 8], 2) == [None, 3.0, 5.0, 7.0]
    assert ema([None, 2.0, 4], 2) == [None, None, 3.0]
    # Wilder: means of 2 gains of 1 and 2, then one loss of 3 with the weight of one in two.
    assert rsi([10.0, 11, 13, 10], 2) == [None, None, 100.0, pytest.approx(100 * 0.75 / 2.25)]
    assert rsi([5.0, 5, 5], 2)[-1] == 50.0


def test_indicators_through_the_client(vendor: polygon.RESTClient) -> None:
    closes = [bar.close for bar in vendor.list_aggs("AAPL", 1, "day", "2022-11-01", DAY)]
    found = vendor.get_sma("AAPL", window=5, timespan="day", limit=3)
    assert [v.value for v in found.values] == [
        pytest.approx(sum(closes[-5 - n : len(closes) - n]) / 5) for n in range(3)
    ]
    assert found.underlying.url.startswith("http://127.0.0.1:")
    stamps = [v.timestamp for v in vendor.get_ema("AAPL", window=5, order="asc", limit=5000).values]
    assert stamps == sorted(stamps)
    assert all(0 <= v.value <= 100 for v in vendor.get_rsi("AAPL", window=14, limit=50).values)
    macd = vendor.get_macd("AAPL", short_window=3, long_window=6, signal_window=4, limit=2)
    assert all(v.histogram == pytest.approx(v.value - v.signal) for v in macd.values)
    expanded = vendor.get_sma("AAPL", window=2, expand_underlying=True, timestamp_gte="2022-12-27")
    assert len(expanded.values) == 2
    assert expanded.underlying.aggregates[0].close == closes[-1]
    minutes = vendor.get_sma("AAPL", window=2, timespan="minute", limit=1)
    assert minutes.values[0].timestamp < 1_672_239_600_000


# --- snapshots --------------------------------------------------------------------------------------------------


def test_the_unified_snapshot_is_paged_and_names_what_it_does_not_know(vendor: polygon.RESTClient) -> None:
    every = list(vendor.list_universal_snapshots(type="stocks", limit=3))
    assert [row.ticker for row in every] == ["AAPL", "AMD", "BAC", "GE", "KO", "MSFT", "RRC"]
    assert every[0].market_status == "open"
    assert every[0].session.previous_close == pytest.approx(129.652, abs=1e-3)
    assert every[0].last_quote.ask > every[0].last_quote.bid
    asked = list(vendor.list_universal_snapshots(ticker_any_of=["AAPL", "NOPE"]))
    assert [(row.ticker, row.error) for row in asked] == [("AAPL", None), ("NOPE", "NOT_FOUND")]


def test_movers_moved_the_way_they_are_listed(vendor: polygon.RESTClient) -> None:
    for direction, sign in (("gainers", 1), ("losers", -1)):
        rows = vendor.get_snapshot_direction("stocks", direction)
        moves = [sign * row.todays_change_percent for row in rows]
        assert all(move > 0 for move in moves)
        assert moves == sorted(moves, reverse=True)


# --- reference --------------------------------------------------------------------------------------------------


def test_reference_lists(vendor: polygon.RESTClient) -> None:
    assert {e.mic for e in vendor.get_exchanges()} >= {"XNYS", "XNAS", "IEXG", "ARCX"}
    names = {c.name for c in vendor.list_conditions(asset_class="stocks", limit=7)}
    assert names >= {"Regular Sale", "Form T", "Odd Lot Trade"}
    assert len(names) > 20
    assert {t.code for t in vendor.get_ticker_types()} >= {"CS", "ETF"}
    assert vendor.get_ticker_events("AAPL").events == []
    articles = list(itertools.islice(vendor.list_ticker_news("AAPL", limit=2), 5))
    assert all(a.tickers == ["AAPL"] and a.published_utc <= "2022-12-28T15:00:00Z" for a in articles)
    assert len({a.id for a in articles}) == 5


def test_holidays_have_their_names() -> None:
    for day, name in (
        ("2023-01-02", "New Years Day"), ("2023-01-16", "Martin Luther King, Jr. Day"), ("2023-02-20", "Washington's Birthday"),
        ("2023-04-07", "Good Friday"), ("2023-05-29", "Memorial Day"), ("2023-06-19", "Juneteenth"),
        ("2023-07-03", "Independence Day"), ("2023-09-04", "Labor Day"), ("2023-11-23", "Thanksgiving"),
        ("2023-11-24", "Thanksgiving"), ("2022-12-26", "Christmas"),
    ):  # fmt: skip
        assert holiday(dt.date.fromisoformat(day)) == name


def test_what_a_stocks_plan_does_not_include_is_refused_in_the_vendors_words(
    vendor: polygon.RESTClient,
) -> None:
    for ask in (
        lambda: next(vendor.vx.list_stock_financials("AAPL")),
        lambda: next(vendor.list_options_contracts("AAPL")),
        lambda: vendor.get_last_crypto_trade("BTC", "USD"),
    ):
        with pytest.raises(BadResponse, match=r"NOT_AUTHORIZED.*You are not entitled to this data"):
            ask()


def test_a_bad_parameter_is_a_400(shared_wire: Wire) -> None:
    wire = shared_wire
    key = {"apiKey": wire.venue.address["polygon_key"]}
    for path, query in (
        ("/v1/indicators/sma/AAPL", {"window": "0"}),
        ("/v1/indicators/sma/AAPL", {"timespan": "fortnight"}),
        ("/v1/indicators/ema/AAPL", {"series_type": "mood"}),
        ("/v1/indicators/rsi/AAPL", {"order": "up"}),
        ("/v1/indicators/rsi/AAPL", {"limit": "5001"}),
        ("/v3/trades/AAPL", {"order": "up"}),
        ("/v3/trades/AAPL", {"sort": "price"}),
        ("/v3/trades/AAPL", {"cursor": "%%%"}),
        ("/v3/trades/AAPL", {"timestamp.gte": "then"}),
        ("/v2/reference/news", {"published_utc.gte": "then"}),
    ):
        answer = wire("GET", path, params={**key, **query})
        assert (answer.status_code, answer.json()["status"]) == (400, "ERROR"), (path, query, answer.text)


# --- shapes -----------------------------------------------------------------------------------------------------

SHAPES = {
    "/v1/indicators/sma/AAPL": "/v1/indicators/sma/AAPL?limit=1&window=2&expand_underlying=true",
    "/v1/indicators/macd/SPY": "/v1/indicators/macd/AAPL?short_window=2&long_window=3&signal_window=2",
    "/v1/marketstatus/now": "/v1/marketstatus/now",
    "/v1/marketstatus/upcoming": "/v1/marketstatus/upcoming",
    "/v1/open-close/AAPL/2005-04-01": "/v1/open-close/AAPL/2022-12-27",
    "/v2/aggs/grouped/locale/us/market/stocks/2005-04-04": "/v2/aggs/grouped/locale/us/market/stocks/2022-12-27",
    "/v2/aggs/ticker/AAPL/prev": "/v2/aggs/ticker/AAPL/prev",
    "/v2/aggs/ticker/AAPL/range/1/day/2005-04-01/2005-04-04": "/v2/aggs/ticker/AAPL/range/1/day/2022-12-01/2022-12-28",
    "/v2/last/nbbo/AAPL": "/v2/last/nbbo/AAPL",
    "/v2/last/trade/AAPL": "/v2/last/trade/AAPL",
    "/v2/reference/news": "/v2/reference/news?ticker=AAPL",
    "/v2/snapshot/locale/us/markets/stocks/gainers": "/v2/snapshot/locale/us/markets/stocks/gainers",
    "/v2/snapshot/locale/us/markets/stocks/tickers/AAPL": "/v2/snapshot/locale/us/markets/stocks/tickers/AAPL",
    "/v2/snapshot/locale/us/markets/stocks/tickers/index": "/v2/snapshot/locale/us/markets/stocks/tickers",
    "/v3/quotes/AAPL": "/v3/quotes/AAPL?limit=1",
    "/v3/trades/AAPL": "/v3/trades/AAPL?limit=2",
    "/v3/reference/conditions": "/v3/reference/conditions?id=1",
    "/v3/reference/exchanges": "/v3/reference/exchanges",
    "/v3/reference/tickers": "/v3/reference/tickers?limit=1",
    "/v3/reference/tickers/types": "/v3/reference/tickers/types",
}
UPCOMING = {"open", "close"}


def shape(value: Any) -> Any:
    """Keys and kinds of a body, the first row standing for all of a list."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


def contains(ours: Any, theirs: Any, at: str = "") -> list[str]:
    """Where something of `theirs` is missing from or different in `ours`."""
    if theirs is None or theirs in ("NoneType", ours):
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found: list[str] = []
        for key, inner in theirs.items():
            found += contains(ours[key], inner, f"{at}.{key}") if key in ours else [f"{at}.{key} is missing"]
        return found
    if isinstance(theirs, list) and isinstance(ours, list):
        return contains(ours[0], theirs[0], f"{at}[]") if ours and theirs else []
    return [f"{at} is {ours}, not {theirs}"]


@pytest.mark.skipif(not FIXTURES.is_file(), reason="the vendor's fixtures are beside the project, not in it")
@pytest.mark.parametrize("path", sorted(SHAPES))
def test_bodies_have_every_key_of_the_vendors_fixtures(shared_wire: Wire, path: str) -> None:
    fixtures = [json.loads(line) for line in FIXTURES.read_text().splitlines()]
    theirs = next(row["body"] for row in fixtures if row["path"].partition("&")[0] == path)
    target = SHAPES[path]
    sign = "&" if "?" in target else "?"
    ours = shared_wire("GET", f"{target}{sign}apiKey={shared_wire.venue.address['polygon_key']}").json()
    assert contains(shape(ours), shape(theirs)) == []
