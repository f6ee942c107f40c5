"""The life of an order as text and picture, generated from the table so that it cannot drift."""

from __future__ import annotations

from executor.core.orders import TERMINAL, TRANSITIONS


def markdown() -> str:
    """The page ``docs/order-states.md``: a Mermaid state diagram and the table row by row."""
    edges = sorted({(str(a), str(b)) for (a, _), b in TRANSITIONS.items() if a is not b})
    lines = [
        "# The life of an order",
        "",
        "Generated from the table in `executor/core/orders.py`: `python -m executor.core.diagram`.",
        "Postgres holds the same edges as data and refuses any other.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> INTENT",
        *(f"    {before} --> {after}" for before, after in edges),
        *(f"    {state} --> [*]" for state in sorted(TERMINAL)),
        "```",
        "",
        "| state | evidence | state after |",
        "|---|---|---|",
        *(f"| {before} | {evidence} | {after} |" for (before, evidence), after in TRANSITIONS.items()),
        "",
        "Evidence without a row changes nothing. A fill is booked in any state; a fill for an order that was",
        "proven never sent halts the executor.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(), end="")
