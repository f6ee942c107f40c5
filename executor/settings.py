"""What the user can set, where each value comes from, and which values are secret.

One class for both commands. Sources, strongest first: environment (``SALLYPORT_...``, nested with
``__``, plus the names the vendors and Postgres use: ``DATABASE_URL``, ``APCA_API_KEY_ID``,
``APCA_API_SECRET_KEY``, ``POLYGON_API_KEY``), then ``sallyport.toml`` in the working directory (or
the file that ``SALLYPORT_CONFIG`` names), then the defaults below. An unknown key refuses to start:
a mistyped limit must not be a limit that nobody reads.
"""

from __future__ import annotations

import os
import tomllib
from decimal import Decimal
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from executor.errors import SettingsError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BrokerSettings(_Section):
    """Where orders go. The defaults are Alpaca's paper service."""

    url: str = "https://paper-api.alpaca.markets"
    stream_url: str = "wss://paper-api.alpaca.markets/stream"
    key_id: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    connect_timeout_s: float = Field(default=2.0, gt=0, le=30)
    read_timeout_s: float = Field(default=5.0, gt=0, le=60)


class FeedSettings(_Section):
    """Where live data come from: a primary feed, and a backup that takes over while it is down."""

    primary: Literal["alpaca", "polygon"] = "alpaca"
    backup: Literal["", "alpaca", "polygon"] = ""
    stream_url: str = "wss://stream.data.alpaca.markets/v2/iex"
    data_url: str = "https://data.alpaca.markets"
    polygon_stream_url: str = "wss://socket.massive.com/stocks"
    polygon_url: str = "https://api.polygon.io"
    polygon_key: SecretStr = SecretStr("")


