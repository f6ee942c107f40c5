"""NautilusTrader beside our gate: one order constructed, passed by its RiskEngine, handed to a client in process.

Run by ``bench/core.py --peer PYTHON`` with an interpreter that has ``nautilus_trader`` (it is no dependency of
ours). Its RiskEngine checks the order's own terms, its notional and the rate of orders; nothing of the book.
Prints one line of JSON: ``[[name, p50 µs, p99 µs]]``, timed as our own rows are.
"""

from __future__ import annotations

import json
import time

import nautilus_trader
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.execution.engine import ExecutionEngine
from nautilus_trader.execution.messages import SubmitOrder
from nautilus_trader.model.enums import AccountType, OrderSide
from nautilus_trader.model.identifiers import ClientId, StrategyId, Venue
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.portfolio.portfolio import Portfolio
from nautilus_trader.risk.config import RiskEngineConfig
from nautilus_trader.risk.engine import RiskEngine
from nautilus_trader.test_kit.mocks.exec_clients import MockExecutionClient
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.test_kit.stubs.data import TestDataStubs
from nautilus_trader.test_kit.stubs.events import TestEventStubs
from nautilus_trader.test_kit.stubs.identifiers import TestIdStubs

ROUNDS, TIMES = 8, 2_000


def main() -> None:
    """Build the engines, time the orders, print the figures of the quietest round."""
    clock, trader, strategy = TestClock(), TestIdStubs.trader_id(), StrategyId("S-1")
    bus, cache = MessageBus(trader_id=trader, clock=clock), Cache()
    portfolio = Portfolio(msgbus=bus, cache=cache, clock=clock)
    execution = ExecutionEngine(msgbus=bus, cache=cache, clock=clock)
    wide = RiskEngineConfig(max_order_submit_rate="1000000/00:00:01")
    risk = RiskEngine(portfolio=portfolio, msgbus=bus, cache=cache, clock=clock, config=wide)
    instrument = TestInstrumentProvider.equity("AAPL", "XNAS")
    cache.add_instrument(instrument)
    client = MockExecutionClient(
        client_id=ClientId("XNAS"), venue=Venue("XNAS"), account_type=AccountType.CASH, base_currency=None, msgbus=bus,
        cache=cache, clock=clock,
    )  # fmt: skip
    execution.register_client(client)
    portfolio.update_account(TestEventStubs.cash_account_state())
    cache.add_quote_tick(TestDataStubs.quote_tick(instrument, bid_price=100.0, ask_price=100.02))
    factory = OrderFactory(trader_id=trader, strategy_id=strategy, clock=clock)
    execution.start()
    risk.start()
    one, price = Quantity.from_int(1), Price.from_str("100.05")
    best = (float("inf"), float("inf"))
    for round_ in range(ROUNDS + 1):
        spent = []
        for _ in range(TIMES):
            started = time.perf_counter_ns()
            order = factory.limit(instrument.id, OrderSide.BUY, one, price)
            risk.execute(
                SubmitOrder(
                    trader_id=trader, strategy_id=strategy, position_id=None, order=order, command_id=UUID4(), ts_init=0,
                )
            )  # fmt: skip
            spent.append(time.perf_counter_ns() - started)
        assert len(client.commands) == (round_ + 1) * TIMES, "every order has reached the client"
        spent.sort()
        if round_:
            best = min(best, (spent[len(spent) // 2] / 1e3, spent[int(len(spent) * 0.99)] / 1e3))
    version = nautilus_trader.__version__
    print(json.dumps([[f"NautilusTrader {version}: construct, risk, submit", *best]]))


if __name__ == "__main__":
    main()
