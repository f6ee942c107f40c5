"""One order from its decision to its last cent: quote, limits, states, messages, fills, money, costs."""

from __future__ import annotations

import base64
import hashlib
import json
from decimal import Decimal

from sql.reader import Reader, Row

ZERO = Decimal(0)


def order_story(read: Reader, cid: str, asked_fill: str | None) -> Row:
    """Everything about one order that is in the ledger; ``asked_fill`` marks the fill a person asked for."""
    order = read.row("SELECT * FROM v_orders WHERE client_order_id = :c", c=cid)
    more = read.row("SELECT cost_estimate, filled_notional FROM orders WHERE client_order_id = :c", c=cid)
    assert order is not None
    assert more is not None
    decision = read.row("SELECT * FROM v_decisions WHERE seq = :s", s=order["decision_seq"])
    assert decision is not None
    quote = quote_of(decision["inputs"])
    if quote is None:
        read.lacks(f"no quote recorded with the decision on {cid}")
    fills = _fills(read, cid, asked_fill)
    return {
        "order": order,
        "kin": _kin(read, order),
        "filled_notional": more["filled_notional"],
        "decision": {
            **{k: decision[k] for k in ("seq", "at", "market_time", "verdict", "reason", "epoch")},
            "holder": (read.row("SELECT holder FROM epoch WHERE number = :n", n=order["epoch"]) or {}).get(
                "holder"
            ),
            "quote": quote,
            "inputs": decision["inputs"],
        },
        "limits": _limits(read, decision),
        "states": _states(read, cid),
        "messages": _messages(read, order, fills),
        "fills": fills,
        "reversals": _reversals(read, cid, asked_fill),
        "costs": _costs(read, order, more["cost_estimate"], quote, fills),
        "reservation": read.row("SELECT * FROM reservation WHERE client_order_id = :c", c=cid),
        "reconciliation": _reconciliation(read, order, fills),
    }


def quote_of(inputs: Row) -> Row | None:
    """The quote a decision was taken on, with mid and spread; None if none is recorded."""
    if inputs.get("bid") is None or inputs.get("ask") is None:
        return None
    bid, ask = Decimal(str(inputs["bid"])), Decimal(str(inputs["ask"]))
    mid = (bid + ask) / 2
    spread = (ask - bid) / mid * 10_000 if mid else None
    return {
        "bid": bid, "ask": ask, "mid": mid, "spread_bps": None if spread is None else round(spread, 4),
        "age_ms": inputs.get("quote_age_ms"), "time": inputs.get("quote_time"),
    }  # fmt: skip


def _kin(read: Reader, order: Row) -> Row:
    """Orders this one belongs with: its parent, its legs, what it replaces and what replaced it."""
    cid = order["client_order_id"]
    # Legs and replacements share the root of their reservation; a target's replacement shares its signal.
    rows = read.rows(
        "SELECT o.client_order_id, o.parent_client_order_id, o.replaces_client_order_id FROM orders o WHERE o.client_order_id IN ("
        "SELECT r.client_order_id FROM reservation r WHERE r.root <> r.client_order_id AND r.root = ("
        "SELECT own.root FROM reservation own WHERE own.client_order_id = :c) "
        "UNION SELECT s.client_order_id FROM orders s WHERE s.signal_id = :signal) ORDER BY 1", c=cid, signal=order["signal_id"],
    )  # fmt: skip
    return {
        "parent": order["parent_client_order_id"],
        "replaces": order["replaces_client_order_id"],
        "legs": [r["client_order_id"] for r in rows if r["parent_client_order_id"] == cid],
        "replaced_by": [r["client_order_id"] for r in rows if r["replaces_client_order_id"] == cid],
    }


def _limits(read: Reader, decision: Row) -> Row:
    version = read.row(
        "SELECT version, effective_from, author, reason, "
        "version = (SELECT max(version) FROM limit_version WHERE effective_from <= clock_timestamp()) AS in_force "
        "FROM limit_version WHERE version = :v", v=decision["limit_version"],
    )  # fmt: skip
    checks = decision["limits"] or []
    if not checks:
        read.lacks("no limit's numbers are recorded with the decision")
    return (version or {"version": decision["limit_version"]}) | {"checks": checks}


def _states(read: Reader, cid: str) -> list[Row]:
    found = []
    for row in read.rows(
        "SELECT seq, at, body FROM audit_log WHERE kind = 'STATE' AND ref = :c ORDER BY seq", c=cid
    ):
        body = json.loads(row.pop("body"))
        found.append(row | {k: body.get(k) for k in ("from", "to", "broker_id", "broker_status", "reason")})
    return found


def _messages(read: Reader, order: Row, fills: list[Row]) -> list[Row]:
    """Every message that brought news of the order, as it came; bytes that are no UTF-8 in base64."""
    refs = [r for r in (order["client_order_id"], order["broker_order_id"]) if r]
    rows = read.rows(
        "SELECT * FROM v_messages WHERE refs && CAST(:refs AS text[]) ORDER BY received_at, message",
        refs=refs,
    )
    for row in rows:
        body = bytes(row.pop("body"))
        row["sha256_holds"] = hashlib.sha256(body).hexdigest() == row["sha256"]
        try:
            row["body"], row["body_base64"] = body.decode(), None
        except UnicodeDecodeError:
            row["body"], row["body_base64"] = None, base64.b64encode(body).decode()
    if not rows and order["state"] not in ("INTENT", "VOID"):
        read.lacks("no message of the broker about this order is kept (its month may have been dropped)")
    return rows


