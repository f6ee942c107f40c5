"""Splits and cash dividends, as the data service lists them and as the broker announces them.

The tape knows two kinds of action, each by its ex-date, and neither before the venue's day. Everything a price file
does not say is left out or empty: no CUSIP or ISIN, and record, payable and process dates are the ex-date.
Shapes: Market Data API 1.1 (corporate_actions) and the broker's deprecated announcements.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from market.venue.decimals import decimal_text, parse_decimal
from market.venue.exchange import Exchange
from market.venue.paging import Page, read_limit
from market.venue.refusals import Refusal, invalid, missing

_NAMESPACE = uuid.UUID("5a11f0a7-0000-4000-8000-000000000002")
_TYPES = (
    "reverse_split", "forward_split", "unit_split", "cash_dividend", "stock_dividend", "spin_off", "cash_merger",
    "stock_merger", "stock_and_cash_merger", "redemption", "name_change", "worthless_removal", "rights_distribution",
    "partial_call", "reorganization", "contract_adjustment",
)  # fmt: skip
_ANNOUNCED = ("dividend", "merger", "spinoff", "split")
LIMIT_DEFAULT, LIMIT_MAX = 100, 1000
ANNOUNCEMENT_DAYS_MAX = 90


@dataclass(frozen=True)
class Action:
    """One event of one symbol: `ratio` new shares for an old one of a split, or USD a share of a dividend."""

    kind: str
    symbol: str
    day: date
    value: float

    @property
    def id(self) -> str:
        """The same in every run."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.kind}|{self.symbol}|{self.day}"))

    @property
    def rates(self) -> tuple[float, float]:
        """(new rate, old rate): 2 for 1, or 1 for 10."""
        return (_plain(self.value), 1) if self.value >= 1 else (1, _plain(round(1 / self.value, 6)))


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value


def actions(exchange: Exchange, symbols: list[str], start: date, end: date) -> list[Action]:
    """What happened to `symbols` on ex-dates in start..end, oldest first, nothing after the venue's day."""
    end = min(end, exchange.session.day)
    found: list[Action] = []
    for symbol in symbols:
        for bar in exchange.tape.history.between(symbol, start, end):
            if bar.split not in (0.0, 1.0):
                kind = "forward_split" if bar.split > 1 else "reverse_split"
                found.append(Action(kind, symbol, bar.day, bar.split))
            if bar.dividend:
                found.append(Action("cash_dividend", symbol, bar.day, bar.dividend))
    return sorted(found, key=lambda action: (action.day, action.symbol, action.kind))


# --- /v1/corporate-actions ----------------------------------------------------------------------------------------


def _data_view(action: Action) -> dict[str, Any]:
    day = action.day.isoformat()
    if action.kind == "cash_dividend":
        return {"id": action.id, "symbol": action.symbol, "cusip": "", "rate": action.value, "special": False,
                "foreign": False, "process_date": day, "ex_date": day, "record_date": day, "payable_date": day}  # fmt: skip
    new, old = action.rates
    dates = {"process_date": day, "ex_date": day, "record_date": day, "payable_date": day}
    if action.kind == "forward_split":
        return {
            "id": action.id,
            "symbol": action.symbol,
            "cusip": "",
            "new_rate": new,
            "old_rate": old,
            **dates,
        }
    return {"id": action.id, "symbol": action.symbol, "old_cusip": "", "new_cusip": "", "new_rate": new,
            "old_rate": old, **dates}  # fmt: skip


