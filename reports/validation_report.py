"""The nightly validation report: one page that a tired person understands.

Verdict first; then what changed since the last one, the worst findings with a small chart each, the symbols
in quarantine and why, the coverage, what a person overruled, and what was checked. Self-contained HTML;
modelled columns are marked at the top. `validation_message` says the same in a few lines for a telephone.
"""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup, escape

from market.quality import CHECKS, SEVERITIES
from reports.data_validation import ValidationOutcome, headline_of
from reports.page import Line, line_chart, number, render

_WORST = 9
_CARDS_A_CHECK = 2
_SHARED = 5  # symbols with the same fault on the same day share one line
_SESSIONS_AROUND = 30  # on each side of a finding in its chart
_STRIP_SESSIONS = 60
_NEWEST = 5  # sessions that a reader's eye goes to first
_MAP_ROWS = 24  # of the heat map: a symbol each, or a stretch of the alphabet
_NAMED = 12  # symbols a short message names
_POINTS = 400  # of the coverage curve; more are not seen


@dataclass(frozen=True)
class _Worst:
    finding: dict[str, Any]
    more: int  # further findings of the same check and severity
    chart: Markup


def write_validation_report(
    prices: pl.DataFrame,
    outcome: ValidationOutcome,
    *,
    out: Path,
    data_set_id: str = "",
    source: str = "",
    modelled: dict[str, Any] | None = None,
    previous: Sequence[dict[str, Any]] | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write the report of one validation to the file `out` and return it.

    `prices` is the frame that `outcome` judged. `modelled` is the data set's mark (empty or None for real
    data). `previous` are the findings of the validation before (as in `ValidationOutcome.findings`, or as
    read back from its JSON), for "what changed"; None leaves that part out. `links` are (name, address) of
    other pages.
    """
    known = prices.filter(pl.col("date") <= outcome.as_of)
    headline, points = headline_of(outcome)
    sessions = known.group_by("date").agg(pl.col("symbol").n_unique().alias("symbols")).sort("date")
    on_newest = known.filter(pl.col("date") == outcome.newest_session)["symbol"].n_unique()
    return render(
        "validation_report.html",
        out,
        outcome=outcome,
        tone="good" if outcome.passed else "bad",
        headline=headline,
        points=points,
        data_set_id=data_set_id,
        source=source,
        modelled=modelled or {},
        symbols=known["symbol"].n_unique(),
        on_newest=on_newest,
        rows=known.height,
        first=known["date"].min(),
        last=known["date"].max(),
        worst=_worst(known, sessions, outcome.findings),
        quarantine=_quarantine(outcome),
        changes=None if previous is None else changes(outcome.findings, previous),
        overruled=[finding for finding in outcome.findings if finding.get("overruled")],
        heat=_heat_map(known, outcome),
        links=list(links),
        strip=_strip(sessions.tail(_STRIP_SESSIONS)),
        coverage=_coverage(sessions),
        checks=_checks(outcome.findings),
        site=_relative(outcome.site, out),
    )


def _worst(known: pl.DataFrame, sessions: pl.DataFrame, findings: Sequence[dict[str, Any]]) -> list[_Worst]:
    """The worst findings, at most two cards a check and severity, so that one mass fault does not hide the
    rest."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    recent = sessions["date"].tail(_NEWEST)[0]
    fresh = sorted(
        findings, key=lambda f: (SEVERITIES.index(f["severity"]), f["last"] is None or f["last"] < recent)
    )
    for finding in fresh:  # worst first already; among equals what is of the newest sessions
        groups.setdefault((finding["severity"], finding["check"]), []).append(finding)
    cards: list[_Worst] = []
    for group in groups.values():
        subjects: dict[str | None, dict[str, Any]] = {}
        for finding in group:
            subjects.setdefault(finding["symbol"], finding)
        chosen = list(subjects.values())[:_CARDS_A_CHECK]
        for finding in chosen:
            more = len(group) - len(chosen) if finding is chosen[-1] else 0
            cards.append(_Worst(finding, more, _chart(known, sessions, finding)))
    return cards[:_WORST]


def _chart(known: pl.DataFrame, sessions: pl.DataFrame, finding: dict[str, Any]) -> Markup:
    """The symbol's closes and ranges around the finding; for the whole delivery, the symbols a session."""
    if finding["symbol"] is None:
        around = _around(sessions, finding["last"])
        return _spark(
            around["date"].to_list(), around["symbols"].to_list(), (finding["first"], finding["last"]), unit="symbols"
        )  # fmt: skip
    around = _around(known.filter(pl.col("symbol") == finding["symbol"]), finding["first"])
    return _spark(
        around["date"].to_list(),
        around["close"].to_list(),
        (finding["first"], finding["last"]),
        unit="close, USD",
        lows=around["low"].to_list(),
        highs=around["high"].to_list(),
    )


