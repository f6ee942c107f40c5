"""The shared look of every page: numbers, times, pages and small charts.

A page is one self-contained HTML file: its CSS is inline, it loads nothing, it follows the reader's
light or dark setting, reads on a phone and prints. A page shows no time of rendering, so that the same
ledger gives the same bytes.

Charts are SVG drawn here. The drawing stretches to the width of its column while the axis labels are
ordinary text beside it: a chart on a phone keeps readable labels and hairlines.
"""

from __future__ import annotations

import datetime as dt
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

NEW_YORK = ZoneInfo("America/New_York")
NOTHING = "–"
"""Shown where a value is unknown; a zero is shown as a zero."""

Number = Decimal | float | int
Tone = str
"""``good``, ``bad``, ``warn`` or ``plain``: the colour of a verdict, a pill or a bar."""


# ---------------------------------------------------------------- numbers and times


def number(value: Number | None, digits: int = 2, *, sign: bool = False) -> str:
    """``-1234.5`` → ``−1,234.50``; half to even; a rounded-away minus is dropped; unknown → ``–``."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOTHING
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not exact.is_finite():
        return NOTHING
    rounded = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
    if rounded == 0:
        return f"{abs(rounded):,f}"
    mark = "−" if rounded < 0 else "+" if sign else ""
    return f"{mark}{abs(rounded):,f}"


def money(value: Number | None, digits: int = 2, *, sign: bool = False) -> str:
    """US dollars, the minus before the sign of the currency: ``−$1,234.50``."""
    text = number(value, digits, sign=sign)
    if text == NOTHING:
        return text
    return f"{text[0]}${text[1:]}" if text[0] in "−+" else f"${text}"


def percent(value: Number | None, digits: int = 2, *, sign: bool = False) -> str:
    """A fraction as per cent: ``0.0123`` → ``1.23 %``."""
    if value is None:
        return NOTHING
    text = number(value * 100, digits, sign=sign)
    return text if text == NOTHING else f"{text} %"


def bps(value: Number | None, digits: int = 1, *, sign: bool = False) -> str:
    """Basis points, already in basis points: ``3.21`` → ``3.2 bp``."""
    text = number(value, digits, sign=sign)
    return text if text == NOTHING else f"{text} bp"


def shares(value: Number | None) -> str:
    """A quantity without trailing zeros: ``12.500000000`` → ``12.5``."""
    if value is None:
        return NOTHING
    text = number(value, 9)
    return text.rstrip("0").rstrip(".") if "." in text else text


def utc_text(moment: dt.datetime) -> str:
    """``2020-03-02 14:30:00.000125 UTC``, to the microsecond."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def clock(moment: dt.datetime | None, pattern: str = "%H:%M:%S") -> Markup | str:
    """New York time of day, with the exact UTC time in its title; ``moment`` is aware."""
    if moment is None:
        return NOTHING
    shown = moment.astimezone(NEW_YORK).strftime(pattern)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.astimezone(dt.UTC).isoformat(), utc_text(moment), shown
    )


def full_clock(moment: dt.datetime | None) -> Markup | str:
    """New York date and time of day, with the exact UTC time in its title."""
    return clock(moment, "%Y-%m-%d %H:%M:%S")


# ---------------------------------------------------------------- pages


@cache
def environment() -> Environment:
    """The Jinja2 environment of all pages: escaped by default, an unknown name is an error."""
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {
        "number": number,
        "money": money,
        "percent": percent,
        "bps": bps,
        "shares": shares,
        "clock": clock,
        "full_clock": full_clock,
        "decimal": lambda value: None if value is None else Decimal(str(value)),
    }
    return jinja


def render(template: str, out: Path, **context: Any) -> Path:
    """Render ``templates/<template>`` to the file ``out``, all or nothing, and return ``out``."""
    return write(out, environment().get_template(template).render(**context))


def write(out: Path, text: str) -> Path:
    """Write UTF-8 text so that a reader sees the old file or the new one, never a part."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.write_bytes(text.encode())
    partial.replace(out)
    return out


# ---------------------------------------------------------------- charts


@dataclass(frozen=True)
class Line:
    """One curve. ``values`` is as long as the chart's x; ``None`` breaks the curve."""

    label: str
    values: Sequence[Number | None]
    tone: str = "one"
    """CSS tone: ``one``, ``two``, ``three``, ``quiet``, ``good`` or ``bad``."""
    dashed: bool = False


