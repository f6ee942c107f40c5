"""What can go wrong with a trade update between the exchange and the client: lost, doubled, late, in disorder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from market.venue.exchange import Update
from market.venue.faults import UPDATE, FaultPlan


class UpdateFaults:
    """Decides what is sent for each update. `later(seconds, update)` sends one after wall time."""

    def __init__(self, plan: FaultPlan, later: Callable[[float, Update], None]) -> None:
        self._plan = plan
        self._later = later
        self._held_back: list[Update] = []
        self._withheld: dict[str, list[Update]] = {}

    def deliver(self, update: Update) -> list[Update]:
        """The updates to send now, in order."""
        if not self._plan.has(UPDATE) and not self._held_back and not self._withheld:
            return [update]
        order = update.data["order"]
        event = update.data["event"]
        faults = self._plan.at_point(
            UPDATE, event=event, symbol=order["symbol"], side=order["side"], account=update.account
        )
        sent = [update]
        hold_back = False
        for fault in faults:
            match fault.kind:
                case "drop_update":
                    sent = []
                case "duplicate_update":
                    sent = sent * int(fault.parameters["copies"])
                case "delay_update":
                    for one in sent:
                        self._later(fault.parameters["seconds"], one)
                    sent = []
                case "reorder_update":
                    hold_back = True
                case "withhold_update":
                    self._withheld.setdefault(order["id"], []).extend(sent)
                    sent = []
                case "null_execution_id":
                    sent = [_changed(one, execution_id=None) for one in sent]
                case "cumulative_qty" if "qty" in update.data:
                    sent = [_changed(one, qty=order["filled_qty"]) for one in sent]
                case "unknown_status":
                    odd = {**order, "status": fault.parameters["status"]}
                    sent = [_changed(one, order=odd) for one in sent]
        if event == "canceled" and order["id"] in self._withheld:
            sent = self._withheld.pop(order["id"]) + sent
        if hold_back:
            self._held_back.extend(sent)
            return []
        # What was held back goes out behind the next update that is sent.
        if sent and self._held_back:
            sent, self._held_back = sent + self._held_back, []
        return sent


def _changed(update: Update, **fields: Any) -> Update:
    return dataclasses.replace(update, data={**update.data, **fields})