class LimitSettings(_Section):
    """The first limit version of a new ledger. Fractions are of equity unless said otherwise.

    Later versions are a person's act (``executor limits``). By which formula and from which source each is
    measured is in ``docs/limits.md``, what each breaker trips in ``docs/breakers.md``.
    """

    # One order.
    order_qty: Decimal = Field(default=Decimal("100000"), gt=0)
    """Shares of one order."""
    order_notional_usd: Decimal = Field(default=Decimal("150000"), gt=0)
    """USD of one order at its limit price."""
    quote_age_s: Decimal = Field(default=Decimal("15"), gt=0)
    """Seconds a quote may be old."""
    spread: Decimal = Field(default=Decimal("0.03"), gt=0, lt=1)
    """Width of the quote as a fraction of its mid."""
    price_collar: Decimal = Field(default=Decimal("0.02"), gt=0, lt=1)
    """How far a limit price may be through the mid, as a fraction of it."""
    risk_per_trade: Decimal = Field(default=Decimal("0.02"), gt=0, le=1)
    """Equity lost in one name if its protective exit is reached."""
    risk_volatilities: Decimal = Field(default=Decimal("3"), gt=0)
    """Daily volatilities that stand in for the distance to a stop where there is none."""
    participation: Decimal = Field(default=Decimal("0.01"), gt=0, le=1)
    """Fraction of the average daily volume."""
    displayed_size: Decimal = Field(default=Decimal("100"), gt=0)
    """Multiple of the size shown on the far side of the quote."""
    buying_power: Decimal = Field(default=Decimal("1.00"), gt=0, le=4)
    """1 = a cash account, 2 = Reg T margin, 4 = intraday margin."""
    intraday_margin: Decimal = Field(default=Decimal("0.80"), gt=0, le=1)
    """Maintenance margin: the rest of equity is the buffer against a call."""

    # Conduct.
    duplicate_orders: int = Field(default=3, gt=0, le=100)
    """Orders of one symbol, side and quantity within ``duplicate_window_s``."""
    duplicate_window_s: Decimal = Field(default=Decimal("10"), gt=0)
    repeated_orders: int = Field(default=12, gt=0, le=100)
    """Orders of one symbol within ``repeat_window_s``."""
    repeat_window_s: Decimal = Field(default=Decimal("60"), gt=0)
    messages_per_minute: int = Field(default=180, gt=0)
    """Requests to the broker, which takes 200 a minute."""
    messages_reserved: int = Field(default=20, ge=0)
    """Messages new orders leave for cancels."""
    orders_per_day: int = Field(default=2000, gt=0)
    """Orders of a session."""
    notional_per_day_usd: Decimal = Field(default=Decimal("10000000"), gt=0)
    """USD executed and still open in a session, both sides."""
    turnover: Decimal = Field(default=Decimal("4"), gt=0)
    """The same over equity."""

    # The book after the order, all open and unknown ones at worst.
    single_name: Decimal = Field(default=Decimal("0.12"), gt=0)
    """One name."""
    short_name: Decimal = Field(default=Decimal("0.12"), ge=0)
    """One short position; 0 = long only."""
    sector: Decimal = Field(default=Decimal("0.40"), gt=0)
    """One sector."""
    cluster: Decimal = Field(default=Decimal("0.60"), gt=0)
    """Names that move together."""
    gross: Decimal = Field(default=Decimal("1.00"), gt=0)
    """Longs and shorts."""
    net: Decimal = Field(default=Decimal("1.00"), gt=0)
    """Longs less shorts, either way."""
    leverage: Decimal = Field(default=Decimal("1.30"), gt=0)
    """Gross over equity after every position has moved against us by ``leverage_shock``."""
    leverage_shock: Decimal = Field(default=Decimal("0.20"), ge=0, lt=1)
    concentration: Decimal = Field(default=Decimal("0.15"), gt=0)
    """Herfindahl-Hirschman index on fractions of equity."""
    beta: Decimal = Field(default=Decimal("1.50"), gt=0)
    """Beta of the book."""
    factor_risk: Decimal = Field(default=Decimal("0.03"), gt=0)
    """Loss by one daily standard deviation of any factor."""
    value_at_risk: Decimal = Field(default=Decimal("0.04"), gt=0)
    """One day, 95 %."""
    expected_shortfall: Decimal = Field(default=Decimal("0.08"), gt=0)
    """One day, 95 %."""
    value_at_risk_99: Decimal = Field(default=Decimal("0.08"), gt=0)
    """One day, 99 %."""
    expected_shortfall_99: Decimal = Field(default=Decimal("0.12"), gt=0)
    """One day, 99 %."""
    stage_capital: Decimal = Field(default=Decimal("1.00"), gt=0)
    """Gross that the stage may use: 1 on paper, a few hundredths in a canary, then more."""
    daily_loss: Decimal = Field(default=Decimal("0.05"), gt=0, lt=1)
    """Of the day's opening equity."""

    # Bounds of the breakers.
    drawdown: Decimal = Field(default=Decimal("0.10"), gt=0, lt=1)
    drawdown_scale: Decimal = Field(default=Decimal("0.5"), ge=0, le=1)
    extreme_loss: Decimal = Field(default=Decimal("0.10"), gt=0, lt=1)
    drawdown_stop: Decimal = Field(default=Decimal("0.20"), gt=0, lt=1)
    equity_confirm_s: Decimal = Field(default=Decimal("10"), ge=0)
    feed_silent_s: Decimal = Field(default=Decimal("60"), gt=0)
    order_stream_s: Decimal = Field(default=Decimal("30"), gt=0)
    broker_errors: int = Field(default=20, gt=0)
    broker_rejects: int = Field(default=10, gt=0)
    broker_latency_ms: Decimal = Field(default=Decimal("5000"), gt=0)
    clock_offset_ms: Decimal = Field(default=Decimal("500"), gt=0)
    price_jump: Decimal = Field(default=Decimal("0.10"), gt=0)
    price_jump_rest_s: Decimal = Field(default=Decimal("30"), ge=0)
    orders_per_minute: int = Field(default=300, gt=0)
    turns: int = Field(default=6, gt=1)
    disk_used: Decimal = Field(default=Decimal("0.95"), gt=0, le=1)
    memory_used: Decimal = Field(default=Decimal("0.95"), gt=0, le=1)
    loop_lag_ms: Decimal = Field(default=Decimal("1000"), gt=0)
    heartbeat_s: Decimal = Field(default=Decimal("30"), gt=0)