@dataclass(frozen=True)
class Band:
    """A filled area between two curves, such as the 5th to the 95th percentile."""

    label: str
    low: Sequence[Number]
    high: Sequence[Number]
    opacity: float = 0.16


def line_chart(
    x: Sequence[dt.date] | Sequence[dt.datetime] | Sequence[float],
    lines: Sequence[Line],
    *,
    describe: str,
    y_format: Callable[[float], str],
    x_format: Callable[[Any], str] = str,
    bands: Sequence[Band] = (),
    height: int = 240,
    logarithmic: bool = False,
    zero: bool = False,
) -> Markup:
    """Curves (and bands) over time.

    ``describe`` is the text for a reader who does not see it. ``logarithmic`` draws log(y), which must be
    positive; ``zero`` keeps 0 in view. Moving over the drawing shows the values in the browser's tooltip.
    """
    at = [_position(value) for value in x]
    values = [float(v) for line in lines for v in line.values if v is not None]
    values += [float(v) for band in bands for v in (*band.low, *band.high)]
    values = [v for v in values if math.isfinite(v)]
    if len(at) < 2 or not values:
        return Markup('<p class="empty">Too few points to draw.</p>')
    scale: Callable[[float], float] = math.log if logarithmic else float
    ticks = _log_ticks(min(values), max(values)) if logarithmic else _ticks(values, zero=zero)
    low, high = scale(min(*values, ticks[0])), scale(max(*values, ticks[-1]))
    left, width = at[0], (at[-1] - at[0]) or 1.0

    def px(position: float) -> float:
        return round((position - left) / width * 1000, 2)

    def py(value: Number) -> float:
        return round((high - scale(float(value))) / ((high - low) or 1.0) * 1000, 2)

    shapes = [f'<path class="grid" d="M0 {py(t)}H1000"/>' for t in ticks]
    for band in bands:
        upper = [f"{px(p)} {py(v)}" for p, v in zip(at, band.high, strict=True)]
        lower = [f"{px(p)} {py(v)}" for p, v in zip(at, band.low, strict=True)]
        path = "M" + "L".join(upper + lower[::-1]) + "Z"
        shapes.append(f'<path class="band" style="opacity:{band.opacity}" d="{path}"/>')
    for line in lines:
        path, pen = "", "M"
        for p, v in zip(at, line.values, strict=True):
            if v is None or not math.isfinite(v):
                pen = "M"
                continue
            path += f"{pen}{px(p)} {py(v)}"
            pen = "L"
        dash = " dashed" if line.dashed else ""
        shapes.append(f'<path class="line {escape(line.tone)}{dash}" d="{path}"/>')
    shapes += _tooltips(x, [px(p) for p in at], lines, y_format, x_format)
    y_labels = [(py(t) / 10, y_format(t)) for t in ticks]
    first, span = cast("Any", x[0]), cast("Any", x[-1]) - cast("Any", x[0])
    x_labels = [(100 * i / 6, x_format(first + span * i / 6)) for i in range(7)]
    legend = [(line.label, line.tone, line.dashed) for line in lines]
    legend += [(band.label, "band", False) for band in bands]
    return _figure(shapes, y_labels, x_labels, legend, describe=describe, height=height)


def bar_chart(
    labels: Sequence[str],
    values: Sequence[Number],
    *,
    describe: str,
    y_format: Callable[[float], str],
    height: int = 200,
) -> Markup:
    """Upright bars from zero, coloured by sign; ``labels`` and ``values`` are of one length."""
    numbers = [float(v) for v in values]
    if not numbers:
        return Markup('<p class="empty">Nothing to draw.</p>')
    ticks = _ticks(numbers, zero=True)
    low, high = min(*numbers, ticks[0]), max(*numbers, ticks[-1])
    step = 1000 / len(numbers)

    def py(value: float) -> float:
        return round((high - value) / ((high - low) or 1.0) * 1000, 2)

    shapes = [f'<path class="grid" d="M0 {py(t)}H1000"/>' for t in ticks]
    for index, (label, value) in enumerate(zip(labels, numbers, strict=True)):
        tone = "bad" if value < 0 else "one"
        top, tall = min(py(value), py(0)), abs(py(value) - py(0))
        shapes.append(
            f'<rect class="bar {tone}" x="{(index + 0.18) * step:.2f}" y="{top}" width="{0.64 * step:.2f}" '
            f'height="{tall:.2f}"><title>{escape(label)}: {escape(y_format(value))}</title></rect>'
        )
    shapes.append(f'<path class="zero" d="M0 {py(0)}H1000"/>')
    every = max(1, math.ceil(len(labels) / 12))
    x_labels = [((i + 0.5) * step / 10, label) for i, label in enumerate(labels) if i % every == 0]
    y_labels = [(py(t) / 10, y_format(t)) for t in ticks]
    return _figure(shapes, y_labels, x_labels, [], describe=describe, height=height)


