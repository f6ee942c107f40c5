"""The second door. Every order passes it; each verdict carries its numbers.

Risk-increasing orders pass all limits or are refused; an unknown input refuses. A proven reduction
passes with its verdicts recorded but not binding, in every mode but HALTED: the way out stays open.

A verdict costs one call of the limit and one tuple; text and rows are made of it when it is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from executor.core.limits import LIMITS, Limit, Measured, Proposal, Unknown
from executor.core.modes import Mode

LOWEST = -math.inf
ROUNDING = 1.0 + 1e-12
"""A bound is passed by more than a float's rounding."""


class Verdict(msgspec.Struct, frozen=True):
    """One limit's word on one order."""

    name: str
    ok: bool
    limit: float | None
    before: float | None
    after: float | None
    version: int
    unknown: str = ""

    def as_json(self) -> dict[str, Any]:
        """Numbers as text, six decimals."""

        def show(value: float | None) -> str | None:
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


class Ruling(msgspec.Struct, frozen=True):
    """The gate's decision: accepted or not, why, and what each limit measured.

    ``measured`` follows ``LIMITS``: ``(bound, before, after)``, or why that is unknown. It is empty where
    the mode alone decided.
    """

    accepted: bool
    reducing: bool
    reason: str
    measured: tuple[Measured | str, ...] = ()

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Every limit's word, with its numbers."""
        return tuple(
            _verdict(limit, measured)
            for limit, measured in zip(LIMITS, self.measured, strict=bool(self.measured))
        )

    def as_json(self) -> list[dict[str, Any]]:
        """The verdicts as the ledger keeps them."""
        return [verdict.as_json() for verdict in self.verdicts]

    def lasting(self) -> bool:
        """Whether a limit is broken that time alone will not mend."""
        return any(
            type(measured) is tuple and not limit.passing and not _within(measured)
            for limit, measured in zip(LIMITS, self.measured, strict=bool(self.measured))
        )


class Gate:
    """The limits in force.

    Parameters
    ----------
    limits : mapping
        Bounds by name. One that is missing makes its limit unknown: new risk is refused and the reason
        says how to set it, while the way out stays open.
    version : int
        Of the limits, for that message.
    """

    def __init__(self, limits: Mapping[str, Decimal], version: int = 0) -> None:
        self.bounds = {name: float(value) for name, value in limits.items()}
        self.version = version
        self.messages_per_minute = self.bounds.get("messages_per_minute", 0.0)
        self._measures = tuple(self._measure_of(limit) for limit in LIMITS)

    def _measure_of(self, limit: Limit) -> Measure:
        missing = [name for name in limit.reads() if name not in self.bounds]
        if not missing:
            return limit.measure
        reason = (
            f"{' and '.join(missing)} not set in limits version {self.version}; two persons set it: executor limits "
            "propose missing --reason '...' (the configured values), then executor limits confirm"
        )

        def unset(order: Proposal, bounds: Mapping[str, float]) -> Measured:
            raise Unknown(reason)

        return unset

    def judge(self, order: Proposal, mode: Mode) -> Ruling:
        """Run every limit over the order."""
        reducing = order.reduces()
        if mode is not Mode.READY and mode is not Mode.REDUCING:
            if mode is Mode.HALTED:
                return Ruling(False, reducing, "mode HALTED")
            if not reducing:
                return Ruling(False, False, f"mode {mode} takes only reducing orders")
        bounds = self.bounds
        try:
            taken = [measure(order, bounds) for measure in self._measures]
            for bound, _, after in taken:
                # A value that is no finite number is not within.
                if not LOWEST < after <= bound and not LOWEST < after <= bound * ROUNDING:
                    break
            else:
                reason = "reduces the position" if reducing else "within every limit"
                return Ruling(True, reducing, reason, tuple(taken))
        except (Unknown, ArithmeticError):
            pass
        measured = [
            _number(limit, _known(measure, order, bounds), order)
            for limit, measure in zip(LIMITS, self._measures, strict=True)
        ]
        if reducing:
            return Ruling(True, True, "reduces the position", tuple(measured))
        return Ruling(False, False, _reasons(measured), tuple(measured))


Measure = Callable[[Proposal, Mapping[str, float]], Measured]


def _known(measure: Measure, order: Proposal, bounds: Mapping[str, float]) -> Measured | str:
    try:
        return measure(order, bounds)
    except Unknown as unknown:
        return str(unknown)
    except ArithmeticError as error:  # nothing to divide by, or nothing left to count with: not known either
        return f"cannot be worked out: {error}"


def _number(limit: Limit, found: Measured | str, order: Proposal) -> Measured | str:
    """A value that is no number is unknown, and why is said."""
    if isinstance(found, str) or math.isfinite(found[1] + found[2]):
        return found
    return order.why_no_equity() or limit.unknown


def _within(measured: Measured) -> bool:
    return LOWEST < measured[2] <= measured[0] * ROUNDING


def _verdict(limit: Limit, measured: Measured | str) -> Verdict:
    if isinstance(measured, str):
        return Verdict(limit.name, False, None, None, None, limit.version, measured)
    bound, before, after = measured
    return Verdict(limit.name, _within(measured), bound, before, after, limit.version)


def _reasons(measured: list[Measured | str]) -> str:
    """Every limit that is not kept, with its numbers; an unknown shared by many is said once."""
    broken: list[str] = []
    unknown: dict[str, list[str]] = {}
    for limit, found in zip(LIMITS, measured, strict=True):
        if isinstance(found, str):
            unknown.setdefault(found, []).append(limit.name)
        elif not _within(found):
            broken.append(f"{limit.name}: {found[2]:.4f} would pass the limit of {found[0]:.4f}")
    said = [f"{names[0] if len(names) == 1 else ', '.join(names)}: {why}" for why, names in unknown.items()]
    return "; ".join(broken + said)
