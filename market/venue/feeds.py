"""Which data a feed name stands for, who may ask for it, and how much of the tape it shows.

The consolidated tape ends at 20:00 and begins at 4:00; the night belongs to `boats` and, derived from it, to
`overnight`, whose prints come fifteen minutes late and inside the quote (24/5 trading notes of the broker). The letters
of an alternative trading system are not documented: its prints are reported through FINRA, hence `D`.
"""

from __future__ import annotations

from dataclasses import dataclass

from market.venue.sessions import Session
from market.venue.timestamps import MINUTE

DELAY = 15 * MINUTE


@dataclass(frozen=True)
class Feed:
    """`delay` is how far it lags the clock; `prints_late` says the same of prints alone."""

    name: str
    letter: str
    overnight: bool = False
    delay: int = 0
    prints_late: int = 0
    historical: bool = True
    latest: bool = True
    listed: bool = True
    "Whether it carries the exchange-listed symbols at all."
    plan: str = ""
    "What the free plan is told about it; empty when the free plan has it."

    def hours(self, session: Session) -> tuple[int, int]:
        """First instant and exclusive end of what the feed shows of a session."""
        if self.overnight:
            return session.overnight_open, session.pre_open
        return session.pre_open, session.post_close + MINUTE

    def tape_letter(self, listed: str) -> str:
        """A, B or C of the listing exchange; N at night."""
        return "N" if self.overnight else listed


FEEDS = {
    feed.name: feed
    for feed in (
        Feed("sip", "P", plan="subscription does not permit querying recent SIP data"),
        Feed("iex", "V"),
        Feed("delayed_sip", "P", delay=DELAY, historical=False),
        Feed("otc", "P", listed=False, plan="subscription does not permit querying OTC data"),
        Feed("boats", "D", overnight=True, plan="subscription does not permit querying BOATS data"),
        Feed("overnight", "D", overnight=True, prints_late=DELAY, historical=False),
    )
}
SIP = FEEDS["sip"]
STREAMED = ("sip", "iex", "delayed_sip", "boats", "overnight")
TEST = Feed("test", "N")
"""The test stream: not the tape at all (fakepaca.py)."""
SOCKETS = {**{name: FEEDS[name] for name in STREAMED}, TEST.name: TEST}
"""Name to feed of the stock sockets."""
PAID_STREAMS = ("sip", "boats")
"""What the free plan is refused with 409 on the socket."""
