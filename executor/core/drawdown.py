"""How much exposure a drawdown leaves: the published curve.

Below the bound nothing changes. At the bound the exposure drops to ``drawdown_scale`` at once, and
falls from there in a straight line to nothing at ``drawdown_stop``:

    scale(d) = 1                                              d < drawdown
             = drawdown_scale × (stop − d) / (stop − drawdown)  drawdown <= d < stop
             = 0                                              d >= stop

Beyond the step it is the rule of Grossman and Zhou (1993, "Optimal investment strategies for
controlling drawdowns"): exposure in proportion to the cushion above the floor, the floor being the
high-water mark less ``drawdown_stop``. It is taken at the *worst* confirmed drawdown since the last
re-arm, so that a recovery does not raise the exposure again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

ONE, NOTHING = Decimal(1), Decimal(0)
STEP = Decimal("0.01")
"""A drawdown must deepen by this much of equity before the exposure is cut once more."""


def scale(drawdown: Decimal, limits: Mapping[str, Decimal]) -> Decimal:
    """Fraction of the approved exposure that is held at a drawdown (0.12 = 12 % below the mark)."""
    start, stop = limits["drawdown"], limits["drawdown_stop"]
    if drawdown < start:
        return ONE
    if drawdown >= stop:
        return NOTHING
    return limits["drawdown_scale"] * (stop - drawdown) / (stop - start)
