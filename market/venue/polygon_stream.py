"""Polygon's stocks socket: status flow and the topics T, Q, A, AM, LULD, FMV and NOI. No socket here. Section 3.3."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from market.venue.frames import PolygonJson, pieces
from market.venue.halts import special_of
from market.venue.market_feed import Window

TOPICS = ("T", "Q", "A", "AM", "LULD", "FMV", "NOI")
_EACH_MINUTE = ("AM", "LULD")
_SPECIAL_TOPIC = {"statuses": "LULD", "quotes": "Q", "trades": "T"}
TOPICS_PER_MESSAGE_MAX = 20_000


class PolygonConnection:
    """One client of the Polygon socket."""

    def __init__(
        self,
        *,
        authenticate: Callable[[str], bool],
        known: Callable[[str], bool],
        too_many: Callable[[], bool] | None = None,
    ) -> None:
        self.codec = PolygonJson()
        self.authenticated = False
        self.closing = False
        self.close_code = 1000
        self.topics: dict[str, dict[str, None]] = {topic: {} for topic in TOPICS}
        self._authenticate = authenticate
        self._known = known
        self._too_many = too_many

    @staticmethod
    def status(status: str, message: str) -> bytes:
        """A status event; the client library needs `message` on every one."""
        return msgspec.json.encode([{"ev": "status", "status": status, "message": message}])

    def opened(self) -> list[bytes]:
        """The hello."""
        return [self.status("connected", "Connected Successfully")]

    def auth_timeout(self) -> list[bytes]:
        """Nothing came in time."""
        self.closing, self.close_code = True, 1008
        return [self.status("auth_timeout", "auth timeout")]

    def receive(self, data: bytes) -> list[bytes]:
        """A message of the client."""
        try:
            message = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            return [self.status("error", "invalid json")]
        if not isinstance(message, dict) or not isinstance(message.get("params"), str):
            return [self.status("error", "invalid message")]
        action, params = message.get("action"), message["params"]
        if action == "auth":
            if self._authenticate(params):
                self.authenticated = True
                return [self.status("auth_success", "authenticated")]
            self.closing, self.close_code = True, 1008
            return [self.status("auth_failed", "authentication failed")]
        if not self.authenticated:
            self.closing, self.close_code = True, 1008
            return [self.status("auth_failed", "not authenticated")]
        if action not in ("subscribe", "unsubscribe"):
            return [self.status("error", f"unknown action: {action}")]
        return self._subscribe([part.strip() for part in params.split(",")], add=action == "subscribe")

    def _subscribe(self, names: list[str], *, add: bool) -> list[bytes]:
        if len(names) > TOPICS_PER_MESSAGE_MAX:
            return [self.status("error", "too many topics")]
        answers: list[bytes] = []
        for name in names:
            topic, dot, symbol = name.partition(".")
            if not dot or topic not in self.topics or not symbol:
                answers.append(self.status("error", f"invalid topic: {name[:100]}"))
                continue
            if add:
                if symbol == "*" or self._known(symbol):
                    self.topics[topic][symbol] = None
                answers.append(self.status("success", f"subscribed to: {name[:100]}"))
            else:
                self.topics[topic].pop(symbol, None)
                answers.append(self.status("success", f"unsubscribed to: {name[:100]}"))
        if add and self._too_many and self._too_many():
            # The real service says so only now, and closes with 1008.
            answers.append(self.status("max_connections", "Maximum number of connections exceeded."))
            self.closing, self.close_code = True, 1008
        return answers

    def publish(self, window: Window, symbols: tuple[str, ...]) -> list[bytes]:
        """Frames of a window for this connection."""
        if not self.authenticated or self.closing:
            return []
        messages: list[bytes] = []
        for topic, wanted in self.topics.items():
            if not wanted or (topic in _EACH_MINUTE and not window.minute_passed()):
                continue
            for symbol in symbols if "*" in wanted else wanted:
                messages.extend(window.encoded(self.codec, topic, symbol))
        if paused := self.topics["LULD"]:
            for event in window.statuses(symbols if "*" in paused else paused):
                told = special_of(window.exchange, event).polygon
                if told is not None:
                    messages.append(self.codec.message(told))
        for special in window.specials:
            wanted = self.topics.get(_SPECIAL_TOPIC.get(special.channel, ""), {})
            if special.polygon is not None and (special.symbol in wanted or "*" in wanted):
                messages.append(self.codec.message(special.polygon))
        return [self.codec.frame(group) for group in pieces(messages)]
