"""The forward half of a story's page: what happened to an order, what it cost, and what proves it."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from executor.explain_words import brief, clock, facts, joined, moment, number, usd, verdict_mark

Row = dict[str, Any]
ENTRIES_SHOWN = 24


# ---------------------------------------------------------------- what happened


def happened(story: Row, told: Row) -> RenderableType:
    """Every event of one order in time: our states, the broker's messages, fills, alerts, reconciliation."""
    cid, decision = told["order"]["client_order_id"], told["decision"]
    events: list[tuple[dt.datetime, str, Text]] = [
        (decision["at"], "decide", Text(f"accepted by epoch {decision['epoch']} ({decision['holder'] or 'holder not recorded'})"))
    ]  # fmt: skip
    for state in told["states"]:
        why = joined(*dict.fromkeys(w for w in (state["broker_status"], state["reason"]) if w))
        came = "" if state["from"] == state["to"] else f"{state['from']} → "
        line = Text.assemble(came, (state["to"], "bold"), (f"  {why}" if why else "", "dim"))
        events.append((state["at"], "state", line))
    events += [(m["received_at"], "", _message(m)) for m in told["messages"]]
    for fill in told["fills"]:
        mark = "  ◀ the fill you asked for" if fill["asked"] else ""
        line = Text.assemble(
            (f"{number(fill['qty'])} at {number(fill['price'])}", "bold green"),
            (f"  by {fill['source']}, traded {moment(fill['filled_at'])}", "dim"), (mark, "bold yellow"),
        )  # fmt: skip
        events.append((fill["booked_at"], "fill", line))
    for back in told["reversals"]:
        gone = (
            f"{number(back['qty'])} at {number(back['price'])} taken back ({back['kind']}: {back['reason']})"
        )
        instead = f", now {number(back['replaced_qty'])} at {number(back['replaced_price'])}"
        mark = "  ◀ the fill you asked for" if back["asked"] else ""
        line = Text.assemble(
            (gone + (instead if back["replaced_by"] else ""), "yellow"), (mark, "bold yellow")
        )
        events.append((back["at"], "reverse", line))
        first = f"{number(back['qty'])} at {number(back['price'])}  by {back['source']}, taken back later"
        events.append((back["booked_at"], "fill", Text(first, "dim")))
    reservation = told["reservation"]
    if reservation and reservation["released_at"]:
        events.append(
            (
                reservation["released_at"],
                "release",
                Text(f"reservation ended as {reservation['released_as']}"),
            )
        )
    events += [
        (a["at"], "alert", Text(f"{a['severity']}: {a['title']}", "yellow"))
        for a in story["alerts"]
        if a["ref"] == cid
    ]
    run = told["reconciliation"]
    if run:
        verdict = "ledger and broker equal" if run["matched"] else f"{len(run['breaks'])} differences here"
        events.append((run["at"], "compare", Text(f"{verdict_mark(run['matched'])} {verdict} ({run['occasion']})", "" if run["matched"] else "bold red")))  # fmt: skip
    return _timeline(sorted(events, key=lambda event: event[0]), decision["at"])


def _timeline(events: list[tuple[dt.datetime, str, Text]], start: dt.datetime) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(style="dim", justify="right", no_wrap=True)
    table.add_column(style="dim", width=7, no_wrap=True)
    table.add_column(overflow="fold")
    day = None
    for at, kind, line in events:
        if at.date() != day:
            day = at.date()
            table.add_row(f"{day}", "", "", "")
        table.add_row(clock(at), _since(at - start), kind, line)
    return table


def _since(span: dt.timedelta) -> str:
    seconds = span.total_seconds()
    if abs(seconds) < 1:
        return f"{seconds * 1e3:+.0f} ms"
    return f"{seconds:+.1f} s" if abs(seconds) < 100 else f"{seconds:+,.0f} s"


def _message(message: Row) -> Text:
    """One line on a message: which way, what it was, and what it says if it can be read."""
    ours = message["direction"] == "out"
    what = message["request"] or message["channel"]
    if message["failure"]:
        return Text.assemble(("← ", "red"), (f"{what}  no answer: {message['failure']}", "red"))
    status = "" if message["status"] is None else f"{message['status']}  "
    style = "red" if (message["status"] or 200) >= 400 else "cyan"
    head = ("→ " if ours else "← ", style)
    tail = f"  message {message['message']}, {message['bytes']:,} bytes" + (
        "" if message["sha256_holds"] else "  HASH DIFFERS"
    )
    return Text.assemble(head, (f"{status}{_short(what)}", style), f"  {_says(message)}", (tail, "dim"))


def _short(request: str) -> str:
    """A request without its query."""
    return request.partition("?")[0]


def _says(message: Row) -> str:
    try:
        body = json.loads(message["body"] or "")
    except ValueError:
        return "no JSON" if message["bytes"] else "empty"
    if isinstance(body, list):
        return f"a list of {len(body)}"
    if not isinstance(body, dict):
        return "no object"
    if "message" in body:
        return f"{body.get('code', '')} {body['message']}".strip()
    data = _inner(body, "data")
    order = _inner(data, "order")
    event = f"{data['event']}: " if data.get("event") else ""
    price = f" limit {order['limit_price']}" if order.get("limit_price") else ""
    if message["direction"] == "out":
        return f"{order.get('side', '')} {order.get('qty', '')} {order.get('symbol', '')}{price}".strip()
    filled = f", filled {order['filled_qty']}" if order.get("filled_qty") not in (None, "0", 0) else ""
    return f"{event}{order.get('status', 'no status')}{filled}"


def _inner(row: Row, name: str) -> Row:
    """An object inside another, or the other itself where there is none."""
    found = row.get(name)
    return found if isinstance(found, dict) else row


