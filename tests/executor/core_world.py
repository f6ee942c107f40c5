"""A small world for the core's tests: quotes, a risk snapshot, and an engine, all by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np

from executor.core.book import Book
from executor.core.commands import Command, Record, Reserve, Submit
from executor.core.engine import Engine
from executor.core.events import Batch, Event, OrderEvidence, Quote, Reserved, Target, Timer
from executor.core.modes import Mode
from executor.core.orders import Evidence
from executor.settings import LimitSettings
from models.risk.snapshot import RiskSnapshot, with_factors

OPEN = dt.datetime(2022, 12, 28, 14, 30, tzinfo=dt.UTC)
CLOSE = dt.datetime(2022, 12, 28, 21, 0, tzinfo=dt.UTC)
NOON = dt.datetime(2022, 12, 28, 17, 0, tzinfo=dt.UTC)
SECOND = 1_000_000_000
SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
SECTORS = {"AAA": "Tech", "BBB": "Tech", "CCC": "Energy", "DDD": "Health"}
LIMITS = {name: str(value) for name, value in LimitSettings().model_dump().items()} | {
    "equity_confirm_s": "0"
}
"""The defaults, in a world without a second source: our own marks suffice."""


@cache
def snapshot(daily_volatility: float = 0.02, scale: float = 0.01) -> RiskSnapshot:
    """Four names at 100 USD, one million shares a day, with seeded return scenarios."""
    rng = np.random.default_rng(3)
    n = len(SYMBOLS)
    return with_factors(
        RiskSnapshot(
            as_of=dt.date(2022, 12, 27),
            symbols=SYMBOLS,
            close=np.full(n, 100.0),
            daily_volatility=np.full(n, daily_volatility),
            average_volume=np.full(n, 1_000_000.0),
            spread=np.full(n, 0.0005),
            returns=rng.normal(0, scale, (500, n)),
        )
    )


class World:
    """Drives an engine as the shell would, with a broker that the test plays."""

    def __init__(
        self, *, cash: str = "100000", positions: dict[str, str] | None = None, **changed: Any
    ) -> None:
        self.now_ns = 10 * SECOND
        self.at = NOON
        book = Book(Decimal(cash), {s: Decimal(q) for s, q in (positions or {}).items()})
        self.engine = Engine(
            book,
            changed.pop("mode", Mode.READY),
            1,
            LIMITS | {name: str(value) for name, value in changed.items()},
            SECTORS,
            reprice_ns=30 * SECOND,
            identity={"build": "test"},
        )
        for symbol in SYMBOLS:
            self.quote(symbol, "99.99", "100.01")

    def quote(self, symbol: str, bid: str, ask: str, sizes: tuple[int, int] = (100, 100)) -> None:
        self.engine.decide(
            Quote(
                market_time=self.at, now_ns=self.now_ns, symbol=symbol, bid=Decimal(bid), ask=Decimal(ask),
                bid_size=sizes[0], ask_size=sizes[1],
            )
        )  # fmt: skip

    def batch(self, weights: dict[str, str], risk: RiskSnapshot | None = None, **fields: Any) -> None:
        targets = tuple(Target(f"{i:032x}", s, Decimal(w)) for i, (s, w) in enumerate(weights.items(), 1))
        self.engine.decide(
            Batch(
                market_time=self.at, now_ns=self.now_ns, snapshot=risk or snapshot(),
                **({"batch_id": "b1", "valid_until": CLOSE, "legs": {}, "targets": targets} | fields),
            )
        )  # fmt: skip

    def tick(self, seconds: float = 0.1) -> list[Command]:
        self.now_ns += int(seconds * SECOND)
        self.at += dt.timedelta(seconds=seconds)
        return self.engine.decide(
            Timer(market_time=self.at, now_ns=self.now_ns, session_open=OPEN, session_close=CLOSE)
        )

    def tell(self, kind: type[Event], /, **fields: Any) -> list[Command]:
        return self.engine.decide(kind(market_time=self.at, now_ns=self.now_ns, **fields))

    def accept(self, commands: list[Command]) -> list[Submit]:
        """Play a ledger that reserves everything and a broker that takes everything."""
        sent: list[Submit] = []
        for command in commands:
            if isinstance(command, Reserve):
                cid = command.intent.client_order_id
                answers = self.tell(Reserved, client_order_id=cid, ok=True, reason="")
                assert [type(a) for a in answers] == [Record, Submit], "state first, then the bytes"
                sent += [a for a in answers if isinstance(a, Submit)]
                self.tell(
                    OrderEvidence, client_order_id=cid, evidence=Evidence.WORKING, broker_order_id=f"broker-{cid}",
                    broker_status="new",
                )  # fmt: skip
        return sent
