"""The page ``docs/breakers.md``, generated from the breakers so that it cannot drift."""

from __future__ import annotations

from executor.core.breakers import BREAKERS
from executor.core.equity_breakers import AGREES, DENIALS_MAX, EQUITY_BREAKERS
from executor.core.modes import Mode

EFFECTS = {
    Mode.REDUCING: "exposure is cut by the drawdown curve and kept cut",
    Mode.CLOSE_ONLY: "only exits; what adds risk is cancelled",
    Mode.FLATTENING: "everything is cancelled and closed, until the broker shows nothing",
    Mode.HALTED: "no order at all; every open one is cancelled",
}
BY_NAME = (
    (
        "halted",
        "a halt, a pause or an unknown status message",
        "cancels what adds risk in it",
        "the resumption",
    ),
    ("feed of the name", "its quotes are stale, mute or crossed", "", "the feed is live again"),
    (
        "price jump",
        "the mid moves by `price_jump` of itself from one usable quote to the next",
        "the marks move all the same",
        "the price has stood for `price_jump_rest_s`",
    ),
    (
        "corporate action",
        "a split, merger or the like",
        "cancels every order in it and forgets its price",
        "a batch made after it",
    ),
)
PEOPLE = (
    ("kill", "a person, the kill file or the sentinel", Mode.HALTED, "at once; after it nothing is sent"),
    ("kill and flatten", "the same", Mode.FLATTENING, "flat is said only when the broker shows nothing"),
)


def markdown() -> str:
    """The page's text."""
    return "\n".join(
        [
            "# The breakers",
            "",
            "Generated from `executor/core/breakers.py` and `equity_breakers.py`:",
            "`python -m executor.core.breaker_page > docs/breakers.md`.",
            "",
            "A breaker trips when its reading reaches its bound. The bounds are limits: they are versioned in the",
            "ledger, one person may tighten them, two may loosen them (`executor limits`). A tripped breaker is",
            "latched: the mode is in the ledger, outlives a restart and only tightens by itself.",
            "",
            "Re-arming is the same for all: a person, with a reason, for live money two people",
            "(`executor rearm --reason ...`). If the cause still stands the breaker trips again; loss and drawdown",
            "can be measured from the present equity on by saying so in the re-arm. A re-arm decided before the",
            "last tightening was known does not undo it.",
            "",
            "## What the money says",
            "",
            "| breaker | reads | bound | mode | before it trips |",
            "|---|---|---|---|---|",
            *(f"| {b.name} | {b.reads} | `{b.bound}` | {b.mode} | {b.blocks} |" for b in EQUITY_BREAKERS),
            "",
            "A reading at its bound is confirmed by a second source, the broker's own account, before it trips:",
            f"it confirms if it sees {AGREES:.0%} of the bound; without an answer in `equity_confirm_s` the breaker trips;",
            f"contradicted, it asks again and trips at contradiction {DENIALS_MAX}. Extreme loss flattens and so waits for a",
            "yes; the daily loss has closed the way to new risk by then. With `equity_confirm_s` 0 our marks suffice.",
            "",
            "The drawdown curve (`drawdown.py`): nothing below `drawdown`; there the exposure drops to",
            "`drawdown_scale` of what is approved, and falls in a straight line to nothing at `drawdown_stop`. It is",
            "taken at the worst confirmed drawdown since the last re-arm, in steps of one percent of equity.",
            "",
            "## What trading stands on",
            "",
            "| breaker | reads | bound | mode | before it trips |",
            "|---|---|---|---|---|",
            *(f"| {b.name} | {b.reads} | {_bound(b.bound)} | {b.mode} | {b.blocks} |" for b in BREAKERS),
            "",
            "## One name",
            "",
            "A name is blocked for new risk by itself. Exits are not held up, and nothing is latched.",
            "",
            "| block | cause | besides | ends with |",
            "|---|---|---|---|",
            *(f"| {name} | {cause} | {besides} | {end} |" for name, cause, besides, end in BY_NAME),
            "",
            "## People",
            "",
            "| act | by | mode | |",
            "|---|---|---|---|",
            *(f"| {act} | {who} | {mode} | {note} |" for act, who, mode, note in PEOPLE),
            "",
            "## The modes",
            "",
            "| mode | |",
            "|---|---|",
            *(f"| {mode} | {effect} |" for mode, effect in EFFECTS.items()),
            "",
        ]
    )


def _bound(name: str) -> str:
    return f"`{name}`" if name else "at once"


if __name__ == "__main__":
    print(markdown(), end="")
