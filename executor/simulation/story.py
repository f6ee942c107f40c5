"""What happens in one scenario, written down before anything happens.

All chance is used up here: a story is an opening and a list of steps, each complete in itself, so that
running it is deterministic and leaving steps out leaves the others as they are. That is what makes a
failing seed shrink to a story short enough to read.
"""

from __future__ import annotations

import random

import msgspec

SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
SECTORS = {"AAA": "Tech", "BBB": "Tech", "CCC": "Tech", "DDD": "Energy", "EEE": "Energy", "FFF": "Health"}
AVERAGE_VOLUME = {
    "AAA": 2_000_000,
    "BBB": 500_000,
    "CCC": 1_000_000,
    "DDD": 40_000,
    "EEE": 1_000_000,
    "FFF": 250_000,
}
STRATEGIES = ("", "trend", "carry")


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """Let time pass, then do one thing."""

    kind: str
    wait_s: float = 0.5
    symbol: str = ""
    word: str = ""
    number: float = 0.0
    moves: tuple[float, ...] = ()
    weights: dict[str, str] = {}

    def __str__(self) -> str:
        parts = [f"after {self.wait_s:g} s", self.kind, self.symbol, self.word]
        parts += [f"{self.number:g}"] if self.number else []
        parts += [" ".join(f"{s} {w}" for s, w in self.weights.items())] if self.weights else []
        parts += ["by " + " ".join(f"{m:+.2%}" for m in self.moves)] if self.moves else []
        return " · ".join(p for p in parts if p)


class Story(msgspec.Struct, frozen=True):
    """One scenario."""

    seed: int
    cash: str
    positions: dict[str, str]
    limits: dict[str, str]
    prices: tuple[str, ...]
    steps: tuple[Step, ...]


def story_of(seed: int) -> Story:
    """The scenario of a seed."""
    chance = random.Random(seed)  # noqa: S311
    prices = tuple(
        f"{chance.choice([8.5, 25, 80, 100, 100, 240]) * chance.uniform(0.9, 1.1):.2f}" for _ in SYMBOLS
    )
    positions = {
        s: f"{chance.choice([1, 1, 1, -1]) * int(chance.uniform(0.01, 0.09) * 100_000 / float(p))}"
        for s, p in zip(SYMBOLS, prices, strict=True)
        if chance.random() < 0.4
    }
    limits: dict[str, str] = {}
    if chance.random() < 0.5:
        limits["gross"] = chance.choice(["0.30", "0.50", "0.80"])
    if chance.random() < 0.3:
        limits["equity_confirm_s"] = chance.choice(["0", "5"])
    if chance.random() < 0.3:  # a slow fall: the drawdown speaks before the day's loss does
        limits |= {"daily_loss": "0.40", "extreme_loss": "0.60", "drawdown": "0.02", "drawdown_stop": "0.10"}
    # Half the scenarios are rough, some are nearly calm: faults meet each other, and meet nothing.
    roughness = chance.choice([0.15, 0.35, 0.6])
    steps = [_batch(chance)]
    for _ in range(chance.randint(25, 70)):
        steps.append(_step(chance, roughness))
    return Story(seed, "100000", positions, limits, prices, tuple(steps))


def _wait(chance: random.Random) -> float:
    return chance.choice([0.1, 0.3, 0.5, 1.0, 2.0, 2.0, 5.0, 5.0, 21.0, 31.0])


def _step(chance: random.Random, roughness: float) -> Step:
    if chance.random() > roughness:
        if chance.random() < 0.12:
            return _batch(chance)
        size = chance.choice([0.0005, 0.001, 0.004])
        return Step("drift", _wait(chance), moves=tuple(round(chance.gauss(0, size), 5) for _ in SYMBOLS))
    make = chance.choices(list(MAKERS), [weight for _, weight in MAKERS.items()])[0]
    return make(chance)


def _batch(chance: random.Random) -> Step:
    names = chance.sample(SYMBOLS, chance.randint(1, 5))
    weights = {s: f"{chance.choice([1, 1, 1, 0, -1]) * chance.uniform(0.01, 0.11) + 0.0:.3f}" for s in names}
    policy = chance.choices(["collar", "peg_near", "peg_mid"], [4, 1, 1])[0]
    return Step(
        "batch",
        _wait(chance),
        symbol=chance.choice(STRATEGIES),
        word=policy,
        weights=weights,
        number=chance.choice([600, 3600, 20_000]),
    )


