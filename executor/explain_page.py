"""The story of an order as a page for a terminal: what was known, the two doors, what happened, money, proof.

Marks carry the meaning, colour only repeats it, so the page reads the same in a pipe.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from executor.explain_order import happened, money, proof_of
from executor.explain_words import brief, facts, joined, moment, number, pct, said, usd, verdict_mark

Row = dict[str, Any]
REFUSALS_SHOWN = 3


def render(story: Row) -> RenderableType:
    """The whole page."""
    parts: list[RenderableType] = [
        _headline(story),
        Text(),
        _rule("What was known"),
        _known(story),
        Text(),
        _first_door(story),
    ]
    shown = story["refusals"][-REFUSALS_SHOWN:]
    if len(story["refusals"]) > len(shown):
        parts += [
            Text(
                f"\n{len(story['refusals'])} refusals in all; the last {len(shown)} are shown, --json has every one",
                "dim",
            )
        ]
    for refusal in shown:
        parts += [
            Text(),
            _second_door(refusal, refusal["checks"], refusal["limit_version"], refusal["reason"]),
        ]
    many = len(story["orders"]) > 1
    for told in story["orders"]:
        if many:
            parts += [Text(), _rule(told["order"]["client_order_id"], "bold"), Text(_sentence(told["order"]))]
        limits = told["limits"]
        parts += [
            Text(), _second_door(told["decision"] | {"order": told["order"], "kin": told["kin"]}, limits["checks"], limits, None),
            Text(), _rule("What happened  (UTC)"), happened(story, told),
            Text(), _rule("Money  (USD)"), money(told),
        ]  # fmt: skip
    parts += [Text(), _rule("Proof"), proof_of(story)]
    if story["missing"]:
        parts += [Text(), _rule("Not recorded"), *(Text(f"· {line}", "dim") for line in story["missing"])]
    return Group(*parts)


def _rule(title: str, style: str = "bold cyan") -> Rule:
    return Rule(Text(title, style), align="left", style="dim", characters="─")


# ---------------------------------------------------------------- the head


def _headline(story: Row) -> RenderableType:
    subject, ledger = story["subject"], story["ledger"]
    title = Text.assemble((subject["kind"].capitalize(), "bold"), "  ", (subject["id"], "bold cyan"))
    where = Text(f"{ledger['environment']} account {ledger['account'] or '(none yet)'}", "dim")
    orders, refusals = story["orders"], story["refusals"]
    if len(orders) == 1:
        line = Text(_sentence(orders[0]["order"]) + _company(story))
    else:
        symbol = (story["signal"] or {}).get("symbol") or (orders or refusals)[0]["symbol"]
        line = Text(
            f"{symbol}: {_count(len(orders), 'order')}, {_count(len(refusals), 'refusal')}" + _company(story)
        )
    return Group(title, line, where)


def _company(story: Row) -> str:
    found = story["instrument"]
    if not found or found["name"] in ("", found["symbol"]):
        return ""
    return f"  ·  {found['name']}" + (f", {found['sector']}" if found["sector"] else "")


def _count(n: int, what: str) -> str:
    return f"{n or 'no'} {what}{'' if n == 1 else 's'}"


def _sentence(order: Row) -> str:
    """``buy 10 of 10 AAPL at 128.31: DONE (filled)``."""
    head = f"{order['side']} {number(order['filled_qty'])} of {number(order['qty'])} {order['symbol']}"
    price = f" at {number(order['average_fill_price'])}" if order["average_fill_price"] is not None else ""
    status = f" ({order['broker_status']})" if order["broker_status"] else ""
    reason = f", {order['reason']}" if order["reason"] and not order["filled_qty"] else ""
    return f"{head}{price}  ·  {order['state']}{status}{reason}"


# ---------------------------------------------------------------- what was known


def _known(story: Row) -> RenderableType:
    rows: list[tuple[str, Any]] = []
    data, run, model, walk = (story[k] for k in ("data_set", "validation", "model", "walk_forward"))
    if data:
        rows.append(("prices", joined(
            data["id"], f"{data['rows']:,} rows, {data['symbols']} names, {data['first_session']} to {data['last_session']}",
            data["source"], f"content {brief(data['content_hash'])}", f"file {data['file_state']}",
            f"modelled, not observed: {', '.join(data['modelled']['columns'])}" if data["modelled"].get("columns") else "",
        )))  # fmt: skip
    rows.append(("validated", joined(
        f"{verdict_mark(run['verdict'] == 'passed')} {run['verdict']} by {run['suite']} {run['suite_version']} as of {run['as_of']}",
        f"{run['expectations']} expectations, {run['failed']} failed, {run['findings']} findings", moment(run["finished_at"]),
    ) if run else "no validation run"))  # fmt: skip
    if model:
        file = model["file"]
        same = {"matches": f"{verdict_mark(True)} file unchanged", "differs": f"{verdict_mark(False)} FILE CHANGED: {brief(file['found_sha256'] or '')}",
                "missing": "file not here"}[file["state"]]  # fmt: skip
        rows.append(("model", joined(
            model["id"], f"trained {model['trained_from']} to {model['trained_to']}", f"{len(model['features'])} features",
            f"expires {moment(model['expires_at'])}", f"{same}, sha256 {brief(file['recorded_sha256'])}",
        )))  # fmt: skip
    rows.append(("walk-forward", _walk(walk) if walk else "no walk-forward recorded"))
    signal, batch = story["signal"], story["batch"]
    if signal:
        score = "no score" if signal["score"] is None else f"score {signal['score']:+.4f}"
        rows.append(("signal", joined(f"{signal['symbol']} {pct(signal['target_weight'])} of equity", score)))
        if signal["contributions"]:
            ranked = sorted(signal["contributions"].items(), key=lambda item: -abs(item[1]))
            seen = signal["features"]
            reasons = (
                f"{name} {value:+.4f}" + (f" (at {seen[name]:.4g})" if seen.get(name) is not None else "")
                for name, value in ranked
            )
            rows.append(("because of", joined(*reasons)))
    if batch:
        rows.append(("batch", joined(
            str(batch["id"]), f"{batch['signals']} signals, gross {pct(batch['gross_weight'])}",
            f"proposed by {batch['proposer']} {moment(batch['proposed_at'])}", batch["state"],
        )))  # fmt: skip
        risk = batch["risk_snapshot"]
        if risk:
            rows.append(("risk inputs", joined(
                risk["id"], f"as of {risk['as_of']}, {risk['symbols']} names, {risk['scenarios']} scenarios",
                {"matches": f"{verdict_mark(True)} file unchanged", "differs": f"{verdict_mark(False)} FILE CHANGED", "missing": "file not here"}[risk["file"]["state"]],
            )))  # fmt: skip
    return facts(rows)


def _walk(walk: Row) -> str:
    """The figures a person asks for first; --json has every metric."""
    wanted = (
        ("sharpe_net", "Sharpe {:.2f} net"), ("sharpe_benchmark", "benchmark {:.2f}"), ("max_drawdown", "drawdown {:.1%}"),
        ("information_coefficient", "IC {:.4f}"), ("ic_t", "t {:.1f}"), ("psr", "PSR {:.3f}"), ("deflated_sharpe", "DSR {:.3f}"),
        ("pbo", "PBO {:.2f}"), ("folds", "{:.0f} folds"), ("sessions", "{:,.0f} sessions"),
    )  # fmt: skip
    shown = [
        form.format(walk["metrics"][name])
        for name, form in wanted
        if isinstance(walk["metrics"].get(name), (int, float))
    ]
    return joined(*shown) or f"{len(walk['metrics'])} metrics"


# ---------------------------------------------------------------- the two doors


def _door(title: str, is_open: bool | None, content: RenderableType) -> Panel:
    word, style = {True: ("open", "green"), False: ("shut", "red"), None: ("undecided", "yellow")}[is_open]
    head = Text.assemble((f" {title} ", "bold"), ("· ", "dim"), (f"{word} ", f"bold {style}"))
    return Panel(
        content,
        title=head,
        title_align="left",
        border_style=style,
        box=box.HEAVY if is_open is False else box.ROUNDED,
    )


def _first_door(story: Row) -> RenderableType:
    approval, batch = story["approval"], story["batch"]
    if approval is None or batch is None:
        return _door(
            "Door 1: approval",
            None,
            Text("not asked: an exit reduces what is held and needs no approval", "dim"),
        )
    now = approval["now"]
    rows: list[tuple[str, Any]] = []
    if "verdict" in approval:
        rows += [
            (approval["verdict"], joined(f"by {approval['approver']}", moment(approval["decided_at"]), f"“{approval['reason']}”")),
            ("valid", f"{moment(batch['valid_from'])} to {moment(batch['valid_until'])}"),
        ]  # fmt: skip
        same = now["content_hash_now"] == approval["content_hash"]
        rows.append(("content", f"{verdict_mark(same)} {brief(approval['content_hash'])}, "
                     + ("hashed again now: the same" if same else f"hashed again now: {brief(now['content_hash_now'])}, NOT WHAT WAS APPROVED")))  # fmt: skip
        if now["signed"]:
            tail = "holds, checked now" if now["holds"] else now["says"]
            rows.append(
                (
                    "signature",
                    f"{verdict_mark(bool(now['holds']))} Ed25519 by key {approval['key_id']}: {tail}",
                )
            )
        else:
            rows.append(
                ("signature", said(f"none: {approval['environment']} takes an approval without a key"))
            )
    else:
        rows.append(("waits", f"nobody has decided; valid until {moment(batch['valid_until'])}"))
    accepted = None if "verdict" not in approval else approval["verdict"] == "approved" and bool(now["holds"])
    return _door("Door 1: approval", accepted, facts(rows))


def _second_door(decision: Row, checks: list[Row], version: Any, refused: str | None) -> RenderableType:
    order = decision.get("order") or decision
    quote, inputs = decision["quote"], decision["inputs"]
    rows: list[tuple[str, Any]] = [
        ("asked", joined(_terms(order), f"entry {decision['seq']:,}", moment(decision["at"]))),
        ("quote", "no quote recorded" if quote is None else joined(
            f"{number(quote['bid'])} × {number(quote['ask'])}", f"mid {number(quote['mid'])}",
            f"{quote['spread_bps']:.1f} bps wide" if quote["spread_bps"] is not None else "",
            f"{quote['age_ms']:,.0f} ms old" if quote["age_ms"] is not None else "age unknown",
        )),
        ("book", joined(
            f"equity {usd(inputs.get('equity'))}", f"cash {usd(inputs.get('cash'))}",
            f"held {number(inputs.get('position'))}", f"mode {inputs.get('mode', '?')}",
        )),
    ]  # fmt: skip
    if refused is not None:
        rows.append(("refused", Text(refused, "bold red")))
    if isinstance(version, dict):
        by = f" by {version['author']}: {version['reason']}" if "author" in version else ""
        said_version = f"version {version['version']}{by}" + (
            "" if version.get("in_force", True) else "  (no longer in force)"
        )
    else:
        said_version = f"version {version}"
    rows.append(("limits", said_version))
    if kin := _kin(decision["kin"]) if "kin" in decision else "":
        rows.append(("belongs with", kin))
    return _door("Door 2: risk gate", refused is None, Group(facts(rows), _limits(checks)))


def _terms(order: Row) -> str:
    """``buy 10 AAPL stop_limit, stop 95, limit 94.5``."""
    prices = (
        ("limit", "limit_price"),
        ("stop", "stop_price"),
        ("trail", "trail_price"),
        ("trail %", "trail_percent"),
    )
    shown = [f"{word} {number(order[name])}" for word, name in prices if order.get(name) is not None]
    kind = order.get("order_type") or ""
    said_by_price = len(shown) == 1 and shown[0].startswith(f"{kind} ")
    words = [
        order.get("side") or "?",
        number(order.get("qty")),
        order["symbol"],
        "" if said_by_price else kind,
        ", ".join(shown),
    ]
    return " ".join(word for word in words if word)


def _kin(kin: Row) -> str:
    """Which other orders this one belongs with; empty if none."""
    return joined(
        f"leg of {kin['parent']}" if kin["parent"] else "", f"replaces {kin['replaces']}" if kin["replaces"] else "",
        f"replaced by {', '.join(kin['replaced_by'])}" if kin["replaced_by"] else "",
        f"legs {', '.join(kin['legs'])}" if kin["legs"] else "",
    )  # fmt: skip


def _limits(checks: list[Row]) -> RenderableType:
    if not checks:
        return Text("no limit's numbers are recorded with this decision", "dim")
    table = Table(box=None, header_style="dim", padding=(0, 1), pad_edge=False)
    for name, side in (
        ("", "left"),
        ("limit", "left"),
        ("before", "right"),
        ("after", "right"),
        ("bound", "right"),
        ("used", "left"),
    ):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for check in checks:
        ok, bound = bool(check["ok"]), check.get("limit")
        table.add_row(
            verdict_mark(ok), check["name"], number(check.get("before")), number(check.get("after")), number(bound),
            check.get("unknown") or _use(check.get("after"), bound), style="" if ok else "bold red",
        )  # fmt: skip
    return table


def _use(after: str | None, bound: str | None) -> Text:
    """How much of a bound is used, as a bar of ten and in percent."""
    if after is None or bound is None or not Decimal(bound):
        return Text("")
    share = max(float(Decimal(after) / Decimal(bound)), 0.0)
    style = "red" if share > 1 else "yellow" if share > 0.8 else "green"
    filled = min(round(share * 10), 10)
    return Text.assemble(("━" * filled, style), ("─" * (10 - filled), "dim"), f" {share:.0%}")
