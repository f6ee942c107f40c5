"""``executor simulate``: the real core through seeded faults; a failing seed is replayed and shrunk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from executor.simulation.campaign import Campaign


def simulate(
    seeds: Annotated[
        int, typer.Option(help="Scenarios to play; 0 with --minutes = as many as fit.", min=0)
    ] = 200,
    seed: Annotated[int | None, typer.Option(help="Play this one seed, and shrink it if it fails.")] = None,
    first: Annotated[int, typer.Option(help="First seed of a series.")] = 0,
    minutes: Annotated[float | None, typer.Option(help="Stop after so many minutes.", min=0)] = None,
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Drive the real core through a simulated venue, ledger and clock, with faults of every kind."""
    if seed is not None:
        _one(seed, as_json)
        return
    from rich.console import Console

    from executor.simulation import campaign

    console = Console(stderr=True)
    with console.status("playing ...") as status:
        found = campaign.run(
            first,
            seeds,
            jobs=jobs,
            minutes=minutes,
            progress=lambda done, failed: status.update(f"{done} scenarios, {failed} failed"),
        )
    if as_json:
        typer.echo(json.dumps(_as_json(found)))
    else:
        _print(found)
    if found.failures:
        if not as_json:
            _one(found.failures[0][0], as_json=False)
        raise typer.Exit(1)


def _one(seed: int, as_json: bool) -> None:
    from executor.simulation.play import play
    from executor.simulation.shrink import shrink, tell
    from executor.simulation.story import story_of

    story = story_of(seed)
    outcome = play(story)
    shown: dict[str, Any] = {"seed": seed, "steps": len(story.steps), "commands_sha256": outcome.digest}
    if outcome.violation is None:
        shown |= {"violation": None, "counts": dict(sorted(outcome.counts.items()))}
        if as_json:
            typer.echo(json.dumps(shown))
        else:
            counts = outcome.counts
            typer.echo(
                f"seed {seed}: no violation in {len(story.steps)} steps, {counts['events']} events, "
                f"{counts['orders sent']} orders, {counts['fills']} fills, {counts['crashes']} crashes; "
                f"commands sha256 {outcome.digest[:16]}"
            )
        return
    short, end = shrink(story, outcome)
    if as_json:
        shown |= {"violation": str(end.violation), "story": [str(step) for step in short.steps]}
        typer.echo(json.dumps(shown))
    else:
        typer.echo(f"shrunk from {len(story.steps)} steps to {len(short.steps)}:")
        typer.echo(tell(short, end))
    raise typer.Exit(1)


GROUPS = {
    "the work": (
        "events", "intents", "orders sent", "repeats", "replaces", "cancels", "fills", "refusals", "updates", "sweeps",
        "equity confirmations", "flat asked",
    ),
    "the venue": (
        "refused by the venue", "duplicate ids refused", "orders arrived late", "updates lost", "fills seen again",
        "looks in vain", "foreign orders", "sessions closed", "unknown to the close",
    ),
    "modes": ("mode REDUCING", "mode CLOSE_ONLY", "mode FLATTENING", "mode HALTED", "kills heard", "re-arms heard"),
    "the process": ("crashes", "crashes in recovery", "step restart"),
    "proof of life": ("fresh signal traded", "flat at the end"),
}  # fmt: skip


def _print(found: Campaign) -> None:
    from rich.console import Console
    from rich.table import Table

    counts = dict(found.counts)
    rows: list[tuple[str, str, int]] = []
    for group, names in GROUPS.items():
        rows += [(group, name, counts.pop(name, 0)) for name in names]
    counts.pop("scenarios", None)
    checks = counts.pop("checks", 0)
    steps = {n.removeprefix("step "): c for n, c in counts.items() if n.startswith("step ")}
    rows += [("faults taken", name, n) for name, n in sorted(counts.items()) if not name.startswith("step ")]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    table.add_column("what happened")
    table.add_column("times", justify="right")
    before = ""
    for group, name, n in rows:
        table.add_row(group if group != before else "", name, f"{n:,}", style="" if n else "dim")
        before = group
    console = Console()
    console.print(table)
    console.print(
        "steps told: " + ", ".join(f"{name} {n:,}" for name, n in sorted(steps.items())),
        style="dim",
        highlight=False,
    )
    last = found.first_seed + found.scenarios - 1
    console.print(
        f"{found.scenarios:,} scenarios (seeds {found.first_seed} to {last}) in {found.seconds:.0f} s, "
        f"{found.rate:.1f} a second; {checks:,} times everything was checked; "
        f"{len(found.failures)} violations", highlight=False, style="bold red" if found.failures else "bold green",
    )  # fmt: skip
    for seed, violation, step in found.failures[:20]:
        console.print(f"  seed {seed}, step {step}: {violation}", highlight=False)


def _as_json(found: Campaign) -> dict[str, Any]:
    return {
        "first_seed": found.first_seed,
        "scenarios": found.scenarios,
        "seconds": round(found.seconds, 2),
        "scenarios_per_second": round(found.rate, 2),
        "counts": dict(sorted(found.counts.items())),
        "failures": [{"seed": s, "violation": v, "step": n} for s, v, n in found.failures],
    }
