"""The second door. Every order passes it; each verdict carries its numbers.

Risk-increasing orders pass all limits or are refused; an unknown input refuses. A proven reduction
passes with its verdicts recorded but not binding, in every mode but HALTED: the way out stays open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from executor.core.limits import LIMITS, Proposal, Unknown
from executor.core.modes import Mode


class Verdict(msgspec.Struct, frozen=True):
    """One limit's word on one order."""

    name: str
    ok: bool
    limit: Decimal | None
    before: Decimal | None
    after: Decimal | None
    version: int
    unknown: str = ""

    def as_json(self) -> dict[str, Any]:
        """Numbers as text, six decimals, so that nothing is rounded through a float."""

        def show(value: Decimal | None) -> str | None:
            return None if value is None else f"{value:.6f}"

        row = {
            "name": self.name,
            "ok": self.ok,
            "limit": show(self.limit),
            "before": show(self.before),
            "after": show(self.after),
            "version": self.version,
        }
        return row | ({"unknown": self.unknown} if self.unknown else {})


@dataclass(frozen=True)
class Ruling:
    """The gate's decision: accepted or not, why, and every limit's verdict."""

    accepted: bool
    reducing: bool
    reason: str
    verdicts: tuple[Verdict, ...]


def judge(proposal: Proposal, limits: Mapping[str, Decimal]) -> Ruling:
    """Run every limit over the proposal.

    Parameters
    ----------
    limits : mapping
        Bounds by name, all present: a missing one raises ``KeyError`` before anything is sent.
    """
    reducing = proposal.reduces()
    if proposal.mode is Mode.HALTED:
        return Ruling(False, reducing, "mode HALTED", ())
    if proposal.mode in (Mode.CLOSE_ONLY, Mode.FLATTENING) and not reducing:
        return Ruling(False, False, f"mode {proposal.mode} takes only reducing orders", ())
    verdicts = []
    for limit in LIMITS:
        bound = limit.bound(limits, proposal)
        try:
            before, after = limit.measure(proposal, limits)
        except Unknown as unknown:
            verdicts.append(Verdict(limit.name, False, bound, None, None, limit.version, str(unknown)))
        else:
            verdicts.append(Verdict(limit.name, after <= bound, bound, before, after, limit.version))
    broken = [v for v in verdicts if not v.ok]
    if reducing:
        return Ruling(True, True, "reduces the position", tuple(verdicts))
    if broken:
        return Ruling(False, False, "; ".join(_explain(v) for v in broken), tuple(verdicts))
    return Ruling(True, False, "within every limit", tuple(verdicts))


def _explain(verdict: Verdict) -> str:
    if verdict.unknown:
        return f"{verdict.name}: {verdict.unknown}"
    return f"{verdict.name}: {verdict.after:.4f} would pass the limit of {verdict.limit:.4f}"
