"""Which source set which option: a default of ours, the file, the environment or a flag of the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from .advice.alerts import AlertSettings
from .config import SECRET_KEYS, Settings, default_store_path, read_table, secret_name
from .engine import GuardSettings
from .models import APIConfig

__all__ = ["Option", "explain"]

DEFAULT: Final = "default"
_TABLES: Final = {"guards": GuardSettings, "alerts": AlertSettings, "routing": None, "keys": None}
_ACCOUNT: Final = ("provider", "client_id", "base_url", "timeout_ms", "simulated", "algo_name")


@dataclass(frozen=True, slots=True)
class Option:
    """One option as it is in force. A secret's `value` is `set` or `unset`, never what it is."""

    name: str
    value: str
    source: str


def explain(
    settings: Settings, *, path: Path | None, flags: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[Option, ...]:
    """Every option of `settings`, which came from `path` (None: no file), `environ` and `flags` by name.

    Raises ConfigError for a file that cannot be read.
    """
    table = {} if path is None else read_table(path)
    file = f"file {path}"

    def source(name: str) -> str:
        if flags.get(name) is not None:
            return f"flag --{name}"
        return file if name in table else DEFAULT

    return (
        *_plain(settings, source, environ),
        *(
            option
            for name, account in settings.brokers.items()
            for option in _account(name, account, table, file, environ)
        ),
        *_tables(settings, table, file),
        *_environment(settings, environ),
    )


def _plain(settings: Settings, source: Any, environ: Mapping[str, str]) -> Iterator[Option]:
    for name in Settings.model_fields:
        if name in _TABLES or name == "brokers":
            continue
        value = getattr(settings, name)
        if name == "store" and value is None and not settings.simulated:
            found = "environment XDG_STATE_HOME" if environ.get("XDG_STATE_HOME") else DEFAULT
            yield Option(name, str(default_store_path()), found)
        elif name == "store" and value is None:
            yield Option(name, "of this run, gone with it", source(name))
        elif name == "instruments" and value is not None:
            for broker in ("fyers", "upstox"):
                yield Option(f"{name}.{broker}", _text([str(file) for file in getattr(value, broker)]), source(name))
        else:
            yield Option(name, _text(value), source(name))


def _account(
    name: str, account: APIConfig, table: Mapping[str, Any], file: str, environ: Mapping[str, str]
) -> Iterator[Option]:
    written = table.get("brokers", {}).get(name, {})
    for key in _ACCOUNT:
        yield Option(f"brokers.{name}.{key}", _text(getattr(account, key)), file if key in written else DEFAULT)
    for key in SECRET_KEYS:
        given = getattr(account, key).get_secret_value()
        variable = secret_name(name, key)
        source = f"environment {variable}" if environ.get(variable) else file if key in written else DEFAULT
        yield Option(f"brokers.{name}.{key}", "set" if given else "unset", source)
    own = any(key in written for key in ("rates", "rate_limits", "budgets"))
    for budget in account.limits:
        yield Option(
            f"brokers.{name}.limits.{budget.name}",
            ", ".join(str(rate) for rate in budget.rates),
            file if own else "default: as the broker publishes",
        )


def _tables(settings: Settings, table: Mapping[str, Any], file: str) -> Iterator[Option]:
    for name, known in _TABLES.items():
        written = table.get(name, {})
        defaults = {} if known is None else {entry.name: getattr(known(), entry.name) for entry in fields(known)}
        for key, value in {**defaults, **getattr(settings, name)}.items():
            for place, leaf in _leaves(f"{name}.{key}", value):
                yield Option(place, _text(leaf), file if key in written else DEFAULT)


def _leaves(place: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _leaves(f"{place}.{key}", part)
    else:
        yield place, value


def _environment(settings: Settings, environ: Mapping[str, str]) -> Iterator[Option]:
    if environ.get("NO_COLOR"):
        yield Option("colour", "off", "environment NO_COLOR")
    if environ.get("NO_BELL"):
        yield Option("bell", "off", "environment NO_BELL")
    known = {secret_name(name, key) for name in settings.brokers for key in SECRET_KEYS}
    endings = tuple(f"_{key.upper()}" for key in SECRET_KEYS)
    for variable in sorted(environ):
        of_a_secret = variable.startswith("HEADROOM_") and variable.endswith(endings)
        if of_a_secret and variable not in known:
            yield Option("-", "set, but there is no such account", f"environment {variable}")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Sequence | frozenset) and not isinstance(value, str):
        parts = sorted(value) if isinstance(value, frozenset) else value
        return ", ".join(_text(part) for part in parts) or "-"
    text = str(getattr(value, "value", value))
    return text or "-"
