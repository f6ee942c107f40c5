"""What a limit is: a name, a version, a bound, and one pure measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from executor.core.limits.proposal import Proposal

Bounds = Mapping[str, float]
"""The limits in force by name."""
Measured = tuple[float, float, float]
"""``(bound, before, after)`` in the limit's unit: ``after`` may reach the bound but not pass it."""
EQUITY = "fraction of equity"
KEPT: Measured = (0.0, 0.0, 0.0)
BROKEN: Measured = (0.0, 0.0, 1.0)
"""What a rule measures: no breach, or one, where none is allowed."""


class Limit:
    """One thing that is measured before and after an order.

    ``measure`` is pure. It returns the bound and both values in the limit's unit. Where an input is missing
    it raises :class:`~executor.core.limits.proposal.Unknown`, or gives a value that is no number (NaN); both
    refuse new risk.
    """

    name: ClassVar[str]
    """Of the verdict, and of the bound in the settings."""
    version: ClassVar[int] = 1
    """Counted up when the measure changes, so that old verdicts are read as what they were."""
    unit: ClassVar[str] = EQUITY
    formula: ClassVar[str]
    source: ClassVar[str]
    unknown: ClassVar[str]
    """What is missing when the measure cannot be taken."""
    setting: ClassVar[str] = ""
    """Its bound in the settings, where that has another name; "" is its own name."""
    parameters: ClassVar[tuple[str, ...]] = ()
    """Other settings it reads."""
    passing: ClassVar[bool] = False
    """Whether a breach can go away by itself, so that the order is worth trying again later."""

    @classmethod
    def reads(cls) -> tuple[str, ...]:
        """Every setting the measure needs; one that is not set refuses new risk."""
        return (cls.setting or cls.name, *cls.parameters)

    def measure(self, order: Proposal, bounds: Bounds) -> Measured:
        """Bound, value before and value after the order."""
        raise NotImplementedError


class Rule(Limit):
    """A limit that is kept or broken: it measures the breaches the order would make, of which none is allowed.

    Its bound is 0 by law or by the broker's rules, so it is no setting.
    """

    unit = "breaches"

    @classmethod
    def reads(cls) -> tuple[str, ...]:
        """Its parameters only: the bound is 0."""
        return cls.parameters