# ---------------------------------------------------------------- money


def money(told: Row) -> RenderableType:
    """Postings and lots of the fills, and expected costs beside paid ones."""
    if not told["fills"]:
        return Text("nothing was filled: no posting, no lot, no cost", "dim")
    parts: list[RenderableType] = [_postings(told["fills"])]
    lots = [_lot(fill) for fill in told["fills"]]
    realised = sum(fill["realised_usd"] for fill in told["fills"])
    rows: list[tuple[str, Any]] = [("lots", joined(*(line for line in lots if line)))] if any(lots) else []
    rows += [
        ("taken back", f"reversal:{b['reversal_id']} of fill:{b['execution_id']}, {len(b['postings'])} lines")
        for b in told["reversals"]
    ]
    if any(fill["lots_closed"] for fill in told["fills"]):
        rows.append(("realised", f"{usd(realised)} first in first out, before fees"))
    return Group(*parts, facts(rows), Text(), _costs(told["costs"]))


def _postings(fills: list[Row]) -> RenderableType:
    table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
    for name, side in (
        ("transaction", "left"),
        ("account", "left"),
        ("asset", "left"),
        ("amount", "right"),
        ("", "left"),
    ):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for fill in fills:
        for n, line in enumerate(fill["postings"]):
            amount = usd(line["amount"]) if line["asset"] == "USD" else number(line["amount"])
            last = n == len(fill["postings"]) - 1
            sums = (
                f"{verdict_mark(fill['balanced'])} {'sums to zero' if fill['balanced'] else 'DOES NOT BALANCE'}"
                if last
                else ""
            )
            table.add_row(
                f"fill:{fill['execution_id']}" if n == 0 else "", line["account"], line["asset"], amount, sums
            )
    return table


def _lot(fill: Row) -> str:
    opened = [
        f"opened lot {lot['id']}: {number(lot['qty'])} at {number(lot['price'])}, {number(lot['remaining'])} left"
        for lot in fill["lots_opened"]
    ]
    closed = [
        f"closed {number(c['qty'])} of lot {c['lot_id']} ({number(c['opened_at_price'])} → {number(c['price'])}): {usd(c['pnl'])}"
        for c in fill["lots_closed"]
    ]
    return joined(*opened, *closed)


def _costs(costs: Row) -> RenderableType:
    expected, paid = costs["expected_for_filled"], costs["paid"]
    table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
    for name, side in (("cost", "left"), ("expected", "right"), ("paid", "right"), ("", "left")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    drift = None if paid["beyond_spread_usd"] is None else paid["beyond_spread_usd"]
    table.add_row(
        "half the spread",
        usd(expected.get("spread")),
        usd(paid["half_spread_usd"]),
        "as quoted at the decision",
    )
    table.add_row(
        "impact and drift", usd(expected.get("impact")), usd(drift), "what the price moved beyond that"
    )
    bps = f"{paid['slippage_bps']:+.2f} bps of {usd(paid['notional_usd'])}; arrival {number(paid['arrival_price'])}, average {number(paid['average_fill_price'])}"
    both = [expected.get(k) for k in ("spread", "impact")]
    table.add_row(
        "slippage",
        usd(sum(v for v in both if v)) if any(both) else usd(None),
        usd(paid["slippage_usd"]),
        bps,
        style="bold",
    )
    day = (
        "no fees booked for the day"
        if paid["day_fees_usd"] is None
        else f"{usd(paid['day_fees_usd'])} for the account's whole day"
    )
    table.add_row("fees", usd(expected.get("fees")), "–", day)
    return table


# ---------------------------------------------------------------- proof


def proof_of(story: Row) -> RenderableType:
    """The chain around every entry, the tables against it, and the anchor that covers them."""
    audit = story["audit"]
    whole = (
        f"{verdict_mark(True)} whole around all {audit['checked']} entries: each hash computed again, each follows the one before it"
        if audit["whole"] else f"{verdict_mark(False)} BROKEN at entry {audit['first_bad']}: {audit['reason']}"
    )  # fmt: skip
    agree = (
        f"{verdict_mark(True)} agree with the chain"
        if audit["tables_agree"]
        else f"{verdict_mark(False)} " + "; ".join(audit["differences"])
    )
    rows: list[tuple[str, Any]] = [
        ("chain", Text(whole, "" if audit["whole"] else "bold red")),
        ("tables", Text(agree, "" if audit["tables_agree"] else "bold red")),
    ]
    anchor = audit["anchor"]
    rows.append(
        (
            "anchor",
            joined(f"entry {anchor['seq']:,} at {moment(anchor['at'])}", anchor["place"])
            if anchor
            else "none covers them yet",
        )
    )
    for kind, line in _entries(audit["entries"]):
        rows.append((kind, line))
    rows.append(("", Text("the whole chain with its anchors: executor audit verify", "dim")))
    return facts(rows)


def _entries(entries: list[Row]) -> list[tuple[str, Any]]:
    """Kinds with their numbers; the head of the newest hash at the end."""
    kinds: dict[str, list[int]] = {}
    for entry in entries:
        kinds.setdefault(entry["kind"].lower(), []).append(entry["seq"])
    shown = [
        f"{kind} "
        + ", ".join(f"{n:,}" for n in numbers[:ENTRIES_SHOWN])
        + (" ..." if len(numbers) > ENTRIES_SHOWN else "")
        for kind, numbers in kinds.items()
    ]
    lines: list[tuple[str, Any]] = [("entries", joined(*shown))]
    if entries:
        lines.append(
            ("newest hash", Text(f"{brief(entries[-1]['hash'])} (entry {entries[-1]['seq']:,})", "dim"))
        )
    return lines