def _price(chance: random.Random) -> Step:
    kind = chance.choice(
        ["gap", "gap", "crossed", "one-sided", "stub", "stale", "crash of all", "crash of all"]
    )
    if kind == "crash of all":
        fall = -chance.choice([0.03, 0.06, 0.12, 0.3])
        return Step("drift", _wait(chance), moves=tuple(fall for _ in SYMBOLS))
    number = chance.choice([-0.5, -0.2, -0.05, 0.04, 0.15, 0.6]) if kind == "gap" else 0.0
    return Step(kind, _wait(chance), symbol=chance.choice(SYMBOLS), number=number)


def _halt(chance: random.Random) -> Step:
    return Step(
        chance.choice(["halt", "pause", "band", "resume", "resume"]),
        _wait(chance),
        symbol=chance.choice(SYMBOLS),
    )


def _liquidity(chance: random.Random) -> Step:
    return Step(
        "liquidity", _wait(chance), symbol=chance.choice(SYMBOLS), number=chance.choice([0, 1, 7, 40, 10_000])
    )


def _answer(chance: random.Random) -> Step:
    word = chance.choice(["504", "504", "504 and hidden", "late", "lost", "empty", "refused"])
    return Step("submit fault", _wait(chance), word=word, number=chance.choice([1, 1, 3]))


def _cancel(chance: random.Random) -> Step:
    return Step(
        "cancel fault",
        _wait(chance),
        word=chance.choice(["lost", "unheard", "late fill"]),
        number=chance.choice([1, 3]),
    )


def _updates(chance: random.Random) -> Step:
    return Step(
        "update fault",
        _wait(chance),
        word=chance.choice(["lost", "twice", "late"]),
        number=chance.choice([1, 2, 6]),
    )


def _calls(chance: random.Random) -> Step:
    kind, word = chance.choice(
        [("sweep", "unanswered"), ("sweep", "unanswered"), ("heartbeat", "missed"), ("fill", "told twice"),
         ("confirm", "lost"), ("confirm", "cannot say"), ("confirm", "wrong"), ("flat", "lost"), ("between", "kill")]
    )  # fmt: skip
    return Step(
        f"{kind} fault", _wait(chance), word=word, number=chance.choice([1, 2, 5]) if kind != "between" else 1
    )


def _crash(chance: random.Random) -> Step:
    return Step("crash", _wait(chance), number=chance.choice([1, 2, 3, 4, 5, 6, 8, 11, 15, 25]))


def _person(chance: random.Random) -> Step:
    kind = chance.choice(["kill", "kill and flatten", "re-arm", "re-arm", "re-arm", "limits"])
    word = chance.choice(["0.20", "0.50", "0.90"]) if kind == "limits" else ""
    return Step(kind, _wait(chance), word=word)


def _health(chance: random.Random) -> Step:
    kind = chance.choice(
        [
            "feed",
            "feed of",
            "feed of",
            "stream",
            "broker",
            "clock",
            "host",
            "silent heartbeat",
            "model",
            "difference",
        ]
    )
    word = (
        chance.choice(["bad", "bad", "good"])
        if kind in ("feed", "feed of", "stream")
        else chance.choice(["mild", "mild", "bad"])
    )
    return Step(f"{kind} health", _wait(chance), symbol=chance.choice(SYMBOLS), word=word)


def _corporate(chance: random.Random) -> Step:
    kind = chance.choice(["split", "fee", "dividend", "short restriction", "foreign order"])
    return Step(kind, _wait(chance), symbol=chance.choice(SYMBOLS), number=chance.choice([2, 3]))


def _ledger(chance: random.Random) -> Step:
    return Step(
        "ledger refuses",
        _wait(chance),
        word=chance.choice(["equity is unknown", "worst-case gross over cap"]),
    )


def _session(chance: random.Random) -> Step:
    return Step("next session", _wait(chance))


def _shut(chance: random.Random) -> Step:
    return Step("restart", _wait(chance))


MAKERS = {
    _price: 14, _halt: 8, _liquidity: 8, _answer: 14, _cancel: 6, _updates: 10, _calls: 10, _crash: 9,
    _person: 7, _health: 9, _corporate: 4, _ledger: 2, _session: 1, _shut: 2,
}  # fmt: skip
