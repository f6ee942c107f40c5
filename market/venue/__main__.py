"""`python -m market.venue`: the same options as `executor venue`, without the executor's dependencies."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path

from market.errors import MarketError


def _cash(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text} is not an amount of USD") from None
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError(f"{text} is not an amount of USD")
    return amount


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m market.venue", description=__doc__)
    made.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; loopback unless told otherwise"
    )
    made.add_argument("--port", type=int, default=0, help="public port, 0 picks a free one")
    made.add_argument("--control-port", type=int, default=0, help="control port, 0 picks a free one")
    made.add_argument("--data", type=Path, help="Parquet or CSV of prices; the built-in sample without it")
    made.add_argument(
        "--date", type=dt.date.fromisoformat, help="session to replay; the last one of the data"
    )
    made.add_argument(
        "--speed", type=float, default=60, help="venue seconds a second; 0: the control address steps"
    )
    made.add_argument("--seed", type=int, default=7, help="of everything that is modelled")
    made.add_argument("--faults", type=Path, help="TOML fault plan")
    made.add_argument("--journal", type=Path, help="append-only record")
    made.add_argument("--accounts", type=int, default=1)
    made.add_argument("--cash", type=_cash, default=Decimal(100_000), help="USD in each account")
    made.add_argument(
        "--start", help="HH:MM in New York: where in the day the clock begins; 09:30 without it"
    )
    made.add_argument("--rate-limit", type=int, default=200, help="requests a minute and key, 0 for no limit")
    made.add_argument("--key-id")
    made.add_argument("--secret-key")
    made.add_argument("--polygon-key")
    made.add_argument(
        "--symbols", type=lambda text: [s for s in text.split(",") if s], help="only these, by commas"
    )
    made.add_argument("--step", dest="step_s", type=int, default=5, help="seconds between modelled quotes")
    made.add_argument(
        "--no-conflate", dest="conflate", action="store_false", help="send every quote at any speed"
    )
    made.add_argument("--rule", action="append", default=[], metavar="NAME=VALUE",
                      help="an assumption of the exchange, such as fills=paper or latency_ms=50; see docs/venue.md")  # fmt: skip
    made.add_argument(
        "--auth-status", type=int, choices=(401, 403), default=401, help="answer to a wrong key"
    )
    made.add_argument(
        "--free-plan", action="store_true", help="30 symbols a stream, no SIP data of the last 15 minutes"
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 stopped as asked, 2 bad input, 4 address not to be had."""
    options = vars(parser().parse_args(arguments))
    from market.venue.command import read_rules, run

    try:
        options["rules"] = read_rules(options.pop("rule"))
        if options.pop("free_plan"):
            options.update(recent_sip=False, symbol_limit=30)
        run(**options)
    except MarketError as reason:
        print(f"error: {reason}", file=sys.stderr)
        return int(getattr(reason, "exit_code", 2))
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
