"""The limits in force as the engine takes them, where their version is older than some of the bounds.

A version is what persons put in force, and nobody puts a bound in force for them. A bound of the gate that a
version lacks stays unset: new risk is refused with the command that sets it, and the way out stays open. What
the rest of the engine needs to run at all, the breakers' bounds, is taken from the settings' defaults, because
an executor that cannot start cannot reduce either.
"""

from __future__ import annotations

from collections.abc import Mapping

from executor.core.limits import LIMITS
from executor.settings import LimitSettings

OF_THE_GATE = frozenset(name for limit in LIMITS for name in limit.reads())


def lacking(limits: Mapping[str, str]) -> list[str]:
    """Names of the settings that a limit version does not set."""
    return sorted(set(LimitSettings.model_fields) - set(limits))


def for_engine(limits: Mapping[str, str]) -> dict[str, str]:
    """The version with the breakers' missing bounds at their defaults."""
    defaults = LimitSettings().model_dump()
    return dict(limits) | {n: str(defaults[n]) for n in lacking(limits) if n not in OF_THE_GATE}


def notice(version: int, limits: Mapping[str, str]) -> str:
    """What a person should know of a version that lacks bounds; "" if it lacks none."""
    missing = lacking(limits)
    if not missing:
        return ""
    return (
        f"limits version {version} does not set {', '.join(missing)}: no new risk is taken until it does. Two persons "
        "set them: executor limits propose missing --reason '...' (the configured values), then executor limits confirm"
    )
