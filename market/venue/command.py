"""`executor venue`: start the local exchange, say where it is in one JSON line, serve until told to stop."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import signal
import sys
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from market import calendar
from market.errors import CalendarError
from market.venue.clock import VenueClock
from market.venue.credentials import Credentials
from market.venue.daily import DailyHistory, canonical, read_daily
from market.venue.errors import TapeError, VenueError
from market.venue.exchange import Exchange, Rules
from market.venue.faults import FaultPlan, load_plan
from market.venue.journal import Journal
from market.venue.overnight import with_overnight
from market.venue.path import build_from_daily
from market.venue.server import Server, check_free
from market.venue.sessions import Session, session_on
from market.venue.tape import SymbolTape, Tape
from market.venue.ticks import TickTape, is_intraday
from market.venue.timestamps import new_york

FAST_SPEED = 60
"""Above this speed market data is flushed in larger steps: a client of the real services could not follow."""


@dataclass
class Options:
    """Everything `run` takes; see `executor venue --help`."""

    host: str = "127.0.0.1"
    port: int = 0
    data: Path | None = None
    date: dt.date | None = None
    speed: float = 60
    seed: int = 7
    faults: Path | None = None
    journal: Path | None = None
    accounts: int = 1
    cash: Decimal = Decimal(100_000)
    start: str | None = None
    rate_limit: int = 200
    key_id: str | None = None
    secret_key: str | None = None
    polygon_key: str | None = None
    symbols: list[str] | None = None
    control_port: int = 0
    step_s: int = 5
    conflate: bool = True
    rules: Rules = field(default_factory=Rules)
    auth_status: int = 401
    recent_sip: bool = True
    symbol_limit: int = 0


def run(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    data: Path | None = None,
    date: dt.date | None = None,
    speed: float = 60,
    seed: int = 7,
    faults: Path | None = None,
    journal: Path | None = None,
    accounts: int = 1,
    cash: Decimal = Decimal(100_000),
    start: str | None = None,
    rate_limit: int = 200,
    key_id: str | None = None,
    secret_key: str | None = None,
    polygon_key: str | None = None,
    symbols: list[str] | None = None,
    control_port: int = 0,
    step_s: int = 5,
    conflate: bool = True,
    rules: Rules | None = None,
    auth_status: int = 401,
    recent_sip: bool = True,
    symbol_limit: int = 0,
) -> None:
    """Serve until SIGINT or SIGTERM; VenueError (with its exit code) when it cannot start.

    `date` None replays the last session of the data; `start` None begins at the regular open; `speed` 0 is a
    clock that only the control address moves.
    """
    options = Options(
        host, port, data, date, speed, seed, faults, journal, accounts, Decimal(cash), start, rate_limit, key_id,
        secret_key, polygon_key, symbols, control_port, step_s, conflate, rules or Rules(),
        auth_status, recent_sip, symbol_limit,
    )  # fmt: skip
    asyncio.run(_serve(options))


def read_rules(words: list[str]) -> Rules:
    """`NAME=VALUE` words as Rules; VenueError names an unknown rule or a value of the wrong kind."""
    values: dict[str, Any] = {}
    known = {item.name for item in fields(Rules)}
    for word in words:
        name, equals, text = word.partition("=")
        if name not in known or not equals:
            raise VenueError(
                f"--rule {word} is unknown; write NAME=VALUE with one of {', '.join(sorted(known))}"
            )
        values[name] = text
    try:
        rules = msgspec.convert(values, Rules, strict=False)
    except msgspec.ValidationError as reason:
        raise VenueError(f"--rule cannot be read: {reason}") from None
    for name, allowed in (("fills", ("strict", "paper")), ("replace_qty", ("total", "remainder")),
                          ("wash_trade_status", (403, 422)), ("luld_tier", (1, 2)),
                          ("day_end", ("expired", "done_for_day")), ("halted_orders", ("working", "suspended")),
                          ("update_frames", ("binary", "text"))):  # fmt: skip
        if getattr(rules, name) not in allowed:
            raise VenueError(
                f"--rule {name} takes {' or '.join(map(str, allowed))}, not {getattr(rules, name)}"
            )
    if not 0 < rules.participation <= 1 or rules.latency_ms < 0 or not 1 <= rules.depth_levels <= 100:
        raise VenueError("--rule: participation is over 0 to 1, latency_ms from 0, depth_levels 1 to 100")
    return rules


def load_history(data: Path | None, symbols: list[str] | None = None) -> DailyHistory:
    """The price file, or the built-in sample; TapeError names what is wrong with it."""
    if data is not None:
        return DailyHistory(read_daily(data), symbols)
    from market.sample import sample_prices

    return DailyHistory(canonical(sample_prices(), "the built-in sample"), symbols)


def choose_day(history: DailyHistory, day: dt.date | None) -> dt.date:
    """The session to replay, checked against the calendar and the data."""
    chosen = day or history.last_day
    try:
        is_session = calendar.is_session(chosen)
    except CalendarError as reason:
        raise TapeError(str(reason)) from None
    if not is_session:
        raise TapeError(
            f"{chosen} is not a trading session; the data reach from {history.first_day} to {history.last_day}"
        )
    if not history.has_day(chosen):
        raise TapeError(
            f"the price data have no bars on {chosen}; they reach from {history.first_day} to {history.last_day}"
        )
    return chosen


def start_time(day: dt.date, start: str | None) -> int:
    """Venue nanoseconds of `--start` (New York time), the regular open without it."""
    if start is None:
        return session_on(day).open
    try:
        return new_york(day, dt.time.fromisoformat(start))
    except ValueError:
        raise VenueError(
            f"--start {start} is not a time; write HH:MM in New York time, such as 09:35"
        ) from None


def build_server(options: Options) -> Server:
    """The whole venue, not yet listening."""
    if not 0 <= options.speed <= 1e6:
        raise VenueError(f"--speed {options.speed} is out of range; use 0 (stepped) to 1000000")
    if not 1 <= options.accounts <= 1000:
        raise VenueError(f"--accounts {options.accounts} is out of range; use 1 to 1000")
    ticks = TickTape(options.data, seed=options.seed) if options.data and is_intraday(options.data) else None
    history = ticks.history(options.symbols) if ticks else load_history(options.data, options.symbols)
    day = choose_day(history, options.date)

    def build(symbol: str, session: Session) -> SymbolTape | None:
        if ticks is not None:
            built = ticks.build(symbol, session)
        else:
            built = build_from_daily(history, symbol, session, seed=options.seed, step_s=options.step_s)
        if built is None or not options.rules.overnight:
            return built
        return with_overnight(built, history, seed=options.seed)

    # Listed on the day, or shortly before it: a name whose data ended long ago is not on the exchange.
    recent = day - dt.timedelta(days=10)
    listed = [symbol for symbol in history.symbols if history.between(symbol, recent, day)]
    tape = Tape(history, build, symbols=listed, modelled=ticks is None)
    plan = load_plan(options.faults, options.seed) if options.faults else FaultPlan(options.seed)
    journal = Journal(options.journal)
    begins = start_time(day, options.start)
    journal.record("header", begins, {"options": _journaled(options, day)})
    exchange = Exchange(
        tape, start=begins, seed=options.seed, accounts=options.accounts, cash=options.cash, rules=options.rules,
        faults=plan, record=journal.record if journal.on else None,
    )  # fmt: skip
    for symbol in listed:
        tape.on(symbol, day)  # before the clock starts: a first look must not stop it
    return Server(
        exchange,
        VenueClock(begins, options.speed),
        Credentials(
            seed=options.seed, accounts=options.accounts, key_id=options.key_id, secret_key=options.secret_key,
            polygon_key=options.polygon_key,
        ),
        journal,
        host=options.host,
        rate_limit=options.rate_limit,
        flush_s=0.02 if options.speed <= FAST_SPEED else 0.05,
        conflate=options.conflate,
        auth_status=options.auth_status,
        recent_sip=options.recent_sip,
        symbol_limit=options.symbol_limit,
    )  # fmt: skip


def _journaled(options: Options, day: dt.date) -> dict[str, Any]:
    """What a replay needs: everything but addresses, files of its own and keys."""
    left_out = {
        "host",
        "port",
        "control_port",
        "journal",
        "key_id",
        "secret_key",
        "polygon_key",
        "rate_limit",
    }
    kept = {name: value for name, value in vars(options).items() if name not in left_out}
    return {**kept, "speed": float(options.speed), "date": day, "data": str(options.data.resolve()) if options.data else None,
            "faults": str(options.faults.resolve()) if options.faults else None}  # fmt: skip


def ready_line(server: Server) -> dict[str, Any]:
    """Where everything is."""
    rest, socket = f"http://{server.host}:{server.port}", f"ws://{server.host}:{server.port}"
    accounts = [
        {"account_number": account.account_number, "key_id": pair.key_id, "secret_key": pair.secret_key}
        for account, pair in zip(server.exchange.accounts, server.credentials.pairs, strict=True)
    ]
    return {
        "rest_url": rest,
        "trading_stream_url": f"{socket}/stream",
        "data_stream_url": f"{socket}/v2/iex",
        "data_rest_url": rest,
        "polygon_rest_url": rest,
        "polygon_ws_url": f"{socket}/stocks",
        "control_url": f"http://{server.host}:{server.control_port}",
        "control_token": server.control.token,
        "key_id": accounts[0]["key_id"],
        "secret_key": accounts[0]["secret_key"],
        "polygon_key": server.credentials.polygon_key,
        "account_number": accounts[0]["account_number"],
        "session": server.exchange.session.day.isoformat(),
        "speed": server.clock.speed,
        "accounts": accounts,
    }


def read_journal(
    path: Path,
    *,
    kinds: list[str] | None = None,
    account: int | None = None,
    after: int = 0,
    wire: bool = False,
    replay_to: Path | None = None,
) -> int:
    """`executor venue journal PATH`: print lines as JSON, with wall times when `wire`; or replay and compare.

    Returns the exit code: 0, or 3 when a replay differs. VenueError when the journal cannot be read.
    """
    from market.venue.replay import read_lines, replay

    if replay_to is not None:
        same = replay(path, replay_to)
        print(f"the replay in {replay_to} {'equals' if same else 'DIFFERS from'} {path}")
        return 0 if same else 3
    stamps = _wall_times(path) if wire else {}
    for line in read_lines(path):
        if (kinds and line["kind"] not in kinds) or line["n"] <= after:
            continue
        if account is not None and line.get("account") not in (None, account):
            continue
        print(msgspec.json.encode({**line, **stamps.get(line["n"], {})}).decode())
    return 0


def _wall_times(path: Path) -> dict[int, dict[str, int]]:
    beside = path.with_name(path.name + ".wire")
    found: dict[int, dict[str, int]] = {}
    if beside.is_file():
        for raw in beside.read_bytes().split(b"\n")[:-1]:
            line = msgspec.json.decode(raw)
            if "n" in line:
                found[line["n"]] = {"wall_ns": line["wall_ns"], "boot_ns": line["boot_ns"]}
    return found


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    for port in {options.port, options.control_port} - {0}:
        check_free(options.host, port)  # before the prices are read: a taken port should be said at once
    server = build_server(options)
    await server.start(options.port, options.control_port)
    # Tapes and history stay for good: keep the collector from walking them over and over.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.stdout.write(msgspec.json.encode(ready_line(server)).decode() + "\n")
    sys.stdout.flush()
    try:
        await stop.wait()
    finally:
        await server.stop()
