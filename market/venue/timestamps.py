"""Venue time: integer nanoseconds since the Unix epoch, and how the services write it.

Nanoseconds in an `int` keep every comparison exact and cheap. The vendors' wire formats disagree, so each
one has its own function here: RFC 3339 with up to nine fractional digits (Alpaca), New York local time with
an offset (clock), seventeen digits of New York local time (activity ids).
"""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, time, timedelta

from market.calendar import NEW_YORK

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
MILLISECOND = 1_000_000
NEVER = 1 << 62
"""A time that does not come."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_datetime(moment: datetime) -> int:
    """Nanoseconds of an aware datetime, exact to its microsecond."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds * 1_000


def to_datetime(ns: int) -> datetime:
    """Aware UTC datetime, cut to the microsecond."""
    return _EPOCH + timedelta(microseconds=ns // 1_000)


def new_york(day: date, clock: time) -> int:
    """Nanoseconds of a wall-clock time in New York on `day`."""
    return from_datetime(datetime.combine(day, clock, tzinfo=NEW_YORK))


def new_york_date(ns: int) -> date:
    """The calendar day in New York at `ns`."""
    return to_datetime(ns).astimezone(NEW_YORK).date()


@functools.lru_cache(maxsize=4096)
def _second_text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(ns: int) -> str:
    """UTC with `Z`; the fraction has no trailing zeros and is absent when zero, as Go writes it."""
    seconds, fraction = divmod(ns, SECOND)
    if not fraction:
        return _second_text(seconds) + "Z"
    return f"{_second_text(seconds)}.{fraction:09d}".rstrip("0") + "Z"


def rfc3339_new_york(ns: int) -> str:
    """New York local time with its offset, as `/v2/clock` answers."""
    local = to_datetime(ns).astimezone(NEW_YORK)
    offset = local.strftime("%z")
    text = local.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = ns % SECOND
    if fraction:
        text = f"{text}.{fraction:09d}"
    return f"{text}{offset[:3]}:{offset[3:]}"


def activity_prefix(ns: int) -> str:
    """Seventeen digits of New York local time to the millisecond: how activity ids begin."""
    local = to_datetime(ns).astimezone(NEW_YORK)
    return local.strftime("%Y%m%d%H%M%S") + f"{ns % SECOND // MILLISECOND:03d}"


def parse_moment(text: str, *, end_of_day: bool = False) -> int:
    """Nanoseconds of RFC 3339 text, a bare date (New York midnight) or epoch digits; ValueError otherwise.

    A space where `+` stood is accepted: it is what an unescaped offset becomes in a query string. The ninth
    digit survives: the part below a microsecond is added by hand.
    """
    text = text.strip().replace(" ", "+")
    if len(text) == 10 and text[4] == "-":
        day = date.fromisoformat(text)
        if end_of_day:
            return new_york(day + timedelta(days=1), time()) - 1
        return new_york(day, time())
    if text.isdigit():
        value = int(text)
        for unit in (SECOND, MILLISECOND, 1_000, 1):
            if value * unit < 4_102_444_800 * SECOND and value < 10 ** (10 if unit == SECOND else 30):
                return value * unit
        raise ValueError(f"{text} is not a time")
    below_microsecond = 0
    if "." in text:
        head, _, tail = text.partition(".")
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
        padded = digits.ljust(9, "0")[:9]
        below_microsecond = int(padded[6:])
        text = f"{head}.{padded[:6]}{tail[len(digits) :]}"
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return from_datetime(moment) + below_microsecond
