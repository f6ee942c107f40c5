"""Polygon's numbers for exchanges, conditions and ticker types (its reference endpoints), as its documents list them."""

from __future__ import annotations

from typing import Any

_URLS = "https://www.nyse.com/markets/"
_EXCHANGES = (
    (1, "exchange", "NYSE American, LLC", "AMEX", "XASE", "XNYS", "A", f"{_URLS}nyse-american"),
    (2, "exchange", "Nasdaq OMX BX, Inc.", None, "XBOS", "XNAS", "B", "https://www.nasdaq.com/solutions/nasdaq-bx-stock-market"),
    (3, "exchange", "NYSE National, Inc.", "NSX", "XCIS", "XNYS", "C", f"{_URLS}nyse-national"),
    (4, "TRF", "FINRA NYSE TRF", None, "FINY", "XNYS", "D", "https://www.finra.org"),
    (5, "SIP", "Unlisted Trading Privileges", None, None, "XNAS", "E", "https://www.utpplan.com"),
    (6, "TRF", "International Securities Exchange, LLC - Stocks", None, "XISE", "XNAS", "I", "https://nasdaq.com/solutions/nasdaq-ise"),
    (7, "exchange", "Cboe EDGA", None, "EDGA", "XCBO", "J", "https://www.cboe.com/us/equities"),
    (8, "exchange", "Cboe EDGX", None, "EDGX", "XCBO", "K", "https://www.cboe.com/us/equities"),
    (9, "exchange", "NYSE Chicago, Inc.", None, "XCHI", "XNYS", "M", f"{_URLS}nyse-chicago"),
    (10, "exchange", "New York Stock Exchange", None, "XNYS", "XNYS", "N", "https://www.nyse.com"),
    (11, "exchange", "NYSE Arca, Inc.", None, "ARCX", "XNYS", "P", f"{_URLS}nyse-arca"),
    (12, "exchange", "Nasdaq", None, "XNAS", "XNAS", "T", "https://www.nasdaq.com"),
    (13, "SIP", "Consolidated Tape Association", None, None, "XNYS", "S", "https://www.nyse.com/data/cta"),
    (14, "exchange", "Long-Term Stock Exchange", None, "LTSE", "LTSE", "L", "https://www.ltse.com"),
    (15, "exchange", "Investors Exchange", None, "IEXG", "IEXG", "V", "https://www.iextrading.com"),
    (16, "TRF", "Cboe Stock Exchange", None, "CBSX", "XCBO", "W", "https://www.cboe.com"),
    (17, "exchange", "Nasdaq Philadelphia Exchange LLC", None, "XPHL", "XNAS", "X", "https://www.nasdaq.com/solutions/nasdaq-phlx"),
    (18, "exchange", "Cboe BYX", None, "BATY", "XCBO", "Y", "https://www.cboe.com/us/equities"),
    (19, "exchange", "Cboe BZX", None, "BATS", "XCBO", "Z", "https://www.cboe.com/us/equities"),
    (20, "exchange", "MIAX Pearl", None, "EPRL", "MIHI", "H", "https://www.miaxoptions.com/alerts/pearl-equities"),
    (21, "exchange", "Members Exchange", None, "MEMX", "MEMX", "U", "https://www.memx.com"),
    (62, "ORF", "OTC Equity Security", None, "OOTC", "FINR", "", "https://www.finra.org/filing-reporting/over-the-counter-reporting-facility-orf"),
    (201, "TRF", "FINRA NYSE TRF", None, "FINY", "XNYS", "D", "https://www.finra.org"),
    (202, "TRF", "FINRA Nasdaq TRF Carteret", None, "FINN", "FINR", "D", "https://www.finra.org"),
    (203, "TRF", "FINRA Nasdaq TRF Chicago", None, "FINC", "FINR", "D", "https://www.finra.org"),
)  # fmt: skip
_CONDITIONS = (
    (0, "Regular Sale", "@", "@"), (1, "Acquisition", None, "A"), (2, "Average Price Trade", "B", "W"),
    (3, "Automatic Execution", "E", None), (4, "Bunched Trade", None, "B"), (5, "Bunched Sold Trade", None, "G"),
    (7, "Cash Sale", "C", "C"), (8, "Closing Prints", None, "6"), (9, "Cross Trade", "X", "X"),
    (10, "Derivatively Priced", "4", "4"), (11, "Distribution", None, "D"), (12, "Form T", "T", "T"),
    (13, "Extended Trading Hours (Sold Out of Sequence)", "U", "U"), (14, "Intermarket Sweep", "F", "F"),
    (15, "Market Center Official Close", "M", "M"), (16, "Market Center Official Open", "Q", "Q"),
    (17, "Market Center Opening Trade", None, "O"), (18, "Market Center Reopening Trade", None, "5"),
    (19, "Market Center Closing Trade", None, None), (20, "Next Day", "N", "N"), (21, "Price Variation Trade", "H", "H"),
    (22, "Prior Reference Price", "P", "P"), (23, "Rule 155 Trade (AMEX)", None, "K"),
    (29, "Seller", "R", "R"), (30, "Sold Last", "L", "L"), (32, "Sold (Out of Sequence)", "Z", "Z"),
    (34, "Split Trade", None, "S"), (36, "Yellow Flag Regular Trade", None, "Y"), (37, "Odd Lot Trade", "I", "I"),
    (38, "Corrected Consolidated Close (per listing market)", "9", "9"), (41, "Trade Thru Exempt", "8", "8"),
    (52, "Contingent Trade", "V", "V"), (53, "Qualified Contingent Trade", "7", "7"),
)  # fmt: skip
_NO_PRICE = {2, 7, 10, 12, 13, 15, 16, 20, 21, 22, 29, 32, 37, 52, 53}
"""Conditions that do not set open, high, low or close of the consolidated bar."""
_TYPES = (
    ("CS", "Common Stock"), ("PFD", "Preferred Stock"), ("WARRANT", "Warrant"), ("RIGHT", "Rights"),
    ("BOND", "Corporate Bond"), ("ETF", "Exchange Traded Fund"), ("ETN", "Exchange Traded Note"),
    ("ETV", "Exchange Traded Vehicle"), ("SP", "Structured Product"), ("ADRC", "American Depository Receipt Common"),
    ("ADRW", "American Depository Receipt Warrants"), ("ADRR", "American Depository Receipt Rights"),
    ("FUND", "Fund"), ("BASKET", "Basket"), ("UNIT", "Unit"), ("LT", "Liquidating Trust"), ("OS", "Ordinary Shares"),
    ("GDR", "Global Depository Receipts"), ("OTHER", "Other Security Type"), ("NYRS", "New York Registry Shares"),
    ("AGEN", "Agency Bond"), ("EQLK", "Equity Linked Bond"), ("ETS", "Single-security ETF"),
)  # fmt: skip


