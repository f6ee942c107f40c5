"""Draws ``chain.svg``: the one chain from prices to reports, with its two doors. Run it to redraw."""

from __future__ import annotations

from pathlib import Path

WIDTH, HEIGHT = 1120, 430
BOX_W, BOX_H = 150, 64
SLOW = [
    ("prices", "files, Polygon, sample"),
    ("validated", "Great Expectations"),
    ("model", "LightGBM, hashed"),
    ("walk-forward", "net of costs, purged"),
    ("signals", "weights and reasons"),
]
FAST = [
    ("intent", "limits checked, reserved"),
    ("order", "sent once, by its id"),
    ("fills", "stream and sweep, once"),
    ("postings", "double entry, reconciled"),
    ("reports", "day, tear sheet, audit"),
]
DOORS = [("Door 1: approval", "a person, by content hash"), ("Door 2: risk gate", "every limit, every order")]


def box(x: float, y: float, title: str, text: str, kind: str, width: float = BOX_W) -> str:
    return (
        f'<g class="{kind}"><rect x="{x}" y="{y}" width="{width}" height="{BOX_H}" rx="8"/>'
        f'<text class="t" x="{x + width / 2}" y="{y + 27}">{title}</text>'
        f'<text class="s" x="{x + width / 2}" y="{y + 47}">{text}</text></g>'
    )


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="a" d="M{x1} {y1} L{x2} {y2}" marker-end="url(#h)"/>'


def row(y: float, cells: list[tuple[str, str]], kind: str) -> list[str]:
    parts = []
    for i, (title, text) in enumerate(cells):
        x = 40 + i * 215
        parts.append(box(x, y, title, text, kind))
        if i:
            parts.append(arrow(x - 65 + 2, y + BOX_H / 2, x - 4, y + BOX_H / 2))
    return parts


def draw() -> str:
    top, middle, bottom = 62, 186, 310
    last = 40 + 4 * 215 + BOX_W / 2
    parts = [
        '<text class="h" x="40" y="42">Slow clock: Prefect flows, on schedules. They propose.</text>',
        *row(top, SLOW, "slow"),
        f'<rect class="band" x="20" y="{middle - 16}" width="{WIDTH - 40}" height="96" rx="10"/>',
        f'<text class="l" x="40" y="{middle + 16}">Postgres ledger</text>',
        f'<text class="ls" x="40" y="{middle + 38}">every link carries the ids of the link before it;</text>',
        f'<text class="ls" x="40" y="{middle + 56}">hash-chained, append-only, balanced</text>',
        box(last - BOX_W / 2 - 20, middle, *DOORS[0], "door", BOX_W + 30),
        arrow(last - 10, top + BOX_H + 4, last - 10, middle - 4),
        box(430, middle, *DOORS[1], "door", BOX_W + 30),
        arrow(last - BOX_W / 2 - 24, middle + BOX_H / 2, 430 + BOX_W + 34, middle + BOX_H / 2),
        f'<path class="a" d="M430 {middle + BOX_H / 2} L392 {middle + BOX_H / 2} L392 {bottom - 22} L115 {bottom - 22} L115 {bottom - 4}" marker-end="url(#h)"/>',
        *row(bottom, FAST, "fast"),
        f'<text class="h" x="40" y="{bottom + BOX_H + 34}">Fast clock: the executor, one process. It alone sends orders, and comes back from any crash by the ledger and the broker.</text>',
    ]
    style = (
        "text{font-family:system-ui,-apple-system,Segoe UI,Helvetica,Arial,sans-serif;fill:#17324d}"
        ".t{font-size:16px;font-weight:600;text-anchor:middle}.s{font-size:11.5px;text-anchor:middle;fill:#4a6178}"
        ".h{font-size:15px}.l{font-size:16px;font-weight:600}.ls{font-size:12px;fill:#4a6178}"
        "rect{stroke-width:1.5}.slow rect{fill:#e8f1fb;stroke:#5b8fc7}.fast rect{fill:#e9f6ec;stroke:#57a36b}"
        ".door rect{fill:#fff3d6;stroke:#c98a1b}.band{fill:#f4f5f7;stroke:#c9d0d8}"
        ".a{stroke:#6b7f93;stroke-width:1.8;fill:none}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="The chain from prices to reports through approval and the risk gate">'
        f"<style>{style}</style><defs><marker id='h' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='8' "
        "markerHeight='8' orient='auto'><path d='M0 0 L8 4 L0 8 z' fill='#6b7f93'/></marker></defs>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff" stroke="none"/>'
        + "".join(parts)
        + "</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("chain.svg").write_text(draw(), encoding="utf-8")
