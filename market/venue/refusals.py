"""What the broker answers when it says no: HTTP status, numeric code, message, verbatim as reported.

The code's first digits usually equal the status, but 40010001 travels with 422 and a 401 has no code at all
(section 2.5 of the specification): clients must branch on the status.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from market.venue.decimals import decimal_text


class Refusal(Exception):
    """An answer other than success. `extra` are the further keys some messages carry."""

    def __init__(self, status: int, code: int | None, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """The JSON object the client gets."""
        answer: dict[str, Any] = {} if self.code is None else {"code": self.code}
        answer["message"] = self.message
        answer.update(self.extra)
        return answer


def malformed() -> Refusal:
    """The body is not a JSON object, or a field has the wrong kind."""
    return Refusal(400, 40010000, "request body format is invalid")


def unauthorized() -> Refusal:
    """Missing or unknown key: no code in the body."""
    return Refusal(401, None, "unauthorized.")


def forbidden() -> Refusal:
    """The other answer seen for a bad key."""
    return Refusal(403, None, "forbidden.")


def invalid(message: str) -> Refusal:
    """A field is missing or contradicts another."""
    return Refusal(422, 40010001, message)


def unprocessable(message: str, **extra: Any) -> Refusal:
    """Well formed, and against a rule of the market."""
    return Refusal(422, 42210000, message, **extra)


def denied(message: str, **extra: Any) -> Refusal:
    """Against a rule of the account."""
    return Refusal(403, 40310000, message, **extra)


def missing(message: str) -> Refusal:
    """No such thing."""
    return Refusal(404, 40410000, message)


def rate_limited() -> Refusal:
    """More requests than the minute allows."""
    return Refusal(429, 42910000, "rate limit exceeded")


def insufficient_buying_power(available: Decimal, needed: Decimal) -> Refusal:
    """The order costs more than the account may commit."""
    return denied(
        "insufficient buying power",
        buying_power=decimal_text(available.quantize(Decimal("0.01"))),
        cost_basis=decimal_text(needed.quantize(Decimal("0.01"))),
    )


def insufficient_qty(
    symbol: str, requested: Decimal, available: Decimal, existing: Decimal, held: Decimal, related: list[str]
) -> Refusal:
    """The position does not have that many free shares."""
    return denied(
        f"insufficient qty available for order (requested: {decimal_text(requested)}, "
        f"available: {decimal_text(available)})",
        available=decimal_text(available),
        existing_qty=decimal_text(existing),
        held_for_orders=decimal_text(held),
        related_orders=related,
        symbol=symbol,
    )


def wash_trade(reason: str, existing_order_id: str, status: int = 403) -> Refusal:
    """The new order could trade with one's own; 403 in almost all reports, 422 in one."""
    code = 40310000 if status == 403 else 42210000
    return Refusal(
        status,
        code,
        "potential wash trade detected. use complex orders",
        reject_reason=reason,
        existing_order_id=existing_order_id,
    )


def sub_penny(field: str, price: Decimal) -> Refusal:
    """A finer price than the tick allows."""
    return unprocessable(
        f"invalid {field} {decimal_text(price)}. sub-penny increment does not fulfill minimum pricing criteria"
    )
