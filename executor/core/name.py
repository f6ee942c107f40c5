"""What is known of one name beyond its quote."""

from __future__ import annotations

import msgspec

from executor.core.events import InstrumentSeen, PriceBand


class Name(msgspec.Struct):
    """One name; empty text = nothing speaks against it."""

    instrument: InstrumentSeen | None = None
    band: PriceBand | None = None
    short_restricted: bool = False
    halted: str = ""
    feed: str = ""
    """Why its quotes cannot be trusted."""
    jump: str = ""
    jumped_ns: int = 0
    volume: int = 0
    """Shares printed since we have been watching."""

    def blocked(self, now_ns: int, rest_ns: int) -> str:
        """Why no new risk may be taken in it now. A jump is forgotten once it has stood for ``rest_ns``."""
        if self.jump and now_ns - self.jumped_ns >= rest_ns:
            self.jump = ""
        return self.halted or self.feed or self.jump
