"""What can go wrong with an HTTP request: refused, lost before or after it was done, mangled, late."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import msgspec
from aiohttp import web

from market.calendar import NEW_YORK
from market.venue.decimals import decimal_text, parse_decimal
from market.venue.faults import Fault
from market.venue.messages import Answer, Request, dialect_of
from market.venue.refusals import missing
from market.venue.timestamps import MILLISECOND, SECOND, parse_moment, rfc3339, to_datetime

BEFORE = ("error", "hang", "reset", "delay")
_REASONS = {500: "internal server error occurred", 502: "bad gateway", 503: "service unavailable",
            504: "gateway timeout", 429: "rate limit exceeded", 401: "unauthorized.", 403: "forbidden."}  # fmt: skip
_TIMES = ("created_at", "updated_at", "submitted_at", "filled_at", "expired_at", "canceled_at", "failed_at",
          "replaced_at", "expires_at")  # fmt: skip
_DATA_TIMES = {"t", "y", "sip_timestamp", "participant_timestamp", "updated", "serverTime"}


def error_response(fault: Fault, headers: dict[str, str]) -> web.Response:
    """The error a fault asks for: JSON as the API, HTML as the proxy before it, or nothing."""
    status, style = int(fault.parameters["status"]), fault.parameters["body"]
    shown = dict(headers) if fault.parameters["headers"] else {}
    text = _REASONS.get(status, "error")
    if style == "empty":
        return web.Response(status=status, headers=shown)
    if style == "html":
        page = f"<html>\r\n<head><title>{status} {text.title()}</title></head>\r\n<body>{status}</body>\r\n</html>"
        return web.Response(status=status, text=page, content_type="text/html", headers=shown)
    body: dict[str, Any] = {"message": text}
    if status not in (401, 403):
        body = {"code": status * 100_000 + (10_000 if status < 500 else 0), **body}
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json", headers=shown
    )


async def wait_or_hang(fault: Fault) -> None:
    """Wall seconds of a delay or a hang."""
    await asyncio.sleep(float(fault.parameters["seconds"]))


def cut(request: web.BaseRequest) -> None:
    """Reset the connection."""
    if request.transport is not None:
        request.transport.abort()


def kill(fault: Fault) -> None:
    """Send the fault's signal to its process."""
    os.kill(int(fault.parameters["pid"]), int(fault.parameters["signal"]))


def truncated(body: bytes, headers: dict[str, str]) -> web.Response:
    """Half of a body, with a 200 and a length that agrees."""
    return web.Response(body=body[: len(body) // 2], content_type="application/json", headers=headers)


async def drip(
    request: web.BaseRequest, body: bytes, status: int, seconds_per_byte: float
) -> web.StreamResponse:
    """A byte at a time."""
    response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    for at in range(len(body)):
        await response.write(body[at : at + 1])
        await asyncio.sleep(seconds_per_byte)
    await response.write_eof()
    return response


def lost_lookup(request: Request, answer: Answer, now: int, seconds: float) -> Answer:
    """A young order is not found yet."""
    if (
        request.method != "GET"
        or not request.path.startswith("/v2/orders")
        or not isinstance(answer.body, dict)
    ):
        return answer
    submitted = answer.body.get("submitted_at")
    if not submitted or now - parse_moment(submitted) >= seconds * SECOND:
        return answer
    name = request.query.get("client_order_id") or request.path.rsplit("/", 1)[-1]
    refusal = missing(f"order not found for {name}")
    return Answer(refusal.status, refusal.body(), dict(answer.headers))


def _shows_the_present(path: str) -> bool:
    """Market data with times of its own; a bar is named after its minute, whatever the clock says."""
    return dialect_of(path) != "trading" and not any(
        word in path for word in ("/bars", "/aggs", "/reference")
    )


def ahead_of(body: Any, ns: int) -> Any:
    """Market data as a clock ahead of the exchange's stamps it: RFC 3339 text, milliseconds or nanoseconds."""
    if isinstance(body, list):
        return [ahead_of(item, ns) for item in body]
    if not isinstance(body, dict):
        return body
    changed = {key: ahead_of(value, ns) for key, value in body.items()}
    for key in _DATA_TIMES & changed.keys():
        value = changed[key]
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                changed[key] = rfc3339(parse_moment(value) + ns)
        elif isinstance(value, int):
            changed[key] = value + (ns if value > 10**17 else ns // MILLISECOND)
    return changed


class Distortions:
    """Lasting falsehoods: a clock ahead, mixed offsets, positions that are not so."""

    def __init__(self) -> None:
        self.ahead_ns = 0
        self.mixed_offsets = False
        self.positions: dict[int, tuple[str, str, int]] = {}

    @property
    def on(self) -> bool:
        """Whether anything is distorted."""
        return bool(self.ahead_ns or self.mixed_offsets or self.positions)

    def apply(self, request: Request, answer: Answer, account: int, now: int) -> Answer:
        """The answer as the client will see it."""
        body = answer.body
        if request.path == "/v2/clock" and self.ahead_ns and isinstance(body, dict):
            ahead = now + self.ahead_ns
            local = to_datetime(ahead).astimezone(NEW_YORK).isoformat()
            answer = Answer(answer.status, {**body, "timestamp": local}, answer.headers)
        elif self.ahead_ns and _shows_the_present(request.path):
            answer = Answer(answer.status, ahead_of(body, self.ahead_ns), answer.headers)
        elif request.path.startswith("/v2/orders"):
            if isinstance(body, dict) and "submitted_at" in body:
                answer = Answer(answer.status, self.order(body), answer.headers)
            elif isinstance(body, list):
                rows = [self.order(row) if "submitted_at" in row else row for row in body]
                answer = Answer(answer.status, rows, answer.headers)
        elif (
            request.path.startswith("/v2/positions") and account in self.positions and request.method == "GET"
        ):
            answer = self._positions(request, answer, account, now)
        return answer

    def order(self, view: dict[str, Any]) -> dict[str, Any]:
        """An order with its times pushed ahead, or with an offset and a submitted_at before created_at."""
        changed = dict(view)
        if self.ahead_ns:
            for key in _TIMES:
                if changed.get(key):
                    changed[key] = rfc3339(parse_moment(changed[key]) + self.ahead_ns)
        if self.mixed_offsets:
            created = parse_moment(view["created_at"])
            changed["submitted_at"] = rfc3339(created - 90 * MILLISECOND)
            local = to_datetime(created).astimezone(NEW_YORK)
            changed["created_at"] = local.isoformat()
        return changed

    def update(self, data: dict[str, Any]) -> dict[str, Any]:
        """A trade update as the client will see it."""
        changed = {**data, "order": self.order(data["order"])}
        if self.ahead_ns:
            changed["timestamp"] = rfc3339(parse_moment(data["timestamp"]) + self.ahead_ns)
        return changed

    def _positions(self, request: Request, answer: Answer, account: int, now: int) -> Answer:
        symbol, factor, until = self.positions[account]
        if until and now >= until:
            del self.positions[account]
            return answer

        def changed(row: dict[str, Any]) -> dict[str, Any] | None:
            if symbol and row["symbol"] != symbol:
                return row
            qty = parse_decimal(row["qty"]) * parse_decimal(factor)
            return {**row, "qty": decimal_text(qty)} if qty else None

        if isinstance(answer.body, list):
            return Answer(answer.status, [r for row in answer.body if (r := changed(row))], answer.headers)
        if answer.status == 200 and changed(answer.body) is None:
            refusal = missing("position does not exist")
            return Answer(refusal.status, refusal.body(), answer.headers)
        return answer
