"""Legs of brackets as the broker shows them: it names them itself, so they are learnt, recorded and then told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from executor.broker import Raw
from executor.core.events import LegShown

CLASSES = frozenset({"bracket", "oco", "oto"})


def leg_shown(leg: Raw, parent_client_order_id: str, stamp: dict[str, Any]) -> LegShown:
    """The broker's leg as an event."""
    return LegShown(
        **stamp,
        parent_client_order_id=parent_client_order_id,
        client_order_id=leg["client_order_id"],
        broker_order_id=leg["id"],
        symbol=leg["symbol"],
        side=leg["side"],
        qty=Decimal(leg["qty"]),
        status=leg["status"],
        limit_price=_price(leg["limit_price"]),
        stop_price=_price(leg["stop_price"]),
        broker_filled=Decimal(leg.get("filled_qty") or 0),
    )


def leg_json(leg: Raw, event: LegShown) -> dict[str, Any]:
    """What the ledger's ``record_leg`` takes. A stop leg may fill anywhere: it is reserved at its stop."""
    return {
        "client_order_id": event.client_order_id,
        "parent_client_order_id": event.parent_client_order_id,
        "leg": 1,
        "purpose": "stop" if event.stop_price is not None else "take_profit",
        "symbol": event.symbol,
        "side": event.side,
        "qty": str(event.qty),
        "order_type": leg["type"],
        "time_in_force": leg["time_in_force"],
        "limit_price": _text(event.limit_price),
        "stop_price": _text(event.stop_price),
        "broker_order_id": event.broker_order_id,
        "broker_status": event.status,
        "market_time": event.market_time.isoformat(),
    }


def _price(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
