"""Exchange and condition codes of the consolidated tapes, as GET /v2/stocks/meta answers.

Names: the UTP and CTA participant specifications' sale and quote conditions, as market data vendors spell them.
"""

from __future__ import annotations

EXCHANGES = {
    "A": "NYSE American (AMEX)", "B": "NASDAQ OMX BX", "C": "National Stock Exchange", "D": "FINRA ADF",
    "E": "Market Independent", "H": "MIAX", "I": "International Securities Exchange", "J": "Cboe EDGA",
    "K": "Cboe EDGX", "L": "Long Term Stock Exchange", "M": "Chicago Stock Exchange",
    "N": "New York Stock Exchange", "P": "NYSE Arca", "Q": "NASDAQ OMX", "S": "NASDAQ Small Cap",
    "T": "NASDAQ Int", "U": "Members Exchange", "V": "IEX", "W": "CBOE", "X": "NASDAQ OMX PSX", "Y": "Cboe BYX",
    "Z": "Cboe BZ",
}  # fmt: skip

_COMMON_TRADE = {
    "B": "Average Price Trade", "C": "Cash Sale", "E": "Automatic Execution", "F": "Intermarket Sweep",
    "H": "Price Variation Trade", "I": "Odd Lot Trade", "K": "Rule 127 (NYSE only) or Rule 155 (NYSE MKT only)",
    "L": "Sold Last", "M": "Market Center Official Close", "N": "Next Day", "O": "Market Center Opening Trade",
    "P": "Prior Reference Price", "Q": "Market Center Official Open", "R": "Seller", "T": "Extended Hours Trade",
    "U": "Extended Hours Sold (Out Of Sequence)", "V": "Contingent Trade", "X": "Cross Trade",
    "Z": "Sold (Out Of Sequence)", "4": "Derivatively Priced", "5": "Market Center Reopening Trade",
    "6": "Market Center Closing Trade", "7": "Qualified Contingent Trade", "8": "Placeholder for 611 Exempt",
    "9": "Corrected Consolidated Close Price",
}  # fmt: skip
_CTA_TRADE = {" ": "Regular Sale", **_COMMON_TRADE}
_UTP_TRADE = {
    "@": "Regular Sale", "A": "Acquisition", **_COMMON_TRADE, "B": "Bunched Trade", "D": "Distribution",
    "G": "Bunched Sold Trade", "K": "Rule 155 Trade (AMEX)", "S": "Split Trade", "W": "Average Price Trade",
    "Y": "Yellow Flag Regular Trade", "1": "Stopped Stock (Regular Trade)",
}  # fmt: skip
_CTA_QUOTE = {
    "A": "Slow Quote Offer Side", "B": "Slow Quote Bid Side", "E": "Slow Quote LRP Bid Side",
    "F": "Slow Quote LRP Offer Side", "H": "Slow Quote Bid And Offer Side", "O": "Opening Quote",
    "R": "Regular Market Maker Open", "W": "Slow Quote Set Slow List", "C": "Closing Quote",
    "L": "Market Maker Quotes Closed", "U": "Slow Quote LRP Bid And Offer", "N": "Non Firm Quote",
    "4": "On Demand Intra Day Auction",
}  # fmt: skip
_UTP_QUOTE = {
    "A": "Manual Ask Automated Bid", "B": "Manual Bid Automated Ask", "F": "Fast Trading", "H": "Manual Bid And Ask",
    "I": "Order Imbalance", "L": "Closed Quote", "N": "Non Firm Quote", "O": "Opening Quote Automated",
    "R": "Regular Two Sided Open", "U": "Manual Bid And Ask Non Firm", "Y": "No Offer No Bid One Sided Open",
    "X": "Order Influx", "Z": "No Open No Resume", "4": "On Demand Intra Day Auction",
}  # fmt: skip


def conditions(kind: str, tape: str) -> dict[str, str]:
    """Code to name of `kind` (trade or quote) on `tape` (A, B or C)."""
    if kind == "trade":
        return _UTP_TRADE if tape == "C" else _CTA_TRADE
    return _UTP_QUOTE if tape == "C" else _CTA_QUOTE
