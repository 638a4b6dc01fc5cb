"""File and environment in, checked values out. The only reader of either.

    seed = 7                          # every table and key is optional
    store = "~/headroom.db"

    [brokers.fyers]                   # the name an account is routed by
    provider = "fyers"                # defaults to the name
    client_id = "ABCD1234EF-100"
    access_token = "..."              # better: HEADROOM_FYERS_ACCESS_TOKEN in the environment

    [brokers.fyers.rate_limits]       # defaults to the published limits
    requests_per_second = 8

    [instruments]                     # the brokers' symbol files; a few symbols are known without them
    fyers = ["NSE_CM.csv"]
    upstox = ["NSE.json.gz"]

    [alerts]                          # docs/alerts.md
    window_free_percent = 15

    [routing]
    hedged_reads = ["get_orders"]     # a slow one is asked at a second broker too; none unless named

    [routing.routing_rules.get_market_data]
    prefer = ["upstox"]

Secrets may stand in the environment as HEADROOM_<ACCOUNT>_<KEY>; there they win over the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigError
from .models import APIConfig, APIProvider, Budget, Rate
from .models.api import RATE_LIMIT_WINDOWS_NS

__all__ = [
    "SECRET_KEYS",
    "Instruments",
    "Settings",
    "default_store_path",
    "load_settings",
    "read_table",
    "secret_name",
    "simulated_settings",
    "state_dir",
    "stress_runs_dir",
    "token_dir",
]

SECRET_KEYS: Final = ("api_key", "api_secret", "access_token")


class PublishedLimits(Protocol):
    """What a provider publishes; an algo that is registered at the exchange may raise it."""

    def __call__(self, provider: APIProvider, /, *, registered_algo: bool = ...) -> tuple[Budget, ...]: ...


class Instruments(BaseModel):
    """The brokers' own instrument files, as downloaded; without them only the few shipped symbols are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fyers: tuple[Path, ...] = Field(min_length=1)
    upstox: tuple[Path, ...] = ()


class Settings(BaseModel):
    """All that a router is built from. `store` None means a file that goes away with the process.

    `quote_max_age_ms`: a quote that was asked for, or ticked, not longer ago answers a request without asking a broker.
    `embedded` says where simulated accounts without an address live: in memory, or behind real sockets on loopback
    that a thread (`wire`) or a process of its own (`process`) serves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    brokers: dict[str, APIConfig] = Field(min_length=1)
    routing: dict[str, Any] = Field(default_factory=dict)
    guards: dict[str, Any] = Field(default_factory=dict)
    alerts: dict[str, Any] = Field(default_factory=dict)
    store: Path | None = None
    instruments: Instruments | None = None
    quote_max_age_ms: int = Field(default=250, ge=0, le=60_000)
    seed: int = 0
    embedded: Literal["memory", "wire", "process"] = "memory"
    theme: str = ""
    layout: str = ""
    keys: dict[str, str] = Field(default_factory=dict)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret there is, for whoever has to keep them out of what is shown."""
        found = (getattr(account, key).get_secret_value() for account in self.brokers.values() for key in SECRET_KEYS)
        return tuple(secret for secret in found if secret)

    @property
    def simulated(self) -> bool:
        """Whether no real account can be reached through these settings."""
        return all(config.simulated for config in self.brokers.values())


def state_dir() -> Path:
    """Where headroom keeps what must outlive it; made on demand by whoever writes there."""
    return platformdirs.user_state_path("headroom")


def default_store_path() -> Path:
    """The journal and trade store of live accounts."""
    return state_dir() / "headroom.db"


def stress_runs_dir() -> Path:
    """Where the dashboard keeps the reports of its stress runs."""
    return state_dir() / "stress-runs"


def token_dir() -> Path:
    """Where `headroom login` leaves the day's access tokens."""
    return state_dir() / "tokens"


def simulated_settings(
    published: PublishedLimits,
    *,
    seed: int = 0,
    store: Path | None = None,
    embedded: Literal["memory", "wire"] = "memory",
) -> Settings:
    """Two embedded brokers with the published limits of Fyers and Upstox, and nothing real behind them."""
    brokers = {
        provider.value: APIConfig(provider=provider, budgets=published(provider), simulated=True)
        for provider in (APIProvider.FYERS, APIProvider.UPSTOX)
    }
    return Settings(brokers=brokers, seed=seed, store=store, embedded=embedded)


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file as it is written. Raises ConfigError: file, fault and mend in one line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        message = f"{path}: cannot be read: {reason}"
        raise ConfigError(message) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{path}: not valid TOML: {error}"
        raise ConfigError(message) from None


def load_settings(path: Path, published: PublishedLimits, environ: Mapping[str, str]) -> Settings:
    """The settings of a TOML file; secrets from `environ` win. Raises ConfigError: file, key and mend in one line."""
    table = read_table(path)
    brokers = table.get("brokers")
    if not isinstance(brokers, dict) or not brokers:
        message = f"{path}: no [brokers.NAME] table; name at least one account"
        raise ConfigError(message)
    filled = {name: _account(path, name, values, published, environ) for name, values in brokers.items()}
    if "store" in table:
        table["store"] = Path(str(table["store"])).expanduser()
    try:
        return Settings.model_validate({**table, "brokers": filled})
    except ValidationError as error:
        raise _one_line(path, "", error) from None


def secret_name(account: str, key: str) -> str:
    """The variable of the environment that a secret of an account may stand in."""
    return f"HEADROOM_{account.upper()}_{key.upper()}"


def _account(
    path: Path, name: str, values: object, published: PublishedLimits, environ: Mapping[str, str]
) -> APIConfig:
    if not isinstance(values, dict):
        message = f"{path}: brokers.{name} is not a table; write [brokers.{name}]"
        raise ConfigError(message)
    account: dict[str, Any] = {"provider": name, **values}
    for key in SECRET_KEYS:
        secret = environ.get(secret_name(name, key))
        if secret:
            account[key] = secret
    if account["provider"] not in list(APIProvider):
        known = ", ".join(APIProvider)
        message = f"{path}: brokers.{name}.provider is {account['provider']!r}; known: {known}"
        raise ConfigError(message)
    if "rates" in account:
        account["rates"] = _rates(path, name, account["rates"])
    elif "rate_limits" not in account:
        algo = bool(account.get("algo_name"))
        account["budgets"] = published(APIProvider(account["provider"]), registered_algo=algo)
    if "shared_counts" in account:
        account["shared_counts"] = Path(str(account["shared_counts"])).expanduser()
    try:
        return APIConfig.model_validate(account)
    except ValidationError as error:
        raise _one_line(path, f"brokers.{name}.", error) from None


def _rates(path: Path, name: str, rows: object) -> tuple[Rate, ...]:
    """`rates = [{permits = 5, window_ms = 250}]`."""
    try:
        return tuple(Rate(row["permits"], row["window_ms"] * 1_000_000) for row in rows)  # type: ignore[attr-defined]
    except (TypeError, KeyError, ValueError) as error:
        windows = ", ".join(RATE_LIMIT_WINDOWS_NS)
        message = f"{path}: brokers.{name}.rates: {error}; write {{permits = 5, window_ms = 250}}, or use {windows}"
        raise ConfigError(message) from None


def _one_line(path: Path, prefix: str, error: ValidationError) -> ConfigError:
    first = error.errors(include_input=False, include_url=False)[0]  # the input may be a secret
    where = prefix + ".".join(str(part) for part in first["loc"])
    return ConfigError(f"{path}: {where or 'file'}: {first['msg'].removeprefix('Value error, ')}")
