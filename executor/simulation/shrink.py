"""A failing story made short: leave steps out while it still breaks the same invariant."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from executor.simulation.play import Outcome, play
from executor.simulation.story import Step, Story

PLAYS_MAX = 600


def shrink(
    story: Story, outcome: Outcome, play_it: Callable[[Story], Outcome] = play
) -> tuple[Story, Outcome]:
    """The shortest story found that breaks the same invariant, and how it ends.

    Halves, quarters, ... and at last single steps are left out (delta debugging); what comes after the
    violation goes first. Numbers inside a step stay as they are: a step is what a person reads.
    """
    assert outcome.violation is not None
    broken = outcome.violation.invariant
    best, end = story, outcome
    plays = 0

    def still(steps: tuple[Step, ...]) -> bool:
        nonlocal best, end, plays
        plays += 1
        tried = msgspec.structs.replace(story, steps=steps)
        found = play_it(tried)
        if found.violation is None or found.violation.invariant != broken:
            return False
        best, end = tried, found
        return True

    if end.step < len(best.steps):
        still(best.steps[: end.step])
    size = max(1, len(best.steps) // 2)
    while plays < PLAYS_MAX:
        at, shorter = 0, False
        while at < len(best.steps) and plays < PLAYS_MAX:
            if still(best.steps[:at] + best.steps[at + size :]):
                shorter = True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(1, size // 2)
    return best, end


def tell(story: Story, outcome: Outcome) -> str:
    """The story in lines a person reads."""
    lines = [
        f"seed {story.seed}, {len(story.steps)} steps",
        f"  opening: {story.cash} USD of equity at prices "
        + " ".join(story.prices)
        + (f"; holding {' '.join(f'{q} {s}' for s, q in story.positions.items())}" if story.positions else "")
        + (f"; limits {' '.join(f'{k} {v}' for k, v in story.limits.items())}" if story.limits else ""),
    ]
    lines += [f"  {i:3}. {step}" for i, step in enumerate(story.steps, 1)]
    where = (
        f"at step {outcome.step}" if outcome.step <= len(story.steps) else "after the last step, faults over"
    )
    lines.append(f"  -> {where}: {outcome.violation}")
    return "\n".join(lines)