class NotifySettings(_Section):
    """Apprise addresses (each may hold a password, so all are secret)."""

    urls: tuple[SecretStr, ...] = ()


class Settings(BaseSettings):
    """All settings; see the module's text for the sources."""

    model_config = SettingsConfigDict(
        env_prefix="SALLYPORT_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    state_dir: Path = Path(".sallyport")
    environment: Literal["replay", "paper", "live"] = "paper"
    account: str = ""
    database_url: SecretStr | None = None
    strategy: Path = Path("strategies/momentum.toml")
    clock_rate: float = Field(default=1.0, gt=0)
    anchors: tuple[str, ...] = ()
    prefect_api_url: str = ""
    broker: BrokerSettings = BrokerSettings()
    feed: FeedSettings = FeedSettings()
    limits: LimitSettings = LimitSettings()
    notify: NotifySettings = NotifySettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            env_settings,
            _VendorEnvironment(settings_cls),
            TomlConfigSettingsSource(settings_cls, toml_file=config_file()),
        )


def config_file() -> Path:
    """The TOML file in use, whether or not it exists."""
    return Path(os.environ.get("SALLYPORT_CONFIG", "sallyport.toml"))


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; raises :class:`SettingsError` naming key, value and way out."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"setting {name}: {first['msg']}; it comes from {origin(first['loc'])}. "
            "executor settings lists every key with its value"
        ) from None
    except TOMLDecodeError as error:
        raise SettingsError(f"{config_file()} is not valid TOML: {error}; correct it or remove it") from None


VENDOR_NAMES = {
    ("database_url",): ("DATABASE_URL",),
    ("broker", "key_id"): ("APCA_API_KEY_ID",),
    ("broker", "secret_key"): ("APCA_API_SECRET_KEY",),
    ("feed", "polygon_key"): ("POLYGON_API_KEY",),
}
"""Names other tools use for the same settings; ours (``SALLYPORT_...``) win."""


def origin(path: tuple[int | str, ...]) -> str:
    """Where the value of one setting comes from: an environment variable, the file, or the default."""
    own = "SALLYPORT_" + "__".join(str(part) for part in path).upper()
    for name in (own, *VENDOR_NAMES.get(tuple(map(str, path)), ())):
        if name in os.environ:
            return f"environment {name}"
    file = config_file()
    if file.exists():
        node: Any = tomllib.loads(file.read_text())
        for part in path:
            if not isinstance(node, dict) or part not in node:
                break
            node = node[part]
        else:
            return str(file)
    return "default"


def listing(settings: Settings) -> list[tuple[str, str, str]]:
    """Every setting as ``(name, value, origin)``; a secret shows only that it is set."""
    rows: list[tuple[str, str, str]] = []

    def walk(model: BaseModel, path: tuple[str, ...]) -> None:
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, BaseModel):
                walk(value, (*path, name))
            else:
                rows.append((".".join((*path, name)), _shown(value), origin((*path, name))))

    walk(settings, ())
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(set, hidden)" if value.get_secret_value() else "(not set)"
    if isinstance(value, tuple):
        secret = any(isinstance(item, SecretStr) for item in value)
        return (f"({len(value)} hidden)" if secret else ", ".join(map(str, value))) if value else "(none)"
    return "(not set)" if value in (None, "") else str(value)


class _VendorEnvironment(PydanticBaseSettingsSource):
    """The names vendors use, as a source below our own environment names."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False  # whole settings come from __call__

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path, names in VENDOR_NAMES.items():
            for name in names:
                if os.environ.get(name):
                    node = found
                    for part in path[:-1]:
                        node = node.setdefault(part, {})
                    node[path[-1]] = os.environ[name]
        return found
