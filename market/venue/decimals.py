"""Decimal numbers on the wire: read from JSON literals without passing through binary, written without padding.

Prices on the tape are integers of a ten-thousandth of a dollar (`PRICE_SCALE`), the finest increment any US
equity order may have (section 2.4 of the specification: four decimals below one dollar).
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, ROUND_UP, Decimal, InvalidOperation

PRICE_SCALE = 10_000
CENT = Decimal("0.01")
ZERO = Decimal(0)
_TENTH_OF_MILLI = Decimal("0.0001")
_LARGEST = Decimal(10) ** 15


def decimal_text(value: Decimal) -> str:
    """Plain digits: no exponent, no trailing zeros, no negative zero."""
    if not value:
        return "0"
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def optional_text(value: Decimal | None) -> str | None:
    """`decimal_text`, or null."""
    return None if value is None else decimal_text(value)


def parse_decimal(value: object) -> Decimal:
    """A JSON number or numeric string as Decimal; ValueError for anything else, NaN, infinity or 10^15 up."""
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value)
    elif isinstance(value, str):
        try:
            number = Decimal(value.strip())
        except InvalidOperation:
            raise ValueError(f"{value!r} is not a number") from None
    else:
        raise ValueError(f"{value!r} is not a number")  # noqa: TRY004 - one error for every unusable value
    if not number.is_finite() or abs(number) >= _LARGEST or number.adjusted() < -30:
        raise ValueError(f"{value!r} is out of range")
    return number


def to_ticks(price: Decimal) -> int:
    """A price as an integer of 1/10,000 dollar; finer digits are cut (the entry rules refuse them before)."""
    return int(price * PRICE_SCALE)


def to_price(ticks: int) -> Decimal:
    """The price of an integer of 1/10,000 dollar, exact."""
    return Decimal(int(ticks)).scaleb(-4)


def money(value: Decimal, places: Decimal = CENT) -> Decimal:
    """Round half to even at a cent (or `places`): how balances are shown, never how they are kept."""
    return value.quantize(places, ROUND_HALF_EVEN)


def up_to_cent(value: Decimal) -> Decimal:
    """Round away from zero at a cent: how the day's fees are charged."""
    return value.quantize(CENT, ROUND_UP)


def decimal_places(value: Decimal) -> int:
    """Digits after the point that are not trailing zeros."""
    exponent = value.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0
