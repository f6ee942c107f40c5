"""The life of an order as text and picture, generated from the table so that it cannot drift."""

from __future__ import annotations

from executor.core.orders import ARRIVAL_MAX_NS, QUARANTINE_NS, QUARANTINE_READS, TERMINAL, TRANSITIONS


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
        "Evidence without a row changes nothing. A fill is booked in any state and once by its execution id; one",
        "for an order that had ended is told to a person, one for an order that was proven never to trade halts.",
        "An order that the broker shows as ended with more filled than is booked stays open until those fills are.",
        "",
        f"UNKNOWN keeps its reservation. Its id is sent again when it has been unknown for {QUARANTINE_NS // 10**9} s and",
        f"looked for {QUARANTINE_READS} times in vain (by id and in the full list), if its signal is still valid and every",
        "check passes anew. It is called never sent only when neither look-up nor list shows it, nothing can be on",
        f"its way any more ({ARRIVAL_MAX_NS // 10**9} s after the last send) and the session of the day order has closed.",
        "",
        "A replacement is an order of its own under its own id, with the broker id of the order that goes on; the",
        "legs of a bracket are orders of ours from when the broker shows them.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(), end="")