def meter(fraction: Number | None) -> Markup:
    """A bar of how much of a limit is used; over 80 % it warns, over 100 % it shouts."""
    if fraction is None:
        return Markup('<span class="meter none"></span>')
    used = float(fraction)
    tone = "bad" if used > 1 else "warn" if used > 0.8 else "one"
    return Markup('<span class="meter" title="{}"><i class="{}" style="width:{:.1f}%"></i></span>').format(
        percent(used, 1), tone, min(max(used, 0.0), 1.0) * 100
    )


def _figure(
    shapes: Sequence[str],
    y_labels: Sequence[tuple[float, str]],
    x_labels: Sequence[tuple[float, str]],
    legend: Sequence[tuple[str, str, bool]],
    *,
    describe: str,
    height: int,
) -> Markup:
    """The drawing with its labels as text around it; positions are per cent of the drawing."""
    keys = "".join(
        f'<li><i class="{tone}{" dashed" if dashed else ""}"></i>{escape(label)}</li>'
        for label, tone, dashed in legend
    )
    ys = "".join(f'<span class="y" style="top:{top:.2f}%">{escape(text)}</span>' for top, text in y_labels)
    xs = "".join(
        f'<span class="x{" odd" if i % 2 else ""}{" first" if left < 3 else " last" if left > 97 else ""}" '
        f'style="left:{left:.2f}%">{escape(text)}</span>'
        for i, (left, text) in enumerate(x_labels)
    )
    return Markup(  # noqa: S704 - every text in it was escaped above
        f'<figure class="chart">{f"<ul>{keys}</ul>" if keys else ""}'
        f'<div class="plot" style="height:{height}px">'
        f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label="{escape(describe)}">'
        f"{''.join(shapes)}</svg>{ys}{xs}</div></figure>"
    )


def _tooltips(
    x: Sequence[Any],
    pixels: Sequence[float],
    lines: Sequence[Line],
    y_format: Callable[[float], str],
    x_format: Callable[[Any], str],
) -> list[str]:
    """Invisible strips over the drawing, each with the values at its middle (at most 150 of them)."""
    stride = max(1, math.ceil(len(pixels) / 150))
    chosen = list(range(0, len(pixels), stride))
    strips = []
    for place, index in enumerate(chosen):
        before = pixels[chosen[place - 1]] if place else pixels[index]
        after = pixels[chosen[place + 1]] if place + 1 < len(chosen) else pixels[index]
        start, end = (before + pixels[index]) / 2, (after + pixels[index]) / 2
        rows = [x_format(x[index])]
        for line in lines:
            value = line.values[index]
            if value is not None:
                rows.append(f"{line.label}: {y_format(float(value))}")
        strips.append(
            f'<rect class="hover" x="{start:.2f}" y="0" width="{max(end - start, 1):.2f}" height="1000">'
            f"<title>{escape(chr(10).join(rows))}</title></rect>"
        )
    return strips


def _position(value: dt.datetime | dt.date | float) -> float:
    if isinstance(value, dt.datetime):
        return value.timestamp()
    if isinstance(value, dt.date):
        return float(value.toordinal())
    return float(value)


def _ticks(values: Sequence[float], *, zero: bool, count: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) that cover the values."""
    low, high = min(values), max(values)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= abs(high) * 1e-12:
        pad = abs(high) * 0.01 or 1.0
        low, high = low - pad, high + pad
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Values of 1, 2 and 5 times a power of ten between the ends; the ends themselves if none."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    inside = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return inside if len(inside) >= 2 else [low, high]
