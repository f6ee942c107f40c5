"""How the page of a story writes numbers, times, hashes and facts: one way each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

DOT = "  ·  "
HASH_CHARS = 12
LABEL_CHARS = 12


def printable(value: Any) -> Any:
    """The same with every control character shown as ``�``: what a broker sent must not steer a terminal."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c == " " else "�" for c in value)
    if isinstance(value, dict):
        return {k: printable(v) for k, v in value.items()}
    return [printable(v) for v in value] if isinstance(value, list) else value


def facts(rows: Iterable[tuple[str, Any]]) -> RenderableType:
    """Labels at the left, what they say at the right."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", width=LABEL_CHARS, no_wrap=True)
    table.add_column(overflow="fold")
    for label, content in rows:
        table.add_row(label, Packed(content) if isinstance(content, str) else content)
    return table


class Packed:
    """Facts with a dot between them, as many to a line as fit: a line ends between two facts, not in one."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for part in self.line.split(DOT):
            longer = f"{lines[-1]}{DOT}{part}" if lines[-1] else part
            if cell_len(longer) <= options.max_width or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(part)
        yield Text("\n".join(lines), overflow="fold")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(20, options.max_width), min(cell_len(self.line), options.max_width))


def joined(*parts: str) -> str:
    """Facts of one line, a dot between them."""
    return DOT.join(part for part in parts if part)


def moment(at: dt.datetime) -> str:
    """``2022-12-28 14:58:12 UTC``."""
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(at: dt.datetime) -> str:
    """``14:58:12.345``."""
    return f"{at.astimezone(dt.UTC):%H:%M:%S.%f}"[:-3]


def number(value: Any) -> str:
    """A number without needless zeros, thousands apart; a dash for one that is not there."""
    if value is None:
        return "–"
    try:
        exact = Decimal(str(value))
    except InvalidOperation:
        return str(value)
    shown = f"{exact:,f}" if exact else "0"  # a zero has no sign
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def usd(value: Any) -> str:
    """Money to the cent; a dash for what is not there."""
    if value is None:
        return "–"
    return f"{Decimal(str(value)):,.2f}"


def pct(weight: Decimal) -> str:
    """A fraction in percent."""
    return f"{float(weight):.2%}"


def brief(digest: str) -> str:
    """The first characters of a hash."""
    return digest[:HASH_CHARS]


def verdict_mark(good: bool) -> str:
    """A mark that needs no colour."""
    return "✓" if good else "✗"


def said(text: str) -> Text:
    """A remark."""
    return Text(text, "dim")