def _around(frame: pl.DataFrame, day: date | None) -> pl.DataFrame:
    place = frame.height if day is None else int((frame["date"] < day).sum())
    start = max(0, place - _SESSIONS_AROUND)
    return frame.slice(start, place + _SESSIONS_AROUND - start)


def _spark(
    days: list[date],
    values: list[float | None],
    marked: tuple[date | None, date | None],
    *,
    unit: str,
    lows: list[float | None] | None = None,
    highs: list[float | None] | None = None,
) -> Markup:
    """A small SVG: the range of each session as a thin bar, the value as a line, the marked session in
    red."""
    width, height, left, top = 340, 104, 44, 10
    numbers = [v for v in [*values, *(lows or []), *(highs or [])] if v is not None]
    if len(days) < 2 or not numbers:
        return Markup('<p class="empty">Too few sessions to draw.</p>')
    low, high = min(numbers), max(numbers)
    span = (high - low) or abs(high) * 0.02 or 1.0
    if high == low:
        low -= span / 2

    def x(index: int) -> float:
        return round(left + (width - left - 6) * index / (len(days) - 1), 1)

    def y(value: float) -> float:
        return round(top + (height - 18 - top) * (1 - (value - low) / span), 1)

    shapes = []
    # A day without a row (a missing session) is marked where it would have been.
    first, last = marked
    place = next((i for i, day in enumerate(days) if first is not None and day >= first), len(days) - 1)
    end = next((i for i, day in enumerate(days) if last is not None and day >= last), len(days) - 1)
    if first is not None:
        shapes.append(
            f'<rect class="mark" x="{x(place) - 4}" y="{top - 6}" width="{round(x(max(end, place)) - x(place), 1) + 8}" '
            f'height="{height - 18}"/>'
        )
    for i, (a, b) in enumerate(zip(lows or [], highs or [], strict=True)):
        if a is not None and b is not None:
            shapes.append(f'<path class="range" d="M{x(i)} {y(a)}V{y(b)}"/>')
    path, pen = "", "M"
    for i, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        path += f"{pen}{x(i)} {y(value)}"
        pen = "L"
    shapes.append(f'<path class="value" d="{path}"/>')
    at = values[place]
    if first is not None and at is not None:
        shapes.append(f'<circle class="dot" cx="{x(place)}" cy="{y(at)}" r="3.2"/>')
    digits = 0 if unit == "symbols" else 2
    texts = [
        (left - 6, y(max(numbers)) + 4, "end", number(max(numbers), digits)),
        (left - 6, y(min(numbers)) + 4, "end", number(min(numbers), digits)),
        (left, height - 2, "start", days[0].isoformat()),
        (width - 6, height - 2, "end", days[-1].isoformat()),
    ]
    labels = "".join(f'<text x="{a}" y="{b}" text-anchor="{c}">{escape(d)}</text>' for a, b, c, d in texts)
    said = f"{unit} from {days[0]} to {days[-1]}" + (f", marked from {first}" if first else "")
    return Markup(  # noqa: S704 - numbers, dates and escaped text only
        f'<svg class="spark" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}">'
        f"<title>{escape(said)}</title>{''.join(shapes)}{labels}</svg>"
    )


def _quarantine(outcome: ValidationOutcome) -> list[dict[str, Any]]:
    """Who is in quarantine and why: one row a symbol, or one row for all that share a fault of one day."""
    hurt = [f for f in outcome.findings if f["symbol"] in outcome.quarantined and f["severity"] != "note"]
    by_fault: dict[tuple[str, date | None], list[dict[str, Any]]] = {}
    for finding in hurt:
        by_fault.setdefault((finding["check"], finding["first"]), []).append(finding)
    rows: list[dict[str, Any]] = []
    alone: dict[str, list[dict[str, Any]]] = {}
    for group in by_fault.values():
        symbols = sorted({finding["symbol"] for finding in group})
        if len(symbols) >= _SHARED:
            rows.append({"symbols": symbols, "findings": group[:1], "more": 0})
        else:
            for finding in group:
                alone.setdefault(finding["symbol"], []).append(finding)
    for symbol, own in sorted(alone.items()):
        rows.append({"symbols": [symbol], "findings": own[:3], "more": max(0, len(own) - 3)})
    return rows


