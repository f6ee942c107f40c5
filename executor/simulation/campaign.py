"""Many seeds, over some processes, added up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field

from executor.simulation.play import Outcome, play
from executor.simulation.story import story_of

CHUNK = 20
Played = tuple[Counter[str], list[tuple[int, str, int]], int]


@dataclass
class Campaign:
    """What came of all the scenarios played."""

    first_seed: int
    scenarios: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str, int]] = field(default_factory=list)
    """``(seed, violation, step)``."""

    @property
    def rate(self) -> float:
        """Scenarios a second, all processes together."""
        return self.scenarios / self.seconds if self.seconds else 0.0


def run(
    first_seed: int,
    seeds: int,
    *,
    jobs: int = 1,
    minutes: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Campaign:
    """Play ``seeds`` scenarios from ``first_seed`` on, or as many as fit into ``minutes``."""
    started = time.perf_counter()
    deadline = None if minutes is None else started + 60 * minutes
    total = Campaign(first_seed)
    chunks = _chunks(first_seed, None if minutes is not None and not seeds else seeds)
    with ProcessPoolExecutor(jobs) as pool:
        running: set[Future[Played]] = set()
        more = True
        while more or running:
            while more and len(running) < 2 * jobs:
                chunk = next(chunks, None) if deadline is None or time.perf_counter() < deadline else None
                more = chunk is not None
                if chunk is not None:
                    running.add(pool.submit(_play, *chunk))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                counts, failures, played = future.result()
                total.counts.update(counts)
                total.failures += failures
                total.scenarios += played
            if progress is not None:
                progress(total.scenarios, len(total.failures))
    total.failures.sort()
    total.seconds = time.perf_counter() - started
    return total


def _chunks(first: int, seeds: int | None) -> Iterator[tuple[int, int]]:
    at = first
    while seeds is None or at < first + seeds:
        until = at + CHUNK if seeds is None else min(at + CHUNK, first + seeds)
        yield at, until
        at = until


def _play(first: int, until: int) -> Played:
    counts: Counter[str] = Counter()
    failures: list[tuple[int, str, int]] = []
    for seed in range(first, until):
        outcome: Outcome = play(story_of(seed))
        counts.update(outcome.counts)
        if outcome.violation is not None:
            failures.append((seed, str(outcome.violation), outcome.step))
    return counts, failures, until - first
