"""How much of a parent order may have been sent by now: pure functions of time and volume.

TWAP in equal steps, VWAP along a cumulative volume curve, participation in what has printed; the
auctions release everything, once, before their cut-off.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from math import floor

from executor.core.policy import ExecutionPolicy, Schedule

ALL, NONE = Decimal(1), Decimal(0)
OPEN_CUT_OFF = dt.timedelta(minutes=2)
"""Limit-on-open orders are taken until 9:28 (venue: OAS TimeInForce)."""
CLOSE_CUT_OFF = dt.timedelta(minutes=10)
"""Limit-on-close orders are taken until 15:50."""
EXTENDED_BEFORE, EXTENDED_AFTER = dt.timedelta(hours=5, minutes=30), dt.timedelta(hours=4)
"""Extended hours: from 4:00 to the open and from the close to 20:00."""


def released(
    policy: ExecutionPolicy,
    at: dt.datetime,
    start: dt.datetime,
    end: dt.datetime,
    session: tuple[dt.datetime, dt.datetime],
) -> Decimal:
    """Fraction (0 to 1) that time alone releases; never falls as time goes on.

    Parameters
    ----------
    start, end : datetime
        Window of the order; at ``end`` everything is released.
    session : tuple
        Open and close, over which ``policy.curve`` is laid.
    """
    if policy.schedule not in (Schedule.TWAP, Schedule.VWAP):
        return ALL
    if at >= end:
        return ALL
    if at < start:
        return NONE
    if policy.schedule is Schedule.TWAP or not policy.curve:
        slices = max(policy.slices, 1)
        return Decimal(min(floor((at - start) / (end - start) * slices) + 1, slices)) / slices
    before, now, last = (volume_by(policy.curve, moment, session) for moment in (start, at, end))
    if last <= before:
        return ALL
    return Decimal(f"{min(max((now - before) / (last - before), 0.0), 1.0):.6f}")


def volume_by(curve: tuple[float, ...], at: dt.datetime, session: tuple[dt.datetime, dt.datetime]) -> float:
    """Cumulative fraction of the day's volume by a moment: the curve between its points in straight lines."""
    opens, closes = session
    position = min(max((at - opens) / (closes - opens), 0.0), 1.0) * len(curve)
    step = min(int(position), len(curve) - 1)
    low = curve[step - 1] if step else 0.0
    return low + (curve[step] - low) * (position - step)


def participated(policy: ExecutionPolicy, printed: int, difference: Decimal) -> Decimal:
    """Fraction of ``difference`` shares that the volume printed since the start allows."""
    if policy.schedule is not Schedule.PARTICIPATION or not difference:
        return ALL
    return min(ALL, policy.participation * printed / abs(difference))


def may_be_sent(
    policy: ExecutionPolicy, at: dt.datetime, session: tuple[dt.datetime, dt.datetime]
) -> tuple[bool, str]:
    """Whether orders of this policy may be sent at a moment, and if never again today, why."""
    opens, closes = session
    match policy.schedule:
        case Schedule.OPEN:
            if at >= opens - OPEN_CUT_OFF:
                return False, "the opening auction takes no more orders"
            return True, ""
        case Schedule.CLOSE:
            if at >= closes - CLOSE_CUT_OFF:
                return False, "the closing auction takes no more orders"
            return at >= opens, ""
    if policy.extended_hours:
        return opens - EXTENDED_BEFORE <= at < closes + EXTENDED_AFTER, ""
    return opens <= at < closes, ""


def works_outside(policy: ExecutionPolicy) -> bool:
    """Whether orders may be sent while the session is not open."""
    return policy.extended_hours or policy.schedule is Schedule.OPEN


def time_in_force(policy: ExecutionPolicy) -> str:
    """The broker's word for it."""
    return {Schedule.OPEN: "opg", Schedule.CLOSE: "cls"}.get(policy.schedule, "day")