def changes(findings: Sequence[dict[str, Any]], previous: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is new since the validation before, how many findings are gone, and who came into and out of
    quarantine."""

    def key(finding: dict[str, Any]) -> tuple[str, str, str, str]:
        return (finding["check"], finding["severity"], str(finding["symbol"]), str(finding["first"]))

    def held(rows: Sequence[dict[str, Any]]) -> set[str]:
        return {row["symbol"] for row in rows if row["symbol"] and row["severity"] != "note"}

    before = {key(finding) for finding in previous}
    now = {key(finding) for finding in findings}
    return {
        "new": [f for f in findings if key(f) not in before],
        "gone": len(before - now),
        "entered": sorted(held(findings) - held(previous)),
        "left": sorted(held(previous) - held(findings)),
    }


def validation_message(
    outcome: ValidationOutcome, previous: Sequence[dict[str, Any]] | None, page: str
) -> tuple[str, str]:
    """Title and text for a telephone: the verdict, why, what changed, who is in quarantine, where the page
    is."""
    headline, points = headline_of(outcome)
    lines = [headline, ", ".join(text for _, text in points) + "."]
    lines += [f"- {failure}" for failure in outcome.failures[:3]]
    blocking = [finding for finding in outcome.findings if finding["severity"] == "block"]
    lines += [f"- {finding['symbol'] or 'whole delivery'}: {finding['detail']}" for finding in blocking[:3]]
    if previous is not None:
        moved = changes(outcome.findings, previous)
        for word, names in (("New in quarantine", moved["entered"]), ("Out of quarantine", moved["left"])):
            if names:
                lines.append(f"{word}: {_few(names)}.")
        if not moved["new"] and not moved["gone"]:
            lines.append("Nothing changed since the last validation.")
    elif outcome.quarantined:
        lines.append(f"In quarantine: {_few(outcome.quarantined)}.")
    lines.append(f"Report: {page}")
    return f"Prices of {outcome.newest_session}: {outcome.verdict}", "\n".join(lines)


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _heat_map(known: pl.DataFrame, outcome: ValidationOutcome) -> dict[str, Any]:
    """Symbols (or stretches of the alphabet) down, the last sessions across: who was delivered, and where a
    finding lies."""
    days = known["date"].unique().sort().tail(_STRIP_SESSIONS)
    recent = known.filter(pl.col("date") >= days[0]).select("symbol", "date").unique()
    names = recent["symbol"].unique().sort().to_list()
    size = max(1, -(-len(names) // _MAP_ROWS))
    place = {name: i // size for i, name in enumerate(names)}
    rows = [names[i : i + size] for i in range(0, len(names), size)]
    marked: set[tuple[int, date]] = set()
    for finding in outcome.findings:
        if finding["severity"] != "note" and finding["symbol"] in place and finding["last"] >= days[0]:
            marked |= {
                (place[finding["symbol"]], day) for day in days if finding["first"] <= day <= finding["last"]
            }
    born = dict(recent.group_by("symbol").agg(pl.col("date").min()).iter_rows())
    have = set(recent.iter_rows())
    grid = []
    for i, group in enumerate(rows):
        cells = []
        for day in days:
            due = [name for name in group if born[name] <= day]
            share = sum((name, day) in have for name in due) / len(due) if due else None
            cells.append(
                {
                    "date": day,
                    "share": share,
                    "tone": "none" if share is None else _tone(share),
                    "marked": (i, day) in marked,
                }
            )
        label = group[0] if len(group) == 1 else f"{group[0]} – {group[-1]}"
        grid.append({"label": label, "symbols": len(group), "cells": cells})
    return {"rows": grid, "days": days.to_list(), "group": size}


def _strip(sessions: pl.DataFrame) -> list[dict[str, Any]]:
    """The last sessions as cells: the share of the most symbols seen among them."""
    most = max(sessions["symbols"].to_list(), default=1)
    return [
        {"date": day, "symbols": count, "share": count / most, "tone": _tone(count / most)}
        for day, count in sessions.iter_rows()
    ]


def _tone(share: float) -> str:
    return "good" if share >= 0.98 else "warn" if share >= 0.9 else "bad"


def _coverage(sessions: pl.DataFrame) -> Markup:
    """Symbols a session over the whole history; of each stretch the smallest number, so no hole is thinned
    away."""
    every = max(1, sessions.height // _POINTS)
    thinned = (
        sessions.with_row_index("at")
        .group_by((pl.col("at") // every).alias("stretch"), maintain_order=True)
        .agg(pl.col("date").first(), pl.col("symbols").min())
    )
    return line_chart(
        thinned["date"].to_list(),
        [Line("symbols delivered", thinned["symbols"].to_list())],
        describe="Symbols delivered per session over the whole history",
        y_format=lambda value: number(value, 0),
        x_format=lambda day: str(day)[:7],
        height=160,
        zero=True,
    )


def _checks(findings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    table = {check: dict.fromkeys(SEVERITIES, 0) for check in CHECKS}
    for finding in findings:
        table[finding["check"]][finding["severity"]] += 1
    return [{"check": check, "claim": CHECKS[check], **counts} for check, counts in table.items()]


def _relative(target: Path, page: Path) -> str:
    """A link that survives moving the whole reports folder."""
    return Path(os.path.relpath(target.resolve(), page.resolve().parent)).as_posix()