def data_actions(exchange: Exchange, query: dict[str, str]) -> dict[str, Any]:
    """GET /v1/corporate-actions; Refusal 400 for a parameter it cannot read."""
    history = exchange.tape.history
    kinds = [kind for kind in (query.get("types") or "").split(",") if kind]
    for kind in kinds:
        if kind not in _TYPES:
            raise Refusal(400, None, f"invalid type: {kind[:40]}")
    ids = {name for name in (query.get("ids") or "").split(",") if name}
    if ids and any(query.get(name) for name in ("symbols", "types", "start", "end", "cusips")):
        raise Refusal(400, None, "ids cannot be used with other filters")
    sort = query.get("sort") or "asc"
    if sort not in ("asc", "desc"):
        raise Refusal(400, None, "invalid sort: only asc and desc are supported")
    if query.get("region") not in (None, "", "us", "non_us", "all"):
        raise Refusal(400, None, "invalid region")
    today = exchange.session.day
    symbols = [s.strip().upper() for s in (query.get("symbols") or "").split(",") if s.strip()]
    if query.get("cusips") or query.get("region") == "non_us":
        rows: list[Action] = []  # no CUSIP is known, and every listing is in the US
    elif ids:
        everything = actions(exchange, list(exchange.tape.symbols), history.first_day, today)
        rows = [action for action in everything if action.id in ids]
    else:
        start, end = (_data_day(query, name, today) for name in ("start", "end"))
        if end < start:
            raise Refusal(400, None, "end should not be before start")
        rows = actions(exchange, symbols or list(exchange.tape.symbols), start, end)
    if kinds:
        rows = [action for action in rows if action.kind in kinds]
    if sort == "desc":
        rows.reverse()
    page = Page.of(rows, read_limit(query, LIMIT_DEFAULT, LIMIT_MAX), query.get("page_token"))
    shown: dict[str, list[dict[str, Any]]] = {}
    for action in page.rows:
        shown.setdefault(f"{action.kind}s", []).append(_data_view(action))
    return {"corporate_actions": shown, "next_page_token": page.next_token}


def _data_day(query: dict[str, str], name: str, default: date) -> date:
    try:
        return date.fromisoformat(query[name][:10]) if query.get(name) else default
    except ValueError:
        raise Refusal(400, None, f"invalid {name}: {query[name][:40]}") from None


# --- /v2/corporate_actions/announcements --------------------------------------------------------------------------


def _announcement(action: Action) -> dict[str, Any]:
    day = action.day.isoformat()
    dividend = action.kind == "cash_dividend"
    new, old = (1, 1) if dividend else action.rates
    sub_type = {"cash_dividend": "cash", "forward_split": "stock_split"}.get(action.kind, "reverse_split")
    return {
        "id": action.id,
        "corporate_action_id": f"{action.symbol}_{action.day:%Y%m%d}",
        "ca_type": "dividend" if dividend else "split",
        "ca_sub_type": sub_type,
        "initiating_symbol": action.symbol,
        "initiating_original_cusip": "",
        "target_symbol": action.symbol,
        "target_original_cusip": "",
        "declaration_date": day,
        "ex_date": day,
        "record_date": day,
        "payable_date": day,
        "cash": decimal_text(parse_decimal(str(action.value))) if dividend else "0",
        "old_rate": decimal_text(parse_decimal(str(old))),
        "new_rate": decimal_text(parse_decimal(str(new))),
    }


def announcements(exchange: Exchange, query: dict[str, str]) -> list[dict[str, Any]]:
    """GET /v2/corporate_actions/announcements: types and a span of at most 90 days are required."""
    kinds = {kind.lower() for kind in (query.get("ca_types") or "").split(",") if kind}
    if not kinds or not kinds <= set(_ANNOUNCED):
        raise invalid("ca_types must be a comma-delimited list of dividend, merger, spinoff, split")
    try:
        since, until = (date.fromisoformat((query.get(name) or "")[:10]) for name in ("since", "until"))
    except ValueError:
        raise invalid("since and until are required, as YYYY-MM-DD") from None
    if until < since:
        raise invalid("until must not be before since")
    if until - since > timedelta(days=ANNOUNCEMENT_DAYS_MAX):
        raise invalid(f"the date range is limited to {ANNOUNCEMENT_DAYS_MAX} days")
    if query.get("date_type") not in (None, "", "declaration_date", "ex_date", "record_date", "payable_date"):
        raise invalid("invalid date_type")
    if query.get("cusip"):
        return []
    symbols = [query["symbol"]] if query.get("symbol") else list(exchange.tape.symbols)
    rows = [_announcement(action) for action in actions(exchange, symbols, since, until)]
    return [row for row in rows if row["ca_type"] in kinds]


def announcement(exchange: Exchange, name: str) -> dict[str, Any]:
    """GET /v2/corporate_actions/announcements/{id}."""
    history = exchange.tape.history
    for action in actions(exchange, list(exchange.tape.symbols), history.first_day, exchange.session.day):
        if action.id == name:
            return _announcement(action)
    raise missing(f"corporate action announcement not found for {name}")