def exchanges() -> list[dict[str, Any]]:
    """GET /v3/reference/exchanges."""
    rows = []
    for number, kind, name, acronym, mic, operating, participant, url in _EXCHANGES:
        row: dict[str, Any] = {
            "id": number,
            "type": kind,
            "asset_class": "stocks",
            "locale": "us",
            "name": name,
        }
        for key, value in (("acronym", acronym), ("mic", mic), ("operating_mic", operating),
                           ("participant_id", participant), ("url", url)):  # fmt: skip
            if value:
                row[key] = value
        rows.append(row)
    return rows


def conditions() -> list[dict[str, Any]]:
    """GET /v3/reference/conditions: sale conditions of trades."""
    rows = []
    for number, name, cta, utp in _CONDITIONS:
        prices = number not in _NO_PRICE
        rules = {
            "updates_high_low": prices,
            "updates_open_close": prices,
            "updates_volume": number not in (15, 16),
        }
        mapping = {source: letter for source, letter in (("CTA", cta), ("UTP", utp)) if letter}
        rows.append({"id": number, "type": "sale_condition", "name": name, "asset_class": "stocks",
                     "sip_mapping": mapping, "data_types": ["trade"],
                     "update_rules": {"consolidated": rules, "market_center": rules}})  # fmt: skip
    return rows


def ticker_types() -> list[dict[str, str]]:
    """GET /v3/reference/tickers/types."""
    return [
        {"code": code, "description": name, "asset_class": "stocks", "locale": "us"} for code, name in _TYPES
    ]