def _fills(read: Reader, cid: str, asked: str | None) -> list[Row]:
    fills = read.rows(
        "SELECT execution_id, broker_execution_id, qty, price, notional_usd, filled_at, booked_at, source, shortfall_usd FROM v_fills "
        "WHERE client_order_id = :c ORDER BY filled_at, booked_at", c=cid,
    )  # fmt: skip
    txns = [f"fill:{f['execution_id']}" for f in fills]
    postings = read.rows(
        "SELECT txn, line, account, asset, amount, at FROM posting WHERE txn = ANY(:t) ORDER BY txn, line",
        t=txns,
    )
    opened = read.rows(
        "SELECT txn, id, qty, price, remaining FROM lot WHERE txn = ANY(:t) ORDER BY id", t=txns
    )
    closed = read.rows(
        "SELECT c.txn, c.lot_id, l.opened_at, l.txn AS opened_by, l.price AS opened_at_price, c.qty, c.price, c.pnl "
        "FROM lot_close c JOIN lot l ON l.id = c.lot_id WHERE c.txn = ANY(:t) ORDER BY c.id", t=txns,
    )  # fmt: skip
    for fill, txn in zip(fills, txns, strict=True):
        fill["asked"] = fill["execution_id"] == asked
        for name, rows in (("postings", postings), ("lots_opened", opened), ("lots_closed", closed)):
            fill[name] = [{k: v for k, v in r.items() if k != "txn"} for r in rows if r["txn"] == txn]
        fill["realised_usd"] = sum((r["pnl"] for r in fill["lots_closed"]), ZERO)
        sums: dict[str, Decimal] = {}
        for p in fill["postings"]:
            sums[p["asset"]] = sums.get(p["asset"], ZERO) + p["amount"]
        fill["balanced"] = bool(sums) and not any(sums.values())
    return fills


def _reversals(read: Reader, cid: str, asked: str | None) -> list[Row]:
    """Executions that the broker took back or corrected, or that the true one replaced; not among the fills."""
    rows = read.rows(
        "SELECT r.*, f.filled_at, f.booked_at, f.source FROM v_reversals r JOIN fill f USING (execution_id) "
        "WHERE r.client_order_id = :c ORDER BY r.at", c=cid,
    )  # fmt: skip
    for row in rows:
        row["asked"] = row["execution_id"] == asked
        row["postings"] = read.rows(
            "SELECT line, account, asset, amount, at FROM posting WHERE txn = :t ORDER BY line",
            t=f"reversal:{row['reversal_id']}",
        )
    return rows


def _costs(read: Reader, order: Row, expected: Row, quote: Row | None, fills: list[Row]) -> Row:
    """Expected costs, scaled to what was filled, beside what was paid; USD, positive is a cost.

    Slippage is against the mid at the decision. Half of the quoted spread of it was known beforehand; the
    rest is impact and the market's move. The broker posts fees for the whole account and day, not by order.
    """
    filled = order["filled_qty"]
    notional = sum((f["notional_usd"] for f in fills), ZERO)
    slippage = sum((f["shortfall_usd"] for f in fills), ZERO)
    half = None if quote is None else (quote["ask"] - quote["bid"]) / 2 * filled
    share = float(filled / order["qty"])
    if not expected:
        read.lacks("no expected costs recorded with the decision")
    day = order["market_time"].strftime("%Y%m%d")
    fees = read.row(
        "SELECT sum(amount) AS usd FROM posting WHERE account = 'fees' AND txn LIKE :like",
        like=f"activity:{day}%",
    )
    day_fees = fees["usd"] if fees else None
    if filled and day_fees is None:
        read.lacks(f"no fees of the broker are booked for {order['market_time']:%Y-%m-%d}")
    elif filled:
        read.lacks("fees by order: the broker posts one sum for the account's day")
    return {
        "expected": expected,
        "expected_for_filled": {k: round(v * share, 6) for k, v in expected.items() if k != "bps"},
        "paid": {
            "arrival_price": order["arrival_price"],
            "average_fill_price": order["average_fill_price"],
            "notional_usd": notional,
            "slippage_usd": slippage if fills else None,
            "slippage_bps": round(slippage / notional * 10_000, 4) if notional else None,
            "half_spread_usd": half if fills else None,
            "beyond_spread_usd": slippage - half if fills and half is not None else None,
            "day_fees_usd": day_fees,
        },
    }


def _reconciliation(read: Reader, order: Row, fills: list[Row]) -> Row | None:
    """The first comparison with the broker after the order's last event, with the differences it found here."""
    last = max([order["updated_at"], *(f["booked_at"] for f in fills)])
    run = read.row(
        "SELECT id, at, market_time, occasion, matched, ledger_cash, broker_cash, compared FROM reconciliation_run "
        "WHERE at >= :at ORDER BY at LIMIT 1", at=last,
    )  # fmt: skip
    if run is None:
        read.lacks("no reconciliation has covered this order since its last event")
        return None
    breaks = read.rows(
        "SELECT kind, ref, ledger_value, broker_value, explanation FROM reconciliation_break WHERE run_id = :id "
        "AND ref = ANY(:refs)", id=run["id"], refs=[order["symbol"], order["client_order_id"], "USD"],
    )  # fmt: skip
    return run | {"breaks": breaks}
