"""What the user can set, where each value comes from, and which values are secret.

One class for both commands. Sources, strongest first: environment (``SALLYPORT_...``, nested with
``__``, plus the names the vendors and Postgres use: ``DATABASE_URL``, ``APCA_API_KEY_ID``,
``APCA_API_SECRET_KEY``, ``POLYGON_API_KEY``), then ``sallyport.toml`` in the working directory (or
the file that ``SALLYPORT_CONFIG`` names), then the defaults below. An unknown key refuses to start:
a mistyped limit must not be a limit that nobody reads.
"""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


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
    """Where live quotes come from."""

    data_url: str = "https://data.alpaca.markets"
    stream_url: str = "wss://stream.data.alpaca.markets/v2/iex"
    quote_age_max_s: float = Field(default=15.0, gt=0)
    polygon_url: str = "https://api.polygon.io"
    polygon_key: SecretStr = SecretStr("")


class LimitSettings(_Section):
    """The first limit version of a new ledger. Fractions are of equity unless said otherwise."""

    risk_per_trade: Decimal = Field(default=Decimal("0.02"), gt=0, le=1)
    risk_volatilities: Decimal = Field(default=Decimal("3"), gt=0)
    single_name: Decimal = Field(default=Decimal("0.12"), gt=0)
    sector: Decimal = Field(default=Decimal("0.40"), gt=0)
    gross: Decimal = Field(default=Decimal("1.00"), gt=0)
    order_notional_usd: Decimal = Field(default=Decimal("150000"), gt=0)
    price_collar: Decimal = Field(default=Decimal("0.02"), gt=0, lt=1)
    quote_age_s: Decimal = Field(default=Decimal("15"), gt=0)
    participation: Decimal = Field(default=Decimal("0.01"), gt=0, le=1)
    daily_loss: Decimal = Field(default=Decimal("0.05"), gt=0, lt=1)
    drawdown: Decimal = Field(default=Decimal("0.10"), gt=0, lt=1)
    drawdown_scale: Decimal = Field(default=Decimal("0.5"), ge=0, le=1)
    value_at_risk: Decimal = Field(default=Decimal("0.04"), gt=0)
    expected_shortfall: Decimal = Field(default=Decimal("0.06"), gt=0)
    orders_per_day: int = Field(default=2000, gt=0)


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
    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("DATABASE_URL", "SALLYPORT_DATABASE_URL", "database_url")
    )
    strategy: Path = Path("strategies/momentum.toml")
    clock_rate: float = Field(default=1.0, gt=0)
    prefect_api_url: str = ""
    broker: BrokerSettings = BrokerSettings()
    feed: FeedSettings = FeedSettings()
    limits: LimitSettings = LimitSettings()
    notify: NotifySettings = NotifySettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            sources["init_settings"],
            sources["env_settings"],
            TomlConfigSettingsSource(settings_cls, toml_file=config_file()),
        )


def config_file() -> Path:
    """The TOML file in use, whether or not it exists."""
    return Path(os.environ.get("SALLYPORT_CONFIG", "sallyport.toml"))


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; raises :class:`executor.errors.SettingsError` naming key, value and way out."""
    return Settings(**overrides)
